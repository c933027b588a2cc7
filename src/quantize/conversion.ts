/** What a source becomes in either container: names, the order of rows, configuration, tokenizer. */

import { join } from "node:path";
import { UnsupportedError } from "../base/errors.ts";
import { familyOf } from "../checkpoints/families/index.ts";
import { llama } from "../checkpoints/families/llama.ts";
import { llamaConfig } from "../checkpoints/families/llama-config.ts";
import { checkpointNames } from "../checkpoints/module-names.ts";
import type { OpenModel } from "../engine/load-model.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { readJson } from "../files/json.ts";
import type { StoredTensor } from "../files/model-file.ts";
import { openFile, openFolder } from "../host/node-files.ts";
import { ggufTokenizer } from "../text/gguf-tokenizer-writer.ts";
import { huggingFaceTokenizer } from "../text/hf-tokenizer-writer.ts";
import { JsonView } from "../text/json-view.ts";
import type { Naming } from "./gptq-folder.ts";
import { extentsOf } from "./working-tensors.ts";

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

/** The configuration, the names and the other files of the folder that a model becomes. */
export interface FolderParts {
  readonly naming: Naming;
  readonly config: Readonly<Record<string, unknown>>;
  readonly others: ReadonlyMap<string, () => Promise<Uint8Array>>;
}

/** Throws `UnsupportedError` for an architecture without a known form of this kind. */
export async function folderParts(source: Source): Promise<FolderParts> {
  if (source.folder !== undefined) return copiedParts(source.folder);
  const { file, spec } = source;
  if (spec.config.architecture !== "llama") {
    throw new UnsupportedError(
      `${file.metadata.file}: architecture ${spec.config.architecture} cannot be written as a Hugging Face folder yet; known: llama`,
    );
  }
  const table = file.tensors.get(spec.embedding.table.tensor) as StoredTensor;
  const dtype = { F32: "float32", BF16: "bfloat16" }[table.type] ?? "float16";
  const template = file.metadata.stringOr("tokenizer.chat_template", undefined);
  const texts = huggingFaceTokenizer(file.metadata, source.tokenizer(), template);
  const json = (value: unknown) => async () =>
    new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`);
  const config = llamaConfig(spec, file.metadata, dtype);
  const name = checkpointNames(llama(new JsonView(file.metadata.file, config)));
  return {
    naming: { name, rowOf: (tensor) => rowsOfHeads(source, tensor, "halves") },
    config,
    others: new Map([
      ["tokenizer.json", json(texts.tokenizer)],
      ["tokenizer_config.json", json(texts.config)],
    ]),
  };
}

async function copiedParts(path: string): Promise<FolderParts> {
  const folder = await openFolder(path);
  try {
    const config = await readJson(await folder.open("config.json"), FILE_BYTES);
    const view = new JsonView(join(path, "config.json"), config);
    const names = folder.files.filter((name) => COPIED.test(name) && !REPLACED.test(name));
    return {
      naming: {
        name: checkpointNames(familyOf(view)(view)),
        rowOf: () => (r) => r,
      },
      config: config as FolderParts["config"],
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

/** The metadata, but for the type of the file, and the names of the GGUF file that a model becomes. */
export async function ggufParts(
  source: Source,
): Promise<{ readonly naming: Naming; readonly metadata: ReadonlyMap<string, GgufValue> }> {
  const { file, folder } = source;
  const own = [...file.metadata.entries].filter(([key]) => !OF_WEIGHTS.test(key));
  const weights: (readonly [string, GgufValue])[] = [
    ["general.quantization_version", { type: "u32", value: 2 }],
  ];
  const name = (tensor: string) => tensor;
  if (folder === undefined) {
    return { naming: { name, rowOf: () => (r) => r }, metadata: new Map([...own, ...weights]) };
  }
  const { config } = source.spec;
  const path = join(folder, "tokenizer.json");
  const tokenizer = ggufTokenizer(path, await jsonAt(path), source.tokenizer(), config.vocabularySize);
  const template = await chatTemplate(folder);
  return {
    naming: { name, rowOf: (tensor) => rowsOfHeads(source, tensor, "interleaved") },
    metadata: new Map<string, GgufValue>([
      ...own.filter(([key]) => !key.endsWith(".rope.pairing")),
      [`${config.architecture}.rope.dimension_count`, { type: "u32", value: config.rope?.rotated ?? 0 }],
      ...weights,
      ...tokenizer,
      ...(template === undefined
        ? []
        : [["tokenizer.chat_template", { type: "string", value: template }] as const]),
    ]),
  };
}

async function jsonAt(path: string): Promise<unknown> {
  const file = await openFile(path);
  try {
    return await readJson(file, FILE_BYTES);
  } finally {
    await file.close();
  }
}

/** A file of its own comes before what the tokenizer's configuration says. */
async function chatTemplate(path: string): Promise<string | undefined> {
  const folder = await openFolder(path);
  await folder.close();
  if (folder.files.includes("chat_template.jinja")) {
    return new TextDecoder().decode(await readWhole(join(path, "chat_template.jinja")));
  }
  if (!folder.files.includes("tokenizer_config.json")) return undefined;
  const config = new JsonView(path, await jsonAt(join(path, "tokenizer_config.json")));
  const found = config.get("chat_template");
  return typeof found === "string" ? found : undefined;
}

/**
 * Where the rows of a Llama's queries and keys come from: Hugging Face's folders rotate dimension i with i + d/2 of a
 * head, GGUF's files dimension 2i with 2i + 1.
 */
function rowsOfHeads({ spec, file }: OpenModel, name: string, to: "halves" | "interleaved") {
  const { headDim, rope } = spec.config;
  const isRotated = /\.attn_[qk]\.(weight|bias)$/.test(name);
  if (!isRotated || rope === undefined) return (r: number) => r;
  const tensor = file.tensors.get(name) as StoredTensor;
  const { rows, cols } = extentsOf(tensor);
  if ((tensor.shape.length < 2 ? cols : rows) % headDim > 0 || rope.rotated !== headDim) {
    throw new UnsupportedError(`${file.metadata.file}: heads that rotate in part cannot be converted yet`);
  }
  const half = headDim / 2;
  return (r: number): number => {
    const d = r % headDim;
    const from = to === "interleaved" ? (d & 1) * half + (d >> 1) : 2 * (d % half) + Math.floor(d / half);
    return r - d + from;
  };
}
