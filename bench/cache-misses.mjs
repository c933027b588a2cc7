/**
 * Cache misses of generated AVX2 kernels with the model's blocking and with others, under cachegrind (package
 * `valgrind`; `npm run build` first); times without it, on one thread with cold weights:
 *
 *     node bench/cache-misses.mjs [--out bench/results/cache-misses]
 *
 * Writes OUT.md and OUT.svg. Misses are what one call adds to a program that does not call: all caches are cold.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { emitC } from "../dist/emit/c.js";
import { createNativeBackend } from "../dist/engine/native.js";
import { ProjectionTimer } from "../dist/engine/time-projection.js";
import { findCompilers } from "../dist/host/compilers.js";
import { describeMachine } from "../dist/host/describe-machine.js";
import { avx2 } from "../dist/isa/avx2.js";
import { projection } from "../dist/kernels/projection.js";
import { scratchBytes } from "../dist/kernels/weight-source.js";
import { defaultActivations } from "../dist/plan/activations.js";
import { smallestShares } from "../dist/plan/machine.js";
import { planProjection } from "../dist/plan/projection-plan.js";
import { layoutOf } from "../dist/plan/shape.js";
import { formatNamed } from "../dist/quant/formats.js";
import { packing } from "../dist/quant/packing.js";
import { parsedOrExit } from "./arguments.mjs";
import { missesPicture } from "./pictures.mjs";

const USAGE = `usage: node bench/cache-misses.mjs [--out PATH]
  --out PATH   where PATH.md and PATH.svg go (default: bench/results/cache-misses)`;

const { values: flags } = parsedOrExit(USAGE, () =>
  parseArgs({
    options: { out: { type: "string", default: "bench/results/cache-misses" } },
  }),
);
const machine = await describeMachine();
const [compiler] = (await findCompilers()).working;
const format = formatNamed("4bit-g128");
const [rows, cols] = [4096, 4096];
const shape = { format, rows, cols, activations: defaultActivations(format, cols) };
const folder = mkdtempSync(join(tmpdir(), "qigen-cache-"));
try {
  const tables = [await experiment(1), await experiment(128)];
  mkdirSync(dirname(flags.out), { recursive: true });
  const text = tables.flat().map(row).join("\n");
  const head = ["", "mb x tb", "mu x tu x nu", "L1 misses", "L2 misses", "L3 misses", "ms"];
  const lines = [`| ${head.join(" | ")} |`, `|${" --- |".repeat(head.length)}`, text];
  writeFileSync(`${flags.out}.md`, `${lines.join("\n")}\n`);
  writeFileSync(`${flags.out}.svg`, chart(tables[1]));
  console.log(lines.join("\n"));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The model's blocking; none; one that only fills registers; and blocks that are too small. */
function variants(tokens) {
  const { blocking } = planProjection(machine, avx2, shape, { tokens, threads: 1 });
  const { mu, tu, nu } = blocking;
  const all = { mb: cols, mu, tu };
  if (tokens === 1) {
    return [
      ["the model's", blocking],
      ["blocks of 1024 inputs", { ...all, mb: 1024, tb: rows, nu: 1 }],
    ];
  }
  return [
    ["the model's", blocking],
    ["registers only", { ...all, tb: rows, nu }],
    ["one token at a time", { ...all, tb: rows, nu: 1 }],
    ["blocks of 128 x 8", { ...all, mb: 128, tb: tu, nu }],
  ];
}

async function experiment(tokens) {
  const cases = variants(tokens).map(([name, blocking]) => ({ name, shape, tokens, blocking }));
  const open = (request) => createNativeBackend(request, compiler);
  const timer = await ProjectionTimer.create({ open, isa: avx2, threads: 1, cases });
  const times = await timer.time(cases).finally(() => timer.dispose());
  return cases.map((c, i) => ({ ...c, seconds: times[i].seconds, misses: missesOf(c) }));
}

