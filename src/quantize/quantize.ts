import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { AbortedError, UnsupportedError, UsageError } from "../base/errors.ts";
import { GPTQ_LEAST_ZERO } from "../checkpoints/quantized/gptq-writer.ts";
import { type OpenModel, openModel } from "../engine/load-model.ts";
import { requireFree } from "../host/atomic-folder.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { type Allocation, budgetOf, evenFormats, spend } from "./budget.ts";
import { calibrationSamples } from "./calibration.ts";
import type { Source } from "./conversion.ts";
import { LayerSolver } from "./layer-solver.ts";
import { ModelParts } from "./model-parts.ts";
import { type QuantizeOptions, type QuantizeResult, resolveOptions, type Settings } from "./options.ts";
import { ProgressMeter } from "./progress.ts";
import { QuantizedTensors } from "./quantized-tensors.ts";
import { folderWriter, ggufWriter, type ResultWriter } from "./result-writer.ts";
import { SensitivityPass } from "./sensitivity.ts";
import { ggufTargets, gptqTargets, layerTensors, type Targets } from "./targets.ts";
import { floatFormat } from "./working-tensors.ts";

const GGUF = /^gguf(?::(.+))?$/;
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
  source: Source,
  output: string,
  settings: Settings,
  options: QuantizeOptions,
): Promise<QuantizeResult> {
  const { gguf, type } = containerOf(settings);
  requireFloats(source);
  const { file, spec } = source;
  const targets = gguf ? ggufTargets(file, spec, type) : gptqTargets(file, spec, settings);
  for (const { tensor, reason } of targets.skipped) options.onNotice?.(`${tensor} stays as it is: ${reason}`);
  const writer = gguf
    ? await ggufWriter(source, output, type, targets)
    : await folderWriter(source, output, settings, targets);
  const meter = new ProgressMeter(options.onProgress);
  const budget = await budgetFor(source, settings, targets, writer);
  const calibration = await calibrate(source, settings, targets, options);
  try {
    const { formats, allocation } = await settle(settings, targets, budget, calibration, meter);
    meter.begin("quantizing");
    const solver = layerSolver(settings, formats, calibration, meter);
    const quantized = quantizedTensors(source, settings, formats, solver, meter, options.signal);
    const report = (): QuantizeResult => ({
      path: output,
      method: settings.method,
      format: settings.format,
      calibrationTokens: calibration?.samples.flat().length ?? 0,
      modules: quantized.records,
      ...(allocation === undefined ? {} : { allocation }),
      skipped: targets.skipped,
      seconds: meter.seconds,
    });
    await writer.write(quantized, report);
    return report();
  } finally {
    await calibration?.parts.dispose();
  }
}

/** Whether the result is a GGUF file, and its type unless that is chosen. Throws for what cannot be in the format. */
function containerOf({ format, order, limit }: Settings): { readonly gguf: boolean; readonly type?: string } {
  if (format === "gptq") return { gguf: false };
  const match = GGUF.exec(format);
  const type = match?.[1];
  if (match === null || (type === undefined && limit === undefined)) {
    throw new UnsupportedError(`no output format ${format}; known: gptq, gguf:q4_0, gguf:q4_k, …`);
  }
  if (order === "activations") {
    throw new UsageError("a GGUF file has no list g_idx: take act-order groups, or none");
  }
  if (type === undefined) return { gguf: true };
  if (limit !== undefined) throw new UsageError("under a budget, types are chosen: take the format gguf");
  return { gguf: true, type };
}

function leastZero({ format }: Settings): number {
  return format === "gptq" ? GPTQ_LEAST_ZERO : 0;
}

/** Throws `UnsupportedError` for a model of which something is quantized already, and for experts. */
function requireFloats({ file, spec }: Source): void {
  for (const tensor of file.tensors.values()) floatFormat(tensor);
  if (spec.layers.some(({ feedForward }) => feedForward.routing !== undefined)) {
    throw new UnsupportedError(`${file.metadata.file}: mixtures of experts cannot be quantized yet`);
  }
}

/** A model that can run on the calibration text, part by part. */
interface Calibration {
  readonly parts: ModelParts;
  readonly samples: readonly (readonly number[])[];
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
  const samples = await calibrationSamples(tokenizer(), text);
  if (signal?.aborted) throw new AbortedError();
  const wanted = { context, head: choices !== undefined, threads, signal };
  return { parts: await ModelParts.create(file, spec, await describeMachine(), wanted), samples };
}

/** What quantizes layer by layer; nothing where weights are rounded to nearest, or stay floats. */
function layerSolver(
  settings: Settings,
  formats: Targets["formats"],
  calibration: Calibration | undefined,
  meter: ProgressMeter,
): LayerSolver | undefined {
  if (settings.method === "rtn" || calibration === undefined) return undefined;
  const { damp, order, trueSequential } = settings;
  const { parts, samples } = calibration;
  const onProgress = (done: number) => meter.at(done);
  const options = {
    formats,
    leastZero: leastZero(settings),
    damp,
    order,
    trueSequential,
    samples,
    onProgress,
  };
  return new LayerSolver(parts, options);
}

/** Gives quantized tensors to the writer, and tells how far it is where no solver does. */
function quantizedTensors(
  { file, spec }: Source,
  settings: Settings,
  formats: Targets["formats"],
  solver: LayerSolver | undefined,
  meter: ProgressMeter,
  signal: AbortSignal | undefined,
): QuantizedTensors {
  const ofLayers = new Set(layerTensors(spec));
  const onTensor = (done: number, total: number) => {
    if (solver === undefined) meter.at(done / total);
  };
  return new QuantizedTensors(file, formats, leastZero(settings), solver?.run(), ofLayers, onTensor, signal);
}

/** Bytes that the matrices may take whose formats are open. Throws `UsageError` where they cannot take so few. */
async function budgetFor(
  { file }: Source,
  { limit }: Settings,
  { formats, choices }: Targets,
  writer: ResultWriter,
): Promise<number | undefined> {
  if (choices === undefined || limit === undefined) return undefined;
  const budget = await budgetOf(limit, choices, (chosen) => {
    const all = new Map([...formats, ...chosen]);
    return writer.bytes(new QuantizedTensors(file, all, 0, undefined, new Set(), () => undefined, undefined));
  });
  // Too small a budget fails now, not after the work.
  spend(choices, new Map(), budget);
  return budget;
}

/** Chooses the formats that are open. */
async function settle(
  settings: Settings,
  { formats, choices }: Targets,
  budget: number | undefined,
  calibration: Calibration | undefined,
  meter: ProgressMeter,
): Promise<{ readonly formats: Targets["formats"]; readonly allocation?: Allocation }> {
  if (choices === undefined || budget === undefined || calibration === undefined) return { formats };
  const { method, damp, order } = settings;
  meter.begin("measuring");
  const { parts, samples } = calibration;
  const pass = new SensitivityPass(parts, {
    method,
    choices,
    probe: evenFormats(choices, budget),
    damp,
    order,
    leastZero: leastZero(settings),
    samples,
    onProgress: (done) => meter.at(done),
  });
  const { formats: chosen, allocation } = spend(choices, await pass.run(), budget);
  return { formats: new Map([...formats, ...chosen]), allocation };
}
