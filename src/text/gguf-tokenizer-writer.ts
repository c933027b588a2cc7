/** The tokenizer of a Hugging Face folder in GGUF's terms. */

import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { PackedStrings } from "../files/packed-strings.ts";
import { expectSameIds } from "./compared-tokenizers.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { GGUF_WRITERS } from "./gguf-written-models.ts";
import { type HuggingFaceTokenizerFiles, readTokenizerJson } from "./hf-tokenizer.ts";
import { hfModelType } from "./hf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
import { sentencePieceMetadata } from "./sentencepiece-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { PieceKind } from "./vocabulary.ts";

/** `tokenizer.ggml.token_type` (SentencePiece's numbers). */
const TYPES: Readonly<Record<PieceKind, number>> = {
  normal: 1,
  control: 3,
  user: 4,
  unused: 5,
  byte: 6,
};
/** Of the token that stands for what has no piece. */
const UNKNOWN = 2;

/**
 * The metadata of the tokenizer that these files hold: byte-level BPE as `gpt2`, BPE with byte fallback as `llama`, unigram as `t5`, WordPiece as
 * `bert`. Ids that the vocabulary lacks, up to `rows` of the embedding, are named `[PAD…]`.
 *
 * Throws `UnsupportedError` for one whose way to divide text has no words in GGUF.
 */
export function ggufTokenizer(
  files: HuggingFaceTokenizerFiles,
  tokenizer: Tokenizer,
  rows: number,
): ReadonlyMap<string, GgufValue> {
  const { folder, sentencePiece } = files;
  const root = readTokenizerJson(files);
  if (root !== undefined) return metadataOf(root, tokenizer, rows);
  const config = new JsonView(`${folder}/tokenizer_config.json`, files.config ?? {});
  return sentencePieceMetadata(`${folder}/tokenizer.model`, sentencePiece ?? new Uint8Array(0), config, rows);
}

function metadataOf(root: JsonView, tokenizer: Tokenizer, rows: number): ReadonlyMap<string, GgufValue> {
  const { file } = root;
  const model = root.object("model");
  if (model === undefined) throw root.error("model", "is missing");
  const { vocabulary, unknownId, entries } = GGUF_WRITERS[hfModelType(model)](root, model, tokenizer);
  const count = Math.max(rows, vocabulary.size);
  const texts = Array.from({ length: count }, (_, id) => vocabulary.texts[id] || `[PAD${id}]`);
  const types = Int32Array.from(texts, (_, id) => TYPES[vocabulary.kinds[id] ?? "unused"]);
  if (unknownId !== undefined) types[unknownId] = UNKNOWN;
  const ids = { bos: tokenizer.bosId, eos: tokenizer.eosId, unknown: unknownId };
  const named = Object.entries(ids).flatMap(([name, id]): [string, GgufValue][] =>
    id === undefined ? [] : [[`${name}_token_id`, { type: "u32", value: id }]],
  );
  const all: [string, GgufValue][] = [
    ...Object.entries(entries(texts)),
    ["tokens", { type: "array", of: "string", values: PackedStrings.from(texts) }],
    ["token_type", { type: "array", of: "i32", values: types }],
    ...named,
    ["add_bos_token", { type: "bool", value: tokenizer.addsBos }],
    ["add_eos_token", { type: "bool", value: tokenizer.addsEos }],
  ];
  const metadata = new Map(all.map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
  expectSameIds(file, tokenizer, tokenizerFromGguf(new GgufMetadata(file, metadata)));
  return metadata;
}
