import { describe, expect, test } from "vitest";
import { KernelBuilder } from "../../src/ir/builder.ts";
import type { Attributes, Kernel, Statement, Target, Value } from "../../src/ir/types.ts";
import { verify } from "../../src/ir/verify.ts";
import { eight, four } from "./targets.ts";

const at = { offset: 0 };

function kernel(write: (b: KernelBuilder, p: Value<"ptr">) => void, target: Target = four): Kernel {
  const b = new KernelBuilder(target);
  write(b, b.parameter("p", "ptr", ""));
  return b.build("k", []);
}

const check = (write: (b: KernelBuilder, p: Value<"ptr">) => void, target?: Target) => () =>
  verify(kernel(write, target));

type Of<K extends Statement["kind"]> = Extract<Statement, { kind: K }>;

/** The kernel with the last statement of that kind changed. */
function changed<K extends Statement["kind"]>(k: Kernel, kind: K, change: Partial<Of<K>>): () => void {
  const last = k.body.findLastIndex((s) => s.kind === kind);
  expect(last).toBeGreaterThanOrEqual(0);
  return () =>
    verify({ ...k, body: k.body.map((s, i) => (i === last ? ({ ...s, ...change } as Statement) : s)) });
}

describe("types", () => {
  const wrong = (value: Value) => value as never;
  test("of operands", () => {
    expect(check((b) => b.op.iadd(b.i(1), wrong(b.f(1))))).toThrow(
      /iadd i\d+, f\d+: operand 1 is f32, must be i32/,
    );
  });
  test("number of operands", () => {
    const k = kernel((b) => b.op.iadd(b.i(1), b.i(2)));
    const { operands } = k.body.at(-1) as Of<"op">;
    expect(changed(k, "op", { operands: operands.slice(1) })).toThrow("has 1 operands, must have 2");
    expect(changed(k, "op", { operands: operands.slice(1) })).toThrow("operand 1 is missing");
  });
  test("of results", () => {
    const k = kernel((b) => b.op.iadd(b.i(1), b.i(2)));
    expect(changed(k, "op", { result: { id: 99, type: "f32" } })).toThrow("results in f32, must be i32");
    const store = kernel((b, p) => b.op.istore(p, b.i(1), at));
    expect(changed(store, "op", { result: { id: 99, type: "i32" } })).toThrow("must be nothing");
    const { result: _, ...bare } = k.body.at(-1) as Of<"op">;
    expect(() => verify({ ...k, body: [...k.body.slice(0, -1), bare] })).toThrow("results in nothing");
  });
  test("of bounds and conditions", () => {
    expect(check((b) => b.loop("i", 0, wrong(b.f(1)), 1, () => {}))).toThrow("the end is f32, must be i32");
    expect(check((b) => b.if(wrong(b.f(1)), () => {}))).toThrow("the condition is f32, must be i32");
    const loop = kernel((b) => b.loop("i", 0, 1, 1, () => {}));
    expect(changed(loop, "loop", { index: { id: 99, type: "f32" } as never })).toThrow("the index is f32");
  });
  test("of variables", () => {
    expect(check((b) => b.variable("v", b.i(1)).set(wrong(b.f(1))))).toThrow("the value is f32, must be i32");
  });
  test("of parameters", () => {
    const k = kernel(() => {});
    const p = { name: "p", type: "i32", doc: "" } as const;
    expect(() => verify({ ...k, parameters: [p] })).toThrow("parameter p is i32, its value ptr");
    expect(() => verify({ ...k, parameters: [] })).toThrow("0 parameters, 1 parameter values");
    expect(() => verify({ ...k, thread: { id: 50, type: "f32" } as never })).toThrow("thread is f32");
    expect(check((b) => b.parameter("p", "ptr", ""))).toThrow("two parameters p");
  });
  test("no op of another list", () => {
    const k = kernel((b) => b.op.viota());
    expect(changed(k, "op", { op: "vnothing" as never })).toThrow("is not an op");
  });
});

