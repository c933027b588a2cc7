import { describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { RopeConfig } from "../../src/models/model.ts";
import { randomModel } from "../../src/models/random-model.ts";
import { ropeAngles } from "../../src/models/rope.ts";
import { divergence } from "../checkpoints/random-checkpoint.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import { ARCHITECTURES } from "./architectures.ts";

const plain: RopeConfig = { pairing: "halves", rotated: 64, base: 10_000, scaling: { kind: "none" } };

describe("dynamic", () => {
  const scaled: RopeConfig = { ...plain, scaling: { kind: "dynamic", factor: 2, originalContext: 2048 } };

  test("changes nothing as long as the context is the original one", () => {
    expect(ropeAngles(scaled, 2048)).toEqual(ropeAngles(plain, 2048));
    expect(ropeAngles(scaled, 100)).toEqual(ropeAngles(plain, 100));
  });

  test("is another base in a longer one", () => {
    // 2 · 6144/2048 − 1 = 5
    const grown = { ...plain, base: 10_000 * 5 ** (64 / 62) };
    const [found, wanted] = [ropeAngles(scaled, 6144), ropeAngles(grown, 6144)];
    found.frequencies.forEach((frequency, i) => {
      expect(frequency).toBeCloseTo(wanted.frequencies[i] as number, 12);
    });
    expect(found.magnitude).toBe(1);
  });
});

describe("YaRN", () => {
  const yarn = (truncate: boolean): RopeConfig => ({
    ...plain,
    base: 150_000,
    scaling: {
      kind: "yarn",
      factor: 32,
      originalContext: 4096,
      betaFast: 32,
      betaSlow: 1,
      attentionFactor: 1,
      truncate,
    },
  });

  test("ramps between whole dimensions, or where they turn so often", () => {
    // Pair i turns 4096 · 150000^(−i/32) / 2π times: 32 times at i = 8.09, once at 17.40.
    const share = (truncate: boolean, i: number) => {
      const slow = 150_000 ** (-i / 32);
      return (ropeAngles(yarn(truncate), 4096).frequencies[i] as number) / slow;
    };
    const ramp = (i: number, low: number, high: number) => 1 - ((i - low) / (high - low)) * (1 - 1 / 32);
    expect(share(true, 8)).toBe(1);
    expect(share(true, 10)).toBeCloseTo(ramp(10, 8, 18), 12);
    expect(share(false, 10)).toBeCloseTo(ramp(10, 8.0928, 17.3983), 4);
    expect(share(false, 18)).toBeCloseTo(1 / 32, 12);
  });
});

describe("gpt-oss", () => {
  const folder = temporaryFolder();
  const { model } = ARCHITECTURES.find(({ name }) => name === "gpt-oss") as (typeof ARCHITECTURES)[number];
  const logits = async (keys: Readonly<Record<string, GgufValue>>) => {
    const whole = randomModel({ ...model, layers: 2, keys: { ...model.keys, ...keys } });
    const path = await saveGguf(`${folder}/${Math.random()}.gguf`, whole);
    await using loaded = await loadModel(path, { backend: "wasm", activations: "f32", kv: "f32" });
    return await loaded.evaluate(Array.from({ length: 40 }, (_, i) => (37 * i + 11) % 300));
  };
  const base = (value: number): GgufValue => ({ type: "f32", value });

  test("layers with a window may rotate by another base", async () => {
    const usual = await logits({});
    expect(divergence(usual, await logits({ "rope.freq_base_swa": base(10_000) }))).toBe(0);
    expect(divergence(usual, await logits({ "rope.freq_base_swa": base(100) }))).toBeGreaterThan(1e-4);
    const both = await logits({ "rope.freq_base": base(100) });
    expect(divergence(both, await logits({ "rope.freq_base_swa": base(100) }))).toBeGreaterThan(1e-4);
  });
});
