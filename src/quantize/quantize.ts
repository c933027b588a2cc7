import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { AbortedError, UnsupportedError, UsageError } from "../base/errors.ts";
import { GPTQ_LEAST_ZERO } from "../checkpoints/quantized/gptq-writer.ts";
import { type OpenModel, openModel } from "../engine/load-model.ts";
import type { StoredTensor } from "../files/model-file.ts";
import {
  requireFree,
  requireSpace,
  type WriteFile,
  writeFilesAtomically,
  writeFolderAtomically,
} from "../host/atomic-folder.ts";
import { describeMachine } from "../host/describe-machine.ts";
import { formatNamed } from "../quant/formats.ts";
import { calibrationSamples } from "./calibration.ts";
import { folderParts, ggufParts, type Source } from "./conversion.ts";
import { type GgufOutput, ggufBytes, writeGgufOutput } from "./gguf-output.ts";
import { folderBytes, type GptqFolder, writeGptqFolder, writeJson } from "./gptq-folder.ts";
import { LayerSolver } from "./layer-solver.ts";
import { type QuantizeOptions, type QuantizeResult, resolveOptions, type Settings } from "./options.ts";
import { ProgressMeter } from "./progress.ts";
import { QuantizedTensors } from "./quantized-tensors.ts";
import { FILE_TYPES, ggufTargets, gptqTargets, layerTensors, type Targets } from "./targets.ts";
import { floatFormat } from "./working-tensors.ts";

const GGUF = /^gguf:(.+)$/;
/** Tokens of a sample, at most, unless asked for. */
const DEFAULT_CONTEXT = 2048;
/** What files of a tokenizer and so on take besides the weights. */
const SPARE_BYTES = 64 << 20;

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
  await requireFree(output);
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
  const type = GGUF.exec(settings.format)?.[1];
  if (type === undefined && settings.format !== "gptq") {
    throw new UnsupportedError(`no output format ${settings.format}; known: gptq, gguf:q4_0, gguf:q4_k, …`);
  }
  requireFloats(source);
  const targets =
    type === undefined
      ? gptqTargets(source.file, source.spec, settings)
      : ggufTargets(source.file, source.spec, type);
  if (type !== undefined && settings.order === "activations") {
    throw new UsageError("a GGUF file has no list g_idx: take act-order groups, or none");
  }
  for (const { tensor, reason } of targets.skipped) options.onNotice?.(`${tensor} stays as it is: ${reason}`);
  const meter = new ProgressMeter(options.onProgress);
  const solver = await solverOf(source, settings, targets, options, meter);
  try {
    const quantized = new QuantizedTensors(
      source.file,
      targets.formats,
      type === undefined ? GPTQ_LEAST_ZERO : 0,
      solver?.layers.run(),
      new Set(layerTensors(source.spec)),
      (done, total) => {
        if (solver === undefined) meter.at(done / total);
      },
      options.signal,
    );
    const report = (): QuantizeResult => ({
      path: output,
      method: settings.method,
      format: settings.format,
      calibrationTokens: solver?.tokens ?? 0,
      modules: quantized.records,
      skipped: targets.skipped,
      seconds: meter.seconds,
    });
    if (type === undefined) await writeFolder(source, output, settings, targets, quantized, report);
    else await writeGguf(source, output, type, targets, quantized, report);
    return report();
  } finally {
    await solver?.layers.dispose();
  }
}

/** Throws `UnsupportedError` for a model of which something is quantized already, and for experts. */
function requireFloats({ file, spec }: Source): void {
  for (const tensor of file.tensors.values()) floatFormat(tensor);
  if (spec.layers.some(({ feedForward }) => feedForward.routing !== undefined)) {
    throw new UnsupportedError(`${file.metadata.file}: mixtures of experts cannot be quantized yet`);
  }
}

