// @ts-check
/**
 * Techniques, and how each is switched off: with an option of the product, or, where it has none, by an edit of a copy of
 * what the build made. The product has no switches that only benches would use.
 */

/**
 * A change of one built file.
 *
 * @typedef {object} Edit
 * @property {string} file in dist/
 * @property {RegExp} find what must be there exactly once
 * @property {string} replace as `String.replace` takes it
 */

/**
 * @typedef {object} Technique
 * @property {string} name
 * @property {string} what is lost without it, and what takes its place
 * @property {readonly Edit[]} [edits]
 * @property {readonly string[]} [flags] of `qigen bench`
 * @property {number} [depth] positions in the context before each test, where the technique needs some; 0
 */

/**
 * @param {string} file
 * @param {RegExp} header of a function, up to its brace
 * @returns {Edit} that makes it do nothing
 */
function nothing(file, header) {
  return { file, find: new RegExp(`${header.source} \\{`), replace: "$& return;" };
}

/** One row vector in a tile, one token at a time. */
const SMALL_REGISTER_BLOCKS = [
  { file: "plan/candidates.js", find: /const TILES = \[[\d, ]+\]/, replace: "const TILES = [1]" },
  { file: "plan/candidates.js", find: /const TOKENS = \[[\d, ]+\]/, replace: "const TOKENS = [1]" },
];

/** A row tile, all inputs. */
const NO_CACHE_BLOCKS = [
  { file: "plan/candidates.js", find: /const BLOCK_TILES = \[[\d, ]+\]/, replace: "const BLOCK_TILES = [1]" },
  { file: "plan/candidates.js", find: /const INPUTS = \[[\d, ]+\]/, replace: "const INPUTS = []" },
];

/** Every chain from its first link to its last before the next is begun. */
const CHAIN_AFTER_CHAIN = `function addChunk(c, w, xs, chains, raw) {
    const { b, pack } = c;
    const codes = Array.from({ length: pack.tile }, (_, u) => chunkCodes(c, w, u, true, raw));
    const fields = codes.map((codesOf) => new Map(inputOrder(pack).map((input) => [input, codesOf(input)])));
    xs.forEach((x, t) => fields.forEach((field, u) => {
        for (const input of inputOrder(pack)) {
            const four = b.op.vbroadcast4(x.pointer, { offset: x.offset + input });
            chains[t][u].add(field.get(input), four, raw ? upBits(pack, input) : 0);
        }
    }));
}
function addChunkInOrder(c, w, xs, chains, raw) {`;

/** @type {readonly Technique[]} */
export const TECHNIQUES = [
  {
    name: "int8",
    what: "int8 activations; f32 instead",
    flags: ["--activations", "f32"],
  },
  {
    name: "blocking",
    what: "blocking by the model; one row vector, one token, one tile instead",
    edits: [...SMALL_REGISTER_BLOCKS, ...NO_CACHE_BLOCKS],
  },
  {
    name: "expansion",
    what: "codes of many tokens expanded to bytes once; unpacked for every step of tokens instead",
    edits: [
      {
        file: "plan/candidates.js",
        find: /const expands = canExpand\(shape\);/,
        replace: "const expands = false;",
      },
    ],
  },
  {
    name: "register-blocks",
    what: "micro-GEMVs of several row vectors and tokens",
    edits: SMALL_REGISTER_BLOCKS,
  },
  {
    name: "cache-blocks",
    what: "mini-GEMVs of several tiles",
    edits: NO_CACHE_BLOCKS,
  },
  {
    name: "short-sums",
    what: "sums of products in 16 bits (AVX2); every product widened instead",
    edits: [
      {
        file: "isa/avx2.js",
        find: /function dotLinks\(bits\) \{/,
        replace: "$& if (bits !== 8) return 1;",
      },
    ],
  },
  {
    name: "link-order",
    what: "links of chains in the order input, token, row vector; chain after chain instead",
    edits: [
      {
        file: "kernels/segment-int8.js",
        find: /function addChunk\(c, w, xs, chains, raw\) \{/,
        replace: CHAIN_AFTER_CHAIN,
      },
    ],
  },
  {
    name: "compiler-order",
    what: "gcc kept from changing that order",
    edits: [{ file: "engine/native.js", find: /gcc: \["-f[^\]]*\]/, replace: "gcc: []" }],
  },
  {
    name: "weight-prefetch",
    what: "weights prefetched",
    edits: [nothing("kernels/work.js", /export function prefetch\(b, \{ pointer, offset \}, bytes, how\)/)],
  },
  {
    name: "heads-first",
    what: "the head of a block of weights read before its codes",
    edits: [nothing("kernels/work.js", /export function touchLines\(b, at, bytes\)/)],
  },
  {
    name: "huge-pages",
    what: "huge pages; pages of 4 KiB instead",
    edits: [
      {
        file: "emit/c-memory.js",
        find: /madvise\((.*), MADV_HUGEPAGE\)/,
        replace: "madvise($1, MADV_NOHUGEPAGE)",
      },
    ],
  },
  {
    name: "small-parts",
    what: "several parts of a step for each thread, taken as they come; one instead",
    edits: [
      {
        file: "plan/parts.js",
        find: /const PARTS_PER_THREAD = \d+;/,
        replace: "const PARTS_PER_THREAD = 1;",
      },
      {
        file: "plan/parts.js",
        find: /const PROJECTION_PARTS = \d+;/,
        replace: "const PROJECTION_PARTS = 1;",
      },
    ],
  },
  {
    name: "threads",
    what: "all threads; one instead",
    flags: ["--threads", "1"],
  },
  {
    name: "page-prefetch",
    what: "the next page of keys and values prefetched",
    depth: 2048,
    edits: [nothing("kernels/attention-work.js", /export function prefetchLines\(b, p, offsets\)/)],
  },
  {
    name: "f16-cache",
    what: "keys and values in f16; f32 instead",
    depth: 2048,
    flags: ["--kv", "f32"],
  },
];

/**
 * @param {string} text
 * @param {Edit} edit
 * @returns {string} the text with the change. Throws where there is not exactly one place for it.
 */
export function applyEdit(text, { file, find, replace }) {
  const places = text.match(new RegExp(find, "g"))?.length ?? 0;
  if (places !== 1) throw new Error(`dist/${file} has ${places} places like ${find.source}, not one`);
  return text.replace(find, replace);
}
