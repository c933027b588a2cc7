import type { Colour } from "./style.ts";
import { plotStyle } from "./style.ts";
import { element, moved, svgDocument, text } from "./svg.ts";

/** A plot, and its size in pixels. */
export interface Panel {
  readonly width: number;
  readonly height: number;
  readonly parts: readonly string[];
}

/** Plots side by side in one SVG file. */
export interface Picture {
  readonly title: string;
  /** What the picture says, for those who do not see it. */
  readonly description?: string | undefined;
  readonly series: readonly Series[];
  /** Words behind the names of the series. */
  readonly note?: string | undefined;
  readonly panels: readonly Panel[];
}

/** What marks of one colour are. */
export interface Series {
  /** Class of its marks. */
  readonly key: string;
  readonly name: string;
  readonly colour: Colour;
}

/** Pixels. */
const MARGIN = 20;
const HEAD = 82;
const CHARACTER = 7.2;
const KEY = 32;

/** As an SVG file. */
export function picture({ title, description, series, note, panels }: Picture): string {
  const width = panels.reduce((sum, panel) => sum + panel.width + MARGIN, MARGIN);
  const height = HEAD + Math.max(0, ...panels.map((panel) => panel.height)) + MARGIN;
  const colours = Object.fromEntries(series.map(({ key, colour }) => [key, colour]));
  const style = `${plotStyle(colours)}text.tick, text.axis, text.note { fill: var(--soft) }`;
  let left = MARGIN;
  const drawn = panels.map((panel) => {
    const at = left;
    left += panel.width + MARGIN;
    return moved(at, HEAD, ...panel.parts);
  });
  const head = {
    width,
    height,
    title: description === undefined ? title : `${title}. ${description}`,
    style,
  };
  return svgDocument(head, [text(MARGIN, 34, title, "title"), ...legend(series, note), ...drawn]);
}

/** Below the title, from left to right. */
function legend(series: readonly Series[], note: string | undefined): string[] {
  let x = MARGIN + 6;
  const keys = series.flatMap(({ key, name }) => {
    const left = x;
    x += KEY + CHARACTER * name.length;
    return [element("circle", { class: `bar ${key}`, cx: left, cy: 58, r: 6 }), text(left + 12, 62, name)];
  });
  return note === undefined ? keys : [...keys, text(x - 6, 62, note, "quiet")];
}
