import { describe, expect, test } from "vitest";
import { f16ToF32 } from "../../src/base/float16.ts";
import { Interpreter } from "../../src/ir/interp.ts";
import { floatOf } from "./corner-values.ts";
import { Scratch } from "./run-case.ts";
import { eight, four, fourSplit, targets } from "./targets.ts";

const at = (offset: number) => ({ offset });
/** What an untouched word of the scratch memory holds. */
const POISON = 0xa5a5a5a5 | 0;

describe("scalar loads and stores", () => {
  test("zero-extend, truncate, need no alignment", () => {
    const s = new Scratch(four, 129).setBytes(0, [0xff, 0x80, 0x01, 0xfe, 0xff]);
    s.run((b, p) => {
      b.op.istore(p, b.op.u8load(p, at(0)), at(16));
      b.op.istore(p, b.op.u16load(p, at(1)), at(20));
      b.op.istore(p, b.op.iload(p, at(1)), at(24));
      b.op.u8store(p, b.i(0x12345678), at(33));
      b.op.u16store(p, b.i(-2), at(35));
    });
    expect(s.i32s(4, 8)).toEqual([255, 0x180, 0xfffe0180 | 0, POISON]);
    expect([...s.bytes.slice(129 + 32, 129 + 40)]).toEqual([0xa5, 0x78, 0xa5, 0xfe, 0xff, 0xa5, 0xa5, 0xa5]);
  });
  test("keep the payload of a NaN", () => {
    const s = new Scratch(four).setI32(0, [0x7fa12345, -1, 1, 2]);
    s.run((b, p) => {
      b.op.fstore(p, b.op.fselect(b.i(1), b.op.fload(p, at(0)), b.f(0)), at(16));
      b.op.vfstore(p, b.op.vfload(p, at(0)), at(20));
    });
    expect(s.i32s(4, 9)).toEqual([0x7fa12345, 0x7fa12345, -1, 1, 2]);
  });
});

describe("masked loads and stores", () => {
  test.each([0, 1, 2, 3, 4])("%i lanes", (n) => {
    const s = new Scratch(four, 131).setF32(0, [1, 2, 3, 4]);
    s.run((b, p) => {
      b.op.vfstore(p, b.op.vfloadn(p, b.i(n), at(0)), at(32));
      b.op.vfstoren(p, b.i(n), b.op.vfload(p, at(0)), at(64));
    });
    expect(s.f32s(8, 12)).toEqual([1, 2, 3, 4].map((v, i) => (i < n ? v : 0)));
    expect(s.f32s(16, 16 + n)).toEqual([1, 2, 3, 4].slice(0, n));
    expect(s.i32s(16 + n, 21)).toEqual(Array(5 - n).fill(POISON));
  });
  test("reach only their lanes at the end of the memory", () => {
    const s = new Scratch(four, 1024 - 8).setF32(0, [1, 2]);
    s.run((b, p) => b.op.vfstoren(p, b.i(2), b.op.vfloadn(p, b.i(2), at(0)), at(0)));
    s.run((b, p) => b.op.vfstoren(p, b.i(0), b.op.vfloadn(p, b.i(0), at(5000)), at(5000)));
    expect(() => s.run((b, p) => void b.op.vfloadn(p, b.i(3), at(0)))).toThrow(
      /12 bytes at 1016 are outside/,
    );
    expect(() => s.run((b, p) => b.op.vfstoren(p, b.i(3), b.op.vfconst({ value: 0 }), at(0)))).toThrow(
      /12 bytes at 1016 are outside/,
    );
  });
  test.each([-1, 5])("do not have %i lanes", (n) => {
    const s = new Scratch(four).setI32(0, [n]);
    const load = () => s.run((b, p) => void b.op.vfloadn(p, b.op.iload(p, at(0)), at(0)));
    expect(load).toThrow(`${n} lanes of 4`);
  });
});

