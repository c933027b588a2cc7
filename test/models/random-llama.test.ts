import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import { UsageError } from "../../src/base/errors.ts";
import { type GgufFile, readGguf } from "../../src/files/gguf.ts";
import { GGML_TYPES, type GgmlType } from "../../src/files/gguf-types.ts";
import { writeGguf } from "../../src/files/gguf-writer.ts";
import { memorySource } from "../../src/files/source.ts";
import { writeFileAtomically } from "../../src/host/node-files.ts";
import { modelSpec } from "../../src/models/index.ts";
import { LLAMA_SHAPES, type RandomLlama, randomLlama } from "../../src/models/random-llama.ts";
import { blockOf, rowBytes } from "../../src/quant/blocks.ts";
import { FORMATS, formatNamed } from "../../src/quant/formats.ts";
import { canQuantize } from "../../src/quant/quantizers.ts";
import { dequantizeRows } from "../../src/quant/reference.ts";
import { tokenizerFromGguf } from "../../src/text/gguf-tokenizer.ts";

const SMALL: RandomLlama = {
  layers: 2,
  hiddenSize: 64,
  intermediateSize: 96,
  heads: 4,
  kvHeads: 2,
  vocabularySize: 512,
  contextLength: 64,
  format: "F32",
};
const TYPES = [...FORMATS.keys()].filter((name): name is GgmlType => name in GGML_TYPES);
/** Those that weights can be rounded to. */
const ROUNDED = TYPES.filter((name) => canQuantize(formatNamed(name)));

async function made(options: RandomLlama): Promise<{ bytes: Uint8Array; file: GgufFile }> {
  const chunks: Uint8Array[] = [];
  await writeGguf(async (chunk) => {
    chunks.push(chunk.slice());
  }, randomLlama(options));
  const bytes = new Uint8Array(Buffer.concat(chunks));
  return { bytes, file: await readGguf(memorySource("random", bytes)) };
}

async function weights({ file }: Awaited<ReturnType<typeof made>>, name: string): Promise<Float32Array> {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) throw new Error(`no tensor ${name}`);
  const format = formatNamed(tensor.type);
  const [cols = 1, rows = 1] = tensor.shape;
  const data = new Uint8Array(rows * rowBytes(format, cols));
  await tensor.readRows(0, data);
  return dequantizeRows(format, data, rows, cols);
}

/** Whether the rows of the small model are whole blocks. */
function rowsFit(name: string): boolean {
  const format = formatNamed(name);
  return format.kind === "float" || blockOf(format, SMALL.hiddenSize).chunkBytes !== undefined;
}

function moments(values: Float32Array): { mean: number; std: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  return { mean, std: Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length) };
}

