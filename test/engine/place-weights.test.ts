import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { type EngineOptions, loadEngine, openModel } from "../../src/engine/load-model.ts";
import type { PackedPolicy } from "../../src/engine/place-weights.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import { type DiskSpace, PackedCache } from "../../src/host/packed-cache.ts";
import { randomLlama } from "../../src/models/random-llama.ts";
import type { HugePages } from "../../src/plan/machine.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";

const root = temporaryFolder();
const model = join(root, "random.gguf");
const ROOMY: DiskSpace = { free: 2 ** 40, total: 2 ** 40 };
const open: Engine[] = [];

beforeAll(async () => {
  // 40 MB: 20 huge pages, which take some tens of milliseconds to move.
  const shape = { layers: 6, hiddenSize: 1024, intermediateSize: 2816, heads: 16, kvHeads: 8 };
  const options = { ...shape, vocabularySize: 4000, contextLength: 1024 };
  await saveGguf(model, randomLlama({ ...options, format: "Q4_0", weights: "codes" }));
});

afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

/** A new cache folder; files in it are written of models of this size or more. */
function freshCache(space = ROOMY, leastBytes = 2 ** 20): PackedPolicy & { cache: PackedCache } {
  const limits = { maxBytes: 2 ** 40, diskSpace: async () => space };
  const cache = new PackedCache(mkdtempSync(join(root, "cache-")), limits);
  return { leastBytes, openCache: () => cache, cache };
}

interface Loaded {
  readonly engine: Engine;
  /** Whether the weights were read from the model and packed, not mapped. */
  readonly packed: boolean;
}

async function load(
  context: TestContext,
  policy: PackedPolicy,
  options: EngineOptions = {},
  hugePages: HugePages = "madvise",
): Promise<Loaded> {
  await need(NATIVE_TARGETS[0] as TestTarget, context);
  const opened = await openModel(model);
  try {
    const machine = { ...(await describeMachine()), hugePages };
    const onProgress = vi.fn();
    const all = { backend: "native", threads: 2, contextLength: 1024, onProgress, ...options } as const;
    const engine = await loadEngine(opened, machine, all, policy);
    open.push(engine);
    return { engine, packed: onProgress.mock.calls.length > 0 };
  } finally {
    await opened.close();
  }
}

/** The logits after a token that is the whole text. */
async function logitsOf(engine: Engine, token: number): Promise<Float32Array> {
  const sequence = engine.open();
  const [logits] = await engine.step([{ sequence, token, output: true }]);
  engine.close(sequence);
  return logits as Float32Array;
}

/** Mappings of packed files in this process. */
function mappings({ cache }: { cache: PackedCache }): number {
  const maps = readFileSync("/proc/self/maps", "utf8");
  return maps.split("\n").filter((line) => line.includes(cache.folder)).length;
}

const linux = test.skipIf(process.platform !== "linux");
const files = ({ cache }: { cache: PackedCache }) => readdirSync(cache.folder);
const TOKENS = Array.from({ length: 8 }, (_, i) => 5 + 300 * i);

/** A cache with the model's file. */
async function filledCache(
  context: TestContext,
  hugePages?: HugePages,
): Promise<ReturnType<typeof freshCache>> {
  const policy = freshCache();
  const { engine } = await load(context, policy, { placement: "mapped" }, hugePages);
  await engine.dispose();
  return policy;
}

