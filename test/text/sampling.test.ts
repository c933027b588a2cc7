import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/base/errors.ts";
import { Rng } from "../../src/base/rng.ts";
import { allTokens, likeliestTokens, topTokens } from "../../src/text/candidates.ts";
import { Sampler } from "../../src/text/sampling.ts";
import { resolveSampling, type SamplingOptions } from "../../src/text/sampling-options.ts";

/** Options that leave the distribution alone. */
const OFF = { temperature: 1, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 1 } as const;
const logitsOf = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);

/** How often each token is drawn. */
function frequencies(logits: Float32Array, options: SamplingOptions, draws = 20_000): number[] {
  const sampler = new Sampler({ ...OFF, ...options });
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) {
    const token = sampler.sample(logits) as number;
    counts[token] = (counts[token] as number) + 1 / draws;
  }
  return counts;
}

/** The tokens that `topK` and then `topP` keep, by sorting all of them. */
function reference(logits: Float32Array, topK: number, topP: number): number[] {
  const ids = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  const kept = ids.slice(0, topK);
  const weights = kept.map((id) => Math.exp((logits[id] as number) - (logits[kept[0] as number] as number)));
  const needed = topP * weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  const nucleus = kept.filter((_, i) => {
    const wanted = i === 0 || topP === 1 || sum < needed;
    sum += weights[i] as number;
    return wanted;
  });
  return nucleus.sort((a, b) => a - b);
}

const sorted = (ids: Iterable<number>) => [...ids].sort((a, b) => a - b);
const logitArrays = fc
  .array(fc.oneof(fc.integer({ min: -8, max: 8 }), fc.double({ min: -60, max: 60, noNaN: true })), {
    minLength: 1,
  })
  .map((values) => Float32Array.from(values));

describe("candidates", () => {
  test("the top tokens are those of a sort", () => {
    fc.assert(
      fc.property(logitArrays, fc.integer({ min: 1, max: 20 }), (logits, count) => {
        expect(sorted(topTokens(logits, count))).toEqual(reference(logits, count, 1));
      }),
    );
  });

  test("the likeliest tokens are those of a sort", () => {
    fc.assert(
      fc.property(logitArrays, fc.double({ min: 0, max: 0.999, noNaN: true }), (logits, mass) => {
        const ids = Int32Array.from(logits.keys());
        const found = likeliestTokens(logits, ids, Math.max(...logits), mass);
        const expected = reference(logits, logits.length, mass);
        // Where the sums come within rounding of the limit, one token more or less is right too.
        if (Math.abs(found.length - expected.length) === 1) {
          const nearby = [mass - 1e-9, mass + 1e-9].map(
            (near) => reference(logits, logits.length, near).length,
          );
          expect(nearby).toContain(found.length);
        } else {
          expect(sorted(found)).toEqual(expected);
        }
      }),
    );
  });

  test("tokens masked by huge negative logits are not likely", () => {
    const logits = Float32Array.of(1, -1e30, 1, -3.4e38, -(2 ** 42), 0);
    expect(sorted(likeliestTokens(logits, allTokens(logits), 1, 0.9))).toEqual([0, 2, 5]);
    expect(sorted(likeliestTokens(logits.subarray(0, 2), Int32Array.of(0, 1), 1, 0.999))).toEqual([0]);
  });

  test("a flat distribution is cut by id", () => {
    const flat = new Float32Array(1000);
    expect(sorted(likeliestTokens(flat, Int32Array.from(flat.keys()), 0, 0.25))).toEqual(
      [...flat.keys()].slice(0, 250),
    );
  });
});

