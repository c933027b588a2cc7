import { expect } from "vitest";
import { at } from "../../src/base/assert.ts";
import { Rng } from "../../src/base/rng.ts";
import type { Isa } from "../../src/isa/isa.ts";
import { paddedCols } from "../../src/kernels/activations.ts";
import { type CombineSpec, combine } from "../../src/kernels/combine.ts";
import { groupSlots } from "../../src/kernels/group-slots.ts";
import { choiceStride, EXPERT_BYTES, ROUTE_COUNTS, type RouteSpec, route } from "../../src/kernels/route.ts";
import { describeKernels, floatsOf, i32, input, type KernelCase, output, type Work } from "./bench.ts";
import { normals, paddedRows } from "./rows.ts";

const integersOf = (bytes: Uint8Array) => new Int32Array(bytes.slice().buffer);

/** The first `used` of so many values per token of rows of choices. */
function choicesOf<T>(values: ArrayLike<T>, tokens: number, used: number): T[][] {
  const stride = choiceStride(used) / 4;
  return Array.from({ length: tokens }, (_, t) =>
    Array.from({ length: used }, (_, i) => values[t * stride + i] as T),
  );
}

/** Rows of choices with these values, poison between them. */
function choiceRows(rows: readonly (readonly number[])[], used: number): Int32Array {
  const stride = choiceStride(used) / 4;
  const all = new Int32Array(rows.length * stride).fill(0x5a5a5a5a);
  rows.forEach((row, t) => all.set(row, t * stride));
  return all;
}

interface RouteCase extends RouteSpec {
  readonly name: string;
  readonly tokens: number;
  readonly threads: number;
  /** Score of an expert for a token; random if not given. */
  readonly score?: (token: number, expert: number) => number;
}

const ROUTES: readonly RouteCase[] = [
  { name: "Mixtral's", experts: 8, used: 2, softmaxOver: "chosen", tokens: 5, threads: 3 },
  { name: "Qwen2's", experts: 60, used: 4, softmaxOver: "all", tokens: 3, threads: 1 },
  { name: "many", experts: 200, used: 17, softmaxOver: "all", tokens: 2, threads: 1 },
  { name: "all experts", experts: 5, used: 5, softmaxOver: "chosen", tokens: 4, threads: 1 },
  { name: "one of one", experts: 1, used: 1, softmaxOver: "all", tokens: 2, threads: 3 },
  {
    name: "ties",
    ...{ experts: 9, used: 4, softmaxOver: "chosen", tokens: 3, threads: 1 },
    score: (t, e) => (t === 0 ? 0 : (e * 7) % 3),
  },
  {
    name: "scores far apart",
    ...{ experts: 6, used: 3, softmaxOver: "all", tokens: 2, threads: 1 },
    score: (t, e) => (t === 0 ? 1e30 * e : -1e4 * e),
  },
];

function routeWork(isa: Isa, { experts, used, softmaxOver, tokens, score }: RouteCase): Work {
  const rng = new Rng(experts);
  const values = Float32Array.from({ length: tokens * experts }, (_, i) =>
    score === undefined ? 2 * rng.normal() : score(Math.floor(i / experts), i % experts),
  );
  const chosen = output("chosen", tokens * choiceStride(used));
  const weights = output("weights", tokens * choiceStride(used));
  const scores = output("scores", paddedRows(values, experts));
  const kernel = route({ experts, used, softmaxOver }, isa);
  return {
    steps: [{ kernel, arguments: [scores, chosen, weights, input("counts", i32(tokens))] }],
    check: (after) => {
      const ids = choicesOf(integersOf(after(chosen)), tokens, used);
      const found = choicesOf(floatsOf(after(weights)), tokens, used);
      for (let t = 0; t < tokens; t++) {
        const own = values.subarray(t * experts, (t + 1) * experts);
        const order = Array.from(own.keys()).sort((a, b) => at(own, b) - at(own, a) || a - b);
        const best = order.slice(0, used);
        expect(ids[t]).toEqual(best);
        const powers = Array.from(own, (v) => Math.exp(v - at(own, at(order, 0))));
        const over = softmaxOver === "all" ? order : best;
        const sum = over.reduce((total, e) => total + at(powers, e), 0);
        best.forEach((e, i) => {
          expect(Math.abs(at(at(found, t), i) - at(powers, e) / sum)).toBeLessThan(2 ** -20);
        });
      }
    },
  };
}

