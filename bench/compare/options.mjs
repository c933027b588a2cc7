// @ts-check
/** The command line of the comparison. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { list, wholeNumber, words } from "../arguments.mjs";

export const USAGE = `usage: npm run bench:compare -- [options]
  --shapes LIST          shapes of published models (default: tinyllama-1.1b,llama-2-7b)
  --formats LIST         formats; those that GGUF lacks are timed without the peers (default: Q4_0,Q8_0)
  --threads LIST         numbers of threads (default: 1 and the machine's)
  --depths LIST          positions in the context before each test (default: 0,2048)
  --rounds N             turns of all engines (default: 3)
  --repeat N             repetitions of each test in a turn (default: 2)
  --prompt-tokens N      tokens of the prefill test (default: 512)
  --gen-tokens N         tokens of the decode test (default: 64)
  --llama-bench PATH     llama.cpp's own benchmark, as a peer
  --node-llama-cpp       node-llama-cpp, as a peer (npm ci --prefix peers --ignore-scripts)
  --isa NAME             instruction set of ours (default: the best of the machine)
  --prefix COMMAND       put before every command that is timed, "taskset -c 0,1", say
  --models DIR           where model files are kept for the next time (default: bench/results/models)
  --out DIR              where results.json, results.md and results.svg go (default: bench/results)
  --quick                one round of the smallest case, unless said otherwise`;

const DEFAULTS = {
  shapes: "tinyllama-1.1b,llama-2-7b",
  formats: "Q4_0,Q8_0",
  depths: "0,2048",
  rounds: "3",
  repeat: "2",
  "prompt-tokens": "512",
  "gen-tokens": "64",
};

const QUICK = {
  shapes: "tinyllama-1.1b",
  formats: "Q4_0",
  depths: "0",
  rounds: "1",
  repeat: "1",
  "prompt-tokens": "128",
  "gen-tokens": "16",
};

/**
 * @typedef {object} Options
 * @property {string[]} shapes
 * @property {string[]} formats
 * @property {number[]} threads
 * @property {number[]} depths
 * @property {number} rounds
 * @property {number} repeat
 * @property {number} promptTokens
 * @property {number} genTokens
 * @property {string | undefined} llamaBench
 * @property {boolean} nodeLlamaCpp
 * @property {string | undefined} isa
 * @property {string[]} prefix
 * @property {string} models
 * @property {string} out
 * @property {boolean} quick
 */

/**
 * @param {readonly string[]} args
 * @param {{ cwd: string, root: string, threads: number }} here where paths start, the project, the machine's threads
 * @returns {Options} Throws a `TypeError` or a `RangeError` for what cannot be meant.
 */
export function parseOptions(args, { cwd, root, threads }) {
  const text = /** @type {const} */ ({ type: "string" });
  const flag = /** @type {const} */ ({ type: "boolean", default: false });
  const { values } = parseArgs({
    args: [...args],
    options: {
      shapes: text,
      formats: text,
      threads: text,
      depths: text,
      rounds: text,
      repeat: text,
      "prompt-tokens": text,
      "gen-tokens": text,
      "llama-bench": text,
      "node-llama-cpp": flag,
      isa: text,
      prefix: text,
      models: text,
      out: text,
      quick: flag,
    },
  });
  const given = { ...(values.quick ? QUICK : DEFAULTS), ...values };
  const usual = values.quick ? `${threads}` : [...new Set([1, threads])].join();
  const count = (/** @type {keyof DEFAULTS} */ name) => wholeNumber(name, given[name], 1);
  return {
    shapes: list(given.shapes),
    formats: list(given.formats),
    threads: list(given.threads ?? usual).map((n) => wholeNumber("threads", n, 1)),
    depths: list(given.depths).map((n) => wholeNumber("depths", n, 0)),
    rounds: count("rounds"),
    repeat: count("repeat"),
    promptTokens: count("prompt-tokens"),
    genTokens: count("gen-tokens"),
    llamaBench: values["llama-bench"] === undefined ? undefined : resolve(cwd, values["llama-bench"]),
    nodeLlamaCpp: values["node-llama-cpp"],
    isa: values.isa,
    prefix: words(values.prefix),
    models: resolve(cwd, values.models ?? resolve(root, "bench/results/models")),
    out: resolve(cwd, values.out ?? resolve(root, "bench/results")),
    quick: values.quick,
  };
}
