import { afterEach, describe, expect, type TestContext, test } from "vitest";
import { AbortedError, InternalError, UsageError } from "../../src/base/errors.ts";
import type { Engine, Row } from "../../src/engine/engine.ts";
import type { EngineOptions } from "../../src/engine/load-model.ts";
import type { ProgramLimits } from "../../src/engine/model-program.ts";
import type { Sequence } from "../../src/engine/page-pool.ts";
import { ISAS } from "../../src/isa/index.ts";
import { INTERPRETER_TARGETS, NATIVE_TARGETS, need, type TestTarget, WASM_TARGETS } from "../backends.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { loadOn } from "./engines.ts";

const PAGE = 32;
const EXACT = { activations: "f32", kv: "f32" } as const;
const QUANTIZED = { quantize: "4bit-g32" } as const;

const open: Engine[] = [];

afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

/** stories260K with room for three sequences. */
async function load(
  context: TestContext,
  target: TestTarget,
  options: EngineOptions,
  limits: Partial<ProgramLimits> = {},
): Promise<Engine> {
  await need(target, context);
  const path = shared(context, "models/stories260K/stories260K.gguf");
  const { engine } = await loadOn(target, path, options, { sequences: 3, ...limits });
  open.push(engine);
  return engine;
}

const [wasm] = WASM_TARGETS as [TestTarget];

/** Tokens of a text that is like no other with another seed. */
function tokens(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 3 + ((seed * 97 + i * 31 + i * i) % 500));
}

function rowsOf(sequence: Sequence, ids: readonly number[]): Row[] {
  return ids.map((token) => ({ sequence, token, output: true }));
}

/** Logits of every token, the text run alone in steps of these sizes. */
async function alone(engine: Engine, parts: readonly (readonly number[])[]): Promise<Float32Array[]> {
  const sequence = engine.open();
  const logits: Float32Array[] = [];
  for (const part of parts) logits.push(...(await engine.step(rowsOf(sequence, part))));
  engine.close(sequence);
  return logits;
}

function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] as number))), 0);
}

/** The interpreter takes seconds for each: one of its targets will do, since its meaning is the same for all. */
const CHOSEN = [...INTERPRETER_TARGETS.slice(-1), ...NATIVE_TARGETS, ...WASM_TARGETS];

describe.each(CHOSEN)("steps on $name", (target) => {
  test.for([EXACT, QUANTIZED])(
    "of several sequences give what each gives alone: %o",
    async (options, context) => {
      const engine = await load(context, target, options);
      // One has a text already and goes on by a token, one starts, one goes on over the end of a page.
      const [first, next, second, third, more] = [
        tokens(1, 9),
        tokens(2, 1),
        tokens(3, 6),
        tokens(4, 28),
        tokens(5, 11),
      ];
      const expected = {
        a: (await alone(engine, [first, next])).slice(-1),
        b: await alone(engine, [second]),
        c: (await alone(engine, [third, more])).slice(-more.length),
      };
      const [a, b, c] = [engine.open(), engine.open(), engine.open()];
      await engine.step([...rowsOf(c, third), ...rowsOf(a, first)]);
      const rows = rowsOf(c, more);
      rows.splice(7, 0, ...rowsOf(b, second.slice(3)));
      rows.splice(2, 0, ...rowsOf(b, second.slice(0, 3)), ...rowsOf(a, next));
      const logits = await engine.step(rows);
      const of = (sequence: Sequence) => logits.filter((_, i) => rows[i]?.sequence === sequence);
      expect([a.length, b.length, c.length]).toEqual([10, 6, 39]);
      expect([a, b, c].map(({ pages }) => pages.length)).toEqual([1, 1, 2]);
      expect(of(b)).toEqual(expected.b);
      expect(of(c)).toEqual(expected.c);
      // Alone it was a step of one row, with a blocking of its own.
      expect(difference(of(a)[0] as Float32Array, expected.a[0] as Float32Array)).toBeLessThan(1e-4);
    },
  );

  test("only rows that want an output have one", async (context) => {
    const engine = await load(context, target, EXACT);
    const ids = tokens(6, 7);
    const all = await alone(engine, [ids]);
    const sequence = engine.open();
    const rows = ids.map((token, i) => ({ sequence, token, output: i === 2 || i === 6 }));
    expect(await engine.step(rows)).toEqual([all[2], all[6]]);
    expect(await engine.step([{ sequence, token: 5, output: false }])).toEqual([]);
    expect(sequence.length).toBe(8);
  });
});

