import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { weightBytes } from "../../src/api/benchmark-work.ts";
import { FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import type { Engine, Row } from "../../src/engine/engine.ts";
import { compileModel } from "../../src/engine/load-model.ts";
import { openSynthetic } from "../../src/engine/synthetic.ts";
import type { GgufValue } from "../../src/files/gguf-values.ts";
import type { GgufTensorToWrite, GgufToWrite } from "../../src/files/gguf-writer.ts";
import { avx2 } from "../../src/isa/avx2.ts";
import { type RandomModelOptions, randomModel } from "../../src/models/random-model.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { INTERPRETER_TARGETS, NATIVE_TARGETS, need, type TestTarget, WASM_TARGETS } from "../backends.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import { failure } from "./damaged.ts";
import { loadOn } from "./engines.ts";

const folder = temporaryFolder();
const u32 = (value: number): GgufValue => ({ type: "u32", value });

const SHAPE = {
  layers: 2,
  hiddenSize: 64,
  intermediateSize: 96,
  heads: 2,
  kvHeads: 1,
  vocabularySize: 300,
  contextLength: 96,
} as const;

function mixture(architecture: string, more: Partial<RandomModelOptions> = {}): RandomModelOptions {
  const keys = { expert_count: u32(5), expert_used_count: u32(2), ...more.keys };
  const optional = (tensor: string) => /output.weight|_[qkv]\.bias/.test(tensor);
  return { ...SHAPE, format: "F32", architecture, optional, ...more, keys };
}

const QWEN = { expert_feed_forward_length: u32(40), expert_shared_feed_forward_length: u32(72) };
const MODELS = [
  mixture("llama"),
  mixture("llama", { format: "Q4_0" }),
  mixture("qwen2moe", { keys: QWEN }),
  mixture("qwen3moe", { format: "Q8_0", intermediateSize: 128, keys: { expert_used_count: u32(4) } }),
];

const tokens = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => 3 + ((seed * 97 + i * 31 + i * i) % 290));

function rowsOf(engine: Engine, ids: readonly number[]): Row[] {
  const sequence = engine.open();
  return ids.map((token) => ({ sequence, token, output: true }));
}

async function alone(engine: Engine, ids: readonly number[]): Promise<Float32Array[]> {
  const rows = rowsOf(engine, ids);
  const logits = await engine.step(rows);
  for (const { sequence } of rows.slice(0, 1)) engine.close(sequence);
  return logits;
}

const CHOSEN = [...INTERPRETER_TARGETS.slice(-1), ...NATIVE_TARGETS, ...WASM_TARGETS];

describe.each(CHOSEN)("mixtures on $name", (target) => {
  test.for(MODELS.map((model, n) => [n, model.architecture, model.format, model] as const))(
    "%i: %s, %s: a token's logits do not depend on what it shares the step with",
    async ([n, , , model], context) => {
      await need(target, context);
      const path = await saveGguf(join(folder, `mixture${n}.gguf`), randomModel(model));
      const { engine } = await loadOn(target, path, {}, { sequences: 3 });
      try {
        const [long, short] = [tokens(1, 19), tokens(2, 3)];
        const expected = [...(await alone(engine, long)), ...(await alone(engine, short))];
        const [a, b] = [rowsOf(engine, long), rowsOf(engine, short)];
        const mixed = [...a.slice(0, 4), ...b.slice(0, 2), ...a.slice(4), ...b.slice(2)];
        const logits = await engine.step(mixed);
        const of = (rows: readonly Row[]) => rows.map((row) => logits[mixed.indexOf(row)]);
        expect([...of(a), ...of(b)]).toEqual(expected);
      } finally {
        await engine.dispose();
      }
    },
  );
});

/** The model as the first files of mixtures have it, a tensor for every expert. */
function unstacked({ metadata, tensors }: GgufToWrite): GgufToWrite {
  const apart = tensors.flatMap((tensor): GgufTensorToWrite[] => {
    const [cols = 1, rows = 1, experts] = tensor.shape;
    if (experts === undefined) return [tensor];
    return Array.from({ length: experts }, (_, e) => ({
      name: tensor.name.replace("_exps", `.${e}`),
      type: tensor.type,
      shape: [cols, rows],
      data: () => {
        const all = Buffer.concat([...(tensor.data() as Iterable<Uint8Array>)]);
        return [all.subarray((e * all.length) / experts, ((e + 1) * all.length) / experts)];
      },
    }));
  });
  return { metadata, tensors: apart };
}