describe("attributes", () => {
  const last = (write: (b: KernelBuilder, p: Value<"ptr">) => unknown, attributes: Attributes) =>
    changed(
      kernel((b, p) => void write(b, p)),
      "op",
      { attributes },
    );
  const field = (shift: number, mask: number) =>
    check((b, p) => b.op.vfield(b.op.vu8load(p, { offset: 0, bits: 8 }), { shift, mask }));
  test("are there, and no others", () => {
    expect(last((b, p) => b.op.vfload(p, at), {})).toThrow("lacks the attribute offset");
    expect(last((b, p) => b.op.vfload(p, at), { offset: 0, bits: 3 })).toThrow("has no attribute bits");
    expect(last((b, p) => b.op.vfload(p, at), { offset: [0] })).toThrow("attribute offset is [0]");
  });
  test("fields lie in a byte", () => {
    field(0, 255)();
    field(4, 15)();
    field(7, 1)();
    expect(field(5, 15)).toThrow("attribute mask is 15, must be 1 … 2^(8 − shift) − 1");
    expect(field(0, 256)).toThrow("attribute mask is 256");
    expect(field(0, 0)).toThrow("attribute mask is 0");
    expect(field(-1, 1)).toThrow("attribute shift is -1, must be 0 … 7");
    expect(field(8, 1)).toThrow("attribute shift is 8");
    expect(field(0.5, 1)).toThrow("attribute shift is 0.5");
  });
  test("offsets", () => {
    expect(check((b, p) => b.op.vfload(p, { offset: -1 }))).toThrow("attribute offset is -1");
    expect(check((b, p) => b.op.vfload(p, { offset: 2 ** 31 }))).toThrow("attribute offset is 2147483648");
    check((b, p) => b.op.addr(p, b.i(1), { stride: -4, offset: -1 }))();
    expect(check((b, p) => b.op.addr(p, b.i(1), { stride: 2 ** 31, offset: 0 }))).toThrow("attribute stride");
  });
  test("constants", () => {
    check((b) => b.i(-(2 ** 31)))();
    expect(check((b) => b.i(2 ** 31))).toThrow("attribute value is 2147483648");
    expect(check((b) => b.i(0.5))).toThrow("attribute value is 0.5");
    expect(check((b) => b.op.viconst({ value: 2 ** 32 }))).toThrow("attribute value");
    check((b) => b.f(Number.NEGATIVE_INFINITY))();
    expect(check((b) => b.f(Number.NaN))).toThrow("attribute value");
  });
  test("shift counts, byte indexes", () => {
    expect(check((b) => b.op.vishl(b.op.viota(), { count: 32 }))).toThrow("attribute count is 32");
    const bytes = (index: number) =>
      check((b, p) => b.op.vbyteof(b.op.vu8load(p, { offset: 0, bits: 8 }), { index }));
    expect(bytes(4)).toThrow("attribute index is 4, must be 0 … 3");
  });
  test.each([[[0, 1, 2]], [[0, 1, 2, 4]], [[0, 1, 2, -1]], [[0, 1, 2, 3, 0]], [[0, 1, 2, 0.5]]])(
    "lanes %j",
    (lanes) => {
      const permute = check((b) => b.op.vfpermute(b.op.vfconst({ value: 0 }), { lanes }));
      expect(permute).toThrow("a lane number for each lane");
    },
  );
});

