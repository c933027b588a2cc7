import { UnsupportedError } from "../base/errors.ts";
import { quoted } from "../files/quoted.ts";
import { type AddedToken, AddedTokens } from "./added-tokens.ts";
import { namedEndTokens } from "./end-tokens.ts";
import { GGUF_MODELS, type GgufTokenizerModel } from "./gguf-models.ts";
import { readTokenId, type TokenizerMetadata } from "./gguf-vocabulary.ts";
import { PieceTokenizer } from "./piece-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

const MODEL = "tokenizer.ggml.model";
const ADD_BOS = "tokenizer.ggml.add_bos_token";
const ADD_EOS = "tokenizer.ggml.add_eos_token";

/**
 * The tokenizer in a GGUF file, with llama.cpp's meaning of its keys: `llama` (SentencePiece BPE), `gpt2`
 * (byte-level BPE), `gemma4` (BPE of characters), `t5` (SentencePiece unigram) and `bert` (WordPiece).
 *
 * Throws `FileFormatError`, which names the key, and `UnsupportedError` for another model or pre-tokenizer.
 *
 * @param eosIds more ids that end a generation
 */
export function tokenizerFromGguf(metadata: TokenizerMetadata, eosIds: readonly number[] = []): Tokenizer {
  const name = metadata.string(MODEL);
  const read = Object.hasOwn(GGUF_MODELS, name) ? GGUF_MODELS[name] : undefined;
  if (read === undefined) {
    const known = Object.keys(GGUF_MODELS).join(", ");
    throw new UnsupportedError(
      `${metadata.file}: ${MODEL} is ${quoted(name)}, which this version does not have. Known: ${known}`,
    );
  }
  return assemble(metadata, read(metadata), eosIds);
}

function assemble(
  metadata: TokenizerMetadata,
  model: GgufTokenizerModel,
  eosIds: readonly number[],
): Tokenizer {
  const { vocabulary, encoder, prefix } = model;
  const { size } = vocabulary;
  const bosId = readTokenId(metadata, "bos", size, model.bosId);
  const eosId = readTokenId(metadata, "eos", size, model.eosId);
  const ends = [
    eosId,
    readTokenId(metadata, "eot", size),
    readTokenId(metadata, "eom", size),
    ...namedEndTokens(vocabulary),
    ...eosIds,
  ];
  const addsBos = metadata.boolOr(ADD_BOS, undefined);
  if (addsBos && bosId === undefined) throw metadata.error(ADD_BOS, "is true, but there is no bos_token_id");
  return new PieceTokenizer({
    vocabulary,
    encoder,
    addedTokens: new AddedTokens(addedTokens(metadata, vocabulary)),
    prefix,
    bosId,
    eosId,
    eosIds: new Set(ends.filter((id) => id !== undefined)),
    addsBos: addsBos ?? (model.addsBos && bosId !== undefined),
    addsEos: metadata.boolOr(ADD_EOS, model.addsEos ?? false) && eosId !== undefined,
  });
}

/** Files do not say which tokens swallow white space; for some models it is known. */
function addedTokens(metadata: TokenizerMetadata, { texts, kinds }: Vocabulary): AddedToken[] {
  const phi3 = /phi-?3/i.test(metadata.stringOr("general.name", ""));
  const plain = new Set(["<unk>", "<s>", "<|endoftext|>"]);
  const masks = /^(jina-v2-(de|es|code)|modern-bert)$/.test(metadata.stringOr("tokenizer.ggml.pre", ""));
  return texts.flatMap((content, id) => {
    if (kinds[id] !== "control" && kinds[id] !== "user") return [];
    return {
      id,
      content,
      special: kinds[id] === "control",
      lstrip: masks && (content === "<mask>" || content === "[MASK]"),
      rstrip: phi3 && !plain.has(content),
    };
  });
}
