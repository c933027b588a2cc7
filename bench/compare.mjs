/**
 * Compares this engine with llama.cpp on the same files, taking turns, and with what the machine was probed to do
 * before every turn. Progress goes to stderr, tables to stdout, everything to results.json, results.md and results.svg.
 *
 *     npm run bench:compare -- --llama-bench PATH --node-llama-cpp
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { GGML_TYPES } from "../dist/files/gguf-types.js";
import { describeMachine } from "../dist/host/describe-machine.js";
import { formatNamed } from "../dist/quant/formats.js";
import { choices, commandLine, parsedOrExit } from "./arguments.mjs";
import { ownVersions, probeMachine, ROOT } from "./children.mjs";
import { runChild } from "./compare/child.mjs";
import { llamaBench, nodeLlamaCpp, qigen } from "./compare/engines.mjs";
import { markdown } from "./compare/markdown.mjs";
import { parseOptions, USAGE } from "./compare/options.mjs";
import { saveResults } from "./compare/results.mjs";
import { limitsOf, TESTS } from "./compare/summary.mjs";
import { interruptSignal } from "./interrupt.mjs";
import { SHAPES, writeModel } from "./model-file.mjs";
import { digits, median } from "./statistics.mjs";

const peer = join(ROOT, "peers/node_modules/node-llama-cpp");

const machine = await describeMachine();
const options = parsedOrExit(USAGE, parsedOptions);
const signal = interruptSignal();

const engines = chosenEngines();
const results = {
  started: new Date().toISOString(),
  finished: null,
  command: `npm run bench:compare -- ${commandLine(process.argv.slice(2))}`.trimEnd(),
  machine: machine.name,
  description: machine,
  versions: await ownVersions(signal),
  tests: { promptTokens: options.promptTokens, genTokens: options.genTokens },
  engines: engines.map(({ name }) => name),
  cases: [],
};
try {
  for (const of of casesOf(options)) await compareCase(of);
  results.finished = new Date().toISOString();
} catch (error) {
  if (!signal.aborted) throw error;
  note("interrupted: the results so far are saved");
} finally {
  await save();
}
console.log(markdown(results));

function parsedOptions() {
  const parsed = parseOptions(process.argv.slice(2), {
    cwd: process.cwd(),
    root: ROOT,
    threads: machine.threads,
  });
  choices("shapes", parsed.shapes.join(), SHAPES);
  if (parsed.llamaBench !== undefined && !existsSync(parsed.llamaBench)) {
    throw new RangeError(`--llama-bench: there is no ${parsed.llamaBench}`);
  }
  return { ...parsed, formats: parsed.formats.map((name) => formatNamed(name).name) };
}

function chosenEngines() {
  const all = [qigen(options)];
  if (options.llamaBench !== undefined) all.push(llamaBench({ ...options, program: options.llamaBench }));
  if (options.nodeLlamaCpp) {
    if (existsSync(peer)) all.push(nodeLlamaCpp(options));
    else note("without node-llama-cpp, which is not installed: npm ci --prefix peers --ignore-scripts");
  }
  return all;
}

function casesOf({ shapes, formats, threads, depths }) {
  return shapes.flatMap((shape) =>
    formats.flatMap((format) =>
      threads.flatMap((count) => depths.map((depth) => ({ shape, format, threads: count, depth }))),
    ),
  );
}

async function compareCase(of) {
  const model = await modelFor(of);
  const found = { ...of, rounds: [] };
  results.cases.push(found);
  for (let i = 1; i <= options.rounds; i++) {
    const name = `${of.shape} ${of.format}, threads ${of.threads}, depth ${of.depth}, round ${i}/${options.rounds}`;
    const earlier = found.rounds.slice();
    const round = { runs: [] };
    found.rounds.push(round);
    Object.assign(round, await probe(of, name));
    for (const engine of engines) {
      for (const invocation of engine.invocations(of, model, earlier)) {
        round.runs.push(await run(engine, invocation, name));
        await save();
      }
    }
  }
}

/** The model's file, made if it is not there; undefined for a format that GGUF lacks. */
async function modelFor({ shape, format }) {
  if (!Object.hasOwn(GGML_TYPES, format)) return undefined;
  const path = join(options.models, `${shape}-${format}.gguf`);
  if (existsSync(path)) return path;
  note(`writing ${path}`);
  await mkdir(options.models, { recursive: true });
  await writeModel(path, { shape, format }, signal);
  return path;
}

/** What the machine can do now; a failure is part of the results. */
async function probe({ threads }, name) {
  const passes = options.quick ? 2 : 5;
  try {
    const found = await probeMachine({ threads, passes, prefix: options.prefix, signal });
    const { readGBs, int8Gops } = limitsOf([{ probe: found, runs: [] }], threads);
    note(`${name}: reads ${digits(readGBs.best)} GB/s, int8 ${digits(int8Gops.best)} GOPS`);
    return { probe: found };
  } catch (error) {
    signal.throwIfAborted();
    note(`${name}: the probe failed: ${error.message}`);
    return { probeError: error.message };
  }
}

async function run(engine, { settings, command }, name) {
  const words = [...options.prefix, ...command];
  const about = { engine: engine.name, settings, command: words.join(" ") };
  const label = `${name}: ${engine.name}${settings === "" ? "" : ` ${settings}`}`;
  try {
    const { stdout, seconds } = await runChild(words, { cwd: ROOT, signal });
    const found = { ...about, seconds, ...engine.parse(stdout) };
    if (found.version) results.versions[engine.name] = found.version;
    const rates = TESTS.flatMap((test) => {
      const samples = found.tokensPerSecond[test];
      return samples === undefined ? [] : [`${test} ${digits(median(samples))}`];
    });
    note(`${label}: ${rates.join(", ")} tokens/s (${seconds.toFixed(0)} s)`);
    return found;
  } catch (error) {
    signal.throwIfAborted();
    note(`${label} failed: ${error.message}`);
    return { ...about, seconds: 0, tokensPerSecond: {}, error: error.message };
  }
}

function save() {
  return saveResults(options.out, results);
}

function note(line) {
  console.error(line);
}
