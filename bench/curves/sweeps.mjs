// @ts-check
/** What is varied, one thing at a time, and the runs that takes. */

/** @typedef {"context" | "batch" | "threads" | "size"} SweepName */

/**
 * @typedef {object} Sweep
 * @property {SweepName} name
 * @property {string} title
 * @property {string} axis what its values are
 * @property {readonly import("../compare/results.mjs").TestName[]} tests that it is about
 * @property {(row: Setting) => number | string} value
 */

/**
 * One run of `qigen bench`.
 *
 * @typedef {object} Setting
 * @property {SweepName} sweep
 * @property {string} shape
 * @property {string} format
 * @property {number} threads
 * @property {number} depth positions in the context before each test
 * @property {number} promptTokens
 * @property {number} genTokens
 * @property {number} repeat
 */

/** @type {readonly Sweep[]} */
export const SWEEPS = [
  {
    name: "context",
    title: "Context",
    axis: "tokens in the context",
    tests: ["prefill", "decode"],
    value: ({ depth }) => depth,
  },
  {
    name: "batch",
    title: "Tokens at a time",
    axis: "tokens of the prompt",
    tests: ["prefill"],
    value: ({ promptTokens }) => promptTokens,
  },
  {
    name: "threads",
    title: "Threads",
    axis: "threads",
    tests: ["prefill", "decode"],
    value: ({ threads }) => threads,
  },
  {
    name: "size",
    title: "Model size",
    axis: "model",
    tests: ["prefill", "decode"],
    value: ({ shape }) => shape,
  },
];

/**
 * @typedef {object} Choices
 * @property {readonly string[]} sweeps
 * @property {string} shape of all sweeps but that of sizes
 * @property {string} format
 * @property {number[]} threads the last: of all sweeps but that of threads
 * @property {number[]} depths
 * @property {number[]} batches
 * @property {string[]} shapes
 * @property {string[]} formats
 * @property {number} promptTokens
 * @property {number} genTokens
 * @property {number} repeat
 */

/**
 * @param {Choices} choices
 * @returns {Setting[]}
 */
export function settingsOf({ sweeps, depths, batches, shapes, formats, ...choices }) {
  const { shape, format, promptTokens, genTokens, repeat } = choices;
  const threads = Math.max(...choices.threads);
  const usual = { shape, format, threads, depth: 0, promptTokens, genTokens, repeat };
  /** @type {Record<SweepName, Omit<Setting, "sweep">[]>} */
  const settings = {
    context: depths.map((depth) => ({ ...usual, depth })),
    // What is left of decode is not looked at.
    batch: batches.map((tokens) => ({ ...usual, promptTokens: tokens, genTokens: 1 })),
    threads: choices.threads.map((count) => ({ ...usual, threads: count })),
    size: shapes.flatMap((name) => formats.map((of) => ({ ...usual, shape: name, format: of }))),
  };
  return SWEEPS.filter(({ name }) => sweeps.includes(name)).flatMap(({ name }) =>
    settings[name].map((setting) => ({ sweep: name, ...setting })),
  );
}

/**
 * What a run is found by among those that were saved: all that its speed depends on.
 *
 * @param {Setting} setting
 * @returns {string}
 */
export function settingKey({ sweep, shape, format, threads, depth, promptTokens }) {
  return [sweep, shape, format, threads, depth, promptTokens].join(" ");
}

/**
 * The runs of each sweep in the order of what is varied, whenever they were timed.
 *
 * @template {Setting} T
 * @param {readonly T[]} rows
 * @param {readonly string[]} shapes from small to large
 * @returns {T[]}
 */
export function inOrder(rows, shapes) {
  const sweepOf = (/** @type {Setting} */ { sweep }) => SWEEPS.findIndex(({ name }) => name === sweep);
  return rows.toSorted(
    (a, b) =>
      sweepOf(a) - sweepOf(b) ||
      shapes.indexOf(a.shape) - shapes.indexOf(b.shape) ||
      b.format.localeCompare(a.format) ||
      a.threads - b.threads ||
      a.depth - b.depth ||
      a.promptTokens - b.promptTokens,
  );
}
