import { describe, expect, it } from "vitest";
import { InternalError, UsageError } from "../../src/base/errors.ts";
import { f16ToF32 } from "../../src/base/float16.ts";
import { Rng } from "../../src/base/rng.ts";
import type { SignWords } from "../../src/ir/types.ts";
import { rowBytes } from "../../src/quant/blocks.ts";
import { quads } from "../../src/quant/chunks.ts";
import {
  blockCount,
  blockSize,
  CHUNK,
  chunkCount,
  FORMATS,
  type Format,
  formatNamed,
  groupSize,
  groupsOfBlock,
  type QuantizedFormat,
} from "../../src/quant/formats.ts";
import { type Packing, packing, sharedVectors } from "../../src/quant/packing.ts";
import {
  dequantizeRows,
  type PackingTarget,
  packReference,
  type UnpackedRow,
  unpackReference,
  unpackRow,
} from "../../src/quant/reference.ts";
import { panelInputs } from "../../src/quant/sign-words.ts";
import { wholeBlocks } from "../kernels/matrices.ts";

const SIZES = [1, 7, 31, 33, 127, 172];

/** The bytes of lane j are 4j + i; or, in every 16 bytes, 2j, 2j + 1, 8 + 2j, 9 + 2j. */
const DOT_BYTES = {
  adjacent: (lane: number, i: number) => 4 * lane + i,
  halves: (lane: number, i: number) => 16 * Math.floor(lane / 4) + 2 * (lane % 4) + (i < 2 ? i : 8 + i - 2),
};

const IN_BYTES: SignWords = { bits: 8, fields: [4, 4] };
const IN_PAIRS: SignWords = { bits: 16, fields: [5, 5, 6] };

interface Case {
  readonly target: PackingTarget;
  readonly tile: number;
  readonly rows: number;
  readonly cols: number;
}

/** Every tile, lane count and dot layout; the sizes take turns (`turn` differs from format to format). */
function cases(format: Format, turn: number): Case[] {
  const found: Case[] = [];
  for (const dotByte of Object.values(DOT_BYTES)) {
    for (const lanes of [4, 8, 16]) {
      const signs = lanes === 16 ? IN_PAIRS : IN_BYTES;
      // Whole blocks are long rows.
      for (const tiles of wholeBlocks(format, 1) === 1 ? [1, 2, 3, 4] : [1, 3]) {
        const tile = tiles * sharedVectors(format, { signs });
        const pair = 7 * found.length + turn;
        const rows = SIZES[pair % SIZES.length]!;
        const cols = wholeBlocks(format, SIZES[Math.floor(pair / SIZES.length) % SIZES.length]!);
        found.push({ target: { lanes, dotByte, signs }, tile, rows, cols });
      }
    }
  }
  return found;
}

function randomBytes(rng: Rng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => rng.u32());
}

const numbered = [...FORMATS.values()].map((format, turn) => ({ format, turn, name: format.name }));

describe.each(numbered)("packing of $name", ({ format, turn }) => {
  it("is undone by unpacking, for any bytes", () => {
    const rng = new Rng(turn);
    for (const { target, tile, rows, cols } of cases(format, turn)) {
      const layout = packing(format, rows, cols, tile, target);
      const source = randomBytes(rng, rows * rowBytes(format, cols));
      const packed = packReference(layout, target, source);
      expect(packed.length).toBe(layout.totalBytes);
      const unpacked = unpackReference(layout, target, packed);
      const same = Buffer.compare(unpacked, source) === 0;
      // A byte without sign loses what stands for its sign, and the value that is no number.
      const isSigned = format.kind === "quantized" && format.scale.kind === "minifloat";
      expect(same || isSigned).toBe(true);
      expect(dequantizeRows(format, unpacked, rows, cols)).toEqual(
        dequantizeRows(format, source, rows, cols),
      );
    }
  });

  it("has consistent sizes, and nothing but the source where the tiles are full", () => {
    for (const { target, tile, rows, cols } of cases(format, turn)) {
      const layout = packing(format, rows, cols, tile, target);
      expect(layout.tileRows).toBe(tile * target.lanes);
      expect((layout.tiles - 1) * layout.tileRows).toBeLessThan(rows);
      expect(layout.tiles * layout.tileRows).toBeGreaterThanOrEqual(rows);
      const stored = layout.tiles * layout.tileRows * rowBytes(format, cols);
      expect(layout.totalBytes).toBeGreaterThanOrEqual(stored);
      expect(layout.totalBytes).toBeLessThanOrEqual(stored * mostGrowth(format));
      if (format.kind === "float") continue;
      const blocks = blockCount(format, cols);
      const lastChunks = chunkCount(cols) - (blocks - 1) * chunkCount(blockSize(format, cols));
      const lastRecord = layout.headerBytes + lastChunks * layout.chunkBytes;
      expect(layout.tileBytes).toBe((blocks - 1) * layout.recordBytes + lastRecord);
    }
  });

  it("puts every weight where the layout says", () => {
    const rng = new Rng(100 + turn);
    for (const { target, tile, rows, cols } of cases(format, turn)) {
      const layout = packing(format, rows, cols, tile, target);
      const perRow = rowBytes(format, cols);
      const source = randomBytes(rng, rows * perRow);
      const packed = packReference(layout, target, source);
      for (let n = 0; n < 8; n++) {
        const row = rng.integer(rows);
        const col = rng.integer(cols);
        const bytes = source.subarray(row * perRow, (row + 1) * perRow);
        if (format.kind === "float") {
          const wanted = bytes.subarray(col * format.bytes, (col + 1) * format.bytes);
          expect(elementAt(format.bytes, layout, packed, row, col)).toEqual(wanted);
        } else {
          const unpacked = unpackRow(format, bytes, cols);
          const code = codeAt(format, layout, target, packed, row, col);
          expect(format.table?.[code] ?? code).toBe(unpacked.codes[col]);
          if (groupsOfBlock(format, cols) === 1 && format.scale.kind === "half")
            expectHeader(format, layout, packed, unpacked, row, col);
        }
      }
    }
  });
});

