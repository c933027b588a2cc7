import { type Command, Option } from "commander";
import type { Allocation, Trial } from "../quantize/budget.ts";
import type { QuantizeOptions, QuantizeResult } from "../quantize/options.ts";
import { columns, formatCount } from "./format.ts";
import { localModel } from "./hub-model.ts";
import { type Io, write, writeJson } from "./io.ts";
import { addExamples, bitsPerWeight, decimal, groupSize, size, wholeNumber } from "./options.ts";
import { bar, Status } from "./status.ts";

interface QuantizeFlags
  extends Pick<
    QuantizeOptions,
    | "method"
    | "format"
    | "bits"
    | "groupSize"
    | "budget"
    | "targetSize"
    | "sensitivities"
    | "symmetric"
    | "actOrder"
    | "damp"
    | "trueSequential"
    | "calibration"
    | "samples"
    | "context"
    | "threads"
  > {
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function addQuantize(program: Command, io: Io): void {
  const command = program
    .command("quantize")
    .description(
      "Quantize a model of floats (a Hugging Face folder or a GGUF file) into a new GPTQ folder or GGUF file, which other " +
        "engines load, too. It appears under its name when it is complete; what each matrix lost is in a JSON file in the " +
        "folder or beside the file.",
    )
    .argument("<in>", "folder, file, or hf:owner/name")
    .argument("<out>", "new folder, or new file for --format gguf:…")
    .addOption(
      new Option("--method <name>", "gptq (with a calibration text) or rtn (default: gptq)").choices([
        "rtn",
        "gptq",
      ]),
    )
    .option(
      "--format <name>",
      "gptq, gguf: with q4_0, q4_1, q5_0, q8_0, q4_k, q6_k, f16, …, gguf of --bits or under a budget, safetensors: with " +
        "f32, f16 or bf16 (default: gptq)",
    )
    .option("--bits <n>", "2, 3, 4 or 8; 5 or 6, too, with --format gguf (default: 4)", wholeNumber)
    .option(
      "--group-size <n>",
      "weights that share a scale: 16 … 256, or -1 for a whole row, of the format gptq (default: 128)",
      groupSize,
    )
    .option(
      "--budget <n>",
      "bits a weight, such as 3.5bpw: chooses bits and group size of every matrix (with --calibration)",
      bitsPerWeight,
    )
    .option("--target-size <size>", "the same, for a result of at most this size, such as 2.4GB", size)
    .option("--sensitivities <file>", "keeps there what matrices may cost, for other budgets of this model")
    .option("--symmetric", "zero points in the middle, of the format gptq")
    .addOption(
      new Option(
        "--act-order <how>",
        "largest inputs first: groups (costs nothing later), classic (with g_idx) or none (default: groups)",
      ).choices(["groups", "classic", "none"]),
    )
    .option("--damp <x>", "added to the Hessian's diagonal, as a part of its mean (default: 0.01)", decimal)
    .option("--true-sequential", "quantize the matrices of a layer one after the other")
    .option("--calibration <file>", "a text like those that the model will see")
    .option("--samples <n>", "samples of that text (default: 128)", wholeNumber)
    .option("--context <n>", "tokens of a sample (default: as trained, at most 2048)", wholeNumber)
    .option("--threads <n>", "threads (default: the cores this process may use)", wholeNumber)
    .option("-q, --quiet", "nothing on stderr but errors")
    .option("--json", "the record as JSON");
  addExamples(command, [
    [
      "4 bits, groups of 128, for any engine that loads GPTQ",
      "qigen quantize model/ model-gptq/ --calibration text.txt",
    ],
    [
      "as little as 3.5 bits a weight can cost",
      "qigen quantize model/ model-mixed/ --calibration text.txt --budget 3.5bpw",
    ],
    ["for llama.cpp", "qigen quantize model/ model.gguf --format gguf:q4_k --calibration text.txt"],
    ["without a text", "qigen quantize model.gguf model-q8.gguf --method rtn --format gguf:q8_0"],
    ["only converted", "qigen quantize model/ model.gguf --method rtn --format gguf:f16"],
  ]);
  command.action((input: string, output: string, flags: QuantizeFlags) => run(input, output, flags, io));
}

async function run(input: string, output: string, flags: QuantizeFlags, io: Io): Promise<void> {
  const { quiet = false, json, ...options } = flags;
  const local = await localModel(input, io, quiet);
  const { quantize } = await import("../quantize/quantize.ts");
  const status = new Status(io.stderr, "reading the model", quiet);
  let result: QuantizeResult;
  try {
    result = await quantize(local, output, {
      ...options,
      onNotice: (line) => status.note(line),
      onProgress: ({ stage, done, secondsLeft }) => {
        const left = Number.isFinite(secondsLeft) ? `, ${timeText(secondsLeft)} left` : "";
        status.show(() => `${stage} ${bar(done)}${left}`);
      },
      signal: io.interrupts.signal,
    });
  } finally {
    status.done();
  }
  if (json) await writeJson(io, result);
  else await write(io.stdout, resultText(result));
}

function timeText(seconds: number): string {
  if (seconds < 100) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`;
}

/** "4 bits g128 × 12, 3 bits g64 × 30": how many matrices got what. */
function chosenText({ modules }: Allocation): string {
  const counts = new Map<string, number>();
  const sorted = [...modules].sort((a, b) => b.bits - a.bits || a.groupSize - b.groupSize);
  for (const { bits, groupSize } of sorted) {
    const name = `${bits} bits g${groupSize}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${name} × ${count}`).join(", ");
}

/** What decided, on text that was held back. */
function trialText({ mixture, uniform, gain, kept }: Trial): string {
  const divergences = `KL ${mixture.divergence.toPrecision(3)}, ${uniform.format} ${uniform.divergence.toPrecision(3)}`;
  const gained = `it gains ${gain.value.toFixed(4)} ± ${gain.error.toFixed(4)} nats a token`;
  return `mixture ${divergences}; ${gained}: ${kept === "mixture" ? "it" : "one setting for all"} is kept`;
}

function resultText(result: QuantizeResult): string {
  const { path, modules, allocation, skipped, calibrationTokens, seconds } = result;
  const weights = modules.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const lost = modules.reduce((sum, { rows, cols, weightError }) => sum + rows * cols * weightError, 0);
  return columns([
    ["written", path],
    ["matrices", `${modules.length} quantized, ${skipped.length} left as they are`],
    ...(weights === 0
      ? []
      : [
          [
            "weights",
            `${formatCount(weights)}, mean square error ${((100 * lost) / weights).toPrecision(3)} %`,
          ],
        ]),
    ...(allocation === undefined
      ? []
      : [
          [
            "budget",
            `${allocation.bitsPerWeight.toFixed(3)} bits a weight, ${allocation.bytes} of ${allocation.budget} bytes`,
          ],
          ["chosen", chosenText(allocation)],
          ...(allocation.trial === undefined ? [] : [["trial", trialText(allocation.trial)]]),
        ]),
    ...(calibrationTokens === 0 ? [] : [["calibration", `${formatCount(calibrationTokens)} tokens`]]),
    ["time", timeText(seconds)],
  ]);
}
