import { Rng } from "../../src/base/rng.ts";
import { OPS, type OpName } from "../../src/ir/ops.ts";
import type { Attributes, Target, Type } from "../../src/ir/types.ts";
import { Draft, type OpCase, type Placement } from "./case-draft.ts";
import {
  bitsOf,
  codes,
  F32_CORNERS,
  floatOf,
  halves,
  I32_CORNERS,
  randomFloats,
  randomInts,
  words,
} from "./corner-values.ts";
import { call, elementBytes, loadElement, storeElement } from "./map-case.ts";

const rng = () => new Rng(11);

/** Aligned, and not: at no offset, at an odd one, at one that needs more than 16 bits. */
const PLACEMENTS: readonly Required<Placement>[] = [
  { misaligned: 0, offset: 0 },
  { misaligned: 1, offset: 0 },
  { misaligned: 3, offset: 7 },
  { misaligned: 2, offset: 70001 },
];

const detail = (p: Required<Placement>, more = "") =>
  `${more} +${p.offset} misaligned ${p.misaligned}`.trim();

const TRIPS = 8;

/** At the bottom of a byte, in the middle, at its top; the whole byte. */
const PAIR_FIELDS: readonly Attributes[] = [
  { shift: 0, mask: 15 },
  { shift: 2, mask: 3 },
  { shift: 4, mask: 15 },
  { shift: 0, mask: 255 },
];

const bytes = (count: number) => codes(count, 8, rng());

/** Bits that are moved, not computed with. */
const moved = (count: number) =>
  words([...F32_CORNERS, ...I32_CORNERS, ...randomInts(count, rng())].slice(0, count));

/** A load in a loop, `stride` bytes further every trip. */
function loadCase(
  target: Target,
  op: OpName,
  stride: number,
  data: Uint8Array,
  placement: Required<Placement>,
  { compare = "bits", more = {} }: { compare?: OpCase["compare"]; more?: Attributes } = {},
): OpCase {
  const attributes = Object.entries(more).flat().join(" ");
  const d = new Draft(target, `${op} ${detail(placement, attributes)}`, op, compare);
  const size = elementBytes(OPS[op].result as Type, target.lanes);
  const trips = data.length / stride;
  const input = d.input("x", data, placement);
  const out = d.output(trips * size);
  d.b.loop("i", 0, d.int("trips", trips), 1, (i) => {
    const p = d.b.op.addr(input, i, { stride, offset: 0 });
    const value = call(d.b, op, [p], { offset: placement.offset, ...more });
    storeElement(d.b, d.b.op.addr(out, i, { stride: size, offset: 0 }), value);
  });
  return d.finish();
}

/** A store in a loop; `gap` bytes between two stores must stay as they are. */
function storeCase(
  target: Target,
  op: OpName,
  stride: number,
  data: Uint8Array,
  placement: Required<Placement>,
  gap: number,
): OpCase {
  const d = new Draft(target, `${op} ${detail(placement, `gap ${gap}`)}`, op);
  const type = OPS[op].operands[1] as Type;
  const size = elementBytes(type, target.lanes);
  const trips = data.length / size;
  const input = d.input("x", data);
  const out = d.output(trips * (stride + gap), placement);
  d.b.loop("i", 0, d.int("trips", trips), 1, (i) => {
    const value = loadElement(d.b, type, d.b.op.addr(input, i, { stride: size, offset: 0 }));
    const p = d.b.op.addr(out, i, { stride: stride + gap, offset: 0 });
    call(d.b, op, [p, value], { offset: placement.offset });
  });
  return d.finish();
}

