import { assert } from "../base/assert.ts";
import { alignUp } from "../base/bytes.ts";
import { REGION_ALIGNMENT } from "./backend.ts";

/** Named parts of one region, each aligned. */
export class Layout {
  private readonly parts = new Map<string, { offset: number; bytes: number }>();
  private end = 0;

  /** Reserves a part; a second request of the same name must not be larger. */
  add(name: string, bytes: number): void {
    assert(Number.isSafeInteger(bytes) && bytes >= 0, `${name}: ${bytes} bytes`);
    const known = this.parts.get(name);
    if (known !== undefined) {
      assert(bytes <= known.bytes, `${name} was reserved with ${known.bytes} bytes, now ${bytes}`);
      return;
    }
    this.parts.set(name, { offset: this.end, bytes });
    this.end = alignUp(this.end + bytes, REGION_ALIGNMENT);
  }

  part(name: string): { readonly offset: number; readonly bytes: number } {
    const part = this.parts.get(name);
    assert(part !== undefined, `no part ${name}`);
    return part;
  }

  offset(name: string): number {
    return this.part(name).offset;
  }

  /** Bytes of the whole region; kernels may read up to a register past the last part. */
  get bytes(): number {
    return this.end + REGION_ALIGNMENT;
  }
}
