import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Prefetch, Target, Value } from "../ir/types.ts";
import type { Isa } from "../isa/isa.ts";

/*
 * Kernels that find out what a machine can do at most. Those that are timed do their work `repeats` times (a run-time
 * value, so that a pass can be made as long as wanted), let threads below `team` take part and the others idle, and
 * store one result per thread, so that nothing is dead code. All inputs come from memory: nothing is a constant.
 */

/** Bytes between the results of two threads: a cache line of their own. */
export const RESULT_STRIDE = 64;

/** Bytes of one item of the buffer that `readBandwidth` and `touchPages` divide among threads. */
export const MEASURE_PAGE = 4096;

/** A kernel that only computes, with what its inputs take and how much it does. */
export interface PeakKernel {
  readonly kernel: Kernel;
  /** What must be in the memory that the parameter `inputs` points to. */
  readonly inputs: Uint8Array;
  /** Operations of one thread in one repeat; a multiply-add counts as two. */
  readonly operations: number;
}

/** Vectors read by one iteration, each into an accumulator of its own: an addition takes one cycle, a load half. */
const READ_ACCUMULATORS = 8;

/**
 * How the read kernel asks for lines: not at all, all of them early, a few so early that the hardware's prefetchers find
 * the others. What pays depends on the core: one thread tries each, and the fastest way counts.
 */
export const READ_PREFETCHES: readonly (Prefetch | undefined)[] = [
  undefined,
  { level: 1, ahead: 4096, every: 64 },
  { level: 2, ahead: 16384, every: 512 },
];

/**
 * Every thread sums its contiguous share of the buffer, as i32 that wrap. With `prefetch` it asks for lines in advance:
 * the hardware's prefetchers stop at every 4 KiB, this crosses.
 */
export function readBandwidth(target: Target, prefetch?: Prefetch): Kernel {
  const b = new KernelBuilder(target);
  const { op } = b;
  const data = b.parameter("data", "ptr", "what is read");
  const pages = b.parameter("pages", "i32", "length of the data, in units of 4096 bytes");
  const common = commonParameters(b, "i32: sum of the words that the thread read");
  const chunk = READ_ACCUMULATORS * 4 * b.lanes;
  const chunksPerPage = MEASURE_PAGE / chunk;
  share(b, pages, common.team, (first, last) => {
    const sums = accumulators(b, READ_ACCUMULATORS, () => op.viconst({ value: 0 }));
    const [from, to] = [op.imul(first, b.i(chunksPerPage)), op.imul(last, b.i(chunksPerPage))];
    b.loop("repeat", 0, common.repeats, 1, () => {
      b.loop("i", from, to, 1, (i) => {
        const p = b.named("p", op.addr(data, i, { stride: chunk, offset: 0 }));
        for (let line = 0; prefetch && line < chunk; line += prefetch.every) {
          op.prefetch(p, { offset: prefetch.ahead + line, level: prefetch.level });
        }
        sums.forEach((sum, k) => {
          sum.set(op.viadd(sum.get(), op.viload(p, { offset: 4 * b.lanes * k })));
        });
      });
    });
    const total = sums.map((sum) => sum.get()).reduce((x, y) => op.viadd(x, y));
    op.istore(common.result(), op.visum(total), { offset: 0 });
  });
  const ahead = prefetch ? `_ahead${prefetch.ahead}` : "";
  return b.build(`measure_read${ahead}`, ["Streaming reads: every thread sums its share of the data."]);
}

/**
 * Writes its number to the start of every page, so that reads find memory: pages that were never written are all the
 * same zeros, in the cache. Threads write what they will read, which places it at their node.
 */
export function touchPages(target: Target): Kernel {
  const b = new KernelBuilder(target);
  const data = b.parameter("data", "ptr", "pages of 4096 bytes");
  const pages = b.parameter("pages", "i32", "number of pages");
  share(b, pages, b.threads, (first, last) => {
    b.loop("page", first, last, 1, (page) => {
      b.op.istore(b.op.addr(data, page, { stride: MEASURE_PAGE, offset: 0 }), page, { offset: 0 });
    });
  });
  return b.build("measure_touch", ["Writes to every page of the data, so that it is there."]);
}

/** Inputs of a repeat of `int8Peak`; they move on by one from repeat to repeat, around a window of twice as many. */
const INPUTS = 8;
/** Links of a chain, as in the projections: the eight fields of 32 inputs. */
const LINKS = 8;
/** Range of the codes; a chain of eight of them is one 16-bit sum on AVX2 (see the table there). */
const CODE_BITS = 4;

interface DotTile {
  /** Code registers, which stay. */
  readonly rows: number;
  /** Accumulators of a row, one for each input that is under way; 1 where all inputs of a chain share one. */
  readonly tokens: number;
  readonly links: number;
}

