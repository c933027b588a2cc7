import { bf16ToF32, f16ToF32, f32ToF16 } from "../base/float16.ts";
import type { Operation, Row } from "./interp-machine.ts";

/** `byte` in each of the four bytes of a word. */
export const everyByte = (byte: number) => Math.imul(byte, 0x01010101);

/** The bits of a word that must be 0 where every byte is below 2^bits. */
export const excessBits = (bits: number) => everyByte(0xff & ~(2 ** bits - 1));

/** A register from memory, as 32-bit words, so that no f32 is touched. */
const load: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  return () => {
    const p = o.locate(4 * lanes);
    const { view } = memory;
    for (let i = 0; i < lanes; i++) i32[r + i] = view.getInt32(p + 4 * i, true);
  };
};

const store: Row = (o) => {
  const { i32, b, lanes, memory } = o;
  return () => {
    const p = o.locate(4 * lanes);
    const { view } = memory;
    for (let i = 0; i < lanes; i++) view.setInt32(p + 4 * i, i32[b + i]!, true);
  };
};

/** The number of lanes in operand `b`, checked, and the address of that many; without lanes there is no access. */
function locateLanes(o: Operation): [lanes: number, address: number] {
  const n = o.i32[o.b]!;
  if (!(n >= 0 && n <= o.lanes)) o.fail(`${n} lanes of ${o.lanes}`);
  return [n, n === 0 ? 0 : o.locate(4 * n)];
}

const vfloadn: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  return () => {
    const [n, p] = locateLanes(o);
    for (let i = 0; i < lanes; i++) i32[r + i] = i < n ? memory.view.getInt32(p + 4 * i, true) : 0;
  };
};

const vfstoren: Row = (o) => {
  const { i32, c, memory } = o;
  return () => {
    const [n, p] = locateLanes(o);
    for (let i = 0; i < n; i++) memory.view.setInt32(p + 4 * i, i32[c + i]!, true);
  };
};

/** L lanes of 16 bits, converted. */
const load16 =
  (convert: (bits: number) => number): Row =>
  (o) => {
    const { f32, r, lanes, memory } = o;
    return () => {
      const p = o.locate(2 * lanes);
      for (let i = 0; i < lanes; i++) f32[r + i] = convert(memory.view.getUint16(p + 2 * i, true));
    };
  };

const vhstore: Row = (o) => {
  const { f32, b, lanes, memory } = o;
  return () => {
    const p = o.locate(2 * lanes);
    for (let i = 0; i < lanes; i++) memory.view.setUint16(p + 2 * i, f32ToF16(f32[b + i]!), true);
  };
};

const vu8loadlanes: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  return () => {
    const p = o.locate(lanes);
    for (let i = 0; i < lanes; i++) i32[r + i] = memory.view.getUint8(p + i);
  };
};

const vi8loadlanes: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  return () => {
    const p = o.locate(lanes);
    for (let i = 0; i < lanes; i++) i32[r + i] = memory.view.getInt8(p + i);
  };
};

const vi8loadpairs: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  return () => {
    const p = o.locate(2 * lanes);
    const { view } = memory;
    for (let i = 0; i < lanes; i++)
      i32[r + i] = (view.getInt8(p + 2 * i + 1) << 16) | (view.getInt8(p + 2 * i) & 0xffff);
  };
};

const vu8loadpairs: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  const [shift, mask] = [o.number("shift"), o.number("mask")];
  return () => {
    const p = o.locate(2 * lanes);
    const half = (at: number) => (memory.view.getUint8(at) >> shift) & mask;
    for (let i = 0; i < lanes; i++) i32[r + i] = (half(p + 2 * i + 1) << 16) | half(p + 2 * i);
  };
};

const vi8storelanes: Row = (o) => {
  const { i32, b, lanes, memory } = o;
  return () => {
    const p = o.locate(lanes);
    for (let i = 0; i < lanes; i++) {
      const value = i32[b + i]!;
      if (value < -128 || value > 127) o.fail(`lane ${i} holds ${value}`);
      memory.view.setInt8(p + i, value);
    }
  };
};

const vu16storelanes: Row = (o) => {
  const { i32, b, lanes, memory } = o;
  return () => {
    const p = o.locate(2 * lanes);
    for (let i = 0; i < lanes; i++) memory.view.setUint16(p + 2 * i, i32[b + i]!, true);
  };
};

const vu8load: Row = (o) => {
  const { i32, r, lanes, memory } = o;
  const bits = o.number("bits");
  const excess = excessBits(bits);
  return () => {
    const p = o.locate(4 * lanes);
    const { view } = memory;
    let seen = 0;
    for (let i = 0; i < lanes; i++) {
      const word = view.getInt32(p + 4 * i, true);
      seen |= word;
      i32[r + i] = word;
    }
    if ((seen & excess) !== 0) o.fail(`a code at ${p} needs more than ${bits} bits`);
  };
};

const vbroadcast4: Row = (o) => {
  const { u8, r, lanes, memory, dotOrder } = o;
  return () => {
    const p = o.locate(4);
    for (let k = 0; k < 4 * lanes; k++) u8[4 * r + dotOrder[k]!] = memory.view.getUint8(p + (k & 3));
  };
};

const vigather: Row = (o) => {
  const { i32, f64, a, b, r, lanes, memory } = o;
  return () => {
    for (let i = 0; i < lanes; i++) {
      const offset = i32[b + i]!;
      if (offset < 0) o.fail(`lane ${i} has offset ${offset}`);
      i32[r + i] = memory.view.getInt32(o.inside(f64[a >> 1]! + offset, 4), true);
    }
  };
};

const vu8table: Row = (o) => {
  const { u8, r, lanes, memory } = o;
  return () => {
    const p = o.locate(16);
    for (let k = 0; k < 4 * lanes; k++) u8[4 * r + k] = memory.view.getUint8(p + (k & 15));
  };
};

/** The meaning of the vector ops that read or write memory. */
export const VECTOR_MEMORY_ROWS = {
  vfload: load,
  vfstore: store,
  vfloadn,
  vfstoren,
  vhload: load16(f16ToF32),
  vhstore,
  vbfload: load16(bf16ToF32),
  viload: load,
  vistore: store,
  vu8loadlanes,
  vi8loadlanes,
  vi8loadpairs,
  vu8loadpairs,
  vi8storelanes,
  vu16storelanes,
  vu8load,
  vu8store: store,
  vbroadcast4,
  vu8table,
  vigather,
} as const satisfies Record<string, Row>;
