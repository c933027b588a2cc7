import type { Cell, KernelBuilder } from "../../src/ir/builder.ts";
import type { Target, Value } from "../../src/ir/types.ts";
import { Draft, type OpCase } from "./case-draft.ts";
import { floats, I32_CORNERS, words } from "./corner-values.ts";

/** What a control case works with: `put` stores its next result, `next` reads its next input. */
interface Bench {
  readonly d: Draft;
  readonly b: KernelBuilder;
  readonly out: Value<"ptr">;
  put(value: Value<"i32">): void;
  /** The i-th input: i32 from 0, 1, 2 … times 3. */
  input(i: number): Value<"i32">;
}

const RESULTS = 64;

function control(target: Target, name: string, write: (bench: Bench) => void): OpCase {
  const d = new Draft(target, `control ${name}`, "control");
  const { b } = d;
  const x = d.input("x", words(Array.from({ length: 64 }, (_, i) => 3 * i)));
  const out = d.output(4 * RESULTS);
  let results = 0;
  write({
    d,
    b,
    out,
    put: (value) => b.op.istore(out, value, { offset: 4 * results++ }),
    input: (i) => b.op.iload(x, { offset: 4 * i }),
  });
  return d.finish();
}

/** Mixes the order and the values of what a loop saw into one number. */
const mix = (b: KernelBuilder, hash: Cell<"i32">, value: Value<"i32">) =>
  hash.set(b.op.iadd(b.op.imul(hash.get(), b.i(31)), value));

/** No trip, one, several; negative starts; steps that do not divide; the last one ends at the largest i32. */
const BOUNDS: readonly (readonly [start: number, end: number, step: number])[] = [
  [0, 0, 1],
  [5, 3, 1],
  [5, -3, 4],
  [-7, -2, 2],
  [-3, 4, 3],
  [0, 10, 10],
  [0, 11, 10],
  [0, 1, 1000],
  [-0x80000000, -0x7ffffffe, 1],
  [0x7ffffffa, 0x7fffffff, 1],
];

function loops(target: Target): OpCase[] {
  const constant = control(target, "loops with constant bounds", ({ b, put }) => {
    for (const [start, end, step] of BOUNDS) {
      const hash = b.variable("hash", b.i(17));
      b.loop("i", start, end, step, (i) => mix(b, hash, i));
      put(hash.get());
    }
  });
  const atRunTime = control(target, "loops with bounds at run time", ({ d, b, out }) => {
    const table = d.input("bounds", words(BOUNDS.flat()));
    b.loop("row", 0, d.int("rows", BOUNDS.length), 1, (row) => {
      const bounds = b.op.addr(table, row, { stride: 12, offset: 0 });
      const [start, end, step] = [0, 4, 8].map((offset) => b.op.iload(bounds, { offset }));
      const hash = b.variable("hash", b.i(17));
      const trips = b.variable("trips", b.i(0));
      b.loop("i", start!, end!, step!, (i) => {
        mix(b, hash, i);
        trips.set(b.op.iadd(trips.get(), b.i(1)));
      });
      const to = b.op.addr(out, row, { stride: 8, offset: 0 });
      b.op.istore(to, hash.get(), { offset: 0 });
      b.op.istore(to, trips.get(), { offset: 4 });
    });
  });
  const nested = control(target, "nested loops", ({ b, put, input }) => {
    const hash = b.variable("hash", b.i(1));
    b.loop("i", 0, input(2), 2, (i) => {
      b.loop("j", i, 5, 1, (j) => {
        const both = b.op.imul(i, j);
        b.loop("i", b.op.isub(j, b.i(2)), b.op.iadd(j, i), 2, (k) => mix(b, hash, b.op.iadd(both, k)));
        mix(b, hash, both);
      });
      mix(b, hash, i);
    });
    put(hash.get());
  });
  const evaluatedOnce = control(target, "loop bounds that the body assigns", ({ b, put }) => {
    const [end, step, trips] = [5, 1, 0].map((n, k) => b.variable(`v${k}`, b.i(n))) as Cell<"i32">[];
    b.loop("i", 0, end!.get(), step!.get(), (i) => {
      end!.set(b.op.isub(end!.get(), b.i(2)));
      step!.set(b.op.iadd(i, b.i(7)));
      trips!.set(b.op.iadd(trips!.get(), b.i(1)));
    });
    for (const cell of [end!, step!, trips!]) put(cell.get());
  });
  return [constant, atRunTime, nested, evaluatedOnce];
}

