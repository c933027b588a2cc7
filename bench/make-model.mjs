/**
 * Writes a random Llama of a published model's shape, for timing (`npm run build` first):
 *
 *     node bench/make-model.mjs tinyllama-1.1b Q4_0 model.gguf [--output-format Q8_0] [--layers 4] [--seed 1]
 */
import { parseArgs } from "node:util";
import { SHAPES, writeModel } from "./model-file.mjs";

const USAGE = `usage: node bench/make-model.mjs <shape> <format> <file> [--output-format f] [--layers n] [--seed n]
shapes: ${SHAPES.join(", ")}`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "output-format": { type: "string" },
    layers: { type: "string" },
    seed: { type: "string", default: "0" },
  },
});
const [shape, format, path] = positionals;
if (path === undefined || !SHAPES.includes(shape)) {
  console.error(USAGE);
  process.exit(2);
}

const start = performance.now();
const bytes = await writeModel(path, {
  shape,
  format,
  outputFormat: values["output-format"],
  layers: values.layers === undefined ? undefined : Number(values.layers),
  seed: Number(values.seed),
});
const seconds = (performance.now() - start) / 1000;
console.log(`${path}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s`);
