import type { Estimate } from "../evaluation/statistics.ts";
import { type Axis, linearAxis, logAxis } from "../plot/axis.ts";
import type { Range } from "../plot/scatter.ts";
import { type Report, type ReportRow, splitRows } from "./report.ts";
import { threeDigits } from "./table.ts";

/** Something that quantizing costs, as an axis of a plot. */
export interface Loss {
  readonly name: string;
  /** Of the axis. */
  readonly label: string;
  axis(rows: readonly ReportRow[]): Axis;
  format(value: number): string;
  /** Where a row stands on the axis. */
  value(row: ReportRow): number;
  /** One standard error to either side. */
  range(row: ReportRow): Range;
  /** What is less where a row is better. */
  rank(row: ReportRow): number;
}

/** What is nearer to the model's own perplexity than this is drawn there: no text that one has tells it apart. */
const LEAST_LOSS = 1e-3;

/** Perplexity, divergence and the tasks of a report. */
export function lossesOf(report: Report): [Loss, ...Loss[]] {
  const { full } = splitRows(report);
  return [
    perplexityLoss(full.perplexity.value),
    divergenceLoss,
    ...full.tasks.map(({ task }) => taskLoss(task)),
  ];
}

function perplexityLoss(own: number): Loss {
  const value = ({ ratio }: ReportRow) => Math.max(LEAST_LOSS, ratio.value - 1);
  return {
    name: "perplexity",
    label: `perplexity above the model's own ${own.toFixed(2)}`,
    axis: (rows) => logAxis(rows.map(value)),
    format: (loss) => `${loss <= LEAST_LOSS ? "≤ " : ""}${threeDigits(100 * loss)} %`,
    value,
    range: ({ ratio: { value: ratio, error } }) => [
      Math.max(LEAST_LOSS, ratio - error - 1),
      Math.max(LEAST_LOSS, ratio + error - 1),
    ],
    rank: value,
  };
}

/** A model's divergence from itself is rounding, and has a place on no logarithmic axis. */
const LEAST_DIVERGENCE = 1e-6;

const divergenceLoss: Loss = {
  name: "KL divergence",
  label: "KL divergence from the model, nats a token",
  axis: (rows) => logAxis(rows.map((row) => divergenceLoss.value(row))),
  format: threeDigits,
  value: ({ divergence }) => Math.max(LEAST_DIVERGENCE, divergence.value),
  range: ({ divergence: { value, error } }) => [
    Math.max(LEAST_DIVERGENCE, value - error),
    Math.max(LEAST_DIVERGENCE, value + error),
  ],
  rank: ({ divergence }) => divergence.value,
};

function taskLoss(name: string): Loss {
  const score = ({ tasks }: ReportRow): Estimate =>
    tasks.find(({ task }) => task === name)?.accuracy ?? { value: Number.NaN, error: 0 };
  const range = (row: ReportRow): Range => {
    const { value, error } = score(row);
    return [value - error, value + error];
  };
  return {
    name,
    label: `${name}, answered rightly`,
    axis: (rows) => linearAxis(rows.flatMap(range)),
    format: (share) => `${threeDigits(100 * share)} %`,
    value: (row) => score(row).value,
    range,
    rank: (row) => -score(row).value,
  };
}
