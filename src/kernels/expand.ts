import type { Value } from "../ir/types.ts";
import { chunkCount, groupSize } from "../quant/formats.ts";
import type { Packing } from "../quant/packing.ts";
import type { InputBlock } from "./groups.ts";
import { chunkCodes, inputOrder, minima, scales, type Weights, zeroPoints } from "./micro-gemv.ts";
import { advance, type Cursor, cursor, prefetch, steps } from "./work.ts";

/** Expands one row tile's weights of a block of inputs: from the packed tile `w` to `out`, packed as `to`. */
export function expandTile(
  from: Weights,
  to: Packing,
  w: Value<"ptr">,
  out: Value<"ptr">,
  block: InputBlock,
): void {
  const { b, format, pack } = from;
  const size = groupSize(format, pack.cols);
  const recordAt = (g: Value<"i32">) => {
    const record = cursor(b.named("record", b.op.addr(w, g, { stride: pack.recordBytes, offset: 0 })));
    const index = b.op.isub(g, block.start);
    const expanded = cursor(
      b.named("expanded", b.op.addr(out, index, { stride: to.recordBytes, offset: 0 })),
    );
    return { record, expanded };
  };
  const expand = (g: Value<"i32">, inputs: number) => {
    const { record, expanded } = recordAt(g);
    expandHeader(from, to, record, expanded);
    expandCodes(from, to, record, expanded, inputs);
  };
  b.loop("group", block.start, block.end, 1, (g) => expand(g, size));
  const ragged = pack.cols % size;
  if (ragged === 0) return;
  const tail = () => expand(b.i(Math.floor(pack.cols / size)), ragged);
  if (block.hasRagged === true) tail();
  else b.if(block.hasRagged, tail);
}

function expandHeader(from: Weights, to: Packing, record: Cursor, expanded: Cursor): void {
  const { b, format, pack } = from;
  prefetch(b, record, 0, pack.headerBytes);
  for (let u = 0; u < pack.tile; u++) {
    const store = (value: Value<"vf32">, offset: number) =>
      b.op.vfstore(expanded.pointer, value, { offset: expanded.offset + offset + 4 * u * pack.lanes });
    store(scales(from, record, u), 0);
    if (format.zero.kind === "code") store(zeroPoints(from, record, u, 0), to.zeroAt);
    if (format.zero.kind === "minimum") store(minima(from, record, u), to.zeroAt);
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
      const codesOf = chunkCodes(from, codes, u);
      for (const input of inputOrder(pack)) {
        const word = input / 4;
        const offset = bytes.offset + (word * pack.tile + u) * 4 * pack.lanes;
        b.op.vu8store(bytes.pointer, codesOf(input), { offset });
      }
    }
  });
}
