/** Which tensors become what. */

import { UnsupportedError, UsageError } from "../base/errors.ts";
import { GPTQ_BITS, GPTQ_MULTIPLE, gptqBytes, gptqFormat } from "../checkpoints/quantized/gptq-writer.ts";
import { GGML_TYPES } from "../files/gguf-types.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import { quoted } from "../files/quoted.ts";
import { layerMatrices, type ModelSpec } from "../models/model.ts";
import { rowBytes } from "../quant/blocks.ts";
import { FAMILY_GROUPS, type Format, formatNamed, type QuantizedFormat } from "../quant/formats.ts";
import type { Choice } from "./budget.ts";
import { GGUF_TYPES, type Settings } from "./options.ts";
import { extentsOf } from "./working-tensors.ts";

export interface Targets {
  /** Format of each tensor that is quantized. */
  readonly formats: ReadonlyMap<string, QuantizedFormat>;
  /** Float type of the other matrices; as they are where it is not given. */
  readonly floats?: Format;
  /** Matrices whose format is still to be chosen, under a budget. */
  readonly choices?: readonly Choice[];
  /** Matrices that stay floats, with the reason. */
  readonly skipped: readonly { readonly tensor: string; readonly reason: string }[];
}

/** The tensors that the matrices of layers are in, in order. */
export function layerTensors({ layers }: ModelSpec): string[] {
  return [...new Set(layers.flatMap((layer) => layerMatrices(layer).map(([, { tensor }]) => tensor)))];
}

/** A matrix that the format has a place for, or why it has none. */
interface Fitting {
  readonly tensor: string;
  readonly rows: number;
  readonly cols: number;
  readonly reason: string | undefined;
}

/** Every matrix of a layer; those whose rows or columns are no multiples of 32 no kernel of the format takes. */
function gptqMatrices(file: ModelFile, spec: ModelSpec): Fitting[] {
  return layerTensors(spec).map((tensor) => {
    const { rows, cols } = extentsOf(file.tensors.get(tensor) as StoredTensor);
    const fits = rows % GPTQ_MULTIPLE === 0 && cols % GPTQ_MULTIPLE === 0;
    const reason = `it has ${rows} outputs of ${cols} inputs, no multiples of ${GPTQ_MULTIPLE}`;
    return { tensor, rows, cols, reason: fits ? undefined : reason };
  });
}

function skippedOf(matrices: readonly Fitting[]): Targets["skipped"] {
  return matrices.flatMap(({ tensor, reason }) => (reason === undefined ? [] : [{ tensor, reason }]));
}

/**
 * Of a GPTQ folder: every matrix of a layer that it has a place for. Throws `UsageError` where the group size does not
 * divide the inputs of a matrix.
 */
export function gptqTargets(file: ModelFile, spec: ModelSpec, settings: Settings): Targets {
  const { bits, groupSize, symmetric, limit } = settings;
  const matrices = gptqMatrices(file, spec);
  const fitting = matrices.filter(({ reason }) => reason === undefined);
  const skipped = skippedOf(matrices);
  if (limit !== undefined && fitting.length > 0) {
    return { formats: new Map(), choices: fitting.map((matrix) => gptqChoice(matrix, symmetric)), skipped };
  }
  const format = gptqFormat(bits, groupSize === -1 ? "row" : groupSize, symmetric);
  for (const { tensor, cols } of fitting) {
    if (groupSize === -1 || cols % groupSize === 0) continue;
    const dividing = [256, 128, 64, 32].find((size) => cols % size === 0);
    throw new UsageError(
      `groups of ${groupSize} do not divide the ${cols} inputs of ${quoted(tensor)}: ${dividing} do, or −1 for whole rows`,
    );
  }
  return { formats: new Map(fitting.map(({ tensor }) => [tensor, format])), skipped };
}

/** Of a folder of floats. Throws `UnsupportedError` for another type. */
export function floatTargets(type: string): Targets {
  const floats = FLOAT_TYPES.find((known) => known === type.toUpperCase());
  if (floats !== undefined) return { formats: new Map(), floats: formatNamed(floats), skipped: [] };
  const known = FLOAT_TYPES.map((name) => `safetensors:${name.toLowerCase()}`).join(", ");
  throw new UnsupportedError(`no output format ${quoted(`safetensors:${type}`)}; known: ${known}`);
}

const FLOAT_TYPES = ["F32", "F16", "BF16"];

/** Groups that a budget chooses from: the kernels of few engines take smaller ones. */
const CHOSEN_GROUPS = FAMILY_GROUPS.filter((group) => group !== 16);

/** What a matrix of a GPTQ folder may be. */
function gptqChoice({ tensor, rows, cols }: Fitting, symmetric: boolean): Choice {
  const options = GPTQ_BITS.flatMap((bits) =>
    CHOSEN_GROUPS.filter((group) => group === "row" || cols % group === 0).map((group) => {
      const format = gptqFormat(bits, group, symmetric);
      return { format, bytes: gptqBytes(format, rows, cols) };
    }),
  );
  return { tensor, rows, cols, options };
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

/** Types that a budget chooses from: for rows of whole blocks of 256, and for all others. */
const CHOSEN_TYPES = [...GGUF_TYPES.values()];
const CHOSEN_SMALL_TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"];

/**
 * Of a GGUF file, as llama.cpp's own tool does it: matrices of layers and the embedding of the type, the output head (or
 * an embedding that is also the head) Q6_K where the type has fewer bits; where rows do not have whole blocks, the type
 * that is next larger, or F16. Throws `UnsupportedError` for a type that is not known.
 *
 * Without a type, that of the matrices of layers is still to be chosen; the embedding and the head are Q6_K.
 */
export function ggufTargets(file: ModelFile, spec: ModelSpec, type: string | undefined): Targets {
  const wanted = type?.toUpperCase() ?? "Q6_K";
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
  const ofLayers = layerTensors(spec);
  const names = [...new Set([embedding.table.tensor, ...ofLayers, head])];
  const formats = new Map<string, QuantizedFormat>();
  const choices: Choice[] = [];
  const skipped: { tensor: string; reason: string }[] = [];
  for (const name of names) {
    const { rows, cols } = extentsOf(file.tensors.get(name) as StoredTensor);
    const first = name === head && base.bits < 6 ? "Q6_K" : wanted;
    const fitting = [first, INSTEAD[first]].find((one) => one !== undefined && fits(one, cols));
    if (fitting === undefined) {
      skipped.push({ tensor: name, reason: `its rows of ${cols} weights have no whole blocks of ${first}` });
    } else if (type === undefined && ofLayers.includes(name)) {
      choices.push(ggufChoice(name, rows, cols));
    } else formats.set(name, formatNamed(fitting) as QuantizedFormat);
  }
  return { formats, ...(choices.length > 0 ? { choices } : {}), floats: formatNamed("F16"), skipped };
}

/** What a matrix of a GGUF file may be. */
function ggufChoice(tensor: string, rows: number, cols: number): Choice {
  const types = fits("Q2_K", cols) ? CHOSEN_TYPES : CHOSEN_SMALL_TYPES;
  const options = types.map((type) => {
    const format = formatNamed(type) as QuantizedFormat;
    return { format, bytes: rows * rowBytes(format, cols) };
  });
  return { tensor, rows, cols, options };
}

function fits(type: string, cols: number): boolean {
  return cols % GGML_TYPES[type as keyof typeof GGML_TYPES].weights === 0;
}
