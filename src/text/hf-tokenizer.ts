import { FileFormatError, UnsupportedError } from "../base/errors.ts";
import { AddedTokens } from "./added-tokens.ts";
import { Encoder } from "./encoder.ts";
import { namedEndTokens } from "./end-tokens.ts";
import { nameOf, tokenizerJsonOfGpt2 } from "./hf-legacy.ts";
import { readSegmenter } from "./hf-model.ts";
import { readNormalizer } from "./hf-normalizers.ts";
import { flatten, type PreTokenizerParts, readPreTokenizer } from "./hf-pre-tokenizer.ts";
import { type HfVocabulary, hfModelType, readHfVocabulary } from "./hf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
import { PieceTokenizer, type SpacePrefix } from "./piece-tokenizer.ts";
import { tokenizerFromSentencePiece } from "./sentencepiece-tokenizer.ts";
import { wordSplitters } from "./spm.ts";
import { TextSplitter } from "./text-splitter.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { SPACE_MARK, type Spelling } from "./vocabulary.ts";

export interface HuggingFaceTokenizerFiles {
  /** What errors call the folder. */
  readonly folder: string;
  /** The parsed `tokenizer.json`; `undefined` where there is none. Then one of the next two is needed. */
  readonly tokenizer: unknown;
  /** The parsed `vocab.json` and the text of `merges.txt`, as GPT-2 has them. */
  readonly gpt2?: { readonly vocab: unknown; readonly merges: string } | undefined;
  /** The bytes of `tokenizer.model`, a SentencePiece model. */
  readonly sentencePiece?: Uint8Array | undefined;
  /** The parsed `tokenizer_config.json`; `undefined` where there is none. */
  readonly config: unknown;
  /** More ids that end a generation (`eos_token_id` of `generation_config.json`). */
  readonly eosIds?: readonly number[] | undefined;
}

/**
 * The tokenizer of a Hugging Face folder: BPE, byte-level or with SentencePiece's conventions, unigram, WordPiece.
 * Added tokens are matched in the text as it stands (as `"normalized": false` says, which Llama-like models have).
 *
 * Throws `FileFormatError`, which names the field, and `UnsupportedError` for other models and components.
 */
export function tokenizerFromHuggingFace(files: HuggingFaceTokenizerFiles): Tokenizer {
  const { folder, sentencePiece } = files;
  const config = configOf(files);
  const json = readTokenizerJson(files);
  if (json !== undefined) return tokenizerFromJson(json, config, files.eosIds);
  if (sentencePiece !== undefined) {
    return tokenizerFromSentencePiece(`${folder}/tokenizer.model`, sentencePiece, config, files.eosIds);
  }
  throw new FileFormatError(
    folder,
    "tokenizer.json",
    "is missing, and there is neither vocab.json with merges.txt nor tokenizer.model",
  );
}

function configOf({ folder, config }: HuggingFaceTokenizerFiles): JsonView {
  return new JsonView(`${folder}/tokenizer_config.json`, config ?? {});
}

/** `tokenizer.json`, or what it would be where there are GPT-2's files; undefined where there is neither. */
export function readTokenizerJson(files: HuggingFaceTokenizerFiles): JsonView | undefined {
  const { folder, tokenizer, gpt2 } = files;
  if (tokenizer !== undefined) return new JsonView(`${folder}/tokenizer.json`, tokenizer);
  if (gpt2 === undefined) return undefined;
  const vocab = new JsonView(`${folder}/vocab.json`, gpt2.vocab);
  return new JsonView(vocab.file, tokenizerJsonOfGpt2(vocab, gpt2.merges, configOf(files)));
}

function tokenizerFromJson(
  root: JsonView,
  config: JsonView,
  eosIds: readonly number[] | undefined,
): Tokenizer {
  const model = root.object("model");
  if (model === undefined) throw root.error("model", "is missing");
  const parts = readPreTokenizer(root.object("pre_tokenizer"));
  const normalizers = flatten(root.object("normalizer"), "normalizers");
  const found = readHfVocabulary(root, model, readSpelling(root, model, parts, normalizers));
  const splitter = buildSplitter(root, parts, normalizers, found);
  const prepends = normalizers.some((step) => step.string("type") === "Prepend");
  const words = found.vocabulary.spelling === "words";
  const unspelled: SpacePrefix = { text: "", sections: "every", unlessPresent: false };
  return new PieceTokenizer({
    vocabulary: found.vocabulary,
    encoder: new Encoder(splitter, readSegmenter(model, found)),
    addedTokens: new AddedTokens(found.addedTokens),
    prefix: prepends || words ? unspelled : parts.prefix,
    ...readEnds(root, config, found, eosIds ?? []),
  });
}

