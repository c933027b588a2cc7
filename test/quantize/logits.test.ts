import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Model } from "../../src/api/model.ts";
import { loadEngine, type OpenModel, openModel } from "../../src/engine/load-model.ts";
import type { StoredTensor } from "../../src/files/model-file.ts";
import { describeMachine } from "../../src/host/describe-machine.ts";
import type { QuantizeOptions } from "../../src/quantize/options.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { type QuantizedTensor, weightsOf } from "../../src/quantize/quantized-tensor.ts";
import { QuantizedTensors } from "../../src/quantize/quantized-tensors.ts";
import { needNative } from "../backends.ts";
import { temporaryFolder } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { decodeModule } from "./decode-gptq.ts";

const folder = temporaryFolder();
const TOKENS = Array.from({ length: 48 }, (_, i) => (37 * i + 11) % 4096);

afterEach(() => {
  vi.restoreAllMocks();
});

/** Quantizes, and keeps every matrix that the quantizer gave to be written. */
async function quantizeAndKeep(
  from: string,
  path: string,
  options: QuantizeOptions,
): Promise<ReadonlyMap<string, QuantizedTensor>> {
  const take = vi.spyOn(QuantizedTensors.prototype, "take");
  await quantize(from, path, options);
  const taken = take.mock.results.map(({ value }) => value as Promise<QuantizedTensor>);
  return new Map((await Promise.all(taken)).map((tensor) => [tensor.record.tensor, tensor]));
}

/** The rows of a tensor as the quantizer has them, packed or as the floats that they stand for. */
function ownTensor(
  { name, shape, file, byteLength }: StoredTensor,
  tensor: QuantizedTensor,
  how: "packed" | "floats",
): StoredTensor {
  const { matrix, order } = tensor;
  const bytes = how === "packed" ? matrix.encode(0, matrix.rows) : new Uint8Array(weightsOf(tensor).buffer);
  return {
    name,
    shape,
    file,
    byteLength,
    type: how === "packed" ? matrix.format.name : "F32",
    ...(how === "packed" ? { order } : {}),
    async readRows(first, target) {
      const start = (first * bytes.length) / matrix.rows;
      target.set(bytes.subarray(start, start + target.length));
    },
  };
}

/** Logits of the source's model with the quantizer's own matrices in place of the source's. */
async function ownLogits(
  from: string,
  tensors: ReadonlyMap<string, QuantizedTensor>,
  how: "packed" | "floats",
  activations: "int8" | "f32",
): Promise<Float32Array[]> {
  return logits(from, activations, (tensor) => {
    const own = tensors.get(tensor.name);
    return own === undefined ? tensor : ownTensor(tensor, own, how);
  });
}

async function logits(
  path: string,
  activations: "int8" | "f32",
  change: (tensor: StoredTensor) => StoredTensor = (tensor) => tensor,
): Promise<Float32Array[]> {
  const opened = await openModel(path);
  try {
    const tensors = new Map([...opened.file.tensors].map(([name, tensor]) => [name, change(tensor)]));
    const changed: OpenModel = { ...opened, file: { metadata: opened.file.metadata, tensors } };
    const options = { activations, kv: "f32", placement: "arena", threads: 1 } as const;
    const engine = await loadEngine(changed, await describeMachine(), options);
    const model = new Model(path, opened.tokenizer(), engine, undefined, {});
    try {
      return await model.evaluate(TOKENS);
    } finally {
      await model.dispose();
    }
  } finally {
    await opened.close();
  }
}

function largestDifference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  const rows = a.map((row, i) =>
    row.reduce((most, value, j) => Math.max(most, Math.abs(value - (b[i] as Float32Array)[j]!)), 0),
  );
  return Math.max(...rows);
}

/** Hugging Face's names of the matrices of the first layer. */
const MODULES: Readonly<Record<string, string>> = {
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

describe("a trained model that was quantized", () => {
  const CASES: readonly QuantizeOptions[] = [
    { bits: 4, groupSize: 128 },
    { bits: 4, groupSize: 128, symmetric: true, actOrder: "none" },
    { bits: 3, groupSize: 64, actOrder: "classic" },
    { bits: 2, groupSize: 16, symmetric: true },
    { bits: 4, groupSize: 16, actOrder: "classic" },
    { bits: 8, groupSize: -1, method: "rtn" },
  ];
  test.for(CASES)("%o is the quantizer's own model", { timeout: 120_000 }, async (options, context) => {
    await needNative(context);
    const from = shared(context, "models/tales/hf");
    const calibration = shared(context, "models/tales/calibration.txt");
    const path = join(folder, Object.values(options).join("-"));
    const few = { calibration, samples: 16, context: 64, threads: 2 } as const;
    const tensors = await quantizeAndKeep(from, path, { ...few, ...options });
    expect(tensors.size).toBe(42);
    for (const [name, module] of Object.entries(MODULES)) {
      const own = weightsOf(tensors.get(`blk.0.${name}.weight`) as QuantizedTensor);
      const decoded = decodeModule(path, `model.layers.0.${module}`, options.bits as number).flat();
      expect(decoded.length).toBe(own.length);
      expect(decoded.every((value, i) => value === own[i])).toBe(true);
    }
    for (const activations of ["f32", "int8"] as const) {
      const found = await logits(path, activations);
      const wanted = await ownLogits(from, tensors, "packed", activations);
      // A list g_idx says nothing of the order inside a group: sums of floats are rounded otherwise.
      const isReordered = options.actOrder === "classic" && activations === "f32";
      expect(largestDifference(found, wanted)).toBeLessThanOrEqual(isReordered ? 1e-4 : 0);
    }
    const floats = await ownLogits(from, tensors, "floats", "f32");
    expect(largestDifference(await logits(path, "f32"), floats)).toBeLessThan(1e-3);
  });
});
