import { picture } from "../plot/picture.ts";
import { SCATTER, scatter } from "../plot/scatter.ts";
import { findingsOf } from "./findings.ts";
import { lossesOf } from "./losses.ts";
import { accuracyPlot } from "./plots.ts";
import type { Report } from "./report.ts";
import { seriesOf } from "./series.ts";

/** Perplexity against bytes and against tokens/s, as a picture for a text. */
export function reportPicture(report: Report): string {
  const [perplexity] = lossesOf(report);
  const costs = report.rows.length < 2 ? [] : (["bytes", "speed"] as const);
  return picture({
    title: `Accuracy and performance of ${report.model}`,
    description: findingsOf(report)[0],
    series: seriesOf(report).filter(({ key }) => key !== "none"),
    note: "in a mark: bits",
    panels: costs.map((cost) => ({
      ...SCATTER,
      parts: scatter(accuracyPlot(report, perplexity, cost, false)),
    })),
  });
}
