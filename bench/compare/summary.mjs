// @ts-check
/** From runs to figures: rates, ratios, fractions of what the machine can do. */
import { median, pairedRatio, spread } from "../statistics.mjs";

/**
 * @import { Case, CaseResult, Round, TestName, Work } from "./results.mjs"
 * @import { Spread } from "../statistics.mjs"
 */

/** @type {readonly TestName[]} */
export const TESTS = ["prefill", "decode"];

/** The engine that the others are compared with. */
export const OURS = "qigen";

/**
 * A limit of the machine: the best of the probe's variants in each round, then the median and the best of the rounds.
 *
 * @typedef {{ median: number, best: number }} Limit
 */

/**
 * What one engine reached in one test.
 *
 * @typedef {object} Figures
 * @property {string} settings
 * @property {Spread} [tokensPerSecond] absent where it failed
 * @property {number} [ratio] ours over this, the median over the rounds
 * @property {number} [amount] GB/s of decode, GOPS of prefill
 * @property {number} [ofLimit] its part of the median limit
 * @property {string} [error] the last one
 */

/**
 * @typedef {object} Summary
 * @property {Case} case
 * @property {{ readGBs?: Limit, int8Gops?: Limit }} limits
 * @property {Record<TestName, Record<string, Figures>>} tests by engine
 */

/**
 * @param {CaseResult} result
 * @param {readonly string[]} engines
 * @returns {Summary}
 */
export function summarise(result, engines) {
  const { rounds, ...rest } = result;
  const limits = limitsOf(rounds, result.threads);
  const work = rounds.flatMap(({ runs }) => runs).find((run) => run.work !== undefined)?.work;
  const figures = (/** @type {TestName} */ test) => {
    const limit = test === "prefill" ? limits.int8Gops : limits.readGBs;
    return Object.fromEntries(
      engines.map((engine) => [engine, figuresOf(rounds, test, engine, workOf(test, work), limit)]),
    );
  };
  return { case: rest, limits, tests: { prefill: figures("prefill"), decode: figures("decode") } };
}

/**
 * @param {TestName} test
 * @param {Work | undefined} work
 * @returns {number | undefined} operations or bytes of a token
 */
function workOf(test, work) {
  return test === "prefill" ? work?.operationsPerToken : work?.bytesPerToken;
}

/**
 * @param {readonly Round[]} rounds
 * @param {TestName} test
 * @param {string} engine
 * @param {number | undefined} perToken
 * @param {Limit | undefined} limit
 * @returns {Figures}
 */
function figuresOf(rounds, test, engine, perToken, limit) {
  const settings = bestSettings(rounds, engine)[test] ?? "";
  const samples = samplesOf(rounds, test, engine, settings);
  if (samples.flat().length === 0) {
    const errors = rounds.flatMap(({ runs }) => runs.filter((run) => run.engine === engine && run.error));
    const error = errors.at(-1)?.error;
    return { settings, ...(error === undefined ? {} : { error }) };
  }
  const tokensPerSecond = spread(samples.flat());
  const ours = samplesOf(rounds, test, OURS, bestSettings(rounds, OURS)[test] ?? "");
  const ratio = pairedRatio(medians(ours), medians(samples));
  const amount = perToken === undefined ? undefined : (perToken * tokensPerSecond.median) / 1e9;
  return {
    settings,
    tokensPerSecond,
    ...(ratio === undefined ? {} : { ratio }),
    ...(amount === undefined ? {} : { amount }),
    ...(amount === undefined || limit === undefined ? {} : { ofLimit: amount / limit.median }),
  };
}

/**
 * @param {readonly number[][]} samples
 * @returns {(number | undefined)[]}
 */
function medians(samples) {
  return samples.map((values) => (values.length === 0 ? undefined : median(values)));
}

/**
 * @param {readonly Round[]} rounds
 * @param {TestName} test
 * @param {string} engine
 * @param {string} settings
 * @returns {number[][]} of every round, tokens/s of every repetition
 */
function samplesOf(rounds, test, engine, settings) {
  return rounds.map(({ runs }) =>
    runs
      .filter((run) => run.engine === engine && run.settings === settings)
      .flatMap((run) => run.tokensPerSecond[test] ?? []),
  );
}

/**
 * The settings with which an engine was fastest in the first round where it worked, per test.
 *
 * @param {readonly Round[]} rounds
 * @param {string} engine
 * @returns {Partial<Record<TestName, string>>}
 */
export function bestSettings(rounds, engine) {
  /** @type {Partial<Record<TestName, string>>} */
  const best = {};
  for (const test of TESTS) {
    for (const { runs } of rounds) {
      const tried = runs.flatMap((run) => {
        const rates = run.tokensPerSecond[test];
        const counts = run.engine === engine && rates !== undefined && rates.length > 0;
        return counts ? [{ settings: run.settings, rate: median(rates) }] : [];
      });
      if (tried.length === 0) continue;
      best[test] = tried.reduce((a, b) => (b.rate > a.rate ? b : a)).settings;
      break;
    }
  }
  return best;
}

/**
 * @param {readonly Round[]} rounds
 * @param {number} threads at most
 * @returns {Summary["limits"]}
 */
export function limitsOf(rounds, threads) {
  const probes = rounds.flatMap(({ probe }) => (probe === undefined ? [] : [probe]));
  const within = (/** @type {{ threads: number }} */ point) => point.threads <= threads;
  const readGBs = limit(probes.map(({ reads }) => reads.filter(within).map(({ gbs }) => gbs.median)));
  const int8Gops = limit(probes.map(({ int8 }) => int8.filter(within).map(({ gops }) => gops)));
  return { ...(readGBs === undefined ? {} : { readGBs }), ...(int8Gops === undefined ? {} : { int8Gops }) };
}

/**
 * @param {readonly (readonly number[])[]} rounds the variants' speeds in every round
 * @returns {Limit | undefined}
 */
function limit(rounds) {
  const bests = rounds.filter((speeds) => speeds.length > 0).map((speeds) => Math.max(...speeds));
  return bests.length === 0 ? undefined : { median: median(bests), best: Math.max(...bests) };
}
