import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { appendKey, appendScratchBytes, appendValue } from "./kv-append.ts";
import { type KvLayout, kvName, kvStrides } from "./kv-cache.ts";
import { forEachItem } from "./work.ts";

/**
 * Which dimensions rotate together: `interleaved` 2i and 2i + 1 (GGUF's Llama, whose q and k rows are permuted for it),
 * `halves` i and i + rotated/2 (Hugging Face's rotate_half, GGUF's "neox").
 */
export type RopePairing = "interleaved" | "halves";

export interface RopeSpec {
  readonly heads: number;
  readonly kv: KvLayout;
  /** Dimensions of a head that rotate, the first ones; even. 0: nothing rotates, keys and values are appended only. */
  readonly rotated: number;
  readonly pairing: RopePairing;
}

export function ropeName({ heads, kv, rotated, pairing }: RopeSpec): string {
  return rotated === 0 ? `append_${kvName(kv)}` : `rope_${pairing}_h${heads}_r${rotated}_${kvName(kv)}`;
}

/** Values from a row's cosines to its sines: whole registers on every target. */
function tablePart(rotated: number): number {
  return Math.ceil(rotated / 16) * 16;
}

/** f32 values of the rotation table per row: cosines, then sines, each `rotated` long and padded to 16. */
export function ropeTableCols(rotated: number): number {
  return 2 * tablePart(rotated);
}

/**
 * The rotation of one position. interleaved: cos and ±sin per dimension; halves: the first half of each part is used.
 * `angle(i)` is the angle of pair i in radians, `scale` multiplies the magnitude.
 */
export function writeRopeTable(
  out: Float32Array,
  pairing: RopePairing,
  rotated: number,
  angle: (pair: number) => number,
  scale = 1,
): void {
  const sines = tablePart(rotated);
  for (let i = 0; i < rotated / 2; i++) {
    const [cos, sin] = [scale * Math.cos(angle(i)), scale * Math.sin(angle(i))];
    if (pairing === "interleaved") {
      out[2 * i] = cos;
      out[2 * i + 1] = cos;
      out[sines + 2 * i] = -sin;
      out[sines + 2 * i + 1] = sin;
    } else {
      out[i] = cos;
      out[sines + i] = sin;
    }
  }
}

/**
 * Rotates q in place; rotates k and appends k and v to the row's page of the cache. One item per row and kv head. Without
 * rotation there are no parameters q and table.
 */
export function rope(spec: RopeSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const { kv, heads } = spec;
  const { kvHeads, headDim } = kv;
  const perKv = heads / kvHeads;
  const rotates = spec.rotated > 0;
  const q = rotates ? b.parameter("q", "ptr", "f32 rows of heads, rotated in place") : undefined;
  const k = b.parameter("k", "ptr", "f32 rows of kv heads");
  const v = b.parameter("v", "ptr", "f32 rows of kv heads");
  const cache = b.parameter("cache", "ptr", "the layer's KV pages");
  const table = rotates ? b.parameter("table", "ptr", "f32 cosines and sines of every row") : undefined;
  const positions = b.parameter("positions", "ptr", "i32 position of every row");
  const pageOf = b.parameter("pages", "ptr", "i32 page that holds the row's position");
  const scratch = b.parameter("scratch", "ptr", "rows of kv heads on their way to the cache");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const strides = kvStrides(kv);
  forEachItem(b, op.imul(op.iload(counts, { offset: 0 }), b.i(kvHeads)), (item) => {
    const row = b.named("row", op.idiv(item, b.i(kvHeads)));
    const head = b.named("head", op.irem(item, b.i(kvHeads)));
    const rotation =
      table &&
      b.named("rotation", op.addr(table, row, { stride: 4 * ropeTableCols(spec.rotated), offset: 0 }));
    if (q !== undefined && rotation !== undefined) {
      const qRow = op.addr(q, row, { stride: 4 * paddedCols(heads * headDim), offset: 0 });
      b.loop("i", 0, perKv, 1, (i) => {
        const ofHead = op.iadd(op.imul(head, b.i(perKv)), i);
        const qHead = op.addr(qRow, ofHead, { stride: 4 * headDim, offset: 0 });
        rotate(b, spec, b.named("q_head", qHead), qHead, rotation);
      });
    }
    const kvRow = (p: Value<"ptr">) =>
      op.addr(op.addr(p, row, { stride: 4 * paddedCols(kvHeads * headDim), offset: 0 }), head, {
        stride: 4 * headDim,
        offset: 0,
      });
    const entry = op.iload(op.addr(pageOf, row, { stride: 4, offset: 0 }), { offset: 0 });
    const page = b.named("page", op.addr(cache, entry, { stride: strides.page, offset: 0 }));
    const position = op.iload(op.addr(positions, row, { stride: 4, offset: 0 }), { offset: 0 });
    const slot = b.named("slot", op.irem(position, b.i(kv.pageTokens)));
    const temporary = b.named(
      "k_rotated",
      op.addr(scratch, item, { stride: appendScratchBytes(kv), offset: 0 }),
    );
    const kHead = b.named("k_head", kvRow(k));
    if (rotation !== undefined) rotate(b, spec, kHead, temporary, rotation);
    copyRest(b, spec, kHead, temporary);
    const place = { page, head, slot };
    appendKey(b, kv, temporary, place);
    appendValue(b, kv, b.named("v_head", kvRow(v)), temporary, place);
  });
  return b.build(ropeName(spec), [
    rotates
      ? `rotary embedding (${spec.pairing}, ${spec.rotated} of ${headDim} dimensions) of ${heads} q heads and ${kvHeads} kv heads;`
      : `${kvHeads} kv heads of ${headDim} dimensions, nothing rotates;`,
    `k and v are appended to the ${kv.element} cache, ${kv.pageTokens} positions a page`,
  ]);
}

