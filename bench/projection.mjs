/**
 * Times single projections with cold weights (`npm run build` first): our int8 kernels and, as the original paper
 * computed, f32 ones, beside onnxruntime's MatMulNBits, in turns, with the limits measured in the same run:
 *
 *     npm ci --prefix peers --ignore-scripts
 *     npm run bench:projection -- --threads 1 --shapes 4096x11008
 *
 * Writes OUT.json and OUT.md; rows that are in OUT.json already are not timed again.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { chooseBackend } from "../dist/engine/choose.js";
import { measureMachine } from "../dist/engine/measure.js";
import { createNativeBackend } from "../dist/engine/native.js";
import { timeInTurns } from "../dist/engine/stopwatch.js";
import { PROJECTION_EFFORT, ProjectionTimer } from "../dist/engine/time-projection.js";
import { findCompilers } from "../dist/host/compilers.js";
import { describeMachine } from "../dist/host/describe-machine.js";
import { defaultActivations } from "../dist/plan/activations.js";
import { planWeights } from "../dist/plan/projection-plan.js";
import { rowBytes } from "../dist/quant/blocks.js";
import { FORMATS, formatNamed } from "../dist/quant/formats.js";
import { parsedOrExit } from "./arguments.mjs";
import { matMulNBitsModel } from "./onnx.mjs";
import { median, pairedRatio } from "./statistics.mjs";

const SHAPES = "4096x4096,4096x11008,2048x5632";
const TOKENS = "1,2,4,8,64,512";
const DEFAULT_FORMATS =
  "Q4_0,Q4_1,Q8_0,F16,2bit-g32,2bit-g128,3bit-g128,4bit-g32,4bit-g128,8bit-g32,8bit-g128";
const USAGE = `usage: npm run bench:projection -- [options]
  --threads LIST   numbers of threads (default: 1 and the machine's)
  --tokens LIST    tokens at a time (default: ${TOKENS})
  --shapes LIST    inputs x outputs (default: ${SHAPES})
  --formats LIST   formats, or "all" (default: ${DEFAULT_FORMATS})
  --beside NAME    time each format's kernel in turns with that of this one instead, for the ratio of bytes/s
  --passes N       passes of each row, 10 ms long (default: ${PROJECTION_EFFORT.passes})
  --out PATH       where PATH.json and PATH.md go (default: bench/results/projection)`;

const { values: flags } = parsedOrExit(USAGE, () =>
  parseArgs({
    options: {
      threads: { type: "string" },
      tokens: { type: "string", default: TOKENS },
      shapes: { type: "string", default: SHAPES },
      formats: { type: "string", default: DEFAULT_FORMATS },
      beside: { type: "string" },
      passes: { type: "string", default: String(PROJECTION_EFFORT.passes) },
      out: { type: "string", default: "bench/results/projection" },
    },
  }),
);

/** Formats that MatMulNBits has too: bits and block size, symmetric. */
const PEERS = {
  Q4_0: [4, 32],
  Q8_0: [8, 32],
  "4bit-g128": [4, 128],
  "8bit-g128": [8, 128],
  "2bit-g128": [2, 128],
};
/** Activations of MatMulNBits: 4 lets them be int8, which is its fastest way. */
const ACCURACY_LEVEL = 4;

const effort = { ...PROJECTION_EFFORT, passes: Number(flags.passes) };
const described = await describeMachine();
const threadCounts = flags.threads?.split(",").map(Number) ?? [...new Set([1, described.threads])];
const tokenCounts = flags.tokens.split(",").map(Number);
const formats = flags.formats === "all" ? [...FORMATS.keys()] : flags.formats.split(",");
const shapes = flags.shapes.split(",").map((text) => text.split("x").map(Number));
const { isa, compiler } = chooseBackend(described, await findCompilers(), { backend: "native" });
const ort = flags.beside === undefined ? loadOnnxRuntime() : undefined;
const results = readSaved();
results.machine = { ...described, measured: await measureMachine(described) };
for (const threads of threadCounts) {
  for (const [cols, rows] of shapes) {
    for (const format of formats) {
      for (const tokens of tokenCounts) await timeRow({ format, rows, cols, tokens, threads });
    }
  }
}
const text = report();
writeFileSync(`${flags.out}.md`, text);
console.log(text);

function loadOnnxRuntime() {
  try {
    return createRequire(new URL("../peers/package.json", import.meta.url))("onnxruntime-node");
  } catch {
    console.error("onnxruntime is left out: npm ci --prefix peers --ignore-scripts");
    return undefined;
  }
}

function readSaved() {
  try {
    return JSON.parse(readFileSync(`${flags.out}.json`, "utf8"));
  } catch {
    return { isa: isa.name, rows: {} };
  }
}

