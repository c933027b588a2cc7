import { assert } from "../base/assert.ts";
import type { SignWords, Target } from "../ir/types.ts";
import type { BitField } from "./blocks.ts";
import {
  blockCount,
  blockSize,
  CHUNK,
  chunkCount,
  type Format,
  groupsOfBlock,
  isPaired,
  isSigns,
  type QuantizedFormat,
  type Scale,
  type Zero,
} from "./formats.ts";
import { panelInputs, vectorsOfRegister } from "./sign-words.ts";

/**
 * The packed form of a weight matrix: exactly the order in which a projection kernel reads it.
 *
 * Rows sit in lanes. `tile` row vectors of L rows make a row tile; a tile holds, block after block along the inputs, one
 * record: a header, then for every chunk of 32 inputs, every 4-byte word of a chunk and every row vector one register of
 * 4L bytes: the word of row `lane` in the four bytes that `dot` feeds to that lane. The header has for every row of the
 * tile, value after value: what the groups of a block share (f16 scale, f16 minimum), the scales of the groups (f16 or
 * bytes), their minima (f16 or bytes) or zero points (u8). Where groups are `paired`, a row has two bytes instead of one:
 * of the even groups and of the odd ones. Float formats have no header: per input, per row vector, L
 * elements. Rows past the end are zero bytes; inputs past the end keep the source's padding codes and meet activation 0.
 *
 * Codes of `signs` are for looking up sums of inputs (`SignWords`): a word of 8 or 16 bits has so many inputs of a row, the
 * first in bit 0. Four row vectors share a register, or two: in the bytes that `dot` feeds to lane `lane` the words of row
 * `lane` of each follow one another. What is looked up is larger than the codes, and must stay in L1
 * while all rows pass: so such a matrix has panels of `panelInputs` inputs, one after the other, and the records of a
 * tile are divided among them.
 */
export interface Packing {
  readonly format: Format;
  /** As it lies in memory; else expanded for some steps of a kernel (`expandedPacking`). */
  readonly stored: boolean;
  readonly rows: number;
  readonly cols: number;
  /** Bits in which a code is stored: the format's, or 8 where expanded; 0 where there are no codes. */
  readonly codeBits: number;
  /** Whether the integers of the two groups of a chunk stand side by side (`isPaired`). */
  readonly paired: boolean;
  /** How the signs of a row are packed, of weights of which only a sign is stored (`isSigns`). */
  readonly signs: SignWords | undefined;
  /** Row vectors per row tile (the plan's `tu` in registers). */
  readonly tile: number;
  readonly lanes: number;
  /** Row tiles. */
  readonly tiles: number;
  /** Rows of a tile. */
  readonly tileRows: number;
  /** Offset in a header of what all minima of a block are multiples of; the scale's is at 0. */
  readonly halfZeroAt: number;
  /** Offset in a header of the groups' scales. */
  readonly scaleAt: number;
  /** Offset in a header of the groups' minima or zeros. */
  readonly zeroAt: number;
  /** Bytes of the header of a record. */
  readonly headerBytes: number;
  /** Bytes of the codes of one chunk of a tile. */
  readonly chunkBytes: number;
  /** Bytes of the record of a full block. */
  readonly recordBytes: number;
  /** Blocks of a row in a panel, all of them where there is one; the last panel may have fewer. */
  readonly panelBlocks: number;
  readonly panels: number;
  readonly tileBytes: number;
  readonly totalBytes: number;
}

/** Values of so many bits that a header has for every group of a block, one group after the other, per row. */
export interface HeaderStream {
  /** Bytes per row before the first group's. */
  readonly before: number;
  readonly bits: number;
}

/** What a header has for the scales or zeros of the groups of a block: several streams where integers are divided. */
export function headerStreams(part: Scale | Zero, groups: number): HeaderStream[] {
  let before = 0;
  return streamBits(part).map((bits) => {
    const stream = { before, bits };
    before += (groups * bits) / 8;
    return stream;
  });
}

function streamBits(part: Scale | Zero): readonly number[] {
  switch (part.kind) {
    case "constant":
      return [];
    case "half":
    case "minimum":
      return [16];
    case "code":
    case "exponent":
    case "minifloat":
      return [8];
    case "product":
      return part.codes.widths;
  }
}

/** Bytes that the scales or zeros of `groups` groups of a row take in a header. */
function headerPart(part: Scale | Zero, groups: number): number {
  return streamBits(part).reduce((sum, bits) => sum + (groups * bits) / 8, 0);
}

/** Where things are in a record of a tile, per row of the tile. */
function header(format: QuantizedFormat, groups: number) {
  const shared = (part: Scale | Zero) => (part.kind === "product" ? 2 : 0);
  const halfZeroAt = shared(format.scale);
  const scaleAt = halfZeroAt + shared(format.zero);
  const zeroAt = scaleAt + headerPart(format.scale, groups);
  return { halfZeroAt, scaleAt, zeroAt, bytes: zeroAt + headerPart(format.zero, groups) };
}

/** Row vectors whose codes share a register: tiles have a multiple of them. */
export function sharedVectors(format: Format, { signs }: Pick<Target, "signs">): number {
  return isSigns(format) ? vectorsOfRegister(signs) : 1;
}

