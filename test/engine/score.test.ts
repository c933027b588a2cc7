import { afterEach, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { INTERPRETER_TARGETS, NATIVE_TARGETS, need, type TestTarget, WASM_TARGETS } from "../backends.ts";
import { logSoftmax } from "../evaluation/oracle.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { loadOn } from "./engines.ts";

const TARGETS = [INTERPRETER_TARGETS[0], NATIVE_TARGETS[0], WASM_TARGETS[0]] as TestTarget[];
const MODEL = "models/stories260K/stories260K.gguf";
const IDS = Array.from({ length: 15 }, (_, i) => 3 + ((i * 31 + i * i) % 500));

const open: Engine[] = [];

afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

describe.each(TARGETS.map((target) => [target.name, target] as const))("scores on %s", (_, target) => {
  /** Fewer logits fit than rows, so that they are made in several parts. */
  async function load(path: string, kv: "f16" | "q8_0"): Promise<Engine> {
    const { engine } = await loadOn(target, path, { kv }, { maxRows: 16, maxOutputs: 5 });
    open.push(engine);
    return engine;
  }

  test("are those of the logits, in parts of the rows that want them", async (context) => {
    await need(target, context);
    const path = shared(context, MODEL);
    const [model, base] = [await load(path, "q8_0"), await load(path, "f16")];
    const rowsOf = ({ sequence }: { sequence: ReturnType<Engine["open"]> }) =>
      IDS.map((token, i) => ({ sequence, token, target: i % 3 === 0 ? undefined : (i * 7) % 512 }));
    const logs = async (engine: Engine) => {
      const sequence = engine.open();
      const all: Float64Array[] = [];
      for (const token of IDS) {
        const [logits] = await engine.step([{ sequence, token, output: true }]);
        all.push(logSoftmax(logits as Float32Array));
      }
      engine.close(sequence);
      return all;
    };
    const [ours, theirs] = [await logs(model), await logs(base)];
    const sequences = { own: model.open(), base: base.open() };
    const wanted = rowsOf({ sequence: sequences.own }).flatMap(({ target }, row) =>
      target === undefined ? [] : [{ row, target }],
    );
    const scores = await model.score(rowsOf({ sequence: sequences.own }));
    expect(sequences.own.length).toBe(IDS.length);
    sequences.own.truncate(0);
    const live = base.asBase(sequences.base);
    const compared = await model.compare(rowsOf({ sequence: sequences.own }), live);
    expect([sequences.own.length, sequences.base.length]).toEqual([IDS.length, IDS.length]);
    expect(compared.map(({ logProbability, top }) => ({ logProbability, top }))).toEqual(scores);
    wanted.forEach(({ row, target: token }, i) => {
      const [own, other] = [ours[row] as Float64Array, theirs[row] as Float64Array];
      expect(scores[i]?.logProbability).toBeCloseTo(own[token] as number, 5);
      expect(scores[i]?.top).toBe(own[token] === Math.max(...own));
      expect(compared[i]?.base.logProbability).toBeCloseTo(other[token] as number, 5);
      const kl = other.reduce((sum, log, n) => sum + Math.exp(log) * (log - (own[n] as number)), 0);
      expect(Math.abs((compared[i]?.divergence ?? Number.NaN) - kl)).toBeLessThan(1e-6);
    });
  });
});
