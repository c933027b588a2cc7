// @ts-check
/** What a comparison finds: the types of its JSON file, and how it is saved. */
import { saveFiles } from "../save.mjs";
import { chart } from "./chart.mjs";
import { markdown } from "./markdown.mjs";
import { summarise } from "./summary.mjs";

/** @typedef {"prefill" | "decode"} TestName */

/**
 * @typedef {object} Case
 * @property {string} shape
 * @property {string} format
 * @property {number} threads
 * @property {number} depth positions in the context before each test
 */

/**
 * What the model asks of any engine: nominal, without padding.
 *
 * @typedef {object} Work
 * @property {number} bytesPerToken weights and KV cache (f16) that a token of the decode test reads
 * @property {number} operationsPerToken of the matrix products of a prompt's token; a multiply-add is two
 */

/**
 * One run of a program.
 *
 * @typedef {object} Run
 * @property {string} engine
 * @property {string} settings of the engine; empty where there is nothing to choose
 * @property {string} command
 * @property {number} seconds it took in all
 * @property {Partial<Record<TestName, number[]>>} tokensPerSecond of every repetition
 * @property {Work} [work]
 * @property {string} [version] of the engine, as its report has it
 * @property {unknown} [report] what the program printed
 * @property {string} [error]
 */

/**
 * @typedef {object} Probe
 * @property {readonly { threads: number, hugePages: boolean, prefetchBytes: number, gbs: import("../statistics.mjs").Spread }[]} reads
 * @property {readonly { isa: string, threads: number, gops: number }[]} int8
 */

/**
 * @typedef {object} Round
 * @property {Probe} [probe]
 * @property {string} [probeError]
 * @property {Run[]} runs
 */

/** @typedef {Case & { rounds: Round[] }} CaseResult */

/**
 * @typedef {object} Results
 * @property {string} started ISO 8601
 * @property {string | null} finished null where the comparison was interrupted, or still runs
 * @property {string} command
 * @property {string} machine its name
 * @property {unknown} description of the machine, as `qigen doctor --json` gives it
 * @property {Record<string, string>} versions
 * @property {{ promptTokens: number, genTokens: number }} tests
 * @property {string[]} engines in the order of their turns, ours first
 * @property {CaseResult[]} cases
 */

/**
 * Writes results.json (all of it, with the summaries that the others show), results.md and results.svg.
 *
 * @param {string} folder
 * @param {Results} results
 */
export async function saveResults(folder, results) {
  const summaries = results.cases.map((found) => summarise(found, results.engines));
  await saveFiles(folder, {
    "results.json": `${JSON.stringify({ ...results, summaries }, null, 2)}\n`,
    "results.md": markdown(results),
    "results.svg": chart(results),
  });
}
