import { FileFormatError } from "../base/errors.ts";
import type { FileFolder } from "../files/folder.ts";
import type { GgufValue } from "../files/gguf-values.ts";
import { readJson } from "../files/json.ts";
import { type ChatTemplate, chatTemplateFromHuggingFace, templateOfHuggingFace } from "../text/chat.ts";
import { ggufTokenizer } from "../text/gguf-tokenizer-writer.ts";
import { withOlderFiles } from "../text/hf-legacy.ts";
import { type HuggingFaceTokenizerFiles, tokenizerFromHuggingFace } from "../text/hf-tokenizer.ts";
import { JsonView } from "../text/json-view.ts";
import { resolveSampling, type SamplingOptions } from "../text/sampling-options.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Bytes of files about text, at most: some times what the largest published ones have. */
const LIMITS = { tokenizer: 64 << 20, config: 16 << 20, template: 4 << 20 } as const;

/** The files that a tokenizer is read from. */
type TokenizerFiles = Omit<HuggingFaceTokenizerFiles, "eosIds">;

/** A token id that is believed. */
const MAX_TOKEN = 2 ** 24;

/** What a Hugging Face folder says of text: how it is tokenized, how a conversation is written, how tokens are chosen. */
export class CheckpointTexts {
  private constructor(
    private readonly files: TokenizerFiles,
    private readonly generation: JsonView,
    private readonly config: JsonView,
    private readonly jinja: string | undefined,
  ) {}

  /** Throws `FileFormatError` for files that are no JSON or too large, and what the folder throws. */
  static async read(folder: FileFolder): Promise<CheckpointTexts> {
    const view = async (name: string) =>
      new JsonView(`${folder.name}/${name}`, (await readIf(folder, name, LIMITS.config)) ?? {});
    return new CheckpointTexts(
      await readTokenizerFiles(folder),
      await view("generation_config.json"),
      await view("config.json"),
      decoded(await readBytes(folder, "chat_template.jinja", LIMITS.template)),
    );
  }

  /** Throws `FileFormatError` and `UnsupportedError`. */
  tokenizer(): Tokenizer {
    const eosIds = [...tokenIds(this.generation, "eos_token_id"), ...tokenIds(this.config, "eos_token_id")];
    return tokenizerFromHuggingFace({ ...this.files, eosIds });
  }

  /** The tokenizer in GGUF's terms, for an embedding of so many rows. Throws `FileFormatError` and `UnsupportedError`. */
  ggufTokenizer(rows: number): ReadonlyMap<string, GgufValue> {
    return ggufTokenizer(this.files, this.tokenizer(), rows);
  }

  /** Throws `FileFormatError`. */
  chatTemplate(): ChatTemplate | undefined {
    return chatTemplateFromHuggingFace(this.files.folder, this.files.config, this.jinja);
  }

  /** The text of the chat template. Throws `FileFormatError`. */
  chatTemplateText(): string | undefined {
    return templateOfHuggingFace(this.files.folder, this.files.config, this.jinja)?.template;
  }

  /** How the model's makers would choose tokens. Throws `FileFormatError` for values out of range. */
  sampling(): SamplingOptions {
    const { generation } = this;
    const greedy = generation.bool("do_sample") === false;
    const found = {
      temperature: greedy ? 0 : generation.number("temperature"),
      topK: generation.number("top_k"),
      topP: generation.number("top_p"),
      minP: generation.number("min_p"),
      repeatPenalty: generation.number("repetition_penalty"),
    };
    try {
      resolveSampling(found);
    } catch (error) {
      throw new FileFormatError(generation.file, "sampling", (error as Error).message);
    }
    return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
  }
}

/** `tokenizer.json`; in folders that have none, what its makers had before there was one. */
async function readTokenizerFiles(folder: FileFolder): Promise<TokenizerFiles> {
  const { name } = folder;
  const tokenizer = await readIf(folder, "tokenizer.json", LIMITS.tokenizer);
  const config = await readIf(folder, "tokenizer_config.json", LIMITS.config);
  if (tokenizer !== undefined) return { folder: name, tokenizer, config };
  const view = async (file: string) =>
    new JsonView(`${name}/${file}`, (await readIf(folder, file, LIMITS.config)) ?? {});
  const vocab = await readIf(folder, "vocab.json", LIMITS.tokenizer);
  const merges = decoded(await readBytes(folder, "merges.txt", LIMITS.tokenizer));
  return {
    folder: name,
    tokenizer,
    config: withOlderFiles(
      new JsonView(`${name}/tokenizer_config.json`, config ?? {}),
      await view("added_tokens.json"),
      await view("special_tokens_map.json"),
    ),
    gpt2: vocab === undefined || merges === undefined ? undefined : { vocab, merges },
    sentencePiece: await readBytes(folder, "tokenizer.model", LIMITS.tokenizer),
  };
}

/** The JSON in a file, if there is one. */
async function readIf(folder: FileFolder, name: string, limit: number): Promise<unknown> {
  return folder.files.includes(name) ? readJson(await folder.open(name), limit) : undefined;
}

async function readBytes(folder: FileFolder, name: string, limit: number): Promise<Uint8Array | undefined> {
  if (!folder.files.includes(name)) return undefined;
  const source = await folder.open(name);
  if (source.size > limit) {
    throw new FileFormatError(source.name, "size", `${source.size} bytes, above the limit of ${limit}`);
  }
  return source.read(0, source.size);
}

function decoded(bytes: Uint8Array | undefined): string | undefined {
  return bytes && new TextDecoder().decode(bytes);
}

/** One id or several. */
function tokenIds(view: JsonView, key: string): readonly number[] {
  const value = view.get(key);
  if (value === undefined) return [];
  const ids = Array.isArray(value) ? value : [value];
  for (const id of ids) {
    if (!(Number.isInteger(id) && id >= 0 && id < MAX_TOKEN))
      throw view.error(key, "holds what is no token id");
  }
  return ids as number[];
}
