import { describe, expect, test } from "vitest";
import { Interpreter } from "../../src/ir/interp.ts";
import { Scratch } from "./run-case.ts";
import { four } from "./targets.ts";

const at = (offset: number) => ({ offset });
const word = (offset: number) => ({ stride: 4, offset });

describe("control", () => {
  test("a loop evaluates its bounds once and leaves its index behind", () => {
    const s = new Scratch(four);
    s.run((b, p) => {
      const [end, trips] = [b.variable("end", b.i(5)), b.variable("trips", b.i(0))];
      b.loop("i", -1, end.get(), 2, (i) => {
        end.set(b.i(0));
        trips.set(b.op.iadd(trips.get(), b.i(1)));
        b.op.istore(p, i, at(8));
      });
      b.op.istore(p, trips.get(), at(0));
      b.op.istore(p, end.get(), at(4));
    });
    expect(s.i32s(0, 3)).toEqual([3, 0, 3]);
  });
  test("no trip leaves everything as it was", () => {
    const s = new Scratch(four);
    s.run((b, p) => {
      const v = b.variable("v", b.i(7));
      b.loop("i", 3, 3, 1, (i) => v.set(i));
      b.loop("i", 3, -3, 1, (i) => v.set(i));
      b.op.istore(p, v.get(), at(0));
    });
    expect(s.i32(0)).toBe(7);
  });
  test.each([0, -1])("a step of %i is an error", (step) => {
    const s = new Scratch(four).setI32(0, [step]);
    expect(() => s.run((b, p) => b.loop("i", 0, 1, b.op.iload(p, at(0)), () => {}))).toThrow(`step ${step}`);
  });
  test("an index that overflows is an error", () => {
    const loop = (end: number, step: number) => () =>
      new Scratch(four).run((b) => b.loop("i", 0x7ffffffa, end, step, () => {}));
    expect(loop(0x7fffffff, 6)).toThrow("the index overflows");
    loop(0x7fffffff, 5)();
    loop(-1, 100)();
  });
  test("a variable keeps a value of its own", () => {
    const s = new Scratch(four);
    s.run((b, p) => {
      const x = b.variable("x", b.i(1));
      const y = b.variable("y", x.get());
      x.set(b.i(2));
      b.if(b.i(-5), () => y.set(b.op.iadd(y.get(), x.get())));
      b.if(
        b.i(0),
        () => x.set(b.i(99)),
        () => x.set(b.op.iadd(x.get(), b.i(40))),
      );
      b.op.istore(p, x.get(), at(0));
      b.op.istore(p, y.get(), at(4));
    });
    expect(s.i32s(0, 2)).toEqual([42, 3]);
  });
});

describe("teams", () => {
  test("every thread of a team runs, with its number", () => {
    const s = new Scratch(four);
    s.run((b, p) => b.op.istore(b.op.addr(p, b.thread, word(0)), b.op.iadd(b.threads, b.thread), at(0)), 3);
    expect(s.i32s(0, 4)).toEqual([3, 4, 5, 0xa5a5a5a5 | 0]);
  });
  test("reduce in two phases around a barrier", () => {
    const s = new Scratch(four).setI32(0, [10, 20, 30]);
    s.run((b, p) => {
      const mine = b.op.iload(b.op.addr(p, b.thread, word(0)), at(0));
      b.op.istore(b.op.addr(p, b.thread, word(16)), b.op.imul(mine, mine), at(0));
      b.op.barrier();
      b.if(b.op.ieq(b.thread, b.i(1)), () => {
        const sum = b.variable("sum", b.i(0));
        b.loop("t", 0, b.threads, 1, (t) => {
          sum.set(b.op.iadd(sum.get(), b.op.iload(b.op.addr(p, t, word(16)), at(0))));
        });
        b.op.istore(p, sum.get(), at(32));
      });
      b.op.barrier();
      b.op.istore(b.op.addr(p, b.thread, word(48)), b.op.iadd(b.op.iload(p, at(32)), b.thread), at(0));
    }, 3);
    expect(s.i32s(12, 15)).toEqual([1400, 1401, 1402]);
  });
  test("meet in a loop and in a branch, with variables of their own", () => {
    const s = new Scratch(four).setI32(0, [1, 1, 1]);
    const kernel = s.kernel((b, p) => {
      const next = b.op.irem(b.op.iadd(b.thread, b.i(1)), b.threads);
      b.loop("round", 0, 3, 1, () => {
        const seen = b.variable("seen", b.op.iload(b.op.addr(p, next, word(0)), at(0)));
        b.if(
          b.i(1),
          () => b.op.barrier(),
          () => {},
        );
        seen.set(b.op.iadd(seen.get(), b.thread));
        b.op.istore(b.op.addr(p, b.thread, word(0)), seen.get(), at(0));
        b.op.barrier();
      });
    });
    const interpreter = new Interpreter(kernel);
    interpreter.run(s.bytes.buffer, 0, 3);
    expect(s.i32s(0, 3)).toEqual([4, 4, 4]);
    s.setI32(0, [0, 0]);
    interpreter.run(s.bytes.buffer, 0, 2);
    expect(s.i32s(0, 2)).toEqual([1, 2]);
    interpreter.run(s.bytes.buffer, 0, 1);
    expect(s.i32(0)).toBe(1);
  });
  test("one thread passes a barrier", () => {
    const s = new Scratch(four);
    s.run((b, p) => {
      b.op.barrier();
      b.op.istore(p, b.i(1), at(0));
    });
    expect(s.i32(0)).toBe(1);
  });
  test("a barrier that some never reach is an error", () => {
    const some = () =>
      new Scratch(four).run((b) => b.if(b.op.ilt(b.thread, b.i(2)), () => b.op.barrier()), 3);
    expect(some).toThrow("kernel scratch: thread 2 is not at the barrier of thread 0");
  });
  test("different barriers are an error", () => {
    const apart = () =>
      new Scratch(four).run((b) => {
        b.if(
          b.thread,
          () => b.op.barrier(),
          () => b.op.barrier(),
        );
      }, 2);
    expect(apart).toThrow("thread 1 is not at the barrier of thread 0");
  });
  test("atomicadd gives every thread another ticket", () => {
    const s = new Scratch(four).setI32(0, [100]);
    s.run((b, p) => {
      b.loop("i", 0, 4, 1, () => {
        const ticket = b.op.isub(b.op.atomicadd(p, b.i(1), at(0)), b.i(99));
        b.op.istore(b.op.addr(p, ticket, word(0)), b.thread, at(0));
        b.op.barrier();
      });
    }, 3);
    expect(s.i32s(0, 13)).toEqual([112, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
  });
  test("a kernel runs on one memory after the other, shared ones too", () => {
    const s = new Scratch(four);
    const interpreter = new Interpreter(s.kernel((b, p) => b.op.istore(p, b.i(3), at(0))));
    for (const buffer of [new SharedArrayBuffer(64), new ArrayBuffer(32)]) {
      new DataView(buffer).setBigUint64(8, 24n, true);
      interpreter.run(buffer, 8, 1);
      expect(new DataView(buffer).getInt32(24, true)).toBe(3);
    }
  });
});
