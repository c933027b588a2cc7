/** What config.json says of the rotary embedding: `ropeSettings` and `writeRope` the other way round. */

import { UnsupportedError } from "../../base/errors.ts";
import type { RopeConfig, RopeScaling, Vector } from "../../models/model.ts";
import type { Settings, WrittenModel } from "./family.ts";
import { llama3Scaling } from "./llama3-scaling.ts";
import { longropeMagnitude, type RopeKeys, yarnMagnitude } from "./rope.ts";
import { shortest } from "./settings.ts";

/** Throws `UnsupportedError` for a rotation that configurations have no words for. */
export function rotationSettings({ spec, vectors }: WrittenModel, keys: RopeKeys): Settings {
  const { config } = spec;
  const { rope } = config;
  if (rope === undefined) return {};
  const usualShare = keys.share?.fallback ?? 1;
  const isUsual = Math.floor(config.headDim * usualShare) === rope.rotated;
  return {
    [keys.base?.key ?? "rope_theta"]: shortest(rope.base),
    ...(isUsual ? {} : { [keys.share?.key ?? "partial_rotary_factor"]: rope.rotated / config.headDim }),
    ...scalingSettings(rope, config.contextLength, vectors),
  };
}

function scalingSettings(
  rope: RopeConfig,
  context: number,
  vectors: ReadonlyMap<string, Float32Array>,
): Settings {
  const { scaling, factors } = rope;
  const valuesOf = ({ tensor }: Vector) => vectors.get(tensor) ?? new Float32Array(0);
  if (factors !== undefined) {
    if (scaling.kind !== "none") {
      throw new UnsupportedError(`a ${scaling.kind} scaling of a rotation with factors of its own`);
    }
    return { rope_scaling: llama3Scaling(rope, valuesOf(factors)) };
  }
  switch (scaling.kind) {
    case "none":
      return {};
    case "linear":
    case "dynamic":
      return { rope_scaling: { rope_type: scaling.kind, factor: shortest(scaling.factor) } };
    case "yarn":
      return { rope_scaling: yarn(scaling) };
    case "longrope":
      return longrope(scaling, context, valuesOf);
  }
}

function yarn(scaling: Extract<RopeScaling, { kind: "yarn" }>): Settings {
  const { factor, originalContext, betaFast, betaSlow, attentionFactor, truncate } = scaling;
  const magnitude = attentionFactor * yarnMagnitude(shortest(factor));
  return {
    rope_type: "yarn",
    factor: shortest(factor),
    original_max_position_embeddings: originalContext,
    ...(attentionFactor === 1 ? {} : { attention_factor: shortest(magnitude) }),
    beta_fast: shortest(betaFast),
    beta_slow: shortest(betaSlow),
    ...(truncate ? {} : { truncate }),
  };
}

/** Some loaders take `type` and the two lists, and nothing more. */
function longrope(
  { originalContext, attentionFactor, short, long }: Extract<RopeScaling, { kind: "longrope" }>,
  context: number,
  valuesOf: (vector: Vector) => Float32Array,
): Settings {
  const list = (vector: Vector) => Array.from(valuesOf(vector), shortest);
  const usual = Math.fround(longropeMagnitude(context, originalContext));
  return {
    original_max_position_embeddings: originalContext,
    rope_scaling: {
      type: "longrope",
      short_factor: list(short),
      long_factor: list(long),
      ...(Math.fround(attentionFactor) === usual ? {} : { attention_factor: shortest(attentionFactor) }),
    },
  };
}