/** Whatever the scores are, only experts that there are. */
function absurdScores(isa: Isa): KernelCase {
  const [experts, used] = [5, 3];
  const rows = [
    [Number.NaN, 1, 2, 3, 4],
    [1, Number.NaN, Number.POSITIVE_INFINITY, 0, Number.NaN],
    Array(5).fill(Number.NaN),
    Array(5).fill(Number.NEGATIVE_INFINITY),
    Array(5).fill(Number.POSITIVE_INFINITY),
  ];
  return {
    name: "scores that are no numbers",
    make: () => {
      const chosen = output("chosen", rows.length * choiceStride(used));
      const weights = output("weights", rows.length * choiceStride(used));
      const scores = output("scores", paddedRows(rows.flat(), experts));
      const kernel = route({ experts, used, softmaxOver: "all" }, isa);
      return {
        steps: [{ kernel, arguments: [scores, chosen, weights, input("counts", i32(rows.length))] }],
        check: (after) => {
          const ids = choicesOf(integersOf(after(chosen)), rows.length, used).flat();
          expect(ids.filter((id) => !(id >= 0 && id < experts))).toEqual([]);
        },
      };
    },
  };
}

interface GroupCase {
  readonly name: string;
  readonly experts: number;
  /** Experts of every token. */
  readonly chosen: readonly (readonly number[])[];
  readonly threads: number;
}

function randomChoices(tokens: number, used: number, experts: number): number[][] {
  const rng = new Rng(tokens);
  return Array.from({ length: tokens }, () => {
    const left = Array.from({ length: experts }, (_, e) => e);
    return Array.from({ length: used }, () => left.splice(rng.integer(left.length), 1)[0] as number);
  });
}

const GROUPS: readonly GroupCase[] = [
  { name: "some", experts: 8, chosen: randomChoices(13, 2, 8), threads: 3 },
  { name: "one token", experts: 60, chosen: randomChoices(1, 4, 60), threads: 1 },
  { name: "all tokens with one expert", experts: 5, chosen: Array(9).fill([3]), threads: 1 },
  { name: "more choices than lanes", experts: 40, chosen: randomChoices(3, 33, 40), threads: 3 },
];

function groupWork(isa: Isa, { experts, chosen }: GroupCase): Work {
  const used = at(chosen, 0).length;
  const slots = chosen.length * used;
  const places = output("chosen", choiceRows(chosen, used));
  const list = output("list", EXPERT_BYTES * experts);
  const tokens = output("tokens", 4 * slots);
  const next = output("next", 4 * experts);
  const totals = output("totals", ROUTE_COUNTS.bytes);
  const kernel = groupSlots({ experts, used }, isa);
  const counts = input("counts", i32(chosen.length));
  return {
    steps: [{ kernel, arguments: [places, list, tokens, next, totals, counts] }],
    check: (after) => {
      const sorted = chosen
        .flatMap((row, token) => row.map((expert, choice) => ({ expert, token, choice })))
        .sort((a, b) => a.expert - b.expert || a.token - b.token || a.choice - b.choice);
      expect(Array.from(integersOf(after(tokens)))).toEqual(sorted.map(({ token }) => token));
      const slotsOf = choicesOf(integersOf(after(places)), chosen.length, used);
      sorted.forEach(({ token, choice }, slot) => {
        expect(slotsOf[token]?.[choice]).toBe(slot);
      });
      const met = [...new Set(sorted.map(({ expert }) => expert))];
      const entries = integersOf(after(list));
      met.forEach((expert, n) => {
        const own = sorted.filter((slot) => slot.expert === expert);
        const first = sorted.findIndex((slot) => slot.expert === expert);
        expect(Array.from(entries.subarray(4 * n, 4 * n + 3))).toEqual([expert, first, own.length]);
      });
      const found = integersOf(after(totals));
      expect(found[ROUTE_COUNTS.slots / 4]).toBe(slots);
      expect(found[ROUTE_COUNTS.experts / 4]).toBe(met.length);
    },
  };
}

