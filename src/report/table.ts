import type { Estimate } from "../evaluation/statistics.ts";
import { nameOf, type Report, type ReportRow } from "./report.ts";

/** What is told of a row: once, for the table of the page and for CSV. */
export interface Column {
  /** In CSV. */
  readonly key: string;
  /** On the page; not there if only CSV has it. */
  readonly heading?: string;
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
    {
      key: "bits_per_weight",
      heading: "bits per weight",
      value: ({ bitsPerWeight }) => bitsPerWeight,
      text: ({ bitsPerWeight }) => bitsPerWeight.toFixed(2),
    },
    { key: "projection_bytes", value: ({ projectionBytes }) => projectionBytes },
    bytesColumn("weight_bytes", "weights", ({ weightBytes }) => weightBytes),
    bytesColumn("peak_bytes", "peak memory", ({ peakBytes }) => peakBytes),
    {
      key: "perplexity",
      heading: "perplexity",
      value: ({ perplexity }) => perplexity.value,
      text: ({ perplexity }) => estimate(perplexity, 2),
    },
    { key: "perplexity_error", value: ({ perplexity }) => perplexity.error },
    {
      key: "kl_divergence",
      heading: "KL divergence",
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
    speedColumn("decode", "decode, tokens/s", ({ decode }) => decode.measured),
    speedColumn("decode_predicted", "predicted", ({ decode }) => decode.predicted),
    speedColumn("prefill", "prefill, tokens/s", ({ prefill }) => prefill.measured),
    speedColumn("prefill_predicted", "predicted", ({ prefill }) => prefill.predicted),
  ];
}

function bytesColumn(key: string, heading: string, value: (row: ReportRow) => number): Column {
  return { key, heading, value, text: (row) => megabytes(value(row)) };
}

function speedColumn(key: string, heading: string, value: (row: ReportRow) => number | undefined): Column {
  return {
    key,
    heading,
    value,
    text: (row) => {
      const speed = value(row);
      return speed === undefined ? "" : threeDigits(speed);
    },
  };
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
  ];
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
