import { describe, expect, test } from "vitest";
import { modelSpec } from "../../src/models/index.ts";
import { randomFile } from "../../src/models/random-file.ts";
import { randomLlama } from "../../src/models/random-llama.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";

/** Matrices of 4 MiB, so that rows repeat. */
const SHAPE = {
  layers: 1,
  hiddenSize: 512,
  intermediateSize: 8192,
  heads: 8,
  kvHeads: 2,
  vocabularySize: 8192,
  contextLength: 64,
};

function made(format: string) {
  return randomFile("random", randomLlama({ ...SHAPE, format, weights: "codes" }));
}

describe("a random model that is no file", () => {
  test("has the tensors of a model, in a format that files lack", () => {
    const { file, source } = made("3bit-g128");
    expect(modelSpec(file).config).toMatchObject({ hiddenSize: 512, kvHeads: 2, vocabularySize: 8192 });
    const up = file.tensors.get("blk.0.ffn_up.weight");
    expect(up).toMatchObject({ type: "3bit-g128", shape: [512, 8192] });
    expect(up?.byteLength).toBe(8192 * rowBytes(formatNamed("3bit-g128"), 512));
    expect(source.size).toBe([...file.tensors.values()].reduce((sum, t) => sum + t.byteLength, 0));
  });

  test("reads the same bytes in one piece and in many", async () => {
    const { source } = made("Q4_1");
    const whole = await source.read(0, source.size);
    const step = 1_234_567;
    for (let offset = 0; offset < source.size; offset += step) {
      const length = Math.min(step, source.size - offset);
      expect(Buffer.compare(await source.read(offset, length), whole.subarray(offset, offset + length))).toBe(
        0,
      );
    }
    const again = new Uint8Array(4096);
    await made("Q4_1").source.readInto(source.size - 4096, again);
    expect(again).toEqual(whole.subarray(-4096));
  });

  test("repeats whole rows of a tensor, and none in another one", async () => {
    const { file } = made("4bit-g64");
    const stride = rowBytes(formatNamed("4bit-g64"), 512);
    const rowsOf = async (name: string) => {
      const tensor = file.tensors.get(name);
      if (tensor === undefined) throw new Error(`no tensor ${name}`);
      const bytes = new Uint8Array(tensor.byteLength);
      await tensor.readRows(0, bytes);
      const values = dequantizeRows(formatNamed(tensor.type), bytes, 8192, 512);
      expect(values.every(Number.isFinite)).toBe(true);
      return Array.from({ length: 8192 }, (_, i) =>
        Buffer.from(bytes.subarray(i * stride, (i + 1) * stride)).toString("latin1"),
      );
    };
    const [gate, up] = [await rowsOf("blk.0.ffn_gate.weight"), await rowsOf("blk.0.ffn_up.weight")];
    const distinct = new Set(gate).size;
    expect(distinct * stride).toBeGreaterThan(2 ** 20 - stride);
    expect(distinct).toBeLessThan(8192);
    expect(gate.slice(0, 8192 - distinct)).toEqual(gate.slice(distinct));
    expect(new Set([...gate, ...up]).size).toBe(2 * distinct);
  });

  test("ends where its tensors end", async () => {
    const { source } = made("Q4_0");
    await expect(source.read(source.size - 1, 2)).rejects.toThrow("the file has");
  });
});
