import { FileFormatError, UnsupportedError } from "../base/errors.ts";
import { AddedTokens } from "./added-tokens.ts";
import { BpeEncoder } from "./bpe-encoder.ts";
import { BpeMerges } from "./bpe-merges.ts";
import { BpeTokenizer, type SpacePrefix } from "./bpe-tokenizer.ts";
import { namedEndTokens } from "./end-tokens.ts";
import { flatten, type PreTokenizerParts, readPreTokenizer } from "./hf-pre-tokenizer.ts";
import { type HfVocabulary, readHfVocabulary } from "./hf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
import { wordSplitter } from "./spm.ts";
import { type JsonObject, TextSplitter } from "./text-splitter.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { SPACE_MARK, type Spelling } from "./vocabulary.ts";

export interface HuggingFaceTokenizerFiles {
  /** What errors call the folder. */
  readonly folder: string;
  /** The parsed `tokenizer.json`. */
  readonly tokenizer: unknown;
  /** The parsed `tokenizer_config.json`; `undefined` where there is none. */
  readonly config: unknown;
  /** More ids that end a generation (`eos_token_id` of `generation_config.json`). */
  readonly eosIds?: readonly number[] | undefined;
}

/**
 * The tokenizer of a Hugging Face folder: BPE, byte-level or with SentencePiece's conventions. Added tokens are
 * matched in the text as it stands (as `"normalized": false` says, which Llama-like models have).
 *
 * Throws `FileFormatError`, which names the field, and `UnsupportedError` for other models and components.
 */
export function tokenizerFromHuggingFace(files: HuggingFaceTokenizerFiles): Tokenizer {
  const root = new JsonView(`${files.folder}/tokenizer.json`, files.tokenizer);
  const config = new JsonView(`${files.folder}/tokenizer_config.json`, files.config ?? {});
  const parts = readPreTokenizer(root.object("pre_tokenizer"));
  const normalizers = flatten(root.object("normalizer"), "normalizers").map((step) => step.json);
  const spelling = readSpelling(root, parts, normalizers);
  const found = readHfVocabulary(root, spelling);
  const encoder = new BpeEncoder(
    buildSplitter(root, parts, normalizers, found),
    buildMerges(root, spelling, found),
  );
  const prepends = normalizers.some(({ type }) => type === "Prepend");
  const prepended: SpacePrefix = { text: "", sections: "every", unlessPresent: false };
  return new BpeTokenizer({
    vocabulary: found.vocabulary,
    encoder,
    addedTokens: new AddedTokens(found.addedTokens),
    prefix: prepends ? prepended : parts.prefix,
    ...readEnds(root, config, found, files.eosIds ?? []),
  });
}

function readSpelling(
  root: JsonView,
  parts: PreTokenizerParts,
  normalizers: readonly JsonObject[],
): Spelling {
  const decoders = flatten(root.object("decoder"), "decoders");
  if (parts.byteLevel || decoders.some((step) => step.string("type") === "ByteLevel")) return "bytes";
  if (JSON.stringify([normalizers, parts.normalizers]).includes(SPACE_MARK)) return "spaces";
  throw new UnsupportedError(
    `${root.file}: the tokenizer is neither byte-level nor does it write spaces as "${SPACE_MARK}"`,
  );
}

function buildSplitter(
  root: JsonView,
  parts: PreTokenizerParts,
  normalizers: readonly JsonObject[],
  { vocabulary }: HfVocabulary,
): TextSplitter {
  const all = [...normalizers, ...parts.normalizers];
  const words = vocabulary.spelling === "spaces" ? wordSplitter(vocabulary.texts, vocabulary.kinds) : null;
  const splits = parts.splits.length > 0 || words === null ? parts.splits : [words];
  try {
    return new TextSplitter(
      all.length > 0 ? { type: "Sequence", normalizers: all } : null,
      splits.length > 0 ? { type: "Sequence", pretokenizers: splits } : null,
    );
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new UnsupportedError(`${root.file}: normalizer or pre_tokenizer: ${problem}`);
  }
}

function buildMerges(root: JsonView, spelling: Spelling, { pieces, merges, idOf }: HfVocabulary): BpeMerges {
  const model = root.object("model") as JsonView;
  const unknown = model.string("unk_token");
  return new BpeMerges({
    pieces,
    spelling,
    merges,
    byteFallback: model.bool("byte_fallback") ?? false,
    ignoreMerges: model.bool("ignore_merges") ?? false,
    unknownId: unknown === undefined ? undefined : idOf(unknown),
    fuseUnknown: model.bool("fuse_unk") ?? false,
  });
}

function readEnds(
  root: JsonView,
  config: JsonView,
  { vocabulary, idOf }: HfVocabulary,
  more: readonly number[],
) {
  const fromTemplate = templateBos(root);
  const bosId =
    namedToken(config, "bos_token", idOf) ?? (fromTemplate === undefined ? undefined : idOf(fromTemplate));
  const eosId = namedToken(config, "eos_token", idOf);
  const { size } = vocabulary;
  for (const id of more) {
    if (Number.isInteger(id) && id >= 0 && id < size) continue;
    throw new FileFormatError(config.file, "eos_token_id", `holds ${id}, but there are ${size} tokens`);
  }
  const eosIds = new Set([...(eosId === undefined ? [] : [eosId]), ...namedEndTokens(vocabulary), ...more]);
  const addsBos = (config.bool("add_bos_token") ?? fromTemplate !== undefined) && bosId !== undefined;
  return { bosId, eosId, eosIds, addsBos };
}

/** The token that the post-processor puts before a text, if it is a special token. */
function templateBos(root: JsonView): string | undefined {
  const steps = flatten(root.object("post_processor"), "processors");
  const template = steps.find((step) => step.string("type") === "TemplateProcessing");
  return template?.objects("single")[0]?.object("SpecialToken")?.string("id");
}

/** The id of a token that the config names, as a string or as an added token. */
function namedToken(
  config: JsonView,
  key: string,
  idOf: (content: string) => number | undefined,
): number | undefined {
  const value = config.get(key);
  const name = typeof value === "object" ? config.object(key)?.string("content") : config.string(key);
  if (name === undefined) return undefined;
  const id = idOf(name);
  if (id === undefined) throw config.error(key, "names a token that tokenizer.json does not have");
  return id;
}
