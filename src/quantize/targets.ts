/** Which tensors become what. */

import { UnsupportedError, UsageError } from "../base/errors.ts";
import { GPTQ_MULTIPLE, gptqFormat } from "../checkpoints/quantized/gptq-writer.ts";
import { GGML_TYPES } from "../files/gguf-types.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { layerMatrices, type ModelSpec } from "../models/model.ts";
import { type Format, formatNamed, type QuantizedFormat } from "../quant/formats.ts";
import type { Settings } from "./options.ts";
import { extentsOf } from "./working-tensors.ts";

export interface Targets {
  /** Format of each tensor that is quantized. */
  readonly formats: ReadonlyMap<string, QuantizedFormat>;
  /** Float type of the other matrices; as they are where it is not given. */
  readonly floats?: Format;
  /** Matrices that stay floats, with the reason. */
  readonly skipped: readonly { readonly tensor: string; readonly reason: string }[];
}

/** The tensors that the matrices of layers are in, in order. */
export function layerTensors({ layers }: ModelSpec): string[] {
  return [...new Set(layers.flatMap((layer) => layerMatrices(layer).map(([, { tensor }]) => tensor)))];
}

/**
 * Of a GPTQ folder: every matrix of a layer, but those whose rows or columns are no multiples of 32, which no kernel of
 * the format takes. Throws `UsageError` where the group size does not divide the inputs of a matrix.
 */
export function gptqTargets(file: ModelFile, spec: ModelSpec, settings: Settings): Targets {
  const { bits, groupSize, symmetric } = settings;
  const format = gptqFormat(bits, groupSize === -1 ? "row" : groupSize, symmetric);
  const formats = new Map<string, QuantizedFormat>();
  const skipped: { tensor: string; reason: string }[] = [];
  for (const name of layerTensors(spec)) {
    const { rows, cols } = extentsOf(file.tensors.get(name) as StoredTensor);
    if (rows % GPTQ_MULTIPLE > 0 || cols % GPTQ_MULTIPLE > 0) {
      const reason = `it has ${rows} outputs of ${cols} inputs, no multiples of ${GPTQ_MULTIPLE}`;
      skipped.push({ tensor: name, reason });
      continue;
    }
    if (groupSize !== -1 && cols % groupSize > 0) {
      const fitting = [256, 128, 64, 32].find((size) => cols % size === 0);
      throw new UsageError(
        `groups of ${groupSize} do not divide the ${cols} inputs of ${quoted(name)}: ${fitting} do, or −1 for whole rows`,
      );
    }
    formats.set(name, format);
  }
  return { formats, skipped };
}

/** What llama.cpp's own tool takes where rows are no multiples of 256. */
const INSTEAD: Readonly<Record<string, string>> = {
  Q2_K: "Q4_0",
  Q3_K: "Q4_0",
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/** Types that files may be quantized to, and `general.file_type` of each (`enum llama_ftype`, llama.h). */
export const FILE_TYPES: Readonly<Record<string, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K: 12,
  Q4_K: 15,
  Q5_K: 17,
  Q6_K: 18,
  BF16: 32,
};

/**
 * Of a GGUF file, as llama.cpp's own tool does it: matrices of layers and the embedding of the type, the output head (or
 * an embedding that is also the head) Q6_K where the type has fewer bits; where rows do not have whole blocks, the type
 * that is next larger, or F16. Throws `UnsupportedError` for a type that is not known.
 */
export function ggufTargets(file: ModelFile, spec: ModelSpec, type: string): Targets {
  const wanted = type.toUpperCase();
  if (!Object.hasOwn(FILE_TYPES, wanted)) {
    const known = Object.keys(FILE_TYPES)
      .map((name) => `gguf:${name.toLowerCase()}`)
      .join(", ");
    throw new UnsupportedError(`no output format ${quoted(`gguf:${type}`)}; known: gptq, ${known}`);
  }
  const base = formatNamed(wanted);
  if (base.kind === "float") return { formats: new Map(), floats: base, skipped: [] };
  const { embedding, output } = spec;
  const head = output.head.tensor;
  const names = [...new Set([embedding.table.tensor, ...layerTensors(spec), head])];
  const formats = new Map<string, QuantizedFormat>();
  const skipped: { tensor: string; reason: string }[] = [];
  for (const name of names) {
    const { cols } = extentsOf(file.tensors.get(name) as StoredTensor);
    const first = name === head && base.bits < 6 ? "Q6_K" : wanted;
    const fitting = [first, INSTEAD[first]].find((one) => one !== undefined && fits(one, cols));
    if (fitting === undefined) {
      skipped.push({ tensor: name, reason: `its rows of ${cols} weights have no whole blocks of ${first}` });
    } else formats.set(name, formatNamed(fitting) as QuantizedFormat);
  }
  return { formats, floats: formatNamed("F16"), skipped };
}

function fits(type: string, cols: number): boolean {
  return cols % GGML_TYPES[type as keyof typeof GGML_TYPES].weights === 0;
}
