import type { GgufValue } from "../../files/gguf-values.ts";
import type { JsonView } from "../../text/json-view.ts";

/** How checkpoints of a family of architectures become models in GGUF's terms. */
export interface Family {
  /** Metadata for what `config.json` says. Throws `FileFormatError` and `UnsupportedError`. */
  metadata(config: JsonView): ReadonlyMap<string, GgufValue>;
  /** GGUF's name of each module; `*` is the number of a layer. */
  readonly modules: Readonly<Record<string, string>>;
  /** Tensors that some checkpoints have and that follow from the configuration; `*` as above. */
  readonly derived: readonly string[];
  /** Vectors that follow from the configuration, by GGUF's names. */
  vectors(config: JsonView): ReadonlyMap<string, Float32Array>;
}

/** Largest value of any dimension that is believed; the models' own limit. */
export const MAX_DIMENSION = 2 ** 24;

/** Dimensions and counts: config.json's key → GGUF's, with what an absent one means where that is known. */
export function sizes(
  config: JsonView,
  keys: Readonly<Record<string, string>>,
): readonly (readonly [string, GgufValue])[] {
  return Object.entries(keys).map(([key, name]) => {
    const value = config.integer(key, 1, MAX_DIMENSION);
    if (value === undefined) throw config.error(key, "is missing");
    return [name, { type: "u32", value }];
  });
}

/** A number that must be above 0; the fallback where it is absent. */
export function positive(config: JsonView, key: string, fallback?: number): number {
  const value = config.number(key) ?? fallback;
  if (value === undefined) throw config.error(key, "is missing");
  if (!(value > 0 && Number.isFinite(value))) throw config.error(key, `is ${value}, not a number above 0`);
  return value;
}

/** The name with the first number between dots replaced by `*`, and that number. */
export function patternOf(name: string): { readonly pattern: string; readonly layer: string } {
  const found = /\.(\d+)(?=\.)/.exec(name);
  if (found === null) return { pattern: name, layer: "" };
  const [whole, layer = ""] = found;
  const end = found.index + whole.length;
  return { pattern: `${name.slice(0, found.index)}.*${name.slice(end)}`, layer };
}
