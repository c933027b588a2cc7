import type { Command } from "commander";
import type { Gain, TuneResult } from "../engine/tune.ts";
import type { ShapePlan } from "../plan/model-plan.ts";
import { digits, secondsText } from "../plan/text.ts";
import { columns } from "./format.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { machineFor } from "./machine.ts";
import { type PlanFlags, planFor } from "./model-plan.ts";
import { activationsOption, addExamples, wholeNumber } from "./options.ts";
import { bar, Status } from "./status.ts";

interface TuneFlags extends PlanFlags {
  readonly isa?: string;
  readonly json?: boolean;
}

export function addTune(program: Command, io: Io): void {
  const command = program
    .command("tune")
    .description(
      "Time the best few plans for every shape of matrix of a model, and keep the winners for this machine. Optional: " +
        "what is predicted is usually within some percent of them. Ctrl-C keeps what is done.",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, or hf:owner/name of the hub")
    .option("--isa <name>", "instruction set (default: the best this CPU has)")
    .option("--threads <n>", "threads (default: the cores this process may use)", wholeNumber)
    .addOption(activationsOption())
    .option("--quantize <format>", "tune for float weights quantized to this format")
    .option("--json", "as JSON");
  addExamples(command, [
    ["better plans, for later runs of all models with these shapes", "qigen tune model.gguf"],
    ["for one thread", "qigen tune model.gguf --threads 1"],
  ]);
  command.action((model: string, flags: TuneFlags) => tune(model, flags, io));
}

async function tune(model: string, flags: TuneFlags, io: Io): Promise<void> {
  const [{ chooseBackend }, { findCompilers }, { opener }, { tuneShape }, { saveTuned, tuningPath }] =
    await Promise.all([
      import("../engine/choose.ts"),
      import("../host/compilers.ts"),
      import("../engine/open-backend.ts"),
      import("../engine/tune.ts"),
      import("../host/tuning.ts"),
    ]);
  // What was tuned before takes part in the race as what it is: a candidate.
  const { tuned: _, ...machine } = await machineFor(undefined);
  const choice = chooseBackend(machine, await findCompilers(), { isa: flags.isa });
  const plan = await planFor(await localModel(model, io), machine, choice.isa, flags);
  const status = new Status(io.stderr, "preparing kernels");
  const results: TuneResult[] = [];
  try {
    for (const [i, shape] of plan.shapes.entries()) {
      const name = `shape ${i + 1} of ${plan.shapes.length}`;
      status.show(() => `preparing kernels, ${name}`);
      const result = await tuneShape(machine, shape, {
        open: opener(choice),
        isa: choice.isa,
        onPass: (done, total) => status.show(() => `timing ${bar(done / total)} ${name}`),
        signal: io.interrupts.signal,
      });
      await saveTuned(machine, result.entry);
      results.push(result);
    }
  } finally {
    status.done();
    const kept = `${results.length} of ${plan.shapes.length} shapes kept in ${tuningPath(machine)}`;
    io.stderr.write(`${kept}\n`);
  }
  if (flags.json) await writeJson(io, { model, isa: plan.isa, threads: plan.threads, shapes: results });
  else await write(io.stdout, tuneText(plan.shapes, results));
}

/** What `qigen tune` prints for people: times of one matrix of each shape. */
export function tuneText(shapes: readonly ShapePlan[], results: readonly TuneResult[]): string {
  const rows = results.flatMap(({ entry, decode, prefill }, i) => {
    const name = shapes[i]?.names.join(", ") ?? entry.shape;
    return [
      [name, "decode", ...gainTexts(decode), micro(entry.blocking)],
      ...(prefill ? [["", "prefill", ...gainTexts(prefill)]] : []),
    ];
  });
  return columns([["one matrix", "", "planned", "tuned", "faster", "mu x tu x nu"], ...rows], [2, 3, 4]);
}

function gainTexts({ planned, tuned }: Gain): string[] {
  return [secondsText(planned), secondsText(tuned), `${digits(100 * (planned / tuned - 1))} %`];
}

function micro({ mu, tu, nu }: { readonly mu: number; readonly tu: number; readonly nu: number }): string {
  return `${mu} x ${tu} x ${nu}`;
}
