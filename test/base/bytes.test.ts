import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "../../src/base/byte-writer.ts";
import { alignUp, ByteReader, isPowerOfTwo } from "../../src/base/bytes.ts";
import { FileFormatError } from "../../src/base/errors.ts";

const reader = (...bytes: number[]) => new ByteReader("some.file", Uint8Array.from(bytes));

describe("ByteReader", () => {
  it("reads every type little-endian, from a view that starts anywhere", () => {
    const to = new ByteWriter();
    to.u8(0xfe);
    to.u8(0xfe);
    to.u16(0xfedc);
    to.u16(0xfedc);
    to.u32(0xfedcba98);
    to.u32(0xfedcba98);
    to.u64(0xfedcba9876543210n);
    to.u64(0xfedcba9876543210n);
    to.f32(1.5);
    to.f64(-0.1);
    to.string("häß 🙂");
    const shifted = new Uint8Array([9, 9, 9, ...to.written()]).subarray(3);
    const from = new ByteReader("some.file", shifted);
    expect(from.u8("a")).toBe(0xfe);
    expect(from.i8("a")).toBe(-2);
    expect(from.u16("a")).toBe(0xfedc);
    expect(from.i16("a")).toBe(0xfedc - 0x10000);
    expect(from.u32("a")).toBe(0xfedcba98);
    expect(from.i32("a")).toBe(0xfedcba98 - 2 ** 32);
    expect(from.u64("a")).toBe(0xfedcba9876543210n);
    expect(from.i64("a")).toBe(0xfedcba9876543210n - 2n ** 64n);
    expect(from.f32("a")).toBe(1.5);
    expect(from.f64("a")).toBe(-0.1);
    expect(from.string("a", from.count("a", 100))).toBe("häß 🙂");
    expect(from.remaining).toBe(0);
    expect(from.position).toBe(to.length);
  });

  it("names the file, the field and the offset when the bytes end", () => {
    const from = reader(1, 2, 3);
    expect(from.u16("width")).toBe(0x201);
    const act = () => from.u32("height");
    expect(act).toThrow(FileFormatError);
    expect(act).toThrow("some.file: height: needs 4 bytes at offset 2, but 1 are left");
    expect(() => from.slice("data", -1)).toThrow(FileFormatError);
    expect(() => from.slice("data", Number.NaN)).toThrow(FileFormatError);
    expect(from.u8("depth")).toBe(3);
  });

  it("takes counts up to the limit only, however large", () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 2n ** 64n - 1n),
        fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
        (count, limit) => {
          const to = new ByteWriter();
          to.u64(count);
          const act = () => new ByteReader("f", to.written()).count("n", limit);
          if (count <= BigInt(limit)) expect(act()).toBe(Number(count));
          else expect(act).toThrow(`f: n: is ${count}, above the limit of ${limit}`);
        },
      ),
    );
    const edge = new ByteWriter();
    edge.u64(2n ** 53n);
    expect(() => new ByteReader("f", edge.written()).count("n", Number.MAX_SAFE_INTEGER)).toThrow("limit");
  });

  it("replaces what is not UTF-8 and keeps a byte order mark", () => {
    expect(reader(0x61, 0xff, 0x62).string("s", 3)).toBe("a\ufffdb");
    expect(reader(0xef, 0xbb, 0xbf, 0x61).string("s", 4)).toBe("\ufeffa");
  });
});

it("alignUp gives the least multiple that is not below", () => {
  expect([0, 1, 31, 32, 33].map((size) => alignUp(size, 32))).toEqual([0, 32, 32, 32, 64]);
  expect(alignUp(2 ** 53 - 63, 32)).toBe(2 ** 53 - 32);
});

it("isPowerOfTwo knows the 32 that fit into a u32", () => {
  const powers = Array.from({ length: 32 }, (_, i) => 2 ** i);
  expect(powers.every(isPowerOfTwo)).toBe(true);
  for (const other of [0, -1, -2, 3, 6, 0.5, 2 ** 31 + 1, 2 ** 32, Number.NaN]) {
    expect(isPowerOfTwo(other)).toBe(false);
  }
});