function elementAt(bytes: number, layout: Packing, packed: Uint8Array, row: number, col: number) {
  const tile = Math.floor(row / layout.tileRows) * layout.tileBytes;
  const at = tile + (col * layout.tileRows + (row % layout.tileRows)) * bytes;
  return packed.subarray(at, at + bytes);
}

/** How much larger a matrix may be packed than stored: integers of 6 bits, of 8 groups, become bytes. */
function mostGrowth(format: Format): number {
  return format.kind === "quantized" && format.scale.kind === "product" ? 1.03 : 1;
}

/** The unsigned code as a kernel finds it: from the register bytes that meet this input. */
function codeAt(
  format: QuantizedFormat,
  layout: Packing,
  target: PackingTarget,
  packed: Uint8Array,
  row: number,
  col: number,
): number {
  const { tileRows, tile } = layout;
  const { lanes, dotByte, signs } = target;
  const block = Math.floor(col / blockSize(format, layout.cols));
  const inBlock = col - block * blockSize(format, layout.cols);
  const input = inBlock % CHUNK;
  const chunk =
    Math.floor(row / tileRows) * layout.tileBytes +
    block * layout.recordBytes +
    layout.headerBytes +
    Math.floor(inBlock / CHUNK) * layout.chunkBytes;
  const vector = Math.floor((row % tileRows) / lanes);
  if (layout.signs) {
    const { bits } = signs;
    const vectors = 32 / bits;
    const register = Math.floor(input / bits) * (tile / vectors) + Math.floor(vector / vectors);
    const bit = bits * (vector % vectors) + (input % bits);
    const byte = packed[chunk + register * 4 * lanes + dotByte(row % lanes, Math.floor(bit / 8))]!;
    return (byte >>> (bit % 8)) & 1;
  }
  const byteOf = (word: number) =>
    packed[chunk + (word * tile + vector) * 4 * lanes + dotByte(row % lanes, input % 4)]!;
  const quad = quads(format.bits)[Math.floor(input / 4)]!;
  if (quad.kind === "together") return (byteOf(quad.word) >>> quad.shift) % 2 ** format.bits;
  const bits = Array.from({ length: format.bits }, (_, j) => (byteOf(j) >>> (quad.slot + quad.spare)) & 1);
  return bits.reduce((code, bit, j) => code + bit * 2 ** j, 0);
}

function expectHeader(
  format: QuantizedFormat,
  layout: Packing,
  packed: Uint8Array,
  unpacked: UnpackedRow,
  row: number,
  col: number,
): void {
  const group = Math.floor(col / groupSize(format, layout.cols));
  const record = Math.floor(row / layout.tileRows) * layout.tileBytes + group * layout.recordBytes;
  const inTile = row % layout.tileRows;
  const view = new DataView(packed.buffer);
  expect(f16ToF32(view.getUint16(record + 2 * inTile, true))).toEqual(unpacked.scales[group]);
  const zeros = record + layout.zeroAt;
  if (format.zero.kind === "code") expect(packed[zeros + inTile]).toBe(unpacked.zeros[group]);
  if (unpacked.minima) {
    expect(f16ToF32(view.getUint16(zeros + 2 * inTile, true))).toEqual(unpacked.minima[group]);
  }
}