/** Emulated instructions take long to compile, and the conversions have tests of their own. */
const QUICK = CHOSEN.filter(({ isa }) => ISAS.includes(isa));

describe.each(QUICK)("precision on $name", (target) => {
  /** Differences of logits of up to 20. */
  test.for([
    ["f16", 0.05],
    ["q8_0", 1],
  ] as const)("a KV cache of %s is close to one of f32", async ([kv, most], context) => {
    const ids = tokens(7, 40);
    const exact = await alone(await load(context, target, EXACT), [ids]);
    const rounded = await alone(await load(context, target, { ...EXACT, kv }), [ids]);
    const differences = exact.map((logits, i) => difference(logits, rounded[i] as Float32Array));
    expect(Math.max(...differences)).toBeLessThan(most);
    expect(Math.max(...differences)).toBeGreaterThan(0);
  });
});

describe("sequences", () => {
  test("give their pages back when they are closed or cut", async (context) => {
    const engine = await load(context, wasm, EXACT, { contextLength: 2 * PAGE });
    const fill = (sequence: Sequence) => engine.step(rowsOf(sequence, tokens(8, 2 * PAGE - sequence.length)));
    const all = [engine.open(), engine.open(), engine.open()] as const;
    for (const sequence of all) await fill(sequence);
    expect(new Set(all.flatMap(({ pages }) => pages)).size).toBe(6);
    expect(() => engine.open()).toThrow(UsageError);
    // Every page is in use; each round needs the ones of the round before.
    for (let round = 0; round < 3; round++) {
      engine.close(all[1]);
      const reopened = engine.open();
      await fill(reopened);
      all[0].truncate(PAGE - 1);
      expect(all[0].pages.length).toBe(1);
      await fill(all[0]);
      expect(new Set([all[0], reopened, all[2]].flatMap(({ pages }) => pages)).size).toBe(6);
      reopened.truncate(0);
      await fill(all[1]);
    }
  });

  test("that are cut go on as if the rest had never been", async (context) => {
    const engine = await load(context, wasm, EXACT);
    const [kept, dropped, more] = [tokens(10, PAGE + 3), tokens(11, PAGE), tokens(12, 5)];
    const expected = (await alone(engine, [kept, more])).slice(-more.length);
    const sequence = engine.open();
    await engine.step(rowsOf(sequence, kept));
    await engine.step(rowsOf(sequence, dropped));
    sequence.truncate(kept.length);
    expect(await engine.step(rowsOf(sequence, more))).toEqual(expected);
    sequence.truncate(sequence.length + 10);
    expect(sequence.length).toBe(kept.length + more.length);
  });
});

describe("steps that cannot be", () => {
  test.for([
    ["no rows", []],
    ["too many rows", tokens(1, 17)],
    ["too many outputs", tokens(1, 9)],
  ] as const)("%s", async ([, ids], context) => {
    const engine = await load(context, wasm, EXACT, { maxRows: 16, maxOutputs: 8 });
    const sequence = engine.open();
    await expect(engine.step(rowsOf(sequence, ids))).rejects.toThrow(InternalError);
    expect(sequence.length).toBe(0);
  });

  test("a text longer than the context", async (context) => {
    const engine = await load(context, wasm, EXACT, { contextLength: 20 });
    const [one, other] = [engine.open(), engine.open()];
    await engine.step(rowsOf(one, tokens(1, 20)));
    const rows = [...rowsOf(other, tokens(2, 3)), ...rowsOf(one, [7])];
    await expect(engine.step(rows)).rejects.toThrow(InternalError);
    expect([one.length, other.length]).toEqual([20, 0]);
    const [logits] = await alone(engine, [[5]]);
    expect(await engine.step(rowsOf(other, [5]))).toEqual([logits]);
  });

  test("an aborted one leaves everything as it was", async (context) => {
    const engine = await load(context, wasm, EXACT);
    const ids = tokens(3, 40);
    const expected = await alone(engine, [ids]);
    const sequence = engine.open();
    const step = engine.step(rowsOf(sequence, ids), AbortSignal.abort());
    await expect(step).rejects.toThrow(AbortedError);
    expect(sequence.length).toBe(0);
    expect(await engine.step(rowsOf(sequence, ids))).toEqual(expected);
  });
});
