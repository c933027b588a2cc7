import { type Command, Option } from "commander";
import type { Isa } from "../isa/isa.ts";
import type { Machine } from "../plan/machine.ts";
import type { ModelPlan } from "../plan/model-plan.ts";
import { type Io, write, writeJson } from "./io.ts";
import { isaFor, machineFor } from "./machine.ts";
import { addExamples, wholeNumber } from "./options.ts";

interface ExplainFlags {
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
    .description("Show how a model would run: the plan for every shape of matrix, and the speed it predicts.")
    .argument("<model>", "GGUF file")
    .option("--prompt-tokens <n>", "tokens of a prefill step (default: as many as one takes)", wholeNumber)
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
    ["on another machine", "qigen explain model.gguf --machine server.json"],
  ]);
  command.action(async (model: string, flags: ExplainFlags) => {
    const machine = await machineFor(flags.machine);
    const plan = await planFor(model, machine, await isaFor(machine, flags.isa), flags);
    if (flags.json) return writeJson(io, { model, machine, ...plan });
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

async function planFor(path: string, machine: Machine, isa: Isa, flags: ExplainFlags): Promise<ModelPlan> {
  const [{ MAX_ROWS, openModel }, { planMatrices }, { planModel }, { formatNamed }, { modelShapes }] =
    await Promise.all([
      import("../engine/load-model.ts"),
      import("../engine/plan-matrices.ts"),
      import("../plan/model-plan.ts"),
      import("../quant/formats.ts"),
      import("./model-shapes.ts"),
    ]);
  const quantize = flags.quantize === undefined ? undefined : formatNamed(flags.quantize);
  const threads = flags.threads ?? (isa.syntax === "wasm" ? 1 : machine.threads);
  const prefillTokens = flags.promptTokens ?? MAX_ROWS[isa.syntax === "wasm" ? "wasm" : "native"];
  const { file, spec, source } = await openModel(path);
  await source.close();
  const choices = { threads, prefillTokens, activations: flags.activations ?? "int8", quantize };
  const matrices = planMatrices(spec, file, machine, isa, choices);
  return planModel(machine, isa, modelShapes(spec, matrices), { prefillTokens, threads });
}
