// @ts-check
/** From runs with and without a technique to ratios, and these as a table. */
import { table } from "../compare/markdown.mjs";
import { TESTS } from "../compare/summary.mjs";
import { digits, median, spread } from "../statistics.mjs";

/**
 * @import { TestName } from "../compare/results.mjs"
 * @import { Spread } from "../statistics.mjs"
 */

/** Tokens/s of every repetition. @typedef {Record<TestName, number[]>} Rates */

/**
 * @typedef {object} Found
 * @property {string} name of the technique
 * @property {string} what
 * @property {number} depth
 * @property {{ full: Rates, without: Rates }[]} rounds
 * @property {string} [error] why there are no more of them
 */

/**
 * @typedef {object} Ablation
 * @property {string} started ISO 8601
 * @property {string | null} finished null where it was interrupted
 * @property {string} command
 * @property {string} machine
 * @property {Record<string, string>} versions
 * @property {string} model
 * @property {number} threads
 * @property {{ promptTokens: number, genTokens: number, repeat: number }} tests
 * @property {Found[]} techniques
 */

/**
 * What a technique does to a test: tokens/s (medians over the rounds), and how many times as many with it as without
 * (over the pairs of runs that were next to each other).
 *
 * @typedef {{ full: number, without: number, ratio: Spread }} Effect
 */

/**
 * @param {Found} found
 * @param {TestName} test
 * @returns {Effect | undefined} undefined where nothing was timed
 */
export function effectOf({ rounds }, test) {
  if (rounds.length === 0) return undefined;
  const full = rounds.map((round) => median(round.full[test]));
  const without = rounds.map((round) => median(round.without[test]));
  const ratios = full.map((rate, i) => rate / (without[i] ?? Number.NaN));
  return { full: median(full), without: median(without), ratio: spread(ratios) };
}

/**
 * @param {Ablation} ablation
 * @returns {string}
 */
export function markdown({ machine, model, threads, tests, techniques, versions, command, finished }) {
  const rounds = Math.max(0, ...techniques.map((found) => found.rounds.length));
  const head = [
    "technique",
    "what it is; what takes its place",
    "context",
    ...TESTS.flatMap((test) => [`${test} with`, "without", "ratio"]),
  ];
  const rows = techniques.map((found) => [
    `\`${found.name}\``,
    found.error === undefined ? found.what : `${found.what} (failed: ${found.error})`,
    `${found.depth}`,
    ...TESTS.flatMap((test) => cells(effectOf(found, test))),
  ]);
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const state = finished === null ? " **Interrupted: these are partial results.**" : "";
  const runs = `${threads} thread${threads === 1 ? "" : "s"}, prefill of ${tests.promptTokens} tokens, decode of ${tests.genTokens}`;
  return `${machine}; ${list.join(", ")}; ${model}, ${runs}. Tokens/s with everything and without one technique, in
turns; ratio: with over without, median (least–most) of ${rounds} round${rounds === 1 ? "" : "s"}.${state}

${table(head, rows, 2)}
\`\`\`sh
${command}
\`\`\`
`;
}

/**
 * @param {Effect | undefined} effect
 * @returns {string[]}
 */
function cells(effect) {
  if (effect === undefined) return ["–", "–", "–"];
  const { full, without, ratio } = effect;
  const [least, most] = [ratio.min.toFixed(2), ratio.max.toFixed(2)];
  const range = least === most ? "" : ` (${least}–${most})`;
  return [digits(full), digits(without), `**${ratio.median.toFixed(2)}**${range}`];
}
