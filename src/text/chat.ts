import { FileFormatError, UsageError } from "../base/errors.ts";
import type { TokenizerMetadata } from "./gguf-vocabulary.ts";
import { JsonView } from "./json-view.ts";
import { strftime } from "./strftime.ts";
import { parseTemplate, type TemplateProgram, TemplateRefusal, TemplateRunner } from "./template-runner.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** One turn. Templates may use more fields than these (`tool_calls`, `name`). */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [field: string]: unknown;
}

export interface ChatOptions {
  /** End with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** Tools the model may call, in OpenAI's form. */
  readonly tools?: readonly unknown[] | undefined;
  /** More variables for the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  /** What `strftime_now` tells. Default: now. */
  readonly now?: Date | undefined;
}

export interface ChatEncodeOptions extends ChatOptions {
  readonly signal?: AbortSignal | undefined;
}

/** UTF-16 units; the longest published templates have about 20,000. */
const LONGEST_TEMPLATE = 1 << 20;

/** How a model wants a conversation written: a Jinja template that came with it. */
export class ChatTemplate {
  private readonly program: TemplateProgram;

  /**
   * @param file where the template came from, and the field in it
   * Throws `FileFormatError` if it cannot be parsed.
   */
  constructor(
    template: string,
    private readonly file: string,
    private readonly field: string,
  ) {
    if (template.length > LONGEST_TEMPLATE) {
      throw new FileFormatError(file, field, `has more than ${LONGEST_TEMPLATE} characters`);
    }
    try {
      this.program = parseTemplate(template);
    } catch (cause) {
      throw new FileFormatError(file, field, `is not a template that can be read: ${messageOf(cause)}`);
    }
  }

  /**
   * The conversation as text, with special tokens by name.
   *
   * Throws `UsageError` where the template refuses the messages (roles that do not alternate, say), and
   * `FileFormatError` where it fails in any other way or takes too long.
   */
  render(messages: readonly ChatMessage[], tokenizer: Tokenizer, options: ChatOptions = {}): string {
    const nameOf = (id: number | undefined) => (id === undefined ? "" : tokenizer.decode([id]));
    const now = options.now ?? new Date();
    const variables = {
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? true,
      bos_token: nameOf(tokenizer.bosId),
      eos_token: nameOf(tokenizer.eosId),
      strftime_now: (format: string) => strftime(now, format),
      ...(options.tools === undefined ? {} : { tools: options.tools }),
    };
    try {
      return String(new TemplateRunner(variables).run(this.program).value);
    } catch (cause) {
      if (cause instanceof TemplateRefusal) {
        throw new UsageError(`the model's chat template refuses these messages: ${cause.message}`);
      }
      throw new FileFormatError(this.file, this.field, `cannot be rendered: ${messageOf(cause)}`);
    }
  }

  /**
   * The conversation as ids: rendered, special tokens parsed, and one beginning-of-sequence token whether or not
   * the template prints it. Names of special tokens within the messages stay text, so that a message cannot end
   * its turn and speak as another role.
   *
   * Throws what `render` throws, and `AbortedError` when the signal fires.
   */
  async encode(
    messages: readonly ChatMessage[],
    tokenizer: Tokenizer,
    options: ChatEncodeOptions = {},
  ): Promise<number[]> {
    const literal = messages.map((message) => mapStrings(message, (text) => tokenizer.literal(text)));
    const text = this.render(literal as ChatMessage[], tokenizer, options);
    const { signal } = options;
    const ids = await tokenizer.encodeLong(text, { parseSpecial: true, addBos: false, signal });
    const { addsBos, bosId } = tokenizer;
    return addsBos && bosId !== undefined && ids[0] !== bosId ? [bosId, ...ids] : ids;
  }
}

/** The chat template in a GGUF file, if it has one. */
export function chatTemplateFromGguf(metadata: TokenizerMetadata): ChatTemplate | undefined {
  const key = "tokenizer.chat_template";
  const template = metadata.stringOr(key, undefined);
  return template === undefined ? undefined : new ChatTemplate(template, metadata.file, key);
}

/** A template as it stands in a file, and where. */
export interface TemplateText {
  readonly template: string;
  readonly file: string;
  readonly field: string;
}

/**
 * The text of the chat template of a Hugging Face folder, if it has one: `chat_template.jinja`, or a string (or a list of
 * named ones, of which "default" is taken) in `tokenizer_config.json`.
 *
 * @param config the parsed `tokenizer_config.json`
 * @param jinja the text of `chat_template.jinja`
 */
export function templateOfHuggingFace(
  folder: string,
  config: unknown,
  jinja?: string | undefined,
): TemplateText | undefined {
  if (jinja !== undefined) {
    return { template: jinja, file: `${folder}/chat_template.jinja`, field: "template" };
  }
  const view = new JsonView(`${folder}/tokenizer_config.json`, config ?? {});
  const field = "chat_template";
  const named = Array.isArray(view.get(field)) ? view.objects(field) : undefined;
  const template = named
    ? named.find((one) => one.string("name") === "default")?.string("template")
    : view.string(field);
  return template === undefined ? undefined : { template, file: view.file, field };
}

/** That template, parsed. */
export function chatTemplateFromHuggingFace(
  folder: string,
  config: unknown,
  jinja?: string | undefined,
): ChatTemplate | undefined {
  const found = templateOfHuggingFace(folder, config, jinja);
  return found && new ChatTemplate(found.template, found.file, found.field);
}

/** Throws a `UsageError` if the model has no template: it was not trained on conversations. */
export function requireChatTemplate(template: ChatTemplate | undefined, model: string): ChatTemplate {
  if (template !== undefined) return template;
  throw new UsageError(
    `${model} has no chat template: give it a text to continue, or a model that was trained to chat`,
  );
}

/** How deep a message may be nested. */
const MESSAGE_DEPTH = 64;

/** A copy with every string within changed, keys left alone. */
function mapStrings(value: unknown, change: (text: string) => string, depth = 0): unknown {
  if (typeof value === "string") return change(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth === MESSAGE_DEPTH) throw new UsageError(`messages: nested more than ${MESSAGE_DEPTH} deep`);
  const map = (part: unknown) => mapStrings(part, change, depth + 1);
  if (Array.isArray(value)) return value.map(map);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, map(part)]));
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