/** to ← rotated from, the dimensions that rotate. */
function rotate(
  b: KernelBuilder,
  spec: RopeSpec,
  from: Value<"ptr">,
  to: Value<"ptr">,
  table: Value<"ptr">,
): void {
  if (spec.pairing === "interleaved") rotateInterleaved(b, spec, from, to, table);
  else rotateHalves(b, spec, from, to, table);
}

/** Copies the dimensions that do not rotate. */
function copyRest(b: KernelBuilder, { rotated, kv }: RopeSpec, from: Value<"ptr">, to: Value<"ptr">): void {
  b.loop("d", rotated, kv.headDim, 1, (d) => {
    const value = b.op.fload(b.op.addr(from, d, { stride: 4, offset: 0 }), { offset: 0 });
    b.op.fstore(b.op.addr(to, d, { stride: 4, offset: 0 }), value, { offset: 0 });
  });
}

/** Lanes left from `i` on, at most L. */
function lanesLeft(b: KernelBuilder, i: Value<"i32">, end: number): Value<"i32"> {
  return b.op.imin(b.op.isub(b.i(end), i), b.i(b.lanes));
}

function rotateInterleaved(
  b: KernelBuilder,
  { rotated }: RopeSpec,
  from: Value<"ptr">,
  to: Value<"ptr">,
  table: Value<"ptr">,
): void {
  const { op } = b;
  const swap = Array.from({ length: b.lanes }, (_, i) => i ^ 1);
  b.loop("d", 0, rotated, b.lanes, (d) => {
    const left = lanesLeft(b, d, rotated);
    const x = op.vfloadn(op.addr(from, d, { stride: 4, offset: 0 }), left, { offset: 0 });
    const at = op.addr(table, d, { stride: 4, offset: 0 });
    const cos = op.vfload(at, { offset: 0 });
    const sin = op.vfload(at, { offset: 4 * tablePart(rotated) });
    const y = op.vfma(op.vfpermute(x, { lanes: swap }), sin, op.vfmul(x, cos));
    op.vfstoren(op.addr(to, d, { stride: 4, offset: 0 }), left, y, { offset: 0 });
  });
}

function rotateHalves(
  b: KernelBuilder,
  { rotated }: RopeSpec,
  from: Value<"ptr">,
  to: Value<"ptr">,
  table: Value<"ptr">,
): void {
  const { op } = b;
  const half = rotated / 2;
  b.loop("d", 0, half, b.lanes, (d) => {
    const left = lanesLeft(b, d, half);
    const source = op.addr(from, d, { stride: 4, offset: 0 });
    const target = op.addr(to, d, { stride: 4, offset: 0 });
    const low = op.vfloadn(source, left, { offset: 0 });
    const high = op.vfloadn(source, left, { offset: 4 * half });
    const at = op.addr(table, d, { stride: 4, offset: 0 });
    const cos = op.vfload(at, { offset: 0 });
    const sin = op.vfload(at, { offset: 4 * tablePart(rotated) });
    const negated = op.vfsub(op.vfconst({ value: 0 }), sin);
    op.vfstoren(target, left, op.vfma(high, negated, op.vfmul(low, cos)), { offset: 0 });
    op.vfstoren(target, left, op.vfma(low, sin, op.vfmul(high, cos)), { offset: 4 * half });
  });
}