function readSpelling(
  root: JsonView,
  model: JsonView,
  parts: PreTokenizerParts,
  normalizers: readonly JsonView[],
): Spelling {
  const type = hfModelType(model);
  if (type === "WordPiece") return "words";
  const decoders = flatten(root.object("decoder"), "decoders");
  if (parts.byteLevel || decoders.some((step) => step.string("type") === "ByteLevel")) return "bytes";
  const steps = [normalizers.map((step) => step.json), parts.normalizers];
  if (type === "Unigram" || JSON.stringify(steps).includes(SPACE_MARK)) return "spaces";
  throw new UnsupportedError(
    `${root.file}: the tokenizer is neither byte-level nor does it write spaces as "${SPACE_MARK}"`,
  );
}

function buildSplitter(
  root: JsonView,
  parts: PreTokenizerParts,
  normalizers: readonly JsonView[],
  { vocabulary }: HfVocabulary,
): TextSplitter {
  const { texts, kinds, spelling } = vocabulary;
  const words = spelling === "spaces" ? wordSplitters(texts, kinds) : [];
  const steps = [...normalizers.map(readNormalizer), ...parts.normalizers];
  try {
    return new TextSplitter(steps, parts.splits.length > 0 ? parts.splits : words);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new UnsupportedError(`${root.file}: normalizer or pre_tokenizer: ${problem}`);
  }
}

function readEnds(
  root: JsonView,
  config: JsonView,
  { vocabulary, idOf }: HfVocabulary,
  more: readonly number[],
) {
  const { first, last } = readTemplate(root);
  const idOfName = (name: string | undefined) => (name === undefined ? undefined : idOf(name));
  const bosId = namedToken(config, "bos_token", idOf) ?? idOfName(first);
  const eosId = namedToken(config, "eos_token", idOf) ?? idOfName(last);
  const { size } = vocabulary;
  for (const id of more) {
    if (Number.isInteger(id) && id >= 0 && id < size) continue;
    throw new FileFormatError(config.file, "eos_token_id", `holds ${id}, but there are ${size} tokens`);
  }
  const eosIds = new Set([...(eosId === undefined ? [] : [eosId]), ...namedEndTokens(vocabulary), ...more]);
  const addsBos = (config.bool("add_bos_token") ?? first !== undefined) && bosId !== undefined;
  const addsEos = (config.bool("add_eos_token") ?? last !== undefined) && eosId !== undefined;
  return { bosId, eosId, eosIds, addsBos, addsEos };
}

/** The special tokens that the post-processor puts before and after a text. */
function readTemplate(root: JsonView): {
  readonly first?: string | undefined;
  readonly last?: string | undefined;
} {
  for (const step of flatten(root.object("post_processor"), "processors")) {
    switch (step.string("type")) {
      case "TemplateProcessing": {
        const single = step.objects("single");
        const nameAt = (i: number) => single.at(i)?.object("SpecialToken")?.string("id");
        return { first: nameAt(0), last: nameAt(-1) };
      }
      case "BertProcessing":
      case "RobertaProcessing": {
        const [first] = step.list("cls");
        const [last] = step.list("sep");
        if (typeof first !== "string" || typeof last !== "string")
          throw step.error("cls", "is not a token and its id");
        return { first, last };
      }
    }
  }
  return {};
}

/** The id of a token that the config names, as a string or as an added token. */
function namedToken(
  config: JsonView,
  key: string,
  idOf: (content: string) => number | undefined,
): number | undefined {
  const name = nameOf(config, key);
  if (name === undefined) return undefined;
  const id = idOf(name);
  if (id === undefined) throw config.error(key, "names a token that tokenizer.json does not have");
  return id;
}
