import { f16ToF32, f32ToF16 } from "../../src/base/float16.ts";
import { ELEMENT_BYTES } from "../../src/kernels/elements.ts";
import {
  BLOCK_DIMS,
  hasScales,
  headBlocks,
  type KvLayout,
  kvStrides,
  PAGE_TOKENS,
  pairing,
} from "../../src/kernels/kv-cache.ts";

type Part = "k" | "v";

/** KV pages, element by element: the layout that `KvLayout` describes. */
export class KvPages {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly strides: ReturnType<typeof kvStrides>;

  constructor(
    readonly layout: KvLayout,
    content: Uint8Array,
  ) {
    this.bytes = content.slice();
    this.view = new DataView(this.bytes.buffer);
    this.strides = kvStrides(layout);
  }

  private elementAt(part: Part, page: number, head: number, slot: number, d: number): number {
    const { kDim, vRow, vBlock } = this.strides;
    const bytes = ELEMENT_BYTES[this.layout.element];
    const [block, inBlock] = [Math.floor(d / BLOCK_DIMS), d % BLOCK_DIMS];
    const together = pairing(this.layout);
    const [unit, inUnit] = part === "k" ? [d, d % together] : [slot, slot % together];
    const first = Math.floor(unit / together);
    const within =
      part === "k"
        ? first * kDim + (slot * together + inUnit) * bytes
        : block * vBlock + first * vRow + (inBlock * together + inUnit) * bytes;
    return this.headAt(part, page, head) + within;
  }

  private headAt(part: Part, page: number, head: number): number {
    const { strides } = this;
    const start = page * strides.page;
    return part === "k" ? start + head * strides.kHead : start + strides.vAt + head * strides.vHead;
  }

  private scaleAt(part: Part, page: number, head: number, slot: number, block: number): number {
    const { kScalesAt, vScalesAt, scaleRow } = this.strides;
    const at = part === "k" ? kScalesAt : vScalesAt;
    return this.headAt(part, page, head) + at + block * scaleRow + 2 * slot;
  }

  /** An element as the number it stands for. */
  get(part: Part, page: number, head: number, slot: number, d: number): number {
    const p = this.elementAt(part, page, head, slot, d);
    switch (this.layout.element) {
      case "f32":
        return this.view.getFloat32(p, true);
      case "f16":
        return f16ToF32(this.view.getUint16(p, true));
      case "q8_0": {
        return this.view.getInt8(p) * this.scale(part, page, head, slot, Math.floor(d / BLOCK_DIMS));
      }
    }
  }

  /** What a code of a block is worth. */
  scale(part: Part, page: number, head: number, slot: number, block: number): number {
    return f16ToF32(this.view.getUint16(this.scaleAt(part, page, head, slot, block), true));
  }

  /** The dimensions of a position. */
  row(part: Part, page: number, head: number, slot: number): number[] {
    return Array.from({ length: this.layout.headDim }, (_, d) => this.get(part, page, head, slot, d));
  }

  /** Stores the dimensions of a position, rounded as the cache rounds them. */
  setRow(part: Part, page: number, head: number, slot: number, values: readonly number[]): void {
    const { view } = this;
    const at = (d: number) => this.elementAt(part, page, head, slot, d);
    const { element } = this.layout;
    values.forEach((x, d) => {
      if (element === "f32") view.setFloat32(at(d), x, true);
      if (element === "f16") view.setUint16(at(d), f32ToF16(x), true);
    });
    for (let block = 0; block < (hasScales(this.layout) ? headBlocks(this.layout) : 0); block++) {
      const first = block * BLOCK_DIMS;
      const xs = values.slice(first, first + BLOCK_DIMS).map(Math.fround);
      const largest = Math.max(...xs.map(Math.abs));
      const scale = this.scaleAt(part, page, head, slot, block);
      view.setUint16(scale, f32ToF16(Math.fround(largest / 127)), true);
      const factor = largest === 0 ? 0 : Math.fround(127 / largest);
      xs.forEach((x, i) => view.setInt8(at(first + i), roundEven(Math.fround(x * factor))));
    }
  }

  /**
   * Makes what a position may write what it is in `other`: its k, with a code that fills its last pair, and its v, with
   * the padding of the row where elements are no codes.
   */
  takePosition(other: KvPages, page: number, head: number, slot: number): void {
    const take = (p: number, bytes: number) => this.bytes.set(other.bytes.subarray(p, p + bytes), p);
    const { headDim, element } = this.layout;
    const together = pairing(this.layout);
    for (let d = 0; d < headDim; d += together)
      take(this.elementAt("k", page, head, slot, d), together * ELEMENT_BYTES[element]);
    for (let block = 0; block < headBlocks(this.layout); block++) {
      if (!hasScales(this.layout)) {
        take(this.elementAt("v", page, head, slot, block * BLOCK_DIMS), this.strides.vRow);
        continue;
      }
      for (let d = block * BLOCK_DIMS; d < Math.min(headDim, (block + 1) * BLOCK_DIMS); d++)
        take(this.elementAt("v", page, head, slot, d), 1);
      take(this.scaleAt("k", page, head, slot, block), 2);
      take(this.scaleAt("v", page, head, slot, block), 2);
    }
  }
}

/** To the nearest integer, ties to even. */
export function roundEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}

export function pageBytes(layout: KvLayout): number {
  return kvStrides(layout).page;
}

export function kvLayout(kvHeads: number, headDim: number, element: KvLayout["element"]): KvLayout {
  return { kvHeads, headDim, element, pageTokens: PAGE_TOKENS };
}