function combineWork(isa: Isa, spec: CombineSpec, tokens: number): Work {
  const { cols, used, shared, accumulate } = spec;
  const rng = new Rng(cols);
  const outputs = normals(rng, tokens * used * cols);
  const weights = normals(rng, tokens * used);
  const slots = Array.from({ length: tokens }, (_, t) =>
    Array.from({ length: used }, (_, i) => (i * tokens + t) % (tokens * used)),
  );
  const before = normals(rng, tokens * cols);
  const common = normals(rng, tokens * cols);
  const amounts = normals(rng, tokens, 3);
  const weightRows = new Float32Array((tokens * choiceStride(used)) / 4);
  slots.forEach((row, t) =>
    row.forEach((slot, i) => {
      weightRows[(t * choiceStride(used)) / 4 + i] = at(weights, slot);
    }),
  );
  const y = output("y", paddedRows(before, cols));
  return {
    steps: [
      {
        kernel: combine(spec, isa),
        arguments: [
          input("outputs", paddedRows(outputs, cols)),
          input("slots", choiceRows(slots, used)),
          input("weights", weightRows),
          y,
          input("counts", i32(tokens)),
          ...(shared
            ? [input("shared", paddedRows(common, cols)), input("amounts", paddedRows(amounts, 1))]
            : []),
        ],
      },
    ],
    check: (after) => {
      const actual = floatsOf(after(y));
      before.forEach((own, n) => {
        const [t, c] = [Math.floor(n / cols), n % cols];
        const ofExperts = at(slots, t).map((slot) => at(weights, slot) * at(outputs, slot * cols + c));
        const ofShared = shared ? [at(common, n) / (1 + Math.exp(-at(amounts, t)))] : [];
        const terms = [...ofExperts, ...ofShared, ...(accumulate ? [own] : [])];
        const expected = terms.reduce((a, b) => a + b, 0);
        const size = terms.reduce((a, b) => a + Math.abs(b), 0);
        const error = Math.abs(at(actual, t * paddedCols(cols) + c) - expected);
        if (!(error <= 2 ** -20 * size)) expect.fail(`token ${t}, column ${c}: ${error} off ${expected}`);
      });
    },
  };
}

const COMBINES: readonly CombineSpec[] = [
  { cols: 320, used: 2, shared: false, accumulate: true },
  { cols: 33, used: 4, shared: true, accumulate: true },
  { cols: 129, used: 1, shared: false, accumulate: false },
  { cols: 64, used: 18, shared: true, accumulate: false },
];

describeKernels("choices of experts", (isa) => [
  ...ROUTES.map((c) => ({ name: c.name, threads: c.threads, make: () => routeWork(isa, c) })),
  absurdScores(isa),
]);
describeKernels("slots of experts", (isa) =>
  GROUPS.map((c) => ({ name: c.name, threads: c.threads, make: () => groupWork(isa, c) })),
);
describeKernels("sums over experts", (isa) =>
  COMBINES.map((spec, n) => ({
    name: `${spec.used} of ${spec.cols}${spec.shared ? ", shared" : ""}${spec.accumulate ? ", added" : ""}`,
    threads: n % 2 === 0 ? 3 : 1,
    make: () => combineWork(isa, spec, 5),
  })),
);
