import { type Cell, KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { loadElements } from "./elements.ts";
import { type KvLayout, kvName, kvStrides, paddedHeadDim } from "./kv-cache.ts";
import { exp } from "./math.ts";
import { LINE_BYTES, nameOfNumber } from "./work.ts";

export interface AttentionSpec {
  readonly heads: number;
  readonly kv: KvLayout;
  /** Scores are multiplied by this before the softmax, 1/sqrt(headDim) for Llama. */
  readonly scale: number;
}

export function attentionName({ heads, kv, scale }: AttentionSpec): string {
  return `attention_h${heads}_${kvName(kv)}_s${nameOfNumber(scale)}`;
}

/** Query heads that share one pass over K and V: a divisor of the group of heads with the same kv head. */
function headBlock({ heads, kv }: AttentionSpec): number {
  const perKv = heads / kv.kvHeads;
  return [4, 3, 2, 1].find((n) => perKv % n === 0) as number;
}

/** Accumulators held in registers at once. */
const ACCUMULATORS = 8;

/** Bytes of score scratch per part of the step for contexts of `contextLength` positions. */
export function scoreBytes(spec: AttentionSpec, contextLength: number): number {
  const pages = Math.ceil(contextLength / spec.kv.pageTokens);
  return 4 * headBlock(spec) * pages * spec.kv.pageTokens;
}

interface Work {
  readonly b: KernelBuilder;
  readonly spec: AttentionSpec;
  /** Query heads of this item. */
  readonly block: number;
  readonly q: Value<"ptr">;
  readonly out: Value<"ptr">;
  readonly cache: Value<"ptr">;
  /** Page numbers of the row's sequence. */
  readonly pages: Value<"ptr">;
  readonly pageCount: Value<"i32">;
  readonly position: Value<"i32">;
  readonly kvHead: Value<"i32">;
  /** f32 [head of the block][position], a row of `scoreStride` bytes each. */
  readonly scores: Value<"ptr">;
  readonly scoreStride: Value<"i32">;
}

/**
 * out[h] = Σ_p softmax_p(scale · q[h] · K[p]) V[p] over the positions p ≤ the row's own (causal), grouped-query.
 * One item per row and block of query heads; items go round the threads, because later rows have more to do.
 */
export function attention(spec: AttentionSpec, target: Target): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const { kv, heads } = spec;
  const block = headBlock(spec);
  const q = b.parameter("q", "ptr", "f32 rows of heads, rotated");
  const out = b.parameter("out", "ptr", "f32 rows of heads");
  const cache = b.parameter("cache", "ptr", "the layer's KV pages");
  const positions = b.parameter("positions", "ptr", "i32 position of every row");
  const tables = b.parameter("tables", "ptr", "i32 page tables of the sequences");
  const tableOf = b.parameter("table_of", "ptr", "i32 first page table entry of every row's sequence");
  const scratch = b.parameter("scratch", "ptr", "scores, one region per part of the step");
  const partBytes = b.parameter("part_bytes", "i32", "bytes of scores per part");
  const scoreStride = b.parameter("score_stride", "i32", "bytes from one head's scores to the next");
  const counts = b.parameter("counts", "ptr", "i32: number of rows");
  const perRow = heads / block;
  const items = b.named("items", op.imul(op.iload(counts, { offset: 0 }), b.i(perRow)));
  b.loop("item", b.thread, items, b.threads, (item) => {
    const row = b.named("row", op.idiv(item, b.i(perRow)));
    const firstHead = b.named("head", op.imul(op.irem(item, b.i(perRow)), b.i(block)));
    const ofRow = (p: Value<"ptr">) => op.iload(op.addr(p, row, { stride: 4, offset: 0 }), { offset: 0 });
    const headOf = (p: Value<"ptr">) =>
      op.addr(op.addr(p, row, { stride: 4 * paddedCols(heads * kv.headDim), offset: 0 }), firstHead, {
        stride: 4 * kv.headDim,
        offset: 0,
      });
    const position = b.named("position", ofRow(positions));
    const work: Work = {
      b,
      spec,
      block,
      q: b.named("q_heads", headOf(q)),
      out: b.named("out_heads", headOf(out)),
      cache,
      pages: b.named("pages", op.addr(tables, ofRow(tableOf), { stride: 4, offset: 0 })),
      pageCount: b.named("page_count", op.iadd(op.idiv(position, b.i(kv.pageTokens)), b.i(1))),
      position,
      kvHead: b.named("kv_head", op.idiv(firstHead, b.i(heads / kv.kvHeads))),
      scores: b.named("scores", op.addrv(scratch, b.thread, partBytes)),
      scoreStride,
    };
    const maxima = computeScores(work);
    const inverseSums = softmax(work, maxima);
    mixValues(work, inverseSums);
  });
  return b.build(attentionName(spec), [
    `out[h] = sum over positions p of softmax(${spec.scale} * q[h] . K[p]) V[p], causal`,
    `${heads} heads of ${kv.headDim}, ${kv.kvHeads} kv heads, ${kv.element} cache, ${block} heads a pass`,
  ]);
}

