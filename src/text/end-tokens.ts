import type { PieceKind, Vocabulary } from "./vocabulary.ts";

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
  "<|return|>",
  "<|call|>",
  "<|calls|>",
  "<|flush|>",
  "<end_of_turn>",
  "<turn|>",
  "<|tool_response>",
  "<eos>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "[e~[",
  "<｜end▁of▁sentence｜>",
  "<end_of_utterance>",
]);

const CONTROL_LOOKING = /^<[|｜].*[|｜]>$/;

/**
 * Whether the piece `text` ends a generation. Converters sometimes leave chat tokens `normal`; that is believed of
 * names that occur in ordinary text, such as `</s>` in HTML, which some authors add to their vocabulary too.
 */
export function isEndToken(text: string, kind: PieceKind): boolean {
  if (!END_TOKENS.has(text)) return false;
  if (text === "</s>") return kind === "control";
  return kind !== "normal" || CONTROL_LOOKING.test(text);
}

/** Ids of the control tokens that end a generation by their name. */
export function namedEndTokens(vocabulary: Vocabulary): number[] {
  const found = new Map<string, number>();
  for (const id of vocabulary.idsOf("control")) {
    const text = vocabulary.texts[id] as string;
    if (isEndToken(text, "control")) found.set(text, id);
  }
  // In formats with calls, "<|end|>" ends one message of several that make a turn (gpt-oss, Solar).
  const calls = found.has("<|call|>") || found.has("<|calls|>");
  if (calls && (found.has("<|return|>") || found.has("<|flush|>"))) found.delete("<|end|>");
  // Gemma 4 has HTML's for struck-out text among its control tokens.
  if (found.has("<|tool_response>")) found.delete("</s>");
  return [...found.values()];
}