function loadCases(target: Target, at: Required<Placement>): OpCase[] {
  const L = target.lanes;
  const nan = { compare: "f32-nan-equal" } as const;
  const scalars: OpCase[] = [
    loadCase(target, "iload", 4, moved(64), at),
    loadCase(target, "fload", 4, moved(64), at),
    loadCase(target, "u8load", 1, bytes(64), at),
    loadCase(target, "u16load", 2, bytes(64), at),
  ];
  const codesOf = (bits: number) =>
    loadCase(target, "vu8load", 4 * L, codes(4 * L * TRIPS, bits, rng()), at, { more: { bits } });
  return [
    ...scalars,
    loadCase(target, "vfload", 4 * L, moved(L * TRIPS), at),
    loadCase(target, "viload", 4 * L, moved(L * TRIPS), at),
    loadCase(target, "vu8loadlanes", L, bytes(L * TRIPS), at),
    loadCase(target, "vi8loadlanes", L, bytes(L * TRIPS), at),
    loadCase(target, "vi8loadpairs", 2 * L, bytes(2 * L * TRIPS), at),
    ...PAIR_FIELDS.map((more) => loadCase(target, "vu8loadpairs", 2 * L, bytes(2 * L * TRIPS), at, { more })),
    loadCase(target, "vhload", 2 * L, bytes(2 * L * TRIPS), at, nan),
    loadCase(target, "vbfload", 2 * L, bytes(2 * L * TRIPS), at, nan),
    ...(at.offset === 0 && at.misaligned === 0 ? [1, 2, 3, 4, 5, 6, 7, 8] : [4, 8]).map(codesOf),
  ];
}

/** f32 around every decision of the rounding to binary16: ties, the subnormals, the overflow. */
function halfRoundings(count: number): number[] {
  const ties = [
    0x0000, 0x0001, 0x0002, 0x03ff, 0x0400, 0x0401, 0x3c00, 0x3c01, 0x3c02, 0x7bfe, 0x7bff,
  ].flatMap((h) => {
    const exponent = Math.max(h >> 10, 1);
    const value = 2 ** (exponent - 25) * ((h & 0x3ff) + (h >= 0x400 ? 0x400 : 0));
    const tie = bitsOf(value + 2 ** (exponent - 26));
    return [bitsOf(value), tie - 1, tie, tie + 1];
  });
  const signed = ties.flatMap((bits) => [bits, bits | 0x80000000]);
  const finite = F32_CORNERS.filter((bits) => !Number.isNaN(floatOf(bits)));
  return [...signed, ...finite, ...randomFloats(count, rng())].slice(0, count);
}

function storeCases(target: Target, at: Required<Placement>): OpCase[] {
  const L = target.lanes;
  const small = Int32Array.from({ length: L * TRIPS }, (_, i) => ((i * 37 + 128) % 256) - 128);
  small.set([-128, 127, 0, -1]);
  const gap = at.offset === 0 ? 0 : 5;
  const store = (op: OpName, stride: number, data: Uint8Array) =>
    storeCase(target, op, stride, data, at, gap);
  return [
    store("istore", 4, moved(64)),
    store("fstore", 4, moved(64)),
    store("u8store", 1, moved(64)),
    store("u16store", 2, moved(64)),
    store("vfstore", 4 * L, moved(L * TRIPS)),
    store("vistore", 4 * L, moved(L * TRIPS)),
    store("vu8store", 4 * L, bytes(4 * L * TRIPS)),
    store("vhstore", 2 * L, words(halfRoundings(L * 32))),
    store("vi8storelanes", L, new Uint8Array(small.buffer)),
    store("vu16storelanes", 2 * L, moved(L * TRIPS)),
  ];
}

