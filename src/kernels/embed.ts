import { assert } from "../base/assert.ts";
import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import {
  CHUNK,
  chunkCount,
  fieldStride,
  fieldsPerByte,
  groupSize,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { type Packing, planeOffset } from "../quant/packing.ts";
import { paddedCols } from "./activations.ts";
import { halfToFloat } from "./math.ts";
import { forEachItem, nameOfNumber } from "./work.ts";

/** What is done with a row on its way from the matrix. */
export interface EmbedChange {
  /** Factor on the values, 1 if not given. */
  readonly scale?: number | undefined;
  /** Adds to the output instead of replacing it. */
  readonly accumulate?: boolean;
}

export function embedName(
  { format, cols, tileRows }: Packing,
  { scale, accumulate }: EmbedChange = {},
): string {
  const how = `${accumulate ? "add_" : ""}${scale === undefined ? "" : `s${nameOfNumber(scale)}_`}`;
  return `embed_${how}w_${format.name.toLowerCase().replaceAll("-", "_")}_c${cols}_tu${tileRows}`;
}

/**
 * x[t] = W[token[t]]: one row of a packed matrix per token, dequantized. Scalar code: a row is one lane of its tile, and
 * one row per token is little work beside the projections.
 */
export function embed(pack: Packing, target: Target, change: EmbedChange = {}): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const table = b.parameter("table", "ptr", "packed embedding matrix");
  const tokens = b.parameter("tokens", "ptr", "i32 token of every row");
  const x = b.parameter("x", "ptr", "f32 rows");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  forEachItem(b, op.iload(counts, { offset: 0 }), (item) => {
    const token = b.named("id", op.iload(op.addr(tokens, item, { stride: 4, offset: 0 }), { offset: 0 }));
    const tile = op.addr(table, op.idiv(token, b.i(pack.tileRows)), { stride: pack.tileBytes, offset: 0 });
    const row = {
      tile: b.named("w_tile", tile),
      row: b.named("tile_row", op.irem(token, b.i(pack.tileRows))),
      out: b.named("x_row", op.addr(x, item, { stride: 4 * paddedCols(pack.cols), offset: 0 })),
      change,
    };
    if (pack.format.kind === "float") floatRow(b, pack, pack.format.element, row);
    else quantizedRow(b, pack, pack.format, target, row);
  });
  const { scale, accumulate } = change;
  const factor = scale === undefined ? "" : `${scale} * `;
  return b.build(embedName(pack, change), [
    `x[t] ${accumulate ? "+=" : "="} ${factor}row token[t] of a ${pack.format.name} matrix, ${pack.cols} values`,
  ]);
}

interface Row {
  readonly tile: Value<"ptr">;
  readonly row: Value<"i32">;
  readonly out: Value<"ptr">;
  readonly change: EmbedChange;
}

/** Stores a value of the row where it belongs. */
function put(
  b: KernelBuilder,
  { scale, accumulate }: EmbedChange,
  p: Value<"ptr">,
  value: Value<"f32">,
  offset = 0,
): void {
  const { op } = b;
  const scaled = scale === undefined ? value : op.fmul(value, b.f(scale));
  op.fstore(p, accumulate ? op.fadd(op.fload(p, { offset }), scaled) : scaled, { offset });
}

function floatRow(
  b: KernelBuilder,
  pack: Packing,
  element: "f32" | "f16" | "bf16",
  { tile, row, out, change }: Row,
): void {
  const { op } = b;
  const bytes = element === "f32" ? 4 : 2;
  const base = op.addr(tile, row, { stride: bytes, offset: 0 });
  b.loop("k", 0, pack.cols, 1, (k) => {
    const p = op.addr(base, k, { stride: pack.tileRows * bytes, offset: 0 });
    const value =
      element === "f32"
        ? op.fload(p, { offset: 0 })
        : element === "f16"
          ? halfToFloat(b, op.u16load(p, { offset: 0 }))
          : op.bitstof(op.ishl(op.u16load(p, { offset: 0 }), b.i(16)));
    put(b, change, op.addr(out, k, { stride: 4, offset: 0 }), value);
  });
}

