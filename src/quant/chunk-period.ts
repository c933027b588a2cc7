import { at } from "../base/assert.ts";
import type { Block } from "./blocks.ts";
import { CHUNK, chunkCount } from "./formats.ts";

/**
 * After how many chunks the codes of a block stand as before, but for the moves: code k + 32 · chunks · n is code k with its
 * field number f `n · moves[f].bytes` bytes and `n · moves[f].bits` bits on.
 */
export interface ChunkPeriod {
  readonly chunks: number;
  readonly moves: readonly Move[];
}

/** How far a field moves: bytes, and bits up within a byte. */
export interface Move {
  readonly bytes: number;
  readonly bits: number;
}

/** The shortest period of a block; all of its chunks where there is no other. */
export function chunkPeriod(block: Block): ChunkPeriod {
  const all = chunkCount(block.weights);
  for (let chunks = 1; chunks < all; chunks++) {
    if (all % chunks !== 0) continue;
    const moves = movesAfter(block, chunks);
    if (moves.every(({ bits }) => bits >= 0) && isPeriodic(block, chunks, moves)) return { chunks, moves };
  }
  return { chunks: all, moves: movesAfter(block, all).map(() => ({ bytes: 0, bits: 0 })) };
}

/** What the fields move by from the first `chunks` chunks to the next, where all fields of one number do the same. */
function movesAfter(block: Block, chunks: number): Move[] {
  const moves: Move[] = [];
  for (let k = 0; k < CHUNK * chunks; k++) {
    const next = block.code(k + CHUNK * chunks);
    block.code(k).forEach(({ byte, shift }, f) => {
      moves[f] ??= { bytes: (next[f]?.byte ?? 0) - byte, bits: (next[f]?.shift ?? 0) - shift };
    });
  }
  return moves;
}

function isPeriodic(block: Block, chunks: number, moves: readonly Move[]): boolean {
  const period = CHUNK * chunks;
  for (let k = period; k < CHUNK * chunkCount(block.weights); k++) {
    const turn = Math.floor(k / period);
    const [first, here] = [block.code(k % period), block.code(k)];
    const isMoved = here.every((field, f) => {
      const [from, { bytes, bits }] = [first[f], at(moves, f)];
      return (
        field.bits === from?.bits &&
        field.byte === from.byte + turn * bytes &&
        field.shift === from.shift + turn * bits
      );
    });
    if (here.length !== first.length || !isMoved) return false;
  }
  return true;
}