describe("16-bit floats", () => {
  test("binary16: subnormals, infinities, zeros", () => {
    const halves = [0x0001, 0x8001, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0x8000, 0x3c01];
    const s = new Scratch(eight, 129).setBytes(
      0,
      halves.flatMap((h) => [h & 255, h >> 8]),
    );
    s.run((b, p) => {
      const values = b.op.vhload(p, at(0));
      b.op.vfstore(p, values, at(16));
      b.op.vhstore(p, values, at(48));
    });
    const expected = [2 ** -24, -(2 ** -24), 1023 * 2 ** -24, 2 ** -14, 65504, Number.POSITIVE_INFINITY, -0];
    expect(s.f32s(4, 12)).toEqual([...expected, 1 + 2 ** -10]);
    expect(s.i32s(12, 16)).toEqual(s.i32s(0, 4));
    expect(s.i32(16)).toBe(POISON);
  });
  test("binary16 rounds to nearest even", () => {
    const s = new Scratch(four).setF32(0, [1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 65520]);
    s.run((b, p) => b.op.vhstore(p, b.op.vfload(p, at(0)), at(16)));
    const stored = [0, 1, 2, 3].map((i) => f16ToF32(s.view.getUint16(s.at + 16 + 2 * i, true)));
    expect(stored).toEqual([1, 1 + 2 ** -9, 0, Number.POSITIVE_INFINITY]);
    expect(s.i32(6)).toBe(POISON);
  });
  test("bfloat16", () => {
    const s = new Scratch(four).setBytes(0, [0x80, 0x3f, 0x01, 0x00, 0x80, 0xff, 0x00, 0x80]);
    s.run((b, p) => b.op.vfstore(p, b.op.vbfload(p, at(0)), at(16)));
    expect(s.f32s(4, 8)).toEqual([1, floatOf(0x00010000), Number.NEGATIVE_INFINITY, -0]);
  });
});

describe("lanes of bytes and words", () => {
  test("vu8loadlanes", () => {
    const s = new Scratch(four).setBytes(0, [0, 1, 127, 255, 128]);
    s.run((b, p) => {
      b.op.vistore(p, b.op.vu8loadlanes(p, at(0)), at(32));
    });
    expect(s.i32s(8, 12)).toEqual([0, 1, 127, 255]);
  });
  test("vi8loadlanes", () => {
    const s = new Scratch(four).setBytes(1, [0, 127, 128, 255]);
    s.run((b, p) => b.op.vistore(p, b.op.vi8loadlanes(p, at(1)), at(16)));
    expect(s.i32s(4, 8)).toEqual([0, 127, -128, -1]);
  });
  test("vi8loadpairs", () => {
    const s = new Scratch(four).setBytes(1, [0, 1, 127, 255, 128, 128, 255, 127]);
    s.run((b, p) => b.op.vistore(p, b.op.vi8loadpairs(p, at(1)), at(16)));
    expect(s.i32s(4, 8)).toEqual([0x00010000, 0xffff007f | 0, 0xff80ff80 | 0, 0x007fffff]);
  });
  test("vu8loadpairs", () => {
    const s = new Scratch(four).setBytes(1, [0, 1, 127, 255, 0x5a, 128, 255, 127]);
    s.run((b, p) => b.op.vistore(p, b.op.vu8loadpairs(p, { offset: 1, shift: 4, mask: 15 }), at(16)));
    expect(s.i32s(4, 8)).toEqual([0, 0x000f0007, 0x00080005, 0x0007000f]);
  });
  test("vi8storelanes, vu16storelanes", () => {
    const s = new Scratch(four, 129).setI32(16, [-128, 127, -1, 0]);
    s.run((b, p) => {
      b.op.vi8storelanes(p, b.op.viload(p, at(16)), at(48));
      b.op.vu16storelanes(p, b.op.viload(p, at(16)), at(56));
    });
    expect([...s.bytes.slice(129 + 48, 129 + 53)]).toEqual([128, 127, 255, 0, 0xa5]);
    expect(s.i32s(14, 17)).toEqual([0x007fff80, 0x0000ffff, POISON]);
  });
  test.each([-129, 128])("vi8storelanes does not take %i", (value) => {
    const s = new Scratch(four).setI32(0, [0, value, 0, 0]);
    expect(() => s.run((b, p) => b.op.vi8storelanes(p, b.op.viload(p, at(0)), at(16)))).toThrow(
      `lane 1 holds ${value}`,
    );
  });
  test("vigather", () => {
    const s = new Scratch(four).setI32(0, [17, 16, 0, 17]).setBytes(16, [1, 2, 3, 4, 5]);
    s.run((b, p) => b.op.vistore(p, b.op.vigather(p, b.op.viload(p, at(0))), at(32)));
    expect(s.i32s(8, 12)).toEqual([0x05040302, 0x04030201, 17, 0x05040302]);
    const gather = (offset: number) =>
      new Scratch(four)
        .setI32(0, [0, offset, 0, 0])
        .run((b, p) => void b.op.vigather(p, b.op.viload(p, at(0))));
    expect(() => gather(-4)).toThrow("lane 1 has offset -4");
    expect(() => gather(1024 - 128 - 3)).toThrow(/outside the memory/);
  });
});