describe("ranges of codes", () => {
  test("a vu8 has bits, as its op says", () => {
    const k = kernel((b, p) => b.op.vu8load(p, { offset: 0, bits: 4 }));
    expect(changed(k, "op", { result: { id: 99, type: "vu8" } })).toThrow("a vu8 of undefined bits");
    expect(changed(k, "op", { result: { id: 99, type: "vu8", bits: 3 } })).toThrow("the result has 3 bits");
    const i = kernel((b) => b.i(1));
    expect(changed(i, "op", { result: { id: 99, type: "i32", bits: 3 } })).toThrow("a i32 with bits");
  });
  test("a use claims what the definition gives", () => {
    const claim = check((b, p) => {
      const codes = b.op.vu8load(p, { offset: 0, bits: 8 });
      b.op.vu8store(p, { ...codes, bits: 4 }, at);
    });
    expect(claim).toThrow("operand 1 is vu8 of 4 bits, but was defined as vu8 of 8 bits");
  });
  test("a variable takes what fits", () => {
    const set = (bits: number) =>
      check((b, p) => {
        b.variable("v", b.op.vu8load(p, { offset: 0, bits: 4 })).set(b.op.vu8load(p, { offset: 0, bits }));
      });
    set(4)();
    set(2)();
    expect(set(5)).toThrow("the value is vu8 of 5 bits, the variable vu8 of 4 bits");
  });
  test("dot takes 7 bits", () => {
    const k = kernel((b, p) => {
      const w = b.op.vu8load(p, { offset: 0, bits: 8 });
      b.dot(b.op.viconst({ value: 0 }), [w], [b.op.vbroadcast4(p, at)]);
    });
    verify(k);
    expect(changed(k, "dot", { op: "dot" })).toThrow("weights of 8 bits need dot8");
    const { weight, activation } = k.body.find((s) => s.kind === "dot") as Of<"dot">;
    expect(changed(k, "dot", { activation: weight as never })).toThrow("the activation is vu8, must be vi8");
    expect(changed(k, "dot", { weight: activation as never })).toThrow("the weight is vi8, must be vu8");
    expect(changed(k, "dot", { sum: weight as never })).toThrow("the accumulator is vu8");
  });
  describe("chains of dots", () => {
    const links = (target: Target, n: number, bits: number) => {
      const b = new KernelBuilder(target);
      const p = b.parameter("p", "ptr", "");
      const w = b.op.vu8load(p, { offset: 0, bits });
      const x = b.op.vbroadcast4(p, at);
      const chain = b.chain(bits, () => b.op.viconst({ value: 0 }));
      for (let i = 0; i < n; i++) chain.add(w, x);
      chain.close();
      return b.build("links", []);
    };
    const dots = (k: Kernel) => k.body.filter((s): s is Of<"dot"> => s.kind === "dot");
    const closes = (k: Kernel) => k.body.filter((s) => s.kind === "close");

    test("start from the accumulator where the target adds in place, else end with it", () => {
      for (const target of [four, eight]) verify(links(target, 3, 4));
      expect(changed(links(four, 1, 4), "dot", { sum: undefined as never })).toThrow("has no accumulator");
      expect(
        changed(links(four, 1, 4), "close", { accumulator: dots(links(four, 1, 4))[0]?.sum as never }),
      ).toThrow("the accumulator is added twice");
      expect(changed(links(eight, 1, 4), "close", { accumulator: undefined as never })).toThrow(
        "the accumulator is missing",
      );
    });
    test("are closed before sums in 16 bits overflow", () => {
      expect(closes(links(eight, 8, 4))).toHaveLength(1);
      expect(closes(links(eight, 9, 4))).toHaveLength(2);
      expect(closes(links(eight, 9, 7))).toHaveLength(9);
      expect(closes(links(four, 99, 7))).toHaveLength(1);
      const nine = links(eight, 9, 3);
      const [codes] = nine.body.flatMap((s) =>
        s.kind === "op" && s.result?.type === "vu8" ? [s.result] : [],
      );
      (codes as { bits: number }).bits = 4;
      expect(() => verify(nine)).toThrow("9 links with codes of 4 bits");
    });
    test("are joined where both fit", () => {
      const joined = (target: Target, n: number, shift = 2) => {
        const b = new KernelBuilder(target);
        const p = b.parameter("p", "ptr", "");
        const x = b.op.vbroadcast4(p, at);
        const chain = b.chain(2, () => b.op.viconst({ value: 0 }));
        for (let i = 0; i < n; i++)
          for (const up of [0, shift]) chain.add(b.op.vu8load(p, { offset: 0, bits: 2 + up }), x, up);
        chain.close();
        return b.build("joined", []);
      };
      for (const target of [four, eight]) verify(joined(target, 21));
      expect(() => joined(eight, 22)).toThrow("joined sums do not fit");
      const unshifted = joined(eight, 8);
      const isJoin = (s: Statement) => s.kind === "op" && s.op === "vsumjoin";
      const body = unshifted.body.map((s) => (isJoin(s) ? { ...s, attributes: { shift: 0 } } : s));
      expect(() => verify({ ...unshifted, body: body as Statement[] })).toThrow(
        "16 joined links with codes of 4 bits",
      );
    });
    test("use every sum once, in the block that opened the chain", () => {
      const k = links(four, 2, 4);
      const [first] = dots(k);
      expect(changed(k, "close", { sum: first?.result as never })).toThrow("not that of an open chain");
      const b = new KernelBuilder(four);
      const p = b.parameter("p", "ptr", "");
      const chain = b.chain(4, () => b.op.viconst({ value: 0 }));
      chain.add(b.op.vu8load(p, { offset: 0, bits: 4 }), b.op.vbroadcast4(p, at));
      b.loop("i", 0, 2, 1, () => chain.close());
      expect(() => verify(b.build("nested", []))).toThrow("opened in another block");
    });
  });
  test("vlookup takes a table that has all that the codes may be", () => {
    const lookup = (bits: number, table: readonly number[]) =>
      check((b, p) => b.op.vlookup(b.op.vu8load(p, { offset: 0, bits }), { table }));
    const bytes = Array.from({ length: 16 }, (_, i) => i);
    lookup(4, bytes)();
    lookup(1, [3, 255])();
    expect(lookup(5, bytes)).toThrow("the index may be 16 or more");
    expect(lookup(4, bytes.slice(1))).toThrow("the index may be 15 or more");
    expect(lookup(1, [0, 256])).toThrow("attribute table is [0,256], must be at most 16 bytes");
    expect(lookup(4, [...bytes, 16])).toThrow("must be at most 16 bytes");
  });
  test("vu8lookup takes codes of 4 bits", () => {
    const lookup = (bits: number) =>
      check((b, p) => b.op.vu8lookup(b.op.vu8table(p, at), b.op.vu8load(p, { offset: 0, bits })));
    lookup(4)();
    expect(lookup(5)).toThrow("the index may be 16 or more");
  });
  test("constant operands", () => {
    expect(check((b) => b.op.ishl(b.i(1), b.i(32)))).toThrow("operand 1 is 32");
    expect(check((b) => b.op.idiv(b.i(1), b.i(0)))).toThrow("operand 1 is 0");
    expect(check((b, p) => b.op.vfloadn(p, b.i(5), at))).toThrow("operand 1 is 5");
    expect(check((b, p) => b.op.addrv(p, b.i(5), b.i(-1)))).toThrow("operand 2 is -1");
    expect(check((b) => b.loop("i", 0, 1, 0, () => {}))).toThrow("the step is 0");
  });
});

