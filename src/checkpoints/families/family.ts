import type { GgufValue } from "../../files/gguf-values.ts";
import type { StoredTensor } from "../../files/model-file.ts";
import type { JsonView } from "../../text/json-view.ts";

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
  /** Modules by their names; `*` is the number of a layer, `#` that of a module whose vectors are rows of one tensor. */
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

/** GGUF's name of a module, and what becomes of its tensors on the way. */
export type Module =
  | string
  | { readonly name: string; readonly change: (tensor: StoredTensor) => StoredTensor };

/** The name with the first number between dots replaced by `*`, one at the end by `#`, and those numbers. */
export function patternOf(name: string): {
  readonly pattern: string;
  readonly layer: string;
  readonly part: number | undefined;
} {
  const last = /\.(\d{1,6})$/.exec(name);
  const part = last === null ? undefined : Number(last[1]);
  const whole = last === null ? name : `${name.slice(0, last.index)}.#`;
  const found = /\.(\d+)(?=\.)/.exec(whole);
  if (found === null) return { pattern: whole, layer: "", part };
  const [number, layer = ""] = found;
  const end = found.index + number.length;
  return { pattern: `${whole.slice(0, found.index)}.*${whole.slice(end)}`, layer, part };
}
