import { Rng } from "../../src/base/rng.ts";
import { OPS, type OpName } from "../../src/ir/ops.ts";
import type { Attributes, Target, Type } from "../../src/ir/types.ts";
import { Draft, type OpCase } from "./case-draft.ts";
import {
  bitsOf,
  F32_CORNERS,
  floatOf,
  I32_CORNERS,
  pairs,
  randomFloats,
  randomInts,
  tuples,
} from "./corner-values.ts";
import { call, columnsOf, elementBytes, mapCase, storeElement } from "./map-case.ts";

const rng = () => new Rng(7);

const float1 = [...F32_CORNERS, ...randomFloats(202, rng())].map((a) => [a]);
const float2 = [...pairs(F32_CORNERS, F32_CORNERS), ...tuples(randomFloats(400, rng()), 2)];
const int1 = [...I32_CORNERS, ...randomInts(201, rng())].map((a) => [a]);
const int2 = [...pairs(I32_CORNERS, I32_CORNERS), ...tuples(randomInts(400, rng()), 2)];

const int3 = int2.map(([a, b], i) => [a!, b!, int1[i % int1.length]![0]!]);

/** Both of equal and of different values. */
const equal2 = [...int2, ...I32_CORNERS.map((a) => [a, a]), ...I32_CORNERS.map((a) => [a, a ^ 0x10000])];
const divisions = int2.filter(([, b]) => b! | 0 && (b! | 0) > 0);
const shifts = pairs([...I32_CORNERS, ...randomInts(20, rng())], [0, 1, 7, 8, 15, 16, 30, 31]);

const conditions = [0, 1, -1, 2, 256, 0x10000, -0x80000000];
const choices3 = conditions.flatMap((c) => tuples([...I32_CORNERS, ...F32_CORNERS], 2).map((t) => [c, ...t]));

/** Conversions round to even at ties; from 2^23 on every f32 is an integer. */
const roundings = [
  0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 0.50000006, 1.4999999, 8388607.5, 4194304.5, 4194305.5,
  -4194303.5, 8388609, 16777216, 2147483520, -2147483520,
].map(bitsOf);
const convertible = [...roundings, ...float1.flat()].filter((a) => Math.abs(floatOf(a)) < 2 ** 31);
const integers = [16777217, 16777219, 33554434, 33554435, -16777217, 2147483583, 2147483584, -2147483585];

/** 24929 · 673 = 2^24 + 1, halfway between two f32: the addend decides, however small. */
const fusedTies = [1, -1].flatMap((sign) =>
  [2 ** -100, -(2 ** -100), 2 ** -149, 0, -(2 ** -24)].map((c) =>
    [sign * 24929, 673 * 2 ** -24, c].map(bitsOf),
  ),
);
const fusedCorners = pairs(F32_CORNERS, F32_CORNERS).flatMap(([a, b]) =>
  [0x00000000, 0x80000000, 0xbf800000, 0x00000001, 0xff7fffff, 0x7f800000].map((c) => [a!, b!, c]),
);
const fusedCancellations = randomFloats(300, rng()).map((a, i) => {
  const b = bitsOf(1 + i / 300);
  return [a, b, bitsOf(-floatOf(a) * floatOf(b))];
});
const float3 = [...fusedTies, ...fusedCorners, ...fusedCancellations, ...tuples(randomFloats(600, rng()), 3)];

type LaneOp = readonly [op: OpName, rows: readonly number[][], attributes?: readonly Attributes[]];

const counts = [0, 1, 8, 16, 31].map((count) => ({ count }));

/** Ops that do the same for every lane (or for scalars), with their operands. */
const LANE_OPS: readonly LaneOp[] = [
  ...(["iadd", "isub", "imul", "imin", "imax", "iand", "ior", "ixor", "ilt", "ile"] as const).map(
    (op): LaneOp => [op, int2],
  ),
  ...(["viadd", "visub", "vimul", "viand", "vior", "vixor", "vilt"] as const).map((op): LaneOp => [op, int2]),
  ["ieq", equal2],
  ["vieq", equal2],
  ["idiv", divisions],
  ["irem", divisions],
  ["ishl", shifts],
  ["ishr", shifts],
  ["vishl", int1, counts],
  ["vishr", int1, counts],
  ["iselect", choices3],
  ["fselect", choices3],
  ["vfselect", choices3],
  ["viselect", choices3],
  ...(["fadd", "fsub", "fmul", "fdiv", "fmin", "fmax", "flt"] as const).map((op): LaneOp => [op, float2]),
  ...(["vfadd", "vfsub", "vfmul", "vfdiv", "vfmin", "vfmax", "vflt"] as const).map(
    (op): LaneOp => [op, float2],
  ),
  ...(["fsqrt", "ftobits", "bitstof", "vfabs", "vfsqrt", "vftobits", "vbitstof", "vfsplat"] as const).map(
    (op): LaneOp => [op, float1],
  ),
  ["vfma", float3],
  ["vipairdot", int3],
  ["vipairadd", int2],
  ["vipairlookup", int2],
  ["vipairlookup2", int3],
  ["vftoi", convertible.map((a) => [a])],
  ["itof", [...integers.map((a) => [a]), ...int1]],
  ["vitof", [...integers.map((a) => [a]), ...int1]],
  ["visplat", int1],
  ["visum", int1],
];

