import type { Estimate } from "../evaluation/statistics.ts";
import { type FailedRow, nameOf, type Report, type ReportRow } from "./report.ts";

/** What is told of a row: once, for the table of the page and for CSV. */
export interface Column {
  /** In CSV. */
  readonly key: string;
  /** On the page; not there if only CSV has it. */
  readonly heading?: string;
  /** What a pointer over the heading shows. */
  readonly hint?: string;
  value(row: ReportRow): number | string | undefined;
  /** On the page; default: the value. */
  text?(row: ReportRow): string;
}

const MEGABYTE = 1e6;

const estimate = ({ value, error }: Estimate, digits: number) =>
  `${value.toFixed(digits)} ± ${error.toFixed(digits)}`;
const percent = (value: number, digits = 1) => `${(100 * value).toFixed(digits)} %`;

/** Three digits, without an exponent. */
export function threeDigits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}

export const megabytes = (bytes: number): string => `${threeDigits(bytes / MEGABYTE)} MB`;

/** The columns of a report, its tasks among them. */
export function columnsOf({ rows }: Report): Column[] {
  const tasks = [...new Set(rows.flatMap(({ tasks }) => tasks.map(({ task }) => task)))];
  return [
    { key: "name", heading: "setting", value: nameOf },
    { key: "method", value: ({ method }) => method },
    { key: "bits", value: ({ bits }) => bits },
    { key: "group_size", value: ({ groupSize }) => groupSize },
    { key: "budget", value: ({ budget }) => budget },
    {
      key: "bits_per_weight",
      heading: "bits per weight",
      hint: "of the quantized projections, scales and zero points among them",
      value: ({ bitsPerWeight }) => bitsPerWeight,
      text: ({ bitsPerWeight }) => bitsPerWeight.toFixed(2),
    },
    { key: "projection_bytes", value: ({ projectionBytes }) => projectionBytes },
    bytesColumn("weight_bytes", "weights", "all of the model, in memory", ({ weightBytes }) => weightBytes),
    bytesColumn("peak_bytes", "peak memory", "of the process that was timed", ({ peakBytes }) => peakBytes),
    {
      key: "perplexity",
      heading: "perplexity",
      value: ({ perplexity }) => perplexity.value,
      text: ({ perplexity }) => estimate(perplexity, 2),
    },
    { key: "perplexity_error", value: ({ perplexity }) => perplexity.error },
    {
      key: "perplexity_ratio",
      heading: "to the model's",
      hint: "perplexity over that of the model as it is; the error is that of paired differences",
      value: ({ ratio }) => ratio.value,
      text: ({ ratio, method }) => (method === "none" ? "" : estimate(ratio, 4)),
    },
    { key: "perplexity_ratio_error", value: ({ ratio }) => ratio.error },
    {
      key: "kl_divergence",
      heading: "KL divergence",
      hint: "from the model as it is, nats a token",
      value: ({ divergence }) => divergence.value,
      text: ({ divergence, method }) => (method === "none" ? "" : estimate(divergence, 4)),
    },
    { key: "kl_divergence_error", value: ({ divergence }) => divergence.error },
    {
      key: "same_top",
      heading: "same top token",
      value: ({ sameTop }) => sameTop,
      text: ({ sameTop, method }) => (method === "none" ? "" : percent(sameTop)),
    },
    ...tasks.flatMap((task) => taskColumns(task)),
    ...(["decode", "prefill"] as const).flatMap(speedColumns),
    { key: "seconds", value: ({ seconds }) => seconds },
    { key: "command", value: ({ command }) => command },
    { key: "failure", value: () => undefined },
  ];
}

function bytesColumn(key: string, heading: string, hint: string, value: (row: ReportRow) => number): Column {
  return { key, heading, hint, value, text: (row) => megabytes(value(row)) };
}

function speedColumns(test: "decode" | "prefill"): Column[] {
  const measured = (row: ReportRow) => row[test].measured;
  const predicted = (row: ReportRow) => row[test].predicted;
  return [
    {
      key: test,
      heading: `${test}, tokens/s`,
      hint: "median",
      value: measured,
      text: (row) => threeDigits(measured(row)),
    },
    { key: `${test}_slowest`, value: (row) => row[test].slowest },
    { key: `${test}_fastest`, value: (row) => row[test].fastest },
    {
      key: `${test}_predicted`,
      heading: "predicted",
      hint: "by the performance model, for the projections alone",
      value: predicted,
      text: (row) => threeDigits(predicted(row)),
    },
  ];
}

function taskColumns(task: string): Column[] {
  const score = (row: ReportRow) => row.tasks.find((one) => one.task === task)?.accuracy;
  return [
    {
      key: `${task}_accuracy`,
      heading: task,
      value: (row) => score(row)?.value,
      text: (row) => {
        const found = score(row);
        return found === undefined ? "" : `${percent(found.value)} ± ${(100 * found.error).toFixed(1)}`;
      },
    },
    { key: `${task}_accuracy_error`, value: (row) => score(row)?.error },
  ];
}

/** The rows as CSV (RFC 4180), every column in full precision. */
export function reportCsv(report: Report): string {
  const columns = columnsOf(report);
  const lines = [
    columns.map(({ key }) => key),
    ...report.rows.map((row) => columns.map(({ value }) => String(value(row) ?? ""))),
    ...report.failures.map((row) => columns.map(({ key }) => FAILED[key]?.(row) ?? "")),
  ];
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}

/** What is known of a setting that failed, by the keys of the columns. */
const FAILED: Readonly<Record<string, (row: FailedRow) => string | undefined>> = {
  name: nameOf,
  method: ({ method }) => method,
  bits: ({ bits }) => bits?.toString(),
  group_size: ({ groupSize }) => groupSize?.toString(),
  budget: ({ budget }) => budget?.toString(),
  command: ({ command }) => command,
  failure: ({ reason }) => reason,
};

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
