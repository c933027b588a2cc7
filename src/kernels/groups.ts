import type { Cell, KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import {
  blockSize,
  CHUNK,
  chunkCount,
  groupSize,
  groupsOfBlock,
  type QuantizedFormat,
} from "../quant/formats.ts";
import { headerStreams } from "../quant/packing.ts";
import type { ActivationLayout } from "./activations.ts";
import { blockFactors, type GroupHeads, groupScales, NO_FACTORS } from "./group-values.ts";
import {
  type Context,
  chunkCodes,
  inputOrder,
  prefetchWeights,
  type SegmentCursors,
  type Weights,
} from "./micro-gemv.ts";
import { chunkQuads, floatSegment, wholeChunks } from "./segment-f32.ts";
import { chunkDots, int8Segment, joinedSegments, quadDots, type Segment } from "./segment-int8.ts";
import { lookupSegment, lookupUnit } from "./segment-lookup.ts";
import { addPairedChunk, closePairedSums, openPairedSums, type PairedSums } from "./segment-paired.ts";
import { advance, type Cursor, cursor, steps, touchLines } from "./work.ts";

/** The inputs of one mini-GEMV: whole blocks `start` … `end` − 1, and whether the row's ragged block follows. */
export interface InputBlock {
  readonly start: Value<"i32">;
  readonly end: Value<"i32">;
  readonly hasRagged: Value<"i32"> | true;
  /** Whether the outputs start from nothing; else they go on from what the mini-GEMV before stored. */
  readonly isFirst: Value<"i32"> | true;
}

/** Chunks of a record that are unrolled at most, section after section, and segments of a group. */
const UNROLLED = 4;

/** Whole blocks of the inputs in a loop, then the ragged block of the row, if any. */
export function quantizedInputs(
  c: Context,
  cols: number,
  w: Value<"ptr">,
  xs: readonly Value<"ptr">[],
  inputs: InputBlock,
): void {
  const { b, format, pack, layout } = c;
  const size = blockSize(format, cols);
  // Of expanded weights, and of a panel, the first record is the mini-GEMV's.
  const isAll = pack.stored && pack.panels === 1;
  const recordIndex = (n: Value<"i32">) => (isAll ? n : b.op.isub(n, inputs.start));
  const blockAt = (n: Value<"i32">): RecordCursors => ({
    record: cursor(b.named("record", b.op.addr(w, recordIndex(n), { stride: pack.recordBytes, offset: 0 }))),
    x: xs.map((x, t) =>
      cursor(
        b.named(
          `x${t}_block`,
          b.op.addr(x, n, { stride: size * layout.inputBytes, offset: layout.inputsAt }),
        ),
      ),
    ),
    scales: xs.map((x) => scaleCursor(b, layout, x, n, size)),
    sums: xs.map((x) =>
      cursor(
        b.op.addr(x, n, {
          stride: layout.sumBytes * Math.max(1, Math.floor(size / layout.segment)),
          offset: layout.sumsAt,
        }),
      ),
    ),
  });
  b.loop("block", inputs.start, inputs.end, 1, (n) => record(c, blockAt(n), size, cols));
  const ragged = cols % size;
  if (ragged === 0) return;
  const last = Math.floor(cols / size);
  const tail = () => record(c, blockAt(b.i(last)), ragged, cols);
  if (inputs.hasRagged === true) tail();
  else b.if(inputs.hasRagged, tail);
}

interface RecordCursors extends SegmentCursors {
  readonly record: Cursor;
}

/** Where the activation scale of block n starts: a scale may be for several blocks, or a block have several scales. */
function scaleCursor(
  b: KernelBuilder,
  layout: ActivationLayout,
  x: Value<"ptr">,
  n: Value<"i32">,
  size: number,
): Cursor {
  if (layout.activations.kind === "f32") return cursor(x);
  if (layout.block >= layout.cols) return cursor(x, layout.scalesAt);
  if (layout.block > size) {
    const block = b.op.idiv(n, b.i(layout.block / size));
    return cursor(b.op.addr(x, block, { stride: 4, offset: layout.scalesAt }));
  }
  return cursor(b.op.addr(x, n, { stride: Math.floor((4 * size) / layout.block), offset: layout.scalesAt }));
}

/** Whether a chunk holds several groups. */
function isPartOfChunk({ group }: QuantizedFormat): boolean {
  return group !== "row" && group < CHUNK;
}

/** Groups after which the streams of a header are at whole bytes, and the codes at whole chunks. */
function groupsOfSection({ format, pack }: Weights, size: number): number {
  const bits = [...headerStreams(format.scale, 1), ...headerStreams(format.zero, 1)].map(
    (stream) => stream.bits,
  );
  const period = (width: number) => (width === 6 ? 16 : ((pack.paired ? 2 : 1) * 8) / width);
  const perByte = pack.stored ? bits.map(period) : [];
  return Math.max(isPartOfChunk(format) ? CHUNK / size : 1, ...perByte);
}

/** The streams of a header that section after section is read through. */
function sectionStreams({ format, pack }: Weights, part: "scale" | "zero", groups: number) {
  const at = part === "scale" ? pack.scaleAt : pack.zeroAt;
  const has = format[part].kind !== "constant";
  const expanded = has ? [{ before: 0, bits: pack.paired ? 16 : 32 }] : [];
  const found = pack.stored ? headerStreams(format[part], groups) : expanded;
  return found.map(({ before, bits }) => ({
    offset: at + before * pack.tileRows,
    stride: (bits / 8) * pack.tileRows,
  }));
}

/** One block of `inputs` weights, section after section: groups that begin at whole bytes of the header's streams. */
function record(c: Context, at: RecordCursors, inputs: number, cols: number): void {
  const { b, format, pack, layout } = c;
  const size = Math.min(groupSize(format, cols), inputs);
  const groups = groupsOfSection(c, size);
  const section = Math.min(groups * size, inputs);
  const isFloat = layout.activations.kind === "f32";
  if (pack.stored) {
    touchLines(b, at.record, pack.headerBytes);
    prefetchWeights(c, at.record, pack.headerBytes);
  }
  const moving: Record<string, readonly [Cursor, number]> = {
    codes: [advance(at.record, pack.headerBytes), chunkCount(section) * pack.chunkBytes],
  };
  const perBlock = groupsOfBlock(format, cols);
  const parts = { scale: sectionStreams(c, "scale", perBlock), zero: sectionStreams(c, "zero", perBlock) };
  for (const part of ["scale", "zero"] as const) {
    parts[part].forEach(({ offset, stride }, n) => {
      moving[`${part}${n}`] = [advance(at.record, offset), groups * stride];
    });
  }
  at.x.forEach((x, t) => {
    moving[`x${t}`] = [x, section * layout.inputBytes];
    moving[`x_scale${t}`] = [at.scales[t] as Cursor, isFloat ? 0 : 4 * Math.floor(section / layout.block)];
    moving[`sum${t}`] = [at.sums[t] as Cursor, layout.sumBytes * Math.floor(section / layout.segment)];
  });
  const sums = pack.paired && !isFloat ? openPairedSums(c) : undefined;
  const factors = sums === undefined ? blockFactors(c, at.record) : NO_FACTORS;
  const unrolled = Math.max(1, Math.floor(UNROLLED / chunkCount(section)));
  steps(b, "section", Math.ceil(inputs / section), unrolled, moving, (here) => {
    const heads: GroupHeads = {
      factors,
      scales: parts.scale.map((_, n) => here[`scale${n}`] as Cursor),
      zeros: parts.zero.map((_, n) => here[`zero${n}`] as Cursor),
    };
    const cursors = {
      x: at.x.map((_, t) => here[`x${t}`] as Cursor),
      scales: at.x.map((_, t) => here[`x_scale${t}`] as Cursor),
      sums: at.x.map((_, t) => here[`sum${t}`] as Cursor),
    };
    if (sums !== undefined) pairedGroups(c, sums, heads, here.codes as Cursor, section, cursors);
    else if (isPartOfChunk(format)) smallGroups(c, heads, here.codes as Cursor, section, size, cursors);
    else
      for (let g = 0; g * size < section; g++) {
        const codes = advance(here.codes as Cursor, g * chunkCount(size) * pack.chunkBytes);
        largeGroup(c, heads, g, codes, size, moved(c, cursors, g * size));
      }
  });
  if (sums !== undefined) closePairedSums(c, sums, blockFactors(c, at.record));
}

/** Where the inputs stand that are `inputs` further on. */
function moved({ layout }: Context, at: SegmentCursors, inputs: number): SegmentCursors {
  const isFloat = layout.activations.kind === "f32";
  const by = (cursors: readonly Cursor[], bytes: number) => cursors.map((c) => advance(c, bytes));
  return {
    x: by(at.x, inputs * layout.inputBytes),
    scales: by(at.scales, isFloat ? 0 : 4 * Math.floor(inputs / layout.block)),
    sums: by(at.sums, layout.sumBytes * Math.floor(inputs / layout.segment)),
  };
}

/** Group `g` of a section, of whole chunks. */
function largeGroup(
  c: Context,
  heads: GroupHeads,
  g: number,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
): void {
  const { layout } = c;
  if (layout.signs !== undefined) {
    lookupGroup(c, heads, g, codes, inputs, at);
    return;
  }
  eachSegment(c, codes, inputs, at, (from, here, length) => {
    if (layout.activations.kind === "f32")
      floatSegment(c, heads, g, here, wholeChunks(c, from, length, here.x));
    else int8Segment(c, heads, g, here, chunkDots(c, from, length, here.x));
  });
}

/** A group of signs. */
function lookupGroup(
  c: Context,
  heads: GroupHeads,
  g: number,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
): void {
  const { b, pack, acc } = c;
  const sums = acc.map((row, t) => row.map((_, u) => b.variable(`sum${t}_${u}`, b.op.vfconst({ value: 0 }))));
  eachSegment(c, codes, inputs, at, (from, here, length) => lookupSegment(c, sums, here, from, length));
  const unit = lookupUnit(b.target.signs);
  const inUnits = (scale: Value<"vf32">) =>
    unit === 1 ? scale : b.op.vfmul(scale, b.op.vfconst({ value: unit }));
  for (let u = 0; u < pack.tile; u++) {
    const scale = b.named(`scale${u}`, inUnits(groupScales(c, heads, g, u)));
    acc.forEach((row, t) => {
      const [sum, cell] = [(sums[t] as Cell<"vf32">[])[u], row[u]] as [Cell<"vf32">, Cell<"vf32">];
      cell.set(b.op.vfma(sum.get(), scale, cell.get()));
    });
  }
}

/** The segments of a group in turn, each with its own activation scale: where the codes and inputs of each stand. */
function eachSegment(
  c: Context,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
  body: (codes: Cursor, at: SegmentCursors, inputs: number) => void,
): void {
  const { b, pack, layout } = c;
  const segment = Math.min(layout.segment, inputs);
  const whole = Math.floor(inputs / segment);
  const moving: Record<string, readonly [Cursor, number]> = {
    codes: [codes, chunkCount(segment) * pack.chunkBytes],
  };
  at.x.forEach((x, t) => {
    moving[`x${t}`] = [x, segment * layout.inputBytes];
    moving[`scale${t}`] = [at.scales[t] as Cursor, 4];
    moving[`sum${t}`] = [at.sums[t] as Cursor, 4];
  });
  const place = (here: Readonly<Record<string, Cursor>>, length: number) => {
    const cursors = {
      x: at.x.map((_, t) => here[`x${t}`] as Cursor),
      scales: at.x.map((_, t) => here[`scale${t}`] as Cursor),
      sums: at.x.map((_, t) => here[`sum${t}`] as Cursor),
    };
    body(here.codes as Cursor, cursors, length);
  };
  steps(b, "segment", whole, UNROLLED, moving, (here) => place(here, segment));
  const rest = inputs - whole * segment;
  if (rest > 0) {
    const here = Object.fromEntries(
      Object.entries(moving).map(([key, [from, stride]]) => [key, advance(from, whole * stride)]),
    );
    place(here, rest);
  }
}

/** Groups of a section that are parts of chunks: those of a chunk share its words. */
function smallGroups(
  c: Context,
  heads: GroupHeads,
  codes: Cursor,
  inputs: number,
  size: number,
  at: SegmentCursors,
): void {
  const { pack, layout } = c;
  const isFloat = layout.activations.kind === "f32";
  for (let chunk = 0; chunk * CHUNK < inputs; chunk++) {
    const from = advance(codes, chunk * pack.chunkBytes);
    const codesOf = Array.from({ length: pack.tile }, (_, u) => chunkCodes(c, from, u, !isFloat));
    const xs = moved(c, at, chunk * CHUNK).x;
    const joined: Segment[] = [];
    for (let first = 0; first < CHUNK; first += size) {
      const order = inputOrder(pack).filter((input) => input >= first && input < first + size);
      const here = { ...moved(c, at, chunk * CHUNK + first), x: xs };
      const group = (chunk * CHUNK + first) / size;
      if (isFloat) floatSegment(c, heads, group, here, chunkQuads(c, codesOf, order, xs));
      else if (!isJoined(c)) int8Segment(c, heads, group, here, quadDots(c, codesOf, order, xs));
      else joined.push({ group, sums: here.sums, dots: quadDots(c, codesOf, order, xs) });
    }
    if (joined.length > 0) joinedSegments(c, heads, joined, moved(c, at, chunk * CHUNK).scales);
  }
}

/** Whether the segments of a chunk are scaled together. Of one token: of more, their sums take registers of outputs. */
function isJoined({ format, layout, acc }: Context): boolean {
  return acc.length === 1 && format.zero.kind === "constant" && layout.block % CHUNK === 0;
}

/** Groups of a section of which two share a chunk and have integer scales. */
function pairedGroups(
  c: Context,
  sums: PairedSums,
  heads: GroupHeads,
  codes: Cursor,
  inputs: number,
  at: SegmentCursors,
): void {
  for (let chunk = 0; chunk * CHUNK < inputs; chunk++) {
    const from = advance(codes, chunk * c.pack.chunkBytes);
    addPairedChunk(c, sums, heads, chunk, moved(c, at, chunk * CHUNK), from);
  }
}