/** Results that arithmetic may make a NaN of any payload. */
const isFloat = (type: Type | null) => type === "f32" || type === "vf32";

function laneCases(target: Target): OpCase[] {
  return LANE_OPS.flatMap(([op, rows, attributes = [{}]]) => {
    const { operands, result } = OPS[op];
    const compare = isFloat(result) ? "f32-nan-equal" : "bits";
    const columns = columnsOf(target, operands, rows);
    return attributes.map((a) => mapCase(target, op, Object.values(a).join(" "), columns, a, compare));
  });
}

const CONSTANTS: { readonly [N in "iconst" | "viconst" | "fconst" | "vfconst"]: readonly number[] } = {
  iconst: I32_CORNERS,
  viconst: I32_CORNERS,
  fconst: [
    0,
    -0,
    1,
    -1.5,
    0.1,
    Math.PI,
    3.4028234663852886e38,
    2 ** -149,
    -1e-40,
    16777217,
    1e39,
    -1e39,
    6e-46,
  ],
  vfconst: [
    0,
    -0,
    1,
    -1.5,
    0.1,
    Math.PI,
    3.4028234663852886e38,
    2 ** -149,
    -1e-40,
    16777217,
    1e39,
    -1e39,
    6e-46,
  ],
};

function constantCase(target: Target, op: keyof typeof CONSTANTS): OpCase {
  const d = new Draft(target, op, op);
  const size = elementBytes(OPS[op].result, target.lanes);
  const out = d.output(size * CONSTANTS[op].length);
  CONSTANTS[op].forEach((value, i) => {
    storeElement(d.b, out, call(d.b, op, [], { value }), i * size);
  });
  return d.finish();
}

function iotaCase(target: Target): OpCase {
  const d = new Draft(target, "viota", "viota");
  storeElement(d.b, d.output(4 * target.lanes), d.b.op.viota());
  return d.finish();
}

/** Lane lists: reversed, rotated, one lane, the exchanges that reductions and rotary embeddings use, any. */
function permutations(lanes: number): readonly number[][] {
  const from = (f: (i: number) => number) => Array.from({ length: lanes }, (_, i) => f(i));
  const random = rng();
  return [
    from((i) => i),
    from((i) => lanes - 1 - i),
    from((i) => (i + 1) % lanes),
    from((i) => (i + lanes - 1) % lanes),
    from(() => 0),
    from(() => lanes - 1),
    from((i) => i ^ 1),
    from((i) => i ^ 2),
    from((i) => i ^ (lanes / 2)),
    from((i) => i >> 1),
    from((i) => (2 * i) % lanes),
    from(() => random.integer(lanes)),
  ];
}

function permuteCases(target: Target): OpCase[] {
  const columns = columnsOf(target, ["vf32"], float1);
  return permutations(target.lanes).map((lanes, i) =>
    mapCase(target, "vfpermute", `${i}`, columns, { lanes }),
  );
}

/** Sums whose rounding shows their order, and values at the limits. */
function reductionCases(target: Target): OpCase[] {
  const columns = columnsOf(target, ["vf32"], float1);
  const numbers = float1.filter(([a]) => !Number.isNaN(floatOf(a!)) && a !== 0x80000000);
  const scales = randomFloats(64 * target.lanes, rng()).map((a, i) => [bitsOf(floatOf(a) % 2 ** (i % 23))]);
  const compare = "f32-nan-equal";
  return [
    mapCase(target, "vfsum", "corners", columns, {}, compare),
    mapCase(target, "vfsum", "order", columnsOf(target, ["vf32"], scales), {}, compare),
    mapCase(target, "vfmaxlane", "", columnsOf(target, ["vf32"], numbers), {}, compare),
    mapCase(target, "vfmaxlane", "rotated", columnsOf(target, ["vf32"], numbers.slice(3)), {}, compare),
  ];
}

/** Arithmetic without memory and without bytes. */
export function arithmeticCases(target: Target): OpCase[] {
  return [
    ...laneCases(target),
    ...(Object.keys(CONSTANTS) as (keyof typeof CONSTANTS)[]).map((op) => constantCase(target, op)),
    iotaCase(target),
    ...permuteCases(target),
    ...reductionCases(target),
  ];
}