describe("auto, for the first time", () => {
  test("leaves a file beside the steps, which holds what mapped writes", async (context) => {
    const policy = freshCache();
    const { engine, packed } = await load(context, policy);
    expect(packed).toBe(true);
    await engine.whenSettled();
    expect((await policy.cache.usage()).files).toBe(0);
    await logitsOf(engine, 5);
    await engine.whenSettled();
    const [name] = files(policy) as [string];
    const [other] = files(await filledCache(context)) as [string];
    expect(name).toBe(other);
    const { bytes } = engine.program.weights;
    const written = readFileSync(join(policy.cache.folder, name)).subarray(0, bytes);
    const again = await filledCache(context);
    expect(written.equals(readFileSync(join(again.cache.folder, name)).subarray(0, bytes))).toBe(true);
  });

  test("by two at once leaves one file, and both run", async (context) => {
    const policy = freshCache();
    const both = await Promise.all([load(context, policy), load(context, policy)]);
    const [one, other] = await Promise.all(both.map(({ engine }) => logitsOf(engine, 5)));
    expect(one).toEqual(other);
    await Promise.all(both.map(({ engine }) => engine.whenSettled()));
    expect(files(policy)).toHaveLength(1);
    expect((await load(context, policy)).packed).toBe(false);
  });

  test("may be waited for, as long as one likes", async (context) => {
    const policy = freshCache();
    const { engine } = await load(context, policy);
    await engine.whenSaved();
    await logitsOf(engine, 5);
    await engine.whenSaved(AbortSignal.abort());
    const stop = new AbortController();
    const given = engine.whenSaved(stop.signal);
    stop.abort();
    await given;
    expect((await policy.cache.usage()).files).toBe(0);
    await engine.whenSaved();
    expect((await policy.cache.usage()).files).toBe(1);
  });

  test("leaves nothing when it ends before the file is written", async (context) => {
    const policy = freshCache();
    const { engine } = await load(context, policy);
    await logitsOf(engine, 5);
    await engine.dispose();
    expect((await policy.cache.usage()).files).toBe(0);
    expect(files(policy)).toEqual([]);
  });

  test.for([
    ["of a small model", ROOMY, 2 ** 30],
    ["on a full disk", { free: 2 ** 30, total: 2 ** 40 }, 2 ** 20],
  ] as const)("leaves no file %s", async ([, space, leastBytes], context) => {
    const policy = freshCache(space, leastBytes);
    const { engine } = await load(context, policy);
    await logitsOf(engine, 5);
    await engine.whenSettled();
    expect((await policy.cache.usage()).files).toBe(0);
  });

  test("runs where the folder cannot be written", async (context) => {
    const policy = freshCache();
    writeFileSync(policy.cache.folder, "in the way");
    const { engine, packed } = await load(context, policy);
    await logitsOf(engine, 5);
    await engine.whenSettled();
    expect(packed).toBe(true);
  });

  test("replaces a damaged file", async (context) => {
    const policy = await filledCache(context);
    truncateSync(join(policy.cache.folder, files(policy)[0] as string), 10_000);
    const { engine, packed } = await load(context, policy);
    expect(packed).toBe(true);
    await logitsOf(engine, 5);
    await engine.whenSettled();
    expect((await load(context, policy)).packed).toBe(false);
  });
});

describe("auto, with a file there", () => {
  linux("gives the logits of an arena before, during and after the move", async (context) => {
    const policy = await filledCache(context);
    const arena = await load(context, policy, { placement: "arena" });
    const expected: Float32Array[] = [];
    for (const token of TOKENS) expected.push(await logitsOf(arena.engine, token));
    const { engine, packed } = await load(context, policy);
    expect([packed, mappings(policy)]).toEqual([false, 1]);
    let over = false;
    for (let round = 0; !over || round < 2; round++) {
      // The first step runs before the move begins, the last round after its end.
      over = round > 0 && mappings(policy) === 0;
      for (const [i, token] of TOKENS.entries()) expect(await logitsOf(engine, token)).toEqual(expected[i]);
      if (round > 1000) throw new Error("the weights do not move");
    }
    await engine.whenSettled();
    expect(mappings(policy)).toBe(0);
  });

  linux("may end before, during and after the move", async (context) => {
    const policy = await filledCache(context);
    for (const end of ["before", "during", "after"]) {
      const { engine } = await load(context, policy);
      if (end !== "before") await logitsOf(engine, 5);
      // Nobody waits for a move, which later starts gain nothing from.
      await engine.whenSaved();
      if (end === "after") await engine.whenSettled();
      await engine.dispose();
      expect(mappings(policy)).toBe(0);
    }
  });

  linux("does not move where there are no huge pages", async (context) => {
    const policy = await filledCache(context, "never");
    const { engine } = await load(context, policy, {}, "never");
    await logitsOf(engine, 5);
    await engine.whenSettled();
    expect(mappings(policy)).toBe(1);
  });

  linux("two run at once, and one goes on when the file and the other are gone", async (context) => {
    const policy = await filledCache(context);
    const one = await load(context, policy);
    const other = await load(context, policy, { placement: "mapped" });
    const expected = await logitsOf(one.engine, 5);
    rmSync(join(policy.cache.folder, files(policy)[0] as string));
    await one.engine.dispose();
    expect(await logitsOf(other.engine, 5)).toEqual(expected);
  });
});

describe("arena", () => {
  test("neither writes a file nor maps one", async (context) => {
    const policy = freshCache();
    const arena = () => load(context, policy, { placement: "arena" });
    const { engine, packed } = await arena();
    await logitsOf(engine, 5);
    await engine.whenSettled();
    expect([packed, (await policy.cache.usage()).files]).toEqual([true, 0]);
    await (await load(context, policy, { placement: "mapped" })).engine.dispose();
    expect((await arena()).packed).toBe(true);
  });
});

describe("backends that cannot map files", () => {
  test.each(["wasm", "interpreter"] as const)("%s: auto is an arena", async (backend) => {
    const policy = freshCache(ROOMY, 0);
    const opened = await openModel(await saveGguf(join(root, "tiny.gguf"), tinyLlama()));
    const engine = await loadEngine(opened, await describeMachine(), { backend }, policy);
    open.push(engine);
    await opened.close();
    await logitsOf(engine, 5);
    await engine.whenSettled();
    expect((await policy.cache.usage()).files).toBe(0);
  });
});
