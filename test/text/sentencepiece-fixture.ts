/** SentencePiece models, written field by field. */

import { ByteWriter } from "../../src/base/byte-writer.ts";

export type PieceFields = readonly [text: string, score: number, type?: number];

const message = (write: (to: ByteWriter) => void): Uint8Array => {
  const to = new ByteWriter();
  write(to);
  return to.written().slice();
};

/** Field numbers below 16 and lengths below 128 take one byte, others two. */
function varint(to: ByteWriter, value: number): void {
  if (value > 127) to.u8((value & 0x7f) | 0x80);
  to.u8(value > 127 ? value >> 7 : value);
}

function integer(to: ByteWriter, field: number, value: number): void {
  varint(to, field * 8);
  varint(to, value);
}

export function bytes(to: ByteWriter, field: number, value: Uint8Array): void {
  varint(to, field * 8 + 2);
  varint(to, value.length);
  to.raw(value);
}

/** A model with these pieces: unigram (1) or BPE (2). */
export function sentencePiece(
  algorithm: number,
  pieces: readonly PieceFields[],
  normalize: (to: ByteWriter) => void,
): Uint8Array {
  return message((to) => {
    for (const [text, score, type] of pieces) {
      const piece = message((part) => {
        bytes(part, 1, new TextEncoder().encode(text));
        part.u8(2 * 8 + 5);
        part.f32(score);
        if (type !== undefined) integer(part, 3, type);
      });
      bytes(to, 1, piece);
    }
    bytes(
      to,
      2,
      message((part) => integer(part, 3, algorithm)),
    );
    bytes(to, 3, message(normalize));
  });
}

export const PIECES: readonly PieceFields[] = [
  ["<unk>", 0, 2],
  ["<s>", 0, 3],
  ["</s>", 0, 3],
  ["▁", -1],
  ["a", -2],
  ["b", -3],
  ["ab", -4],
  ["▁ab", -5],
  ["▁▁", -6, 4],
];
/** BPE, as Llama has it. */
export const LLAMA = sentencePiece(2, PIECES, (to) => integer(to, 4, 0));
