import { floatLiteral, hexByte, tableLiteral } from "./c-literal.ts";
import { intrinsics } from "./intrinsics.ts";
import type { Isa } from "./isa.ts";

/**
 * `vpmaddubsw` adds two u8·i8 products in 16 bits, so up to ⌊(2^15 − 1) / (2 · (2^bits − 1) · 127)⌋ links of a chain
 * can be added in 16 bits before `vpmaddwd` by ones widens them: 8 links at 4 bits, 18 at 3, 43 at 2, 1 at 7.
 * With 8 bits no two links fit: `dot8` widens each.
 */
function dotLinks(bits: number): number {
  return bits >= 8 ? Number.POSITIVE_INFINITY : Math.floor(32767 / (2 * (2 ** bits - 1) * 127));
}

const setr = (values: readonly number[]): string => `_mm256_setr_epi32(${values.join(", ")})`;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const firstLanes = "_mm256_cmpgt_epi32(_mm256_set1_epi32($1), #iota)";

/** AVX2 with FMA and F16C: 8 lanes, 16 registers, no integer dot product (`vpmaddubsw` + `vpmaddwd`). */
export const avx2: Isa = {
  name: "avx2",
  syntax: "c",
  lanes: 8,
  dotByte: (lane, i) => 4 * lane + i,
  dot8Offset: 128,
  dotLinks,
  fusedMultiplyAdd: true,
  signs: { bits: 8, fields: [4, 4] },
  // What one core reads in the 100 ns that memory takes, at 23 GB/s: Zen 3, whose own prefetchers stop at every 4 KiB.
  weightPrefetch: { level: 1, ahead: 2304, every: 64 },
  signPrefetch: { level: 1, ahead: 2304, every: 64 },
  features: ["avx2", "fma", "f16c"],
  flags: ["-mavx2", "-mfma", "-mf16c"],
  headers: intrinsics("smmintrin", "avxintrin", "avx2intrin", "fmaintrin", "f16cintrin"),
  registers: 16,
  types: {
    vf32: "__m256",
    vi32: "__m256i",
    vu8: "__m256i",
    vi8: "__m256i",
    vsum: "__m256i",
    vmask: "__m256i",
  },
  constants: {
    ones16: ["vi32", "_mm256_set1_epi16(1)"],
    iota: ["vi32", setr(range(8))],
  },
  helpers: {
    dot8: `static inline __m256i dot8(__m256i sum, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}`,
    dot8n: `static inline __m256i dot8n(__m256i sum, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}`,
    store_lanes_i8: `static inline void store_lanes_i8(char *p, __m256i v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(words, words));
}`,
    store_lanes_u16: `static inline void store_lanes_u16(char *p, __m256i v) {
  const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
  _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}`,
    sum_lanes: `static inline float sum_lanes(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}`,
    max_lane: `static inline float max_lane(__m256 v) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}`,
    sum_lanes_i32: `static inline int32_t sum_lanes_i32(__m256i v) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}`,
  },
  rows: {
    vfsplat: "_mm256_set1_ps($0)",
    visplat: "_mm256_set1_epi32($0)",
    vfconst: ({ number }) => `_mm256_set1_ps(${floatLiteral(number("value"))})`,
    viconst: "_mm256_set1_epi32({value})",
    viota: "#iota",
    vfload: "_mm256_loadu_ps((const float *)(@))",
    vfstore: "_mm256_storeu_ps((float *)(@), $1)",
    vfloadn: `_mm256_maskload_ps((const float *)(@), ${firstLanes})`,
    vfstoren: `_mm256_maskstore_ps((float *)(@), ${firstLanes}, $2)`,
    vhload: "_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(@)))",
    vhstore: "_mm_storeu_si128((__m128i *)(@), _mm256_cvtps_ph($1, _MM_FROUND_TO_NEAREST_INT))",
    vbfload:
      "_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(@))), 16))",
    viload: "_mm256_loadu_si256((const __m256i *)(@))",
    vistore: "_mm256_storeu_si256((__m256i *)(@), $1)",
    vu8loadlanes: "_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(@)))",
    vi8loadlanes: "_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(@)))",
    vi8loadpairs: "_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(@)))",
    vu8loadpairs: ({ number }) => {
      const [shift, mask] = [number("shift"), number("mask")];
      const bytes = "_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(@)))";
      const moved = shift === 0 ? bytes : `_mm256_srli_epi16(${bytes}, ${shift})`;
      return mask === 255 >> shift ? moved : `_mm256_and_si256(${moved}, _mm256_set1_epi16(${mask}))`;
    },
    vi8storelanes: "store_lanes_i8(@, $1)",
    vu16storelanes: "store_lanes_u16(@, $1)",
    vu8load: "_mm256_loadu_si256((const __m256i *)(@))",
    vu8store: "_mm256_storeu_si256((__m256i *)(@), $1)",
    vbroadcast4: "_mm256_set1_epi32(load_i32(@))",
    vu8table: "_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(@)))",
    vigather: "_mm256_i32gather_epi32((const int *)($0), $1, 1)",
    vfadd: "_mm256_add_ps($0, $1)",
    vfsub: "_mm256_sub_ps($0, $1)",
    vfmul: "_mm256_mul_ps($0, $1)",
    vfdiv: "_mm256_div_ps($0, $1)",
    vfma: "_mm256_fmadd_ps($0, $1, $2)",
    vfmin: "_mm256_min_ps($0, $1)",
    vfmax: "_mm256_max_ps($0, $1)",
    vfabs: "_mm256_andnot_ps(_mm256_set1_ps(-0.0f), $0)",
    vfsqrt: "_mm256_sqrt_ps($0)",
    vftoi: "_mm256_cvtps_epi32($0)",
    vitof: "_mm256_cvtepi32_ps($0)",
    vftobits: "_mm256_castps_si256($0)",
    vbitstof: "_mm256_castsi256_ps($0)",
    viadd: "_mm256_add_epi32($0, $1)",
    visub: "_mm256_sub_epi32($0, $1)",
    vimul: "_mm256_mullo_epi32($0, $1)",
    vipairdot: "_mm256_add_epi32($2, _mm256_madd_epi16($0, $1))",
    vipairadd: "_mm256_add_epi16($0, $1)",
    viand: "_mm256_and_si256($0, $1)",
    vior: "_mm256_or_si256($0, $1)",
    vixor: "_mm256_xor_si256($0, $1)",
    vishl: "_mm256_slli_epi32($0, {count})",
    vishr: "_mm256_srli_epi32($0, {count})",
    vflt: "_mm256_castps_si256(_mm256_cmp_ps($0, $1, _CMP_LT_OQ))",
    vilt: "_mm256_cmpgt_epi32($1, $0)",
    vieq: "_mm256_cmpeq_epi32($0, $1)",
    vfselect: "_mm256_blendv_ps($2, $1, _mm256_castsi256_ps($0))",
    viselect: "_mm256_blendv_epi8($2, $1, $0)",
    vfpermute: ({ attributes }) =>
      `_mm256_permutevar8x32_ps($0, ${setr(attributes.lanes as readonly number[])})`,
    vfield: ({ number }) => {
      const shift = number("shift");
      const moved = shift === 0 ? "$0" : `_mm256_srli_epi16($0, ${shift})`;
      return `_mm256_and_si256(${moved}, _mm256_set1_epi8(${hexByte(number("mask"))}))`;
    },
    vu8flip: "_mm256_xor_si256($0, _mm256_set1_epi8(-128))",
    vu8mean: "_mm256_avg_epu8($0, $1)",
    vu8add: "_mm256_add_epi8($0, $1)",
    vu8lookup: "_mm256_shuffle_epi8($0, $1)",
    vlookup: ({ attributes }) =>
      `_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(${tableLiteral(attributes.table)}), $0)`,
    vbyteof: ({ number }) => {
      const index = number("index");
      if (index === 3) return "_mm256_srli_epi32($0, 24)";
      const moved = index === 0 ? "$0" : `_mm256_srli_epi32($0, ${8 * index})`;
      return `_mm256_and_si256(${moved}, _mm256_set1_epi32(0xff))`;
    },
    // Products with 1 and 2^shift in 16 bits, of the even bytes or of the odd ones; then the low half or the high one.
    vbytejoin: ({ number }) => {
      const [index, shift] = [number("index"), number("shift")];
      const factor = (value: number) => `_mm256_set1_epi16(${value << (8 * (index % 2))})`;
      const low = `_mm256_maddubs_epi16($0, ${factor(1)})`;
      const pairs = `_mm256_add_epi16(${low}, _mm256_maddubs_epi16(${factor(2 ** shift)}, $1))`;
      return index < 2
        ? `_mm256_madd_epi16(${pairs}, _mm256_set1_epi32(1))`
        : `_mm256_srai_epi32(${pairs}, 16)`;
    },
    vbytes: "$0",
    vsumjoin: "_mm256_add_epi16($0, _mm256_srai_epi16($1, {shift}))",
    vsumpair: ({ number }) => {
      const left = 16 - number("shift");
      const low = "_mm256_madd_epi16(#ones16, $0)";
      // What is moved by less than 15 bits is multiplied by a power of two as it is widened.
      const high =
        left < 15
          ? `_mm256_madd_epi16(_mm256_set1_epi16(${2 ** left}), $1)`
          : `_mm256_slli_epi32(_mm256_madd_epi16(#ones16, $1), ${left})`;
      return `_mm256_blend_epi16(${low}, ${high}, 0xaa)`;
    },
    vfsum: "sum_lanes($0)",
    vfmaxlane: "max_lane($0)",
    visum: "sum_lanes_i32($0)",
  },
  dot: {
    dot: {
      first: "_mm256_maddubs_epi16($w, $x)",
      next: "_mm256_add_epi16($s, _mm256_maddubs_epi16($w, $x))",
      close: "_mm256_add_epi32($a, _mm256_madd_epi16(#ones16, $s))",
    },
    // |w| · ±x: a pair of products is at most 2 · 128 · 127 = 32,512 and fits 16 bits.
    dot8: { next: "dot8($s, $w, $x)" },
    dot8n: { next: "dot8n($s, $w, $x)" },
  },
  costs: {
    dot: 2, // vpmaddubsw, vpaddw
    dotClose: 2, // vpmaddwd, vpaddd
    dot8: 5, // vpsignb, vpmaddubsw, vpmaddwd, vpaddd, and vpabsb, which serves all tokens
    tableLoad: 0,
    lookup: 1,
    byteJoin: 2.5, // two vpmaddubsw and vpaddw, which serve two of the four indexes; vpmaddwd or vpsrad
    dot8n: 4.5, // vpsignb, vpmaddubsw, vpmaddwd, vpaddd, and vpabsb of the input, which serves two row vectors or more
    fieldShifted: 2,
    field: 1,
    halfLoad: 2, // vcvtph2ps from memory
    simple: 1,
    perCycle: 3,
  },
};