describe("weights", () => {
  test.each([
    ...ROUNDED.map((format) => ({ format, source: "gaussian" as const })),
    ...TYPES.map((format) => ({ format, source: "codes" as const })),
  ])("$format from $source have mean 0 and the size they should have", async ({ format, source }) => {
    const hiddenSize = rowsFit(format) ? SMALL.hiddenSize : 256;
    const intermediateSize = rowsFit(format) ? SMALL.intermediateSize : 512;
    const model = await made({ ...SMALL, hiddenSize, intermediateSize, format, weights: source });
    const { mean, std } = moments(await weights(model, "token_embd.weight"));
    const known = formatNamed(format);
    // Scales that are powers of two, or have 3 bits, cannot be of any size.
    const precise = known.kind === "float" || known.scale.kind === "half" || known.scale.kind === "product";
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(std - 1)).toBeLessThan(precise ? 0.05 : 0.25);
    const inner = moments(await weights(model, "blk.1.ffn_up.weight")).std * Math.sqrt(hiddenSize);
    expect(Math.abs(inner - 1)).toBeLessThan(precise ? 0.05 : 0.25);
  });

  test("the same options give the same file, another seed another one", async () => {
    const options: RandomLlama = { ...SMALL, format: "Q4_0", seed: 7 };
    const { bytes } = await made(options);
    expect((await made(options)).bytes).toEqual(bytes);
    expect((await made({ ...options, seed: 8 })).bytes).not.toEqual(bytes);
  });

  test("no two matrices are alike", async () => {
    const model = await made(SMALL);
    const names = [...model.file.tensors.keys()];
    const starts = await Promise.all(
      names.map(async (name) => (await weights(model, name)).slice(0, 8).join()),
    );
    expect(new Set(starts).size).toBe(starts.length);
  });

  test("formats per matrix and of the output head", async () => {
    const format = (matrix: string, layer: number) => (matrix === "v" && layer === 1 ? "Q8_0" : "Q4_0");
    const { file } = await made({ ...SMALL, format, outputFormat: "F16" });
    const types = [...file.tensors.values()].map(({ name, type }) => `${name} ${type}`);
    expect(types).toContain("blk.0.attn_v.weight Q4_0");
    expect(types).toContain("blk.1.attn_v.weight Q8_0");
    expect(types).toContain("token_embd.weight Q4_0");
    expect(types).toContain("output.weight F16");
    const tied = await made({ ...SMALL, format, outputFormat: "F16", tied: true });
    expect(tied.file.tensors.get("token_embd.weight")?.type).toBe("F16");
    expect(tied.file.tensors.has("output.weight")).toBe(false);
  });

  test.each([false, true])("logits have the standard deviation asked for (tied: %s)", async (tied) => {
    const folder = await mkdtemp(join(tmpdir(), "qigen-random-"));
    try {
      const path = join(folder, "model.gguf");
      const contents = randomLlama({ ...SMALL, tied, logitStd: 3, vocabularySize: 4096 });
      await writeFileAtomically(path, async (write) => {
        await writeGguf(write, contents);
      });
      await using model = await loadModel(path);
      const ids = Array.from({ length: 20 }, (_, i) => (i * 997) % 4096);
      for (const logits of await model.evaluate(ids)) {
        expect(moments(logits).std).toBeGreaterThan(2.4);
        expect(moments(logits).std).toBeLessThan(3.6);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("metadata", () => {
  test("is that of a Llama", async () => {
    const { file } = await made({ ...SMALL, ropeScaling: { kind: "yarn", factor: 4, originalContext: 16 } });
    expect(modelSpec(file).config).toMatchObject({
      hiddenSize: 64,
      headDim: 16,
      kvHeads: 2,
      vocabularySize: 512,
      rope: { rotated: 16, base: 10_000, scaling: { kind: "yarn", factor: 4, originalContext: 16 } },
    });
  });

  test("rope factors", async () => {
    const ropeFactors = [1, 1, 1, 2, 3, 4, 8, 8];
    const model = await made({ ...SMALL, ropeFactors });
    expect(modelSpec(model.file).config.rope?.factors?.tensor).toBe("rope_freqs.weight");
    expect([...(await weights(model, "rope_freqs.weight"))]).toEqual(ropeFactors);
  });

  test("the vocabulary spells any text, and no piece twice", async () => {
    const { file } = await made({ ...SMALL, vocabularySize: 9000 });
    expect(new Set(file.metadata.strings("tokenizer.ggml.tokens")).size).toBe(9000);
    const tokenizer = tokenizerFromGguf(file.metadata);
    const text = "bade bagi, wörld 🙂";
    expect(tokenizer.decode(tokenizer.encode(text), { skipSpecial: true }).trim()).toBe(text);
  });

  test.each([
    { shape: "tinyllama-1.1b", parameters: 1_100_048_384 },
    { shape: "llama-2-7b", parameters: 6_738_415_616 },
    { shape: "llama-2-13b", parameters: 13_015_864_320 },
    { shape: "llama-30b", parameters: 32_528_943_616 },
    { shape: "llama-65b", parameters: 65_285_660_672 },
    { shape: "mixtral-8x7b", parameters: 46_702_792_704 },
  ] as const)("$shape has as many parameters as the model of that name", ({ shape, parameters }) => {
    const { tensors } = randomLlama({ ...LLAMA_SHAPES[shape], format: "Q4_0", weights: "codes" });
    const counts = tensors.map((tensor) => tensor.shape.reduce((a, b) => a * b, 1));
    expect(counts.reduce((a, b) => a + b, 0)).toBe(parameters);
  });
});

test.each([
  { problem: "heads of 21⅓ dimensions", change: { heads: 3, kvHeads: 3 } },
  { problem: "heads of an odd size", change: { hiddenSize: 20 } },
  { problem: "heads that cannot share", change: { kvHeads: 3 } },
  { problem: "no room for the bytes", change: { vocabularySize: 258 } },
  { problem: "rope factors of another head size", change: { ropeFactors: [1, 2] } },
])("rejects $problem", ({ change }) => {
  expect(() => randomLlama({ ...SMALL, ...change })).toThrow(UsageError);
});
