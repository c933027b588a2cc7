/** The standard GPTQ folder: `config.json`, one safetensors file, `quantize_config.json`, and what the tokenizer needs. */

import { type GptqParameters, gptqParameters, gptqShapes } from "../checkpoints/quantized/gptq-writer.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { Dtype } from "../files/safetensors.ts";
import { type SafeTensorToWrite, safetensorsBytes, writeSafetensors } from "../files/safetensors-writer.ts";
import type { WriteFile } from "../host/atomic-folder.ts";
import { rowBytes } from "../quant/blocks.ts";
import { FORMATS, type QuantizedFormat } from "../quant/formats.ts";
import type { QuantizedTensors } from "./quantized-tensors.ts";
import { extentsOf } from "./working-tensors.ts";

/** Bytes that are copied at a time. */
const COPY_BYTES = 8 << 20;

/** How tensors of the source become those of the result. */
export interface Naming {
  /** Name of a tensor in the result. */
  readonly name: (tensor: string) => string;
  /** For row `r` of a tensor in the result, the row of the source. */
  readonly rowOf: (tensor: string) => (r: number) => number;
}

/** Settings of the matrices of a checkpoint, by the keys that other engines read. */
export type QuantizationConfig = Readonly<Record<string, unknown>>;

export interface GptqFolder {
  readonly file: ModelFile;
  /** In the order in which they are written. */
  readonly tensors: readonly StoredTensor[];
  readonly naming: Naming;
  readonly config: Readonly<Record<string, unknown>>;
  readonly quantization: QuantizationConfig;
  /** Other files, by name. */
  readonly others: ReadonlyMap<string, () => Promise<Uint8Array>>;
}

/** Bytes of the weights, before any is quantized. */
export function folderBytes(folder: GptqFolder, quantized: QuantizedTensors): number {
  return safetensorsBytes(tensorsToWrite(folder, quantized));
}

export async function writeGptqFolder(
  write: WriteFile,
  folder: GptqFolder,
  quantized: QuantizedTensors,
): Promise<void> {
  const { config, quantization, others } = folder;
  for (const [name, read] of others) await write(name, async (to) => to(await read()));
  await write("model.safetensors", (to) => writeSafetensors(to, tensorsToWrite(folder, quantized)));
  await writeJson(write, "config.json", { ...config, quantization_config: quantization });
  await writeJson(write, "quantize_config.json", quantization);
}

export function writeJson(write: WriteFile, name: string, value: unknown): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  return write(name, (to) => to(bytes));
}

function tensorsToWrite({ tensors, naming }: GptqFolder, quantized: QuantizedTensors): SafeTensorToWrite[] {
  return tensors.flatMap((tensor) => {
    const format = quantized.format(tensor.name);
    return format === undefined
      ? [plainTensor(tensor, naming)]
      : moduleTensors(tensor, naming, format, quantized);
  });
}

function plainTensor(tensor: StoredTensor, naming: Naming): SafeTensorToWrite {
  return {
    name: naming.name(tensor.name),
    dtype: tensor.type as Dtype,
    shape: [...tensor.shape].reverse(),
    data: () => rowsOf(tensor, naming.rowOf(tensor.name)),
  };
}

/** The rows of a tensor of floats in another order; the elements of a vector are its rows. */
export async function* rowsOf(
  tensor: StoredTensor,
  rowOf: (r: number) => number,
): AsyncGenerator<Uint8Array> {
  const format = FORMATS.get(tensor.type);
  const isVector = tensor.shape.length < 2;
  const { rows, cols } = isVector ? { rows: 1, cols: extentsOf(tensor).cols } : extentsOf(tensor);
  const stride = format === undefined ? tensor.byteLength / rows : rowBytes(format, cols);
  if (isVector) {
    const bytes = new Uint8Array(stride);
    await tensor.readRows(0, bytes);
    const size = stride / cols;
    const moved = new Uint8Array(stride);
    for (let i = 0; i < cols; i++) {
      moved.set(bytes.subarray(rowOf(i) * size, (rowOf(i) + 1) * size), i * size);
    }
    yield moved;
    return;
  }
  const most = Math.max(1, Math.floor(COPY_BYTES / stride));
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const bytes = new Uint8Array(count * stride);
    const inOrder = Array.from({ length: count }, (_, r) => rowOf(first + r) === first + r).every(Boolean);
    if (inOrder) await tensor.readRows(first, bytes);
    else {
      for (let r = 0; r < count; r++) {
        await tensor.readRows(rowOf(first + r), bytes.subarray(r * stride, (r + 1) * stride));
      }
    }
    yield bytes;
  }
}

/** The parameters of a quantized module; they are made together when the first one's turn comes. */
function moduleTensors(
  tensor: StoredTensor,
  naming: Naming,
  format: QuantizedFormat,
  quantized: QuantizedTensors,
): SafeTensorToWrite[] {
  const { rows, cols } = extentsOf(tensor);
  const shapes = gptqShapes(format, rows, cols);
  const module = naming.name(tensor.name).replace(/\.weight$/, "");
  let made: Promise<GptqParameters> | undefined;
  const parameters = () => {
    made ??= quantized
      .take(tensor.name)
      .then(({ matrix, order }) => gptqParameters(matrix, order, naming.rowOf(tensor.name)));
    return made;
  };
  const keys = ["g_idx", "qweight", "qzeros", "scales"] as const;
  return keys.map((key) => ({
    name: `${module}.${key}`,
    dtype: key === "scales" ? "F16" : "I32",
    shape: shapes[key],
    data: async function* () {
      const { buffer } = (await parameters())[key];
      yield new Uint8Array(buffer);
      // What was written is not needed any more.
      if (key === "scales") made = undefined;
    },
  }));
}
