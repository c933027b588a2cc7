import { FileFormatError } from "../base/errors.ts";
import type { FileFolder } from "../files/folder.ts";
import { readJson } from "../files/json.ts";
import { type ChatTemplate, chatTemplateFromHuggingFace } from "../text/chat.ts";
import { tokenizerFromHuggingFace } from "../text/hf-tokenizer.ts";
import { JsonView } from "../text/json-view.ts";
import { resolveSampling, type SamplingOptions } from "../text/sampling-options.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** Bytes of files about text, at most: some times what the largest published ones have. */
const LIMITS = { tokenizer: 64 << 20, config: 16 << 20, template: 4 << 20 } as const;

/** A token id that is believed. */
const MAX_TOKEN = 2 ** 24;

/** What a Hugging Face folder says of text: how it is tokenized, how a conversation is written, how tokens are chosen. */
export class CheckpointTexts {
  private constructor(
    private readonly folder: string,
    private readonly tokenizerJson: unknown,
    private readonly tokenizerConfig: unknown,
    private readonly generation: JsonView,
    private readonly config: JsonView,
    private readonly jinja: string | undefined,
  ) {}

  /** Throws `FileFormatError` for files that are no JSON or too large, and what the folder throws. */
  static async read(folder: FileFolder): Promise<CheckpointTexts> {
    const json = async (name: string, limit: number) =>
      folder.files.includes(name) ? readJson(await folder.open(name), limit) : undefined;
    const view = async (name: string) =>
      new JsonView(`${folder.name}/${name}`, (await json(name, LIMITS.config)) ?? {});
    return new CheckpointTexts(
      folder.name,
      await json("tokenizer.json", LIMITS.tokenizer),
      await json("tokenizer_config.json", LIMITS.config),
      await view("generation_config.json"),
      await view("config.json"),
      await readTemplate(folder),
    );
  }

  /** Throws `FileFormatError` and `UnsupportedError`. */
  tokenizer(): Tokenizer {
    const { folder, tokenizerJson, tokenizerConfig } = this;
    if (tokenizerJson === undefined) {
      throw new FileFormatError(
        folder,
        "tokenizer.json",
        "is missing: without it, the model has no tokenizer",
      );
    }
    const eosIds = [...tokenIds(this.generation, "eos_token_id"), ...tokenIds(this.config, "eos_token_id")];
    return tokenizerFromHuggingFace({ folder, tokenizer: tokenizerJson, config: tokenizerConfig, eosIds });
  }

  /** Throws `FileFormatError`. */
  chatTemplate(): ChatTemplate | undefined {
    return chatTemplateFromHuggingFace(this.folder, this.tokenizerConfig, this.jinja);
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

async function readTemplate(folder: FileFolder): Promise<string | undefined> {
  const name = "chat_template.jinja";
  if (!folder.files.includes(name)) return undefined;
  const source = await folder.open(name);
  if (source.size > LIMITS.template) {
    throw new FileFormatError(
      source.name,
      "size",
      `${source.size} bytes, above the limit of ${LIMITS.template}`,
    );
  }
  return new TextDecoder().decode(await source.read(0, source.size));
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
