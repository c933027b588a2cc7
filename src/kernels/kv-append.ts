import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { codeFactor, codesOf, INT8_CODE } from "./codes.ts";
import { copyBytes, ELEMENT_BYTES } from "./elements.ts";
import { BLOCK_DIMS, hasScales, headBlocks, type KvLayout, kvStrides, pairing } from "./kv-cache.ts";

/** Room behind a converted row in which a scale is rounded to f16: a register of them. */
const SCALE_ROOM = 64;

/** Bytes of scratch for a row of a head on its way to the cache. */
export function appendScratchBytes(kv: KvLayout): number {
  return scaleRoomAt(kv) + SCALE_ROOM;
}

function scaleRoomAt(kv: KvLayout): number {
  return 4 * headBlocks(kv) * BLOCK_DIMS;
}

/** Where a position of a kv head is: its page, of which `slot` is its place. */
export interface Place {
  readonly page: Value<"ptr">;
  readonly head: Value<"i32">;
  readonly slot: Value<"i32">;
}

/**
 * Appends a row of K, which `row` holds as f32 with the room of `appendScratchBytes`: converted in place (reads run
 * ahead of writes), then scattered, since consecutive dimensions (or pairs of them) are a page row apart.
 */
export function appendKey(b: KernelBuilder, kv: KvLayout, row: Value<"ptr">, place: Place): void {
  const { op } = b;
  const strides = kvStrides(kv);
  const bytes = ELEMENT_BYTES[kv.element];
  const head = b.named("k_page", op.addr(place.page, place.head, { stride: strides.kHead, offset: 0 }));
  forEachBlock(b, kv, (block) => {
    const scale = scaleAt(b, kv, head, strides.kScalesAt, place.slot, block.number);
    const to = op.addr(row, block.first, { stride: bytes, offset: 0 });
    storeBlock(b, kv, block, row, to, scale, row);
  });
  const together = pairing(kv);
  const unit = together * bytes;
  const to = b.named("k_slot", op.addr(head, place.slot, { stride: unit, offset: 0 }));
  b.loop("d", 0, Math.ceil(kv.headDim / together), 1, (d) => {
    const from = op.addr(row, d, { stride: unit, offset: 0 });
    copyBytes(b, unit, from, op.addr(to, d, { stride: strides.kDim, offset: 0 }));
  });
}

/** Appends a row of V, f32 values at `from`; `scratch` is of `appendScratchBytes`. Codes go beside those they pair with. */
export function appendValue(
  b: KernelBuilder,
  kv: KvLayout,
  from: Value<"ptr">,
  scratch: Value<"ptr">,
  place: Place,
): void {
  const { op } = b;
  const strides = kvStrides(kv);
  const vHead = op.addr(place.page, place.head, { stride: strides.vHead, offset: strides.vAt });
  const head = b.named("v_page", vHead);
  const together = pairing(kv);
  const pair = op.idiv(place.slot, b.i(together));
  const row = b.named("v_row", op.addr(head, pair, { stride: strides.vRow, offset: 0 }));
  forEachBlock(b, kv, (block) => {
    const scale = scaleAt(b, kv, head, strides.vScalesAt, place.slot, block.number);
    const to = op.addr(row, block.number, { stride: strides.vBlock, offset: 0 });
    storeBlock(b, kv, block, from, together === 1 ? to : scratch, scale, scratch);
    if (together === 1) return;
    const inPair = op.irem(place.slot, b.i(together));
    scatterCodes(b, block, scratch, op.addr(to, inPair, { stride: 1, offset: 0 }));
  });
}

/** Copies the codes of a block to every second byte. */
function scatterCodes(b: KernelBuilder, { first, end }: Block, from: Value<"ptr">, to: Value<"ptr">): void {
  const { op } = b;
  const target = b.named("codes", to);
  b.loop("d", 0, op.isub(end, first), 1, (d) => {
    copyBytes(b, 1, op.addr(from, d, { stride: 1, offset: 0 }), op.addr(target, d, { stride: 2, offset: 0 }));
  });
}

/** A block of a head: dimensions from `first` to `end`. */
interface Block {
  readonly number: Value<"i32">;
  readonly first: Value<"i32">;
  readonly end: Value<"i32">;
}

function forEachBlock(b: KernelBuilder, kv: KvLayout, body: (block: Block) => void): void {
  const { op } = b;
  b.loop("block", 0, headBlocks(kv), 1, (number) => {
    const first = b.named("first", op.imul(number, b.i(BLOCK_DIMS)));
    body({ number, first, end: b.named("end", op.imin(op.iadd(first, b.i(BLOCK_DIMS)), b.i(kv.headDim))) });
  });
}

function scaleAt(
  b: KernelBuilder,
  kv: KvLayout,
  head: Value<"ptr">,
  scalesAt: number,
  slot: Value<"i32">,
  block: Value<"i32">,
): Value<"ptr"> {
  const scales = b.op.addr(head, slot, { stride: 2, offset: scalesAt });
  return b.op.addr(scales, block, { stride: kvStrides(kv).scaleRow, offset: 0 });
}

/** The block of a row of f32 at `from` as elements at `to`, whole registers of them. */
function storeBlock(
  b: KernelBuilder,
  kv: KvLayout,
  block: Block,
  from: Value<"ptr">,
  to: Value<"ptr">,
  scale: Value<"ptr">,
  scratch: Value<"ptr">,
): void {
  const { op } = b;
  const { element } = kv;
  const target = b.named("to", to);
  const convert = hasScales(kv) ? quantizer(b, kv, block, from, scale, scratch) : undefined;
  b.loop("d", block.first, block.end, b.lanes, (d) => {
    const value = loadOfBlock(b, block, from, d);
    const offset = op.isub(d, block.first);
    const at = op.addr(target, offset, { stride: ELEMENT_BYTES[element], offset: 0 });
    if (convert !== undefined) op.vi8storelanes(at, convert(value), { offset: 0 });
    else if (element === "f32") op.vfstore(at, value, { offset: 0 });
    else op.vhstore(at, value, { offset: 0 });
  });
}

/** L values of a row from dimension `d` on, 0 past the end of the block. */
function loadOfBlock(b: KernelBuilder, { end }: Block, from: Value<"ptr">, d: Value<"i32">): Value<"vf32"> {
  const { op } = b;
  const left = op.imin(op.isub(end, d), b.i(b.lanes));
  return op.vfloadn(op.addr(from, d, { stride: 4, offset: 0 }), left, { offset: 0 });
}

/** Stores scale = max|x| / 127 (f16); gives what makes codes round(x / scale), by the scale before it is rounded. */
function quantizer(
  b: KernelBuilder,
  kv: KvLayout,
  block: Block,
  from: Value<"ptr">,
  scale: Value<"ptr">,
  scratch: Value<"ptr">,
): (x: Value<"vf32">) => Value<"vi32"> {
  const { op } = b;
  const largest = b.variable("largest", op.vfconst({ value: 0 }));
  b.loop("d", block.first, block.end, b.lanes, (d) =>
    largest.set(op.vfmax(op.vfabs(loadOfBlock(b, block, from, d)), largest.get())),
  );
  const amax = b.named("amax", op.vfmaxlane(largest.get()));
  const room = { offset: scaleRoomAt(kv) };
  op.vhstore(scratch, op.vfsplat(op.fdiv(amax, b.f(127))), room);
  op.u16store(scale, op.u16load(scratch, room), { offset: 0 });
  const factor = b.named("factor", op.vfsplat(codeFactor(b, amax, INT8_CODE)));
  return (x) => codesOf(b, x, factor, INT8_CODE);
}
