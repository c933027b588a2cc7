/** What a source becomes in either container: names, the order of rows, configuration, tokenizer. */

import { join } from "node:path";
import { UnsupportedError } from "../base/errors.ts";
import { RearrangedTensor, type Run } from "../checkpoints/changed-tensors.ts";
import { CheckpointTensors } from "../checkpoints/checkpoint-tensors.ts";
import { CheckpointTexts } from "../checkpoints/checkpoint-texts.ts";
import type { Settings, Translation } from "../checkpoints/families/family.ts";
import { familyOf } from "../checkpoints/families/index.ts";
import { writtenCheckpoint } from "../checkpoints/written-checkpoint.ts";
import type { OpenModel } from "../engine/load-model.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { readJson } from "../files/json.ts";
import type { StoredTensor } from "../files/model-file.ts";
import { openFile, openFolder } from "../host/node-files.ts";
import { huggingFaceTokenizer } from "../text/hf-tokenizer-writer.ts";
import { JsonView } from "../text/json-view.ts";
import type { Naming } from "./folder-output.ts";
import { plainTerms } from "./plain-terms.ts";
import { rotatedRuns } from "./rotated-rows.ts";

/** Bytes of a file that is copied or read whole; the largest tokenizers have some 40 MB. */
const FILE_BYTES = 64 << 20;
/** Files of a folder that go with the model as they are. */
const COPIED = /\.(json|jinja|model|txt|md)$|^LICENSE/i;
/** But for those that describe its weights. */
const REPLACED = /^(config|quantize_config|quant_config|quantize_report)\.json$|index\.json$/;
/** Keys that describe the weights of a source. */
const OF_WEIGHTS = /^(split\.|general\.file_type$|general\.quantization_version$)/;

export type Source = OpenModel & {
  /** Of a Hugging Face folder; undefined for GGUF. */
  readonly folder: string | undefined;
};

/** A source that is to become something else. */
interface Conversion {
  /** With its tensors divided as in the result. */
  readonly source: Source;
  readonly naming: Naming;
}

/** The configuration, the names and the other files of the folder that a model becomes. */
export interface FolderParts extends Conversion {
  readonly config: Settings;
  readonly others: ReadonlyMap<string, () => Promise<Uint8Array>>;
}

/** The metadata, but for the type of the file, and the names of the GGUF file that a model becomes. */
export interface GgufParts extends Conversion {
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

/** Throws `UnsupportedError` for a model without a known form of this kind. */
export async function folderParts(source: Source): Promise<FolderParts> {
  if (source.folder !== undefined) return copiedParts(source, source.folder);
  const { config, translation, file, spec } = await writtenCheckpoint(source.file, source.spec);
  const template = file.metadata.stringOr("tokenizer.chat_template", undefined);
  const texts = huggingFaceTokenizer(file.metadata, source.tokenizer(), template);
  const json = (value: unknown) => async () =>
    new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`);
  return {
    source: { ...source, file, spec },
    naming: folderNaming({ file, spec }, translation),
    config: { ...config, torch_dtype: dtypeOf(file.tensors.get(spec.embedding.table.tensor)?.type ?? "") },
    others: new Map([
      ["tokenizer.json", json(texts.tokenizer)],
      ["tokenizer_config.json", json(texts.config)],
    ]),
  };
}

/** What the reference implementation calls types of floats. */
const DTYPES: Readonly<Record<string, string>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** The name of a type in config.json; that of the usual one where there is none. */
export function dtypeOf(type: string): string {
  return DTYPES[type] ?? "float16";
}

function folderNaming(model: Pick<OpenModel, "file" | "spec">, translation: Translation): Naming {
  const tensors = new CheckpointTensors(translation);
  const rotated = (name: string) => rotatedRuns(model, name, "halves");
  return {
    name: (tensor) => tensors.name(tensor),
    runs: (tensor) => rotated(tensor) ?? tensors.runs(tensor),
    stored: (tensor) => tensors.stored(rearranged(tensor, rotated(tensor.name))),
  };
}

function rearranged(tensor: StoredTensor, runs: readonly Run[] | undefined): StoredTensor {
  return runs === undefined ? tensor : new RearrangedTensor(tensor, () => runs);
}

async function copiedParts(source: Source, path: string): Promise<FolderParts> {
  const folder = await openFolder(path);
  try {
    const config = await readJson(await folder.open("config.json"), FILE_BYTES);
    const view = new JsonView(join(path, "config.json"), config);
    const names = folder.files.filter((name) => COPIED.test(name) && !REPLACED.test(name));
    const translation = familyOf(view).read(view);
    if (translation.others !== undefined) {
      throw new UnsupportedError(`${path} has parts for other than text, which the result would lack`);
    }
    return {
      source,
      naming: folderNaming(source, translation),
      config: config as Settings,
      others: new Map(names.map((name) => [name, () => readWhole(join(path, name))])),
    };
  } finally {
    await folder.close();
  }
}

async function readWhole(path: string): Promise<Uint8Array> {
  const source = await openFile(path);
  try {
    if (source.size > FILE_BYTES) throw new UnsupportedError(`${path} is too large to go with a model`);
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

/** Throws `UnsupportedError` for a tokenizer without a known form of this kind. */
export async function ggufParts(source: Source): Promise<GgufParts> {
  const { file, folder } = source;
  const version = ["general.quantization_version", { type: "u32", value: 2 }] as const;
  const ofModel = [...file.metadata.entries].filter(([key]) => !OF_WEIGHTS.test(key));
  if (folder === undefined) {
    const naming: Naming = {
      name: (tensor) => tensor,
      runs: () => undefined,
      stored: (tensor) => [tensor],
    };
    return { source, naming, metadata: new Map([...ofModel, version]) };
  }
  const { pairing, ownKeys } = plainTerms(source);
  const runs = (tensor: string) => rotatedRuns(source, tensor, pairing);
  const texts = await textsOf(folder);
  const tokenizer = texts.ggufTokenizer(source.spec.config.vocabularySize);
  const template = texts.chatTemplateText();
  return {
    source,
    naming: {
      name: (tensor) => tensor,
      runs,
      stored: (tensor) => [rearranged(tensor, runs(tensor.name))],
    },
    metadata: new Map<string, GgufValue>([
      ...ofModel.filter(([key]) => !ownKeys.has(key)),
      version,
      ...tokenizer,
      ...(template === undefined
        ? []
        : [["tokenizer.chat_template", { type: "string", value: template }] as const]),
    ]),
  };
}

async function textsOf(path: string): Promise<CheckpointTexts> {
  const folder = await openFolder(path);
  try {
    return await CheckpointTexts.read(folder);
  } finally {
    await folder.close();
  }
}
