// @ts-check
/** From runs to figures: rates, and what part of the nearer limit they reach. */
import { limitsOf as limitsOfRounds } from "../compare/summary.mjs";
import { spread } from "../statistics.mjs";

/**
 * @import { Probe, TestName } from "../compare/results.mjs"
 * @import { Spread } from "../statistics.mjs"
 * @import { Setting } from "./sweeps.mjs"
 */

/**
 * What a run found. Bytes are nominal where they are what a token reads, of the process where they are memory.
 *
 * @typedef {object} Measured
 * @property {Probe} probe just before the run
 * @property {Record<TestName, number[]>} tokensPerSecond of every repetition
 * @property {number} operationsPerToken of prefill: its matrix products
 * @property {{ weights: number, kvCache: number }} bytesPerToken of decode
 * @property {number} rowsPerStep tokens of a prompt that read the weights together, at most
 * @property {number} loadSeconds
 * @property {{ weights: number, kvCache: number, work: number, peak: number }} memory
 */

/** @typedef {Setting & ({ found: Measured, error?: undefined } | { found?: undefined, error: string })} Row */

/**
 * @typedef {object} Curves
 * @property {string} started ISO 8601
 * @property {string | null} finished null where it was interrupted
 * @property {string} command
 * @property {string} machine
 * @property {Record<string, string>} versions
 * @property {Row[]} rows
 */

/**
 * @typedef {object} Figures
 * @property {Spread} tokensPerSecond
 * @property {number} gbs weights, keys and values read, per second
 * @property {number} gops operations of matrix products, per second
 * @property {"reads" | "int8"} limit the one that is nearer
 * @property {number} ofLimit
 */

/**
 * The median of all probes with so many threads: one alone may have been disturbed.
 *
 * @param {readonly Row[]} rows
 * @param {number} threads
 * @returns {import("../compare/summary.mjs").Summary["limits"]}
 */
function limitsOf(rows, threads) {
  const found = rows.flatMap((row) => (row.threads === threads && row.found ? [row.found] : []));
  return limitsOfRounds(
    found.map(({ probe }) => ({ probe, runs: [] })),
    threads,
  );
}

/**
 * What one run reached, with the limits that were probed before all of them.
 *
 * Keys and values are counted in decode only, since many tokens of a prompt read them together; their products never.
 *
 * @param {readonly Row[]} rows all of them
 * @param {Setting} setting
 * @param {Measured} found
 * @param {TestName} test
 * @returns {Figures}
 */
export function figuresOf(rows, { threads, promptTokens }, found, test) {
  const { readGBs, int8Gops } = limitsOf(rows, threads);
  const tokensPerSecond = spread(found.tokensPerSecond[test]);
  const rate = tokensPerSecond.median / 1e9;
  const { weights, kvCache } = found.bytesPerToken;
  const steps = Math.ceil(promptTokens / found.rowsPerStep);
  const bytes = test === "prefill" ? (steps * weights) / promptTokens : weights + kvCache;
  const gbs = bytes * rate;
  const gops = found.operationsPerToken * rate;
  const [ofReads, ofInt8] = [gbs / (readGBs?.median ?? Number.NaN), gops / (int8Gops?.median ?? Number.NaN)];
  return ofReads > ofInt8
    ? { tokensPerSecond, gbs, gops, limit: "reads", ofLimit: ofReads }
    : { tokensPerSecond, gbs, gops, limit: "int8", ofLimit: ofInt8 };
}
