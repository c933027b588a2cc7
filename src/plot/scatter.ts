import type { Axis } from "./axis.ts";
import { type Box, placeLabels } from "./labels.ts";
import { element, escaped, type Point, pixels, rule, text } from "./svg.ts";

/** A mark of a scatter plot. */
export interface Mark extends Point {
  /** What is as likely, along either axis: from, to. */
  readonly spread?: { readonly x?: Range | undefined; readonly y?: Range | undefined };
  /** Which of the series it belongs to: the class of its mark. */
  readonly series: string;
  /** Default `circle`. */
  readonly shape?: "circle" | "diamond" | "dot" | undefined;
  /** A character in it. */
  readonly sign?: string | undefined;
  /** What a pointer over it shows. */
  readonly title?: string | undefined;
  /** Where a click leads. */
  readonly href?: string | undefined;
  /** Written beside it, if there is room. */
  readonly label?: string | undefined;
}

export type Range = readonly [low: number, high: number];

/** What is on an axis. */
export interface Scale {
  readonly label: string;
  readonly axis: Axis;
  readonly format: (value: number) => string;
}

/** A scatter plot; x to the right, y upwards. */
export interface Scatter {
  readonly x: Scale;
  readonly y: Scale;
  readonly marks: readonly Mark[];
  /** Joined by a line, in order. */
  readonly front?: readonly Point[] | undefined;
  /** A line where y is x. */
  readonly diagonal?: boolean | undefined;
}

/** Pixels. */
export const SCATTER = { width: 460, height: 350 };
const FRAME = { left: 68, top: 10, right: 440, bottom: 298 };
/** What a character of a label takes, of its 12 pixels' height. */
const CHARACTER = 6.4;
const LABEL_HEIGHT = 13;
const RADIUS = { circle: 7, diamond: 8.5, dot: 3.5 };
/** Names of ticks on the x axis have so many pixels each, at least. */
const TICK_ROOM = 34;

/** The parts of a picture of `SCATTER`'s size. */
export function scatter(plot: Scatter): string[] {
  const { x, y, marks, front = [], diagonal = false } = plot;
  const at = (point: Point): Point => ({
    x: FRAME.left + x.axis.place(point.x) * (FRAME.right - FRAME.left),
    y: FRAME.bottom - y.axis.place(point.y) * (FRAME.bottom - FRAME.top),
  });
  const lines = [
    ...(front.length > 1 ? [front.map(at)] : []),
    ...(diagonal ? [diagonalOf(plot).map(at)] : []),
  ];
  return [
    ...acrossAxis(x, (value) => at({ x: value, y: 1 }).x),
    ...upAxis(y, (value) => at({ x: 1, y: value }).y),
    ...(diagonal ? [polyline("diagonal", diagonalOf(plot).map(at))] : []),
    ...(front.length > 1 ? [polyline("front", front.map(at))] : []),
    ...marks.flatMap((mark) => spreads(mark, at)),
    ...marks.map((mark) => markOf(mark, at(mark))),
    ...labels(marks, at, lines),
  ];
}

type Place = (point: Point) => Point;

function acrossAxis({ axis, format, label }: Scale, place: (value: number) => number): string[] {
  let free = Number.NEGATIVE_INFINITY;
  const ticks = axis.ticks.flatMap((tick) => {
    const x = place(tick);
    const line = rule("grid", { x, y: FRAME.top }, { x, y: FRAME.bottom });
    if (x < free) return [line];
    free = x + TICK_ROOM;
    return [line, text(x, FRAME.bottom + 18, format(tick), "tick", "middle")];
  });
  return [...ticks, text((FRAME.left + FRAME.right) / 2, FRAME.bottom + 42, label, "axis", "middle")];
}

function upAxis({ axis, format, label }: Scale, place: (value: number) => number): string[] {
  const middle = (FRAME.top + FRAME.bottom) / 2;
  const turned = { class: "axis", "text-anchor": "middle", transform: `translate(13 ${middle}) rotate(-90)` };
  return [
    ...axis.ticks.flatMap((tick) => [
      rule("grid", { x: FRAME.left, y: place(tick) }, { x: FRAME.right, y: place(tick) }),
      text(FRAME.left - 8, place(tick) + 4, format(tick), "tick", "end"),
    ]),
    element("text", turned, escaped(label)),
  ];
}