describe("sampling", () => {
  test("temperature 0 takes the greatest logit, of equals the first", () => {
    const sampler = new Sampler({ temperature: 0 });
    expect(sampler.sample(Float32Array.of(1, 3, 2, 3))).toBe(1);
    expect(sampler.sample(Float32Array.of(Number.NaN, -5, Number.NEGATIVE_INFINITY))).toBe(1);
  });

  test("draws follow the probabilities", () => {
    const drawn = frequencies(logitsOf(0.5, 0.3, 0.15, 0.05), {});
    for (const [i, expected] of [0.5, 0.3, 0.15, 0.05].entries()) expect(drawn[i]).toBeCloseTo(expected, 1.7);
  });

  test("temperature sharpens and flattens", () => {
    const sharp = frequencies(logitsOf(0.75, 0.25), { temperature: 0.5 });
    expect(sharp[0]).toBeCloseTo(0.9, 1.7);
    const flat = frequencies(logitsOf(0.8, 0.2), { temperature: 2 });
    expect(flat[0]).toBeCloseTo(2 / 3, 1.7);
  });

  test("top-k, top-p and min-p keep what they say, before the temperature", () => {
    const logits = logitsOf(0.1, 0.4, 0.05, 0.3, 0.15);
    const keeps = (options: SamplingOptions) =>
      frequencies(logits, { temperature: 5, ...options }, 2000).flatMap((part, id) => (part > 0 ? [id] : []));
    expect(keeps({ topK: 2 })).toEqual([1, 3]);
    expect(keeps({ topP: 0.69 })).toEqual([1, 3]);
    expect(keeps({ topP: 0.71 })).toEqual([1, 3, 4]);
    expect(keeps({ topP: 0 })).toEqual([1]);
    expect(keeps({ minP: 0.36 })).toEqual([1, 3, 4]);
    expect(keeps({ minP: 1 })).toEqual([1]);
    // Of the three that top-k leaves, 0.4 and 0.3 have 82 %.
    expect(keeps({ topK: 3, topP: 0.8 })).toEqual([1, 3]);
    expect(keeps({ topK: 100 })).toEqual([0, 1, 2, 3, 4]);
  });

  test("recent tokens are penalized once, old ones no more", () => {
    const logits = Float32Array.of(2, 1.5, -1, -1.2);
    const sampler = new Sampler({ temperature: 0, repeatPenalty: 2, repeatLastN: 2 });
    sampler.accept(0);
    sampler.accept(0);
    expect(sampler.sample(logits)).toBe(1); // 1 against 1.5
    sampler.accept(1);
    expect(sampler.sample(logits)).toBe(0); // 1 against 0.75
    sampler.accept(3);
    expect(sampler.sample(logits)).toBe(0);
    expect([...logits]).toEqual([2, 1.5, -1, Math.fround(-1.2)]);
    const negative = new Sampler({ temperature: 0, repeatPenalty: 2 });
    negative.accept(0);
    expect(negative.sample(Float32Array.of(-1, -1.5))).toBe(1);
  });

  test("the same seed gives the same tokens", () => {
    const rng = new Rng(3);
    const steps = Array.from({ length: 50 }, () =>
      Float32Array.from({ length: 100 }, () => 3 * rng.normal()),
    );
    const draw = (seed: number) => {
      const sampler = new Sampler({ seed, repeatPenalty: 1.1 });
      return steps.map((logits) => {
        const token = sampler.sample(logits) as number;
        sampler.accept(token);
        return token;
      });
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    const unseeded = new Sampler();
    const again = new Sampler({ seed: unseeded.options.seed });
    expect(steps.map((logits) => unseeded.sample(logits))).toEqual(
      steps.map((logits) => again.sample(logits)),
    );
  });

  test("forbidden tokens are never drawn, and some token must be possible", () => {
    const logits = Float32Array.of(Number.NEGATIVE_INFINITY, 0, Number.NaN, 0, Number.NEGATIVE_INFINITY);
    for (const options of [{}, { topK: 4 }, { topP: 0.99 }, { temperature: 100 }]) {
      const drawn = frequencies(logits, options, 500);
      expect(drawn.map((part) => part > 0)).toEqual([false, true, false, true, false]);
    }
    expect(new Sampler().sample(Float32Array.of(0, Number.POSITIVE_INFINITY))).toBe(1);
    expect(new Sampler().sample(new Float32Array(3).fill(Number.NaN))).toBeUndefined();
    expect(new Sampler().sample(new Float32Array(0))).toBeUndefined();
  });
});

describe("options", () => {
  test("have defaults", () => {
    expect(resolveSampling({ seed: 5, topK: undefined })).toEqual({
      temperature: 0.8,
      topK: 40,
      topP: 0.95,
      minP: 0.05,
      repeatPenalty: 1,
      repeatLastN: 64,
      seed: 5,
    });
    expect(resolveSampling().seed).not.toBe(resolveSampling().seed);
  });

  test.each<[string, unknown]>([
    ["temperature", -0.1],
    ["temperature", Number.NaN],
    ["temperature", "1"],
    ["temperature", null],
    ["topK", 1.5],
    ["topK", -1],
    ["topP", 1.01],
    ["minP", -0.01],
    ["repeatPenalty", 0],
    ["repeatLastN", Number.POSITIVE_INFINITY],
    ["seed", 2 ** 32],
  ])("%s: %o is refused by name", (name, value) => {
    expect(() => new Sampler({ [name]: value })).toThrow(UsageError);
    expect(() => new Sampler({ [name]: value })).toThrow(name);
  });
});