/** Masked loads and stores for every n, known only at run time or constant. */
function maskedCases(target: Target, at: Required<Placement>): OpCase[] {
  const L = target.lanes;
  const { offset } = at;
  const size = 4 * L;
  const build = (op: "vfloadn" | "vfstoren", constant: boolean) => {
    const d = new Draft(target, `${op} ${constant ? "constant " : ""}${detail(at)}`, op);
    const { b } = d;
    const input = d.input("x", moved(L * (L + 1)), op === "vfloadn" ? at : {});
    const out = d.output(size * (L + 1), op === "vfstoren" ? at : {});
    const trip = (n: ReturnType<typeof b.i>) => {
      const from = b.op.addr(input, n, { stride: size, offset: 0 });
      const to = b.op.addr(out, n, { stride: size, offset: 0 });
      if (op === "vfloadn") b.op.vfstore(to, b.op.vfloadn(from, n, { offset }), { offset: 0 });
      else b.op.vfstoren(to, n, b.op.vfload(from, { offset: 0 }), { offset });
    };
    if (constant) for (let n = 0; n <= L; n++) trip(b.i(n));
    else b.loop("n", 0, d.int("end", L + 1), 1, trip);
    return d.finish();
  };
  return (["vfloadn", "vfstoren"] as const).flatMap((op) => [build(op, false), build(op, true)]);
}

/** What is at the offset is placed so that `dot` feeds it to every lane in order: seen through a one-hot weight. */
function broadcastCase(target: Target, at: Required<Placement>): OpCase {
  const d = new Draft(target, `vbroadcast4 ${detail(at)}`, "vbroadcast4");
  const { b } = d;
  const size = 4 * target.lanes;
  const oneHot = new Uint8Array(4 * size);
  for (let i = 0; i < 4; i++)
    for (let lane = 0; lane < target.lanes; lane++) oneHot[i * size + target.dotByte(lane, i)] = 1;
  const weights = d.input("weights", oneHot);
  const x = d.input("x", new Uint8Array(Int8Array.of(127, -127, 0, -1, 1, 2, 3, -4).buffer), at);
  const out = d.output(8 * size);
  for (let k = 0; k < 8; k++) {
    const w = b.op.vu8load(weights, { offset: (k & 3) * size, bits: 1 });
    const four = b.op.vbroadcast4(x, { offset: at.offset + (k & 4) });
    b.op.vistore(out, b.dot(b.op.viconst({ value: 0 }), [w], [four]), { offset: k * size });
  }
  return d.finish();
}

function gatherCase(target: Target): OpCase {
  const d = new Draft(target, "vigather", "vigather");
  const { b } = d;
  const L = target.lanes;
  const size = 4 * L;
  const random = rng();
  const table = d.input("table", bytes(4096), { misaligned: 1 });
  const offsets = Array.from({ length: L * TRIPS }, (_, i) =>
    i < 4 ? [0, 4092, 1, 0][i]! : random.integer(4093),
  );
  const input = d.input("offsets", words(offsets));
  const out = d.output(size * TRIPS);
  b.loop("i", 0, TRIPS, 1, (i) => {
    const offset = b.op.viload(b.op.addr(input, i, { stride: size, offset: 0 }), { offset: 0 });
    b.op.vistore(b.op.addr(out, i, { stride: size, offset: 0 }), b.op.vigather(table, offset), { offset: 0 });
  });
  return d.finish();
}

/** Products that leave 32 bits, brought back by a negative index. */
function addressCases(target: Target): OpCase[] {
  const far = 70000;
  const build = (op: "addr" | "addrv", index: number, stride: number, offset: number) => {
    const d = new Draft(target, `${op} ${index} times ${stride} plus ${offset}`, op);
    const { b } = d;
    const x = d.input("x", words(I32_CORNERS));
    const out = d.output(4);
    const [i, back, s] = [d.int("index", index), d.int("back", -index), d.int("stride", stride)];
    if (op === "addr") {
      const there = b.op.addr(x, i, { stride, offset });
      b.op.istore(out, b.op.iload(b.op.addr(there, back, { stride, offset: 20 - offset }), { offset: 0 }), {
        offset: 0,
      });
    } else {
      const there = b.op.addrv(x, i, s);
      b.op.istore(out, b.op.iload(b.op.addrv(there, back, s), { offset: 24 }), { offset: 0 });
    }
    return d.finish();
  };
  return [
    build("addr", 3, 4, 0),
    build("addr", 5, 4, -8),
    build("addr", 0, 65536, 12),
    build("addr", far, 65536, 100000),
    build("addr", -far, 65536, -100000),
    build("addr", 123456789, 1, 0),
    build("addr", 77, -64, 0),
    build("addrv", 3, 4, 0),
    build("addrv", far, 65536, 0),
    build("addrv", -far, 65537, 0),
    build("addrv", 5, 0, 0),
  ];
}