describe("panels of signs", () => {
  const target: PackingTarget = { lanes: 8, dotByte: DOT_BYTES.adjacent, signs: IN_BYTES };
  const format = formatNamed("Q1_0");

  it("have the records of all tiles, one tile after the other, before the next panel's", () => {
    const [rows, cols] = [70, 2 * panelInputs(IN_BYTES) + 200];
    const layout = packing(format, rows, cols, 4, target);
    const blocksOf = [8, 8, 2];
    const scaleOf = (tile: number, block: number) => 100 * tile + block;
    const source = new Uint8Array(rows * rowBytes(format, cols));
    for (let row = 0; row < rows; row++) {
      const bytes = new DataView(source.buffer, row * rowBytes(format, cols));
      for (let block = 0; block < 18; block++) bytes.setUint16(18 * block, scaleOf(row >> 5, block), true);
    }
    const packed = packReference(layout, target, source);
    let at = 0;
    blocksOf.forEach((blocks, panel) => {
      for (let tile = 0; tile < 3; tile++) {
        for (let block = 8 * panel; block < 8 * panel + blocks; block++) {
          expect(new DataView(packed.buffer).getUint16(at, true)).toBe(scaleOf(tile, block));
          // 32 scales, then four registers for each chunk, of which the last block of a row has three.
          at += 64 + (block === 17 ? 3 : 4) * 128;
        }
      }
    });
    expect(at).toBe(packed.length);
    expect(unpackReference(layout, target, packed)).toEqual(source);
  });
});

describe("packReference", () => {
  const target: PackingTarget = { lanes: 8, dotByte: DOT_BYTES.adjacent, signs: IN_BYTES };

  it.each(["Q4_1", "Q8_0", "3bit-g64", "F32"])("%s: rows past the end are all 0", (name) => {
    const format = formatNamed(name);
    const layout = packing(format, 9, 64, 1, target);
    const full = packing(format, 16, 64, 1, target);
    const source = new Uint8Array(9 * rowBytes(format, 64)).fill(0xff);
    const zeros = new Uint8Array(7 * rowBytes(format, 64));
    const padded = unpackReference(full, target, packReference(layout, target, source));
    const signed = format.kind === "quantized" && format.signedCodes;
    const expected = signed ? signedZeros(format, 7, 64) : zeros;
    expect(padded.subarray(source.length)).toEqual(expected);
  });

  it("Q8_0: turns signed codes into unsigned ones", () => {
    const format = formatNamed("Q8_0");
    const single = { lanes: 4, dotByte: DOT_BYTES.adjacent, signs: IN_BYTES };
    const layout = packing(format, 1, 32, 1, single);
    const source = new Uint8Array(34);
    source.set([0, 0x3c, 0x80, 0xff, 0, 0x7f]);
    const packed = packReference(layout, single, source);
    expect([...packed.subarray(layout.headerBytes, layout.headerBytes + 4)]).toEqual([0, 127, 128, 255]);
  });

  it("shares registers among the row vectors of a word, and takes no others", () => {
    const format = formatNamed("Q1_0");
    expect(packing(format, 8, 128, 8, target).tileRows).toBe(64);
    expect(() => packing(format, 8, 128, 2, target)).toThrow(InternalError);
    expect(packing(format, 8, 128, 2, { ...target, signs: IN_PAIRS }).tileRows).toBe(16);
    expect(() => packing(format, 8, 128, 1, { ...target, signs: IN_PAIRS })).toThrow(InternalError);
  });

  it("refuses bytes of another size, and a target that the packing is not for", () => {
    const layout = packing(formatNamed("Q4_0"), 8, 64, 1, target);
    expect(() => packReference(layout, target, new Uint8Array(8 * 36 - 1))).toThrow(UsageError);
    expect(() => unpackReference(layout, target, new Uint8Array(layout.totalBytes + 1))).toThrow(UsageError);
    const other = { ...target, lanes: 4 };
    expect(() => packReference(layout, other, new Uint8Array(8 * 36))).toThrow(InternalError);
  });
});

/** Source rows of Q8_0 whose packed form is all 0: scale 0, codes −128. */
function signedZeros(format: Format, rows: number, cols: number): Uint8Array {
  const bytes = new Uint8Array(rows * rowBytes(format, cols));
  return bytes.map((_, i) => (i % 34 < 2 ? 0 : 0x80));
}
