import type { Command } from "commander";
import { UsageError } from "../base/errors.ts";
import type { MeasuredPlan } from "../engine/measure-plan.ts";
import type { Machine } from "../plan/machine.ts";
import type { ModelPlan } from "../plan/model-plan.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { isaFor, isaHere, machineFor } from "./machine.ts";
import { type PlanFlags, planFor } from "./model-plan.ts";
import { activationsOption, addExamples, wholeNumber } from "./options.ts";
import { bar, Status } from "./status.ts";
import { addSubject, type SubjectFlags, subjectOf } from "./subject.ts";

interface ExplainFlags extends PlanFlags, SubjectFlags {
  readonly isa?: string;
  readonly machine?: string;
  readonly details?: boolean;
  readonly measure?: boolean;
  readonly json?: boolean;
}

export function addExplain(program: Command, io: Io): void {
  const command = program
    .command("explain")
    .description(
      "Show how a model would run: the plan for every shape of matrix, and the speed it predicts.",
    );
  addSubject(command)
    .option("--prompt-tokens <n>", "tokens of a prefill step (default: as many as one takes)", wholeNumber)
    .option("--isa <name>", "instruction set, which the machine need not have (default: what runs there)")
    .option("--threads <n>", "threads (default: the machine's)", wholeNumber)
    .addOption(activationsOption())
    .option("--quantize <format>", "plan for float weights quantized to this format")
    .option("--machine <file>", "machine to plan for: a JSON file, or generic (default: this one)")
    .option("--details", "for every shape also the loops, working sets, registers and parts of the time")
    .option("--measure", "time every shape on this machine too, beside what is predicted (some seconds)")
    .option("--json", "as JSON");
  addExamples(command, [
    ["on this machine", "qigen explain model.gguf"],
    ["with working sets and registers", "qigen explain model.gguf --details"],
    ["predicted and measured time", "qigen explain model.gguf --measure"],
    ["on one thread of AVX-512", "qigen explain model.gguf --isa avx512-vnni --threads 1"],
    ["any shape in any format, without a file", "qigen explain --synthetic llama-65b --format 2bit-g128"],
    ["on another machine", "qigen explain model.gguf --machine server.json"],
  ]);
  command.action(async (path: string | undefined, flags: ExplainFlags) => {
    const model = subjectOf(path, flags);
    if (flags.measure && flags.machine !== undefined) {
      throw new UsageError("--measure times this machine, so that --machine has no place beside it");
    }
    const subject = await localModel(model, io);
    const machine = await machineFor(flags.machine);
    const { isa: named, machine: other } = flags;
    const isa =
      named === undefined && other === undefined ? await isaHere(machine) : await isaFor(machine, named);
    const plan = await planFor(subject, machine, isa, flags);
    const times = flags.measure ? await measured(plan, machine, io) : undefined;
    if (flags.json) {
      const { modelName } = await import("../engine/synthetic.ts");
      return writeJson(io, {
        model: modelName(subject),
        machine,
        ...plan,
        ...(times ? { measured: times } : {}),
      });
    }
    return write(io.stdout, await textOf(plan, machine, flags.details ?? false, times));
  });
}

async function textOf(
  plan: ModelPlan,
  machine: Machine,
  details: boolean,
  times: MeasuredPlan | undefined,
): Promise<string> {
  const { explainMeasured, explainModel, explainProjection } = await import("../plan/explain.ts");
  const shapes = plan.shapes.flatMap(({ names, weights }) =>
    [weights.decode, weights.prefill].map(
      (part) =>
        `\n${names.join(", ")}, ${part.tokens === 1 ? "decode" : "prefill"}\n\n${explainProjection(part, machine)}`,
    ),
  );
  return [
    explainModel(plan, machine),
    ...(details ? shapes : []),
    ...(times ? [`\n${explainMeasured(plan, times)}`] : []),
  ].join("");
}

/** The model's matrices, timed as planned; on this machine, with an ISA that it has. */
async function measured(plan: ModelPlan, machine: Machine, io: Io): Promise<MeasuredPlan> {
  const [{ chooseBackend }, { findCompilers }, { opener }, { isaNamed }, { measurePlan }] = await Promise.all(
    [
      import("../engine/choose.ts"),
      import("../host/compilers.ts"),
      import("../engine/open-backend.ts"),
      import("../isa/index.ts"),
      import("../engine/measure-plan.ts"),
    ],
  );
  const isa = isaNamed(plan.isa);
  const choice = chooseBackend(machine, await findCompilers(), { isa: isa.name });
  const status = new Status(io.stderr, "preparing kernels");
  try {
    return await measurePlan(plan, {
      open: opener(choice),
      isa,
      onPass: (done, total) => status.show(() => `measuring ${bar(done / total)}`),
      signal: io.interrupts.signal,
    });
  } finally {
    status.done();
  }
}
