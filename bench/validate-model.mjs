/**
 * Validates the performance model (`npm run build` first): in every cell (shape, format, tokens, threads) some legal
 * blockings are timed in turns, with cold weights, and compared with what the model predicts for them; then its choice
 * and the five fastest are timed again, in turns.
 *
 *     npm run bench:model -- --out bench/results/model
 *
 * Writes OUT.json, OUT.md and OUT.svg. Cells that are in OUT.json already are not timed again, so that an interrupted
 * run goes on.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { Rng } from "../dist/base/rng.js";
import { chooseBackend } from "../dist/engine/choose.js";
import { createNativeBackend } from "../dist/engine/native.js";
import { PROJECTION_EFFORT, ProjectionTimer } from "../dist/engine/time-projection.js";
import { findCompilers } from "../dist/host/compilers.js";
import { describeMachine } from "../dist/host/describe-machine.js";
import { predict } from "../dist/plan/cost.js";
import { planProjection } from "../dist/plan/projection-plan.js";
import { parsedOrExit } from "./arguments.mjs";
import { cells, legalBlockings } from "./model-cells.mjs";
import { modelPicture } from "./pictures.mjs";
import { median, rankCorrelation } from "./statistics.mjs";

const USAGE = `usage: npm run bench:model -- [options]
  --blockings N   blockings of each cell (default: 16)
  --isa NAME      instruction set (default: the best of the machine)
  --out PATH      where PATH.json, PATH.md and PATH.svg go (default: bench/results/model)
  --report        time nothing: predict anew for what was timed`;

const { values: flags } = parsedOrExit(USAGE, () =>
  parseArgs({
    options: {
      blockings: { type: "string", default: "16" },
      isa: { type: "string" },
      out: { type: "string", default: "bench/results/model" },
      report: { type: "boolean", default: false },
    },
  }),
);
/** Many short passes: a neighbour that comes by holds up few of them. */
const EFFORT = { ...PROJECTION_EFFORT, passMs: 5, passes: 11 };
/** The fastest that are timed again, beside the model's choice. */
const BEST = 5;

const machine = await describeMachine();
const { isa, compiler } = chooseBackend(machine, await findCompilers(), {
  backend: "native",
  isa: flags.isa,
});
const saved = readSaved();
if (!flags.report) await timeAll();
report();

function readSaved() {
  try {
    return JSON.parse(readFileSync(`${flags.out}.json`, "utf8"));
  } catch {
    return { isa: isa.name, machine, cells: {} };
  }
}

function save() {
  mkdirSync(dirname(flags.out), { recursive: true });
  writeFileSync(`${flags.out}.json`, `${JSON.stringify(saved, null, 1)}\n`);
}

async function timeAll() {
  for (const [i, cell] of cells.entries()) {
    if (cell.name in saved.cells) continue;
    const start = performance.now();
    saved.cells[cell.name] = await timeCell(cell);
    save();
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.error(`${i + 1} of ${cells.length}: ${cell.name}, ${seconds} s`);
  }
}

async function timeCell({ shape, tokens, threads }) {
  const cases = sample({ shape, tokens, threads }).map((blocking) => ({ shape, tokens, blocking }));
  const open = (request) => createNativeBackend(request, compiler);
  const timer = await ProjectionTimer.create({ open, isa, threads, cases, effort: EFFORT });
  try {
    const first = await timer.time(cases);
    const order = first.map((_, i) => i).sort((a, b) => first[a].seconds - first[b].seconds);
    const again = [0, ...order.filter((i) => i !== 0).slice(0, BEST)].map((i) => cases[i]);
    const second = await timer.time(again);
    return {
      timed: cases.map(({ blocking }, i) => ({ blocking, seconds: first[i].seconds })),
      again: again.map(({ blocking }, i) => ({ blocking, seconds: second[i].seconds })),
    };
  } finally {
    await timer.dispose();
  }
}

/** The model's choice first, then what it predicts to be nearly as good, then some of the others. */
function sample(cell) {
  const wanted = Number(flags.blockings);
  const choice = choiceOf(cell);
  const others = legalBlockings(isa, cell)
    .filter((blocking) => !same(blocking, choice))
    .sort((a, b) => secondsOf(cell, a) - secondsOf(cell, b));
  const rest = others.splice(BEST);
  const rng = new Rng(0);
  while (others.length + 1 < wanted && rest.length > 0) {
    others.push(...rest.splice(rng.integer(rest.length), 1));
  }
  return [choice, ...others];
}

function choiceOf({ shape, tokens, threads }) {
  return planProjection(machine, isa, shape, { tokens, threads }).blocking;
}

function secondsOf({ shape, tokens, threads }, blocking) {
  return predict(machine, isa, shape, blocking, tokens, threads).seconds;
}

function same(a, b) {
  return ["mb", "tb", "mu", "tu", "nu"].every((key) => a[key] === b[key]);
}

function report() {
  const rows = cells.filter(({ name }) => name in saved.cells).map(judge);
  const wide = rows.filter(({ spread }) => spread >= 1.3);
  const losses = rows.map(({ loss }) => loss).filter((loss) => loss !== undefined);
  const number = (value, digits = 2) => (value === undefined ? "" : value.toFixed(digits));
  const lines = [
    `${machine.name}, ${isa.name}. Rank correlation of predicted and measured time over the blockings of a cell;`,
    `"choice": the model's against the fastest, timed in turns.`,
    "",
    "| cell | blockings | slowest / fastest | rank correlation | predicted / measured | choice / best |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows.map(
      (r) =>
        `| ${r.name} | ${r.count} | ${number(r.spread)} | ${number(r.correlation)} | ${number(r.ratio)} | ${number(r.loss)} |`,
    ),
    "",
    `Where the slowest takes 1.3 times as long as the fastest or more (${wide.length} of ${rows.length} cells): median rank ` +
      `correlation ${number(median(wide.map((r) => r.correlation)))}. Choice against best: median ` +
      `${number(median(losses), 3)}, worst ${number(Math.max(...losses), 3)}. Predicted against measured time: median ` +
      `${number(median(rows.map((r) => r.ratio)))}.`,
  ];
  writeFileSync(`${flags.out}.md`, `${lines.join("\n")}\n`);
  writeFileSync(`${flags.out}.svg`, plot());
  console.log(lines.join("\n"));
}

function judge(cell) {
  const { timed, again } = saved.cells[cell.name];
  const measured = timed.map(({ seconds }) => seconds);
  const predicted = timed.map(({ blocking }) => secondsOf(cell, blocking));
  const choice = choiceOf(cell);
  // A report of older timings may find the choice only among those that were not timed again.
  const race = again.some(({ blocking }) => same(blocking, choice)) ? again : timed;
  const chosen = race.find(({ blocking }) => same(blocking, choice));
  const best = Math.min(...race.map(({ seconds }) => seconds));
  return {
    name: cell.name,
    count: timed.length,
    spread: Math.max(...measured) / Math.min(...measured),
    correlation: rankCorrelation(predicted, measured),
    ratio: median(predicted.map((seconds, i) => seconds / measured[i])),
    loss: chosen && chosen.seconds / best,
  };
}

function plot() {
  const marks = cells
    .filter((cell) => cell.name in saved.cells)
    .flatMap((cell) =>
      saved.cells[cell.name].timed.map(({ blocking, seconds }) => ({
        x: secondsOf(cell, blocking) * 1e3,
        y: seconds * 1e3,
        series: cell.tokens === 1 ? "s0" : cell.tokens <= 16 ? "s1" : "s2",
        shape: "dot",
      })),
    );
  return modelPicture(marks);
}