/**
 * Where closing a chain costs something, chains are of 8 links: 4 rows × 2 inputs, so that of 8 products 2 need a load.
 * Where a link is a single instruction, it waits for the one before (5 cycles, 2 a cycle): 16
 * accumulators, or what the registers allow (12 of 16). Where it is a sequence, 4 rows share what is derived from the
 * input.
 */
function dotTile({ costs, registers }: Isa): DotTile {
  if (costs.dotClose > 0) return { rows: 4, tokens: 1, links: LINKS };
  if (costs.dot > 1) return { rows: 4, tokens: 1, links: 1 };
  return { rows: Math.min(4, Math.floor((registers - 1) / 5)), tokens: 4, links: 1 };
}

/**
 * Independent `dot` chains of 4-bit codes on values in registers. Inputs: the rows' codes (a register each, every byte
 * below 16), then 16 times the four bytes of an input. The result is the sum of all products.
 */
export function int8Peak(isa: Isa): PeakKernel {
  const b = new KernelBuilder(isa);
  const { op } = b;
  const inputs = b.parameter("inputs", "ptr", "codes of the rows, then i8 inputs");
  const common = commonParameters(b, "i32: sum of all products");
  const tile = dotTile(isa);
  const register = 4 * b.lanes;
  const count = tile.links > 1 ? (INPUTS * tile.rows) / tile.links : tile.rows * tile.tokens;
  share(b, b.i(0), common.team, () => {
    const rows = Array.from({ length: tile.rows }, (_, row) =>
      b.named(`w${row}`, op.vu8load(inputs, { offset: row * register, bits: CODE_BITS })),
    );
    const sums = accumulators(b, count, () => op.viconst({ value: 0 }));
    b.loop("repeat", 0, common.repeats, 1, (repeat) => {
      const at = op.iand(repeat, b.i(INPUTS - 1));
      const x = b.named("x", op.addr(inputs, at, { stride: 4, offset: tile.rows * register }));
      addProducts(b, tile, rows, x, sums);
    });
    const total = sums.map((sum) => sum.get()).reduce((a, c) => op.viadd(a, c));
    op.istore(common.result(), op.visum(total), { offset: 0 });
  });
  return {
    kernel: b.build("measure_int8", ["Peak of int8 dot products."]),
    inputs: dotInputs(tile.rows * register),
    operations: 2 * register * tile.rows * INPUTS,
  };
}

/** Codes over their whole range, then activations over theirs. */
function dotInputs(codes: number): Uint8Array {
  const activation = (i: number) => ((37 * i) % 255) - 127;
  return Uint8Array.from({ length: codes + 4 * 2 * INPUTS }, (_, i) =>
    i < codes ? (7 * i) % 2 ** CODE_BITS : activation(i - codes),
  );
}

/** Every row times every input, in chains of the tile's length. */
function addProducts(
  b: KernelBuilder,
  { rows: rowCount, tokens, links }: DotTile,
  rows: readonly Value<"vu8">[],
  x: Value<"ptr">,
  sums: readonly Accumulator<"vi32">[],
): void {
  const load = (i: number) => b.op.vbroadcast4(x, { offset: 4 * i });
  const add = (
    sum: Accumulator<"vi32"> | undefined,
    w: readonly Value<"vu8">[],
    y: readonly Value<"vi8">[],
  ) => sum?.set(b.dot(sum.get(), w, y));
  if (links === 1) {
    for (let i = 0; i < INPUTS; i++) {
      const input = load(i);
      rows.forEach((w, row) => add(sums[row * tokens + (i % tokens)], [w], [input]));
    }
    return;
  }
  const perChain = links / rowCount;
  sums.forEach((sum, chain) => {
    const xs = Array.from({ length: perChain }, (_, i) => load(chain * perChain + i));
    add(
      sum,
      xs.flatMap(() => rows),
      xs.flatMap((y) => rows.map(() => y)),
    );
  });
}

/** Fused multiply-adds of one accumulator in one repeat. */
const F32_STEPS = 4;

/**
 * Independent chains v ← v · a + b, as many as registers leave beside the two factors: 4 or 5 cycles of latency times
 * 2 a cycle need 10. Inputs: a, b (a register each), then a start value for each chain, all different, or they would
 * be one chain. |a| < 1 keeps them in bounds. The result is the sum of all chains and lanes.
 */
