import type { RopeConfig, Vector } from "./model.ts";

/**
 * Angle of pair i at a position, and the factor on the rotated vectors' length.
 */
export interface RopeAngles {
  readonly frequencies: Float64Array;
  readonly magnitude: number;
}

/** The factors that divide the frequencies of a model with this context, if there are any. */
export function ropeFactors({ scaling, factors }: RopeConfig, contextLength: number): Vector | undefined {
  if (scaling.kind !== "longrope") return factors;
  return contextLength > scaling.originalContext ? scaling.long : scaling.short;
}

/**
 * Frequencies θ_i = base^(−2i/rotated), scaled as the configuration says, in radians per position.
 *
 * @param factors values of `ropeFactors`
 */
export function ropeAngles(rope: RopeConfig, factors?: Float32Array): RopeAngles {
  const { rotated, base, scaling } = rope;
  const frequencies = Float64Array.from({ length: rotated / 2 }, (_, i) => {
    const frequency = base ** ((-2 * i) / rotated) / (factors?.[i] ?? 1);
    if (scaling.kind === "none" || scaling.kind === "longrope") return frequency;
    const interpolated = frequency / scaling.factor;
    if (scaling.kind === "linear") return interpolated;
    const [low, high] = correctionRange(rotated, base, scaling);
    const ramp = 1 - Math.min(1, Math.max(0, (i - low) / Math.max(0.001, high - low)));
    return interpolated * (1 - ramp) + frequency * ramp;
  });
  return { frequencies, magnitude: magnitude(rope) };
}

function magnitude({ scaling }: RopeConfig): number {
  if (scaling.kind === "longrope") return scaling.attentionFactor;
  return scaling.kind === "yarn" ? scaling.attentionFactor * (1 + 0.1 * Math.log(scaling.factor)) : 1;
}

/** The pairs between which YaRN ramps: those that turn betaFast and betaSlow times in the original context. */
function correctionRange(
  rotated: number,
  base: number,
  scaling: Extract<RopeConfig["scaling"], { kind: "yarn" }>,
): [number, number] {
  const pair = (turns: number) =>
    (rotated * Math.log(scaling.originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  return [
    Math.max(0, Math.floor(pair(scaling.betaFast))),
    Math.min(rotated - 1, Math.ceil(pair(scaling.betaSlow))),
  ];
}
