import { FileFormatError } from "../base/errors.ts";
import { GgufMetadata } from "../files/gguf-metadata.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { PackedStrings } from "../files/packed-strings.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { addedTokens, nameOf } from "./hf-legacy.ts";
import { ID_LIMIT } from "./hf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
import { readSentencePieceModel, type SentencePiece } from "./sentencepiece-model.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { SPACE_MARK } from "./vocabulary.ts";

const [CONTROL, USER, UNUSED] = [3, 4, 5];

/** What GGUF files have for "no such token". */
const NO_TOKEN = 2 ** 32 - 1;

/**
 * The tokenizer in a SentencePiece model: for folders without a `tokenizer.json`.
 *
 * @param config what `tokenizer_config.json` holds: added tokens, and which ones begin and end a text
 * @param eosIds more ids that end a generation
 * Throws `FileFormatError`.
 */
export function tokenizerFromSentencePiece(
  file: string,
  bytes: Uint8Array,
  config: JsonView,
  eosIds: readonly number[] = [],
): Tokenizer {
  return tokenizerFromGguf(new GgufMetadata(file, sentencePieceMetadata(file, bytes, config, 0)), eosIds);
}

/**
 * A SentencePiece model in GGUF's terms.
 *
 * @param rows of the embedding; pieces that are missing are unused ones
 * Throws `FileFormatError`.
 */
export function sentencePieceMetadata(
  file: string,
  bytes: Uint8Array,
  config: JsonView,
  rows: number,
): ReadonlyMap<string, GgufValue> {
  const model = readSentencePieceModel(file, bytes);
  const pieces = withAdded(model.pieces, config);
  while (pieces.length < rows) pieces.push({ text: `[PAD${pieces.length}]`, score: 0, type: UNUSED });
  const idOf = (key: string, fallback: number): number => {
    const name = nameOf(config, key);
    const found = name === undefined ? -1 : pieces.findIndex(({ text }) => text === name);
    return found < 0 ? fallback : found;
  };
  const unigram = model.algorithm === "unigram";
  const id = (value: number): GgufValue => ({ type: "u32", value: value < 0 ? NO_TOKEN : value });
  const bool = (value: boolean): GgufValue => ({ type: "bool", value });
  const bosId = idOf("bos_token", model.bosId);
  const addsBos = (config.bool("add_bos_token") ?? !unigram) && bosId >= 0;
  const entries: Record<string, GgufValue> = {
    model: { type: "string", value: unigram ? "t5" : "llama" },
    tokens: { type: "array", of: "string", values: PackedStrings.from(pieces.map(spelled)) },
    scores: { type: "array", of: "f32", values: Float32Array.from(pieces, ({ score }) => score) },
    token_type: { type: "array", of: "i32", values: Int32Array.from(pieces, ({ type }) => type) },
    precompiled_charsmap: { type: "array", of: "u8", values: model.charsmap },
    remove_extra_whitespaces: bool(model.mergesSpaces),
    add_space_prefix: bool(model.addsPrefix),
    add_bos_token: bool(addsBos),
    add_eos_token: bool(config.bool("add_eos_token") ?? unigram),
    bos_token_id: id(bosId),
    eos_token_id: id(idOf("eos_token", model.eosId)),
    unknown_token_id: id(model.unknownId),
  };
  return new Map(Object.entries(entries).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
}

/** An author's own pieces are found in text as it is written. */
function spelled({ text, type }: SentencePiece): string {
  return type === USER ? text.replaceAll(SPACE_MARK, " ") : text;
}

function withAdded(pieces: readonly SentencePiece[], config: JsonView): SentencePiece[] {
  const all = [...pieces];
  for (const json of addedTokens(config)) {
    const token = new JsonView(config.file, json);
    const id = token.integer("id", 0, ID_LIMIT) as number;
    if (id > all.length + ID_LIMIT / 64)
      throw new FileFormatError(config.file, "added_tokens_decoder", `skips to ${id}`);
    while (all.length <= id) all.push({ text: `<unused token ${all.length}>`, score: 0, type: UNUSED });
    const text = token.string("content") ?? "";
    all[id] = { text, score: all[id]?.score ?? 0, type: token.bool("special") ? CONTROL : USER };
  }
  return all;
}