function atomicCase(target: Target, offset: number): OpCase {
  const d = new Draft(target, `atomicadd +${offset}`, "atomicadd");
  const { b } = d;
  const input = d.input("x", words(I32_CORNERS));
  const out = d.output(4 * (I32_CORNERS.length + 1), { offset });
  b.op.istore(out, b.i(5), { offset });
  b.loop("i", 0, I32_CORNERS.length, 1, (i) => {
    const value = b.op.iload(b.op.addr(input, i, { stride: 4, offset: 0 }), { offset: 0 });
    const before = b.op.atomicadd(out, value, { offset });
    b.op.istore(b.op.addr(out, i, { stride: 4, offset: 4 }), before, { offset });
  });
  return d.finish();
}

/** None may show: a barrier of one thread, a touch, a prefetch of memory that is not there. */
function silentCases(target: Target): OpCase[] {
  return (["barrier", "touch", "prefetch"] as const).map((op) => {
    const d = new Draft(target, op, op);
    const { b } = d;
    const out = d.output(8);
    b.op.istore(out, b.i(1), { offset: 0 });
    if (op === "barrier") b.op.barrier();
    else if (op === "touch") b.op.touch(out, { offset: 3 });
    else for (const offset of [0, 3, 70001]) b.op.prefetch(out, { offset, level: 1 });
    if (op === "prefetch")
      b.op.prefetch(b.op.addr(out, b.i(-1), { stride: 1 << 30, offset: 0 }), { offset: 0, level: 2 });
    b.op.istore(out, b.op.iadd(b.op.iload(out, { offset: 0 }), b.i(1)), { offset: 4 });
    return d.finish();
  });
}

/** Every binary16 and every bfloat16. */
function sixteenBitCases(target: Target): OpCase[] {
  const all = halves(Array.from({ length: 65536 }, (_, i) => i));
  const at = { misaligned: 0, offset: 0 };
  return (["vhload", "vbfload"] as const).map((op) => {
    const c = loadCase(target, op, 2 * target.lanes, all, at, { compare: "f32-nan-equal" });
    return { ...c, name: `${op} all`, kernel: { ...c.kernel, name: `case_${op}_all` } };
  });
}

/** NaN survives binary16, as some NaN. */
function halfNaNCase(target: Target): OpCase {
  const d = new Draft(target, "vhstore NaN", "vhstore", "f32-nan-equal");
  const { b } = d;
  const half = 4 * target.lanes;
  const out = d.output(half + 2 * target.lanes);
  b.op.vhstore(out, b.op.vbitstof(b.op.viconst({ value: 0x7fc00000 })), { offset: half });
  b.op.vfstore(out, b.op.vhload(out, { offset: half }), { offset: 0 });
  b.op.vhstore(out, b.op.vfconst({ value: 0 }), { offset: half });
  return d.finish();
}

/** Ops that read or write memory. */
export function memoryCases(target: Target): OpCase[] {
  return [
    ...PLACEMENTS.flatMap((at) => [
      ...loadCases(target, at),
      ...storeCases(target, at),
      ...maskedCases(target, at),
      broadcastCase(target, at),
    ]),
    ...sixteenBitCases(target),
    halfNaNCase(target),
    gatherCase(target),
    ...addressCases(target),
    ...[0, 4, 7, 70001].map((offset) => atomicCase(target, offset)),
    ...silentCases(target),
  ];
}
