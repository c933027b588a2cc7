/** Tokens that may be drawn, in no particular order. NaN and −∞ are never among them. */

/** All tokens. */
export function allTokens(logits: Float32Array): number[] {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) if (isPossible(logits[id] as number)) ids.push(id);
  return ids;
}

function isPossible(logit: number): boolean {
  return logit > Number.NEGATIVE_INFINITY;
}

/**
 * The `count` tokens of the greatest logits, of equals those of lower id. Keeps them in a heap with the worst on
 * top, so that nearly all of a large vocabulary is passed over with one comparison.
 */
export function topTokens(logits: Float32Array, count: number): number[] {
  const heap: number[] = [];
  const worse = (a: number, b: number) => {
    const difference = (logits[a] as number) - (logits[b] as number);
    return difference < 0 || (difference === 0 && a > b);
  };
  for (let id = 0; id < logits.length; id++) {
    if (!isPossible(logits[id] as number)) continue;
    if (heap.length < count) siftUp(heap, id, worse);
    else if (worse(heap[0] as number, id)) siftDown(heap, id, worse);
  }
  return heap;
}

type Order = (a: number, b: number) => boolean;

function siftUp(heap: number[], id: number, before: Order): void {
  let i = heap.length;
  heap.push(id);
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (!before(id, heap[parent] as number)) break;
    heap[i] = heap[parent] as number;
    i = parent;
  }
  heap[i] = id;
}

/** Replaces the top by `id`. */
function siftDown(heap: number[], id: number, before: Order): void {
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as number, heap[child] as number)) child++;
    if (!before(heap[child] as number, id)) break;
    heap[i] = heap[child] as number;
    i = child;
  }
  heap[i] = id;
}

/** Logits further below the greatest are taken for impossible: each has less than e^−40 of its probability. */
const DEPTH = 40;
const BUCKETS = 1024;

/**
 * The fewest of the likeliest of `ids` that together have the fraction `mass` of their probability (at least one).
 *
 * Sorts as few as possible: tokens are put into buckets by their distance from the greatest logit, buckets are
 * taken whole while their probability is needed whole, and only the last one is sorted.
 *
 * @param greatest the greatest of the ids' logits, finite
 */
export function likeliestTokens(
  logits: Float32Array,
  ids: readonly number[],
  greatest: number,
  mass: number,
): number[] {
  const depthOf = (id: number) => greatest - (logits[id] as number);
  const deepest = ids.reduce((most, id) => (depthOf(id) < DEPTH ? Math.max(most, depthOf(id)) : most), 0);
  const scale = deepest > 0 ? (BUCKETS - 1) / deepest : 0;
  const masses = new Float64Array(BUCKETS);
  for (const id of ids) {
    const depth = depthOf(id);
    const bucket = Math.floor(depth * scale);
    if (depth <= deepest) masses[bucket] = (masses[bucket] as number) + Math.exp(-depth);
  }
  const needed = mass * masses.reduce((sum, part) => sum + part, 0);
  let last = 0;
  let sum = 0;
  while (last < BUCKETS - 1 && sum + (masses[last] as number) < needed) sum += masses[last++] as number;

  const kept: number[] = [];
  const partly: number[] = [];
  for (const id of ids) {
    const depth = depthOf(id);
    if (depth > deepest) continue;
    const bucket = Math.floor(depth * scale);
    if (bucket < last) kept.push(id);
    else if (bucket === last) partly.push(id);
  }
  partly.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  for (const id of partly) {
    if (sum >= needed && kept.length > 0) break;
    kept.push(id);
    sum += Math.exp(-depthOf(id));
  }
  return kept;
}
