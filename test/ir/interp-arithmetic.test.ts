import { describe, expect, test } from "vitest";
import type { OpName } from "../../src/ir/ops.ts";
import { apply, Scratch } from "./run-case.ts";
import { eight, four, fourSplit } from "./targets.ts";

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const MIN = -0x80000000;
const MAX = 0x7fffffff;
const SMALLEST = 2 ** -149;
const LARGEST = 2 ** 128 - 2 ** 104;

/** Ops with the same meaning, and rows of operands and result. */
type Row = readonly [ops: readonly OpName[], rows: readonly (readonly number[])[]];

// biome-ignore format: a table
const INTEGER: readonly Row[] = [
  [["iadd", "viadd"], [[1, 2, 3], [MAX, 1, MIN], [MIN, -1, MAX], [-1, -1, -2]]],
  [["isub", "visub"], [[1, 2, -1], [MIN, 1, MAX], [0, MIN, MIN]]],
  [["imul", "vimul"], [[3, -4, -12], [65536, 65536, 0], [MAX, MAX, 1], [MIN, -1, MIN], [74565, 424090, 1557499778]]],
  [["idiv"], [[7, 2, 3], [-7, 2, -3], [MIN, 1, MIN], [MIN, MAX, -1], [1, 2, 0], [-1, 2, 0]]],
  [["irem"], [[7, 2, 1], [-7, 2, -1], [MIN, 3, -2], [-4, 2, 0], [5, MAX, 5]]],
  [["imin"], [[1, 2, 1], [-1, 1, -1], [MIN, MAX, MIN]]],
  [["imax"], [[1, 2, 2], [-1, 1, 1], [MIN, MAX, MAX]]],
  [["iand", "viand"], [[0b1100, 0b1010, 0b1000], [-1, MIN, MIN]]],
  [["ior", "vior"], [[0b1100, 0b1010, 0b1110], [0, MIN, MIN]]],
  [["ixor", "vixor"], [[0b1100, 0b1010, 0b0110], [-1, MIN, MAX]]],
  [["ishl"], [[1, 31, MIN], [3, 31, MIN], [5, 0, 5], [-1, 4, -16]]],
  [["ishr"], [[-1, 31, 1], [-1, 0, -1], [MIN, 4, 0x08000000], [255, 4, 15]]],
  [["ilt"], [[1, 2, 1], [2, 2, 0], [MIN, MAX, 1], [1, -1, 0]]],
  [["ile"], [[1, 2, 1], [2, 2, 1], [MAX, MIN, 0]]],
  [["ieq"], [[1, 1, 1], [1, -1, 0], [MIN, MIN, 1]]],
  [["vilt"], [[1, 2, -1], [2, 2, 0], [MIN, MAX, -1], [1, -1, 0]]],
  [["vieq"], [[1, 1, -1], [1, -1, 0], [MIN, MIN, -1]]],
  [["iselect"], [[1, 5, 6, 5], [0, 5, 6, 6], [MIN, 5, 6, 5], [256, 5, 6, 5]]],
  [["viselect"], [[-1, 5, 6, 5], [0, 5, 6, 6], [1, 5, 6, 6], [MIN, 5, 6, 5]]],
];

