/** Codes ↔ byte planes: how the 32 codes of a chunk are stored (the layout is defined at `CHUNK`). */

import { CHUNK, fieldStride, fieldsPerByte } from "./formats.ts";

/** Bytes of a chunk in these planes: 4 per bit of a code. */
export function planesBytes(planes: readonly number[]): number {
  return planes.reduce((sum, width) => sum + (CHUNK / 8) * width, 0);
}

/** The planes of 32 codes, low plane first. Bits of a code above the planes' total width are dropped. */
export function packChunk(codes: Uint8Array, planes: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(planesBytes(planes));
  packChunkInto(codes, 0, planes, bytes, 0);
  return bytes;
}

/** The 32 codes that `bytes` store; the inverse of `packChunk`. */
export function unpackChunk(bytes: Uint8Array, planes: readonly number[]): Uint8Array {
  const codes = new Uint8Array(CHUNK);
  unpackChunkInto(bytes, 0, planes, codes, 0);
  return codes;
}

/** `packChunk` of the 32 codes at `codesAt`, written at `bytesAt` of `bytes`. */
export function packChunkInto(
  codes: Uint8Array,
  codesAt: number,
  planes: readonly number[],
  bytes: Uint8Array,
  bytesAt: number,
): void {
  let low = 0;
  let at = bytesAt;
  for (const width of planes) {
    const stride = fieldStride(width);
    const fields = fieldsPerByte(width);
    const mask = 2 ** width - 1;
    for (let i = 0; i < stride; i++) {
      let byte = 0;
      for (let f = 0; f < fields; f++) {
        byte |= ((codes[codesAt + f * stride + i]! >>> low) & mask) << (f * width);
      }
      bytes[at++] = byte;
    }
    low += width;
  }
}

/** `unpackChunk` of the bytes at `bytesAt`, the 32 codes written at `codesAt` of `codes`. */
export function unpackChunkInto(
  bytes: Uint8Array,
  bytesAt: number,
  planes: readonly number[],
  codes: Uint8Array,
  codesAt: number,
): void {
  codes.fill(0, codesAt, codesAt + CHUNK);
  let low = 0;
  let at = bytesAt;
  for (const width of planes) {
    const stride = fieldStride(width);
    const fields = fieldsPerByte(width);
    const mask = 2 ** width - 1;
    for (let i = 0; i < stride; i++) {
      const byte = bytes[at++]!;
      for (let f = 0; f < fields; f++) {
        codes[codesAt + f * stride + i]! |= ((byte >>> (f * width)) & mask) << low;
      }
    }
    low += width;
  }
}
