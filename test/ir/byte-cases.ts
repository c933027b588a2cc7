import { Rng } from "../../src/base/rng.ts";
import type { KernelBuilder } from "../../src/ir/builder.ts";
import type { Target, Value } from "../../src/ir/types.ts";
import { Draft, type OpCase } from "./case-draft.ts";
import { activations, codes, I32_CORNERS, words } from "./corner-values.ts";
import { type Column, mapCase } from "./map-case.ts";

const rng = () => new Rng(13);

/** Every byte value, then random ones. */
const allBytes = (target: Target) =>
  Uint8Array.from({ length: 256 + 16 * target.lanes }, (_, i) => (i < 256 ? i : (i * 167) & 255));

const codeColumn = (target: Target, bits: number, trips = 8): Column => ({
  type: "vu8",
  bits,
  bytes: codes(4 * target.lanes * trips, bits, rng()),
});

/** Bytes that meet those of a column of codes: the extremes first, which those begin with too. */
function otherBytes(target: Target): Column {
  const corners = [0, 1, 127, 128, 129, 255];
  const bytes = Uint8Array.from({ length: 32 * target.lanes }, (_, i) => corners[i] ?? (i * 73) & 255);
  return { type: "vu8", bits: 8, bytes };
}

/** A field of any width at any place, alone, and in both halves of a byte. */
function fieldMasks(): number[] {
  const masks = new Set<number>();
  for (let bits = 1; bits <= 8; bits++)
    for (let position = 0; position + bits <= 8; position++) {
      const field = (2 ** bits - 1) << position;
      masks.add(field);
      if (field < 16) masks.add(field * 17);
    }
  return [...masks];
}

/** All masks that a shift allows, in one kernel. */
function fieldCase(target: Target, shift: number): OpCase {
  const d = new Draft(target, `vfield shift ${shift}`, "vfield");
  const { b } = d;
  const size = 4 * target.lanes;
  const masks = fieldMasks().filter((mask) => mask < 2 ** (8 - shift));
  const data = allBytes(target);
  const trips = data.length / size;
  const stride = size * masks.length;
  const input = d.input("x", data);
  const out = d.output(trips * stride);
  b.loop("i", 0, d.int("trips", trips), 1, (i) => {
    const a = b.op.vu8load(b.op.addr(input, i, { stride: size, offset: 0 }), { offset: 0, bits: 8 });
    const to = b.op.addr(out, i, { stride, offset: 0 });
    masks.forEach((mask, k) => {
      b.op.vu8store(to, b.op.vfield(a, { shift, mask }), { offset: k * size });
    });
  });
  return d.finish();
}

function lookupCase(target: Target): OpCase {
  const d = new Draft(target, "vlookup", "vlookup");
  const { b } = d;
  const size = 4 * target.lanes;
  const table = Array.from({ length: 16 }, (_, i) => 255 - 15 * i);
  const indexes = Uint8Array.from({ length: 8 * size }, (_, i) => (i < 16 ? i : (i * 11 + (i >> 4)) & 15));
  const input = d.input("x", indexes);
  const out = d.output(8 * size);
  b.loop("i", 0, 8, 1, (i) => {
    const at = { stride: size, offset: 0 };
    const index = b.op.vu8load(b.op.addr(input, i, at), { offset: 0, bits: 4 });
    b.op.vu8store(b.op.addr(out, i, at), b.op.vlookup(index, { table }), { offset: 0 });
  });
  return d.finish();
}

/** Every index, in tables that follow each other at `misaligned` bytes from where a register would begin. */
function memoryLookupCase(target: Target, misaligned: number): OpCase {
  const d = new Draft(target, `vu8lookup at ${misaligned}`, "vu8lookup");
  const { b } = d;
  const size = 4 * target.lanes;
  const tables = d.input(
    "tables",
    Uint8Array.from({ length: 8 * 16 }, (_, i) => 255 - i),
    { misaligned },
  );
  const indexes = Uint8Array.from({ length: 8 * size }, (_, i) => (i < 16 ? i : (i * 11 + (i >> 4)) & 15));
  const input = d.input("x", indexes);
  const out = d.output(8 * size);
  b.loop("i", 0, 4, 1, (i) => {
    const table = b.op.addr(tables, i, { stride: 16, offset: 0 });
    for (const [n, offset] of [0, 64].entries()) {
      const index = b.op.vu8load(b.op.addr(input, i, { stride: size, offset: n * 4 * size }), {
        offset: 0,
        bits: 4,
      });
      const to = b.op.addr(out, i, { stride: size, offset: n * 4 * size });
      b.op.vu8store(to, b.op.vu8lookup(b.op.vu8table(table, { offset }), index), { offset: 0 });
    }
  });
  return d.finish();
}

