import { CHUNK, FAMILY_GROUPS } from "../../quant/formats.ts";

/** How the inputs of a matrix are put in order, so that groups of one size lie together. */
export interface Grouping {
  /** Inputs of a group of the stored matrix. */
  readonly group: number | "row";
  /** Stored weight i is that of input `order[i]`; undefined where the order is that of the inputs. */
  readonly order: Uint32Array | undefined;
  /** The checkpoint's group of each stored group. */
  readonly from: Uint32Array;
}

/**
 * Inputs sorted by their group, and the largest group size of the family whose groups have one scale each: a checkpoint's
 * group may become several. Undefined if there is none.
 *
 * @param groups [cols]: the group of every input
 */
export function groupingOf(groups: Uint32Array): Grouping | undefined {
  const isSorted = groups.every((group, i) => i === 0 || group >= groups[i - 1]!);
  const order = isSorted ? undefined : sortedBy(groups);
  const sorted = order === undefined ? groups : order.map((input) => groups[input]!);
  const cols = groups.length;
  for (const group of [...FAMILY_GROUPS].reverse()) {
    const size = group === "row" ? cols : group;
    // Parts of chunks need whole ones; of whole chunks, the last group of a row may be shorter.
    if (group !== "row" && group < CHUNK && cols % CHUNK > 0) continue;
    const whole = sorted.every((one, i) => i % size === 0 || one === sorted[i - 1]);
    if (!whole) continue;
    const from = Uint32Array.from({ length: Math.ceil(cols / size) }, (_, i) => sorted[i * size]!);
    return { group, order, from };
  }
  return undefined;
}

/** Inputs by group, those of one group in their own order. */
function sortedBy(groups: Uint32Array): Uint32Array {
  const starts = new Uint32Array(groups.reduce((most, group) => Math.max(most, group), 0) + 2);
  for (const group of groups) starts[group + 1]!++;
  for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
  const order = new Uint32Array(groups.length);
  for (const [input, group] of groups.entries()) order[starts[group]!++] = input;
  return order;
}
