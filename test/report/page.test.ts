import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { choicesOf, findingsOf } from "../../src/report/findings.ts";
import { reportPage } from "../../src/report/page.ts";
import { reportPicture } from "../../src/report/picture.ts";
import { paretoFront, type Report } from "../../src/report/report.ts";
import { reportCsv } from "../../src/report/table.ts";
import { FULL, losing, report, row } from "./rows.ts";

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

describe("findings", () => {
  const near = losing("4 bits, g32", "gptq", 0.01, { projectionBytes: 5e5 });

  test("begin with the smallest setting within 2 % of the model", () => {
    const [first] = findingsOf(report([FULL, near, row("3 bits, g32", "gptq", { weightBytes: 9e5 })]));
    expect(first).toBe(
      "The smallest setting within 2 % of the model's own perplexity is 4 bits, g32, gptq: projections 4 times smaller " +
        "than in F16, perplexity 28.28 instead of 28.00, decode 4 times as fast as the model as it is.",
    );
  });

  test("say so where none is, and where nothing was measured", () => {
    expect(findingsOf(report([FULL, row("2 bits", "rtn")]))[0]).toContain("No setting stays within 2 %");
    expect(findingsOf(report([FULL]))).toEqual(["No setting has been measured yet."]);
  });

  test("name the bits at which GPTQ gains the most", () => {
    const pair = (bits: number, rtn: number, gptq: number) => [
      row(`${bits} bits`, "rtn", { bits, divergence: { value: rtn, error: 0 } }),
      row(`${bits} bits`, "gptq", { bits, divergence: { value: gptq, error: 0 } }),
    ];
    const lines = findingsOf(report([FULL, ...pair(4, 0.02, 0.016), ...pair(2, 0.8, 0.4)]));
    expect(lines[1]).toMatch(/^GPTQ is worth most at 2 bits, .* is 0\.5 of that/);
  });

  test("compare a budget with the best uniform setting that is no larger", () => {
    const mixed = row("3.25 bpw", "mixed", { projectionBytes: 4e5, divergence: { value: 0.01, error: 0 } });
    const small = row("3 bits, g32", "gptq", {
      projectionBytes: 39e4,
      divergence: { value: 0.04, error: 0 },
    });
    const large = row("4 bits, g32", "gptq", {
      projectionBytes: 5e5,
      divergence: { value: 0.002, error: 0 },
    });
    const lines = findingsOf(report([FULL, large, small, mixed]));
    expect(lines).toContain(
      "With 3.25 bpw spread over the modules as it pays, the divergence is 0.25 of that of the best uniform setting " +
        "that is no larger (3 bits, g32, gptq).",
    );
    const given = { ...small, setting: "3.25 bpw", method: "mixed" as const };
    expect(findingsOf(report([FULL, large, small, given]))).toContain(
      "With 3.25 bpw no mixture is clearly nearer to the model than 3 bits, g32, gptq for all modules.",
    );
  });

  test("measured beside predicted speed: the median of the rows", () => {
    expect(findingsOf(report([FULL, near])).at(-1)).toBe(
      "The median setting runs decode at 0.833 of the predicted speed, prefill at 0.833 of the predicted speed, which " +
        "counts the projections alone.",
    );
  });

  test("choices: the smallest setting for every tolerance, each once", () => {
    const rows = [
      FULL,
      losing("8 bits", "rtn", 0.001, { weightBytes: 9e5 }),
      losing("3 bits", "gptq", 0.04, { weightBytes: 5e5 }),
      losing("2 bits", "gptq", 0.5, { weightBytes: 4e5 }),
    ];
    expect(choicesOf(report(rows)).map(({ tolerance, row }) => [tolerance, row.setting])).toEqual([
      [0.005, "8 bits"],
      [0.05, "3 bits"],
    ]);
  });
});

