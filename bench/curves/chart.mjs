// @ts-check
/** The curves as small multiples: a column for each sweep, tokens/s above, the part of the nearer limit below. */

import { element, svgDocument, text } from "../../dist/plot/svg.js";
import { percent } from "../compare/markdown.mjs";
import { digits } from "../statistics.mjs";
import { figuresOf } from "./summary.mjs";
import { SWEEPS } from "./sweeps.mjs";

/**
 * @import { Curves, Figures, Row } from "./summary.mjs"
 * @import { Sweep } from "./sweeps.mjs"
 */

/** Pixels. `right`: of a panel, for the names of its lines; `figures`: above and below lines, for their figures. */
const SIZE = {
  margin: 28,
  head: 112,
  axis: 46,
  panel: 224,
  right: 78,
  rates: 216,
  figures: 24,
  gap: 34,
  limits: 120,
  foot: 62,
};

const COLUMN = SIZE.axis + SIZE.panel + SIZE.right;
const RATES = { top: SIZE.head, bottom: SIZE.head + SIZE.rates };
const LIMITS = { top: RATES.bottom + SIZE.gap, bottom: RATES.bottom + SIZE.gap + SIZE.limits };
const HEIGHT = LIMITS.bottom + SIZE.foot;

const STYLE = `
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .spread { stroke-width: 1.5; stroke-opacity: 0.5 }
  .s0 { stroke: #1a7f64 } .d0 { fill: #1a7f64 }
  .s1 { stroke: #3f72c0 } .d1 { fill: #3f72c0 }
  .s2 { stroke: #b4602a } .d2 { fill: #b4602a }
  .s3 { stroke: #7d55b8 } .d3 { fill: #7d55b8 }
  .s4 { stroke: #bf3f74 } .d4 { fill: #bf3f74 }
  @media (prefers-color-scheme: dark) {
    .s0 { stroke: #2fb38e } .d0 { fill: #2fb38e }
    .s1 { stroke: #6f9fe8 } .d1 { fill: #6f9fe8 }
    .s2 { stroke: #e0935c } .d2 { fill: #e0935c }
    .s3 { stroke: #b090e8 } .d3 { fill: #b090e8 }
    .s4 { stroke: #ee7fab } .d4 { fill: #ee7fab }
  }
`;

/** Formats have the others. */
const TEST_COLOURS = { decode: 0, prefill: 1 };

/**
 * @typedef {object} Point
 * @property {number | string} value of what is varied
 * @property {Figures} figures
 */

/** @typedef {{ name: string, colour: number, points: Point[] }} Series */

/**
 * @param {Curves} curves
 * @returns {string} an SVG document
 */
export function chart({ machine, started, finished, versions, rows }) {
  const shown = SWEEPS.filter(({ name }) => rows.some(({ sweep, found }) => sweep === name && found));
  const width = 2 * SIZE.margin + Math.max(2, shown.length) * COLUMN;
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const date = `${started.slice(0, 10)}${finished === null ? ", partial results" : ""}`;
  return svgDocument({ width, height: HEIGHT, title: `What speed depends on, ${machine}`, style: STYLE }, [
    text(SIZE.margin, 36, "What speed depends on: tokens/s, and the part of the nearer limit", "title"),
    text(SIZE.margin, 56, [machine, date, ...list].join(" · "), "quiet small"),
    ...shown.flatMap((sweep, i) => column(SIZE.margin + i * COLUMN, sweep, rows)),
  ]);
}

/**
 * A line for each test; for sizes, for each format, of decode alone.
 *
 * @param {Sweep} sweep
 * @param {readonly Row[]} rows of all sweeps
 * @returns {Series[]}
 */
