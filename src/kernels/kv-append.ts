import type { KernelBuilder } from "../ir/builder.ts";
import type { Value } from "../ir/types.ts";
import { copyElement, ELEMENT_BYTES, SCALE_BLOCK } from "./elements.ts";
import { int8Codes, int8Factor } from "./int8.ts";
import { type KvLayout, kvStrides, paddedHeadDim, scaleBlocks } from "./kv-cache.ts";

/** Room behind a converted row in which a scale is rounded to f16: a register of them. */
const SCALE_ROOM = 64;

/** Bytes of scratch for a row of a head on its way to the cache. */
export function appendScratchBytes({ headDim }: KvLayout): number {
  return 4 * paddedHeadDim(headDim) + SCALE_ROOM;
}

/** Where a position of a kv head is: its page, of which `slot` is its place. */
export interface Place {
  readonly page: Value<"ptr">;
  readonly head: Value<"i32">;
  readonly slot: Value<"i32">;
}

/**
 * Appends a row of K, which `row` holds as f32 with the room of `appendScratchBytes`: converted in place (reads run
 * ahead of writes), then scattered, since consecutive dimensions are a page row apart.
 */
export function appendKey(b: KernelBuilder, kv: KvLayout, row: Value<"ptr">, place: Place): void {
  const { op } = b;
  const strides = kvStrides(kv);
  const bytes = ELEMENT_BYTES[kv.element];
  const head = b.named("k_page", op.addr(place.page, place.head, { stride: strides.kHead, offset: 0 }));
  storeRow(b, kv, row, row, row, scaleOf(b, kv, head, strides.kScalesAt, place.slot));
  const to = b.named("k_slot", op.addr(head, place.slot, { stride: bytes, offset: 0 }));
  b.loop("d", 0, kv.headDim, 1, (d) => {
    const from = op.addr(row, d, { stride: bytes, offset: 0 });
    copyElement(b, kv.element, from, op.addr(to, d, { stride: strides.kDim, offset: 0 }));
  });
}

/** Appends a row of V, f32 values at `from`; `scratch` is of `appendScratchBytes`. */
export function appendValue(
  b: KernelBuilder,
  kv: KvLayout,
  from: Value<"ptr">,
  scratch: Value<"ptr">,
  place: Place,
): void {
  const { op } = b;
  const strides = kvStrides(kv);
  const head = b.named(
    "v_page",
    op.addr(place.page, place.head, { stride: strides.vHead, offset: strides.vAt }),
  );
  const to = b.named("v_row", op.addr(head, place.slot, { stride: strides.vRow, offset: 0 }));
  storeRow(b, kv, from, to, scratch, scaleOf(b, kv, head, strides.vScalesAt, place.slot));
}

/** The address of a block's scale. */
type ScaleOf = (block: Value<"i32">) => Value<"ptr">;

function scaleOf(
  b: KernelBuilder,
  kv: KvLayout,
  head: Value<"ptr">,
  scalesAt: number,
  slot: Value<"i32">,
): ScaleOf {
  const { scaleRow } = kvStrides(kv);
  return (block) =>
    b.op.addr(b.op.addr(head, slot, { stride: 2, offset: scalesAt }), block, { stride: scaleRow, offset: 0 });
}

/** `headDim` f32 as consecutive elements, whole registers of them. */
function storeRow(
  b: KernelBuilder,
  kv: KvLayout,
  from: Value<"ptr">,
  to: Value<"ptr">,
  scratch: Value<"ptr">,
  scale: ScaleOf,
): void {
  const { op } = b;
  const { headDim, element } = kv;
  if (element === "q8_0") {
    quantizeRow(b, kv, from, to, scratch, scale);
    return;
  }
  b.loop("d", 0, headDim, b.lanes, (d) => {
    const value = op.vfload(op.addr(from, d, { stride: 4, offset: 0 }), { offset: 0 });
    const at = op.addr(to, d, { stride: ELEMENT_BYTES[element], offset: 0 });
    if (element === "f32") op.vfstore(at, value, { offset: 0 });
    else op.vhstore(at, value, { offset: 0 });
  });
}

/** Per block scale = max|x| / 127 (f16) and codes round(x / scale) by the scale before it is rounded, as Q8_0. */
function quantizeRow(
  b: KernelBuilder,
  kv: KvLayout,
  from: Value<"ptr">,
  to: Value<"ptr">,
  scratch: Value<"ptr">,
  scale: ScaleOf,
): void {
  const { op } = b;
  const { headDim } = kv;
  const rounded = b.named(
    "rounded",
    op.addr(scratch, b.i(0), { stride: 0, offset: 4 * paddedHeadDim(headDim) }),
  );
  b.loop("block", 0, scaleBlocks(kv), 1, (block) => {
    const first = b.named("first", op.imul(block, b.i(SCALE_BLOCK)));
    const end = b.named("end", op.imin(op.iadd(first, b.i(SCALE_BLOCK)), b.i(headDim)));
    const load = (d: Value<"i32">) =>
      op.vfloadn(op.addr(from, d, { stride: 4, offset: 0 }), op.imin(op.isub(end, d), b.i(b.lanes)), {
        offset: 0,
      });
    const largest = b.variable("largest", op.vfconst({ value: 0 }));
    b.loop("d", first, end, b.lanes, (d) => largest.set(op.vfmax(op.vfabs(load(d)), largest.get())));
    const amax = b.named("amax", op.vfmaxlane(largest.get()));
    op.vhstore(rounded, op.vfsplat(op.fdiv(amax, b.f(127))), { offset: 0 });
    op.u16store(scale(block), op.u16load(rounded, { offset: 0 }), { offset: 0 });
    const factor = b.named("factor", op.vfsplat(int8Factor(b, amax)));
    b.loop("d", first, end, b.lanes, (d) => {
      const codes = int8Codes(b, load(d), factor);
      op.vi8storelanes(op.addr(to, d, { stride: 1, offset: 0 }), codes, { offset: 0 });
    });
  });
}