// biome-ignore format: a table
const FLOAT: readonly Row[] = [
  [["fadd", "vfadd"], [
    [1, 2 ** -24, 1], [1, 3 * 2 ** -25, 1 + 2 ** -23], [LARGEST, LARGEST, inf], [inf, -inf, nan], [0, -0, 0],
    [-0, -0, -0], [SMALLEST, SMALLEST, 2 * SMALLEST],
  ]],
  [["fsub", "vfsub"], [[1, 1, 0], [-0, 0, -0], [inf, inf, nan], [2 ** -126, SMALLEST, 2 ** -126 - SMALLEST]]],
  [["fmul", "vfmul"], [
    [2 ** -100, 2 ** -49, SMALLEST], [2 ** -100, 2 ** -50, 0], [3 * 2 ** -100, 2 ** -50, 2 * SMALLEST],
    [inf, 0, nan], [-0, 5, -0], [2 ** 100, -(2 ** 100), -inf],
  ]],
  [["fdiv", "vfdiv"], [
    [1, 3, Math.fround(1 / 3)], [1, 0, inf], [-1, 0, -inf], [0, 0, nan], [1, -inf, -0], [SMALLEST, 2, 0],
    [3 * SMALLEST, 2, 2 * SMALLEST],
  ]],
  [["fmin", "vfmin"], [[1, 2, 1], [0, -0, -0], [-0, 0, 0], [nan, 1, 1], [1, nan, nan], [-inf, 1, -inf]]],
  [["fmax", "vfmax"], [[1, 2, 2], [0, -0, -0], [-0, 0, 0], [nan, 1, 1], [1, nan, nan], [-inf, 1, 1]]],
  [["fsqrt", "vfsqrt"], [
    [4, 2], [2, Math.fround(Math.SQRT2)], [-0, -0], [-1, nan], [inf, inf], [SMALLEST, 2 ** -74.5],
  ]],
  [["vfabs"], [[-1, 1], [-0, 0], [-inf, inf], [nan, nan]]],
  [["flt"], [[1, 2, 1], [2, 1, 0], [-0, 0, 0], [nan, 1, 0], [1, nan, 0]]],
  [["vflt"], [[1, 2, -1], [2, 1, 0], [-0, 0, 0], [nan, 1, 0], [1, nan, 0]]],
  [["fselect"], [[1, 5, 6, 5], [0, 5, nan, nan], [MIN, -0, 6, -0]]],
  [["vfselect"], [[-1, 5, 6, 5], [0, 5, nan, nan], [MIN, -0, 6, -0]]],
  [["itof", "vitof"], [
    [1, 1], [0, 0], [16777217, 16777216], [16777219, 16777220], [-16777217, -16777216], [MAX, 2 ** 31], [MIN, MIN],
  ]],
  [["ftobits", "vftobits"], [[1, 0x3f800000], [-0, MIN], [SMALLEST, 1], [inf, 0x7f800000]]],
  [["bitstof", "vbitstof"], [[0x3f800000, 1], [MIN, -0], [1, SMALLEST], [0x7fc00000, nan]]],
  [["vftoi"], [
    [0.5, 0], [1.5, 2], [2.5, 2], [-0.5, 0], [-1.5, -2], [-2.5, -2], [0.49999997, 0], [8388607.5, 8388608],
    [8388609, 8388609], [4194304.5, 4194304], [-2147483520, -2147483520], [-0, 0], [SMALLEST, 0],
  ]],
];

describe.each([...INTEGER, ...FLOAT])("%s", (ops, rows) => {
  test.each(ops)("%s", (op) => {
    const expected = rows.map((row) => row[row.length - 1]!);
    const round = FLOAT.some(([names]) => names.includes(op));
    const operands = rows.map((row) => row.slice(0, -1));
    for (const target of [four, eight])
      expect(apply(target, op, operands)).toEqual(round ? expected.map(Math.fround) : expected);
  });
});

describe("fused and separate multiply-add", () => {
  const a = 1 + 2 ** -12;
  const rows = [
    [a, a, -(1 + 2 ** -11)],
    [24929, 673 * 2 ** -24, 2 ** -140],
    [2 ** 100, 2 ** 100, -inf],
    [LARGEST, 2, -LARGEST],
    [inf, 0, 1],
  ];
  test("fused rounds once", () => {
    expect(apply(four, "vfma", rows)).toEqual([2 ** -24, 1 + 2 ** -23, -inf, LARGEST, nan]);
  });
  test("separate rounds the product too", () => {
    expect(apply(fourSplit, "vfma", rows)).toEqual([0, 1, nan, inf, nan]);
  });
});

test("vipairdot multiplies signed halves and wraps", () => {
  const pair = (low: number, high: number) => (high << 16) | (low & 0xffff);
  const rows = [
    [pair(3, -5), pair(-7, 11), 100],
    [pair(-32768, -32768), pair(-32768, -32768), 0],
    [pair(32767, -32768), pair(32767, 32767), MAX],
    [pair(0, 1), pair(5, -1), MIN],
  ];
  expect(apply(four, "vipairdot", rows)).toEqual([24, MIN, MAX - 32767, MAX]);
});

test("pairs of 16 bits wrap each on its own, and look up words of a register or two", () => {
  const pair = (low: number, high: number) => (high << 16) | (low & 0xffff);
  expect(apply(four, "vipairadd", [[pair(-1, 32767), pair(1, 1)]])).toEqual([pair(0, -32768)]);
  const table = [pair(10, 11), pair(12, 13), pair(14, 15), pair(16, 17)];
  const index = [pair(0, 7), pair(9, 14), pair(-1, 15), pair(3, 8)];
  const rows = table.map((words, i) => [words, index[i]!]);
  expect(apply(four, "vipairlookup", rows)).toEqual([pair(10, 17), pair(11, 16), pair(17, 17), pair(13, 10)]);
  const both = table.map((words, i) => [words, words + pair(10, 10), index[i]!]);
  expect(apply(four, "vipairlookup2", both)).toEqual([
    pair(10, 17),
    pair(21, 26),
    pair(27, 27),
    pair(13, 20),
  ]);
});