describe("codes", () => {
  test("vfield keeps bits of every byte", () => {
    const s = new Scratch(four).setBytes(0, [0b10110100, 0xff, 0x00, 0x81]);
    s.run((b, p) => {
      const a = b.op.vu8load(p, { offset: 0, bits: 8 });
      b.op.vu8store(p, b.op.vfield(a, { shift: 2, mask: 0b111 }), at(16));
      b.op.vu8store(p, b.op.vfield(a, { shift: 7, mask: 1 }), at(32));
      b.op.vu8store(p, b.op.vfield(a, { shift: 0, mask: 255 }), at(48));
      b.op.vu8store(p, b.op.vfield(a, { shift: 1, mask: 0b01000100 }), at(64));
    });
    const four4 = (offset: number) => [...s.bytes.slice(s.at + offset, s.at + offset + 4)];
    expect(four4(16)).toEqual([0b101, 0b111, 0, 0]);
    expect(four4(32)).toEqual([1, 1, 0, 1]);
    expect(four4(48)).toEqual([0b10110100, 0xff, 0, 0x81]);
    expect(four4(64)).toEqual([0x40, 0x44, 0, 0x40]);
  });
  test.each(targets)("vbyteof and vbytes obey dotByte on $name", (target) => {
    const size = 4 * target.lanes;
    const s = new Scratch(target).setBytes(
      0,
      Array.from({ length: size }, (_, i) => i),
    );
    s.run((b, p) => {
      const bytes = b.op.vu8load(p, { offset: 0, bits: 8 });
      b.op.vistore(p, b.op.vbyteof(bytes, { index: 2 }), at(size));
      b.op.vu8store(p, b.op.vbytes(b.op.viload(p, at(0)), { bits: 8 }), at(2 * size));
    });
    for (let lane = 0; lane < target.lanes; lane++) {
      expect(s.i32(target.lanes + lane)).toBe(target.dotByte(lane, 2));
      for (let i = 0; i < 4; i++)
        expect(s.bytes[s.at + 2 * size + target.dotByte(lane, i)]).toBe(4 * lane + i);
    }
  });
  test("vlookup picks from a table", () => {
    const table = Array.from({ length: 16 }, (_, i) => 200 + i);
    const indexes = Array.from({ length: 32 }, (_, i) => (3 * i) % 16);
    const s = new Scratch(eight).setBytes(16, indexes);
    s.run((b, p) => {
      b.op.vu8store(p, b.op.vlookup(b.op.vu8load(p, { offset: 16, bits: 4 }), { table }), at(128));
    });
    expect([...s.bytes.slice(s.at + 128, s.at + 160)]).toEqual(indexes.map((i) => 200 + i));
  });
  test("vu8lookup picks from 16 bytes in memory, by indexes below 16", () => {
    const s = new Scratch(four).setBytes(0, [15, 0, 7, 7, ...Array(12).fill(0)]);
    s.setBytes(
      48,
      Array.from({ length: 16 }, (_, i) => 9 * i),
    );
    s.run((b, p) =>
      b.op.vu8store(
        p,
        b.op.vu8lookup(b.op.vu8table(p, at(48)), b.op.vu8load(p, { offset: 0, bits: 4 })),
        at(32),
      ),
    );
    expect([...s.bytes.slice(s.at + 32, s.at + 36)]).toEqual([135, 0, 63, 63]);
  });
  test("vu8add wraps, and vbytejoin takes the second byte as signed", () => {
    const s = new Scratch(four).setBytes(0, [200, 255, 3, 4]).setBytes(16, [100, 128, 0, 127]);
    s.run((b, p) => {
      const [low, high] = [0, 16].map((offset) => b.op.vu8load(p, { offset, bits: 8 }));
      b.op.vu8store(p, b.op.vu8add(low!, high!), at(32));
      for (const index of [0, 1, 2, 3])
        b.op.vistore(p, b.op.vbytejoin(low!, high!, { index, shift: 5 }), at(48 + 16 * index));
    });
    expect([...s.bytes.slice(s.at + 32, s.at + 36)]).toEqual([44, 127, 3, 131]);
    expect([12, 16, 20, 24].map((word) => s.i32(word))).toEqual([3400, -3841, 3, 4068]);
  });
  test("vu8mean rounds up", () => {
    const s = new Scratch(four).setBytes(0, [1, 2, 255, 255]).setBytes(16, [2, 4, 255, 0]);
    s.run((b, p) => {
      const [low, high] = [0, 16].map((offset) => b.op.vu8load(p, { offset, bits: 8 }));
      b.op.vu8store(p, b.op.vu8mean(low!, high!), at(32));
    });
    expect([...s.bytes.slice(s.at + 32, s.at + 36)]).toEqual([2, 3, 255, 128]);
  });
  test("vu8flip changes the top bit", () => {
    const s = new Scratch(four).setBytes(0, [0, 127, 128, 255]);
    s.run((b, p) => b.op.vu8store(p, b.op.vu8flip(b.op.vu8load(p, { offset: 0, bits: 8 })), at(32)));
    expect([...s.bytes.slice(s.at + 32, s.at + 36)]).toEqual([128, 255, 0, 127]);
  });
  test("stay below 2^bits", () => {
    const s = new Scratch(four).setBytes(0, Array(16).fill(7)).setBytes(9, [8]);
    s.run((b, p) => void b.op.vu8load(p, { offset: 0, bits: 4 }));
    expect(() => s.run((b, p) => void b.op.vu8load(p, { offset: 0, bits: 3 }))).toThrow(
      /a code at 128 needs more than 3 bits/,
    );
    const bytes = (bits: number) =>
      s.run((b, p) => void b.op.vbytes(b.op.viload(p, { offset: 0 }), { bits }));
    bytes(4);
    expect(() => bytes(3)).toThrow(/a byte of lane 2 needs more than 3 bits/);
  });
});

