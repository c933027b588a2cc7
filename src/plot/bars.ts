import { element, escaped, rule, text } from "./svg.ts";

/** A bar, and what stands at its end. */
export interface Bar {
  /** Its part of the plot's width: 0 to 1. */
  readonly share: number;
  readonly text: string;
  /** Which of the series it belongs to: its class. */
  readonly series: string;
  /** What a pointer over it shows. */
  readonly title?: string | undefined;
}

/** Bars that belong together. */
export interface BarGroup {
  readonly name: string;
  readonly bars: readonly Bar[];
}

export interface Bars {
  readonly groups: readonly BarGroup[];
  /** A line down all bars, at a share of the width, and what it stands for. */
  readonly reference?: { readonly share: number; readonly label: string } | undefined;
  /** Pixels of a bar. Default 15. */
  readonly thickness?: number | undefined;
}

/** Pixels: of the picture, and of a character of its texts. */
export const BARS_WIDTH = 460;
const CHARACTER = 6.6;
const GAP = 5;
const HEAD = 22;

/** How high the picture is. */
export function barsHeight({ groups, reference, thickness = 15 }: Bars): number {
  const rows = groups.reduce((sum, { bars }) => sum + bars.length * thickness + GAP, 0);
  return (reference === undefined ? 0 : HEAD) + rows + 4;
}

/** Bars from the left, one below the other: the parts of a picture `BARS_WIDTH` wide. */
export function bars({ groups, reference, thickness = 15 }: Bars): string[] {
  const widest = (words: readonly string[]) => CHARACTER * Math.max(0, ...words.map(({ length }) => length));
  const left = widest(groups.map(({ name }) => name)) + 12;
  const room = BARS_WIDTH - left - widest(groups.flatMap(({ bars }) => bars.map(({ text }) => text))) - 8;
  const height = barsHeight({ groups, reference, thickness });
  let top = reference === undefined ? 2 : HEAD;
  const drawn = groups.flatMap(({ name, bars }) => {
    const own = bars.map((bar, i) => {
      const box = { x: left, y: top + i * thickness + 1, width: Math.max(1, room * bar.share) };
      return barOf(bar, { ...box, height: thickness - 2 });
    });
    const label = text(left - 8, top + (bars.length * thickness) / 2 + 4, name, "tick", "end");
    top += bars.length * thickness + GAP;
    return [label, ...own];
  });
  if (reference === undefined) return drawn;
  const x = left + room * reference.share;
  return [
    rule("reference", { x, y: HEAD - 6 }, { x, y: height }),
    ...drawn,
    text(x, HEAD - 10, reference.label, "note", "middle"),
  ];
}

interface Size {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function barOf({ text: words, series, title }: Bar, size: Size): string {
  const shown = title === undefined ? [] : [element("title", {}, escaped(title))];
  return element(
    "g",
    {},
    ...shown,
    element("rect", { class: `bar ${series}`, ...size, rx: 2 }),
    text(size.x + size.width + 6, size.y + size.height / 2 + 4, words, "tick"),
  );
}
