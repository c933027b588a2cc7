import { KernelBuilder } from "../ir/builder.ts";
import type { Kernel, Target, Value } from "../ir/types.ts";
import { paddedCols } from "./activations.ts";
import { exp } from "./math.ts";
import { forEachItem } from "./work.ts";

/**
 * A mixture of experts in memory. A **slot** is a token with one of the experts that it passes. Slots lie sorted by
 * expert, those of an expert in the order of the tokens, and so do the rows that experts read and write.
 */
export interface RouteSpec {
  readonly experts: number;
  /** Experts that a token passes. */
  readonly used: number;
  /** Weights are the softmax over the scores of all experts, or of the chosen ones. */
  readonly softmaxOver: "all" | "chosen";
}

/** Bytes from the choices, or the weights, of one token to those of the next: whole registers of any target. */
export function choiceStride(used: number): number {
  return 64 * Math.ceil(used / 16);
}

/** Byte offsets of how many slots there are, and experts that have any; on cache lines of their own. */
export const ROUTE_COUNTS = { slots: 0, experts: 64, bytes: 128 } as const;

/** Bytes of an entry in the list of experts that have slots: i32 expert, first slot, number of slots. */
export const EXPERT_BYTES = 16;

/** Less than any score, so that no expert is chosen twice; the lowest f32. */
const CHOSEN = -(2 - 2 ** -23) * 2 ** 127;

export function routeName({ experts, used, softmaxOver }: RouteSpec): string {
  return `route_${used}_of_${experts}_by_${softmaxOver}`;
}

/**
 * Chooses the experts of every token, highest score first, of equal ones that with the lower number, and their weights.
 * Whatever the scores are, infinite or no numbers, experts are ones that there are.
 */
export function route(spec: RouteSpec, target: Target): Kernel {
  const { experts, used, softmaxOver } = spec;
  const b = new KernelBuilder(target);
  const { op } = b;
  const scores = b.parameter("scores", "ptr", "f32 rows: a score for every expert; overwritten");
  const chosen = b.parameter("chosen", "ptr", "i32 rows: the experts of every token");
  const weights = b.parameter("weights", "ptr", "f32 rows: their weights");
  const counts = b.parameter("counts", "ptr", "i32: number of tokens");
  const stride = choiceStride(used);
  forEachItem(b, op.iload(counts, { offset: 0 }), (token) => {
    const row = b.named("row", op.addr(scores, token, { stride: 4 * paddedCols(experts), offset: 0 }));
    const ids = b.named("ids", op.addr(chosen, token, { stride, offset: 0 }));
    const own = b.named("own", op.addr(weights, token, { stride, offset: 0 }));
    b.loop("choice", 0, used, 1, (choice) => {
      const { score, expert } = largest(b, row, experts);
      op.istore(op.addr(ids, choice, { stride: 4, offset: 0 }), expert, { offset: 0 });
      op.fstore(op.addr(own, choice, { stride: 4, offset: 0 }), score, { offset: 0 });
      op.fstore(op.addr(row, expert, { stride: 4, offset: 0 }), b.f(CHOSEN), { offset: 0 });
    });
    const top = b.named("top", op.vfsplat(op.fload(own, { offset: 0 })));
    const others = softmaxOver === "all" ? sumOfPowers(b, row, experts, top) : b.f(0);
    const sum = b.named("sum", op.vfsplat(op.fadd(sumOfPowers(b, own, used, top), others)));
    eachVector(b, own, used, (place, count) => {
      const power = exp(b, op.vfsub(op.vfloadn(place, count, { offset: 0 }), top));
      op.vfstoren(place, count, op.vfdiv(power, sum), { offset: 0 });
    });
  });
  return b.build(routeName(spec), [
    `the ${used} experts of ${experts} with the highest scores, weighted by the softmax over ${softmaxOver === "all" ? "all scores" : "theirs"}`,
  ]);
}

/** The first of the largest values of a row. */
function largest(
  b: KernelBuilder,
  row: Value<"ptr">,
  length: number,
): { readonly score: Value<"f32">; readonly expert: Value<"i32"> } {
  const { op } = b;
  const score = b.variable("score", op.fload(row, { offset: 0 }));
  const expert = b.variable("expert", b.i(0));
  b.loop("i", 1, length, 1, (i) => {
    const value = b.named("value", op.fload(op.addr(row, i, { stride: 4, offset: 0 }), { offset: 0 }));
    b.if(op.flt(score.get(), value), () => {
      score.set(value);
      expert.set(i);
    });
  });
  return { score: score.get(), expert: expert.get() };
}

/** Σ e^(value − top) of a row; of those that are chosen already, the terms are 0. */
function sumOfPowers(b: KernelBuilder, row: Value<"ptr">, length: number, top: Value<"vf32">): Value<"f32"> {
  const { op } = b;
  const sum = b.variable("powers", op.vfconst({ value: 0 }));
  eachVector(b, row, length, (place, count) => {
    const power = exp(b, op.vfsub(op.vfloadn(place, count, { offset: 0 }), top));
    const isInside = op.vilt(op.viota(), op.visplat(count));
    sum.set(op.vfadd(sum.get(), op.vfselect(isInside, power, op.vfconst({ value: 0 }))));
  });
  return op.vfsum(sum.get());
}

/** Calls `body` with where a vector of a row begins, and how many of its lanes belong to the row. */
function eachVector(
  b: KernelBuilder,
  row: Value<"ptr">,
  length: number,
  body: (place: Value<"ptr">, count: Value<"i32">) => void,
): void {
  const { op } = b;
  b.loop("i", 0, length, b.lanes, (i) => {
    const count = b.named("count", op.imin(op.isub(b.i(length), i), b.i(b.lanes)));
    body(b.named("place", op.addr(row, i, { stride: 4, offset: 0 })), count);
  });
}
