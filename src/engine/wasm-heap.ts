import { assert } from "../base/assert.ts";
import { alignUp } from "../base/bytes.ts";
import { MachineError, UsageError } from "../base/errors.ts";
import { WASM_MAX_PAGES, WASM_PAGE_BYTES, type WasmMemoryObject, webAssembly } from "../host/wasm-types.ts";
import { REGION_ALIGNMENT, type Region } from "./backend.ts";

const INSTEAD = "use the native backend (it needs a C compiler), a smaller model or a shorter context";

/**
 * One shared WebAssembly memory, handed out from the bottom up and given back as a whole. The system adds pages of RAM
 * as they are first touched, so that capacity without use costs none.
 */
export class WasmHeap {
  private shared: WasmMemoryObject | undefined;
  /** Address 0 is not handed out: it is nobody's pointer. */
  private next = REGION_ALIGNMENT;

  /** Throws `MachineError` where `capacity` bytes cannot be had. */
  constructor(capacity: number) {
    // One page for address 0 and the padding between regions.
    const pages = Math.ceil(capacity / WASM_PAGE_BYTES) + 1;
    const needs = `the model needs ${capacity} bytes`;
    if (!(pages <= WASM_MAX_PAGES)) {
      throw new MachineError(`${needs}; WebAssembly has at most 4 GiB: ${INSTEAD}`);
    }
    try {
      this.shared = new webAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch (cause) {
      throw new MachineError(`${needs}, more than WebAssembly can have on this machine: ${INSTEAD}`, {
        cause,
      });
    }
  }

  get memory(): WasmMemoryObject {
    if (this.shared === undefined) throw new UsageError("the backend is disposed");
    return this.shared;
  }

  allocate(bytes: number): Region {
    assert(Number.isSafeInteger(bytes) && bytes >= 0, `a region of ${bytes} bytes`);
    const address = this.next;
    const end = alignUp(address + bytes, REGION_ALIGNMENT);
    const { byteLength } = this.memory.buffer;
    if (end > byteLength)
      throw new MachineError(`the model needs more than the ${byteLength} bytes reserved`);
    this.next = end;
    return { address, bytes, view: (offset, length) => this.view(address, bytes, offset, length) };
  }

  private view(address: number, bytes: number, offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || offset + length > bytes) {
      throw new RangeError(`${offset} + ${length} is outside a region of ${bytes} bytes`);
    }
    return new Uint8Array(this.memory.buffer, address + offset, length);
  }

  /** Lets go of the memory; views that are left keep it. */
  dispose(): void {
    this.shared = undefined;
  }
}
