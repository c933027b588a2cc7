import type { DotOpName } from "../ir/ops.ts";
import type { Statement, Value } from "../ir/types.ts";
import type { Isa } from "../isa/isa.ts";

/** Micro-ops of an instruction, and cycles until its result is there. */
export interface OpCost {
  readonly arithmetic: number;
  /** Of those, dot products and f32 multiplications, which fewer units may do. */
  readonly products: number;
  readonly loads: number;
  readonly stores: number;
  readonly scalar: number;
  readonly latency: number;
}

type Op = Extract<Statement, { kind: "op" }>;

const NOTHING: OpCost = { arithmetic: 0, products: 0, loads: 0, stores: 0, scalar: 0, latency: 0 };
/** Cycles of a vector load from L1, a multiply-add or conversion, and any other vector instruction: Zen 3; Intel ± 1. */
const LOAD = 7;
const FLOAT = 4;
const OTHER = 1;
/** Products and sums of a byte product, and of its widening. */
const MULTIPLY = 4;
/** A multiply-accumulate that is one instruction, `vpdpbusd`: 5 cycles on Intel, 4 on AMD. */
const ACCUMULATE = 5;

/** `_mm256_…` sequences count as many as `IsaCosts` says; constants are hoisted, or operands in memory. */
export function costOf(isa: Isa, s: Op): OpCost {
  const { costs } = isa;
  const load = (arithmetic = 0): OpCost => ({ ...NOTHING, loads: 1, arithmetic, latency: LOAD + arithmetic });
  const float = (arithmetic = costs.simple): OpCost => ({ ...NOTHING, arithmetic, latency: FLOAT });
  const other = (arithmetic = costs.simple): OpCost => ({ ...NOTHING, arithmetic, latency: OTHER });
  switch (s.op) {
    case "vfconst":
    case "viconst":
    case "vbytes":
    case "vftobits":
    case "vbitstof":
    case "iconst":
    case "fconst":
      return NOTHING;
    case "vfload":
    case "viload":
    case "vu8load":
    case "fload":
      return load();
    case "vbroadcast4":
      return load(splitsInputs(isa) ? INPUT_SPLIT : 0);
    case "vhload":
      return load(costs.halfLoad - 1);
    case "vbfload":
      return load(2 * costs.simple);
    case "vu8loadlanes":
    case "vi8loadlanes":
    case "vi8loadpairs":
      return load(costs.simple);
    case "vu8loadpairs":
      return load((s.attributes.shift === 0 || reachesTop(s) ? 2 : 3) * costs.simple);
    case "vu8table":
      return load(costs.tableLoad);
    case "vu8lookup":
    case "vipairlookup":
    case "vipairlookup2":
      return other(costs.lookup);
    case "vfstore":
    case "vistore":
    case "vu8store":
      return { ...NOTHING, stores: 1 };
    case "vhstore":
      return { ...NOTHING, stores: 1, arithmetic: costs.halfLoad };
    case "vfsplat":
      // A value that is loaded for this is loaded into all lanes.
      return { ...NOTHING, latency: OTHER };
    case "visplat":
      return other(2 * costs.simple);
    case "vfmul":
      return { ...float(), products: costs.simple };
    case "vfma":
      return { ...float((isa.fusedMultiplyAdd ? 1 : 2) * costs.simple), products: costs.simple };
    case "vipairdot":
      return { ...NOTHING, arithmetic: Math.min(costs.dot, 2), products: 1, latency: ACCUMULATE };
    case "vsumjoin":
      return other(2 * costs.simple);
    case "vsumpair":
      return other((costs.dotClose > 0 ? 3 : 2) * costs.simple);
    case "vbytejoin":
      return {
        ...NOTHING,
        arithmetic: costs.byteJoin,
        products: Math.min(costs.byteJoin, 2),
        latency: MULTIPLY + OTHER,
      };
    case "vfield":
      return fieldCost(isa, s);
    case "vbyteof":
      return other(s.attributes.index === 0 || s.attributes.index === 3 ? costs.simple : 2 * costs.simple);
    default:
      if (isVector(s.result) || s.operands.some(isVector)) return isFloat(s) ? float() : other();
      return { ...NOTHING, scalar: 1, latency: OTHER };
  }
}

/** Whether a field ends with the top bit of its byte, so that it needs no mask. */
const reachesTop = ({ attributes }: Op) => Number(attributes.mask) << Number(attributes.shift) >= 128;

function fieldCost({ costs }: Isa, { attributes }: Op): OpCost {
  const arithmetic = attributes.shift === 0 ? costs.field : costs.fieldShifted;
  return { ...NOTHING, arithmetic, latency: arithmetic };
}

const isFloat = (s: Op) => s.op.startsWith("vf") || s.op === "vitof";

/** f32 scalars live in vector registers too. */
export function isVector(value: Value | undefined): boolean {
  return value !== undefined && value.type !== "i32" && value.type !== "ptr";
}

/**
 * A target without byte products splits codes and inputs into even and odd bytes and multiplies them apart. The inputs'
 * split serves all row vectors: two shifts and a mask.
 */
const INPUT_SPLIT = 3;
function splitsInputs({ costs }: Isa): boolean {
  return costs.dot >= 6;
}

/**
 * One link of a chain of byte products; `latency` is from one link to the next. A link of one instruction adds inside
 * the multiplier, so that the next waits for all of it; of a longer link only the addition is on the chain.
 */
export function linkCost({ costs }: Isa, op: DotOpName): OpCost {
  const arithmetic = costs[op];
  return {
    ...NOTHING,
    arithmetic,
    products: Math.min(arithmetic, 1),
    latency: arithmetic === 1 ? ACCUMULATE : OTHER,
  };
}

/** What widens the sums of a chain and adds them to the accumulator. */
export function closeCost({ costs }: Isa): OpCost {
  return { ...NOTHING, arithmetic: costs.dotClose, latency: MULTIPLY + OTHER };
}

/** Cycles from the factors of a link to its sum. */
export const PRODUCT_LATENCY = MULTIPLY;
