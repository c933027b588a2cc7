import { linearAxis, logAxis } from "./axis.ts";
import { bars } from "./bars.ts";
import { METHODS, type Method, nameOf, paretoFront, type Report, type ReportRow } from "./report.ts";
import { type Mark, scatter } from "./scatter.ts";
import { STYLE } from "./style.ts";
import { element, escaped } from "./svg.ts";
import { columnsOf, megabytes, threeDigits } from "./table.ts";

const LEGEND: Readonly<Record<Method, string>> = {
  none: "as it is",
  rtn: "round to nearest",
  gptq: "GPTQ",
  mixed: "bits per module",
};

/** A report as one HTML page that needs nothing else. */
export function reportPage(report: Report): string {
  const title = `Accuracy and performance of ${report.model}`;
  const body = [
    element("h1", {}, escaped(title)),
    element("p", { class: "lead" }, escaped(summary(report))),
    legend(report.rows),
    element("div", { class: "plots" }, ...plots(report)),
    element("h2", {}, "All settings"),
    element("div", { class: "wide" }, table(report)),
    element("h2", {}, "How it was measured"),
    element(
      "ul",
      {},
      ...[...report.protocol, ...report.machine].map((line) => element("li", {}, escaped(line))),
    ),
    element("pre", {}, escaped(report.command)),
    element("p", { class: "small" }, escaped(`QIGen, ${report.created}`)),
  ];
  const head = [
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    element("title", {}, escaped(title)),
    element("style", {}, STYLE),
  ];
  return `<!doctype html>\n<html lang="en"><head>${head.join("\n")}</head>\n<body>${body.join("\n")}</body></html>\n`;
}

const perplexityOf = ({ perplexity }: ReportRow) => perplexity.value;

/** The smallest setting that costs no more than so much perplexity. */
const NEAR = 1.02;

function summary({ rows, parameters }: Report): string {
  const [full] = rows as [ReportRow];
  const near = rows
    .filter((row) => row.method !== "none" && row.perplexity.value <= NEAR * full.perplexity.value)
    .sort((a, b) => a.weightBytes - b.weightBytes || perplexityOf(a) - perplexityOf(b))[0];
  const model =
    `${(parameters.all / 1e6).toFixed(1)} million parameters, ` +
    `${(parameters.quantized / 1e6).toFixed(1)} million of them in projections that were quantized.`;
  if (near === undefined) return `${model} No setting stays within 2 % of its perplexity.`;
  const smaller = full.projectionBytes / near.projectionBytes;
  return (
    `${model} The smallest setting within 2 % of the model's own perplexity is ${nameOf(near)}: projections ` +
    `${threeDigits(smaller)} times smaller, perplexity ${near.perplexity.value.toFixed(2)} instead of ` +
    `${full.perplexity.value.toFixed(2)}, decode ${threeDigits(near.decode.measured / full.decode.measured)} times as fast.`
  );
}

function legend(rows: readonly ReportRow[]): string {
  const used = METHODS.filter((method) => rows.some((row) => row.method === method));
  const items = used.map((method) =>
    element("span", { class: `key ${method}` }, element("i", {}), escaped(LEGEND[method])),
  );
  return element("p", { class: "legend" }, ...items);
}

function plots(report: Report): string[] {
  return [
    figure(
      "Perplexity against bytes",
      "The line joins settings that no other beats in both.",
      accuracyPlot(report, "bytes"),
    ),
    figure(
      "Perplexity against decode speed",
      "To the right and down is better; the line joins settings that no other beats in both.",
      accuracyPlot(report, "speed"),
    ),
    figure(
      "Memory of the projections",
      "Bytes as they lie in memory, and how many times smaller than in F16.",
      memoryPlot(report),
    ),
    figure(
      "Predicted and measured tokens/s",
      "Decode and prefill of every setting; on the line the prediction is right.",
      speedPlot(report),
    ),
  ];
}

function figure(title: string, caption: string, svg: string): string {
  return element("figure", {}, element("figcaption", {}, element("b", {}, title), ` ${caption}`), svg);
}

/** What is nearer to the model's own perplexity than this is drawn there: no text that one has tells it apart. */
const LEAST_LOSS = 1e-3;

function accuracyPlot({ rows }: Report, against: "bytes" | "speed"): string {
  const [full, ...others] = rows as [ReportRow, ...ReportRow[]];
  const bytes = against === "bytes";
  const at = (row: ReportRow) => (bytes ? row.weightBytes : row.decode.measured);
  const loss = (row: ReportRow) => Math.max(LEAST_LOSS, perplexityOf(row) / perplexityOf(full) - 1);
  const front = paretoFront(others, (row) => (bytes ? at(row) : -at(row)), loss);
  const marks = others.map(
    (row): Mark => ({
      x: at(row),
      y: loss(row),
      series: row.method,
      title: `${nameOf(row)}: perplexity ${perplexityOf(row).toFixed(2)}, ${megabytes(row.weightBytes)}, decode ${threeDigits(row.decode.measured)} tokens/s`,
      label: front.includes(row) ? nameOf(row) : undefined,
    }),
  );
  return scatter({
    title: `perplexity against ${against}`,
    x: {
      label: bytes ? "bytes of all weights, MB" : "decode, tokens/s",
      axis: linearAxis(others.map(at)),
      format: (value) => threeDigits(bytes ? value / 1e6 : value),
    },
    y: {
      label: `perplexity above the model's own ${perplexityOf(full).toFixed(2)}`,
      axis: logAxis(others.map(loss)),
      format: (value) => `${threeDigits(100 * value)} %`,
    },
    marks,
    front: front.map((row) => ({ x: at(row), y: loss(row) })),
  });
}

function memoryPlot({ rows, parameters }: Report): string {
  const half = 2 * parameters.quantized;
  const settings = rows.filter((row, i) => rows.findIndex(({ setting }) => setting === row.setting) === i);
  return bars(
    "memory of the projections",
    settings
      .sort((a, b) => b.projectionBytes - a.projectionBytes)
      .map(({ setting, method, projectionBytes }) => ({
        name: setting,
        value: projectionBytes,
        text: `${megabytes(projectionBytes)}, ${threeDigits(half / projectionBytes)}×`,
        series: method === "none" || method === "mixed" ? method : "uniform",
      })),
  );
}

function speedPlot({ rows }: Report): string {
  const marks = rows.flatMap((row) =>
    (["decode", "prefill"] as const).flatMap((test): Mark[] => {
      const { measured, predicted } = row[test];
      if (predicted === undefined) return [];
      const title = `${nameOf(row)}, ${test}: ${threeDigits(predicted)} predicted, ${threeDigits(measured)} measured`;
      return [{ x: predicted, y: measured, series: `${row.method} ${test}`, title }];
    }),
  );
  const axis = logAxis(marks.flatMap(({ x, y }) => [x, y]));
  return scatter({
    title: "predicted and measured tokens/s",
    x: { label: "predicted, tokens/s", axis, format: String },
    y: { label: "measured, tokens/s", axis, format: String },
    marks,
    diagonal: true,
  });
}

function table(report: Report): string {
  const columns = columnsOf(report).filter(({ heading }) => heading !== undefined);
  const head = columns.map(({ heading }) => element("th", {}, escaped(heading ?? "")));
  const rows = report.rows.map((row) => {
    const cells = columns.map(({ value, text }) =>
      element("td", {}, escaped(text?.(row) ?? String(value(row) ?? ""))),
    );
    return element("tr", { class: row.method }, ...cells);
  });
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows),
  );
}
