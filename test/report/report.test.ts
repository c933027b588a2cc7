import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { linearAxis, logAxis } from "../../src/report/axis.ts";
import { reportPage } from "../../src/report/page.ts";
import { type Method, paretoFront, type Report, type ReportRow } from "../../src/report/report.ts";
import { reportCsv } from "../../src/report/table.ts";

function row(setting: string, method: Method, more: Partial<ReportRow> = {}): ReportRow {
  return {
    setting,
    method,
    bitsPerWeight: 4.25,
    projectionBytes: 531_250,
    weightBytes: 1_000_000,
    peakBytes: 9_000_000,
    perplexity: { value: 30, error: 0.5 },
    divergence: { value: 0.02, error: 0.001 },
    sameTop: 0.9,
    tasks: [{ task: "endings", accuracy: { value: 0.7, error: 0.03 } }],
    prefill: { measured: 5000, predicted: 6000 },
    decode: { measured: 1000, predicted: 1100 },
    ...more,
  };
}

function report(rows: readonly ReportRow[], model = "tales"): Report {
  return {
    model,
    created: "2026-11-23",
    command: "qigen report tales",
    machine: ["a machine"],
    protocol: ["windows of 256"],
    parameters: { all: 1.5e6, quantized: 1e6 },
    rows,
  };
}

const FULL = row("F32", "none", {
  projectionBytes: 4e6,
  weightBytes: 6e6,
  perplexity: { value: 28, error: 0.4 },
});

describe("Pareto front", () => {
  const point = fc.record({ cost: fc.integer({ min: 0, max: 9 }), loss: fc.integer({ min: 0, max: 9 }) });
  type Point = { cost: number; loss: number };
  const beats = (a: Point, b: Point) =>
    a.cost <= b.cost && a.loss <= b.loss && (a.cost < b.cost || a.loss < b.loss);

  test("no point beats one of it, and all others are beaten or equal to one of it", () => {
    fc.assert(
      fc.property(fc.array(point), (points) => {
        const front = paretoFront<Point>(
          points,
          ({ cost }) => cost,
          ({ loss }) => loss,
        );
        for (const one of front) expect(points.some((other) => beats(other, one))).toBe(false);
        for (const one of points) {
          const known = front.some((f) => beats(f, one) || (f.cost === one.cost && f.loss === one.loss));
          expect(known).toBe(true);
        }
        expect(front.map(({ cost }) => cost)).toEqual([...new Set(front.map(({ cost }) => cost))].sort());
      }),
    );
  });
});

describe("axes", () => {
  const positive = fc.double({ min: 1e-9, max: 1e12, noNaN: true });

  test.each([
    ["linear", linearAxis],
    ["logarithmic", logAxis],
  ])("%s: every value has a place between the ends, ticks ascend", (_, axisOf) => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 9 }), (values) => {
        const axis = axisOf(values);
        for (const value of values) {
          expect(axis.place(value)).toBeGreaterThanOrEqual(-1e-9);
          expect(axis.place(value)).toBeLessThanOrEqual(1 + 1e-9);
        }
        expect(axis.ticks.length).toBeGreaterThanOrEqual(2);
        expect(axis.ticks).toEqual([...axis.ticks].sort((a, b) => a - b));
      }),
    );
  });

  test("ticks read well", () => {
    expect(linearAxis([0.3, 6.2]).ticks).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(logAxis([0.003, 0.3]).ticks).toEqual([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]);
  });
});

describe("the page", () => {
  test("names the smallest setting within 2 % of the model", () => {
    const near = row("4 bits, g32", "gptq", { perplexity: { value: 28.5, error: 0.4 } });
    const smaller = row("3 bits, g32", "gptq", { weightBytes: 9e5 });
    const page = reportPage(report([FULL, near, smaller]));
    expect(page).toContain(
      "within 2 % of the model&#39;s own perplexity is 4 bits, g32, gptq".replace("&#39;", "'"),
    );
    expect(page).toContain("perplexity 28.50 instead of 28.00");
  });

  test("says so where none is", () => {
    expect(reportPage(report([FULL, row("2 bits", "rtn")]))).toContain("No setting stays within 2 %");
  });

  test("needs nothing else and runs no script, whatever the model is called", () => {
    const page = reportPage(report([FULL, row('3 bits, "<b>"', "rtn")], "<script>alert(1)</script>"));
    expect(page).not.toMatch(/<script|<b>"|https?:|src=|href=/);
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  });

  test("a mark for every setting in every plot", () => {
    const page = reportPage(report([FULL, row("4 bits", "rtn"), row("4 bits", "gptq")]));
    // Two plots of accuracy without the model itself; predictions of prefill and decode with it.
    expect(page.match(/<circle /g)).toHaveLength(2 * 2 + 2 * 3);
    expect(page.match(/<rect /g)).toHaveLength(2);
  });
});

describe("CSV", () => {
  test("has every column in full precision, and quotes what needs it", () => {
    const rows = [FULL, row("3 bits, g32", "gptq", { bits: 3, groupSize: 32, sameTop: 1 / 3 })];
    const [head, , last, end] = reportCsv(report(rows)).split("\r\n");
    expect(head?.split(",").slice(0, 4)).toEqual(["name", "method", "bits", "group_size"]);
    expect(last).toContain(
      '"3 bits, g32, gptq",gptq,3,32,4.25,531250,1000000,9000000,30,0.5,0.02,0.001,0.3333333333333333',
    );
    expect(end).toBe("");
  });
});
