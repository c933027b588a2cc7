import { UsageError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { modelSpec } from "../models/index.ts";
import { randomFile } from "../models/random-file.ts";
import { LLAMA_SHAPES, type LlamaShape, randomLlama } from "../models/random-llama.ts";
import { formatNamed } from "../quant/formats.ts";
import { tokenizerFromGguf } from "../text/gguf-tokenizer.ts";
import type { OpenModel } from "./load-model.ts";

/** A model of random weights that is in no file: its text is noise, its speed that of the real thing. */
export interface SyntheticModel {
  /** Dimensions, or the name of a published model that has them: `llama-2-7b`, … */
  readonly shape: LlamaShape | string;
  /** Format of every matrix: `Q4_0`, `3bit-g128`, … */
  readonly format: string;
  /** Format of the output head, where it differs. */
  readonly outputFormat?: string | undefined;
}

/** What reports call a model: the path of its file, or what a synthetic one is made of. */
export function modelName(model: string | SyntheticModel): string {
  if (typeof model === "string") return model;
  const { shape, format, outputFormat } = model;
  const name = typeof shape === "string" ? shape : "shape";
  const head = outputFormat === undefined ? "" : `, output head ${outputFormat}`;
  return `synthetic ${name} ${format}${head}`;
}

/**
 * The model as if it had been opened from a file. Throws `UsageError` for a shape that is not known or does not fit
 * together, `UnsupportedError` for a format that is not known.
 */
export function openSynthetic(model: SyntheticModel): OpenModel {
  const format = formatNamed(model.format).name;
  const contents = randomLlama<string>({
    ...shapeOf(model.shape),
    format,
    outputFormat: model.outputFormat === undefined ? format : formatNamed(model.outputFormat).name,
    weights: "codes",
  });
  const { source, file } = randomFile(modelName(model), contents);
  return {
    stamps: undefined,
    file,
    spec: modelSpec(file),
    tokenizer: () => tokenizerFromGguf(file.metadata),
    chatTemplate: () => undefined,
    sampling: () => ({}),
    close: () => source.close(),
  };
}

function shapeOf(shape: LlamaShape | string): LlamaShape {
  if (typeof shape !== "string") return shape;
  const found = Object.entries(LLAMA_SHAPES).find(([name]) => name === shape)?.[1];
  if (found !== undefined) return found;
  const known = Object.keys(LLAMA_SHAPES).join(", ");
  throw new UsageError(`no model shape ${quoted(shape)}; known: ${known}`);
}
