import { linearAxis, logAxis } from "../plot/axis.ts";
import { BARS_WIDTH, bars, barsHeight } from "../plot/bars.ts";
import { type Mark, SCATTER, type Scatter, scatter } from "../plot/scatter.ts";
import { element } from "../plot/svg.ts";
import { timesSmaller } from "./findings.ts";
import type { Loss } from "./losses.ts";
import { nameOf, paretoFront, type Report, type ReportRow, splitRows } from "./report.ts";
import { megabytes, threeDigits } from "./table.ts";

/** What accuracy is plotted against. */
export type Cost = "bytes" | "speed";

const COSTS = {
  bytes: {
    label: "all weights in memory, MB",
    value: ({ weightBytes }: ReportRow) => weightBytes,
    rank: ({ weightBytes }: ReportRow) => weightBytes,
    format: (value: number) => threeDigits(value / 1e6),
  },
  speed: {
    label: "decode, tokens/s",
    value: ({ decode }: ReportRow) => decode.measured,
    rank: ({ decode }: ReportRow) => -decode.measured,
    format: threeDigits,
  },
};

/** The settings that no other beats. */
export function frontOf(report: Report, loss: Loss, cost: Cost): ReportRow[] {
  return paretoFront(splitRows(report).settings, COSTS[cost].rank, loss.rank);
}

/** Accuracy against bytes or tokens/s; `linked`: marks lead to their rows. */
export function accuracyPlot(report: Report, loss: Loss, cost: Cost, linked: boolean): Scatter {
  const { settings } = splitRows(report);
  const { label, value, format } = COSTS[cost];
  const front = frontOf(report, loss, cost);
  const at = (row: ReportRow) => ({ x: value(row), y: loss.value(row) });
  const marks = settings.map((row): Mark => {
    const { slowest, fastest } = row.decode;
    return {
      ...at(row),
      spread: { y: loss.range(row), x: cost === "speed" ? [slowest, fastest] : undefined },
      series: row.method,
      shape: row.method === "mixed" ? "diamond" : "circle",
      sign: row.bits === undefined ? undefined : String(row.bits),
      title: `${nameOf(row)}: ${titleOf(row)}`,
      href: linked ? rowLink(report, row) : undefined,
      label: front.includes(row) ? row.setting : undefined,
    };
  });
  return {
    x: { label, axis: linearAxis(settings.map(value)), format },
    y: { label: loss.label, axis: loss.axis(settings), format: loss.format },
    marks,
    front: front.map(at),
  };
}

function titleOf({ perplexity, ratio, divergence, weightBytes, decode }: ReportRow): string {
  const sign = ratio.value < 1 ? "−" : "+";
  return (
    `perplexity ${perplexity.value.toFixed(2)} (${sign}${threeDigits(100 * Math.abs(ratio.value - 1))} %), ` +
    `KL ${threeDigits(divergence.value)}, ${megabytes(weightBytes)}, ${threeDigits(decode.measured)} tokens/s`
  );
}

/** Address of a row of the table, within the page. */
function rowLink({ rows }: Report, row: ReportRow): string {
  return `#${rowId(rows.indexOf(row))}`;
}

export function rowId(index: number): string {
  return `row-${index}`;
}

/** Measured against predicted tokens/s, of decode and prefill. */
export function speedPlot(report: Report): Scatter {
  const marks = report.rows.flatMap((row) =>
    (["decode", "prefill"] as const).map((test): Mark => {
      const { measured, predicted, slowest, fastest } = row[test];
      return {
        x: predicted,
        y: measured,
        spread: { y: [slowest, fastest] },
        series: `${row.method} ${test}`,
        shape: "dot",
        title: `${nameOf(row)}, ${test}: ${threeDigits(predicted)} predicted, ${threeDigits(measured)} measured`,
        href: rowLink(report, row),
      };
    }),
  );
  const axis = logAxis(marks.flatMap(({ x, y }) => [x, y]));
  return {
    x: { label: "predicted, tokens/s", axis, format: String },
    y: { label: "measured, tokens/s", axis, format: String },
    marks,
    diagonal: true,
  };
}

/** Bytes of the projections of every setting beside those of F16, as a picture. */
export function memoryPicture(report: Report): string {
  const { rows, parameters } = report;
  const half = 2 * parameters.quantized;
  const sizes = rows.filter((row, i) => rows.findIndex(({ setting }) => setting === row.setting) === i);
  const longest = Math.max(half, ...sizes.map(({ projectionBytes }) => projectionBytes));
  const plot = {
    groups: sizes
      .sort((a, b) => b.projectionBytes - a.projectionBytes)
      .map((row) => ({
        name: row.setting,
        bars: [
          {
            share: row.projectionBytes / longest,
            text: `${megabytes(row.projectionBytes)}, ${threeDigits(timesSmaller(report, row))}×`,
            series: row.method === "none" || row.method === "mixed" ? row.method : "uniform",
            title: `${row.setting}: ${row.bitsPerWeight.toFixed(2)} bits per weight`,
          },
        ],
      })),
    reference: { share: half / longest, label: `F16, ${megabytes(half)}` },
  };
  const size = `0 0 ${BARS_WIDTH} ${barsHeight(plot)}`;
  return element("svg", { viewBox: size, role: "img", "aria-label": "memory" }, ...bars(plot));
}

/** A scatter plot as a picture within a page. */
export function scatterPicture(plot: Scatter, name: string): string {
  const { width, height } = SCATTER;
  return element(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": name },
    ...scatter(plot),
  );
}
