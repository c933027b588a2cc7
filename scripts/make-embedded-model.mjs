// Makes models/tales-5.8m-q4_0.gguf, the model inside the package, from the F16 GGUF of tales-5.8m:
//   npm run build && node scripts/make-embedded-model.mjs tales-5.8m-f16.gguf models/tales-5.8m-q4_0.gguf
// Matrices become Q4_0, the embedding (which is the output head too) Q8_0, norms stay as they are.
import { readGguf } from "../dist/files/gguf.js";
import { writeGguf } from "../dist/files/gguf-writer.js";
import { openFile, writeFileAtomically } from "../dist/host/node-files.js";
import { formatNamed } from "../dist/quant/formats.js";
import { quantizeRows } from "../dist/quant/quantizers.js";
import { dequantizeRows } from "../dist/quant/reference.js";

const MATRIX_FORMAT = "Q4_0";
const EMBEDDING_FORMAT = "Q8_0";
/** llama.cpp's number for "mostly Q4_0". */
const FILE_TYPE = 2;

const [input, output] = process.argv.slice(2);
if (input === undefined || output === undefined) {
  console.error("usage: node scripts/make-embedded-model.mjs F16.gguf OUT.gguf");
  process.exit(2);
}
const source = await openFile(input);
const file = await readGguf(source);

const typeOf = ({ name, shape, type }) => {
  if (shape.length < 2) return type;
  return name === "token_embd.weight" ? EMBEDDING_FORMAT : MATRIX_FORMAT;
};
const tensors = [...file.tensors.values()].map((tensor) => ({
  name: tensor.name,
  type: typeOf(tensor),
  shape: tensor.shape,
  data: async function* () {
    const bytes = await source.read(tensor.offset, tensor.byteLength);
    if (typeOf(tensor) === tensor.type) {
      yield bytes;
      return;
    }
    const [cols, rows] = tensor.shape;
    const values = dequantizeRows(formatNamed(tensor.type), bytes, rows, cols);
    yield quantizeRows(formatNamed(typeOf(tensor)), values, rows, cols);
  },
}));
const metadata = new Map(file.metadata.entries);
metadata.set("general.file_type", { type: "u32", value: FILE_TYPE });
metadata.set("general.quantization_version", { type: "u32", value: 2 });
await writeFileAtomically(output, (write) => writeGguf(write, { metadata, tensors }));
await source.close();