function seriesOf({ name, tests, value }, rows) {
  const own = rows.filter(({ sweep }) => sweep === name);
  const formats = [...new Set(own.map(({ format }) => format))];
  /** @type {{ name: string, test: import("../compare/results.mjs").TestName, has: (row: Row) => boolean }[]} */
  const lines =
    name === "size"
      ? formats.map((format) => ({ name: format, test: "decode", has: (row) => row.format === format }))
      : tests.toReversed().map((test) => ({ name: test, test, has: () => true }));
  return lines.map(({ name: title, test, has }, colour) => ({
    name: title,
    colour: test === title ? TEST_COLOURS[test] : 2 + colour,
    points: own.flatMap((row) =>
      row.found !== undefined && has(row)
        ? [{ value: value(row), figures: figuresOf(rows, row, row.found, test) }]
        : [],
    ),
  }));
}

/**
 * @param {number} start
 * @param {Sweep} sweep
 * @param {readonly Row[]} rows of all sweeps
 * @returns {string[]}
 */
function column(start, sweep, rows) {
  const left = start + SIZE.axis;
  const series = seriesOf(sweep, rows).filter(({ points }) => points.length > 0);
  const own = rows.filter(({ sweep: name }) => name === sweep.name);
  const values = [...new Set(own.map(sweep.value))];
  const x = horizontal(left, sweep, values);
  const rates = logarithmic(
    series.flatMap(({ points }) => points.map(({ figures }) => figures.tokensPerSecond)),
  );
  const shares = linear(Math.max(1, ...series.flatMap(({ points }) => points.map((p) => p.figures.ofLimit))));
  const [first] = own;
  const subject = sweep.name === "size" ? "decode" : `${first?.shape} ${first?.format}`;
  return [
    text(left, SIZE.head - 26, sweep.title, "panel"),
    text(left, SIZE.head - 10, `${subject}, tokens/s`, "quiet small"),
    text(left, LIMITS.top - 10, "of the nearer limit", "quiet small"),
    ...horizontalGrid(left, rates, String),
    ...horizontalGrid(left, shares, percent),
    ...ticks(values.map((value) => ({ at: x(value), name: label(sweep, value) }))),
    text(left + SIZE.panel / 2, LIMITS.bottom + 38, sweep.axis, "quiet small", "middle"),
    ...series.flatMap((one) => line(one, x, ({ tokensPerSecond }) => rates.y(tokensPerSecond.median))),
    ...series.flatMap((one) => rateTexts(one, series, x, rates.y)),
    ...series.flatMap((one) => line(one, x, ({ ofLimit }) => shares.y(ofLimit))),
    ...names(left + SIZE.panel + 10, series, ({ tokensPerSecond }) => rates.y(tokensPerSecond.median)),
    ...names(left + SIZE.panel + 10, series, ({ ofLimit }) => shares.y(ofLimit)),
  ];
}

/**
 * Positions in the context on their scale, what doubles or is no number side by side.
 *
 * @param {number} left
 * @param {Sweep} sweep
 * @param {readonly (number | string)[]} values
 * @returns {(value: number | string) => number}
 */
function horizontal(left, { name }, values) {
  const inner = SIZE.panel - 24;
  const most = Math.max(1, ...values.map(Number));
  const steps = Math.max(1, values.length - 1);
  return (value) =>
    left + 12 + inner * (name === "context" ? Number(value) / most : values.indexOf(value) / steps);
}

/** @typedef {{ ticks: number[], y: (value: number) => number }} Axis */

/**
 * @param {readonly import("../statistics.mjs").Spread[]} rates
 * @returns {Axis} of tokens/s; ticks are 1, 2 and 5 times powers of ten, or the powers alone where these are many
 */
function logarithmic(rates) {
  const [low, high] = [Math.min(...rates.map(({ min }) => min)), Math.max(...rates.map(({ max }) => max))];
  const decades = Array.from({ length: 12 }, (_, i) => 10 ** (i - 4));
  const steps = high / low > 200 ? [1] : [1, 2, 5];
  const all = decades.flatMap((decade) => steps.map((step) => step * decade));
  const scale = (RATES.bottom - RATES.top - 2 * SIZE.figures) / Math.log(Math.max(2, high / low));
  const y = (/** @type {number} */ value) => RATES.bottom - SIZE.figures - scale * Math.log(value / low);
  return { ticks: all.filter((value) => y(value) >= RATES.top && y(value) <= RATES.bottom), y };
}

/**
 * @param {number} most
 * @returns {Axis} of parts of a limit
 */