describe("a tensor for every expert", () => {
  const model = randomModel(mixture("llama", { format: "Q4_0" }));
  const path = join(folder, "apart.gguf");
  const [wasm] = WASM_TARGETS as [TestTarget];

  async function logitsOf(contents: GgufToWrite): Promise<Float32Array[]> {
    const { engine } = await loadOn(wasm, await saveGguf(path, contents));
    try {
      return await alone(engine, tokens(3, 7));
    } finally {
      await engine.dispose();
    }
  }

  test("gives what one for all experts gives", async () => {
    expect(await logitsOf(unstacked(model))).toEqual(await logitsOf(model));
  });

  test("has to be there, and like the others", async () => {
    const { metadata, tensors } = unstacked(model);
    const missing = tensors.filter(({ name }) => name !== "blk.1.ffn_up.2.weight");
    await saveGguf(path, { metadata, tensors: missing });
    expect(await failure(path, "tensor blk.1.ffn_up_exps.weight", "no part 2")).toBeInstanceOf(
      FileFormatError,
    );
    const shorter = tensors.map((tensor) =>
      tensor.name === "blk.0.ffn_down.4.weight"
        ? { ...tensor, shape: [96, 32], data: () => [new Uint8Array((96 * 32 * 18) / 32)] }
        : tensor,
    );
    await saveGguf(path, { metadata, tensors: shorter });
    expect(await failure(path, "tensor blk.0.ffn_down_exps.weight", "part 4 is not like")).toBeInstanceOf(
      FileFormatError,
    );
  });
});

test("a token reads the experts that it passes, and no others", () => {
  const shape = { ...SHAPE, experts: { count: 8, used: 2 } };
  const twice = { ...SHAPE, intermediateSize: 2 * SHAPE.intermediateSize };
  const [mixed, dense] = [shape, twice].map((shape) => {
    const model = openSynthetic({ shape, format: "Q4_0" });
    return compileModel(model, genericMachine(), avx2, "native", { threads: 2 });
  });
  const routers = SHAPE.layers * 4 * 8 * SHAPE.hiddenSize;
  expect(weightBytes(mixed as never) - weightBytes(dense as never)).toBe(routers);
});

describe("metadata and tensors that do not fit", () => {
  const path = join(folder, "wrong.gguf");

  function changed(change: (file: GgufToWrite) => GgufToWrite): GgufToWrite {
    return change(randomModel(mixture("qwen2moe", { keys: QWEN })));
  }
  const withKey = (key: string, value: GgufValue | undefined) =>
    changed(({ metadata, tensors }) => {
      const entries = new Map(metadata);
      if (value === undefined) entries.delete(`qwen2moe.${key}`);
      else entries.set(`qwen2moe.${key}`, value);
      return { metadata: entries, tensors };
    });

  test.each([
    ["expert_used_count", u32(6)],
    ["expert_used_count", u32(0)],
    ["expert_used_count", u32(2 ** 31)],
    ["expert_used_count", undefined],
    ["expert_used_count", { type: "f32", value: 2 }],
    ["expert_count", u32(0)],
    ["expert_count", undefined],
    ["expert_count", u32(2 ** 32 - 1)],
    ["expert_feed_forward_length", u32(2 ** 31)],
    ["expert_shared_feed_forward_length", { type: "i32", value: -1 }],
  ] as const)("%s of %o", async (key, value) => {
    await saveGguf(path, withKey(key, value));
    expect(await failure(path, `qwen2moe.${key}`)).toBeInstanceOf(FileFormatError);
  });

  test.each([
    ["expert_count", u32(4)],
    ["expert_feed_forward_length", u32(39)],
    ["expert_shared_feed_forward_length", u32(73)],
  ] as const)("%s of %o, and tensors of another shape", async (key, value) => {
    await saveGguf(path, withKey(key, value));
    expect(await failure(path, "tensor blk.0.ffn_")).toBeInstanceOf(FileFormatError);
  });

  test("a stack with fewer experts than the router has", async () => {
    const cut = ({ metadata, tensors }: GgufToWrite): GgufToWrite => ({
      metadata,
      tensors: tensors.map((tensor) => {
        if (tensor.name !== "blk.1.ffn_up_exps.weight") return tensor;
        const bytes = new Uint8Array(4 * 64 * 40 * 4);
        return { ...tensor, shape: [64, 40, 4], data: () => [bytes] };
      }),
    });
    await saveGguf(path, changed(cut));
    const message = (await failure(path, "tensor blk.1.ffn_up_exps.weight")).message;
    expect(message).toContain("has shape 64 × 40 × 4, not 64 × 40 × 5");
  });

  test("experts in an architecture that has none", async () => {
    const { metadata, tensors } = randomModel({ ...SHAPE, format: "F32", architecture: "qwen3" });
    const entries = new Map([...metadata, ["qwen3.expert_count", u32(8)] as const]);
    await saveGguf(path, { metadata: entries, tensors });
    expect(await failure(path, "qwen3.expert_count")).toBeInstanceOf(UnsupportedError);
  });
});