function pageAt({ b, spec, cache, pages, kvHead }: Work, page: Value<"i32">, part: "k" | "v"): Value<"ptr"> {
  const strides = kvStrides(spec.kv);
  const number = b.op.iload(b.op.addr(pages, page, { stride: 4, offset: 0 }), { offset: 0 });
  const base = b.op.addr(cache, number, { stride: strides.page, offset: 0 });
  return part === "k"
    ? b.op.addr(base, kvHead, { stride: strides.kHead, offset: 0 })
    : b.op.addr(base, kvHead, { stride: strides.vHead, offset: strides.vAt });
}

/** The page after this one, or the last again: what is asked for ahead while a page is worked on. */
function nextPage({ b, pageCount }: Work, page: Value<"i32">): Value<"i32"> {
  return b.op.imin(b.op.iadd(page, b.i(1)), b.op.isub(pageCount, b.i(1)));
}

const scoreRow = ({ b, scores, scoreStride }: Work, head: number): Value<"ptr"> =>
  b.op.addrv(scores, b.i(head), scoreStride);

/** Asks for the lines that hold these vectors of a row: pages lie apart, so that no hardware foresees the next. */
function prefetchLines(b: KernelBuilder, row: Value<"ptr">, vectors: readonly number[], bytes: number): void {
  const lines = new Set(vectors.map((v) => Math.floor((v * bytes) / LINE_BYTES)));
  for (const line of lines) b.op.prefetch(row, { offset: line * LINE_BYTES });
}

/** scores[h][p] = scale · q[h] · K[p], −∞ past the position; returns the running maxima per lane. */
function computeScores(work: Work): Cell<"vf32">[] {
  const { b, spec, block, q } = work;
  const { op, lanes } = b;
  const { kv } = spec;
  const strides = kvStrides(kv);
  const bytes = strides.kDim / kv.pageTokens;
  const vectors = kv.pageTokens / lanes;
  const atOnce = Math.max(1, Math.min(vectors, Math.floor(ACCUMULATORS / block)));
  const heads = Array.from({ length: block }, (_, h) => h);
  const maxima = heads.map((h) => b.variable(`max${h}`, op.vfconst({ value: Number.NEGATIVE_INFINITY })));
  const limit = b.named("limit", op.visplat(op.iadd(work.position, b.i(1))));
  b.loop("page", 0, work.pageCount, 1, (page) => {
    const k = b.named("k_page", pageAt(work, page, "k"));
    const next = b.named("k_next", pageAt(work, nextPage(work, page), "k"));
    const first = b.named("first_position", op.imul(page, b.i(kv.pageTokens)));
    for (let start = 0; start < vectors; start += atOnce) {
      const group = Array.from({ length: Math.min(atOnce, vectors - start) }, (_, n) => start + n);
      const sums = heads.map((h) => group.map((v) => b.variable(`s${h}_${v}`, op.vfconst({ value: 0 }))));
      b.loop("d", 0, kv.headDim, 1, (d) => {
        const kd = op.addr(k, d, { stride: strides.kDim, offset: 0 });
        prefetchLines(b, op.addr(next, d, { stride: strides.kDim, offset: 0 }), group, lanes * bytes);
        const qd = op.addr(q, d, { stride: 4, offset: 0 });
        const qs = heads.map((h) => op.vfsplat(op.fload(qd, { offset: 4 * h * kv.headDim })));
        group.forEach((v, n) => {
          const keys = loadElements(b, kv.element, kd, v * lanes * bytes);
          for (const h of heads) {
            const sum = (sums[h] as Cell<"vf32">[])[n] as Cell<"vf32">;
            sum.set(op.vfma(keys, qs[h] as Value<"vf32">, sum.get()));
          }
        });
      });
      group.forEach((v, n) => {
        const at = op.viadd(op.visplat(op.iadd(first, b.i(v * lanes))), op.viota());
        const valid = op.vilt(at, limit);
        for (const h of heads) {
          const sum = ((sums[h] as Cell<"vf32">[])[n] as Cell<"vf32">).get();
          const scaled = op.vfmul(sum, op.vfconst({ value: spec.scale }));
          const score = op.vfselect(valid, scaled, op.vfconst({ value: Number.NEGATIVE_INFINITY }));
          const cell = maxima[h] as Cell<"vf32">;
          cell.set(op.vfmax(score, cell.get()));
          op.vfstore(op.addr(scoreRow(work, h), first, { stride: 4, offset: 0 }), score, {
            offset: 4 * v * lanes,
          });
        }
      });
    }
  });
  return maxima;
}