function linear(most) {
  return {
    ticks: [0, 0.5, 1],
    y: (value) => LIMITS.bottom - ((LIMITS.bottom - LIMITS.top) * value) / most,
  };
}

/**
 * @param {number} left
 * @param {Axis} axis
 * @param {(value: number) => string} show
 * @returns {string[]}
 */
function horizontalGrid(left, { ticks, y }, show) {
  return ticks.flatMap((value) => [
    element("line", { class: "grid", x1: left, x2: left + SIZE.panel, y1: y(value), y2: y(value) }),
    text(left - 6, y(value) + 4, show(value), "quiet small", "end"),
  ]);
}

/** Between two names on the horizontal axis, at least (pixels). */
const NAME_DISTANCE = 34;

/**
 * Lines for all places, names for those that have room, counted from the last.
 *
 * @param {readonly { at: number, name: string }[]} places from left to right
 * @returns {string[]}
 */
function ticks(places) {
  let taken = Number.POSITIVE_INFINITY;
  return places.toReversed().flatMap(({ at, name }) => {
    const lines = [RATES, LIMITS].map(({ top, bottom }) =>
      element("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }),
    );
    if (taken - at < NAME_DISTANCE) return lines;
    taken = at;
    return [...lines, text(at, LIMITS.bottom + 18, name, "quiet small", "middle")];
  });
}

/**
 * @param {Sweep} sweep
 * @param {number | string} value
 * @returns {string} "1.1B" of "tinyllama-1.1b"
 */
function label({ name }, value) {
  if (name !== "size") return `${value}`;
  return `${value}`.split("-").at(-1)?.toUpperCase() ?? "";
}

/**
 * @param {Series} series
 * @param {(value: number | string) => number} x
 * @param {(figures: Figures) => number} y
 * @returns {string[]}
 */
function line({ colour, points }, x, y) {
  const places = points.map(({ value, figures }) => [x(value), y(figures)].map((n) => n.toFixed(1)));
  return [
    element("polyline", { class: `line s${colour}`, points: places.map((place) => place.join()).join(" ") }),
    ...places.map(([cx = "", cy = ""]) => element("circle", { class: `d${colour}`, cx, cy, r: 3 })),
  ];
}

/**
 * The spread of every point of a line of tokens/s, and the figures of its ends: above the highest line, below the lowest.
 *
 * @param {Series} one
 * @param {readonly Series[]} all
 * @param {(value: number | string) => number} x
 * @param {(value: number) => number} y
 * @returns {string[]}
 */
function rateTexts({ colour, points }, all, x, y) {
  return points.flatMap(({ value, figures: { tokensPerSecond } }, i) => {
    const { median, min, max } = tokensPerSecond;
    const at = { x1: x(value), x2: x(value), y1: y(min), y2: y(max) };
    const spread = element("line", { class: `spread s${colour}`, ...at });
    if (i !== 0 && i !== points.length - 1) return [spread];
    const others = all.flatMap((series) =>
      series.points.flatMap((point) => (point.value === value ? [point.figures.tokensPerSecond.median] : [])),
    );
    const show = (/** @type {number} */ height) =>
      text(x(value), height, digits(median), "small strong", "middle");
    if (median === Math.max(...others)) return [spread, show(y(max) - 8)];
    return median === Math.min(...others) ? [spread, show(y(min) + 17)] : [spread];
  });
}

/**
 * The names of the lines at their ends, moved apart where these are close.
 *
 * @param {number} left
 * @param {readonly Series[]} series
 * @param {(figures: Figures) => number} y
 * @returns {string[]}
 */
function names(left, series, y) {
  const ends = series.map(({ name, colour, points }) => {
    const last = points.at(-1);
    return { name, colour, at: last === undefined ? 0 : y(last.figures) + 4 };
  });
  let free = Number.NEGATIVE_INFINITY;
  return ends
    .toSorted((a, b) => a.at - b.at)
    .map(({ name, colour, at }) => {
      const place = Math.max(at, free);
      free = place + 15;
      return text(left, place, name, `small d${colour}`);
    });
}
