import type { Value } from "../ir/types.ts";
import { blockSize, chunkCount, groupsOfBlock, type Scale, type Zero } from "../quant/formats.ts";
import { headerStreams, type Packing } from "../quant/packing.ts";
import {
  blockFactors,
  type GroupHeads,
  groupMinima,
  groupScales,
  groupZeroPoints,
  pairIntegers,
} from "./group-values.ts";
import type { InputBlock } from "./groups.ts";
import { chunkCodes, inputOrder, prefetchWeights, type Weights } from "./micro-gemv.ts";
import { advance, type Cursor, cursor, steps } from "./work.ts";

/** Expands one row tile's weights of a block of inputs: from the packed tile `w` to `out`, packed as `to`. */
export function expandTile(
  from: Weights,
  to: Packing,
  w: Value<"ptr">,
  out: Value<"ptr">,
  inputs: InputBlock,
): void {
  const { b, format, pack } = from;
  const size = blockSize(format, pack.cols);
  const expand = (n: Value<"i32">, length: number) => {
    const record = cursor(b.named("record", b.op.addr(w, n, { stride: pack.recordBytes, offset: 0 })));
    const index = b.op.isub(n, inputs.start);
    const expanded = cursor(
      b.named("expanded", b.op.addr(out, index, { stride: to.recordBytes, offset: 0 })),
    );
    expandHeader(from, to, record, expanded);
    expandCodes(from, to, record, expanded, length);
  };
  b.loop("block", inputs.start, inputs.end, 1, (n) => expand(n, size));
  const ragged = pack.cols % size;
  if (ragged === 0) return;
  const tail = () => expand(b.i(Math.floor(pack.cols / size)), ragged);
  if (inputs.hasRagged === true) tail();
  else b.if(inputs.hasRagged, tail);
}

function expandHeader(from: Weights, to: Packing, record: Cursor, expanded: Cursor): void {
  const { b, format, pack } = from;
  const groups = groupsOfBlock(format, pack.cols);
  const streams = (part: "scale" | "zero", at: number) =>
    headerStreams(format[part], groups).map(({ before }) => advance(record, at + before * pack.tileRows));
  const heads = {
    factors: blockFactors(from, record),
    scales: streams("scale", pack.scaleAt),
    zeros: streams("zero", pack.zeroAt),
  };
  prefetchWeights(from, record, pack.headerBytes);
  if (pack.paired) {
    expandPairs(from, to, heads, expanded);
    return;
  }
  for (let g = 0; g < groups; g++) {
    for (let u = 0; u < pack.tile; u++) {
      const store = (value: Value<"vf32">, part: number) => {
        const offset = expanded.offset + part + 4 * (g * pack.tileRows + u * pack.lanes);
        b.op.vfstore(expanded.pointer, value, { offset });
      };
      store(groupScales(from, heads, g, u), to.scaleAt);
      if (format.zero.kind === "code") store(groupZeroPoints(from, heads, g, u, 0), to.zeroAt);
      if (format.zero.kind === "minimum" || format.zero.kind === "product")
        store(groupMinima(from, heads, g, u), to.zeroAt);
    }
  }
}

/** Factors of the block as f32, integers of paired groups as they are multiplied. */
function expandPairs(from: Weights, to: Packing, heads: GroupHeads, expanded: Cursor): void {
  const { b, format, pack } = from;
  const { scale, zero } = format;
  const pairs = groupsOfBlock(format, pack.cols) / 2;
  const place = (part: number, n: number, u: number) => ({
    offset: expanded.offset + part + 4 * (n * pack.tileRows + u * pack.lanes),
  });
  const { scales, minima } = heads.factors;
  scales.forEach((factor, u) => {
    b.op.vfstore(expanded.pointer, factor, place(0, 0, u));
  });
  minima.forEach((factor, u) => {
    b.op.vfstore(expanded.pointer, factor, place(to.halfZeroAt, 0, u));
  });
  for (let u = 0; u < pack.tile; u++) {
    for (let n = 0; n < pairs; n++) {
      const store = (part: Scale | Zero, streams: readonly Cursor[], at: number) => {
        if (part.kind !== "product") return;
        b.op.vistore(expanded.pointer, pairIntegers(from, streams, part.codes, n, u), place(at, n, u));
      };
      store(scale, heads.scales, to.scaleAt);
      store(zero, heads.zeros, to.zeroAt);
    }
  }
}

function expandCodes(from: Weights, to: Packing, record: Cursor, expanded: Cursor, inputs: number): void {
  const { b, pack } = from;
  const moving = {
    codes: [advance(record, pack.headerBytes), pack.chunkBytes],
    bytes: [advance(expanded, to.headerBytes), to.chunkBytes],
  } as const;
  steps(b, "chunk", chunkCount(inputs), 1, moving, ({ codes, bytes }) => {
    for (let u = 0; u < pack.tile; u++) {
      const codesOf = chunkCodes(from, codes, u, true);
      for (const input of inputOrder(pack)) {
        const word = input / 4;
        const offset = bytes.offset + (word * pack.tile + u) * 4 * pack.lanes;
        b.op.vu8store(bytes.pointer, codesOf(input), { offset });
      }
    }
  });
}
