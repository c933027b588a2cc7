import { describe, expect, test } from "vitest";
import { KernelBuilder } from "../../src/ir/builder.ts";
import { verify } from "../../src/ir/verify.ts";
import { four } from "./targets.ts";

describe("the builder's types", () => {
  // Never run: the compiler checks that every marked line is an error.
  const wrong = (b: KernelBuilder) => {
    const p = b.parameter("p", "ptr", "");
    const [i, v] = [b.i(1), b.op.viota()];
    // @ts-expect-error an f32 for an i32
    b.op.iadd(i, b.f(1));
    // @ts-expect-error a vector for a scalar
    b.op.iadd(i, v);
    // @ts-expect-error an operand too few
    b.op.iadd(i);
    // @ts-expect-error no attributes
    b.op.vfload(p);
    // @ts-expect-error an attribute too few
    b.op.vfield(b.op.vu8load(p, { offset: 0, bits: 8 }), { shift: 1 });
    // @ts-expect-error an attribute too many
    b.op.vfload(p, { offset: 0, bits: 8 });
    // @ts-expect-error a number for a lane list
    b.op.vfpermute(b.op.vfload(p, { offset: 0 }), { lanes: 3 });
    // @ts-expect-error activations for weights
    b.dot(v, [b.op.vbroadcast4(p, { offset: 0 })], [b.op.vbroadcast4(p, { offset: 0 })]);
    // @ts-expect-error an f32 into an i32 variable
    b.variable("x", i).set(b.f(1));
    // @ts-expect-error no such op
    b.op.vnothing(v);
  };
  test("are checked by the compiler", () => expect(wrong).toBeTypeOf("function"));
});

describe("the builder", () => {
  test("gives every value an id, a type and its range", () => {
    const b = new KernelBuilder(four);
    const p = b.parameter("p", "ptr", "memory");
    const codes = b.op.vu8load(p, { offset: 0, bits: 6 });
    const low = b.op.vfield(codes, { shift: 2, mask: 0b1110 });
    expect([codes.type, codes.bits, low.bits, b.op.vu8mean(codes, low).bits]).toEqual(["vu8", 6, 4, 6]);
    expect("bits" in b.op.viota()).toBe(false);
    const kernel = b.build("ids", ["doc"]);
    expect(kernel.parameters).toEqual([{ name: "p", type: "ptr", doc: "memory" }]);
    expect(kernel.parameterValues).toEqual([p]);
    verify(kernel);
  });
  test("picks dot by the range of the codes", () => {
    const b = new KernelBuilder(four);
    const p = b.parameter("p", "ptr", "");
    const at = (bits: number) => b.op.vu8load(p, { offset: 0, bits });
    const x = b.op.vbroadcast4(p, { offset: 0 });
    const zero = b.op.viconst({ value: 0 });
    b.dot(zero, [at(7)], [x]);
    b.dot(zero, [at(7), at(8)], [x, x]);
    const negated = b.chain(8, () => zero, "sum", "dot8n");
    negated.add(at(8), x);
    negated.close();
    const kernel = b.build("dots", []);
    expect(kernel.body.flatMap((s) => (s.kind === "dot" ? [s.op] : []))).toEqual([
      "dot",
      "dot8",
      "dot8",
      "dot8n",
    ]);
    verify(kernel);
    expect(() => b.dot(zero, [at(7)], [])).toThrow("chains of different length");
  });
  test("nests blocks", () => {
    const b = new KernelBuilder(four);
    b.loop("i", 0, 4, 1, (i) => {
      b.if(
        i,
        () => b.comment("yes"),
        () => b.comment("no"),
      );
    });
    const kernel = b.build("nested", []);
    const loop = kernel.body.at(-1);
    expect(loop?.kind === "loop" && loop.body.at(-1)).toMatchObject({
      kind: "if",
      body: [{ kind: "comment", text: "yes" }],
      otherwise: [{ kind: "comment", text: "no" }],
    });
    verify(kernel);
  });
});