function branches(target: Target): OpCase[] {
  const conditions = control(target, "conditions", ({ b, out }) => {
    b.loop("i", -2, 4, 1, (i) => {
      const to = b.op.addr(out, i, { stride: 8, offset: 16 });
      const value = b.variable("value", b.i(100));
      b.if(i, () => value.set(b.i(1)));
      b.op.istore(to, value.get(), { offset: 0 });
      b.if(
        b.op.imul(i, b.i(256)),
        () => value.set(b.op.iadd(value.get(), b.i(10))),
        () => value.set(b.op.iadd(value.get(), b.i(20))),
      );
      b.op.istore(to, value.get(), { offset: 4 });
    });
  });
  const nested = control(target, "nested branches", ({ b, out, input }) => {
    const shared = b.op.iadd(input(5), b.i(1));
    const once = b.op.imul(input(4), b.i(7));
    b.loop("i", 0, 9, 1, (i) => {
      const value = b.variable("value", b.i(0));
      b.if(
        b.op.ilt(i, b.i(4)),
        () => {
          b.if(
            b.op.iand(i, b.i(1)),
            () => value.set(b.op.iadd(shared, i)),
            () => value.set(b.op.isub(value.get(), shared)),
          );
          value.set(b.op.iadd(value.get(), b.i(1000)));
        },
        () => {
          b.if(b.op.ieq(i, b.i(6)), () => value.set(once));
          b.loop("j", 0, i, 3, (j) => {
            b.if(b.op.ilt(b.i(2), j), () => value.set(b.op.iadd(value.get(), j)));
          });
        },
      );
      b.op.istore(b.op.addr(out, i, { stride: 4, offset: 0 }), value.get(), { offset: 0 });
    });
    b.op.istore(out, shared, { offset: 100 });
  });
  const stores = control(target, "loads and stores in branches", ({ b, put, input, out }) => {
    const before = input(1);
    b.if(
      b.op.ilt(b.thread, b.i(1)),
      () => b.op.istore(out, b.op.iadd(before, input(2)), { offset: 128 }),
      () => b.op.istore(out, before, { offset: 132 }),
    );
    put(b.op.iload(out, { offset: 128 }));
    put(b.op.iload(out, { offset: 132 }));
    put(before);
  });
  return [conditions, nested, stores];
}

/** A value that is used after what it was computed from has changed. */
function hazards(target: Target): OpCase[] {
  const variables = control(target, "values of variables that change", ({ b, put, input }) => {
    const v = b.variable("v", input(1));
    const plusOne = b.op.iadd(v.get(), b.i(1));
    const product = b.op.imul(b.op.iadd(v.get(), b.i(2)), b.i(5));
    const less = b.op.ilt(v.get(), b.i(50));
    v.set(b.i(77));
    put(plusOne);
    put(product);
    put(less);
    put(v.get());
    const w = b.variable("w", v.get());
    v.set(b.op.iadd(v.get(), w.get()));
    w.set(v.get());
    v.set(b.i(0));
    put(w.get());
    put(v.get());
  });
  const swap = control(target, "variables that swap", ({ b, put }) => {
    const [x, y] = [b.variable("x", b.i(0)), b.variable("y", b.i(1))];
    b.loop("n", 0, 20, 1, () => {
      const sum = b.op.iadd(x.get(), y.get());
      x.set(y.get());
      y.set(sum);
    });
    put(x.get());
    put(y.get());
  });
  const inLoop = control(
    target,
    "values from before and after assignments in a loop",
    ({ b, put, input }) => {
      const v = b.variable("v", input(3));
      const first = b.op.imul(v.get(), b.i(3));
      const sum = b.variable("sum", b.i(0));
      b.loop("i", 0, 5, 1, (i) => {
        const old = b.op.ixor(v.get(), b.i(5));
        v.set(b.op.iadd(v.get(), i));
        b.if(b.op.iand(i, b.i(1)), () => v.set(b.op.iadd(old, first)));
        mix(b, sum, b.op.iadd(old, v.get()));
      });
      put(first);
      put(v.get());
      put(sum.get());
    },
  );
  const memory = control(target, "loads before and after stores", ({ b, put, out }) => {
    const at = (offset: number) => b.op.iload(out, { offset });
    b.op.istore(out, b.i(11), { offset: 128 });
    const one = at(128);
    b.op.istore(out, b.op.iadd(one, b.i(1)), { offset: 128 });
    const two = at(128);
    b.op.u8store(out, b.i(0xff), { offset: 129 });
    const three = at(128);
    b.op.fstore(out, b.f(1), { offset: 128 });
    for (const value of [one, two, three, at(128)]) put(value);
  });
  const moved = control(target, "values from outside that a loop uses", ({ b, put, input }) => {
    const v = b.variable("v", input(1));
    const fixed = b.op.iadd(b.op.imul(input(2), b.i(9)), b.i(4));
    const fromVariable = b.op.iadd(v.get(), b.i(1));
    b.loop("i", 0, 4, 1, (i) => {
      v.set(b.op.iadd(v.get(), b.op.iadd(fixed, b.op.imul(fromVariable, i))));
    });
    put(v.get());
    put(fromVariable);
  });
  return [variables, swap, inLoop, memory, moved];
}

