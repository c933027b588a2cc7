import { FileFormatError } from "../base/errors.ts";
import type { JsonView } from "./json-view.ts";
import type { JsonObject } from "./text-splitter.ts";

const NAMED_TOKENS = ["bos_token", "eos_token", "unk_token", "pad_token"];

/**
 * A `tokenizer.json` for a byte-level BPE that is given as GPT-2's was: `vocab.json`, `merges.txt`, and the special
 * tokens by name.
 *
 * @param config what `tokenizer_config.json` holds
 */
export function tokenizerJsonOfGpt2(vocab: JsonView, merges: string, config: JsonView): JsonObject {
  const special = new Set(["<|endoftext|>", ...NAMED_TOKENS.map((key) => nameOf(config, key))]);
  const named = Object.entries(vocab.json)
    .filter(([content]) => special.has(content))
    .map(([content, id]) => ({ id, content, special: true }));
  return {
    added_tokens: [...named, ...addedTokens(config)],
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: config.bool("add_prefix_space") ?? false },
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: vocab.json, merges: readMerges(merges, vocab.file) },
  };
}

/** One pair a line; a first line tells the version. */
function readMerges(merges: string, file: string): string[] {
  const lines = merges.split(/\r?\n/).filter((line) => line !== "");
  if (lines[0]?.startsWith("#version")) lines.shift();
  if (lines.length === 0) throw new FileFormatError(file, "merges.txt", "has no merges");
  return lines;
}

/** The tokens that `tokenizer_config.json` adds to a vocabulary, as a `tokenizer.json` has them. */
export function addedTokens(config: JsonView): JsonObject[] {
  const key = "added_tokens_decoder";
  const tokens = config.object(key);
  return Object.keys(tokens?.json ?? {}).map((id) => {
    const token = tokens?.object(id);
    if (!/^\d{1,9}$/.test(id) || token?.string("content") === undefined) {
      throw config.error(key, "holds what is no token");
    }
    return { ...token.json, id: Number(id) };
  });
}

/** The token that the config names, as a string or as an added token. */
export function nameOf(config: JsonView, key: string): string | undefined {
  const value = config.get(key);
  return typeof value === "object" ? config.object(key)?.string("content") : config.string(key);
}
