import type { Method, Report, ReportRow } from "../../src/report/report.ts";

export function row(setting: string, method: Method, more: Partial<ReportRow> = {}): ReportRow {
  return {
    setting,
    method,
    bitsPerWeight: 4.25,
    projectionBytes: 531_250,
    weightBytes: 1_000_000,
    peakBytes: 9_000_000,
    perplexity: { value: 30, error: 0.5 },
    ratio: { value: 30 / 28, error: 0.002 },
    divergence: { value: 0.02, error: 0.001 },
    sameTop: 0.9,
    tasks: [{ task: "endings", accuracy: { value: 0.7, error: 0.03 } }],
    prefill: { measured: 5000, slowest: 4900, fastest: 5100, predicted: 6000 },
    decode: { measured: 1000, slowest: 900, fastest: 1010, predicted: 1250 },
    seconds: 12,
    ...more,
  };
}

/** Of 1.5 million parameters, 1 million of them in projections: 2 MB in F16. */
export function report(rows: readonly ReportRow[], more: Partial<Report> = {}): Report {
  return {
    model: "tales",
    created: "2026-11-23",
    command: "qigen report tales",
    machine: ["a machine"],
    protocol: ["windows of 256"],
    parameters: { all: 1.5e6, quantized: 1e6 },
    scored: 765,
    planned: rows.length,
    seconds: 200,
    rows,
    failures: [],
    ...more,
  };
}

export const FULL = row("as it is", "none", {
  projectionBytes: 4e6,
  weightBytes: 6e6,
  perplexity: { value: 28, error: 0.4 },
  ratio: { value: 1, error: 0 },
  divergence: { value: 1e-7, error: 1e-9 },
  decode: { measured: 250, slowest: 240, fastest: 260, predicted: 300 },
});

/** A row with so much more perplexity than the whole model. */
export function losing(setting: string, method: Method, loss: number, more: Partial<ReportRow> = {}) {
  return row(setting, method, {
    perplexity: { value: 28 * (1 + loss), error: 0.4 },
    ratio: { value: 1 + loss, error: 0.001 },
    ...more,
  });
}
