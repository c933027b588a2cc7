/**
 * A Hugging Face folder: `config.json`, one safetensors file, what the tokenizer needs, and for the matrices that are
 * quantized, as GPTQ has them, `quantize_config.json`.
 */

import { type Run, rowsOf } from "../checkpoints/changed-tensors.ts";
import { type GptqParameters, gptqParameters, gptqShapes } from "../checkpoints/quantized/gptq-writer.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import type { Dtype } from "../files/safetensors.ts";
import { type SafeTensorToWrite, safetensorsBytes, writeSafetensors } from "../files/safetensors-writer.ts";
import type { WriteFile } from "../host/atomic-folder.ts";
import { type Format, formatNamed, type QuantizedFormat } from "../quant/formats.ts";
import { floatRows } from "./float-rows.ts";
import type { QuantizedTensors } from "./quantized-tensors.ts";
import { extentsOf } from "./working-tensors.ts";

/** How tensors of the source become those of the result. */
export interface Naming {
  /** Name of a tensor in the result. */
  readonly name: (tensor: string) => string;
  /** The rows of a matrix in the result's order; undefined where that is the same. */
  readonly runs: (tensor: string) => readonly Run[] | undefined;
  /** A tensor of floats as it stands in the result, under its name there; or its parts there; none where it has no place. */
  readonly stored: (tensor: StoredTensor) => readonly StoredTensor[];
}

/** Settings of the matrices of a checkpoint, by the keys that other engines read. */
export type QuantizationConfig = Readonly<Record<string, unknown>>;

export interface FolderOutput {
  readonly file: ModelFile;
  /** In the order in which they are written. */
  readonly tensors: readonly StoredTensor[];
  readonly naming: Naming;
  readonly config: Readonly<Record<string, unknown>>;
  /** Absent where nothing is quantized. */
  readonly quantization?: QuantizationConfig;
  /** Type of matrices that are not quantized; as they are where it is not given. */
  readonly floats?: Format | undefined;
  /** Other files, by name. */
  readonly others: ReadonlyMap<string, () => Promise<Uint8Array>>;
}

/** Bytes of the weights, before any is quantized. */
export function folderBytes(folder: FolderOutput, quantized: QuantizedTensors): number {
  return safetensorsBytes(tensorsToWrite(folder, quantized));
}

export async function writeFolder(
  write: WriteFile,
  folder: FolderOutput,
  quantized: QuantizedTensors,
): Promise<void> {
  const { config, quantization, others } = folder;
  for (const [name, read] of others) await write(name, async (to) => to(await read()));
  await write("model.safetensors", (to) => writeSafetensors(to, tensorsToWrite(folder, quantized)));
  const own = quantization === undefined ? {} : { quantization_config: quantization };
  await writeJson(write, "config.json", { ...config, ...own });
  if (quantization !== undefined) await writeJson(write, "quantize_config.json", quantization);
}

export function writeJson(write: WriteFile, name: string, value: unknown): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  return write(name, (to) => to(bytes));
}

function tensorsToWrite(folder: FolderOutput, quantized: QuantizedTensors): SafeTensorToWrite[] {
  const { tensors, naming, floats } = folder;
  return tensors.flatMap((tensor) => {
    const format = quantized.format(tensor.name);
    return format === undefined
      ? naming.stored(tensor).map((stored) => floatTensor(stored, floats))
      : moduleTensors(tensor, naming, format, quantized);
  });
}

/** Vectors keep their precision. */
function floatTensor(tensor: StoredTensor, floats: Format | undefined): SafeTensorToWrite {
  const { name, type, shape } = tensor;
  const format = floats === undefined || shape.length < 2 ? formatNamed(type) : floats;
  const data = () => floatRows(tensor, format);
  return { name, dtype: format.name as Dtype, shape: [...shape].reverse(), data };
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
      .then(({ matrix, order }) => gptqParameters(matrix, order, rowsOf(naming.runs(tensor.name), rows)));
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