export function f32Peak(isa: Isa): PeakKernel {
  const b = new KernelBuilder(isa);
  const { op } = b;
  const inputs = b.parameter("inputs", "ptr", "factor, addend, start values");
  const common = commonParameters(b, "f32: sum of all chains");
  const count = isa.registers - 3;
  const register = 4 * b.lanes;
  share(b, b.i(0), common.team, () => {
    const factor = b.named("factor", op.vfload(inputs, { offset: 0 }));
    const addend = b.named("addend", op.vfload(inputs, { offset: register }));
    const chains = accumulators(b, count, (k) => op.vfload(inputs, { offset: (2 + k) * register }));
    b.loop("repeat", 0, common.repeats, 1, () => {
      for (let step = 0; step < F32_STEPS; step++) {
        for (const chain of chains) chain.set(op.vfma(chain.get(), factor, addend));
      }
    });
    const total = chains.map((chain) => chain.get()).reduce((x, y) => op.vfadd(x, y));
    op.fstore(common.result(), op.vfsum(total), { offset: 0 });
  });
  return {
    kernel: b.build("measure_f32", ["Peak of f32 multiply-adds."]),
    inputs: f32Inputs(b.lanes, count),
    operations: 2 * b.lanes * count * F32_STEPS,
  };
}

/** Chains that are more than additions of a cycle, as each takes one of latency; and links of a chain in one repeat. */
const ADD_CHAINS = 12;
const ADD_STEPS = 4;

/** Independent chains v ← (v + a) ^ b, which no compiler makes shorter. Inputs: a, b, then a start value for each chain. */
export function addPeak(isa: Isa): PeakKernel {
  const b = new KernelBuilder(isa);
  const { op } = b;
  const inputs = b.parameter("inputs", "ptr", "a, b, start values");
  const common = commonParameters(b, "i32: sum of all chains");
  const register = 4 * b.lanes;
  share(b, b.i(0), common.team, () => {
    const addend = b.named("addend", op.viload(inputs, { offset: 0 }));
    const mask = b.named("mask", op.viload(inputs, { offset: register }));
    const chains = accumulators(b, ADD_CHAINS, (k) => op.viload(inputs, { offset: (2 + k) * register }));
    b.loop("repeat", 0, common.repeats, 1, () => {
      for (let step = 0; step < ADD_STEPS; step++) {
        for (const chain of chains) chain.set(op.vixor(op.viadd(chain.get(), addend), mask));
      }
    });
    const total = chains.map((chain) => chain.get()).reduce((x, y) => op.viadd(x, y));
    op.istore(common.result(), op.visum(total), { offset: 0 });
  });
  return {
    kernel: b.build("measure_add", ["Peak of additions and exclusive ors."]),
    inputs: addInputs((2 + ADD_CHAINS) * b.lanes),
    operations: 2 * b.lanes * ADD_CHAINS * ADD_STEPS,
  };
}

/** Different everywhere: 2654435761 is odd. */
function addInputs(count: number): Uint8Array {
  return new Uint8Array(Int32Array.from({ length: count }, (_, i) => 2654435761 * (i + 1)).buffer);
}

/** v ← v / 2 + 1, from 1, 2, 3, …: goes to 2. */
function f32Inputs(lanes: number, count: number): Uint8Array {
  const values = Float32Array.from({ length: (2 + count) * lanes }, (_, i) => 1 + i - 2 * lanes);
  values.fill(0.5, 0, lanes).fill(1, lanes, 2 * lanes);
  return new Uint8Array(values.buffer);
}

interface Common {
  readonly repeats: Value<"i32">;
  readonly team: Value<"i32">;
  /** Where this thread's result goes. */
  result(): Value<"ptr">;
}

function commonParameters(b: KernelBuilder, result: string): Common {
  const repeats = b.parameter("repeats", "i32", "how often");
  const team = b.parameter("team", "i32", "threads that take part");
  const results = b.parameter("results", "ptr", `${result}, one every ${RESULT_STRIDE} bytes`);
  return {
    repeats,
    team,
    result: () => b.op.addr(results, b.thread, { stride: RESULT_STRIDE, offset: 0 }),
  };
}

type Accumulator<T extends "vi32" | "vf32"> = ReturnType<typeof KernelBuilder.prototype.variable<T>>;

function accumulators<T extends "vi32" | "vf32">(
  b: KernelBuilder,
  count: number,
  start: (k: number) => Value<T>,
): Accumulator<T>[] {
  return Array.from({ length: count }, (_, k) => b.variable(`sum${k}`, start(k)));
}

/** Runs `body` on this thread's contiguous share of `items` if it is one of the first `team` threads. */
function share(
  b: KernelBuilder,
  items: Value<"i32">,
  team: Value<"i32">,
  body: (first: Value<"i32">, last: Value<"i32">) => void,
): void {
  b.if(b.op.ilt(b.thread, team), () => {
    const bound = (thread: Value<"i32">) => b.op.idiv(b.op.imul(items, thread), team);
    const first = b.named("first", bound(b.thread));
    const last = b.named("last", bound(b.op.iadd(b.thread, b.i(1))));
    body(first, last);
  });
}