/** Tables that follow each other at `misaligned` bytes from where a register would begin. */
function tableCase(target: Target, misaligned: number): OpCase {
  const d = new Draft(target, `vu8table at ${misaligned}`, "vu8table");
  const { b } = d;
  const size = 4 * target.lanes;
  const bytes = Uint8Array.from({ length: 4 * 16 }, (_, i) => 255 - i);
  const tables = d.input("tables", bytes, { misaligned });
  const out = d.output(4 * size);
  b.loop("i", 0, 2, 1, (i) => {
    for (const [n, offset] of [0, 32].entries()) {
      const table = b.op.vu8table(b.op.addr(tables, i, { stride: 16, offset: 0 }), { offset });
      b.op.vu8store(b.op.addr(out, i, { stride: size, offset: n * 2 * size }), table, { offset: 0 });
    }
  });
  return d.finish();
}

function byteCases(target: Target): OpCase[] {
  const one = (bits: number): Column => ({ type: "vi32", bytes: codes(32 * target.lanes, bits, rng()) });
  const mean = (left: number, right: number) =>
    mapCase(target, "vu8mean", `${left} ${right}`, [codeColumn(target, left), codeColumn(target, right)]);
  return [
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((shift) => fieldCase(target, shift)),
    lookupCase(target),
    tableCase(target, 0),
    tableCase(target, 3),
    memoryLookupCase(target, 0),
    memoryLookupCase(target, 3),
    mapCase(target, "vu8flip", "", [codeColumn(target, 8)]),
    mean(8, 8),
    mean(2, 4),
    mean(7, 1),
    mapCase(target, "vu8add", "", [codeColumn(target, 8), otherBytes(target)]),
    ...[0, 1, 2, 3].flatMap((index) =>
      [0, 1, 5, 7].map((shift) =>
        mapCase(target, "vbytejoin", `${index} by ${shift}`, [codeColumn(target, 8), otherBytes(target)], {
          index,
          shift,
        }),
      ),
    ),
    ...[0, 1, 2, 3].map((index) =>
      mapCase(target, "vbyteof", `${index}`, [codeColumn(target, 8)], { index }),
    ),
    ...[1, 2, 3, 4, 5, 6, 7, 8].map((bits) => mapCase(target, "vbytes", `${bits}`, [one(bits)], { bits })),
  ];
}

/**
 * Operands of one trip. The extremes come first: every code at its maximum against 127, −127 and both by turns (in
 * neighbouring bytes, and in neighbouring links), codes 0 and half, accumulators that wrap.
 */
function dotOperands(lanes: number, widths: readonly number[], trip: number, random: Rng) {
  const extreme = (f: (link: number, byte: number) => number) =>
    Int8Array.from({ length: 4 * widths.length }, (_, i) => f(i >> 2, i & 3));
  const link = (bits: number) => {
    if (trip >= 6) return codes(4 * lanes, bits, random);
    return new Uint8Array(4 * lanes).fill(trip < 4 ? 2 ** bits - 1 : trip === 4 ? 0 : 2 ** (bits - 1));
  };
  const extremes = [
    extreme(() => 127),
    extreme(() => -127),
    extreme((_, byte) => (byte & 1 ? -127 : 127)),
    extreme((link) => (link & 1 ? -127 : 127)),
    extreme(() => 127),
    extreme(() => -127),
  ];
  const sums = Array.from({ length: lanes }, (_, i) => {
    return trip < 6 ? 0 : trip === 6 ? I32_CORNERS.at(-1 - (i & 3))! : random.u32();
  });
  return {
    weights: widths.flatMap((bits) => [...link(bits)]),
    x: extremes[trip] ?? activations(4 * widths.length, random),
    sums,
  };
}

const DOT_TRIPS = 10;

/** What is made of the codes and inputs of a trip's links. */
type Links = (
  b: KernelBuilder,
  sum: Value<"vi32">,
  weights: readonly Value<"vu8">[],
  x: readonly Value<"vi8">[],
) => Value<"vi32">;

