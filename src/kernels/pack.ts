import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { topBits } from "../quant/chunks.ts";
import { blockLayout, chunkCount, groupSize, type QuantizedFormat, rowBytes } from "../quant/formats.ts";
import { type Packing, wordOffset } from "../quant/packing.ts";
import { forEachItem } from "./work.ts";

export function packName({ format, cols, tileRows }: Packing): string {
  return `pack_w_${format.name.toLowerCase().replaceAll("-", "_")}_c${cols}_tu${tileRows}`;
}

/** Bytes that must be readable past the end of the source: gathers fetch 4 bytes at a time. */
export const PACK_SLACK = 4;

/** Row-major blocks, as they stand in a file → packed tiles. One item per tile: a transpose of 4-byte words into lanes. */
export function pack(packed: Packing, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const source = b.parameter("source", "ptr", "row-major blocks of the first tile's first row and on");
  const out = b.parameter("out", "ptr", "packed tiles");
  const tiles = b.parameter("tiles", "i32", "tiles to pack");
  const rows = b.parameter("rows", "i32", "rows of the source; rows past them become zero");
  const stride = rowBytes(packed.format, packed.cols);
  forEachItem(b, tiles, (tile) => {
    const firstRow = b.named("first_row", op.imul(tile, b.i(packed.tileRows)));
    const vectors = Array.from({ length: packed.tile }, (_, u) => {
      const row = op.viadd(op.visplat(op.iadd(firstRow, b.i(u * packed.lanes))), op.viota());
      const valid = b.named(`valid${u}`, op.vilt(row, op.visplat(rows)));
      const within = op.vimul(
        op.viadd(op.viota(), op.viconst({ value: u * packed.lanes })),
        op.viconst({ value: stride }),
      );
      return { valid, offsets: b.named(`offsets${u}`, op.viselect(valid, within, op.viconst({ value: 0 }))) };
    });
    const from = b.named("rows_of_tile", op.addr(source, firstRow, { stride, offset: 0 }));
    const to = b.named("tile_out", op.addr(out, tile, { stride: packed.tileBytes, offset: 0 }));
    if (packed.format.kind === "float") packFloats(b, packed, packed.format.bytes, from, to, vectors);
    else packGroups(b, packed, packed.format, from, to, vectors);
  });
  return b.build(packName(packed), [
    `${packed.format.name} rows of ${packed.cols} weights (${stride} bytes) -> tiles of ${packed.tileRows} rows (${packed.tileBytes} bytes)`,
  ]);
}

/** One row vector: which lanes hold rows of the matrix, and where each row starts. */
interface Lanes {
  readonly valid: Value<"vmask">;
  readonly offsets: Value<"vi32">;
}

/** Per lane the 4 bytes at `p` + `offset` of the lane's row, bits of `flip` inverted; 0 in lanes past the last row. */
function fetch(b: KernelBuilder, p: Value<"ptr">, offset: number, lanes: Lanes, flip = 0): Value<"vi32"> {
  const { op } = b;
  const moved = offset === 0 ? lanes.offsets : op.viadd(lanes.offsets, op.viconst({ value: offset }));
  const words = op.vigather(p, moved);
  const flipped = flip === 0 ? words : op.vixor(words, op.viconst({ value: flip }));
  return op.viselect(lanes.valid, flipped, op.viconst({ value: 0 }));
}

function packFloats(
  b: KernelBuilder,
  packed: Packing,
  bytes: 2 | 4,
  from: Value<"ptr">,
  to: Value<"ptr">,
  vectors: readonly Lanes[],
): void {
  const { op } = b;
  b.loop("k", 0, packed.cols, 1, (k) => {
    const input = op.addr(from, k, { stride: bytes, offset: 0 });
    const out = op.addr(to, k, { stride: bytes * packed.tileRows, offset: 0 });
    vectors.forEach((lanes, u) => {
      const value = fetch(b, input, 0, lanes);
      const offset = u * packed.lanes * bytes;
      if (bytes === 4) op.vistore(out, value, { offset });
      else op.vu16storelanes(out, value, { offset });
    });
  });
}

function packGroups(
  b: KernelBuilder,
  packed: Packing,
  format: QuantizedFormat,
  from: Value<"ptr">,
  to: Value<"ptr">,
  vectors: readonly Lanes[],
): void {
  const { op } = b;
  const size = groupSize(format, packed.cols);
  const blocks = blockLayout(format, packed.cols);
  const group = (g: Value<"i32">, inputs: number) => {
    const block = b.named("block", op.addr(from, g, { stride: blocks.blockBytes, offset: 0 }));
    const record = b.named("record", op.addr(to, g, { stride: packed.recordBytes, offset: 0 }));
    packHeader(b, packed, format, blocks.zeroAt, block, record, vectors);
    b.loop("chunk", 0, chunkCount(inputs), 1, (c) => {
      const codes = op.addr(block, c, { stride: blocks.chunkBytes, offset: blocks.codesAt });
      const out = op.addr(record, c, { stride: packed.chunkBytes, offset: packed.headerBytes });
      packChunk(b, packed, format, codes, out, vectors);
    });
  };
  const whole = Math.floor(packed.cols / size);
  b.loop("group", 0, whole, 1, (g) => group(g, size));
  if (packed.cols % size !== 0) group(b.i(whole), packed.cols % size);
}

function packHeader(
  b: KernelBuilder,
  packed: Packing,
  format: QuantizedFormat,
  zeroAt: number,
  block: Value<"ptr">,
  record: Value<"ptr">,
  vectors: readonly Lanes[],
): void {
  const { op } = b;
  vectors.forEach((lanes, u) => {
    op.vu16storelanes(record, fetch(b, block, 0, lanes), { offset: 2 * u * packed.lanes });
    if (format.zero.kind === "constant") return;
    const zero = fetch(b, block, zeroAt, lanes);
    if (format.zero.kind === "minimum") {
      op.vu16storelanes(record, zero, { offset: packed.zeroAt + 2 * u * packed.lanes });
      return;
    }
    // The byte store takes signed lanes: z − 256 has the same low byte as z ≥ 128.
    const low = op.viand(zero, op.viconst({ value: 0xff }));
    const signed = op.visub(op.vixor(low, op.viconst({ value: 128 })), op.viconst({ value: 128 }));
    op.vi8storelanes(record, signed, { offset: packed.zeroAt + u * packed.lanes });
  });
}

function packChunk(
  b: KernelBuilder,
  packed: Packing,
  format: QuantizedFormat,
  codes: Value<"ptr">,
  out: Value<"ptr">,
  vectors: readonly Lanes[],
): void {
  const { op } = b;
  for (let word = 0; word < format.bits; word++) {
    // Two's complement to offset binary: the top bit of every code.
    const flip = format.signedCodes ? (topBits(format.bits, word) * 0x01010101) | 0 : 0;
    vectors.forEach((lanes, u) => {
      const unsigned = fetch(b, codes, 4 * word, lanes, flip);
      op.vu8store(out, op.vbytes(unsigned, { bits: 8 }), { offset: wordOffset(packed, word, u) });
    });
  }
}