async function timeRow(row) {
  const key = `${row.format} ${row.cols}x${row.rows} ${row.tokens} ${row.threads}`;
  if (key in results.rows) return;
  const ours = await ourTimer(row);
  const theirs = await onnxCalls(row);
  try {
    const works = [...ours.cases.map((c) => ours.timer.calls(c)), ...(theirs ? [theirs.calls] : [])];
    const names = [...ours.names, ...(theirs ? ["onnxruntime"] : [])];
    const passes = await timeInTurns(works, effort);
    const seconds = Object.fromEntries(names.map((name, i) => [name, median(passes[i])]));
    if (theirs) seconds.onnxruntime /= theirs.copies;
    const beside = passes[names.indexOf("beside")];
    results.rows[key] = { ...row, seconds, timesBeside: beside && pairedRatio(beside, passes[0]) };
    mkdirSync(dirname(flags.out), { recursive: true });
    writeFileSync(`${flags.out}.json`, `${JSON.stringify(results, null, 1)}\n`);
    console.error(line(results.rows[key]).join("  "));
  } finally {
    await ours.timer.dispose();
    await theirs?.release();
  }
}

/** Our kernels as they are planned, with int8 activations and with f32. */
async function ourTimer({ format: name, rows, cols, tokens, threads }) {
  const format = formatNamed(name);
  const caseOf = (format, activations) => {
    const shape = { format, rows, cols, activations };
    return { shape, tokens, blocking: planWeights(results.machine, isa, shape, { threads }).blocking };
  };
  const usual = (format) => caseOf(format, defaultActivations(format, cols));
  const names = [format.kind === "float" ? "f32" : "int8"];
  const cases = [usual(format)];
  if (flags.beside !== undefined) {
    names.push("beside");
    cases.push(usual(formatNamed(flags.beside)));
  } else if (format.kind !== "float") {
    names.push("f32");
    cases.push(caseOf(format, { kind: "f32" }));
  }
  const open = (request) => createNativeBackend(request, compiler);
  return { names, cases, timer: await ProjectionTimer.create({ open, isa, threads, cases, effort }) };
}

/** A session with as many copies of the matrix as no cache holds, where calls are long two; a call runs all of them. */
async function onnxCalls({ format, rows, cols, tokens, threads }) {
  const peer = PEERS[format];
  if (ort === undefined || peer === undefined) return undefined;
  const [bits, block] = peer;
  const bytes = (rows * cols * bits) / 8;
  const copies = tokens > 8 ? 2 : Math.ceil(PROJECTION_EFFORT.bufferBytes / bytes);
  const model = matMulNBitsModel({ rows, cols, bits, block, copies, accuracyLevel: ACCURACY_LEVEL });
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
  });
  const values = Float32Array.from({ length: tokens * cols }, () => Math.random() - 0.5);
  const x = new ort.Tensor("float32", values, [tokens, cols]);
  return {
    copies,
    async calls(count) {
      for (let i = 0; i < count; i++) await session.run({ x });
    },
    release: () => session.release(),
  };
}

function limits(threads) {
  const { measured } = results.machine;
  const of = (list) => list.filter((m) => m.threads === threads);
  const read = Math.max(...of(measured.readGBs).map((m) => m.gbs));
  const int8 = Math.max(...of(measured.int8Gops.filter((m) => m.isa === isa.name)).map((m) => m.gops));
  return { read, int8 };
}

/** One row of the table: times, the nearer limit and what part of it int8 reaches, ratios. */
function line({ format, rows, cols, tokens, threads, seconds, timesBeside }) {
  const { read, int8 } = limits(threads);
  const best = seconds.int8 ?? seconds.f32;
  const gbs = (rows * rowBytes(formatNamed(format), cols)) / best / 1e9;
  const gops = (2 * rows * cols * tokens) / best / 1e9;
  const [part, limit] = gbs / read > gops / int8 ? [gbs / read, "reads"] : [gops / int8, "int8"];
  const ms = (s) => (s === undefined ? "" : (1e3 * s).toFixed(3));
  const times = (s) => (s === undefined ? "" : `${(s / best).toFixed(2)}`);
  const besideBytes =
    timesBeside && rowBytes(formatNamed(flags.beside), cols) / rowBytes(formatNamed(format), cols);
  return [
    `${cols}x${rows}`,
    format,
    String(tokens),
    String(threads),
    ms(seconds.int8),
    ms(seconds.f32),
    ms(seconds.onnxruntime),
    gbs.toFixed(1),
    gops.toFixed(0),
    `${(100 * part).toFixed(0)} % of ${limit}`,
    seconds.int8 === undefined ? "" : times(seconds.f32),
    times(seconds.onnxruntime),
    timesBeside === undefined ? "" : (timesBeside / besideBytes).toFixed(2),
  ];
}

function report() {
  const head = [
    "inputs x outputs",
    "format",
    "tokens",
    "threads",
    "int8, ms",
    "f32, ms",
    "onnxruntime, ms",
    "GB/s",
    "GOPS",
    "limit",
    "f32 / int8",
    "onnxruntime / ours",
    `GB/s / ${flags.beside ?? "other"}'s`,
  ];
  const table = [head, head.map(() => "---"), ...Object.values(results.rows).map(line)];
  const peaks = threadCounts.map((threads) => {
    const { read, int8 } = limits(threads);
    return `${threads} threads: reads ${read} GB/s, int8 ${int8} GOPS`;
  });
  const lines = [
    `${results.machine.name}, ${isa.name}; weights cold; medians of turns. Limits of this run: ${peaks.join("; ")}.`,
    "GB/s of the format's own bytes and GOPS are those of int8 (F16: f32).",
    "",
    ...table.map((cells) => `| ${cells.join(" | ")} |`),
  ];
  return `${lines.join("\n")}\n`;
}