function polyline(name: string, points: readonly Point[]): string {
  const path = points.map(({ x, y }) => `${pixels(x)},${pixels(y)}`).join(" ");
  return element("polyline", { class: name, points: path });
}

/** From the larger of the two first ticks to the smaller of the two last. */
function diagonalOf({ x, y }: Scatter): Point[] {
  const from = Math.max(x.axis.ticks[0] as number, y.axis.ticks[0] as number);
  const to = Math.min(x.axis.ticks.at(-1) as number, y.axis.ticks.at(-1) as number);
  return [from, to].map((value) => ({ x: value, y: value }));
}

/** Those that reach beyond the mark. */
function spreads({ x, y, spread, series, shape = "circle" }: Mark, at: Place): string[] {
  const ends = [
    ...(spread?.x ?? []).map((value) => ({ x: value, y })),
    ...(spread?.y ?? []).map((value) => ({ x, y: value })),
  ];
  const middle = at({ x, y });
  const seen = ends
    .map((end) => inFrame(at(end)))
    .filter((end) => Math.hypot(end.x - middle.x, end.y - middle.y) > RADIUS[shape]);
  if (seen.length === 0) return [];
  const from = `M${pixels(middle.x)} ${pixels(middle.y)}L`;
  const path = seen.map((end) => `${from}${pixels(end.x)} ${pixels(end.y)}`).join("");
  return [element("path", { class: `spread ${series}`, d: path })];
}

/** Logarithmic axes have no place for 0. */
function inFrame({ x, y }: Point): Point {
  const clamped = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value || low));
  return { x: clamped(x, FRAME.left, FRAME.right), y: clamped(y, FRAME.top, FRAME.bottom) };
}

function markOf({ series, shape = "circle", sign, title, href }: Mark, { x, y }: Point): string {
  const size = RADIUS[shape];
  const diamond = `M${pixels(x)} ${pixels(y - size)}l${size} ${size} ${-size} ${size} ${-size} ${-size}z`;
  const parts = [
    ...(title === undefined ? [] : [element("title", {}, escaped(title))]),
    shape === "diamond" ? element("path", { d: diamond }) : element("circle", { cx: x, cy: y, r: size }),
    ...(sign === undefined ? [] : [text(x, y + 3.6, sign)]),
  ];
  const name = href === undefined ? "g" : "a";
  return element(name, { class: `mark ${series}`, href }, ...parts);
}

/** The labels that have room, each with a line to its mark where that is not next to it. */
function labels(marks: readonly Mark[], at: Place, lines: readonly (readonly Point[])[]): string[] {
  const labelled = marks.filter(({ label }) => label !== undefined);
  const requests = labelled.map((mark) => ({
    ...at(mark),
    width: CHARACTER * (mark.label as string).length,
    height: LABEL_HEIGHT,
  }));
  const boxes = marks.map((mark) => around(at(mark), RADIUS[mark.shape ?? "circle"]));
  const places = placeLabels(requests, { frame: FRAME, marks: boxes, lines });
  return places.flatMap((box, i) => {
    if (box === undefined) return [];
    const { label = "" } = labelled[i] as Mark;
    const mark = requests[i] as Point;
    const near = nearest(box, mark);
    const far = Math.hypot(near.x - mark.x, near.y - mark.y) > 14;
    const words = text((box.left + box.right) / 2, box.bottom - 3, label, "label", "middle");
    return far ? [rule("leader", mark, near), words] : [words];
  });
}

function around({ x, y }: Point, size: number): Box {
  return { left: x - size, top: y - size, right: x + size, bottom: y + size };
}

function nearest({ left, top, right, bottom }: Box, { x, y }: Point): Point {
  return { x: Math.min(right, Math.max(left, x)), y: Math.min(bottom, Math.max(top, y)) };
}
