/** Finding places for labels beside marks, where they cover nothing. */

import type { Point } from "./svg.ts";

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What a label is for: a text of known size, for the mark at a point. */
export interface LabelRequest extends Point {
  readonly width: number;
  readonly height: number;
}

/** What labels must not cover, and what they had better not cross. */
export interface Surroundings {
  /** Labels stay within. */
  readonly frame: Box;
  readonly marks: readonly Box[];
  /** Points of lines. */
  readonly lines: readonly (readonly Point[])[];
}

/** Directions from a mark to its label, the one that reads best first. */
const DIRECTIONS: readonly Point[] = [
  { x: 1, y: 0 },
  { x: 1, y: -1 },
  { x: 0, y: -1 },
  { x: -1, y: 0 },
  { x: -1, y: -1 },
  { x: 1, y: 1 },
  { x: 0, y: 1 },
  { x: -1, y: 1 },
];
/** From the middle of a mark to the edge of its label, in pixels. */
const DISTANCES = [10, 18, 28, 40];
/** A crossed line counts as so many pixels of distance, a less fine direction as one. */
const CROSSING = 14;

/**
 * A place for each label, in order, that covers no mark and no other label; undefined where there is none. The nearest
 * free place wins, if possible one that no line crosses.
 */
export function placeLabels(
  requests: readonly LabelRequest[],
  { frame, marks, lines }: Surroundings,
): (Box | undefined)[] {
  const taken: Box[] = [...marks];
  return requests.map((request) => {
    const free = candidates(request).filter(
      ({ box }) => within(box, frame) && !taken.some((other) => overlap(box, other)),
    );
    const cost = ({ box, price }: Candidate) => price + CROSSING * crossings(box, lines);
    const best = free.reduce<Candidate | undefined>(
      (least, one) => (least === undefined || cost(one) < cost(least) ? one : least),
      undefined,
    );
    if (best !== undefined) taken.push(best.box);
    return best?.box;
  });
}

interface Candidate {
  readonly box: Box;
  readonly price: number;
}

function candidates({ x, y, width, height }: LabelRequest): Candidate[] {
  return DISTANCES.flatMap((distance) =>
    DIRECTIONS.map((direction, i): Candidate => {
      // Towards a corner, the label's own corner is at the distance.
      const away = distance / Math.hypot(direction.x, direction.y);
      const left = x + direction.x * away - (width * (1 - direction.x)) / 2;
      const top = y + direction.y * away - (height * (1 - direction.y)) / 2;
      return { box: { left, top, right: left + width, bottom: top + height }, price: distance + i };
    }),
  );
}

function within(box: Box, frame: Box): boolean {
  return (
    box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom
  );
}

export function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function crossings(box: Box, lines: readonly (readonly Point[])[]): number {
  return lines.reduce(
    (sum, points) => sum + points.slice(1).filter((to, i) => crosses(box, points[i] as Point, to)).length,
    0,
  );
}

/** Whether a straight line meets a box: the part of it that is left when it is cut at all four sides (Liang, Barsky 1984). */
function crosses(box: Box, from: Point, to: Point): boolean {
  let [start, end] = [0, 1];
  const cut = (step: number, room: number) => {
    if (step === 0) return room >= 0;
    if (step < 0) start = Math.max(start, room / step);
    else end = Math.min(end, room / step);
    return start <= end;
  };
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  return (
    cut(-dx, from.x - box.left) &&
    cut(dx, box.right - from.x) &&
    cut(-dy, from.y - box.top) &&
    cut(dy, box.bottom - from.y)
  );
}