/** scores ← e^(score − max), zero past the position; returns 1 / Σ per head. */
function softmax(work: Work, maxima: Cell<"vf32">[]): Value<"f32">[] {
  const { b, spec } = work;
  const { op } = b;
  const end = b.named("padded_positions", op.imul(work.pageCount, b.i(spec.kv.pageTokens)));
  return maxima.map((cell, h) => {
    const largest = b.named(`largest${h}`, op.vfsplat(op.vfmaxlane(cell.get())));
    const sum = b.variable(`sum${h}`, op.vfconst({ value: 0 }));
    const row = b.named(`scores${h}`, scoreRow(work, h));
    b.loop("p", 0, end, b.lanes, (p) => {
      const at = op.addr(row, p, { stride: 4, offset: 0 });
      const e = exp(b, op.vfsub(op.vfload(at, { offset: 0 }), largest));
      op.vfstore(at, e, { offset: 0 });
      sum.set(op.vfadd(sum.get(), e));
    });
    return b.named(`inverse${h}`, op.fdiv(b.f(1), op.vfsum(sum.get())));
  });
}

/** out[h] = Σ_p scores[h][p] · V[p] / Σ, a few registers of dimensions at a time. */
function mixValues(work: Work, inverseSums: Value<"f32">[]): void {
  const { b, spec, block } = work;
  const { op, lanes } = b;
  const { kv } = spec;
  const strides = kvStrides(kv);
  const bytes = strides.vRow / paddedHeadDim(kv.headDim);
  const vectors = Math.ceil(kv.headDim / lanes);
  const atOnce = Math.max(1, Math.floor(ACCUMULATORS / block));
  const heads = Array.from({ length: block }, (_, h) => h);
  const rows = heads.map((h) => b.named(`weights${h}`, scoreRow(work, h)));
  for (let start = 0; start < vectors; start += atOnce) {
    const group = Array.from({ length: Math.min(atOnce, vectors - start) }, (_, n) => start + n);
    const sums = heads.map((h) => group.map((v) => b.variable(`o${h}_${v}`, op.vfconst({ value: 0 }))));
    b.loop("page", 0, work.pageCount, 1, (page) => {
      const v0 = b.named("v_page", pageAt(work, page, "v"));
      const next = b.named("v_next", pageAt(work, nextPage(work, page), "v"));
      const first = b.named("first_position", op.imul(page, b.i(kv.pageTokens)));
      const left = op.isub(op.iadd(work.position, b.i(1)), first);
      b.loop("slot", 0, b.named("slots", op.imin(left, b.i(kv.pageTokens))), 1, (slot) => {
        const p = op.iadd(first, slot);
        const ps = rows.map((row) =>
          op.vfsplat(op.fload(op.addr(row, p, { stride: 4, offset: 0 }), { offset: 0 })),
        );
        const vRow = op.addr(v0, slot, { stride: strides.vRow, offset: 0 });
        prefetchLines(b, op.addr(next, slot, { stride: strides.vRow, offset: 0 }), group, lanes * bytes);
        group.forEach((v, n) => {
          const values = loadElements(b, kv.element, vRow, v * lanes * bytes);
          for (const h of heads) {
            const sum = (sums[h] as Cell<"vf32">[])[n] as Cell<"vf32">;
            sum.set(op.vfma(values, ps[h] as Value<"vf32">, sum.get()));
          }
        });
      });
    });
    group.forEach((v, n) => {
      for (const h of heads) {
        const sum = ((sums[h] as Cell<"vf32">[])[n] as Cell<"vf32">).get();
        const value = op.vfmul(sum, op.vfsplat(inverseSums[h] as Value<"f32">));
        const offset = 4 * (h * kv.headDim + v * lanes);
        const left = kv.headDim - v * lanes;
        if (left >= lanes) op.vfstore(work.out, value, { offset });
        else op.vfstoren(work.out, b.i(left), value, { offset });
      }
    });
  }
}
