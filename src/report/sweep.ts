import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeMachine } from "../host/describe-machine.ts";
import { commandRunner } from "./command.ts";
import { type Measurement, measureModel } from "./measure.ts";
import type { Report, ReportRow } from "./report.ts";
import { type Setting, settingName } from "./setting.ts";

/** A sweep over settings of one model. */
export interface Sweep extends Measurement {
  /** A model of floats: a Hugging Face folder or a GGUF file. */
  readonly model: string;
  readonly settings: readonly Setting[];
  /** Text that GPTQ adapts to, and how many samples of it; not there if no setting is of GPTQ. */
  readonly calibration?: string | undefined;
  readonly samples: number;
}

export interface SweepProgress {
  /** Models measured, the model as it is among them. */
  readonly done: number;
  readonly total: number;
  /** What is measured now. */
  readonly setting: string;
}

export interface SweepOptions {
  /** As typed, for the report. */
  readonly command: string;
  /** Parameters of the model. */
  readonly parameters: number;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
  /** Called with what is known after every model. */
  readonly onReport?: ((report: Report) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Quantizes a model in every setting, one after the other, and measures each: accuracy, memory, speed. Quantized models are
 * in a temporary folder, one at a time. Throws what `quantize` and the commands that measure throw.
 */
export async function runSweep(sweep: Sweep, options: SweepOptions): Promise<Report> {
  const { model, settings } = sweep;
  const run = commandRunner(options.signal);
  const machine = await describeMachine();
  const folder = await mkdtemp(join(tmpdir(), "qigen-report-"));
  const rows: ReportRow[] = [];
  const progress = (setting: string) =>
    options.onProgress?.({ done: rows.length, total: 1 + settings.length, setting });
  try {
    progress("the model as it is");
    const full = await measureModel(
      run,
      { path: model, setting: "as it is", method: "none" },
      undefined,
      sweep,
    );
    rows.push(full.row);
    const report = (): Report => ({
      model: nameOfPath(model),
      created: new Date().toISOString().slice(0, 10),
      command: options.command,
      machine: [
        `${machine.name}, ${machine.threads} threads`,
        "Speed: medians of three runs of random tokens, prefill of " +
          `${sweep.promptTokens} and decode of ${sweep.genTokens}; a process for each setting.`,
      ],
      protocol: protocolOf(sweep, full.scored),
      parameters: { all: options.parameters, quantized: full.projectionWeights },
      rows: [...rows],
    });
    await options.onReport?.(report());
    for (const setting of settings) {
      progress(`${settingName(setting)}, ${setting.method}`);
      const path = join(folder, "model");
      await run(quantizeArguments(sweep, setting, path));
      const { row } = await measureModel(
        run,
        { path, setting: settingName(setting), method: setting.method },
        model,
        sweep,
      );
      rows.push({ ...row, bits: setting.bits, groupSize: setting.groupSize });
      await rm(path, { recursive: true });
      await options.onReport?.(report());
    }
    return report();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function quantizeArguments(
  { model, calibration, samples, context }: Sweep,
  { method, bits, groupSize }: Setting,
  path: string,
): string[] {
  const codes = ["--method", method, "--bits", String(bits), `--group-size=${groupSize}`, "--quiet"];
  const text =
    method === "gptq" && calibration !== undefined
      ? ["--calibration", calibration, "--samples", String(samples), "--context", String(context)]
      : [];
  return ["quantize", model, path, ...codes, ...text];
}

function protocolOf({ text, context, bos, calibration, samples }: Sweep, scored: number): string[] {
  return [
    `Perplexity: ${nameOfPath(text)}, windows of ${context} tokens side by side${bos ? ", each led by the start token" : ""}; ` +
      `${scored} tokens count. KL divergence and top tokens on the same positions, against the model as it is with ` +
      "f32 activations; quantized models have int8 activations and an f16 KV cache.",
    ...(calibration === undefined
      ? []
      : [
          `GPTQ: ${samples} samples of ${context} tokens of ${nameOfPath(calibration)}, act-order of groups.`,
        ]),
    "Errors are standard errors.",
  ];
}

function nameOfPath(path: string): string {
  return (
    path
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? path
  );
}
