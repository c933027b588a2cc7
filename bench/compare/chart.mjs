// @ts-check
/** The results as a bar chart: a panel for each test, a group of bars for each case, lengths relative to a peer. */

import { element, svgDocument, text } from "../../dist/plot/svg.js";
import { digits } from "../statistics.mjs";
import { percent } from "./markdown.mjs";
import { OURS, summarise, TESTS } from "./summary.mjs";

/**
 * @import { Results, TestName } from "./results.mjs"
 * @import { Figures, Summary } from "./summary.mjs"
 */

/** Pixels. */
const SIZE = {
  margin: 28,
  labels: 208,
  panel: 490,
  gap: 34,
  /** Right of the longest bar, for its text. */
  text: 190,
  head: 118,
  foot: 46,
  bar: 17,
  barGap: 4,
  groupGap: 20,
};

const WIDTH = 2 * SIZE.margin + SIZE.labels + TESTS.length * SIZE.panel + (TESTS.length - 1) * SIZE.gap;

/** Classes of the engines' bars, in their order. */
const BARS = ["ours", "first", "second"];

/** Colours, light or dark as the reader's system is. */
const STYLE = `
  .reference { stroke: #8c959f; stroke-dasharray: 4 3 }
  .band { fill: #f6f8fa }
  .spread { stroke: #24292f; stroke-opacity: 0.55; stroke-width: 1.5 }
  .ours { fill: #1a7f64 }
  .first { fill: #9aa7b8 }
  .second { fill: #c9d1db }
  @media (prefers-color-scheme: dark) {
    .reference { stroke: #768390 }
    .band { fill: #161b22 }
    .spread { stroke: #e6edf3 }
    .ours { fill: #2fb38e }
    .first { fill: #6e7b8c }
    .second { fill: #515c69 }
  }
`;

/**
 * @typedef {object} Group
 * @property {Summary} summary
 * @property {string[]} engines that were run
 * @property {number} top
 * @property {number} height
 */

/**
 * @param {Results} results
 * @returns {string} an SVG document
 */
export function chart(results) {
  const { engines, cases } = results;
  const summaries = cases.map((found) => summarise(found, engines));
  const reference = referenceOf(engines, summaries);
  const groups = groupsOf(engines, summaries);
  const last = groups.at(-1);
  const bottom = last === undefined ? SIZE.head : last.top + last.height;
  const height = bottom + SIZE.foot;
  const title = `Speed of ${engines.join(", ")} on ${results.machine}`;
  return svgDocument({ width: WIDTH, height, title, style: STYLE }, [
    ...header(results, reference),
    ...groups.filter((_, i) => i % 2 === 0).map(band),
    ...groups.flatMap(groupLabel),
    ...TESTS.flatMap((test, i) => panel(test, i, results, reference, groups, bottom)),
  ]);
}

/**
 * @param {readonly string[]} engines
 * @param {readonly Summary[]} summaries
 * @returns {Group[]}
 */
function groupsOf(engines, summaries) {
  let top = SIZE.head;
  return summaries.map((summary) => {
    const ran = engines.filter((engine) =>
      TESTS.some((test) => {
        const { tokensPerSecond, error } = summary.tests[test][engine] ?? {};
        return tokensPerSecond !== undefined || error !== undefined;
      }),
    );
    // Room for the two lines of the label.
    const height = heightOf(Math.max(2, ran.length)) + SIZE.groupGap;
    const group = { summary, engines: ran, top, height };
    top += group.height;
    return group;
  });
}

/**
 * @param {number} bars
 * @returns {number} of so many bars
 */
function heightOf(bars) {
  return bars * (SIZE.bar + SIZE.barGap) - SIZE.barGap;
}

/**
 * The engine whose speed is 1: the first peer that has results, or else ours.
 *
 * @param {readonly string[]} engines
 * @param {readonly Summary[]} summaries
 * @returns {string}
 */
function referenceOf(engines, summaries) {
  const works = (/** @type {string} */ engine) =>
    summaries.some(({ tests }) => TESTS.some((test) => tests[test][engine]?.tokensPerSecond !== undefined));
  return engines.find((engine) => engine !== OURS && works(engine)) ?? OURS;
}

/**
 * @param {Results} results
 * @param {string} reference
 * @returns {string[]}
 */
function header({ machine, started, finished, versions, engines }, reference) {
  const { margin } = SIZE;
  const date = `${started.slice(0, 10)}${finished === null ? ", partial results" : ""}`;
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const title = reference === OURS ? "Speed" : `Speed relative to ${reference}, same file, taking turns`;
  let x = margin;
  const legend = engines.flatMap((engine, i) => {
    const at = x;
    // 7 pixels for a character of 13 pixels: an estimate that leaves room.
    x += 44 + 7 * engine.length;
    return [
      element("rect", { class: BARS[i] ?? "second", x: at, y: 67, width: 13, height: 13, rx: 2 }),
      text(at + 19, 78, engine, i === 0 ? "strong" : ""),
    ];
  });
  return [
    text(margin, 36, title, "title"),
    text(margin, 56, [machine, date, ...list].join(" · "), "quiet small"),
    ...legend,
  ];
}

/**
 * @param {Group} group
 * @returns {string}
 */
function band({ top, height }) {
  return element("rect", { class: "band", x: 1, y: top, width: WIDTH - 2, height });
}

/**
 * @param {Group} group
 * @returns {string[]}
 */