/** What quantizes layer by layer; nothing where weights are rounded to nearest, or stay floats. */
async function solverOf(
  { file, spec, tokenizer }: OpenModel,
  settings: Settings,
  { formats }: Targets,
  options: QuantizeOptions,
  meter: ProgressMeter,
): Promise<{ readonly layers: LayerSolver; readonly tokens: number } | undefined> {
  const { calibration, signal, threads } = options;
  if (settings.method === "rtn" || calibration === undefined || formats.size === 0) return undefined;
  const { contextLength } = spec.config;
  const context = options.context ?? Math.min(contextLength, DEFAULT_CONTEXT);
  if (!(Number.isInteger(context) && context >= 1 && context <= contextLength)) {
    throw new UsageError(`context must be a whole number from 1 to ${contextLength}, not ${context}`);
  }
  const { samples: count, damp, order, trueSequential } = settings;
  const samples = await calibrationSamples(tokenizer(), {
    file: calibration,
    samples: count,
    context,
    signal,
  });
  if (signal?.aborted) throw new AbortedError();
  const layers = await LayerSolver.create(file, spec, await describeMachine(), {
    formats,
    leastZero: settings.format === "gptq" ? GPTQ_LEAST_ZERO : 0,
    damp,
    order,
    trueSequential,
    samples,
    threads,
    onProgress: (done) => meter.at(done),
    signal,
  });
  return { layers, tokens: count * context };
}

async function writeFolder(
  source: Source,
  output: string,
  settings: Settings,
  targets: Targets,
  quantized: QuantizedTensors,
  report: () => QuantizeResult,
): Promise<void> {
  const parts = await folderParts(source);
  const { name } = parts.naming;
  const folder: GptqFolder = {
    file: source.file,
    tensors: inOrder(source).filter((tensor) => tensor.name !== "rope_freqs.weight"),
    ...parts,
    quantization: quantizationConfig(
      settings,
      targets.skipped.map(({ tensor }) => name(tensor)),
    ),
  };
  await requireSpace(output, folderBytes(folder, quantized) + SPARE_BYTES);
  await writeFolderAtomically(output, async (write) => {
    await writeGptqFolder(write, folder, quantized);
    await writeJson(write, "quantize_report.json", report());
  });
}

async function writeGguf(
  source: Source,
  output: string,
  type: string,
  { floats }: Targets,
  quantized: QuantizedTensors,
  report: () => QuantizeResult,
): Promise<void> {
  const parts = await ggufParts(source, FILE_TYPES[type.toUpperCase()] as number);
  const result: GgufOutput = {
    file: source.file,
    tensors: inOrder(source),
    ...parts,
    floats: floats ?? formatNamed("F16"),
  };
  await requireSpace(output, ggufBytes(result, quantized) + SPARE_BYTES);
  const body = async (write: WriteFile) => {
    await writeGgufOutput(write, basename(output), result, quantized);
    await writeJson(write, `${basename(output)}.json`, report());
  };
  await writeFilesAtomically(output, body);
}

/** The keys that other engines read, and those that say how it was made. */
function quantizationConfig(
  settings: Settings,
  skipped: readonly string[],
): Readonly<Record<string, unknown>> {
  const { bits, groupSize, symmetric, order, damp, trueSequential, method } = settings;
  const modules = skipped.map((name) => name.replace(/\.weight$/, "").replaceAll(".", "\\."));
  return {
    quant_method: "gptq",
    checkpoint_format: "gptq",
    bits,
    group_size: groupSize,
    sym: symmetric,
    desc_act: order === "activations",
    static_groups: false,
    true_sequential: trueSequential,
    damp_percent: damp,
    lm_head: false,
    ...(modules.length === 0
      ? {}
      : { dynamic: Object.fromEntries(modules.map((name) => [`-:^${name}$`, {}])) }),
    meta: { quantizer: ["qigen"], method, act_group_aware: order === "groups" },
  };
}

/** Tensors as they are written: those of layers layer by layer, so that no later one is wanted first. */
function inOrder({ file }: OpenModel): StoredTensor[] {
  const layer = ({ name }: StoredTensor) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  return [...file.tensors.values()].sort((a, b) => layer(a) - layer(b));
}
