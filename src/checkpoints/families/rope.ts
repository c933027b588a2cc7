import { UnsupportedError } from "../../base/errors.ts";
import { quoted } from "../../files/quoted.ts";
import type { JsonView } from "../../text/json-view.ts";
import type { GgufKeys } from "./gguf-keys.ts";
import { type Llama3Scaling, llama3Factors } from "./llama3-scaling.ts";
import { MAX_DIMENSION, positive } from "./settings.ts";

/** Where config.json says how a model rotates, and what it means where it does not. */
export interface RopeKeys {
  readonly base?: { readonly key: string; readonly fallback: number };
  /** The part of each head that rotates. */
  readonly share?: { readonly key: string; readonly fallback: number };
  /** The object that has everything in newer files. Default: `rope_parameters`. */
  readonly parameters?: (config: JsonView) => JsonView | undefined;
}

/** What `config.json` says of the rotary embedding: newer files have it all in one object. */
export interface RopeSettings {
  readonly base: number;
  readonly share: number;
  /** `rope_scaling`, or what took its place; undefined where positions are not scaled. */
  readonly scaling: JsonView | undefined;
  readonly kind: string;
  /** Positions as trained, and before they were scaled where the file says so. */
  readonly context: number;
  readonly originalContext: number | undefined;
}

const KINDS = ["default", "linear", "dynamic", "llama3", "yarn", "longrope"];
/** Names that kinds once had. */
const OLD_NAMES: Readonly<Record<string, string>> = { su: "longrope" };

export function ropeSettings(config: JsonView, keys: RopeKeys, context: number): RopeSettings {
  const base = keys.base ?? { key: "rope_theta", fallback: 10000 };
  const share = keys.share ?? { key: "partial_rotary_factor", fallback: 1 };
  const parameters = keys.parameters?.(config) ?? config.object("rope_parameters");
  const scaling = parameters ?? config.object("rope_scaling");
  const named = scaling?.string("rope_type") ?? scaling?.string("type") ?? "default";
  const kind = Object.hasOwn(OLD_NAMES, named) ? (OLD_NAMES[named] as string) : named;
  if (!KINDS.includes(kind)) {
    throw new UnsupportedError(
      `${config.file}: rope scaling ${quoted(kind)} is not supported; known: ${KINDS.join(", ")}`,
    );
  }
  const place = (view: JsonView | undefined, key: string) => (view?.get(key) === undefined ? config : view);
  const inParameters = place(parameters, "rope_theta");
  const original = "original_max_position_embeddings";
  return {
    base: positive(inParameters, inParameters === config ? base.key : "rope_theta", base.fallback),
    share: shareOf(config, place(parameters, "partial_rotary_factor"), share),
    scaling: kind === "default" ? undefined : scaling,
    kind,
    context,
    originalContext: place(scaling, original).integer(original, 1, MAX_DIMENSION),
  };
}

function shareOf(config: JsonView, view: JsonView, { key, fallback }: Required<RopeKeys>["share"]): number {
  const name = view === config ? key : "partial_rotary_factor";
  const share = positive(view, name, fallback);
  if (share <= 1) return share;
  throw view.error(name, `is ${share}, more than the whole`);
}

/** GGUF's keys of the rotation and its scaling. `llama3` is no scaling there, but a tensor of factors. */
export function writeRope(keys: GgufKeys, settings: RopeSettings): void {
  const { base, scaling, kind, context, originalContext } = settings;
  keys.real("rope.freq_base", base);
  if (scaling === undefined || kind === "llama3") return;
  // "dynamic" counts from the context as trained, whatever else the file says.
  if (originalContext !== undefined && kind !== "dynamic") {
    keys.size("rope.scaling.original_context_length", originalContext);
  }
  if (kind === "longrope") {
    keys.real("rope.scaling.attn_factor", statedMagnitude(scaling, context, originalContext));
    return;
  }
  const factor = positive(scaling, "factor");
  keys.text("rope.scaling.type", kind);
  keys.real("rope.scaling.factor", factor);
  if (kind !== "yarn") return;
  keys.flag("rope.scaling.yarn_truncate", scaling.bool("truncate") ?? true);
  for (const key of ["mscale", "mscale_all_dim"]) {
    if (scaling.get(key) !== undefined) {
      throw new UnsupportedError(`${scaling.file}: ${key} of rope scaling "yarn" is not supported`);
    }
  }
  // GGUF's factor multiplies YaRN's own, Hugging Face's replaces it.
  const yarn = yarnMagnitude(factor);
  keys.real("rope.scaling.attn_factor", positive(scaling, "attention_factor", yarn) / yarn);
  keys.real("rope.scaling.yarn_beta_fast", positive(scaling, "beta_fast", 32));
  keys.real("rope.scaling.yarn_beta_slow", positive(scaling, "beta_slow", 1));
}

/** YaRN's factor on the length of rotated vectors. */
export function yarnMagnitude(factor: number): number {
  return 1 + 0.1 * Math.log(factor);
}

function statedMagnitude(scaling: JsonView, context: number, original: number | undefined): number {
  const given = scaling.number("attention_factor");
  if (given !== undefined) return positive(scaling, "attention_factor");
  if (original === undefined) throw scaling.error("original_max_position_embeddings", "is missing");
  return longropeMagnitude(context, original);
}

/** LongRoPE's, √(1 + ln(s) / ln(original)) where the context grew s times. */
export function longropeMagnitude(context: number, original: number): number {
  const grown = context / original;
  return grown <= 1 || original === 1 ? 1 : Math.sqrt(1 + Math.log(grown) / Math.log(original));
}

/** Divisors of the frequencies as GGUF's tensors have them, one per pair of `rotated` dimensions. */
export function ropeVectors(settings: RopeSettings, rotated: number): ReadonlyMap<string, Float32Array> {
  const { scaling, kind } = settings;
  if (scaling === undefined) return new Map();
  if (kind === "llama3") {
    return new Map([["rope_freqs.weight", llama3Factors(readLlama3(scaling), settings.base, rotated)]]);
  }
  if (kind !== "longrope") return new Map();
  return new Map([
    ["rope_factors_short.weight", factorList(scaling, "short_factor")],
    ["rope_factors_long.weight", factorList(scaling, "long_factor")],
  ]);
}

function factorList(scaling: JsonView, key: string): Float32Array {
  const values = scaling.list(key);
  if (values.length === 0) throw scaling.error(key, "is missing");
  return Float32Array.from(values, (value) => {
    if (typeof value === "number" && value > 0) return value;
    throw scaling.error(key, "holds what is no number above 0");
  });
}

function readLlama3(scaling: JsonView): Llama3Scaling {
  const factor = positive(scaling, "factor");
  const low = positive(scaling, "low_freq_factor");
  const high = positive(scaling, "high_freq_factor");
  const original = positive(scaling, "original_max_position_embeddings");
  if (high > low) return { factor, low, high, original };
  throw scaling.error("high_freq_factor", `is ${high}, not above low_freq_factor ${low}`);
}