function groupLabel({ summary, top, height }) {
  const { shape, format, threads, depth } = summary.case;
  const middle = top + height / 2;
  const context = depth === 0 ? "empty context" : `${depth.toLocaleString("en-US")} tokens before`;
  return [
    text(SIZE.margin, middle - 4, `${shape} ${format}`, "strong"),
    text(SIZE.margin, middle + 13, `${threads} thread${threads === 1 ? "" : "s"}, ${context}`, "quiet small"),
  ];
}

/**
 * @param {TestName} test
 * @param {number} index of the panel
 * @param {Results} results
 * @param {string} reference
 * @param {readonly Group[]} groups
 * @param {number} bottom
 * @returns {string[]}
 */
function panel(test, index, { engines, tests }, reference, groups, bottom) {
  const left = SIZE.margin + SIZE.labels + index * (SIZE.panel + SIZE.gap);
  const title =
    test === "prefill" ? `Prefill of ${tests.promptTokens} tokens` : `Decode of ${tests.genTokens} tokens`;
  const most = Math.max(1, ...groups.map(({ summary }) => longest(summary.tests[test], reference)));
  const scale = (SIZE.panel - SIZE.text) / most;
  const bars = groups.flatMap((group) => {
    const figures = group.summary.tests[test];
    const unit = unitOf(figures, reference);
    return group.engines.flatMap((engine, i) => {
      const y =
        group.top + (group.height - heightOf(group.engines.length)) / 2 + i * (SIZE.bar + SIZE.barGap);
      const style = BARS[engines.indexOf(engine)] ?? "second";
      const length = unit === undefined ? undefined : scale / unit;
      return bar(test, engine, figures[engine], { style, left, y, scale: length });
    });
  });
  return [
    text(left, SIZE.head - 16, `${title}, tokens/s`, "panel"),
    ...axis(left, scale, most, bottom, reference),
    ...bars,
  ];
}

/**
 * Tokens/s that have length 1: the reference's, or one where there is nothing to compare with.
 *
 * @param {Record<string, Figures>} figures by engine
 * @param {string} reference
 * @returns {number | undefined} undefined where the reference has no result: there are no bars then
 */
function unitOf(figures, reference) {
  return reference === OURS ? 1 : figures[reference]?.tokensPerSecond?.median;
}

/**
 * @param {Record<string, Figures>} figures
 * @param {string} reference
 * @returns {number} the longest bar with its spread, in units
 */
function longest(figures, reference) {
  const unit = unitOf(figures, reference);
  const ends = Object.values(figures).map(({ tokensPerSecond }) => tokensPerSecond?.max ?? 0);
  return unit === undefined ? 0 : Math.max(...ends) / unit;
}

/**
 * @param {number} left
 * @param {number} scale pixels of a unit
 * @param {number} most units
 * @param {number} bottom
 * @param {string} reference
 * @returns {string[]}
 */
function axis(left, scale, most, bottom, reference) {
  const isRelative = reference !== OURS;
  const step = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => most / size <= 6) ?? 1000;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => {
    const x = left + i * step * scale;
    const isReference = isRelative && i * step === 1;
    const style = isReference ? "reference" : "grid";
    return [
      element("line", { class: style, x1: x, x2: x, y1: SIZE.head, y2: bottom }),
      text(x, bottom + 17, `${i * step}${isRelative ? "×" : ""}`, "quiet small", "middle"),
      ...(isReference ? [text(x, bottom + 33, reference, "quiet small", "middle")] : []),
    ];
  }).flat();
}

/**
 * @param {TestName} test
 * @param {string} engine
 * @param {Figures | undefined} figures
 * @param {{ style: string, left: number, y: number, scale: number | undefined }} place pixels; `scale` of a token/s
 * @returns {string[]}
 */
function bar(test, engine, figures, { style, left, y, scale = 0 }) {
  const base = y + SIZE.bar - 4;
  const rates = figures?.tokensPerSecond;
  if (rates === undefined) {
    return [text(left + 6, base, figures?.error === undefined ? "–" : `${engine} failed`, "quiet small")];
  }
  const label = barText(test, engine, figures);
  const emphasis = engine === OURS ? "strong" : "";
  if (scale === 0) return [text(left + 6, base, label, emphasis)];
  const at = (/** @type {number} */ rate) => left + rate * scale;
  const center = y + SIZE.bar / 2;
  return [
    element("rect", { class: style, x: left, y, width: rates.median * scale, height: SIZE.bar, rx: 2 }),
    element("line", { class: "spread", x1: at(rates.min), x2: at(rates.max), y1: center, y2: center }),
    text(at(rates.max) + 8, base, label, emphasis),
  ];
}

/**
 * @param {TestName} test
 * @param {string} engine
 * @param {Figures | undefined} figures
 * @returns {string} "136 · 46 % of int8 peak" on ours, "77.6 · qigen 1.75×" on a peer's
 */
function barText(test, engine, figures) {
  const rate = digits(figures?.tokensPerSecond?.median ?? 0);
  if (engine !== OURS) {
    return figures?.ratio === undefined ? rate : `${rate} · ${OURS} ${figures.ratio.toFixed(2)}×`;
  }
  if (figures?.ofLimit === undefined) return rate;
  return `${rate} · ${percent(figures.ofLimit)} of ${test === "prefill" ? "int8 peak" : "bandwidth"}`;
}
