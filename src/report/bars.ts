import { element, escaped } from "./svg.ts";

/** A bar, and what stands at its end. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly text: string;
  readonly series: string;
}

const WIDTH = 560;
const NAMES = 150;
const TEXTS = 130;
const ROW = 20;

/** Bars from the left, one below the other, from 0 to the longest. */
export function bars(title: string, all: readonly Bar[]): string {
  const longest = Math.max(...all.map(({ value }) => value));
  const height = ROW * all.length + 8;
  const rows = all.map(({ name, value, text, series }, i) => {
    const y = 4 + ROW * i;
    const width = (value / longest) * (WIDTH - NAMES - TEXTS);
    return [
      element("text", { class: "tick", x: NAMES - 8, y: y + 14, "text-anchor": "end" }, escaped(name)),
      element("rect", { class: `bar ${series}`, x: NAMES, y: y + 3, width, height: ROW - 6, rx: 2 }),
      element("text", { class: "tick", x: NAMES + width + 6, y: y + 14 }, escaped(text)),
    ].join("");
  });
  return element("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title }, ...rows);
}
