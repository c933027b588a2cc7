/**
 * What speed depends on: length of the context, tokens at a time, threads, model size and format, on random weights, with
 * what the machine was probed to do before each run. Progress goes to stderr, tables to stdout, everything to
 * curves.json, curves.md and curves.svg. Runs that curves.json has already are not timed again.
 *
 *     npm run bench:curves -- --sweeps context,batch,threads
 */
import { readFile } from "node:fs/promises";
import { freemem } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { MAX_ROWS } from "../dist/engine/load-model.js";
import { openSynthetic } from "../dist/engine/synthetic.js";
import { describeMachine } from "../dist/host/describe-machine.js";
import { formatNamed } from "../dist/quant/formats.js";
import { choices, commandLine, list, parsedOrExit, wholeNumber, words } from "./arguments.mjs";
import { benchSynthetic, ownVersions, probeMachine, ROOT } from "./children.mjs";
import { chart } from "./curves/chart.mjs";
import { markdown } from "./curves/markdown.mjs";
import { figuresOf } from "./curves/summary.mjs";
import { inOrder, SWEEPS, settingKey, settingsOf } from "./curves/sweeps.mjs";
import { interruptSignal } from "./interrupt.mjs";
import { SHAPES } from "./model-file.mjs";
import { saveFiles } from "./save.mjs";
import { digits } from "./statistics.mjs";

const NAMES = SWEEPS.map(({ name }) => name);
const USAGE = `usage: npm run bench:curves -- [options]
  --sweeps LIST          what is varied (default: ${NAMES.join()})
  --shape NAME           shape of the model where it is not varied (default: tinyllama-1.1b)
  --format NAME          format of its weights (default: Q4_0)
  --depths LIST          tokens in the context before each test (default: 0,512,1024,2048,4096)
  --batches LIST         tokens of the prompt (default: 1,2,4,8,16,32,64,128,256,512)
  --threads LIST         numbers of threads; the largest where they are not varied (default: 1, 2, 4, … and the machine's)
  --shapes LIST          sizes (default: ${SHAPES.join()})
  --formats LIST         their formats (default: 4bit-g128,3bit-g128,2bit-g128)
  --repeat N             repetitions of each test (default: 3)
  --prompt-tokens N      tokens of the prefill test where they are not varied (default: 256)
  --gen-tokens N         tokens of the decode test (default: 32)
  --prefix COMMAND       put before every command that is timed, "taskset -c 0,1", say
  --out DIR              where the files go (default: bench/results)`;

/** Memory that a run needs besides its weights, and that others may want meanwhile. */
const SPARE_BYTES = 2 ** 30;
const PROBE_PASSES = 2;

const machine = await describeMachine();
const options = parsedOrExit(USAGE, parsedOptions);
const signal = interruptSignal();
const results = {
  started: new Date().toISOString(),
  finished: null,
  command: `npm run bench:curves -- ${commandLine(process.argv.slice(2))}`.trimEnd(),
  machine: machine.name,
  versions: await ownVersions(signal),
  rows: await savedRows(),
};
try {
  for (const setting of settingsOf(options)) await timeRow(setting);
  results.finished = new Date().toISOString();
} catch (error) {
  if (!signal.aborted) throw error;
  console.error("interrupted: the results so far are saved");
} finally {
  await save();
}
console.log(markdown(results));

function parsedOptions() {
  const text = (value) => ({ type: "string", default: value });
  const { values } = parseArgs({
    options: {
      sweeps: text(NAMES.join()),
      shape: text("tinyllama-1.1b"),
      format: text("Q4_0"),
      depths: text("0,512,1024,2048,4096"),
      batches: text("1,2,4,8,16,32,64,128,256,512"),
      threads: text(threadCounts(machine.threads).join()),
      shapes: text(SHAPES.join()),
      formats: text("4bit-g128,3bit-g128,2bit-g128"),
      repeat: text("3"),
      "prompt-tokens": text("256"),
      "gen-tokens": text("32"),
      prefix: text(""),
      out: text(join(ROOT, "bench/results")),
    },
  });
  const count = (name, least = 1) => wholeNumber(name, values[name], least);
  const counts = (name, least = 1) => list(values[name]).map((item) => wholeNumber(name, item, least));
  const [shape] = choices("shape", values.shape, SHAPES);
  return {
    sweeps: choices("sweeps", values.sweeps, NAMES),
    shape,
    format: formatNamed(values.format).name,
    depths: counts("depths", 0),
    batches: counts("batches"),
    threads: counts("threads"),
    shapes: choices("shapes", values.shapes, SHAPES),
    formats: list(values.formats).map((name) => formatNamed(name).name),
    repeat: count("repeat"),
    promptTokens: count("prompt-tokens"),
    genTokens: count("gen-tokens"),
    prefix: words(values.prefix),
    out: resolve(values.out),
  };
}

/** 1, 2, 4, … and all. */
function threadCounts(most) {
  const powers = Array.from({ length: Math.ceil(Math.log2(most)) }, (_, i) => 2 ** i);
  return [...powers, most];
}

async function savedRows() {
  try {
    return JSON.parse(await readFile(join(options.out, "curves.json"), "utf8")).rows;
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

/** Times a setting, unless that was done before; a failure is a result too, and tried again the next time. */
async function timeRow(setting) {
  const key = settingKey(setting);
  const known = results.rows.findIndex((row) => settingKey(row) === key);
  if (results.rows[known]?.found !== undefined) return;
  const row = { ...setting, ...(await outcomeOf(setting)) };
  const others = results.rows.filter((_, i) => i !== known);
  results.rows = inOrder([...others, row], SHAPES);
  console.error(`${key}: ${row.error ?? rates(row)}`);
  await save();
}

function rates(row) {
  const texts = ["prefill", "decode"].map((test) => {
    const { tokensPerSecond, ofLimit, limit } = figuresOf(results.rows, row, row.found, test);
    return `${test} ${digits(tokensPerSecond.median)} tokens/s, ${Math.round(100 * ofLimit)} % of ${limit}`;
  });
  return texts.join("; ");
}

async function outcomeOf(setting) {
  const { prefix } = options;
  try {
    checkRoom(setting);
    const probe = await probeMachine({ threads: setting.threads, passes: PROBE_PASSES, prefix, signal });
    const { tokensPerSecond, work, report } = await benchSynthetic(setting, { signal, prefix });
    const { loadSeconds, memory, backend, decode } = report;
    return {
      found: {
        probe,
        tokensPerSecond,
        operationsPerToken: work.operationsPerToken,
        bytesPerToken: decode.bytesPerToken,
        rowsPerStep: MAX_ROWS[backend],
        loadSeconds,
        memory,
      },
    };
  } catch (error) {
    signal.throwIfAborted();
    return { error: error.message };
  }
}

/** Throws where the system would have to end a process, this one or another, to make room for the weights. */
function checkRoom({ shape, format }) {
  const { tensors } = openSynthetic({ shape, format }).file;
  const weights = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const needed = weights + SPARE_BYTES;
  const free = freemem();
  if (needed <= free) return;
  const gb = (bytes) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new Error(`needs ${gb(needed)} of memory, ${gb(free)} are free`);
}

function save() {
  return saveFiles(options.out, {
    "curves.json": `${JSON.stringify(results, null, 1)}\n`,
    "curves.md": markdown(results),
    "curves.svg": chart(results),
  });
}
