import { FileFormatError } from "../../base/errors.ts";
import { bf16ToF32, f16ToF32, f32ToF16 } from "../../base/float16.ts";
import type { Dtype, SafeTensor } from "../../files/safetensors.ts";

/** Parameters of a module by their names, such as `weight` and `bias`. */
export type Parameters = ReadonlyMap<string, SafeTensor>;

/** Takes a line that a user should see. */
export type Warn = (line: string) => void;

/** A quantized matrix of a checkpoint: the weight of an input is scale · (code − zero point), of the input's group. */
export interface CodeMatrix {
  /** Its first parameter, which errors name. */
  readonly tensor: SafeTensor;
  readonly rows: number;
  readonly cols: number;
  readonly bits: number;
  /** [cols]: the group of every input. */
  readonly groups: Uint32Array;
  /** All zero points are 2^(bits − 1). */
  readonly symmetric: boolean;
  /** Reads it whole; `memory` gives room for words, once. */
  readonly load: (memory: WordMemory) => Promise<LoadedCodes>;
}

/** So many words of memory, with anything in them. */
export type WordMemory = (length: number) => Uint32Array;

/** A quantized matrix in memory. */
export interface LoadedCodes {
  /**
   * Puts the codes of `count` rows from row `first` on into `into`, a row as one stream of bits from the low bits of a word on:
   * word w of row r is `into[w · count + r]`. What is after a row's last code is 0 or any code.
   */
  words(first: number, count: number, into: Uint32Array): void;
  /** [group][row], f16 bits. */
  readonly scales: Uint16Array;
  /** [group][row]; not there for a symmetric matrix. */
  readonly zeros: Uint8Array | undefined;
}

export function tensorError({ name, source }: SafeTensor, problem: string): FileFormatError {
  return new FileFormatError(source.name, `tensor ${JSON.stringify(name)}`, problem);
}

/** A parameter of a module. Throws `FileFormatError` if it is not there, or is not of one of the types. */
export function parameter(parameters: Parameters, name: string, dtypes: readonly Dtype[]): SafeTensor {
  const found = parameters.get(name);
  if (found === undefined) {
    const [other] = parameters.values();
    const { source, name: beside } = other as SafeTensor;
    throw new FileFormatError(source.name, `tensor ${JSON.stringify(beside)}`, `comes without ${name}`);
  }
  if (dtypes.includes(found.dtype)) return found;
  throw tensorError(found, `has elements of type ${found.dtype}, not ${dtypes.join(" or ")}`);
}

/** The two extents of a matrix, both at least 1. Throws `FileFormatError` for another shape. */
export function extents(tensor: SafeTensor): readonly [number, number] {
  const [first = 0, second = 0] = tensor.shape;
  if (tensor.shape.length === 2 && first > 0 && second > 0) return [first, second];
  throw tensorError(tensor, `has shape [${tensor.shape}], not that of a matrix`);
}

/** Throws `FileFormatError` unless the tensor has this shape. */
export function expectShape(tensor: SafeTensor, shape: readonly number[]): void {
  if (tensor.shape.length === shape.length && shape.every((extent, i) => tensor.shape[i] === extent)) return;
  throw tensorError(tensor, `has shape [${tensor.shape}], not [${shape}]`);
}

/** The data of a tensor of 32-bit elements. */
export async function readWords(
  { source, offset, byteLength }: SafeTensor,
  memory: WordMemory = (length) => new Uint32Array(length),
): Promise<Uint32Array> {
  const words = memory(byteLength / 4);
  await source.readInto(offset, new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
  return words;
}

/** Types of floats; scales are stored in them, too. */
export const FLOAT_DTYPES: readonly Dtype[] = ["F16", "BF16", "F32"];

/** Scales as f16 bits, in their order. Throws `FileFormatError` for one that is too large; warns where any is rounded. */
export async function readScales(tensor: SafeTensor, warn: Warn): Promise<Uint16Array> {
  const bytes = (await tensor.source.read(tensor.offset, tensor.byteLength)).slice();
  if (tensor.dtype === "F16") return new Uint16Array(bytes.buffer);
  const values =
    tensor.dtype === "F32"
      ? new Float32Array(bytes.buffer)
      : Float32Array.from(new Uint16Array(bytes.buffer), bf16ToF32);
  let rounded = false;
  const halves = Uint16Array.from(values, (value) => {
    const half = f32ToF16(value);
    const kept = f16ToF32(half);
    if (!Number.isFinite(kept) && Number.isFinite(value))
      throw tensorError(tensor, `has a scale of ${value}`);
    rounded ||= kept !== value;
    return half;
  });
  if (rounded) warn(`scales of type ${tensor.dtype} are rounded to F16`);
  return halves;
}

/**
 * The groups of inputs without a list of them: `declared` inputs each where that gives the number of groups that there
 * are, else as many as divide the inputs. Throws `FileFormatError` where neither does.
 */
export function evenGroups(
  tensor: SafeTensor,
  cols: number,
  count: number,
  declared: number | undefined,
): Uint32Array {
  const fits = declared !== undefined && Math.ceil(cols / declared) === count;
  const size = fits ? declared : cols / count;
  if (!Number.isInteger(size)) throw tensorError(tensor, `has ${count} groups for ${cols} inputs`);
  return Uint32Array.from({ length: cols }, (_, i) => Math.floor(i / size));
}

/** [rows][groups] → [groups][rows] */
export function groupMajor<T extends Uint8Array | Uint16Array>(values: T, rows: number, groups: number): T {
  const to = values.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) to[group * rows + row] = values[row * groups + group]!;
  }
  return to;
}
