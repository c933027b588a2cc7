/** A model in GGUF's terms as a Hugging Face checkpoint. */

import { UnsupportedError } from "../base/errors.ts";
import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import type { ModelFile, StoredTensor } from "../files/model-file.ts";
import { difference } from "../models/difference.ts";
import { modelSpec } from "../models/index.ts";
import type { ModelSpec } from "../models/model.ts";
import { rowBytes } from "../quant/blocks.ts";
import { formatNamed } from "../quant/formats.ts";
import { dequantizeRows } from "../quant/reference.ts";
import { readTokenId } from "../text/gguf-vocabulary.ts";
import { JsonView } from "../text/json-view.ts";
import type { Settings, Translation } from "./families/family.ts";
import { type NamedFamily, WRITTEN_ARCHITECTURES, writtenFamilies } from "./families/index.ts";
import { dividedAsIn } from "./fused-tensors.ts";

export interface WrittenCheckpoint {
  readonly config: Settings;
  /** What that configuration means: names and forms of tensors. */
  readonly translation: Translation;
  /** The model, with the tensors that the checkpoint has. */
  readonly file: ModelFile;
  readonly spec: ModelSpec;
}

/**
 * The configuration that means this model, found as its family reads it: it is read back and compared. Throws
 * `UnsupportedError` for architectures without a family that can be written, listing those that have one, and for models
 * that no configuration means.
 */
export async function writtenCheckpoint(file: ModelFile, spec: ModelSpec): Promise<WrittenCheckpoint> {
  const { architecture } = spec.config;
  const families = writtenFamilies(architecture);
  if (families.length === 0) {
    throw new UnsupportedError(
      `${file.metadata.file}: architecture ${architecture} cannot be written as a Hugging Face folder; known: ` +
        WRITTEN_ARCHITECTURES.join(", "),
    );
  }
  const vectors = await ropeVectorsOf(file);
  const problems: string[] = [];
  for (const family of families) {
    const made = attempt(file, spec, vectors, family);
    if (typeof made !== "string") return made;
    problems.push(`model_type ${family.type} has no words for ${made}`);
  }
  throw new UnsupportedError(
    `${file.metadata.file} cannot be written as a Hugging Face folder: in config.json, ${problems.join(", and ")}`,
  );
}

/** Vectors that configurations tell by numbers. */
const ROPE_VECTORS = ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];

async function ropeVectorsOf({ tensors }: ModelFile): Promise<ReadonlyMap<string, Float32Array>> {
  const found = ROPE_VECTORS.flatMap((name) => tensors.get(name) ?? []);
  const values = found.map(async (tensor) => [tensor.name, await valuesOf(tensor)] as const);
  return new Map(await Promise.all(values));
}

async function valuesOf(vector: StoredTensor): Promise<Float32Array> {
  const [length = 1] = vector.shape;
  const format = formatNamed(vector.type);
  const bytes = new Uint8Array(rowBytes(format, length));
  await vector.readRows(0, bytes);
  return dequantizeRows(format, bytes, 1, length);
}

/** The checkpoint as a family has it, or what that has no words for. */
function attempt(
  file: ModelFile,
  spec: ModelSpec,
  vectors: ReadonlyMap<string, Float32Array>,
  { type, written, read }: NamedFamily,
): WrittenCheckpoint | string {
  let settings: Settings;
  try {
    settings = written.settings({ spec, vectors });
  } catch (error) {
    if (error instanceof UnsupportedError) return error.message;
    throw error;
  }
  const config = {
    architectures: [written.modelClass],
    model_type: type,
    bos_token_id: readTokenId(file.metadata, "bos", spec.config.vocabularySize) ?? null,
    eos_token_id: readTokenId(file.metadata, "eos", spec.config.vocabularySize) ?? null,
    ...settings,
  };
  const translation = read(new JsonView(`config.json of ${file.metadata.file}`, config));
  const divided = dividedAsIn(translation, file, spec);
  const own = modelSpec(divided);
  const problem = difference(own, readBack(divided, own, translation)) ?? otherVectors(vectors, translation);
  return problem ?? { config, translation, file: divided, spec: own };
}

/** What the model is that a configuration means. Rows are still in the order of the file. */
function readBack(file: ModelFile, { config }: ModelSpec, { metadata }: Translation): ModelSpec {
  const text = (value: string): GgufValue => ({ type: "string", value });
  const entries = new Map([...metadata, ["general.name", text(config.name)] as const]);
  if (config.rope !== undefined) {
    entries.set(`${config.architecture}.rope.pairing`, text(config.rope.pairing));
  }
  return modelSpec({ metadata: new GgufMetadata(file.metadata.file, entries), tensors: file.tensors });
}

/** The first vector whose values are not those that the configuration means. */
function otherVectors(
  vectors: ReadonlyMap<string, Float32Array>,
  translation: Translation,
): string | undefined {
  const names = [...vectors.keys()];
  return names.find((name) => difference(vectors.get(name), translation.vectors?.get(name)) !== undefined);
}