describe("definitions", () => {
  const hidden = (nest: (b: KernelBuilder, body: () => void) => void) =>
    check((b, p) => {
      let inner = b.thread;
      nest(b, () => {
        inner = b.op.iadd(b.thread, b.threads);
      });
      b.op.istore(p, inner, at);
    });
  test("come before uses", () => {
    const k = kernel((b, p) => b.op.istore(p, b.i(1), at));
    expect(() => verify({ ...k, body: k.body.toReversed() })).toThrow(
      /operand 1 .* is used before its definition/,
    );
  });
  test("are visible in their block only", () => {
    expect(hidden((b, body) => b.loop("i", 0, 1, 1, body))).toThrow("is out of scope");
    expect(hidden((b, body) => b.if(b.i(1), body))).toThrow("is out of scope");
    expect(hidden((b, body) => b.if(b.i(1), () => {}, body))).toThrow("is out of scope");
    hidden((_, body) => body())();
  });
  test("of one branch are not visible in the other", () => {
    const both = check((b, p) => {
      let inner = b.thread;
      b.if(
        b.i(1),
        () => {
          inner = b.op.iadd(b.thread, b.threads);
        },
        () => b.op.istore(p, inner, at),
      );
    });
    expect(both).toThrow("is out of scope");
  });
  test("an index is visible in its loop", () => {
    const index = check((b, p) => {
      let last = b.thread;
      b.loop("i", 0, 1, 1, (i) => {
        last = i;
      });
      b.op.istore(p, last, at);
    });
    expect(index).toThrow("is out of scope");
  });
  test("variables are visible in their block only", () => {
    const scope = (assign: boolean) =>
      check((b, p) => {
        let cell = b.variable("outer", b.i(0));
        b.loop("i", 0, 1, 1, () => {
          cell = b.variable("inner", b.i(0));
        });
        if (assign) cell.set(b.i(1));
        else b.op.istore(p, cell.get(), at);
      });
    expect(scope(true)).toThrow("inner is not in scope");
    expect(scope(false)).toThrow(/inner, id \d+\) is out of scope/);
  });
  test("are single", () => {
    const k = kernel((b) => b.i(1));
    expect(() => verify({ ...k, body: [...k.body, ...k.body] })).toThrow("is defined twice");
    expect(() => verify({ ...k, parameterValues: [k.thread as never] })).toThrow("is defined twice");
  });
});

