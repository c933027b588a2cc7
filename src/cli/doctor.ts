import type { Command } from "commander";
import { SilentFailure } from "./failure.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addExamples } from "./options.ts";
import { bar, Status } from "./status.ts";

interface DoctorFlags {
  readonly measure?: boolean;
  readonly json?: boolean;
}

export function addDoctor(program: Command, io: Io): void {
  const command = program
    .command("doctor")
    .description("Tell what works on this machine, what does not, and why. Exit code 1 if models cannot run.")
    .option("--measure", "time memory and arithmetic, and keep the results for planning (some seconds)")
    .option("--json", "as JSON, which `--machine` of other commands reads");
  addExamples(command, [
    ["what runs here", "qigen doctor"],
    ["better plans: with the measured speeds of this machine", "qigen doctor --measure"],
    ["plan for this machine elsewhere", "qigen doctor --json > machine.json"],
  ]);
  command.action((flags: DoctorFlags) => doctor(flags, io));
}

async function doctor({ measure, json }: DoctorFlags, io: Io): Promise<void> {
  const { diagnose, formatDiagnosis } = await import("../engine/doctor.ts");
  const status = new Status(io.stderr, "looking around");
  try {
    const diagnosis = await diagnose({
      measure,
      signal: io.interrupts.signal,
      onProgress: ({ done, total, text }) => status.show(() => `measuring ${bar(done / total)} ${text}`),
    });
    status.done();
    if (json) await writeJson(io, diagnosis);
    else await write(io.stdout, formatDiagnosis(diagnosis, { width: io.stdout.columns || 100 }));
    if ("problem" in diagnosis.choice || diagnosis.trial?.works === false) throw new SilentFailure();
  } finally {
    status.done();
  }
}
