/** Quantizes a model in given formats, and writes what it becomes. */

import { GPTQ_LEAST_ZERO } from "../checkpoints/quantized/gptq-writer.ts";
import type { Allocation } from "./budget.ts";
import type { CalibrationTexts } from "./calibration.ts";
import type { Source } from "./conversion.ts";
import { LayerSolver } from "./layer-solver.ts";
import type { ModelParts } from "./model-parts.ts";
import type { QuantizeResult, Settings } from "./options.ts";
import type { Stream } from "./part-runner.ts";
import type { ProgressMeter } from "./progress.ts";
import { QuantizedTensors } from "./quantized-tensors.ts";
import type { ResultWriter } from "./result-writer.ts";
import { layerTensors, type Targets } from "./targets.ts";

/** A model that can run on the calibration text, part by part. */
export interface Calibration extends CalibrationTexts {
  readonly parts: ModelParts;
}

/** What is to be made of which model. */
export interface Job {
  readonly source: Source;
  readonly output: string;
  readonly settings: Settings;
  readonly targets: Targets;
  readonly writer: ResultWriter;
  readonly meter: ProgressMeter;
  readonly signal: AbortSignal | undefined;
  /** Nothing where weights are rounded to nearest in given formats, or stay floats. */
  readonly calibration?: Calibration | undefined;
}

/** How a budget was spent, which may depend on what the held-back texts become. */
export interface Allocator {
  readonly texts: readonly (readonly number[])[];
  /** Throws to refuse the result: then nothing is written. */
  allocation(streams: readonly Stream[]): Promise<Allocation>;
}

type Formats = Targets["formats"];

/** @param allocator under a budget */
export async function writeResult(
  job: Job,
  formats: Formats,
  allocator?: Allocator,
): Promise<QuantizeResult> {
  const { source, output, settings, targets, writer, meter, signal, calibration } = job;
  meter.begin("quantizing");
  const solver = calibration && layerSolver(job, calibration, formats, allocator?.texts ?? []);
  const layers = solver?.run();
  const onTensor = (done: number, total: number) => {
    if (solver === undefined) meter.at(done / total);
  };
  const ofLayers = new Set(layerTensors(source.spec));
  const least = leastZero(settings);
  const quantized = new QuantizedTensors(source.file, formats, least, layers, ofLayers, onTensor, signal);
  const makeReport = async (): Promise<QuantizeResult> => {
    await quantized.finish();
    const allocation = solver && (await allocator?.allocation(solver.textStreams));
    return {
      path: output,
      method: settings.method,
      format: settings.format,
      calibrationTokens: calibration?.samples.flat().length ?? 0,
      modules: quantized.records,
      ...(allocation === undefined ? {} : { allocation }),
      skipped: targets.skipped,
      seconds: meter.seconds,
    };
  };
  let made: Promise<QuantizeResult> | undefined;
  const report = () => {
    made ??= makeReport();
    return made;
  };
  await writer.write(quantized, report);
  return report();
}

/** What quantizes the layers of a model. */
export function layerSolver(
  { settings, meter }: Job,
  { parts, samples }: Calibration,
  formats: Formats,
  texts: readonly (readonly number[])[],
): LayerSolver {
  const { method, damp, order, trueSequential } = settings;
  return new LayerSolver(parts, {
    method,
    formats,
    leastZero: leastZero(settings),
    damp,
    order,
    trueSequential,
    samples: method === "rtn" ? [] : samples,
    texts,
    onProgress: (done) => meter.at(done),
  });
}

export function leastZero({ format }: Settings): number {
  return format === "gptq" ? GPTQ_LEAST_ZERO : 0;
}
