import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModel } from "../../src/api/index.ts";
import { FileFormatError, MachineError } from "../../src/base/errors.ts";
import { compileModel, openModel } from "../../src/engine/load-model.ts";
import { loadWeights, packKernels, stagingBytes } from "../../src/engine/weights.ts";
import { readGguf } from "../../src/files/gguf.ts";
import type { GgufToWrite } from "../../src/files/gguf-writer.ts";
import type { StoredTensor } from "../../src/files/model-file.ts";
import { memorySource } from "../../src/files/source.ts";
import { genericMachine } from "../../src/plan/machine.ts";
import { INTERPRETER_TARGETS, NATIVE_TARGETS, need, type TestTarget } from "../backends.ts";
import { saveGguf, temporaryFolder, tinyLlama } from "../cli/harness.ts";
import { shared } from "../files/gguf-fixtures.ts";
import { NO_LOGITS, outcome, STORIES, StoryCopy } from "./damaged.ts";

const folder = temporaryFolder();

/** Half floats. */
const BAD_SCALES = { infinity: 0x7c00, NaN: 0x7e01, "the largest": 0xfbff } as const;

/** A small model in which every fifth scale has these bits. */
function tinyWithScales(bits: number): GgufToWrite {
  const { metadata, tensors } = tinyLlama();
  const damaged = tensors.map((tensor) => {
    if (tensor.type !== "Q4_0") return tensor;
    const data = () =>
      [...(tensor.data() as Iterable<Uint8Array>)].map((chunk) => {
        const bytes = chunk.slice();
        const view = new DataView(bytes.buffer);
        for (let block = 0; block < bytes.length; block += 5 * 18) view.setUint16(block, bits, true);
        return bytes;
      });
    return { ...tensor, data };
  });
  return { metadata, tensors: damaged };
}

describe("weights that are no numbers", () => {
  const cases = (["wasm", "native"] as const).flatMap((backend) =>
    Object.entries(BAD_SCALES).map(([what, bits]) => [backend, what, bits] as const),
  );
  test.for(cases)(
    "make an error, or a poor text, on %s: scales of %s",
    async ([backend, what, bits], context) => {
      if (backend === "native") await need(NATIVE_TARGETS[0] as TestTarget, context);
      const path = await saveGguf(join(folder, "scales.gguf"), tinyWithScales(bits));
      const result = await outcome(path, backend);
      if (what === "the largest" && result === "works") return;
      expect(result).toBeInstanceOf(FileFormatError);
      expect(result).toHaveProperty("message", expect.stringContaining(`${path}: ${NO_LOGITS}`));
    },
  );

  test("in a norm, or where they are to be quantized, are an error of the file", async (context) => {
    const copy = new StoryCopy(context, join(folder, "weights.gguf"));
    const { tensors } = await readGguf(memorySource("", copy.bytes));
    const view = new DataView(copy.bytes.buffer);
    for (const [name, value] of [
      ["blk.1.ffn_norm.weight", Number.NaN],
      ["blk.3.ffn_up.weight", Number.POSITIVE_INFINITY],
      ["blk.3.ffn_up.weight", 3e38],
    ] as const) {
      const at = (tensors.get(name)?.offset ?? 0) + 40;
      const kept = view.getFloat32(at, true);
      view.setFloat32(at, value, true);
      copy.save(at, 4);
      const loading = loadModel(copy.path, { backend: "wasm", quantize: "Q4_0" });
      await expect(loading).rejects.toThrow(FileFormatError);
      await expect(loading).rejects.toThrow(`${copy.path}: tensor ${name}: `);
      view.setFloat32(at, kept, true);
      copy.save(at, 4);
    }
    copy.close();
  });
});

test("packing that fails while the next part is read is an error of the call, not of the process", async (context) => {
  const opened = await openModel(shared(context, STORIES));
  const [target] = INTERPRETER_TARGETS.slice(-1) as [TestTarget];
  const program = compileModel(opened, genericMachine(), target.isa, "interpreter", { threads: 1 });
  const matrices = [...program.matrices.values()];
  const kernels = packKernels(matrices, target.isa);
  const capacity = program.weights.bytes + stagingBytes(matrices) + 2 ** 20;
  const backend = await target.create({ threads: 1, kernels, capacity });
  backend.run = async () => {
    throw new MachineError("packing failed");
  };
  // Reading takes longer than packing, so that a part fails while the next one is read.
  const slowed = (tensor: StoredTensor): StoredTensor => ({
    ...tensor,
    file: tensor.file,
    readRows: async (first, bytes) => {
      await tensor.readRows(first, bytes);
      await new Promise((resolve) => setTimeout(resolve, 50));
    },
  });
  const tensors = new Map([...opened.file.tensors].map(([name, tensor]) => [name, slowed(tensor)]));
  const slow = { ...opened.file, tensors };
  const weights = backend.allocate(program.weights.bytes, "weights");
  await expect(loadWeights(program, backend, weights, slow)).rejects.toThrow("packing failed");
  await backend.dispose();
  await opened.close();
});
