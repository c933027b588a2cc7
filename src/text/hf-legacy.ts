import { FileFormatError } from "../base/errors.ts";
import { ID_LIMIT } from "./hf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
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

/**
 * What `tokenizer_config.json` holds, and what older folders have in files of their own.
 *
 * @param added `added_tokens.json`: tokens and their ids
 * @param special `special_tokens_map.json`: which tokens begin and end a text, and which others are no text
 * Throws `FileFormatError`.
 */
export function withOlderFiles(config: JsonView, added: JsonView, special: JsonView): JsonObject {
  const named = NAMED_TOKENS.filter((key) => config.get(key) === undefined && special.get(key) !== undefined);
  const names = Object.fromEntries(named.map((key) => [key, nameOf(special, key)]));
  const others = special.list("additional_special_tokens").map((token) => contentOf(special, token));
  const specials = new Set([...NAMED_TOKENS.map((key) => nameOf(config, key) ?? names[key]), ...others]);
  const known = config.object("added_tokens_decoder")?.json ?? {};
  const tokens = Object.keys(added.json).map((content) => {
    const id = added.integer(content, 0, ID_LIMIT - 1);
    if (id === undefined) throw added.error(content, "has no id");
    return [id, { content, special: specials.has(content) }] as const;
  });
  return {
    ...config.json,
    ...names,
    added_tokens_decoder: { ...Object.fromEntries(tokens), ...known },
  };
}

function contentOf(view: JsonView, token: unknown): string {
  if (typeof token === "string") return token;
  const content = new JsonView(view.file, token, "additional_special_tokens").string("content");
  if (content === undefined) throw view.error("additional_special_tokens", "holds what is no token");
  return content;
}

/** The token that the config names, as a string or as an added token. */
export function nameOf(config: JsonView, key: string): string | undefined {
  const value = config.get(key);
  return typeof value === "object" ? config.object(key)?.string("content") : config.string(key);
}