function quantizedRow(
  b: KernelBuilder,
  pack: Packing,
  format: QuantizedFormat,
  target: Target,
  at: Row,
): void {
  const { op } = b;
  const size = groupSize(format, pack.cols);
  const whole = Math.floor(pack.cols / size);
  const laneStride = target.dotByte(1, 0) - target.dotByte(0, 0);
  for (let lane = 0; lane < target.lanes; lane++) {
    for (let i = 0; i < 4; i++) {
      assert(
        target.dotByte(lane, i) === lane * laneStride + target.dotByte(0, i),
        "dotByte is not affine in the lane",
      );
    }
  }
  const lane = op.irem(at.row, b.i(pack.lanes));
  const register = op.idiv(at.row, b.i(pack.lanes));
  const within = op.iadd(op.imul(register, b.i(4 * pack.lanes)), op.imul(lane, b.i(laneStride)));
  const codes = b.named("codes_of_row", op.addr(at.tile, within, { stride: 1, offset: pack.headerBytes }));
  const scales = b.named("scale_of_row", op.addr(at.tile, at.row, { stride: 2, offset: 0 }));
  const group = (g: Value<"i32">, inputs: number) => {
    const place = (p: Value<"ptr">) => op.addr(p, g, { stride: pack.recordBytes, offset: 0 });
    const scale = b.named("scale", halfToFloat(b, op.u16load(place(scales), { offset: 0 })));
    const zero = zeroOf(b, pack, format, at, g);
    const from = b.named("codes", place(codes));
    const to = b.named("to", op.addr(at.out, g, { stride: 4 * size, offset: 0 }));
    b.loop("chunk", 0, chunkCount(inputs), 1, (c) => {
      const chunk = op.addr(from, c, { stride: pack.chunkBytes, offset: 0 });
      const out = op.addr(to, c, { stride: 4 * CHUNK, offset: 0 });
      unpackChunk(b, pack, format, target, chunk).forEach((code, k) => {
        const q = op.itof(code);
        const value =
          format.zero.kind === "minimum"
            ? op.fadd(op.fmul(scale, q), zero)
            : op.fmul(op.fsub(q, zero), scale);
        put(b, at.change, out, value, 4 * k);
      });
    });
  };
  b.loop("group", 0, whole, 1, (g) => group(g, size));
  if (pack.cols % size !== 0) group(b.i(whole), pack.cols % size);
  // The padding of the last chunk has code 0 but not value 0.
  for (let k = pack.cols; k < chunkCount(pack.cols) * CHUNK; k++)
    op.fstore(at.out, b.f(0), { offset: 4 * k });
}

/** The zero point or the minimum of group g. */
function zeroOf(
  b: KernelBuilder,
  pack: Packing,
  { zero }: QuantizedFormat,
  { tile, row }: Row,
  g: Value<"i32">,
): Value<"f32"> {
  const { op } = b;
  if (zero.kind === "constant") return b.f(zero.value);
  const ofRow = op.addr(tile, row, { stride: zero.kind === "minimum" ? 2 : 1, offset: pack.zeroAt });
  const p = op.addr(ofRow, g, { stride: pack.recordBytes, offset: 0 });
  const value =
    zero.kind === "code"
      ? op.itof(op.u8load(p, { offset: 0 }))
      : halfToFloat(b, op.u16load(p, { offset: 0 }));
  return b.named("zero", value);
}

/** The 32 codes of one row in a chunk, as scalars in input order. */
function unpackChunk(
  b: KernelBuilder,
  pack: Packing,
  format: QuantizedFormat,
  target: Target,
  chunk: Value<"ptr">,
): Value<"i32">[] {
  const { op } = b;
  const codes: (Value<"i32"> | undefined)[] = Array(CHUNK).fill(undefined);
  let position = 0;
  format.planes.forEach((width, plane) => {
    const base = planeOffset(format.planes, plane, pack.tileRows);
    for (let byte = 0; byte < 4 * width; byte++) {
      const offset = base + (byte >> 2) * pack.tile * 4 * pack.lanes + target.dotByte(0, byte & 3);
      const packed = op.u8load(chunk, { offset });
      for (let f = 0; f < fieldsPerByte(width); f++) {
        const field = op.iand(op.ishr(packed, b.i(f * width)), b.i(2 ** width - 1));
        const placed = position === 0 ? field : op.ishl(field, b.i(position));
        const k = f * fieldStride(width) + byte;
        const low = codes[k];
        codes[k] = low === undefined ? placed : op.ior(low, placed);
      }
    }
    position += width;
  });
  return codes as Value<"i32">[];
}
