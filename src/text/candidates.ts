/**
 * Which tokens may be drawn: ids in no particular order, none of them with a logit of NaN or −∞. The functions run
 * over the whole vocabulary for every token of a text, so they keep to plain loops over typed arrays.
 */

export function allTokens(logits: Float32Array): Int32Array {
  const ids = new Int32Array(logits.length);
  let count = 0;
  for (let id = 0; id < logits.length; id++) {
    if ((logits[id] as number) > Number.NEGATIVE_INFINITY) ids[count++] = id;
  }
  return ids.subarray(0, count);
}

/**
 * The `count` tokens of the greatest logits, of equals those of lower id. Keeps them in a heap with the worst on
 * top, so that nearly all of a large vocabulary is passed over with one comparison.
 */
export function topTokens(logits: Float32Array, count: number): Int32Array {
  const heap: number[] = [];
  const worse = (a: number, b: number) => {
    const difference = (logits[a] as number) - (logits[b] as number);
    return difference < 0 || (difference === 0 && a > b);
  };
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (heap.length === count) {
      if (logit > (logits[heap[0] as number] as number)) siftDown(heap, id, worse);
    } else if (logit > Number.NEGATIVE_INFINITY) {
      siftUp(heap, id, worse);
    }
  }
  return Int32Array.from(heap);
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
  ids: Int32Array,
  greatest: number,
  mass: number,
): Int32Array {
  const deepest = deepestOf(logits, ids, greatest);
  const scale = deepest > 0 ? (BUCKETS - 1) / deepest : 0;
  const { masses, total } = bucketMasses(logits, ids, greatest, scale);
  let sum = 0;
  let last = 0;
  while (last < BUCKETS - 1 && sum + (masses[last] as number) < mass * total) sum += masses[last++] as number;

  const kept = new Int32Array(ids.length);
  let count = 0;
  const partly: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    const bucket = bucketOf(greatest - (logits[id] as number), scale);
    if (bucket < last) kept[count++] = id;
    else if (bucket === last) partly.push(id);
  }
  partly.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  for (const id of partly) {
    if (sum >= mass * total && count > 0) break;
    kept[count++] = id;
    sum += Math.exp((logits[id] as number) - greatest);
  }
  return kept.subarray(0, count);
}

/** `BUCKETS` for what is too deep. */
function bucketOf(depth: number, scale: number): number {
  return depth < DEPTH ? (depth * scale) | 0 : BUCKETS;
}

/** The greatest distance from the greatest logit, below `DEPTH`. */
function deepestOf(logits: Float32Array, ids: Int32Array, greatest: number): number {
  let deepest = 0;
  for (let i = 0; i < ids.length; i++) {
    const depth = greatest - (logits[ids[i] as number] as number);
    if (depth > deepest && depth < DEPTH) deepest = depth;
  }
  return deepest;
}

/** The probability in each bucket and in all, relative to that of the greatest logit. */
function bucketMasses(logits: Float32Array, ids: Int32Array, greatest: number, scale: number) {
  const masses = new Float64Array(BUCKETS);
  let total = 0;
  for (let i = 0; i < ids.length; i++) {
    const depth = greatest - (logits[ids[i] as number] as number);
    const bucket = bucketOf(depth, scale);
    if (bucket === BUCKETS) continue;
    const part = Math.exp(-depth);
    masses[bucket] = (masses[bucket] as number) + part;
    total += part;
  }
  return { masses, total };
}
