import { expect, test } from "vitest";
import { KernelBuilder } from "../../src/ir/builder.ts";
import { printKernel, printStatement } from "../../src/ir/print.ts";
import { four } from "./targets.ts";

test("a kernel as text", () => {
  const b = new KernelBuilder(four);
  const at = (offset: number) => ({ offset });
  const x = b.parameter("x", "ptr", "codes and activations");
  const n = b.parameter("n", "i32", "chunks");
  const sum = b.variable("sum", b.op.viconst({ value: 0 }));
  b.loop("chunk", b.thread, n, b.threads, (i) => {
    b.comment("two nibbles to a byte");
    const p = b.op.addr(x, i, { stride: 20, offset: 0 });
    const codes = b.op.vu8load(p, { offset: 0, bits: 8 });
    const low = b.op.vfield(codes, { shift: 0, mask: 15 });
    const high = b.named("high", b.op.vfield(codes, { shift: 4, mask: 15 }));
    const activation = b.op.vbroadcast4(p, at(16));
    sum.set(b.dot(sum.get(), [low, high], [activation, activation]));
  });
  const total = b.named("sum", b.op.visum(sum.get()));
  b.if(
    b.op.ilt(total, b.i(0)),
    () => b.op.fstore(x, b.f(-0), at(4)),
    () => b.op.vfstore(x, b.op.vfpermute(b.op.vfload(x, at(0)), { lanes: [3, 2, 1, 0] }), at(0)),
  );
  b.if(n, () => b.op.barrier());
  const kernel = b.build("example", ["Σ codes · activations", ""]);
  expect(printKernel(kernel)).toBe(`// Σ codes · activations
//
kernel example(x: ptr, n: i32) for four, L = 4 {
  // x: codes and activations
  // n: chunks
  vi0: vi32 = viconst value=0
  var sum: vi32 = vi0
  loop chunk = thread … n step threads {
    // two nibbles to a byte
    p0: ptr = addr x, chunk, stride=20, offset=0
    w0: u8 = vu8load p0, offset=0, bits=8
    w1: u4 = vfield w0, shift=0, mask=15
    high: u4 = vfield w0, shift=4, mask=15
    x0: vi8 = vbroadcast4 p0, offset=16
    s0: vsum = dot sum + w1 · x0
    s1: vsum = dot s0 + high · x0
    vi1: vi32 = close dot s1
    sum ← vi1
  }
  sum2: i32 = visum sum
  i0: i32 = ilt sum2, 0
  if i0 {
    fstore x, -0, offset=4
  } else {
    vf0: vf32 = vfload x, offset=0
    vf1: vf32 = vfpermute vf0, lanes=[3 2 1 0]
    vfstore x, vf1, offset=0
  }
  if n {
    barrier
  }
}
`);
});

test("a statement on its own", () => {
  const b = new KernelBuilder(four);
  const v = b.variable("v", b.i(1));
  b.loop("i", 0, v.get(), 2, () => b.comment("inside"));
  b.op.iadd(v.get(), b.threads);
  const { body } = b.build("k", []);
  const texts = body.map(printStatement);
  expect(texts.filter((text) => !text.includes("iconst"))).toEqual([
    expect.stringMatching(/^var v: i32 = i\d+$/),
    expect.stringMatching(/^loop i = i\d+ … v step i\d+ \{$/),
    expect.stringMatching(/^i\d+: i32 = iadd v, threads$/),
  ]);
});
