import { type Command, Option } from "commander";
import type { SyntheticModel } from "../engine/synthetic.ts";
import type { Isa } from "../isa/isa.ts";
import type { Machine } from "../plan/machine.ts";
import type { ModelPlan } from "../plan/model-plan.ts";
import { type Io, write, writeJson } from "./io.ts";
import { isaFor, machineFor } from "./machine.ts";
import { addExamples, wholeNumber } from "./options.ts";
import { addSubject, type SubjectFlags, subjectOf } from "./subject.ts";

interface ExplainFlags extends SubjectFlags {
  readonly isa?: string;
  readonly threads?: number;
  readonly promptTokens?: number;
  readonly activations?: "int8" | "f32";
  readonly quantize?: string;
  readonly machine?: string;
  readonly details?: boolean;
  readonly json?: boolean;
}

export function addExplain(program: Command, io: Io): void {
  const command = program
    .command("explain")
    .description(
      "Show how a model would run: the plan for every shape of matrix, and the speed it predicts.",
    );
  addSubject(command)
    .option("--prompt-tokens <n>", "tokens of a prefill step (default: 256)", wholeNumber)
    .option("--isa <name>", "instruction set, which the machine need not have (default: its best)")
    .option("--threads <n>", "threads (default: the machine's)", wholeNumber)
    .addOption(
      new Option("--activations <type>", "precision of activations: int8 or f32 (default: int8)").choices([
        "int8",
        "f32",
      ]),
    )
    .option("--quantize <format>", "plan for float weights quantized to this format")
    .option("--machine <file>", "machine to plan for: a JSON file, or generic (default: this one)")
    .option("--details", "for every shape also the loops, working sets, registers and parts of the time")
    .option("--json", "as JSON");
  addExamples(command, [
    ["on this machine", "qigen explain model.gguf"],
    ["with working sets and registers", "qigen explain model.gguf --details"],
    ["on one thread of AVX-512", "qigen explain model.gguf --isa avx512-vnni --threads 1"],
    ["any shape in any format, without a file", "qigen explain --synthetic llama-65b --format 2bit-g128"],
    ["on another machine", "qigen explain model.gguf --machine server.json"],
  ]);
  command.action(async (path: string | undefined, flags: ExplainFlags) => {
    const subject = subjectOf(path, flags);
    const machine = await machineFor(flags.machine);
    const plan = await planFor(subject, machine, await isaFor(machine, flags.isa), flags);
    if (flags.json) {
      const { modelName } = await import("../engine/synthetic.ts");
      return writeJson(io, { model: modelName(subject), machine, ...plan });
    }
    const text = await textOf(plan, machine, flags.details ?? false);
    return write(io.stdout, text);
  });
}

async function textOf(plan: ModelPlan, machine: Machine, details: boolean): Promise<string> {
  const { explainModel, explainProjection } = await import("../plan/explain.ts");
  const shapes = plan.shapes.flatMap(({ names, weights }) =>
    [weights.decode, weights.prefill].map(
      (part) =>
        `\n${names.join(", ")}, ${part.tokens === 1 ? "decode" : "prefill"}\n\n${explainProjection(part, machine)}`,
    ),
  );
  return [explainModel(plan, machine), ...(details ? shapes : [])].join("");
}

async function planFor(
  subject: string | SyntheticModel,
  machine: Machine,
  isa: Isa,
  flags: ExplainFlags,
): Promise<ModelPlan> {
  const [
    { openModel },
    { openSynthetic },
    { planMatrices },
    { planModel },
    { formatNamed },
    { modelShapes },
  ] = await Promise.all([
    import("../engine/load-model.ts"),
    import("../engine/synthetic.ts"),
    import("../engine/plan-matrices.ts"),
    import("../plan/model-plan.ts"),
    import("../quant/formats.ts"),
    import("./model-shapes.ts"),
  ]);
  const quantize = flags.quantize === undefined ? undefined : formatNamed(flags.quantize);
  const threads = flags.threads ?? (isa.syntax === "wasm" ? 1 : machine.threads);
  const prefillTokens = flags.promptTokens ?? 256;
  const opened = typeof subject === "string" ? await openModel(subject) : openSynthetic(subject);
  const { file, spec, source } = opened;
  await source.close();
  const choices = { threads, prefillTokens, activations: flags.activations ?? "int8", quantize };
  const matrices = planMatrices(spec, file, machine, isa, choices);
  return planModel(machine, isa, modelShapes(spec, matrices), { prefillTokens, threads });
}
