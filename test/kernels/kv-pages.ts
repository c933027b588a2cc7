import { f16ToF32, f32ToF16 } from "../../src/base/float16.ts";
import { ELEMENT_BYTES } from "../../src/kernels/elements.ts";
import { type KvLayout, kvStrides, PAGE_TOKENS } from "../../src/kernels/kv-cache.ts";

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

  private read(p: number): number {
    return this.layout.element === "f32"
      ? this.view.getFloat32(p, true)
      : f16ToF32(this.view.getUint16(p, true));
  }

  private write(p: number, value: number): void {
    if (this.layout.element === "f32") this.view.setFloat32(p, value, true);
    else this.view.setUint16(p, f32ToF16(value), true);
  }

  private kAt(page: number, head: number, slot: number, d: number): number {
    const { strides } = this;
    const bytes = ELEMENT_BYTES[this.layout.element];
    return page * strides.page + head * strides.kHead + d * strides.kDim + slot * bytes;
  }

  private vAt(page: number, head: number, slot: number, d: number): number {
    const { strides } = this;
    const row = page * strides.page + strides.vAt + head * strides.vHead + slot * strides.vRow;
    return row + d * ELEMENT_BYTES[this.layout.element];
  }

  k(page: number, head: number, slot: number, d: number): number {
    return this.read(this.kAt(page, head, slot, d));
  }

  v(page: number, head: number, slot: number, d: number): number {
    return this.read(this.vAt(page, head, slot, d));
  }

  setK(page: number, head: number, slot: number, d: number, value: number): void {
    this.write(this.kAt(page, head, slot, d), value);
  }

  setV(page: number, head: number, slot: number, d: number, value: number): void {
    this.write(this.vAt(page, head, slot, d), value);
  }

  /** Makes what a position may write what it is in `other`: its k, and its v with the padding of the row. */
  takePosition(other: KvPages, page: number, head: number, slot: number): void {
    for (let d = 0; d < this.layout.headDim; d++) {
      const p = this.kAt(page, head, slot, d);
      const bytes = ELEMENT_BYTES[this.layout.element];
      this.bytes.set(other.bytes.subarray(p, p + bytes), p);
    }
    const row = this.vAt(page, head, slot, 0);
    this.bytes.set(other.bytes.subarray(row, row + this.strides.vRow), row);
  }
}

export function pageBytes(layout: KvLayout): number {
  return kvStrides(layout).page;
}

export function kvLayout(kvHeads: number, headDim: number, element: KvLayout["element"]): KvLayout {
  return { kvHeads, headDim, element, pageTokens: PAGE_TOKENS };
}
