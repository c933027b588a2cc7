import { durationText } from "../plan/text.ts";
import { element, escaped } from "../plot/svg.ts";
import { choicesOf, findingsOf, timesSmaller } from "./findings.ts";
import { lossesOf } from "./losses.ts";
import {
  accuracyPlot,
  type Cost,
  frontOf,
  memoryPicture,
  rowId,
  scatterPicture,
  speedPlot,
} from "./plots.ts";
import { type FailedRow, nameOf, type Report } from "./report.ts";
import { seriesOf } from "./series.ts";
import { pageStyle } from "./style.ts";
import { columnsOf, megabytes, threeDigits } from "./table.ts";

/** A report as one HTML page that needs nothing else: no script, no font, no address. */
export function reportPage(report: Report): string {
  const title = `Accuracy and performance of ${report.model}`;
  const body = [
    element("header", {}, ...headOf(report, title)),
    element("main", {}, ...(report.rows.length < 2 ? [] : figures(report)), ...tables(report)),
    element("footer", {}, ...footOf(report)),
  ];
  const head = [
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    element("title", {}, escaped(title)),
    element("style", {}, pageStyle(lossesOf(report).length)),
  ];
  return `<!doctype html>\n<html lang="en"><head>${head.join("\n")}</head>\n<body>${body.join("\n")}</body></html>\n`;
}

function headOf(report: Report, title: string): string[] {
  const { parameters, rows, failures, planned, created } = report;
  const done = rows.length + failures.length;
  const millions = (count: number) => `${threeDigits(count / 1e6)} million`;
  const [first = "", ...others] = findingsOf(report);
  return [
    element("h1", {}, escaped(title)),
    element(
      "p",
      { class: "small" },
      escaped(
        `${millions(parameters.all)} parameters, ${millions(parameters.quantized)} of them in projections that were quantized · ` +
          `${done} of ${planned} settings in ${durationText(report.seconds)} · ${created}`,
      ),
    ),
    ...(done < planned
      ? [
          element(
            "p",
            { class: "partial" },
            `The sweep is not finished: ${planned - done} settings are missing.`,
          ),
        ]
      : []),
    element("p", { class: "headline" }, escaped(first)),
    element("div", { class: "overview" }, choiceTable(report), list(others)),
  ];
}

function list(lines: readonly string[]): string {
  return element("ul", {}, ...lines.map((line) => element("li", {}, escaped(line))));
}

/** Which setting to take, by what one is ready to lose. */
function choiceTable(report: Report): string {
  const choices = choicesOf(report);
  if (choices.length === 0) return "";
  const cell = (content: string) => element("td", {}, escaped(content));
  const rows = choices.map(({ tolerance, row }) =>
    element(
      "tr",
      { class: row.method },
      cell(`${threeDigits(100 * tolerance)} %`),
      element("td", {}, element("a", { href: `#${rowId(report.rows.indexOf(row))}` }, escaped(nameOf(row)))),
      cell(row.perplexity.value.toFixed(2)),
      cell(`${megabytes(row.projectionBytes)}, ${threeDigits(timesSmaller(report, row))}×`),
      cell(threeDigits(row.decode.measured)),
    ),
  );
  const heads = ["to lose", "smallest setting", "perplexity", "projections, to F16", "decode, tokens/s"];
  return tableOf(
    heads.map((words) => element("th", { scope: "col" }, escaped(words))),
    rows,
    "choices",
  );
}

function tableOf(heads: readonly string[], rows: readonly string[], name: string): string {
  const [head, body] = [element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)];
  return element("div", { class: "wide" }, element("table", { class: name }, head, body));
}

function figures(report: Report): string[] {
  const losses = lossesOf(report);
  const choices = losses.flatMap(({ name }, i) => [
    element("input", { type: "radio", name: "loss", id: `loss${i}`, ...(i === 0 ? { checked: "" } : {}) }),
    element("label", { for: `loss${i}` }, escaped(name)),
  ]);
  const accuracy = (cost: Cost, name: string) =>
    losses.map((loss, i) =>
      element(
        "div",
        { class: `loss loss${i}` },
        scatterPicture(accuracyPlot(report, loss, cost, true), `${loss.name} against ${name}`),
      ),
    );
  return [
    legend(report),
    element("span", { class: "switch" }, "Accuracy as"),
    ...choices,
    element(
      "div",
      { class: "plots" },
      figure(
        "Accuracy against bytes",
        "Towards the left is smaller. The line joins the settings that no other beats in both.",
        accuracy("bytes", "bytes"),
      ),
      figure(
        "Accuracy against speed",
        "Towards the right is faster. The line joins the settings that no other beats in both.",
        accuracy("speed", "tokens per second"),
      ),
      figure(
        "Memory of the projections",
        "Bytes as they lie in memory, and how many times smaller than in F16.",
        [memoryPicture(report)],
      ),
      figure(
        "Predicted and measured speed",
        "Decode (filled) and prefill (hollow) of every setting. On the dashed line the prediction is right.",
        [scatterPicture(speedPlot(report), "predicted and measured tokens per second")],
      ),
    ),
  ];
}

function legend(report: Report): string {
  const items = seriesOf(report).map(({ key, name }) =>
    element("span", { class: `key ${key}` }, element("i", {}, ""), escaped(name)),
  );
  return element(
    "p",
    { class: "legend" },
    ...items,
    element("span", {}, "The number in a mark is its bits."),
  );
}

function figure(title: string, caption: string, pictures: readonly string[]): string {
  const words = element("figcaption", {}, element("b", {}, title), ` ${caption}`);
  return element("figure", {}, words, ...pictures);
}

function tables(report: Report): string[] {
  const columns = columnsOf(report).filter(({ heading }) => heading !== undefined);
  const heads = columns.map(({ heading, hint }) =>
    element("th", { scope: "col", title: hint }, escaped(heading ?? "")),
  );
  const [perplexity] = lossesOf(report);
  const front = frontOf(report, perplexity, "bytes");
  const rows = report.rows.map((row, i) => {
    const cells = columns.map(({ value, text }) =>
      element("td", {}, escaped(text?.(row) ?? String(value(row) ?? ""))),
    );
    const style = front.includes(row) ? `${row.method} best` : row.method;
    return element("tr", { class: style, id: rowId(i), title: row.command }, ...cells);
  });
  const failed = report.failures.map((row) => failedRow(row, columns.length));
  return [
    element("h2", {}, "All settings"),
    element("p", { class: "small" }, "Bold: no other setting is as small and as accurate."),
    tableOf(heads, [...rows, ...failed], "all"),
  ];
}

function failedRow(row: FailedRow, columns: number): string {
  const reason = element("td", { colspan: columns - 1, class: "reason" }, escaped(row.reason));
  return element(
    "tr",
    { class: `${row.method} failed`, title: row.command },
    element("td", {}, escaped(nameOf(row))),
    reason,
  );
}

function footOf({ protocol, machine, command, rows, failures }: Report): string[] {
  const commands = [...rows, ...failures].flatMap((row) => row.command ?? []);
  return [
    element("h2", {}, "How it was measured"),
    list([...protocol, ...machine]),
    element("pre", {}, escaped(command)),
    element(
      "details",
      {},
      element("summary", {}, "The command of every setting"),
      element("pre", {}, escaped(commands.join("\n"))),
    ),
  ];
}
