import { assert } from "../base/assert.ts";
import { type Cell, KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import {
  CHUNK,
  chunkCount,
  type Format,
  fieldStride,
  fieldsPerByte,
  groupSize,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { type Packing, packing, planeOffset } from "../quant/packing.ts";
import { type ActivationLayout, type Activations, activationLayout } from "./activations.ts";
import { advance, type Cursor, cursor, splitWork, steps } from "./work.ts";

/**
 * The blocking of one projection, in the paper's terms. The mini-GEMV is `mb` inputs × `tb` outputs, the micro-GEMV
 * inside it `mu` inputs × `tu` outputs × `nu` tokens, held in registers.
 */
export interface Blocking {
  /** Inputs of the mini-GEMV: a multiple of the group, or all of them. */
  readonly mb: number;
  /** Outputs of the mini-GEMV: a multiple of `tu`. */
  readonly tb: number;
  /** Inputs unrolled in the micro-GEMV: a multiple of CHUNK. */
  readonly mu: number;
  /** Outputs of the micro-GEMV: row vectors × lanes, the row tile of the packed weights. */
  readonly tu: number;
  /** Tokens of the micro-GEMV. */
  readonly nu: number;
}

/** What a projection kernel is generated for. `rows` and the number of tokens are run-time values. */
export interface ProjectionSpec {
  readonly format: Format;
  readonly cols: number;
  readonly activations: Activations;
  readonly blocking: Blocking;
  /** Adds to the output (a residual connection) instead of replacing it. */
  readonly accumulate: boolean;
}

/** Name of the generated function; equal specs have equal names. */
export function projectionName({
  format,
  cols,
  activations,
  blocking: p,
  accumulate,
}: ProjectionSpec): string {
  const x = activations.kind === "f32" ? "f32" : `i8b${activations.block}`;
  const name = format.name.toLowerCase().replaceAll("-", "_");
  return `project_${accumulate ? "add_" : ""}w_${name}_x_${x}_c${cols}_mb${p.mb}_tb${p.tb}_mu${p.mu}_tu${p.tu}_nu${p.nu}`;
}

type Matrix<T> = readonly (readonly T[])[];

interface Context {
  readonly b: KernelBuilder;
  readonly format: QuantizedFormat;
  readonly pack: Packing;
  readonly layout: ActivationLayout;
  readonly blocking: Blocking;
  /** acc[token][row vector]: the f32 outputs of the micro-GEMV. */
  readonly acc: Matrix<Cell<"vf32">>;
}

/** Chunks unrolled, at most, when a segment is longer than `mu`. */
function unrolledChunks(blocking: Blocking): number {
  return Math.max(1, Math.floor(blocking.mu / CHUNK));
}

/**
 * y[t][r] = Σ_k W[r][k] · x[t][k]  for tokens t and rows r; rows sit in lanes, weights are read once in packed order.
 */
export function projection(spec: ProjectionSpec, target: Target): Kernel {
  const { format, cols, blocking } = spec;
  assert(blocking.tu % target.lanes === 0, "tu is not a multiple of the lanes");
  const b = new KernelBuilder(target);
  const weights = b.parameter("weights", "ptr", "packed weights");
  const x = b.parameter("x", "ptr", "prepared activations, one row per token");
  const y = b.parameter("y", "ptr", "f32 outputs [token][row]");
  const yStride = b.parameter("y_stride", "i32", "bytes from one token's outputs to the next");
  const tiles = b.parameter("tiles", "i32", "row tiles");
  const counts = b.parameter("counts", "ptr", "i32: number of tokens");
  const pack = packing(format, blocking.tu, cols, blocking.tu / target.lanes, target);
  const layout = activationLayout(spec.activations, format, cols);

  const tokens = b.named("tokens", b.op.iload(counts, { offset: 0 }));
  splitWork(b, tiles, (first, last) => {
    const tile = { weights, x, y, yStride, tokens };
    rowBlocks(b, blocking, first, last, (from, to) => {
      inputBlocks(b, spec, (start, count, isFirst) => {
        b.loop("token", 0, tokens, blocking.nu, (token) => {
          b.loop("tile", from, to, 1, (index) => {
            microKernel(b, spec, pack, layout, { ...tile, token, index, start, count, isFirst });
          });
        });
      });
    });
  });
  return b.build(projectionName(spec), header(spec, target, pack));
}

function header(
  { format, cols, activations, blocking, accumulate }: ProjectionSpec,
  target: Target,
  pack: Packing,
) {
  const zero =
    format.kind === "float"
      ? ""
      : { constant: "s·(q − z)", code: "s·(q − z)", minimum: "s·q + m" }[format.zero.kind];
  const weight = format.kind === "float" ? "W" : `(${zero})`;
  return [
    `y[t][r] ${accumulate ? "+=" : "="} sum over ${cols} inputs k of ${weight}[r][k] * x[t][k]`,
    `weights  ${format.name}${format.kind === "quantized" ? `, group ${format.group}` : ""}, packed: ${pack.tileRows} rows a tile, ${pack.tileBytes} bytes`,
    `inputs   ${activations.kind === "f32" ? "f32" : `int8, one scale per ${activations.block} inputs`}`,
    `mini     mb ${blocking.mb} inputs x tb ${blocking.tb} outputs`,
    `micro    mu ${blocking.mu} inputs x tu ${blocking.tu} outputs x nu ${blocking.nu} tokens, ${target.lanes} rows a register (${target.name})`,
  ];
}

/** Row tiles in blocks of `tb` outputs: the weights of a block stay in cache while the tokens pass. */
function rowBlocks(
  b: KernelBuilder,
  { tb, tu, nu }: Blocking,
  first: Value<"i32">,
  last: Value<"i32">,
  body: (from: Value<"i32">, to: Value<"i32">) => void,
): void {
  if (nu === 1 && tb === tu) {
    body(first, last);
    return;
  }
  b.loop("row_block", first, last, tb / tu, (from) => {
    const to = b.named("block_end", b.op.imin(b.op.iadd(from, b.i(tb / tu)), last));
    body(from, to);
  });
}

/** Group ranges of `mb` inputs; `count` is the number of whole groups, and the ragged group belongs to the last range. */
function inputBlocks(
  b: KernelBuilder,
  { format, cols, blocking }: ProjectionSpec,
  body: (start: Value<"i32">, count: Value<"i32">, isFirst: Value<"i32"> | true) => void,
): void {
  if (blocking.mb >= cols || format.kind === "float") {
    const groups = format.kind === "float" ? 1 : Math.floor(cols / groupSize(format, cols));
    body(b.i(0), b.i(groups), true);
    return;
  }
  const group = groupSize(format, cols);
  const groups = Math.floor(cols / group);
  const step = blocking.mb / group;
  assert(Number.isInteger(step), "mb is not a multiple of the group");
  // With a ragged group at the very end of a block boundary, the last range may hold no whole group.
  const bound = cols % group === 0 ? groups : groups + 1;
  b.loop("input_block", 0, bound, step, (start) => {
    const end = b.op.imin(b.op.iadd(start, b.i(step)), b.i(groups));
    body(start, b.named("groups_end", end), b.op.ieq(start, b.i(0)));
  });
}

interface Tile {
  readonly weights: Value<"ptr">;
  readonly x: Value<"ptr">;
  readonly y: Value<"ptr">;
  readonly yStride: Value<"i32">;
  readonly tokens: Value<"i32">;
  readonly token: Value<"i32">;
  readonly index: Value<"i32">;
  readonly start: Value<"i32">;
  readonly count: Value<"i32">;
  readonly isFirst: Value<"i32"> | true;
}

/** One register block: `tu` outputs × `nu` tokens over the inputs of one input block. */
function microKernel(
  b: KernelBuilder,
  spec: ProjectionSpec,
  pack: Packing,
  layout: ActivationLayout,
  at: Tile,
): void {
  const { format, cols, blocking, accumulate } = spec;
  const tokens = Array.from({ length: blocking.nu }, (_, t) =>
    t === 0 ? at.token : b.op.iadd(at.token, b.i(t)),
  );
  const w = b.named("w_tile", b.op.addr(at.weights, at.index, { stride: pack.tileBytes, offset: 0 }));
  const xs = tokens.map((t, n) =>
    b.named(`x${n}`, b.op.addr(at.x, t, { stride: layout.rowBytes, offset: 0 })),
  );
  const ys = tokens.map((t, n) =>
    b.named(
      `y${n}`,
      b.op.addr(b.op.addrv(at.y, t, at.yStride), at.index, { stride: 4 * pack.tileRows, offset: 0 }),
    ),
  );
  const vectorAt = (u: number) => ({ offset: 4 * u * pack.lanes });
  const acc = ys.map((yt, t) =>
    Array.from({ length: pack.tile }, (_, u) => {
      const cell = b.variable(`acc${t}_${u}`, b.op.vfconst({ value: 0 }));
      if (accumulate) cell.set(b.op.vfload(yt, vectorAt(u)));
      return cell;
    }),
  );
  if (at.isFirst !== true && !accumulate) {
    b.if(b.op.ieq(at.isFirst, b.i(0)), () => {
      acc.forEach((row, t) =>
        row.forEach((cell, u) => cell.set(b.op.vfload(ys[t] as Value<"ptr">, vectorAt(u)))),
      );
    });
  }
  if (format.kind === "float") {
    floatInputs(b, format.element, cols, w, xs, acc, pack);
  } else {
    const context: Context = { b, format, pack, layout, blocking, acc };
    quantizedInputs(context, cols, w, xs, at);
  }
  acc.forEach((row, t) =>
    row.forEach((cell, u) => b.op.vfstore(ys[t] as Value<"ptr">, cell.get(), vectorAt(u))),
  );
}

/** acc += Σ_k w[k] · x[k] for float weights, four inputs unrolled. */
function floatInputs(
  b: KernelBuilder,
  element: "f32" | "f16" | "bf16",
  cols: number,
  w: Value<"ptr">,
  xs: readonly Value<"ptr">[],
  acc: Matrix<Cell<"vf32">>,
  pack: Packing,
): void {
  const load = { f32: b.op.vfload, f16: b.op.vhload, bf16: b.op.vbfload }[element];
  const elementBytes = element === "f32" ? 4 : 2;
  const inputBytes = pack.tileRows * elementBytes;
  const input = (wAt: Cursor, xAt: readonly Cursor[]) => {
    const xk = xAt.map((c, t) =>
      b.named(`x${t}_k`, b.op.vfsplat(b.op.fload(c.pointer, { offset: c.offset }))),
    );
    for (let u = 0; u < pack.tile; u++) {
      const weight = load(wAt.pointer, { offset: wAt.offset + u * pack.lanes * elementBytes });
      xk.forEach((value, t) => {
        const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
        cell.set(b.op.vfma(weight, value, cell.get()));
      });
    }
  };
  const unroll = 4;
  const whole = cols - (cols % unroll);
  b.loop("input", 0, whole, unroll, (k) => {
    const wk = b.op.addr(w, k, { stride: inputBytes, offset: 0 });
    const xk = xs.map((x) => b.op.addr(x, k, { stride: 4, offset: 0 }));
    for (let i = 0; i < unroll; i++) {
      input(
        cursor(wk, i * inputBytes),
        xk.map((x) => cursor(x, 4 * i)),
      );
    }
  });
  for (let k = whole; k < cols; k++) {
    const wk = cursor(b.op.addr(w, b.i(k), { stride: inputBytes, offset: 0 }));
    input(
      wk,
      xs.map((x) => cursor(x, 4 * k)),
    );
  }
}

/** Whole groups of the block in a loop, then the ragged group of the row, if any. */
function quantizedInputs(
  c: Context,
  cols: number,
  w: Value<"ptr">,
  xs: readonly Value<"ptr">[],
  at: Tile,
): void {
  const { b, format, pack, layout } = c;
  const size = groupSize(format, cols);
  const valueBytes = layout.activations.kind === "f32" ? 4 : 1;
  const groupAt = (g: Value<"i32">): GroupCursors => ({
    record: cursor(b.op.addr(w, g, { stride: pack.recordBytes, offset: 0 })),
    x: xs.map((x) => cursor(b.op.addr(x, g, { stride: size * valueBytes, offset: 0 }))),
    scales: xs.map((x) => scaleCursor(b, layout, x, g, size)),
    sums: xs.map((x) =>
      cursor(
        b.op.addr(x, g, {
          stride: 4 * Math.max(1, Math.floor(size / layout.segment)),
          offset: layout.sumsAt,
        }),
      ),
    ),
  });
  b.loop("group", at.start, at.count, 1, (g) => group(c, groupAt(g), size));
  const ragged = cols % size;
  if (ragged === 0) return;
  const last = Math.floor(cols / size);
  const tail = () => group(c, groupAt(b.i(last)), ragged);
  if (at.isFirst === true) tail();
  else b.if(b.op.ile(b.i(last), lastGroupOf(c, at)), tail);
}

/** The group after the block's last whole one, as far as the block reaches. */
function lastGroupOf({ b, blocking, format, layout }: Context, at: Tile): Value<"i32"> {
  return b.op.iadd(at.start, b.i(blocking.mb / groupSize(format, layout.cols) - 1));
}

interface GroupCursors {
  readonly record: Cursor;
  readonly x: readonly Cursor[];
  readonly scales: readonly Cursor[];
  readonly sums: readonly Cursor[];
}

/** Where the activation scale of group g starts: a block may hold several groups, or a group several blocks. */
function scaleCursor(
  b: KernelBuilder,
  layout: ActivationLayout,
  x: Value<"ptr">,
  g: Value<"i32">,
  group: number,
): Cursor {
  if (layout.activations.kind === "f32") return cursor(x);
  if (layout.block >= layout.cols) return cursor(x, layout.scalesAt);
  if (layout.block > group) {
    const block = b.op.idiv(g, b.i(layout.block / group));
    return cursor(b.op.addr(x, block, { stride: 4, offset: layout.scalesAt }));
  }
  return cursor(b.op.addr(x, g, { stride: Math.floor((4 * group) / layout.block), offset: layout.scalesAt }));
}

/** One group of `inputs` weights: its segments in turn, each with its own activation scale. */
function group(c: Context, at: GroupCursors, inputs: number): void {
  const { b, pack, layout } = c;
  const valueBytes = layout.activations.kind === "f32" ? 4 : 1;
  const segment = Math.min(layout.segment, inputs);
  const whole = Math.floor(inputs / segment);
  const codes = advance(at.record, pack.headerBytes);
  const moving: Record<string, readonly [Cursor, number]> = {
    codes: [codes, chunkCount(segment) * pack.chunkBytes],
  };
  at.x.forEach((x, t) => {
    moving[`x${t}`] = [x, segment * valueBytes];
    moving[`scale${t}`] = [at.scales[t] as Cursor, 4];
    moving[`sum${t}`] = [at.sums[t] as Cursor, 4];
  });
  const place = (here: Readonly<Record<string, Cursor>>, length: number) =>
    segmentProducts(c, at.record, here.codes as Cursor, length, {
      x: at.x.map((_, t) => here[`x${t}`] as Cursor),
      scales: at.x.map((_, t) => here[`scale${t}`] as Cursor),
      sums: at.x.map((_, t) => here[`sum${t}`] as Cursor),
    });
  steps(b, "segment", whole, 4, moving, (here) => place(here, segment));
  const rest = inputs - whole * segment;
  if (rest > 0) {
    const here = Object.fromEntries(
      Object.entries(moving).map(([key, [from, stride]]) => [key, advance(from, whole * stride)]),
    );
    place(here, rest);
  }
}

interface SegmentCursors {
  readonly x: readonly Cursor[];
  readonly scales: readonly Cursor[];
  readonly sums: readonly Cursor[];
}

/** acc += scales · (Σ q·x − z·Σx) over one segment. */
function segmentProducts(
  c: Context,
  record: Cursor,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
): void {
  if (c.layout.activations.kind === "int8") int8Segment(c, record, codes, inputs, at);
  else floatSegment(c, record, codes, inputs, at);
}

/** First inputs of the eight registers of a chunk, as `unpackChunk` orders them. */
const INPUTS = Array.from({ length: CHUNK / 4 }, (_, i) => 4 * i);

const lanesOf = <T>(n: number, f: (u: number) => T): T[] => Array.from({ length: n }, (_, u) => f(u));

function int8Segment(c: Context, record: Cursor, codes: Cursor, inputs: number, at: SegmentCursors): void {
  const { b, format, pack, blocking, acc } = c;
  const { zero } = format;
  const chunks = chunkCount(inputs);
  const unrolled = chunks <= unrolledChunks(blocking);
  // What the dot product already subtracted from every code.
  const offset = format.bits === 8 ? b.target.dot8Offset : 0;
  const constant = zero.kind === "constant" ? zero.value - offset : zero.kind === "minimum" ? -offset : 0;
  const start = at.sums.map((sum) =>
    constant === 0
      ? b.op.viconst({ value: 0 })
      : b.op.visplat(b.op.imul(b.op.iload(sum.pointer, { offset: sum.offset }), b.i(-constant))),
  );
  const totals: Value<"vi32">[][] = start.map((v) => lanesOf(pack.tile, () => v));
  const addChunk = (w: Cursor, xs: readonly Cursor[], sums: Value<"vi32">[][]) => {
    const broadcast = (t: number, input: number) => {
      const x = xs[t] as Cursor;
      return b.named(`x${t}_k${input}`, b.op.vbroadcast4(x.pointer, { offset: x.offset + input }));
    };
    // For one token the broadcasts serve all row vectors; for several, registers hold the codes instead.
    const single = xs.length === 1 ? INPUTS.map((input) => broadcast(0, input)) : undefined;
    for (let u = 0; u < pack.tile; u++) {
      const fields = unpackChunk(c, w, u);
      xs.forEach((_, t) => {
        const row = sums[t] as Value<"vi32">[];
        row[u] = b.dot(
          row[u] as Value<"vi32">,
          fields.map((f) => f.codes),
          single ?? fields.map((f) => broadcast(t, f.input)),
        );
        b.named(`dot${t}_${u}`, row[u] as Value<"vi32">);
      });
    }
  };
  if (unrolled) {
    for (let chunk = 0; chunk < chunks; chunk++) {
      addChunk(
        advance(codes, chunk * pack.chunkBytes),
        at.x.map((x) => advance(x, chunk * CHUNK)),
        totals,
      );
    }
  } else {
    loopChunks(c, chunks, codes, at.x, totals, addChunk);
  }
  for (let u = 0; u < pack.tile; u++) {
    const scale = b.named(
      `scale${u}`,
      b.op.vhload(record.pointer, { offset: record.offset + 2 * u * pack.lanes }),
    );
    at.x.forEach((_, t) => {
      const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      const xScale = b.op.fload((at.scales[t] as Cursor).pointer, {
        offset: (at.scales[t] as Cursor).offset,
      });
      const sum = at.sums[t] as Cursor;
      const dot = b.op.vitof((totals[t] as Value<"vi32">[])[u] as Value<"vi32">);
      const centred =
        zero.kind === "code" ? b.op.vfma(zeroPoints(c, record, u, offset), negatedSum(b, sum), dot) : dot;
      if (zero.kind === "minimum") {
        const minimum = b.op.vhload(record.pointer, {
          offset: record.offset + pack.zeroAt + 2 * u * pack.lanes,
        });
        const shift = b.op.fmul(xScale, b.op.itof(b.op.iload(sum.pointer, { offset: sum.offset })));
        cell.set(b.op.vfma(minimum, b.op.vfsplat(shift), cell.get()));
      }
      cell.set(b.op.vfma(centred, b.op.vfmul(scale, b.op.vfsplat(xScale)), cell.get()));
    });
  }
}

/** Chunks of a long segment in a loop of `mu` inputs, the sums in variables. */
function loopChunks(
  c: Context,
  chunks: number,
  codes: Cursor,
  xs: readonly Cursor[],
  totals: Value<"vi32">[][],
  addChunk: (w: Cursor, xs: readonly Cursor[], sums: Value<"vi32">[][]) => void,
): void {
  const { b, pack, blocking } = c;
  const unroll = unrolledChunks(blocking);
  const cells = totals.map((row, t) => row.map((v, u) => b.variable(`sum${t}_${u}`, v)));
  const run = (w: Cursor, x: readonly Cursor[], count: number) => {
    const sums = cells.map((row) => row.map((cell) => cell.get()));
    for (let i = 0; i < count; i++) {
      addChunk(
        advance(w, i * pack.chunkBytes),
        x.map((xt) => advance(xt, i * CHUNK)),
        sums,
      );
    }
    cells.forEach((row, t) =>
      row.forEach((cell, u) => cell.set((sums[t] as Value<"vi32">[])[u] as Value<"vi32">)),
    );
  };
  const whole = Math.floor(chunks / unroll);
  b.loop("chunk", 0, whole, 1, (i) => {
    const w = cursor(b.op.addr(codes.pointer, i, { stride: unroll * pack.chunkBytes, offset: codes.offset }));
    run(
      w,
      xs.map((x) => cursor(b.op.addr(x.pointer, i, { stride: unroll * CHUNK, offset: x.offset }))),
      unroll,
    );
  });
  const rest = chunks - whole * unroll;
  if (rest > 0) {
    run(
      advance(codes, whole * unroll * pack.chunkBytes),
      xs.map((x) => advance(x, whole * unroll * CHUNK)),
      rest,
    );
  }
  cells.forEach((row, t) => row.forEach((cell, u) => ((totals[t] as Value<"vi32">[])[u] = cell.get())));
}

/** The zero points of row vector u, less `offset`. */
function zeroPoints({ b, pack }: Context, record: Cursor, u: number, offset: number): Value<"vf32"> {
  const codes = b.op.vu8loadlanes(record.pointer, { offset: record.offset + pack.zeroAt + u * pack.lanes });
  return b.op.vitof(offset === 0 ? codes : b.op.visub(codes, b.op.viconst({ value: offset })));
}

function negatedSum(b: KernelBuilder, sum: Cursor): Value<"vf32"> {
  const total = b.op.iload(sum.pointer, { offset: sum.offset });
  return b.op.vfsplat(b.op.itof(b.op.isub(b.i(0), total)));
}

function floatSegment(c: Context, record: Cursor, codes: Cursor, inputs: number, at: SegmentCursors): void {
  const { b, format, pack, acc } = c;
  const { zero } = format;
  const sums = at.sums.map((s) => b.op.fload(s.pointer, { offset: s.offset }));
  const products = sums.map((sum, t) =>
    lanesOf(pack.tile, (u) =>
      b.variable(
        `sum${t}_${u}`,
        zero.kind === "constant"
          ? b.op.vfsplat(b.op.fmul(sum, b.f(-zero.value)))
          : b.op.vfconst({ value: 0 }),
      ),
    ),
  );
  const moving: Record<string, readonly [Cursor, number]> = { codes: [codes, pack.chunkBytes] };
  at.x.forEach((x, t) => {
    moving[`x${t}`] = [x, 4 * CHUNK];
  });
  steps(b, "chunk", chunkCount(inputs), 1, moving, (here) => {
    for (let u = 0; u < pack.tile; u++) {
      for (const { codes: q, input } of unpackChunk(c, here.codes as Cursor, u)) {
        for (let i = 0; i < 4; i++) {
          const weight = b.op.vitof(b.op.vbyteof(q, { index: i }));
          at.x.forEach((_, t) => {
            const x = here[`x${t}`] as Cursor;
            const cell = (products[t] as Cell<"vf32">[])[u] as Cell<"vf32">;
            const value = b.op.fload(x.pointer, { offset: x.offset + 4 * (input + i) });
            cell.set(b.op.vfma(weight, b.op.vfsplat(value), cell.get()));
          });
        }
      }
    }
  });
  for (let u = 0; u < pack.tile; u++) {
    const scale = b.op.vhload(record.pointer, { offset: record.offset + 2 * u * pack.lanes });
    sums.forEach((sum, t) => {
      const cell = (acc[t] as readonly Cell<"vf32">[])[u] as Cell<"vf32">;
      const product = ((products[t] as Cell<"vf32">[])[u] as Cell<"vf32">).get();
      if (zero.kind === "minimum") {
        const minimum = b.op.vhload(record.pointer, {
          offset: record.offset + pack.zeroAt + 2 * u * pack.lanes,
        });
        cell.set(b.op.vfma(minimum, b.op.vfsplat(sum), cell.get()));
      }
      const negated = b.op.vfsplat(b.op.fsub(b.f(0), sum));
      const centred =
        zero.kind === "code" ? b.op.vfma(zeroPoints(c, record, u, 0), negated, product) : product;
      cell.set(b.op.vfma(centred, scale, cell.get()));
    });
  }
}

interface Field {
  readonly codes: Value<"vu8">;
  /** Offset of the first of its four inputs in the chunk. */
  readonly input: number;
}

/**
 * The eight code registers of a chunk for row vector u: per 4-input step, the planes' fields joined.
 * Word r, field f of a plane of width w holds inputs f·4w + 4r … + 3.
 */
function unpackChunk({ b, format, pack }: Context, codes: Cursor, u: number): Field[] {
  const registerBytes = 4 * pack.lanes;
  const parts = new Map<number, Value<"vu8">>();
  let position = 0;
  format.planes.forEach((width, plane) => {
    const base = planeOffset(format.planes, plane, pack.tileRows);
    for (let word = 0; word < width; word++) {
      const offset = codes.offset + base + (word * pack.tile + u) * registerBytes;
      const register = b.named(`w${u}`, b.op.vu8load(codes.pointer, { offset, bits: 8 }));
      for (let f = 0; f < fieldsPerByte(width); f++) {
        const input = f * fieldStride(width) + 4 * word;
        const field =
          width === 8 ? register : b.op.vfield(register, { shift: f * width, bits: width, position });
        const low = parts.get(input);
        parts.set(input, low === undefined ? field : b.op.vu8or(low, field));
      }
    }
    position += width;
  });
  return [...parts]
    .sort(([a], [z]) => a - z)
    .map(([input, value]) => ({ input, codes: b.named(`q${u}_k${input}`, value) }));
}