describe("dot", () => {
  const weights = Array.from({ length: 16 }, (_, i) => i);
  const x = [1, -10, 100, -127];
  test.each([four, fourSplit])("feeds the bytes that $name says", (target) => {
    const s = new Scratch(target).setBytes(0, weights).setBytes(16, x).setI32(32, [5, 6, 7, 0x7fffffff]);
    s.run((b, p) => {
      const w = b.op.vu8load(p, { offset: 0, bits: 4 });
      const four = b.op.vbroadcast4(p, at(16));
      const once = b.dot(b.op.viload(p, at(32)), [w], [four]);
      b.op.vistore(p, once, at(48));
      b.op.vistore(p, b.dot(once, [w, w, w], [four, four, four]), at(64));
    });
    for (let lane = 0; lane < 4; lane++) {
      const products = x.reduce((sum, xi, i) => sum + xi * weights[target.dotByte(lane, i)]!, 0);
      const before = s.i32(8 + lane);
      expect(s.i32(12 + lane)).toBe((before + products) | 0);
      expect(s.i32(16 + lane)).toBe((before + 4 * products) | 0);
    }
    const last = target === fourSplit ? [6, 7, 14, 15] : [12, 13, 14, 15];
    expect(s.i32(15)).toBe((0x7fffffff + last.reduce((sum, w, i) => sum + w * x[i]!, 0)) | 0);
  });
  test("dot8 is exact where 16 bits would saturate", () => {
    const s = new Scratch(four).setBytes(0, Array(16).fill(255)).setBytes(16, [127, 127, 127, 127]);
    s.run((b, p) => {
      const w = b.op.vu8load(p, { offset: 0, bits: 8 });
      const x = b.op.vbroadcast4(p, at(16));
      b.op.vistore(p, b.dot(b.op.viconst({ value: 0 }), Array(17).fill(w), Array(17).fill(x)), at(32));
    });
    expect(s.i32s(8, 12)).toEqual(Array(4).fill(17 * 4 * 255 * 127));
  });
  test("dot8 reads two's complement where the target says so", () => {
    const s = new Scratch(fourSplit).setBytes(0, Array(16).fill(0x80)).setBytes(16, [127, 127, 127, 127]);
    s.run((b, p) => {
      const w = b.op.vu8load(p, { offset: 0, bits: 8 });
      b.op.vistore(p, b.dot(b.op.viconst({ value: 0 }), [w], [b.op.vbroadcast4(p, at(16))]), at(32));
    });
    expect(s.i32s(8, 12)).toEqual(Array(4).fill(4 * -128 * 127));
  });
  test("has no activation −128", () => {
    const s = new Scratch(four).setBytes(0, Array(16).fill(1)).setBytes(16, [0, 0, 0, -128]);
    expect(() =>
      s.run((b, p) => {
        const w = b.op.vu8load(p, { offset: 0, bits: 1 });
        b.dot(b.op.viconst({ value: 0 }), [w], [b.op.vbroadcast4(p, at(16))]);
      }),
    ).toThrow("the activation holds −128");
  });
});

