// @ts-check
/** The results as tables. */
import { digits } from "../statistics.mjs";
import { OURS, summarise, TESTS } from "./summary.mjs";

/**
 * @import { Case, Results, TestName } from "./results.mjs"
 * @import { Figures, Limit, Summary } from "./summary.mjs"
 */

/** What the tables call the tests and what limits them. */
const TEXTS = /** @type {const} */ ({
  prefill: { title: "Prefill", unit: "GOPS", limit: "int8 peak" },
  decode: { title: "Decode", unit: "GB/s", limit: "bandwidth" },
});

/**
 * @param {Results} results
 * @returns {string}
 */
export function markdown(results) {
  const summaries = results.cases.map((found) => summarise(found, results.engines));
  const sections = [
    heading(results),
    ...TESTS.map((test) => testSection(test, results, summaries)),
    limitsSection(summaries),
    settingsSection(results, summaries),
    errorsSection(results, summaries),
    `## How\n\n\`\`\`sh\n${results.command}\n\`\`\`\n`,
  ];
  return sections.filter((section) => section !== "").join("\n");
}

/**
 * @param {Results} results
 * @returns {string}
 */
function heading({ machine, started, finished, versions, cases }) {
  const rounds = Math.max(0, ...cases.map((found) => found.rounds.length));
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const state = finished === null ? " **Interrupted: these are partial results.**" : "";
  return `# Comparison on ${machine}

${started.slice(0, 10)}; ${list.join(", ")}.${state}

Tokens/s: median (least–most) of all repetitions of ${rounds} round${rounds === 1 ? "" : "s"}, in which the engines
took turns on the same file. Ratios: ours over theirs, the median over the rounds. Limits: the best of all variants of a
probe before each round, the median over the rounds.
`;
}

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 * @param {number} texts columns of text at the left; the others are numbers
 * @returns {string}
 */
export function table(head, rows, texts) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(" | ")} |\n`;
  const rule = head.map((_, i) => (i < texts ? "---" : "--:"));
  return [head, rule, ...rows].map(line).join("");
}

/**
 * @param {TestName} test
 * @param {Results} results
 * @param {readonly Summary[]} summaries
 * @returns {string}
 */
function testSection(test, { engines, tests }, summaries) {
  const { title, unit, limit } = TEXTS[test];
  const tokens = test === "prefill" ? tests.promptTokens : tests.genTokens;
  const peers = engines.filter((engine) => engine !== OURS);
  const head = [
    "model",
    "threads",
    "context",
    ...engines.flatMap((engine) => (engine === OURS ? [engine] : [engine, "ratio"])),
    ...[OURS, ...peers.slice(0, 1)].map((engine) => `${engine} ${unit} (of ${limit})`),
  ];
  const rows = summaries.map(({ case: of, tests: found }) => [
    ...caseCells(of),
    ...engines.flatMap((engine) => {
      const figures = found[test][engine];
      return engine === OURS ? [rateText(figures)] : [rateText(figures), ratioText(figures)];
    }),
    ...[OURS, ...peers.slice(0, 1)].map((engine) => amountText(found[test][engine])),
  ]);
  return `## ${title}, ${tokens} tokens\n\n${table(head, rows, 1)}`;
}

/**
 * @param {Case} of
 * @returns {string[]}
 */
function caseCells({ shape, format, threads, depth }) {
  return [`${shape} ${format}`, `${threads}`, `${depth}`];
}

/**
 * @param {Figures | undefined} figures
 * @returns {string}
 */
function rateText(figures) {
  if (figures?.error !== undefined) return "failed";
  const rates = figures?.tokensPerSecond;
  return rates === undefined ? "–" : spreadText(rates);
}

/**
 * @param {import("../statistics.mjs").Spread} spread
 * @returns {string} "150 (100–220)"
 */
export function spreadText({ median, min, max }) {
  return min === max ? digits(median) : `${digits(median)} (${digits(min)}–${digits(max)})`;
}

/**
 * @param {Figures | undefined} figures
 * @returns {string}
 */
function ratioText(figures) {
  return figures?.ratio === undefined ? "–" : `**${figures.ratio.toFixed(2)}**`;
}

/**
 * @param {Figures | undefined} figures
 * @returns {string}
 */
function amountText(figures) {
  if (figures?.amount === undefined) return "–";
  const part = figures.ofLimit === undefined ? "" : ` (${percent(figures.ofLimit)})`;
  return `${digits(figures.amount)}${part}`;
}

/**
 * @param {number} part
 * @returns {string}
 */
export function percent(part) {
  return `${Math.round(100 * part)} %`;
}

/**
 * @param {readonly Summary[]} summaries
 * @returns {string}
 */
function limitsSection(summaries) {
  const text = (/** @type {Limit | undefined} */ limit) =>
    limit === undefined ? ["–", "–"] : [digits(limit.median), digits(limit.best)];
  const rows = summaries.map(({ case: of, limits }) => [
    ...caseCells(of),
    ...text(limits.readGBs),
    ...text(limits.int8Gops),
  ]);
  const head = ["probed beside", "threads", "context", "reads GB/s", "best", "int8 GOPS", "best"];
  return `## Limits of the machine\n\n${table(head, rows, 1)}`;
}

/**
 * @param {Results} results
 * @param {readonly Summary[]} summaries
 * @returns {string}
 */
function settingsSection({ engines }, summaries) {
  const rows = summaries.flatMap(({ case: of, tests }) =>
    engines.flatMap((engine) => {
      const [prefill, decode] = TESTS.map((test) => tests[test][engine]?.settings ?? "");
      return prefill || decode ? [[engine, ...caseCells(of), prefill ?? "", decode ?? ""]] : [];
    }),
  );
  if (rows.length === 0) return "";
  const head = ["engine", "model", "threads", "context", "prefill", "decode"];
  return `## Settings\n\nThe fastest of those that were tried in the first round.\n\n${table(head, rows, 2)}`;
}

/**
 * @param {Results} results
 * @param {readonly Summary[]} summaries
 * @returns {string}
 */
function errorsSection({ engines }, summaries) {
  const rows = summaries.flatMap(({ case: of, tests }) =>
    engines.flatMap((engine) => {
      const error = tests.prefill[engine]?.error ?? tests.decode[engine]?.error;
      return error === undefined ? [] : [[engine, ...caseCells(of), error.replaceAll(/\s*[|\n]\s*/g, " ")]];
    }),
  );
  if (rows.length === 0) return "";
  return `## Failures\n\n${table(["engine", "model", "threads", "context", "error"], rows, 5)}`;
}
