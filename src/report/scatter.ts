import type { Axis } from "./axis.ts";
import { element, escaped } from "./svg.ts";

/** A mark of a scatter plot. */
export interface Mark {
  readonly x: number;
  readonly y: number;
  /** Half the length of a bar through it, along y. */
  readonly error?: number;
  /** Which of the series it belongs to: the class of its mark. */
  readonly series: string;
  /** What a pointer over it shows. */
  readonly title: string;
  /** Written beside it. */
  readonly label?: string | undefined;
}

/** A scatter plot; x to the right, y upwards. */
export interface Scatter {
  readonly title: string;
  readonly x: { readonly label: string; readonly axis: Axis; readonly format: (value: number) => string };
  readonly y: { readonly label: string; readonly axis: Axis; readonly format: (value: number) => string };
  readonly marks: readonly Mark[];
  /** Joined by a line, in order. */
  readonly front?: readonly { readonly x: number; readonly y: number }[];
  /** A line where y is x. */
  readonly diagonal?: boolean;
}

const SIZE = { width: 560, height: 380 };
const FRAME = { left: 64, top: 16, right: 544, bottom: 326 };
/** What a character of a label takes, of its 11 pixels' height. */
const CHARACTER = 5.8;

export function scatter(plot: Scatter): string {
  const across = (value: number) => FRAME.left + plot.x.axis.place(value) * (FRAME.right - FRAME.left);
  const up = (value: number) => FRAME.bottom - plot.y.axis.place(value) * (FRAME.bottom - FRAME.top);
  const middle = { x: (FRAME.left + FRAME.right) / 2, y: (FRAME.top + FRAME.bottom) / 2 };
  return element(
    "svg",
    { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": plot.title },
    ...plot.x.axis.ticks.flatMap((tick) => [
      rule(across(tick), FRAME.top, across(tick), FRAME.bottom, "grid"),
      text(across(tick), FRAME.bottom + 18, "middle", plot.x.format(tick)),
    ]),
    ...plot.y.axis.ticks.flatMap((tick) => [
      rule(FRAME.left, up(tick), FRAME.right, up(tick), "grid"),
      text(FRAME.left - 8, up(tick) + 4, "end", plot.y.format(tick)),
    ]),
    text(middle.x, FRAME.bottom + 42, "middle", plot.x.label, "axis"),
    element(
      "text",
      { class: "axis", "text-anchor": "middle", transform: `translate(14 ${middle.y}) rotate(-90)` },
      escaped(plot.y.label),
    ),
    ...(plot.diagonal ? [diagonalOf(plot, across, up)] : []),
    ...(plot.front === undefined ? [] : [line(plot.front, across, up)]),
    ...plot.marks.map((mark) => markOf(mark, across, up)),
    ...labels(plot.marks, across, up),
  );
}

type Place = (value: number) => number;

function rule(x1: number, y1: number, x2: number, y2: number, name: string): string {
  return element("line", { class: name, x1, y1, x2, y2 });
}

function text(x: number, y: number, anchor: string, words: string, name = "tick"): string {
  return element("text", { class: name, x, y, "text-anchor": anchor }, escaped(words));
}

/** From the larger of the two first ticks to the smaller of the two last. */
function diagonalOf({ x, y }: Scatter, across: Place, up: Place): string {
  const from = Math.max(x.axis.ticks[0] as number, y.axis.ticks[0] as number);
  const to = Math.min(x.axis.ticks.at(-1) as number, y.axis.ticks.at(-1) as number);
  return rule(across(from), up(from), across(to), up(to), "diagonal");
}

function line(
  points: readonly { readonly x: number; readonly y: number }[],
  across: Place,
  up: Place,
): string {
  const path = points.map(({ x, y }) => `${across(x).toFixed(1)},${up(y).toFixed(1)}`).join(" ");
  return element("polyline", { class: "front", points: path });
}

function markOf({ x, y, error = 0, series, title }: Mark, across: Place, up: Place): string {
  const bar = error > 0 ? [rule(across(x), up(y - error), across(x), up(y + error), "error")] : [];
  const dot = element("circle", { cx: across(x), cy: up(y), r: 4.5 }, element("title", {}, escaped(title)));
  return element("g", { class: `mark ${series}` }, ...bar, dot);
}

/** Labels right of their marks, or left of those at the end; one that would cover another is left out. */
function labels(marks: readonly Mark[], across: Place, up: Place): string[] {
  const taken: { x1: number; x2: number; y: number }[] = [];
  return marks.flatMap(({ x, y, label }) => {
    if (label === undefined) return [];
    const width = CHARACTER * label.length;
    const right = across(x) + 9 + width <= FRAME.right;
    const x1 = right ? across(x) + 9 : across(x) - 9 - width;
    const at = up(y) - 5;
    const covers = taken.some(
      (other) => x1 < other.x2 && other.x1 < x1 + width && Math.abs(at - other.y) < 11,
    );
    if (covers) return [];
    taken.push({ x1, x2: x1 + width, y: at });
    return [text(right ? x1 : x1 + width, at, right ? "start" : "end", label, "label")];
  });
}