describe("addresses", () => {
  test("are computed beyond 32 bits", () => {
    const s = new Scratch(four).setI32(0, [1, 2, 70000, -70000, 65537]);
    s.run((b, p) => {
      const [up, down, stride] = [8, 12, 16].map((offset) => b.op.iload(p, at(offset)));
      const far = b.op.addr(p, up!, { stride: 65537, offset: 4 });
      b.op.istore(p, b.op.iload(b.op.addrv(far, down!, stride!), at(0)), at(32));
      b.op.istore(p, b.i(7), at(36));
    });
    expect(s.i32s(8, 10)).toEqual([2, 7]);
  });
  test("are 64 bits wide", () => {
    const s = new Scratch(four);
    s.view.setBigUint64(0, 2n ** 32n + 128n, true);
    expect(() => s.run((b, p) => b.op.istore(p, b.i(1), at(0)))).toThrow(/4 bytes at 4294967424 are outside/);
  });
  test("a stride that varies is not negative", () => {
    const s = new Scratch(four).setI32(0, [-4]);
    expect(() => s.run((b, p) => void b.op.addrv(p, b.i(1), b.op.iload(p, at(0))))).toThrow("stride -4");
  });
  test.each<readonly [string, number, number]>([
    ["before the memory", -129, 1],
    ["past its end", 1024 - 128 - 15, 0],
  ])("%s: the error names kernel and op", (_, offset) => {
    const s = new Scratch(four);
    const load = () =>
      s.run((b, p) => {
        const there = b.op.addr(p, b.i(0), { stride: 0, offset });
        b.named("value", b.op.vfload(there, at(0)));
      });
    expect(load).toThrow(
      /kernel scratch: value: vf32 = vfload p\d+, offset=0: 16 bytes at -?\d+ are outside/,
    );
  });
  test("touch reads", () => {
    new Scratch(four).run((b, p) => b.op.touch(p, at(3)));
    expect(() => new Scratch(four).run((b, p) => b.op.touch(p, at(1 << 30)))).toThrow();
  });

  test("prefetch never faults", () => {
    new Scratch(four).run((b, p) => b.op.prefetch(p, { ...at(1 << 30), level: 1 }));
  });
  test("atomicadd is aligned", () => {
    const s = new Scratch(four).setI32(0, [40]);
    s.run((b, p) => b.op.istore(p, b.op.atomicadd(p, b.i(2), at(0)), at(4)));
    expect(s.i32s(0, 2)).toEqual([42, 40]);
    expect(() => s.run((b, p) => void b.op.atomicadd(p, b.i(2), at(2)))).toThrow("not a multiple of 4");
  });
  test("the arguments lie in the memory", () => {
    const s = new Scratch(four);
    const interpreter = new Interpreter(s.kernel(() => {}));
    expect(() => interpreter.run(s.bytes.buffer, 1020, 1)).toThrow("arguments at 1020 are outside");
    interpreter.run(s.bytes.buffer, 1016, 1);
  });
});