function values(target: Target): OpCase[] {
  const deep = control(target, "long expressions", ({ b, put, input }) => {
    let left: Value<"i32"> = input(1);
    let right: Value<"i32"> = input(2);
    for (let n = 1; n <= 40; n++) {
      left = b.op.iadd(b.op.imul(left, b.i(3)), b.i(n));
      right = b.op.isub(b.i(n), b.op.ixor(b.op.ishr(right, b.i(1)), left));
    }
    put(left);
    put(right);
  });
  const names = control(target, "names that collide", ({ b, put, input }) => {
    const x = b.named("x", b.op.iadd(input(1), b.i(1)));
    const again = b.named("x", b.op.iadd(x, b.i(1)));
    const out = b.variable("out", b.op.iadd(again, x));
    b.loop("x", 0, 3, 1, (i) => {
      const inner = b.named("x", b.op.imul(i, again));
      out.set(b.op.iadd(out.get(), inner));
      put(inner);
    });
    b.loop("x", 0, 3, 1, (i) => out.set(b.op.iadd(out.get(), i)));
    for (const value of [x, again, out.get()]) put(value);
  });
  const team = control(target, "thread, threads and scalar parameters", ({ d, b, put }) => {
    put(b.thread);
    put(b.threads);
    put(d.int("n", -5));
    put(b.op.ftobits(d.float("f", -0.1)));
    b.comment("a comment with */ and // and (; in it");
  });
  return [deep, names, team];
}

/** A variable of every type, read, assigned and carried through a loop. */
function everyType(target: Target): OpCase {
  const d = new Draft(target, "control variables of every type", "control");
  const { b } = d;
  const L = target.lanes;
  const size = 4 * L;
  const at = { offset: 0 };
  const x = d.input("x", floats(Array.from({ length: 5 * L }, (_, i) => i / 4 - 3)));
  const w = d.input(
    "w",
    Uint8Array.from({ length: 5 * size }, (_, i) => i % 16),
  );
  const a = d.input("a", new Uint8Array(Int8Array.from({ length: 20 }, (_, i) => 11 * i - 100).buffer));
  const out = d.output(5 * size + 8);
  const pointer = b.variable("pointer", x);
  const scalar = b.variable("scalar", b.f(0.5));
  const count = b.variable("count", b.i(0));
  const sum = b.variable("sum", b.op.vfconst({ value: 0 }));
  const dots = b.variable("dots", b.op.viconst({ value: 0 }));
  const codes = b.variable("codes", b.op.vu8load(w, { offset: 0, bits: 4 }));
  const bytes = b.variable("bytes", b.op.vbroadcast4(a, at));
  const mask = b.variable("mask", b.op.vflt(b.op.vfload(x, at), b.op.vfconst({ value: -2 })));
  b.loop("i", 0, 5, 1, (i) => {
    const values = b.op.vfload(pointer.get(), at);
    sum.set(b.op.vfselect(mask.get(), b.op.vfadd(sum.get(), values), b.op.vfmul(values, values)));
    mask.set(b.op.vilt(b.op.viota(), b.op.visplat(i)));
    dots.set(b.dot(dots.get(), [codes.get()], [bytes.get()]));
    codes.set(b.op.vu8load(b.op.addr(w, i, { stride: size, offset: 0 }), { offset: 0, bits: 4 }));
    bytes.set(b.op.vbroadcast4(b.op.addr(a, i, { stride: 4, offset: 0 }), at));
    pointer.set(b.op.addr(pointer.get(), b.i(1), { stride: size, offset: 0 }));
    scalar.set(b.op.fmul(scalar.get(), b.f(1.5)));
    count.set(b.op.iadd(count.get(), b.op.ftobits(scalar.get())));
  });
  b.op.vfstore(out, sum.get(), { offset: 0 });
  b.op.vistore(out, dots.get(), { offset: size });
  b.op.vu8store(out, codes.get(), { offset: 2 * size });
  const one = b.op.viconst({ value: I32_CORNERS.at(-2)! });
  b.op.vistore(out, b.op.viselect(mask.get(), one, b.op.viconst({ value: 2 })), { offset: 3 * size });
  b.op.vistore(out, b.dot(b.op.viconst({ value: 0 }), [codes.get()], [bytes.get()]), { offset: 4 * size });
  b.op.fstore(out, scalar.get(), { offset: 5 * size });
  b.op.istore(out, count.get(), { offset: 5 * size + 4 });
  return d.finish();
}

/** Loops, branches and variables. */
export function controlCases(target: Target): OpCase[] {
  return [...loops(target), ...branches(target), ...hazards(target), ...values(target), everyType(target)];
}
