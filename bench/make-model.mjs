/**
 * Writes a random Llama of a published model's shape, for timing (`npm run build` first):
 *
 *     node bench/make-model.mjs tinyllama-1.1b Q4_0 model.gguf [--output-format Q8_0] [--layers 4] [--seed 1]
 *
 * The weights are random codes, so its text is noise; its speed is that of the real model.
 */
import { parseArgs } from "node:util";
import { writeGguf } from "../dist/files/gguf-writer.js";
import { writeFileAtomically } from "../dist/host/node-files.js";
import { LLAMA_SHAPES, randomLlama } from "../dist/models/random-llama.js";

const USAGE = `usage: node bench/make-model.mjs <shape> <format> <file> [--output-format f] [--layers n] [--seed n]
shapes: ${Object.keys(LLAMA_SHAPES).join(", ")}`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "output-format": { type: "string" },
    layers: { type: "string" },
    seed: { type: "string", default: "0" },
  },
});
const [shapeName, format, path] = positionals;
if (path === undefined || !Object.hasOwn(LLAMA_SHAPES, shapeName)) {
  console.error(USAGE);
  process.exit(2);
}

const shape = LLAMA_SHAPES[shapeName];
const model = randomLlama({
  ...shape,
  layers: Number(values.layers ?? shape.layers),
  format,
  outputFormat: values["output-format"] ?? format,
  seed: Number(values.seed),
  weights: "codes",
});
const start = performance.now();
let bytes = 0;
await writeFileAtomically(path, async (write) => {
  bytes = await writeGguf(write, model);
});
const seconds = (performance.now() - start) / 1000;
console.log(`${path}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s`);
