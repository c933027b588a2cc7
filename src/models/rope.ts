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
 * @param contextLength positions of a text, at most
 * @param factors values of `ropeFactors`
 */
export function ropeAngles(rope: RopeConfig, contextLength: number, factors?: Float32Array): RopeAngles {
  const { rotated, scaling } = rope;
  const base = grownBase(rope, contextLength);
  const frequencies = Float64Array.from({ length: rotated / 2 }, (_, i) => {
    const frequency = base ** ((-2 * i) / rotated) / (factors?.[i] ?? 1);
    if (scaling.kind !== "linear" && scaling.kind !== "yarn") return frequency;
    const interpolated = frequency / scaling.factor;
    if (scaling.kind === "linear") return interpolated;
    const [low, high] = correctionRange(rotated, base, scaling);
    const ramp = 1 - Math.min(1, Math.max(0, (i - low) / Math.max(0.001, high - low)));
    return interpolated * (1 - ramp) + frequency * ramp;
  });
  return { frequencies, magnitude: magnitude(rope) };
}

/**
 * The base of a "dynamic" scaling by s in a context of n positions: base · (s · n/original − (s − 1))^(d/(d − 2)), of d
 * dimensions that rotate. It is that of the context's whole length from the first position on: keys stay as they are.
 */
function grownBase({ base, rotated, scaling }: RopeConfig, contextLength: number): number {
  if (scaling.kind !== "dynamic" || contextLength <= scaling.originalContext) return base;
  const { factor, originalContext } = scaling;
  return base * ((factor * contextLength) / originalContext - (factor - 1)) ** (rotated / (rotated - 2));
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
  const { betaFast, betaSlow, truncate } = scaling;
  const [low, high] = truncate
    ? [Math.floor(pair(betaFast)), Math.ceil(pair(betaSlow))]
    : [pair(betaFast), pair(betaSlow)];
  return [Math.max(0, low), Math.min(rotated - 1, high)];
}
