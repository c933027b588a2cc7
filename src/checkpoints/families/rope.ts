import { UnsupportedError } from "../../base/errors.ts";
import type { GgufValue } from "../../files/gguf-values.ts";
import { quoted } from "../../files/quoted.ts";
import type { JsonView } from "../../text/json-view.ts";
import { MAX_DIMENSION, positive } from "./family.ts";

/** What `config.json` says of the rotary embedding: newer files have it all in one object. */
export interface RopeSettings {
  readonly base: number;
  /** `rope_scaling`, or what took its place; undefined where positions are not scaled. */
  readonly scaling: JsonView | undefined;
  readonly kind: string;
}

export function ropeSettings(config: JsonView): RopeSettings {
  const parameters = config.object("rope_parameters");
  const scaling = parameters ?? config.object("rope_scaling");
  const own = parameters?.number("rope_theta");
  const base = own === undefined ? positive(config, "rope_theta", 10000) : own;
  const kind = scaling?.string("rope_type") ?? scaling?.string("type") ?? "default";
  return { base, scaling: kind === "default" ? undefined : scaling, kind };
}

/** GGUF's keys of the scaling for an architecture. `llama3` is no scaling there, but a tensor of factors. */
export function ropeMetadata(
  architecture: string,
  { base, scaling, kind }: RopeSettings,
): readonly (readonly [string, GgufValue])[] {
  const key = (name: string) => `${architecture}.rope.${name}`;
  const f32 = (name: string, value: number) => [key(name), { type: "f32", value }] as const;
  const own: (readonly [string, GgufValue])[] = [f32("freq_base", base)];
  if (scaling === undefined || kind === "llama3") return own;
  if (kind !== "linear" && kind !== "yarn") {
    throw new UnsupportedError(
      `${scaling.file}: rope scaling ${quoted(kind)} is not supported; known: default, linear, llama3, yarn`,
    );
  }
  const factor = positive(scaling, "factor");
  own.push([key("scaling.type"), { type: "string", value: kind }], f32("scaling.factor", factor));
  if (kind === "linear") return own;
  const original = scaling.integer("original_max_position_embeddings", 1, MAX_DIMENSION);
  if (original !== undefined) {
    own.push([key("scaling.original_context_length"), { type: "u32", value: original }]);
  }
  // YaRN's own factor on the magnitude is 1 + 0.1 ln(factor), which GGUF's multiplies and Hugging Face's replaces.
  const yarn = 1 + 0.1 * Math.log(factor);
  return [
    ...own,
    f32("scaling.attn_factor", positive(scaling, "attention_factor", yarn) / yarn),
    f32("scaling.yarn_beta_fast", positive(scaling, "beta_fast", 32)),
    f32("scaling.yarn_beta_slow", positive(scaling, "beta_slow", 1)),
  ];
}

/**
 * Llama 3.1's divisors of the frequencies, one per pair of `rotated` dimensions: those that turn seldom in the original
 * context are slowed down by `factor`, fast ones kept, with a ramp between.
 */
export function llama3Factors(
  { base, scaling, kind }: RopeSettings,
  rotated: number,
): Float32Array | undefined {
  if (scaling === undefined || kind !== "llama3") return undefined;
  const factor = positive(scaling, "factor");
  const low = positive(scaling, "low_freq_factor");
  const high = positive(scaling, "high_freq_factor");
  const original = positive(scaling, "original_max_position_embeddings");
  if (!(high > low)) throw scaling.error("high_freq_factor", `is ${high}, not above low_freq_factor ${low}`);
  return Float32Array.from({ length: rotated / 2 }, (_, i) => {
    const turns = (original * base ** ((-2 * i) / rotated)) / (2 * Math.PI);
    const ramp = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return 1 / ((1 - ramp) / factor + ramp);
  });
}
