/** Files of random models in published shapes, for timing. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { measureTensor } from "../dist/files/gguf-types.js";
import { writeGguf } from "../dist/files/gguf-writer.js";
import { writeFileAtomically } from "../dist/host/node-files.js";
import { LLAMA_SHAPES, randomLlama } from "../dist/models/random-llama.js";

export const SHAPES = Object.keys(LLAMA_SHAPES);

/** Left free on the disk. */
const SPARE_BYTES = 256 * 2 ** 20;

/**
 * Writes a model of random codes: its text is noise, its speed that of the real model. Throws where the disk has no room
 * for it, before anything is written; where it fails or is aborted, no file is left.
 *
 * @param {string} path
 * @param {{ shape: string, format: string, outputFormat?: string, layers?: number, seed?: number }} model tensor types
 *   of GGUF
 * @param {AbortSignal} [signal]
 * @returns {Promise<number>} bytes of the file
 */
export async function writeModel(path, { shape, format, outputFormat, layers, seed = 0 }, signal) {
  const dimensions = LLAMA_SHAPES[shape];
  const model = randomLlama({
    ...dimensions,
    layers: layers ?? dimensions.layers,
    format,
    outputFormat: outputFormat ?? format,
    seed,
    weights: "codes",
  });
  await checkRoom(path, model.tensors);
  let bytes = 0;
  await writeFileAtomically(path, async (write) => {
    bytes = await writeGguf(async (chunk) => {
      signal?.throwIfAborted();
      await write(chunk);
    }, model);
  });
  return bytes;
}

async function checkRoom(path, tensors) {
  const needed = tensors.reduce(
    (sum, { type, shape }) => sum + (measureTensor(type, shape).byteLength ?? 0),
    0,
  );
  const { bavail, bsize } = await statfs(dirname(path));
  const free = bavail * bsize;
  if (needed + SPARE_BYTES <= free) return;
  const gb = (bytes) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new Error(`${path} needs ${gb(needed)}, the disk has ${gb(free)}`);
}
