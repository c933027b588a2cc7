// @ts-check
/** The curves as tables. */
import { percent, spreadText, table } from "../compare/markdown.mjs";
import { digits } from "../statistics.mjs";
import { figuresOf } from "./summary.mjs";
import { SWEEPS } from "./sweeps.mjs";

/**
 * @import { TestName } from "../compare/results.mjs"
 * @import { Curves, Row } from "./summary.mjs"
 * @import { Sweep } from "./sweeps.mjs"
 */

/**
 * @param {Curves} curves
 * @returns {string}
 */
export function markdown({ machine, started, finished, versions, command, rows }) {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const state = finished === null ? " **Interrupted: these are partial results.**" : "";
  const sections = SWEEPS.map((sweep) => section(sweep, rows));
  return `# Curves on ${machine}

${started.slice(0, 10)}; ${list.join(", ")}.${state}

Tokens/s: median (least–most) of the repetitions of a run. Limit: the nearer one, the median of what was probed
before all runs with as many threads. Memory: the peak of the process.

${sections.filter((text) => text !== "").join("\n")}
\`\`\`sh
${command}
\`\`\`
`;
}

/**
 * @param {Sweep} sweep
 * @param {readonly Row[]} rows of all sweeps
 * @returns {string}
 */
function section({ title, axis, tests, name, value }, rows) {
  const own = rows.filter(({ sweep }) => sweep === name);
  const [first] = own;
  if (first === undefined) return "";
  const isSize = name === "size";
  const head = [
    axis,
    ...(isSize ? ["format"] : []),
    ...tests.flatMap((test) => [`${test} tokens/s`, "of the limit"]),
    "memory",
  ];
  const lines = own.map((row) => [
    `${value(row)}`,
    ...(isSize ? [row.format] : []),
    ...cells(rows, row, tests),
  ]);
  const what = isSize ? "" : ` (${first.shape} ${first.format})`;
  return `## ${title}${what}\n\n${table(head, lines, isSize ? 2 : 1)}`;
}

/**
 * @param {readonly Row[]} rows
 * @param {Row} row
 * @param {readonly TestName[]} tests
 * @returns {string[]}
 */
function cells(rows, row, tests) {
  const { found } = row;
  if (found === undefined)
    return [row.error.replaceAll(/\s*[|\n]\s*/g, " "), ...Array(2 * tests.length).fill("")];
  return [
    ...tests.flatMap((test) => {
      const { tokensPerSecond, gbs, gops, limit, ofLimit } = figuresOf(rows, row, found, test);
      const amount = limit === "reads" ? `${digits(gbs)} GB/s` : `${digits(gops)} GOPS`;
      return [spreadText(tokensPerSecond), `${amount}, ${percent(ofLimit)}`];
    }),
    `${(found.memory.peak / 1e9).toFixed(1)} GB`,
  ];
}
