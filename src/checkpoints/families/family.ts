import type { GgufValue } from "../../files/gguf-values.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import type { SafeTensor } from "../../files/safetensors.ts";
import type { JsonView } from "../../text/json-view.ts";
import type { Parameters } from "../quantized/code-matrix.ts";

/**
 * How checkpoints of a family of architectures become models in GGUF's terms. Throws `FileFormatError` and
 * `UnsupportedError` for what their configuration says.
 */
export type Family = (config: JsonView) => Translation;

/** A checkpoint in GGUF's terms, as far as its configuration tells. */
export interface Translation {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** What names in the checkpoint may start with; what follows does not have it. */
  readonly prefixes: readonly string[];
  /** Modules by their names; `*` is the number of a layer, `#` that of a module whose tensors are parts of one. */
  readonly modules: Readonly<Record<string, Module>>;
  /** Tensors that some checkpoints have and that follow from the configuration; `*` as above. */
  readonly derived?: readonly string[];
  /** Vectors that follow from the configuration, by GGUF's names. */
  readonly vectors?: ReadonlyMap<string, Float32Array>;
  /** Whether the embedding is the output head. */
  readonly tied: boolean;
  /** What tensors start with that belong to other parts of the model, which are not run. */
  readonly others?: readonly string[];
}

/**
 * GGUF's name of a module, and what becomes of its tensors on the way; or what is made of parameters that are no weight and
 * bias, by their names.
 */
export type Module =
  | string
  | { readonly name: string; readonly change: (tensor: StoredTensor) => StoredTensor }
  | { readonly parameters: Readonly<Record<string, ParameterReader>> };

/** The tensors, by GGUF's names, that one parameter of a module in layer `layer` makes; `all` has those beside it. */
export type ParameterReader = (tensor: SafeTensor, all: Parameters, layer: string) => readonly StoredTensor[];

/** The name with the first number between dots, or at the end, replaced by `*`, the second by `#`, and those numbers. */
export function patternOf(name: string): {
  readonly pattern: string;
  readonly layer: string;
  readonly part: number | undefined;
} {
  const words = name.split(".");
  const [first = -1, second = -1] = words.flatMap((word, i) => (NUMBER.test(word) ? [i] : []));
  const [layer = "", part] = [words[first], words[second]];
  if (first >= 0) words[first] = "*";
  if (second >= 0) words[second] = "#";
  return { pattern: words.join("."), layer, part: part === undefined ? undefined : Number(part) };
}

/** Of a layer or of a part of it, without zeros in front. */
const NUMBER = /^(0|[1-9]\d{0,5})$/;
