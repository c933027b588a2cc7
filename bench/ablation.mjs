/**
 * What each technique buys: the whole system beside one that lacks the technique, in turns, on random weights. What has
 * no option is switched off in a copy of dist/ among the temporary files, with a cache of its own, in which this
 * machine's measurements are the same. Progress goes to stderr, the table to stdout.
 *
 *     npm run bench:ablation -- --rounds 3
 */
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine } from "../dist/host/describe-machine.js";
import { measurementsPath } from "../dist/host/measurements.js";
import { tuningPath } from "../dist/host/tuning.js";
import { formatNamed } from "../dist/quant/formats.js";
import { effectOf, markdown } from "./ablation/summary.mjs";
import { applyEdit, TECHNIQUES } from "./ablation/techniques.mjs";
import { choices, commandLine, parsedOrExit, wholeNumber, words } from "./arguments.mjs";
import { benchSynthetic, ownVersions, ROOT } from "./children.mjs";
import { interruptSignal } from "./interrupt.mjs";
import { SHAPES } from "./model-file.mjs";

const NAMES = TECHNIQUES.map(({ name }) => name);
const USAGE = `usage: npm run bench:ablation -- [options]
  --shape NAME           shape of a published model (default: tinyllama-1.1b)
  --format NAME          format of the random weights (default: Q4_0)
  --threads N            (default: the machine's)
  --rounds N             pairs of runs for each technique (default: 3)
  --repeat N             repetitions of each test in a run (default: 2)
  --prompt-tokens N      tokens of the prefill test (default: 512)
  --gen-tokens N         tokens of the decode test (default: 64)
  --only LIST            some of the techniques: ${NAMES.join(", ")}
  --prefix COMMAND       put before every command that is timed, "taskset -c 0,1", say
  --json                 everything on stdout as JSON, instead of the table
  --out FILE             the table as a Markdown file`;

const machine = await describeMachine();
const options = parsedOrExit(USAGE, parsedOptions);
const signal = interruptSignal();
const folder = await mkdtemp(join(tmpdir(), "qigen-ablation-"));
const results = {
  started: new Date().toISOString(),
  finished: null,
  command: `npm run bench:ablation -- ${commandLine(process.argv.slice(2))}`.trimEnd(),
  machine: machine.name,
  versions: await ownVersions(signal),
  model: `${options.shape} ${options.format}`,
  threads: options.threads,
  tests: options.sizes,
  techniques: options.techniques.map(({ name, what, depth = 0 }) => ({ name, what, depth, rounds: [] })),
};
try {
  await timeAll();
  results.finished = new Date().toISOString();
} catch (error) {
  if (!signal.aborted) throw error;
  console.error("interrupted: the results so far follow");
} finally {
  await rm(folder, { recursive: true, force: true });
}
await report();

function parsedOptions() {
  const { values } = parseArgs({
    options: {
      shape: { type: "string", default: "tinyllama-1.1b" },
      format: { type: "string", default: "Q4_0" },
      threads: { type: "string", default: `${machine.threads}` },
      rounds: { type: "string", default: "3" },
      repeat: { type: "string", default: "2" },
      "prompt-tokens": { type: "string", default: "512" },
      "gen-tokens": { type: "string", default: "64" },
      only: { type: "string", default: NAMES.join() },
      prefix: { type: "string" },
      json: { type: "boolean", default: false },
      out: { type: "string" },
    },
  });
  const count = (name) => wholeNumber(name, values[name], 1);
  const [shape] = choices("shape", values.shape, SHAPES);
  const wanted = choices("only", values.only, NAMES);
  return {
    shape,
    format: formatNamed(values.format).name,
    threads: count("threads"),
    rounds: count("rounds"),
    sizes: {
      promptTokens: count("prompt-tokens"),
      genTokens: count("gen-tokens"),
      repeat: count("repeat"),
    },
    techniques: TECHNIQUES.filter(({ name }) => wanted.includes(name)),
    prefix: words(values.prefix),
    json: values.json,
    out: values.out && resolve(values.out),
  };
}

async function timeAll() {
  const full = await copyOf({ name: "full" });
  // All copies first: an edit that fits no more should fail at once, not after an hour.
  const copies = [];
  for (const technique of options.techniques) copies.push(await copyOf(technique));
  for (let round = 1; round <= options.rounds; round++) {
    for (const [i, technique] of options.techniques.entries()) {
      const found = results.techniques[i];
      if (found.error === undefined) await timePair(found, technique, { full, without: copies[i] }, round);
    }
  }
}

/** The project as it is built, less a technique. */
async function copyOf({ name, edits = [] }) {
  const copy = join(folder, name);
  await cp(join(ROOT, "dist"), join(copy, "dist"), { recursive: true });
  await cp(join(ROOT, "bin"), join(copy, "bin"), { recursive: true });
  await copyFile(join(ROOT, "package.json"), join(copy, "package.json"));
  await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
  for (const edit of edits) {
    const path = join(copy, "dist", edit.file);
    await writeFile(path, applyEdit(await readFile(path, "utf8"), edit));
  }
  await copyMeasurements(cacheOf(copy));
  return copy;
}

function cacheOf(copy) {
  return { QIGEN_CACHE: join(copy, "cache") };
}

/** What was measured and tuned on this machine, so that copies plan with it too. */
async function copyMeasurements(env) {
  for (const pathOf of [measurementsPath, tuningPath]) {
    await mkdir(dirname(pathOf(machine, env)), { recursive: true });
    await copyFile(pathOf(machine), pathOf(machine, env)).catch((error) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}

/** A run with the technique and one without, every other round in the other order. */
async function timePair(found, { name, flags = [], depth = 0 }, { full, without }, round) {
  const of = { shape: options.shape, format: options.format, threads: options.threads, depth };
  const run = async (cwd, extra) => {
    const { tokensPerSecond } = await benchSynthetic(
      { ...of, ...options.sizes },
      { signal, prefix: options.prefix, cwd, flags: extra, env: cacheOf(cwd) },
    );
    return tokensPerSecond;
  };
  const runs = { full: () => run(full, []), without: () => run(without, flags) };
  const pair = {};
  try {
    for (const side of round % 2 === 1 ? ["full", "without"] : ["without", "full"]) {
      pair[side] = await runs[side]();
    }
    found.rounds.push(pair);
    const { prefill, decode } = effects({ ...found, rounds: [pair] });
    console.error(`round ${round} of ${options.rounds}, ${name}: prefill ${prefill}, decode ${decode}`);
  } catch (error) {
    signal.throwIfAborted();
    found.error = error.message;
    console.error(`round ${round} of ${options.rounds}, ${name} failed: ${error.message}`);
  }
}

function effects(found) {
  const ratio = (test) => effectOf(found, test).ratio.median.toFixed(2);
  return { prefill: ratio("prefill"), decode: ratio("decode") };
}

async function report() {
  const text = markdown(results);
  if (options.out !== undefined) {
    await mkdir(dirname(options.out), { recursive: true });
    await writeFile(options.out, text);
  }
  console.log(options.json ? JSON.stringify(results, null, 2) : text);
}
