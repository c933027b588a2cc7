import { truncateSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type LoadModelOptions, loadModel } from "../../src/api/index.ts";
import { FileFormatError, UnsupportedError } from "../../src/base/errors.ts";
import type { GgmlType } from "../../src/files/gguf-types.ts";
import type { GgufToWrite } from "../../src/files/gguf-writer.ts";
import { type RandomLlama, randomLlama } from "../../src/models/random-llama.ts";
import { writeFields } from "../../src/quant/blocks.ts";
import { formatNamed } from "../../src/quant/formats.ts";
import { type Repacking, repackingOf } from "../../src/quant/repacking.ts";
import { NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder } from "../cli/harness.ts";
import { logProbabilities, meanKl } from "../peers/divergence.ts";
import { dequantizedTensor, rewriteModel } from "../peers/model-files.ts";
import { failure, fileError, NO_LOGITS, outcome } from "./damaged.ts";

const REPACKED = ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0"] as const;
const OTHERS = ["Q4_K", "Q8_0", "F16", "Q2_K", "IQ4_XS", "Q6_K", "TQ2_0"] as const;

const SHAPE: Omit<RandomLlama, "format"> = {
  layers: 2,
  hiddenSize: 256,
  intermediateSize: 512,
  heads: 4,
  kvHeads: 2,
  vocabularySize: 300,
  contextLength: 64,
  weights: "codes",
  seed: 4,
};
const TEXT = [1, 17, 230, 5, 64, 299, 40, 41, 42, 7];

const folder = temporaryFolder();

/** A model in all of these types, in turn. */
function mixed(layers: number, embedding: GgmlType, output: GgmlType): GgufToWrite {
  const types = REPACKED.flatMap((type, n) => [type, OTHERS[n % OTHERS.length] as GgmlType]);
  let turn = 0;
  const format = (matrix: string) =>
    matrix === "embedding" ? embedding : (types[turn++ % types.length] as GgmlType);
  return randomLlama({ ...SHAPE, layers, format, outputFormat: output });
}

async function predictions(path: string, options: LoadModelOptions): Promise<Float64Array[]> {
  await using model = await loadModel(path, { threads: 2, ...options });
  return (await model.evaluate(TEXT)).map(logProbabilities);
}

describe("models of types that are re-packed", () => {
  const cases = [
    ["wasm", 3, "IQ1_M", "IQ3_S"],
    ["wasm", 3, "IQ3_XXS", "IQ1_S"],
    ["native", 1, "TQ1_0", "IQ2_S"],
  ] as const;
  test.for(cases)(
    "on %s, %d layers, with an embedding of %s, a head of %s and others beside them",
    async ([backend, layers, embedding, output], context) => {
      if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
      const path = await saveGguf(join(folder, "mixed.gguf"), mixed(layers, embedding, output));
      const floats = join(folder, "floats.gguf");
      await rewriteModel(path, floats, dequantizedTensor);
      const exact = { backend, activations: "f32", kv: "f32" } as const;
      const truth = await predictions(floats, exact);
      expect(meanKl(truth, await predictions(path, exact))).toBeLessThan(1e-9);
      expect(meanKl(truth, await predictions(path, { backend }))).toBeLessThan(1e-2);
    },
  );
});

describe("files that are not as they should be", () => {
  const path = join(folder, "damaged.gguf");
  const model = (format: GgmlType) => randomLlama({ ...SHAPE, format });

  test.each(REPACKED)("%s: cut, and with scales that are no numbers", async (format) => {
    const whole = model(format);
    await saveGguf(path, whole);
    truncateSync(path, (await stat(path)).size - 4096);
    expect(await fileError(path)).toContain("is the download complete?");
    const { bytes: blockBytes, scale } = repackingOf(formatNamed(format)) as Repacking;
    for (const half of [0x7c00, 0x7e01]) {
      const tensors = whole.tensors.map((tensor) => {
        if (tensor.name !== "blk.1.ffn_up.weight") return tensor;
        const data = function* () {
          for (const chunk of tensor.data()) {
            const bytes = chunk.slice();
            for (let at = 0; at < bytes.length; at += 5 * blockBytes) writeFields(bytes, at, scale, half);
            yield bytes;
          }
        };
        return { ...tensor, data };
      });
      await saveGguf(path, { metadata: whole.metadata, tensors });
      const result = await outcome(path);
      expect(result).toBeInstanceOf(FileFormatError);
      expect(result).toHaveProperty("message", expect.stringContaining(`${path}: ${NO_LOGITS}`));
    }
  });

  test.each([
    ["Q8_K", 256 + 4 + 32],
    ["Q8_1", 8 * 36],
  ] as const)("%s, which should be in no file", async (type, blockBytes) => {
    const { metadata, tensors } = model("Q4_0");
    const changed = tensors.map((tensor) =>
      tensor.name === "output.weight"
        ? { ...tensor, type, data: () => [new Uint8Array(300 * blockBytes)] }
        : tensor,
    );
    await saveGguf(path, { metadata, tensors: changed });
    const error = await failure(path, `tensor output.weight has type ${type}`, "for activations");
    expect(error).toBeInstanceOf(UnsupportedError);
  });
});