describe("shifts of lanes", () => {
  test("left", () => {
    expect(apply(four, "vishl", [[1], [-1], [MIN], [3]], { count: 31 })).toEqual([MIN, MIN, 0, MIN]);
    expect(apply(four, "vishl", [[1], [-1], [MIN], [3]], { count: 0 })).toEqual([1, -1, MIN, 3]);
  });
  test("right, unsigned", () => {
    expect(apply(four, "vishr", [[1], [-1], [MIN], [3]], { count: 31 })).toEqual([0, 1, 1, 0]);
    expect(apply(four, "vishr", [[1], [-1], [MIN], [3]], { count: 1 })).toEqual([0, MAX, 0x40000000, 1]);
  });
});

describe("reductions", () => {
  const rows = (values: readonly number[]) => values.map((v) => [v]);
  test("vfsum halves", () => {
    const big = 2 ** 24;
    expect(apply(eight, "vfsum", rows([big, 1, 0, 0, -big, 0, 0, 0]))).toEqual([1]);
    expect(apply(eight, "vfsum", rows([1, 0, big, 0, 0, 0, -big, 0]))).toEqual([1]);
    expect(apply(eight, "vfsum", rows([big, 0, -big, 0, 1, 0, 0, 0]))).toEqual([0]);
    expect(apply(eight, "vfsum", rows([big, -big, 0, 0, 1, 0, 0, 0]))).toEqual([0]);
    expect(apply(eight, "vfsum", rows([-0, -0, -0, -0, -0, -0, -0, -0]))).toEqual([-0]);
    expect(apply(eight, "vfsum", rows([inf, 1, 1, 1, -inf, 1, 1, 1]))).toEqual([nan]);
  });
  test("vfmaxlane", () => {
    expect(apply(four, "vfmaxlane", rows([-3, -1, -2, -inf]))).toEqual([-1]);
    expect(apply(four, "vfmaxlane", rows([-inf, -inf, -inf, -inf]))).toEqual([-inf]);
  });
  test("visum wraps", () => {
    expect(apply(four, "visum", rows([MAX, MAX, MAX, MAX]))).toEqual([-4]);
  });
});

describe("constants and lanes", () => {
  test("constants, rounded and wrapped", () => {
    const s = new Scratch(four).run((b, p) => {
      b.op.vfstore(p, b.op.vfconst({ value: 0.1 }), { offset: 0 });
      b.op.vistore(p, b.op.viconst({ value: MIN }), { offset: 16 });
      b.op.vistore(p, b.op.viota(), { offset: 32 });
      b.op.istore(p, b.i(-7), { offset: 48 });
      b.op.fstore(p, b.f(16777217), { offset: 52 });
      b.op.vfstore(p, b.op.vfsplat(b.f(-0)), { offset: 56 });
      b.op.vistore(p, b.op.visplat(b.i(9)), { offset: 72 });
    });
    expect(s.f32s(0, 4)).toEqual(Array(4).fill(Math.fround(0.1)));
    expect(s.i32s(4, 13)).toEqual([MIN, MIN, MIN, MIN, 0, 1, 2, 3, -7]);
    expect(s.f32s(13, 18)).toEqual([16777216, -0, -0, -0, -0]);
    expect(s.i32s(18, 22)).toEqual([9, 9, 9, 9]);
  });
  test("vfpermute", () => {
    const lanes = [3, 3, 0, 2];
    expect(apply(four, "vfpermute", [[10], [11], [12], [13]], { lanes })).toEqual([13, 13, 10, 12]);
  });
});

describe("what arithmetic may not be asked", () => {
  test.each<readonly [OpName, number[], RegExp]>([
    ["idiv", [1, 0], /case_idiv.*idiv.*divides by 0/],
    ["idiv", [1, -2], /divides by -2/],
    ["irem", [1, 0], /divides by 0/],
    ["ishl", [1, 32], /shifts by 32/],
    ["ishr", [1, -1], /shifts by -1/],
    ["vftoi", [2 ** 31], /lane 0 holds 2147483648/],
    ["vftoi", [-(2 ** 31)], /lane 0 holds -2147483648/],
    ["vftoi", [nan], /lane 0 holds NaN/],
    ["vftoi", [inf], /lane 0 holds Infinity/],
    ["vfmaxlane", [nan], /lane 0 is NaN/],
  ])("%s of %s", (op, row, message) => {
    expect(() => apply(four, op, [row])).toThrow(message);
  });
});