describe("the page", () => {
  const rows = [FULL, row("4 bits", "rtn", { bits: 4 }), row("4 bits", "gptq", { bits: 4 })];
  const failures: Report["failures"] = [
    { setting: "3 bits, g96", method: "gptq", bits: 3, groupSize: 96, reason: "96 does not <divide>, sadly" },
  ];

  test("needs nothing else and runs no script, whatever the model is called", () => {
    const page = reportPage(
      report([FULL, row('3 bits, "<b>"', "rtn")], { model: "<script>alert(1)</script>" }),
    );
    expect(page).not.toMatch(/<script|<b>"|https?:|src=|href="[^#]|@import|url\(/);
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  });

  test("a mark for every setting in every plot, which leads to its row", () => {
    const page = reportPage(report([...rows, row("3.25 bpw", "mixed")]));
    // Accuracy is perplexity, divergence or the task, against bytes or speed; mixed settings are diamonds.
    expect(page.match(/<circle [^>]*r="7"/g)).toHaveLength(3 * 2 * 2);
    expect(page.match(/<path d="M[^"]*z"/g)).toHaveLength(3 * 2);
    expect(page.match(/<circle [^>]*r="3.5"/g)).toHaveLength(2 * 4);
    expect(page.match(/<rect class="bar/g)).toHaveLength(3);
    const ids = new Set([...page.matchAll(/<tr [^>]*id="([^"]+)"/g)].map(([, id]) => id));
    for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  });

  test("one way to look at accuracy is shown, others can be chosen", () => {
    const page = reportPage(report(rows));
    expect(page.match(/<input type="radio"/g)).toHaveLength(3);
    expect(page.match(/checked=""/g)).toHaveLength(1);
    expect(page).toContain("#loss2:checked ~ .plots .loss2");
  });

  test("a setting that failed is a row with its reason", () => {
    const page = reportPage(report(rows, { failures }));
    expect(page).toContain("3 bits, g96, gptq</td>");
    expect(page).toContain("96 does not &lt;divide&gt;, sadly");
  });

  test("says what is missing, and can be read when there is no setting yet", () => {
    const page = reportPage(report([FULL], { planned: 28 }));
    expect(page).toContain("27 settings are missing");
    expect(page).not.toMatch(/NaN|Infinity|undefined/);
    expect(reportPage(report(rows))).not.toContain("missing");
  });

  test("no number is without a value, however alike the rows are", () => {
    const same = row("a", "rtn", { divergence: { value: 0, error: 0 }, ratio: { value: 0.99, error: 0 } });
    for (const drawn of [reportPage, reportPicture].map((draw) => draw(report([FULL, same, same])))) {
      expect(drawn).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});

test("the picture has both plots, or none yet", () => {
  const drawn = reportPicture(report([FULL, row("4 bits", "rtn"), row("4 bits", "gptq")]));
  expect(drawn.match(/<circle [^>]*r="7"/g)).toHaveLength(4);
  expect(drawn).not.toContain("href");
  expect(reportPicture(report([FULL]))).toMatch(/<\/svg>\n$/);
});

describe("CSV", () => {
  test("has every column in full precision, and quotes what needs it", () => {
    const rows = [FULL, row("3 bits, g32", "gptq", { bits: 3, groupSize: 32, sameTop: 1 / 3 })];
    const [head, , last, end] = reportCsv(report(rows)).split("\r\n");
    expect(head?.split(",").slice(0, 5)).toEqual(["name", "method", "bits", "group_size", "budget"]);
    expect(last).toContain('"3 bits, g32, gptq",gptq,3,32,,4.25,531250,1000000,9000000,30,0.5,1.07142');
    expect(last).toContain(",0.3333333333333333,");
    expect(end).toBe("");
  });

  test("a setting that failed has its reason, in the last column", () => {
    const failures = [{ setting: "3 bits, g96", method: "rtn", groupSize: 96, reason: "no" }] as const;
    const [head, , failed] = reportCsv(report([FULL], { failures })).split("\r\n");
    expect(failed).toMatch(/^"3 bits, g96, rtn",rtn,,96,.*,no$/);
    expect(failed?.match(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/g)).toHaveLength(head?.match(/,/g)?.length as number);
  });
});