/** Links with codes of `widths[n]` bits in link n, as one chain if nothing else is said. */
function dotCase(
  target: Target,
  op: OpCase["op"],
  widths: readonly number[],
  links: Links = (b, sum, w, x) => b.dot(sum, w, x),
): OpCase {
  const distinct = [...new Set(widths)].join(" and ");
  const d = new Draft(target, `${op} ${widths.length} links of ${distinct} bits`, op);
  const { b } = d;
  const size = 4 * target.lanes;
  const random = rng();
  const trips = Array.from({ length: DOT_TRIPS }, (_, t) => dotOperands(target.lanes, widths, t, random));
  const weights = d.input("weights", Uint8Array.from(trips.flatMap((t) => t.weights)), { misaligned: 1 });
  const x = d.input("x", Uint8Array.from(trips.flatMap((t) => [...t.x])), { misaligned: 1 });
  const sums = d.input("sums", words(trips.flatMap((t) => t.sums)));
  const out = d.output(size * DOT_TRIPS);
  b.loop("i", 0, d.int("trips", DOT_TRIPS), 1, (i) => {
    const from = b.op.addr(weights, i, { stride: size * widths.length, offset: 0 });
    const with4 = b.op.addr(x, i, { stride: 4 * widths.length, offset: 0 });
    const w = widths.map((bits, n) => b.op.vu8load(from, { offset: n * size, bits }));
    const v = widths.map((_, n) => b.op.vbroadcast4(with4, { offset: 4 * n }));
    const sum = b.op.viload(b.op.addr(sums, i, { stride: size, offset: 0 }), { offset: 0 });
    b.op.vistore(b.op.addr(out, i, { stride: size, offset: 0 }), links(b, sum, w, v), { offset: 0 });
  });
  return d.finish();
}

/** The codes of every second link stay `up` bits up, at the top of codes of twice as many bits. */
function joinCase(target: Target, links: number, up: number): OpCase {
  const widths = Array.from({ length: links }, () => 2 * up);
  return dotCase(target, "vsumjoin", widths, (b, sum, weights, x) => {
    const chain = b.chain(up, () => sum);
    weights.forEach((w, n) => {
      const left = n % 2 === 0 ? 0 : up;
      chain.add(b.op.vfield(w, { shift: 0, mask: (2 ** up - 1) << left }), x[n] as Value<"vi8">, left);
    });
    return chain.close();
  });
}

/** The first half of the links beside the second, whose codes are `up` bits up. */
function pairCase(target: Target, links: number, bits: number, up: number): OpCase {
  const widths = Array.from({ length: links }, () => bits + up);
  return dotCase(target, "vsumpair", widths, (b, _, weights, x) => {
    const half = (from: number, left: number) => {
      const chain = b.chain(bits, () => b.op.viconst({ value: 0 }));
      weights.slice(from, from + links / 2).forEach((w, n) => {
        const field = b.op.vfield(w, { shift: 0, mask: (2 ** bits - 1) << left });
        chain.add(field, x[from + n] as Value<"vi8">, left);
      });
      return chain;
    };
    return half(0, 0).closePair(half(links / 2, up));
  });
}

/** Codes of 7 bits, and as many above 128: of all bytes in two's complement but −128. */
function negatedCase(target: Target, length: number): OpCase {
  const widths = Array.from({ length }, () => 7);
  return dotCase(target, "dot8n", widths, (b, sum, weights, x) => {
    const chain = b.chain(8, () => sum, undefined, "dot8n");
    const table = Array.from({ length: 16 }, (_, i) => 1 + 17 * i - (i === 15 ? 1 : 0));
    weights.forEach((w, n) => {
      const value = b.op.vlookup(b.op.vfield(w, { shift: 3, mask: 15 }), { table });
      chain.add(target.dot8Offset === 128 ? b.op.vu8flip(value) : value, x[n] as Value<"vi8">);
    });
    return chain.close();
  });
}

const LENGTHS = [1, 2, 4, 8, 9, 17];

function dotCases(target: Target): OpCase[] {
  return LENGTHS.flatMap((length) => {
    const all = (...bits: number[]) => Array.from({ length }, (_, n) => bits[n % bits.length]!);
    return [
      ...[1, 2, 3, 4, 5, 6, 7].map((bits) => dotCase(target, "dot", all(bits))),
      dotCase(target, "dot8", all(8)),
      negatedCase(target, length),
      ...(length > 1 ? [dotCase(target, "dot", all(7, 2)), dotCase(target, "dot8", all(8, 4))] : []),
    ];
  });
}

/** Codes and their products. */
export function codeCases(target: Target): OpCase[] {
  const joined = [1, 2].flatMap((up) => [2, 16, 32].map((links) => joinCase(target, links, up)));
  const paired = [0, 1, 2].map((up) => pairCase(target, 8, 2, up));
  return [...byteCases(target), ...dotCases(target), ...joined, ...paired];
}
