import { assert } from "../base/assert.ts";
import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import type { Packing } from "../quant/packing.ts";

/** A packed matrix in memory. */
export interface PackedMatrix {
  readonly base: Value<"ptr">;
  /** Its row tiles, where it is in panels. */
  readonly tiles: Value<"i32"> | undefined;
  /** Bytes of a row tile. */
  readonly tileBytes: Value<"i32">;
}

/** The parameter with the row tiles of a matrix, for kernels that need it. */
export function tilesParameter(b: KernelBuilder, { panels }: Packing): Value<"i32"> | undefined {
  return panels === 1 ? undefined : b.parameter("all_tiles", "i32", "row tiles of the matrix");
}

/** Its argument. */
export function tilesArgument({ panels, tiles }: Packing): number[] {
  return panels === 1 ? [] : [tiles];
}

/**
 * Where the records of row tile `tile` are that lie one after the other from block `start` on: all of them, or those of a
 * panel, which begins there.
 */
export function recordsFrom(
  b: KernelBuilder,
  { panels, panelBlocks, recordBytes }: Packing,
  { base, tiles, tileBytes }: PackedMatrix,
  tile: Value<"i32">,
  start: Value<"i32">,
): Value<"ptr"> {
  const { op } = b;
  if (panels === 1) return op.addrv(base, tile, tileBytes);
  assert(tiles !== undefined, "panels of an unknown number of tiles");
  const left = op.isub(tileBytes, op.imul(start, b.i(recordBytes)));
  const ofTile = op.imin(b.i(panelBlocks * recordBytes), left);
  return op.addrv(op.addrv(base, start, op.imul(tiles, b.i(recordBytes))), tile, ofTile);
}

/** Where the record of any block of row tile `tile` is. */
export function recordsOf(
  b: KernelBuilder,
  packing: Packing,
  matrix: PackedMatrix,
  tile: Value<"i32">,
): (block: Value<"i32">) => Value<"ptr"> {
  const { op } = b;
  const stride = packing.recordBytes;
  if (packing.panels === 1) {
    const first = b.named("w_tile", recordsFrom(b, packing, matrix, tile, b.i(0)));
    return (block) => op.addr(first, block, { stride, offset: 0 });
  }
  return (block) => {
    const inPanel = op.irem(block, b.i(packing.panelBlocks));
    const first = recordsFrom(b, packing, matrix, tile, op.isub(block, inPanel));
    return op.addr(first, inPanel, { stride, offset: 0 });
  };
}
