import type { GgufValue } from "../files/gguf-values.ts";
import { PackedStrings } from "../files/packed-strings.ts";

/** Ids of the start and end tokens. */
const BOS = 1;
const EOS = 2;

const CONSONANTS = "bdfgklmnprstvz";
const VOWELS = "aeiou";

/** SentencePiece's numbers in `tokenizer.ggml.token_type`. */
const TYPES = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;

interface Piece {
  readonly text: string;
  readonly type: keyof typeof TYPES;
}

/** The fewest tokens of a vocabulary: three control tokens and the bytes. */
export const LEAST_VOCABULARY = 3 + 256;

/**
 * Tokenizer metadata of a SentencePiece vocabulary of `size` pieces: unknown, start, end, all bytes (so that any text
 * can be encoded), the space mark and letters, then made-up words ("▁bade", "▁bagi", …), all distinct.
 */
export function randomVocabulary(size: number): Map<string, GgufValue> {
  const pieces = piecesOf(size);
  const texts = PackedStrings.from(pieces.map(({ text }) => text));
  const types = Int32Array.from(pieces, ({ type }) => TYPES[type]);
  const scores = Float32Array.from(pieces, ({ type }, id) => (type === "normal" ? -id : 0));
  const key = (name: string) => `tokenizer.ggml.${name}`;
  return new Map<string, GgufValue>([
    [key("model"), { type: "string", value: "llama" }],
    [key("tokens"), { type: "array", of: "string", values: texts }],
    [key("scores"), { type: "array", of: "f32", values: scores }],
    [key("token_type"), { type: "array", of: "i32", values: types }],
    [key("bos_token_id"), { type: "u32", value: BOS }],
    [key("eos_token_id"), { type: "u32", value: EOS }],
    [key("unknown_token_id"), { type: "u32", value: 0 }],
    [key("add_bos_token"), { type: "bool", value: true }],
    [key("add_eos_token"), { type: "bool", value: false }],
  ]);
}

function piecesOf(size: number): Piece[] {
  const byte = (value: number) => `<0x${value.toString(16).toUpperCase().padStart(2, "0")}>`;
  const pieces: Piece[] = [
    { text: "<unk>", type: "unknown" },
    { text: "<s>", type: "control" },
    { text: "</s>", type: "control" },
    ...Array.from({ length: 256 }, (_, value): Piece => ({ text: byte(value), type: "byte" })),
  ];
  for (const text of ["▁", ...CONSONANTS, ...VOWELS]) pieces.push({ text, type: "normal" });
  for (let i = 0; pieces.length < size; i++) pieces.push({ text: `▁${word(i)}`, type: "normal" });
  return pieces.slice(0, size);
}

/** The number in syllables, at least two. */
function word(number: number): string {
  const syllables = CONSONANTS.length * VOWELS.length;
  let rest = number;
  let text = "";
  for (let length = 0; length < 2 || rest > 0; length++) {
    const digit = rest % syllables;
    rest = Math.floor(rest / syllables);
    text += (CONSONANTS[Math.floor(digit / VOWELS.length)] ?? "") + (VOWELS[digit % VOWELS.length] ?? "");
  }
  return text;
}
