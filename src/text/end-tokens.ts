import type { PieceKind } from "./vocabulary.ts";

/**
 * Tokens that end a generation, by name: files often declare only one of them (a base model's), while a chat model
 * ends its turns with another. After llama.cpp's list.
 */
const END_TOKENS: ReadonlySet<string> = new Set([
  "</s>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<eos>",
  "<EOT>",
  "<｜end▁of▁sentence｜>",
  "<end_of_utterance>",
]);

const CONTROL_LOOKING = /^<[|｜].*[|｜]>$/;

/**
 * Whether the piece `text` ends a generation. Converters sometimes leave chat tokens `normal`; that is believed of
 * names that occur in ordinary text, such as `</s>` in HTML.
 */
export function isEndToken(text: string, kind: PieceKind): boolean {
  return END_TOKENS.has(text) && (kind !== "normal" || CONTROL_LOOKING.test(text));
}