/** Data misses (reads and writes) of one call: L1, then L2 and L3, which are simulated one at a time. */
function missesOf(c) {
  const program = compile(c);
  const sizes = smallestShares(machine.caches).map(({ bytes }) => bytes);
  const [l1, l2, l3 = 2 ** 25] = sizes;
  const run = (last, calls) => cachegrind(program, l1, last, calls);
  const difference = (last) => {
    const [none, one] = [run(last, 0), run(last, 1)];
    return { first: one.first - none.first, last: one.last - none.last };
  };
  const small = difference(l2);
  return { L1: small.first, L2: small.last, L3: difference(l3).last };
}

function cachegrind(program, l1, last, calls) {
  const out = join(folder, "out");
  const options = ["--tool=cachegrind", "--cache-sim=yes", `--D1=${l1},8,64`, `--LL=${last},16,64`];
  execFileSync("valgrind", [...options, `--cachegrind-out-file=${out}`, program, String(calls)], {
    stdio: "ignore",
  });
  const text = readFileSync(out, "utf8");
  const of = (mark) => text.match(new RegExp(`^${mark}: (.*)$`, "m"))[1].split(" ");
  const [events, counts] = [of("events"), of("summary").map(Number)];
  const count = (...names) => names.reduce((sum, name) => sum + counts[events.indexOf(name)], 0);
  return { first: count("D1mr", "D1mw"), last: count("DLmr", "DLmw") };
}

function compile({ blocking, tokens }) {
  const { activations } = shape;
  const spec = { format, cols, activations, blocking };
  const kernel = projection(spec, avx2);
  const pack = packing(format, rows, cols, blocking.tu / avx2.lanes, avx2);
  const file = join(folder, kernel.name);
  writeFileSync(`${file}.c`, emitC([kernel], avx2));
  writeFileSync(`${file}_main.c`, driver(kernel.name, pack, blocking, scratchBytes(spec, avx2), tokens));
  const options = ["-O2", "-std=gnu11", ...avx2.flags, "-o", `${file}_${tokens}`];
  execFileSync(compiler.path, [...options, `${file}.c`, `${file}_main.c`]);
  return `${file}_${tokens}`;
}

/** Zeros do as well as weights: the kernel has no branches on data. */
function driver(name, { tiles, totalBytes }, { tb, tu, expand }, scratch, tokens) {
  return `#include <stdint.h>
#include <stdlib.h>
struct team;
void ${name}(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team);
static void *memory(size_t bytes) { return aligned_alloc(4096, (bytes + 8192) & ~(size_t)4095); }
int main(int argc, char **argv) {
  int32_t *tokens = memory(64);
  *tokens = ${tokens};
  const uint64_t arguments[] = {(uint64_t)memory(${totalBytes}), (uint64_t)memory(${tokens * layoutOf(shape, avx2).rowBytes}),
    (uint64_t)memory(${4 * tokens * rows}), ${4 * rows}, ${tiles}, (uint64_t)tokens, ${tb / tu}, 0${expand ? `, (uint64_t)memory(${scratch})` : ""}};
  if (argc > 1 && atoi(argv[1])) ${name}(arguments, 0, 1, NULL);
}
`;
}

function row({ name, tokens, blocking, misses, seconds }) {
  const { mb, tb, mu, tu, nu } = blocking;
  const count = (n) => `${(n / 1e6).toFixed(2)} M`;
  const cells = [
    `${tokens === 1 ? "1 token" : `${tokens} tokens`}, ${name}`,
    `${mb} x ${tb}`,
    `${mu} x ${tu} x ${nu}`,
    count(misses.L1),
    count(misses.L2),
    count(misses.L3),
    (1e3 * seconds).toFixed(2),
  ];
  return `| ${cells.join(" | ")} |`;
}

function chart(results) {
  const title = `Cache misses of ${results[0].tokens} tokens, millions`;
  return missesPicture(
    title,
    results.map(({ name, misses }) => ({
      name,
      values: ["L1", "L2", "L3"].map((level) => misses[level] / 1e6),
    })),
  );
}
