/** A `tokenizer.json` in GGUF's terms. */

import { UnsupportedError } from "../base/errors.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { PackedStrings } from "../files/packed-strings.ts";
import { readPreTokenizer } from "./hf-pre-tokenizer.ts";
import { hfModelType, readHfVocabulary } from "./hf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
import { preTokenizerName } from "./pre-tokenizers.ts";
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
/** Score of a piece that no merge makes: below all others. */
const LEAST_SCORE = -1e6;

/**
 * The metadata of a tokenizer: byte-level BPE as `gpt2`, BPE with byte fallback as `llama`. Ids that the vocabulary lacks,
 * up to `rows` of the embedding, are named `[PAD…]`.
 *
 * Throws `UnsupportedError` for another tokenizer, or one whose way to divide text has no name in GGUF.
 */
export function ggufTokenizer(
  file: string,
  json: unknown,
  tokenizer: Tokenizer,
  rows: number,
): ReadonlyMap<string, GgufValue> {
  const root = new JsonView(file, json);
  const model = root.object("model");
  if (model === undefined) throw root.error("model", "is missing");
  if (hfModelType(model) !== "BPE") {
    throw new UnsupportedError(
      `${file}: tokenizers of the type ${hfModelType(model)} cannot be converted to GGUF yet`,
    );
  }
  const { byteLevel, splits } = readPreTokenizer(root.object("pre_tokenizer"));
  const { vocabulary } = readHfVocabulary(root, model, byteLevel ? "bytes" : "spaces");
  const merges = model
    .list("merges")
    .map((merge) => (Array.isArray(merge) ? merge.join(" ") : String(merge)));
  const count = Math.max(rows, vocabulary.size);
  const texts = Array.from({ length: count }, (_, id) => vocabulary.texts[id] || `[PAD${id}]`);
  const kinds = texts.map((_, id) => vocabulary.kinds[id] ?? "unused");
  const entries = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: byteLevel ? "gpt2" : "llama" }],
    ["tokenizer.ggml.tokens", strings(texts)],
  ]);
  const types = Int32Array.from(kinds, (kind) => TYPES[kind]);
  if (byteLevel) {
    const patterns = splits.map(({ pattern }) => (pattern as { Regex?: string }).Regex ?? "");
    const pre = preTokenizerName(patterns, model.bool("ignore_merges") ?? false);
    if (pre === undefined) {
      throw new UnsupportedError(
        `${file}: GGUF has no name for the way in which this tokenizer divides text`,
      );
    }
    entries.set("tokenizer.ggml.pre", { type: "string", value: pre });
    entries.set("tokenizer.ggml.merges", strings(merges));
  } else {
    if (model.bool("byte_fallback") !== true) {
      throw new UnsupportedError(
        `${file}: BPE of characters without byte fallback cannot be converted to GGUF yet`,
      );
    }
    entries.set("tokenizer.ggml.scores", { type: "array", of: "f32", values: scoresOf(texts, merges) });
    const unknown = texts.indexOf(model.string("unk_token") ?? "<unk>");
    if (unknown >= 0) types[unknown] = 2;
  }
  entries.set("tokenizer.ggml.token_type", { type: "array", of: "i32", values: types });
  for (const [name, id] of [["bos", tokenizer.bosId] as const, ["eos", tokenizer.eosId] as const]) {
    if (id !== undefined) entries.set(`tokenizer.ggml.${name}_token_id`, { type: "u32", value: id });
  }
  entries.set("tokenizer.ggml.add_bos_token", { type: "bool", value: tokenizer.addsBos });
  entries.set("tokenizer.ggml.add_eos_token", { type: "bool", value: tokenizer.addsEos });
  return entries;
}

function strings(values: readonly string[]): GgufValue {
  return { type: "array", of: "string", values: PackedStrings.from(values) };
}

/** Scores that make SentencePiece merge in the same order: the earlier a merge, the higher what it makes. */
function scoresOf(texts: readonly string[], merges: readonly string[]): Float32Array {
  const ranks = new Map<string, number>();
  merges.forEach((merge, rank) => {
    const made = merge.replace(" ", "");
    if (!ranks.has(made)) ranks.set(made, rank);
  });
  return Float32Array.from(texts, (text) => {
    const rank = ranks.get(text);
    return rank === undefined ? LEAST_SCORE : -rank;
  });
}