describe("stale reads of a variable", () => {
  const STALE = "is a value of v, which was assigned since";
  /** A variable `v`, and a use of any value. */
  const reads = (
    write: (b: KernelBuilder, v: ReturnType<typeof cell>, use: (value: Value<"i32">) => void) => void,
  ) => check((b, p) => write(b, cell(b), (value) => b.op.istore(p, value, at)));
  const cell = (b: KernelBuilder) => b.variable("v", b.i(1));

  test("after an assignment", () => {
    const order = (stale: boolean) =>
      reads((b, v, use) => {
        const early = v.get();
        v.set(b.op.iadd(early, b.i(1)));
        use(stale ? early : v.get());
      });
    order(false)();
    expect(order(true)).toThrow(STALE);
  });
  test("after an assignment in a nested block", () => {
    const nested = (nest: (b: KernelBuilder, body: () => void) => void) =>
      reads((b, v, use) => {
        const early = v.get();
        nest(b, () => v.set(b.i(2)));
        use(early);
      });
    expect(nested((b, body) => b.loop("i", 0, 1, 1, body))).toThrow(STALE);
    expect(nested((b, body) => b.if(b.i(1), body))).toThrow(STALE);
    expect(nested((b, body) => b.if(b.i(1), () => {}, body))).toThrow(STALE);
    expect(nested((b, body) => b.loop("i", 0, 1, 1, () => b.if(b.i(1), body)))).toThrow(STALE);
  });
  test("before the assignment of a loop's body, in the next trip", () => {
    const loop = (fresh: boolean) =>
      reads((b, v, use) => {
        const early = v.get();
        b.loop("i", 0, 2, 1, (i) => {
          use(fresh ? v.get() : early);
          v.set(i);
        });
      });
    loop(true)();
    expect(loop(false)).toThrow(STALE);
  });
  test("in an inner loop that assigns", () => {
    const inner = reads((b, v, use) => {
      b.loop("i", 0, 2, 1, () => {
        const early = v.get();
        b.loop("j", 0, 2, 1, (j) => {
          use(early);
          v.set(j);
        });
      });
    });
    expect(inner).toThrow(STALE);
  });
  test("not in the branch that does not assign", () => {
    const branch = (after: boolean) =>
      reads((b, v, use) => {
        const early = v.get();
        b.if(
          b.i(1),
          () => v.set(b.i(2)),
          () => use(early),
        );
        if (after) use(early);
      });
    branch(false)();
    expect(branch(true)).toThrow(STALE);
  });
  test("not as a bound of the loop that assigns, nor of another variable", () => {
    reads((b, v, use) => {
      const other = b.variable("w", b.i(3));
      const early = v.get();
      other.set(b.i(4));
      b.loop("i", 0, early, 1, (i) => v.set(b.op.iadd(v.get(), i)));
      use(v.get());
    })();
  });
  test("in an assignment, a bound and a condition", () => {
    const late = (write: (b: KernelBuilder, early: Value<"i32">) => void) =>
      reads((b, v) => {
        const early = v.get();
        v.set(b.i(2));
        write(b, early);
      });
    expect(late((b, early) => b.variable("w", early))).toThrow(STALE);
    expect(late((b, early) => b.variable("w", b.i(1)).set(early))).toThrow(STALE);
    expect(late((b, early) => b.loop("i", 0, early, 1, () => {}))).toThrow(STALE);
    expect(late((b, early) => b.if(early, () => {}))).toThrow(STALE);
  });
});

describe("the report", () => {
  test("lists the problems with their statements, up to a limit", () => {
    const many = check((b, p) => {
      for (let n = 0; n < 25; n++) b.op.vfload(p, { offset: -1 - n });
    });
    expect(many).toThrow(
      /^internal error: kernel k:\n {2}vf\d+: vf32 = vfload p, offset=-1: attribute offset is -1/,
    );
    expect(many).toThrow(/offset=-20: .*\n {2}and 5 more$/);
  });
  test("says when a target is none", () => {
    expect(check(() => {}, { ...four, lanes: 6 })).toThrow("a register of 6 lanes");
    expect(check(() => {}, { ...four, dotByte: (lane) => lane })).toThrow("dotByte");
  });
});
