import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { linearAxis, logAxis } from "../../src/plot/axis.ts";
import { bars, barsHeight } from "../../src/plot/bars.ts";
import { type Box, overlap, placeLabels } from "../../src/plot/labels.ts";
import { picture } from "../../src/plot/picture.ts";
import { type Mark, scatter } from "../../src/plot/scatter.ts";
import { element, escaped } from "../../src/plot/svg.ts";

describe("axes", () => {
  const positive = fc.double({ min: 1e-9, max: 1e12, noNaN: true });

  test.each([
    ["linear", linearAxis],
    ["logarithmic", logAxis],
  ])("%s: every value has a place between the ends, ticks ascend and are not many", (_, axisOf) => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 9 }), (values) => {
        const axis = axisOf(values);
        for (const value of values) {
          expect(axis.place(value)).toBeGreaterThanOrEqual(-1e-9);
          expect(axis.place(value)).toBeLessThanOrEqual(1 + 1e-9);
        }
        expect(axis.ticks.length).toBeGreaterThanOrEqual(2);
        expect(axis.ticks.length).toBeLessThanOrEqual(25);
        expect(axis.ticks).toEqual([...axis.ticks].sort((a, b) => a - b));
      }),
    );
  });

  test("ticks read well", () => {
    expect(linearAxis([0.3, 6.2]).ticks).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(logAxis([0.003, 0.3]).ticks).toEqual([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]);
    expect(logAxis([0.003, 3000]).ticks).toEqual([0.001, 0.01, 0.1, 1, 10, 100, 1000, 10000]);
  });
});

describe("labels", () => {
  const frame: Box = { left: 0, top: 0, right: 400, bottom: 300 };
  const point = fc.record({ x: fc.integer({ min: 0, max: 400 }), y: fc.integer({ min: 0, max: 300 }) });
  const request = point.map((at) => ({ ...at, width: 70, height: 13 }));

  test("cover no mark, no other label and nothing outside the frame", () => {
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 20 }),
        fc.array(point, { maxLength: 9 }),
        (requests, line) => {
          const marks = requests.map(({ x, y }) => ({
            left: x - 7,
            top: y - 7,
            right: x + 7,
            bottom: y + 7,
          }));
          const places = placeLabels(requests, { frame, marks, lines: [line] }).filter(
            (box) => box !== undefined,
          );
          for (const [i, box] of places.entries()) {
            expect([...marks, ...places.slice(0, i)].some((other) => overlap(box, other))).toBe(false);
            expect(box.left >= 0 && box.top >= 0 && box.right <= 400 && box.bottom <= 300).toBe(true);
          }
        },
      ),
    );
  });

  test("stand to the right, elsewhere where a line or the edge is in the way", () => {
    const one = { x: 200, y: 150, width: 50, height: 12 };
    const place = (lines: readonly { x: number; y: number }[][], at = one) =>
      placeLabels([at], { frame, marks: [], lines })[0];
    expect(place([])).toEqual({ left: 210, top: 144, right: 260, bottom: 156 });
    const crossed = place([
      [
        { x: 200, y: 150 },
        { x: 400, y: 150 },
      ],
    ]);
    expect(crossed?.bottom).toBeLessThan(150);
    expect(place([], { ...one, x: 390 })?.right).toBeLessThanOrEqual(400);
    expect(place([], { ...one, width: 500 })).toBeUndefined();
  });
});

describe("plots", () => {
  const scale = { label: "a < b", axis: linearAxis([0, 10]), format: String };
  const mark = (more: Partial<Mark>): Mark => ({ x: 5, y: 5, series: "s", ...more });

  test("a mark leads somewhere, says what it is and has a sign", () => {
    const parts = scatter({ x: scale, y: scale, marks: [mark({ href: "#a", title: "1 < 2", sign: "3" })] });
    const [drawn] = parts.filter((part) => part.includes("mark"));
    expect(drawn).toMatch(/^<a class="mark s" href="#a"><title>1 &lt; 2<\/title><circle .*>3<\/text><\/a>$/);
    expect(parts.join("")).toContain("a &lt; b");
  });

  test("a spread is drawn where it is larger than its mark", () => {
    const drawn = (range: readonly [number, number]) =>
      scatter({ x: scale, y: scale, marks: [mark({ spread: { y: range } })] }).join("");
    expect(drawn([4.95, 5.05])).not.toContain("spread");
    expect(drawn([3, 5.05]).match(/class="spread s" d="M[^M"]*"/g)).toHaveLength(1);
    expect(drawn([3, 7])).toMatch(/spread s" d="M[^M"]*M[^M"]*"/);
  });

  test("a line joins the front, another one equal values", () => {
    const front = [
      { x: 1, y: 1 },
      { x: 2, y: 3 },
    ];
    const parts = scatter({ x: scale, y: scale, marks: [], front, diagonal: true }).join("");
    expect(parts.match(/<polyline/g)).toHaveLength(2);
  });

  test("bars stay within their picture, a reference is a line", () => {
    const plot = {
      groups: [{ name: "a long name", bars: [{ share: 1, text: "12.3 MB, 4.0×", series: "s" }] }],
      reference: { share: 0.5, label: "F16" },
    };
    const drawn = bars(plot).join("");
    const [x, width] = [/x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/.exec(drawn)].flatMap((found) =>
      [found?.[1], found?.[2]].map(Number),
    ) as [number, number];
    expect(x + width).toBeLessThan(460 - 60);
    expect(drawn).toContain('class="reference"');
    expect(barsHeight(plot)).toBeGreaterThan(barsHeight({ groups: plot.groups }));
  });

  test("a picture is an SVG file with its colours for both schemes", () => {
    const drawn = picture({
      title: "A & B",
      series: [{ key: "s", name: "one", colour: { light: "#111111", dark: "#eeeeee" } }],
      panels: [{ width: 100, height: 50, parts: ["<g/>"] }],
    });
    expect(drawn).toMatch(/^<svg xmlns=/);
    expect(drawn).toContain("<title>A &amp; B</title>");
    expect(drawn).toContain("--s: #111111;");
    expect(drawn).toContain("--s: #eeeeee;");
  });

  test("markup is escaped", () => {
    expect(escaped('<a b="c">&')).toBe("&lt;a b=&quot;c&quot;&gt;&amp;");
    expect(element("p", { class: '"' }, "")).toBe('<p class="&quot;"></p>');
    expect(element("line", { x1: 1.26, y1: undefined })).toBe('<line x1="1.3"/>');
  });
});
