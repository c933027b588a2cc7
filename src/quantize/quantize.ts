import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { AbortedError, UnsupportedError, UsageError } from "../base/errors.ts";
import { type OpenModel, openModel } from "../engine/load-model.ts";
import { requireFree } from "../host/atomic-folder.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { budgetFor, writeWithin } from "./budgeted.ts";
import { calibrationTexts } from "./calibration.ts";
import { folderParts, ggufParts, type Source } from "./conversion.ts";
import { type Calibration, writeResult } from "./job.ts";
import { ModelParts } from "./model-parts.ts";
import { type QuantizeOptions, type QuantizeResult, resolveOptions, type Settings } from "./options.ts";
import { ProgressMeter } from "./progress.ts";
import { folderWriter, ggufWriter, type ResultWriter } from "./result-writer.ts";
import { floatTargets, ggufTargets, gptqTargets, type Targets } from "./targets.ts";
import { floatFormat } from "./working-tensors.ts";

const GGUF = /^gguf(?::(.+))?$/;
const SAFETENSORS = /^safetensors:(.+)$/;
/** Tokens of a sample, at most, unless asked for. */
const DEFAULT_CONTEXT = 2048;

/**
 * Quantizes a model of floats, a GGUF file or a Hugging Face folder, into a new GPTQ folder or GGUF file, which appears
 * under its name when it is complete. A record of what each matrix lost lies in the folder (`quantize_report.json`) or
 * beside the file (`<name>.json`).
 *
 * Throws `UsageError` for options out of range or that do not fit the model, `UnsupportedError` for what cannot be
 * written, `FileAccessError` where the result exists or the disk is full, `FileFormatError` for weights that are not
 * finite, `MachineError` where `gptq` has no C compiler, `AbortedError` when the signal fires.
 */
export async function quantize(
  input: string,
  output: string,
  options: QuantizeOptions = {},
): Promise<QuantizeResult> {
  const settings = resolveOptions(options);
  await requireFree(output, settings.format.startsWith("gguf") ? "file" : "folder");
  const opened = await openModel(input, options.onNotice);
  try {
    const folder = opened.gguf === undefined ? await folderOf(input) : undefined;
    return await run({ ...opened, folder }, output, settings, options);
  } finally {
    await opened.close();
  }
}

/** The folder that a path into it means. */
async function folderOf(path: string): Promise<string> {
  return (await stat(path)).isDirectory() ? path : dirname(path);
}

async function run(
  given: Source,
  output: string,
  settings: Settings,
  options: QuantizeOptions,
): Promise<QuantizeResult> {
  requireFloats(given);
  const { source, targets, writer } = await conversionOf(given, output, settings);
  for (const { tensor, reason } of targets.skipped) options.onNotice?.(`${tensor} stays as it is: ${reason}`);
  const meter = new ProgressMeter(options.onProgress);
  const job = { source, output, settings, targets, writer, meter, signal: options.signal };
  const budget = await budgetFor(job);
  const calibration = await calibrate(source, settings, targets, options);
  try {
    if (budget === undefined || calibration === undefined) {
      return await writeResult({ ...job, calibration }, targets.formats);
    }
    return await writeWithin(budget, { ...job, calibration }, options.sensitivities);
  } finally {
    await calibration?.parts.dispose();
  }
}

/** A source as the result divides it, and what becomes of it. */
interface Conversion {
  readonly source: Source;
  readonly targets: Targets;
  readonly writer: ResultWriter;
}

/** Throws for what cannot be in the format. */
async function conversionOf(given: Source, output: string, settings: Settings): Promise<Conversion> {
  const { kind, type } = containerOf(settings);
  if (kind === "gguf") {
    const parts = await ggufParts(given);
    const { source } = parts;
    const targets = ggufTargets(source.file, source.spec, type);
    return { source, targets, writer: ggufWriter(parts, output, type, targets) };
  }
  const parts = await folderParts(given);
  const { source } = parts;
  const targets = type === undefined ? gptqTargets(source.file, source.spec, settings) : floatTargets(type);
  return { source, targets, writer: folderWriter(parts, output, settings, targets) };
}

/** What the result is, and its type unless that is chosen or GPTQ's. Throws for what cannot be in the format. */
function containerOf({ format, order, limit }: Settings): {
  readonly kind: "folder" | "gguf";
  readonly type?: string | undefined;
} {
  if (format === "gptq") return { kind: "folder" };
  const floats = SAFETENSORS.exec(format)?.[1];
  if (floats !== undefined) {
    if (limit === undefined) return { kind: "folder", type: floats };
    throw new UsageError("a budget is for matrices that are quantized: take the format gptq or gguf");
  }
  const match = GGUF.exec(format);
  const type = match?.[1];
  if (match === null) {
    throw new UnsupportedError(
      `no output format ${format}; known: gptq, gguf:q4_0, gguf:q4_k, …, safetensors:f16, …`,
    );
  }
  if (order === "activations") {
    throw new UsageError("a GGUF file has no list g_idx: take act-order groups, or none");
  }
  if (type !== undefined && limit !== undefined) {
    throw new UsageError("under a budget, types are chosen: take the format gguf");
  }
  return { kind: "gguf", type };
}

/** Throws `UnsupportedError` for a model of which something is quantized already, and for experts. */
function requireFloats({ file, spec }: Source): void {
  for (const tensor of file.tensors.values()) floatFormat(tensor);
  if (spec.layers.some(({ feedForward }) => feedForward.routing !== undefined)) {
    throw new UnsupportedError(`${file.metadata.file}: mixtures of experts cannot be quantized yet`);
  }
}

/** Nothing where no text is needed: weights are rounded to nearest in given formats, or stay floats. */
async function calibrate(
  { file, spec, tokenizer }: OpenModel,
  { method, samples: count }: Settings,
  { formats, choices }: Targets,
  { calibration, signal, threads, ...options }: QuantizeOptions,
): Promise<Calibration | undefined> {
  const unneeded = choices === undefined && (method === "rtn" || formats.size === 0);
  if (unneeded || calibration === undefined) return undefined;
  const { contextLength } = spec.config;
  const context = options.context ?? Math.min(contextLength, DEFAULT_CONTEXT);
  if (!(Number.isInteger(context) && context >= 1 && context <= contextLength)) {
    throw new UsageError(`context must be a whole number from 1 to ${contextLength}, not ${context}`);
  }
  const text = { file: calibration, samples: count, context, signal };
  const texts = await calibrationTexts(tokenizer(), text);
  if (signal?.aborted) throw new AbortedError();
  const wanted = { context, head: choices !== undefined, threads, signal };
  return { parts: await ModelParts.create(file, spec, await describeMachine(), wanted), ...texts };
}
