import { nothing, type Operation, type Row } from "./interp-machine.ts";
import type { ScalarOpName } from "./ops.ts";

type Int2 = (a: number, b: number, o: Operation) => number;

const int2 =
  (f: Int2): Row =>
  (o) => {
    const { i32, a, b, r } = o;
    return () => {
      i32[r] = f(i32[a]!, i32[b]!, o);
    };
  };

const float1 =
  (f: (a: number) => number): Row =>
  ({ f32, a, r }) =>
  () => {
    f32[r] = f(f32[a]!);
  };

const float2 =
  (f: (a: number, b: number) => number): Row =>
  ({ f32, a, b, r }) =>
  () => {
    f32[r] = f(f32[a]!, f32[b]!);
  };

/** A move of 32 bits; not through `f32`, which need not keep the payload of a NaN. */
const move: Row =
  ({ i32, a, r }) =>
  () => {
    i32[r] = i32[a]!;
  };

const select: Row =
  ({ i32, a, b, c, r }) =>
  () => {
    i32[r] = i32[a] !== 0 ? i32[b]! : i32[c]!;
  };

const load =
  (bytes: number, get: (view: DataView, p: number) => number): Row =>
  (o) => {
    const { i32, r, memory } = o;
    return () => {
      const p = o.locate(bytes);
      i32[r] = get(memory.view, p);
    };
  };

const store =
  (bytes: number, set: (view: DataView, p: number, value: number) => void): Row =>
  (o) => {
    const { i32, b, memory } = o;
    return () => {
      const p = o.locate(bytes);
      set(memory.view, p, i32[b]!);
    };
  };

const load32 = load(4, (view, p) => view.getInt32(p, true));
const store32 = store(4, (view, p, value) => view.setInt32(p, value, true));

const divisor = (b: number, o: Operation) => (b > 0 ? b : o.fail(`divides by ${b}`));
const count = (b: number, o: Operation) => (b >= 0 && b < 32 ? b : o.fail(`shifts by ${b}`));

const addr: Row = (o) => {
  const { f64, i32, a, b, r } = o;
  const [stride, offset] = [o.number("stride"), o.number("offset")];
  return () => {
    f64[r >> 1] = f64[a >> 1]! + i32[b]! * stride + offset;
  };
};

const addrv: Row = (o) => {
  const { f64, i32, a, b, c, r } = o;
  return () => {
    if (i32[c]! < 0) o.fail(`stride ${i32[c]}`);
    f64[r >> 1] = f64[a >> 1]! + i32[b]! * i32[c]!;
  };
};

const atomicadd: Row = (o) => {
  const { i32, b, r, memory } = o;
  return () => {
    const p = o.locate(4);
    if (p % 4 !== 0) o.fail(`address ${p} is not a multiple of 4`);
    const before = memory.view.getInt32(p, true);
    memory.view.setInt32(p, before + i32[b]!, true);
    i32[r] = before;
  };
};

/** The meaning of every scalar op but `barrier`, which the interpreter schedules. Storing into `i32` wraps. */
export const SCALAR_ROWS: { readonly [N in Exclude<ScalarOpName, "barrier">]: Row } = {
  iconst: (o) => {
    o.i32[o.r] = o.number("value");
    return nothing;
  },
  iadd: int2((a, b) => a + b),
  isub: int2((a, b) => a - b),
  imul: int2((a, b) => Math.imul(a, b)),
  idiv: int2((a, b, o) => Math.trunc(a / divisor(b, o))),
  irem: int2((a, b, o) => a % divisor(b, o)),
  imin: int2((a, b) => Math.min(a, b)),
  imax: int2((a, b) => Math.max(a, b)),
  iand: int2((a, b) => a & b),
  ior: int2((a, b) => a | b),
  ixor: int2((a, b) => a ^ b),
  ishl: int2((a, b, o) => a << count(b, o)),
  ishr: int2((a, b, o) => a >>> count(b, o)),
  ilt: int2((a, b) => (a < b ? 1 : 0)),
  ile: int2((a, b) => (a <= b ? 1 : 0)),
  ieq: int2((a, b) => (a === b ? 1 : 0)),
  iselect: select,

  fconst: (o) => {
    o.f32[o.r] = o.number("value");
    return nothing;
  },
  fadd: float2((a, b) => a + b),
  fsub: float2((a, b) => a - b),
  fmul: float2((a, b) => a * b),
  fdiv: float2((a, b) => a / b),
  fsqrt: float1(Math.sqrt),
  fmin:
    ({ f32, i32, a, b, r }) =>
    () => {
      i32[r] = f32[a]! < f32[b]! ? i32[a]! : i32[b]!;
    },
  fmax:
    ({ f32, i32, a, b, r }) =>
    () => {
      i32[r] = f32[a]! > f32[b]! ? i32[a]! : i32[b]!;
    },
  flt:
    ({ f32, i32, a, b, r }) =>
    () => {
      i32[r] = f32[a]! < f32[b]! ? 1 : 0;
    },
  fselect: select,
  itof:
    ({ f32, i32, a, r }) =>
    () => {
      f32[r] = i32[a]!;
    },
  ftobits: move,
  bitstof: move,

  addr,
  addrv,
  iload: load32,
  istore: store32,
  fload: load32,
  fstore: store32,
  u8load: load(1, (view, p) => view.getUint8(p)),
  u8store: store(1, (view, p, value) => view.setUint8(p, value)),
  u16load: load(2, (view, p) => view.getUint16(p, true)),
  u16store: store(2, (view, p, value) => view.setUint16(p, value, true)),
  atomicadd,
  touch: (o) => () => void o.locate(1),
  prefetch: () => nothing,
};