/** Packed layout of a matrix of `rows` × `cols` for a target, `tile` row vectors to a tile. */
export function packing(
  format: Format,
  rows: number,
  cols: number,
  tile: number,
  target: Pick<Target, "lanes" | "signs">,
): Packing {
  const { lanes } = target;
  const tileRows = tile * lanes;
  const tiles = Math.ceil(rows / tileRows);
  assert(
    tile % sharedVectors(format, target) === 0,
    `${tile} row vectors of ${format.name} do not share registers`,
  );
  const [paired, signs] = [isPaired(format), isSigns(format) ? target.signs : undefined];
  const base = { format, stored: true, paired, signs, rows, cols, tile, lanes, tiles, tileRows };
  if (format.kind === "float") {
    const tileBytes = cols * tileRows * format.bytes;
    return {
      ...base,
      codeBits: 0,
      halfZeroAt: 0,
      scaleAt: 0,
      zeroAt: 0,
      headerBytes: 0,
      chunkBytes: CHUNK * tileRows * format.bytes,
      recordBytes: tileBytes,
      panelBlocks: 1,
      panels: 1,
      tileBytes,
      totalBytes: tiles * tileBytes,
    };
  }
  assert(cols % (format.block ?? 1) === 0, `${cols} inputs are not whole blocks of ${format.name}`);
  const { halfZeroAt, scaleAt, zeroAt, bytes } = header(format, groupsOfBlock(format, cols));
  return {
    ...base,
    codeBits: format.bits,
    halfZeroAt: halfZeroAt * tileRows,
    scaleAt: scaleAt * tileRows,
    zeroAt: zeroAt * tileRows,
    ...records(format, cols, bytes * tileRows, format.bits * tileRows, base),
  };
}

/**
 * A packed matrix of quantized weights with its first `cols` inputs expanded: every code a byte, scales and minima or
 * zero points f32; of paired groups i32, two to one, and f32 what they are multiples of. What kernels make of a block that
 * they read many times.
 */
export function expandedPacking(pack: Packing, cols: number): Packing {
  const { format, tileRows } = pack;
  assert(format.kind === "quantized", "floats have no codes");
  const parts = format.zero.kind === "constant" ? 1 : 2;
  const part = (pack.paired ? 2 : 4) * groupsOfBlock(format, cols) * tileRows;
  const scaleAt = pack.paired ? parts * 4 * tileRows : 0;
  return {
    ...pack,
    stored: false,
    codeBits: 8,
    cols,
    halfZeroAt: pack.paired ? 4 * tileRows : 0,
    scaleAt,
    zeroAt: scaleAt + part,
    ...records(format, cols, scaleAt + parts * part, 8 * tileRows, pack),
  };
}

/** Sizes of records, of which a header and the codes of 8 inputs take so many bytes. */
function records(
  format: QuantizedFormat,
  cols: number,
  headerBytes: number,
  codeBytes: number,
  { tiles, signs }: Pick<Packing, "tiles" | "signs">,
) {
  const chunkBytes = (CHUNK / 8) * codeBytes;
  const blocks = blockCount(format, cols);
  const tileBytes = blocks * headerBytes + chunkCount(cols) * chunkBytes;
  const panelBlocks = signs ? Math.min(blocks, panelInputs(signs) / blockSize(format, cols)) : blocks;
  return {
    headerBytes,
    chunkBytes,
    recordBytes: headerBytes + chunkCount(blockSize(format, cols)) * chunkBytes,
    panelBlocks,
    panels: Math.ceil(blocks / panelBlocks),
    tileBytes,
    totalBytes: tiles * tileBytes,
  };
}

/** Offset of the record of block `block` of row tile `tile`. */
export function recordOffset(
  { panelBlocks, recordBytes, tileBytes, tiles }: Packing,
  tile: number,
  block: number,
): number {
  const start = block - (block % panelBlocks);
  const ofTile = Math.min(panelBlocks * recordBytes, tileBytes - start * recordBytes);
  return start * recordBytes * tiles + tile * ofTile + (block - start) * recordBytes;
}

/** Words of a chunk of a row. */
export function wordsOfChunk({ signs, codeBits }: Packing): number {
  return signs ? CHUNK / signs.bits : codeBits;
}

/** Offset within the codes of a chunk of the register with a word of row vector `vector`. */
export function wordOffset({ signs, tile, lanes }: Packing, word: number, vector: number): number {
  const vectors = signs ? vectorsOfRegister(signs) : 1;
  return (word * (tile / vectors) + Math.floor(vector / vectors)) * 4 * lanes;
}

/** Pairs of integers of 6 bits that have bytes of their own, of 8. */
export const WHOLE_PAIRS = 6;

/** The bytes, numbered by pair, that each have two bits of pair `pair`, which has none of its own; low bits first. */
export function spreadOver(pair: number): readonly [number, number, number] {
  const first = 3 * (pair - WHOLE_PAIRS);
  return [first, first + 1, first + 2];
}

/**
 * The fields of the integer of group `g` among the bytes per row of a header part, low bits first. Of 8 pairs of integers of
 * 6 bits, six stand in the upper bits of bytes, and have those of the other two below them.
 */
export function groupFields(
  { paired }: Pick<Packing, "paired">,
  part: Scale | Zero,
  groups: number,
  g: number,
): BitField[] {
  const pair = g >> 1;
  return headerStreams(part, groups).flatMap(({ before, bits }) => {
    if (bits === 6) {
      const ofByte = (n: number) => before + 2 * n + (g & 1);
      return pair < WHOLE_PAIRS
        ? { byte: ofByte(pair), shift: 2, bits }
        : spreadOver(pair).map((n) => ({ byte: ofByte(n), shift: 0, bits: 2 }));
    }
    const bit = paired ? pair * bits : g * bits;
    const byte = Math.floor(bit / 8);
    return { byte: before + (paired ? 2 * byte + (g & 1) : byte), shift: bit % 8, bits };
  });
}

/** Where byte `n` of row `row` of a header part is, from the part's start. */
export function headerByte({ paired, tileRows }: Packing, n: number, row: number): number {
  return paired ? (n >> 1) * 2 * tileRows + 2 * row + (n & 1) : n * tileRows + row;
}
