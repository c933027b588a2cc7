/** Writes what was made: a folder or a GGUF file, with the record of it. */

import { basename } from "node:path";
import type { OpenModel } from "../engine/load-model.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import type { StoredTensor } from "../files/model-file.ts";
import {
  requireSpace,
  type WriteFile,
  writeFilesAtomically,
  writeFolderAtomically,
} from "../host/atomic-folder.ts";
import { formatNamed, type QuantizedFormat } from "../quant/formats.ts";
import { dtypeOf, type FolderParts, type GgufParts } from "./conversion.ts";
import { type FolderOutput, folderBytes, writeFolder, writeJson } from "./folder-output.ts";
import { type GgufOutput, ggufBytes, writeGgufOutput } from "./gguf-output.ts";
import type { QuantizeResult, Settings } from "./options.ts";
import { quantizationConfig } from "./quantization-config.ts";
import type { QuantizedTensors } from "./quantized-tensors.ts";
import { FILE_TYPES, type Targets } from "./targets.ts";
import { extentsOf } from "./working-tensors.ts";

/** What files of a tokenizer and so on take besides the weights. */
const SPARE_BYTES = 64 << 20;

/** What the record and the configuration say of a matrix, at most, and of the whole. */
const RECORD_BYTES = 1024;

/** Where a result goes. */
export interface ResultWriter {
  /** Bytes of the result, at most. */
  bytes(quantized: QuantizedTensors): Promise<number>;
  /** Throws `FileAccessError` where there is no room, and what `report` throws once all is quantized: then nothing is there. */
  write(quantized: QuantizedTensors, report: () => Promise<QuantizeResult>): Promise<void>;
}

export function folderWriter(
  parts: FolderParts,
  output: string,
  settings: Settings,
  { skipped, floats }: Targets,
): ResultWriter {
  const { source, naming, others } = parts;
  const { name } = naming;
  const tensors = inOrder(source);
  const config = floats === undefined ? parts.config : { ...parts.config, torch_dtype: dtypeOf(floats.name) };
  const complete = (quantized: QuantizedTensors): FolderOutput => {
    const folder = { file: source.file, tensors, naming, config, others, floats };
    if (floats !== undefined) return folder;
    const formats = tensors.flatMap((tensor): [string, QuantizedFormat][] => {
      const format = quantized.format(tensor.name);
      return format === undefined ? [] : [[name(tensor.name), format]];
    });
    const excluded = skipped.map(({ tensor }) => name(tensor));
    return { ...folder, quantization: quantizationConfig(settings, formats, excluded) };
  };
  return {
    async bytes(quantized) {
      const files = await Promise.all([...others.values()].map((read) => read()));
      const copied = files.reduce((sum, { length }) => sum + length, JSON.stringify(config, null, 2).length);
      const records = tensors.filter((tensor) => quantized.format(tensor.name) !== undefined).length + 1;
      return folderBytes(complete(quantized), quantized) + copied + RECORD_BYTES * records;
    },
    async write(quantized, report) {
      const result = complete(quantized);
      await requireSpace(output, folderBytes(result, quantized) + SPARE_BYTES);
      await writeFolderAtomically(output, async (write) => {
        await writeFolder(write, result, quantized);
        await writeJson(write, "quantize_report.json", await report());
      });
    },
  };
}

/** @param type of most matrices; that of the greatest number of weights where it is not given */
export function ggufWriter(
  { source, naming, metadata }: GgufParts,
  output: string,
  type: string | undefined,
  { floats }: Targets,
): ResultWriter {
  const tensors = inOrder(source);
  const complete = (quantized: QuantizedTensors): GgufOutput => {
    const name = type?.toUpperCase() ?? commonestType(tensors, quantized);
    const fileType = { type: "u32", value: FILE_TYPES[name] as number } as const;
    return {
      file: source.file,
      tensors,
      naming,
      metadata: new Map<string, GgufValue>([...metadata, ["general.file_type", fileType]]),
      floats: floats ?? formatNamed("F16"),
    };
  };
  return {
    bytes: (quantized) => ggufBytes(complete(quantized), quantized),
    async write(quantized, report) {
      const result = complete(quantized);
      await requireSpace(output, (await ggufBytes(result, quantized)) + SPARE_BYTES);
      const body = async (write: WriteFile) => {
        await writeGgufOutput(write, basename(output), result, quantized);
        await writeJson(write, `${basename(output)}.json`, await report());
      };
      await writeFilesAtomically(output, body);
    },
  };
}

/** The type of the greatest number of weights in layers. */
function commonestType(tensors: readonly StoredTensor[], quantized: QuantizedTensors): string {
  const weights = new Map<string, number>();
  for (const tensor of tensors.filter(({ name }) => name.startsWith("blk."))) {
    const { rows, cols } = extentsOf(tensor);
    const type = quantized.format(tensor.name)?.name;
    if (type !== undefined) weights.set(type, (weights.get(type) ?? 0) + rows * cols);
  }
  return [...weights].reduce((most, one) => (one[1] > most[1] ? one : most), ["F16", 0])[0];
}

/** Tensors as they are written: those of layers layer by layer, so that no later one is wanted first. */
function inOrder({ file }: OpenModel): StoredTensor[] {
  const layer = ({ name }: StoredTensor) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  return [...file.tensors.values()].sort((a, b) => layer(a) - layer(b));
}
