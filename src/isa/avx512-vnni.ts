import { floatLiteral, hexByte, tableLiteral } from "./c-literal.ts";
import { intrinsics } from "./intrinsics.ts";
import type { Isa } from "./isa.ts";

/** `vpdpbusd` multiplies u8 by i8, adds the four products of a lane and the accumulator, and never saturates. */
const dot = { next: "_mm512_dpbusd_epi32($s, $w, $x)" };

const setr = (values: readonly number[]): string => `_mm512_setr_epi32(${values.join(", ")})`;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const firstLanes = "(__mmask16)((1u << $1) - 1)";

/** AVX-512 (F, BW, VL, DQ) with VNNI: 16 lanes, 32 registers, `vpdpbusd`. */
export const avx512Vnni: Isa = {
  name: "avx512-vnni",
  syntax: "c",
  lanes: 16,
  dotByte: (lane, i) => 4 * lane + i,
  dot8Offset: 0,
  dotLinks: () => Number.POSITIVE_INFINITY,
  fusedMultiplyAdd: true,
  signs: { bits: 16, fields: [5, 5, 6] },
  // Zen 4: its own prefetchers find the next lines; a prefetch of each would take the place of theirs.
  weightPrefetch: { level: 2, ahead: 16384, every: 1024 },
  // Among the lines of tables they lose those of weights. Less far ahead: a thread's part of a panel ends soon.
  signPrefetch: { level: 2, ahead: 8192, every: 64 },
  features: ["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"],
  flags: ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mfma", "-mf16c"],
  headers: intrinsics(
    ...["smmintrin", "avxintrin", "avx2intrin", "fmaintrin", "f16cintrin"],
    ...["avx512fintrin", "avx512vlintrin", "avx512bwintrin", "avx512vnniintrin"],
  ),
  registers: 32,
  types: {
    vf32: "__m512",
    vi32: "__m512i",
    vu8: "__m512i",
    vi8: "__m512i",
    vsum: "__m512i",
    vmask: "__mmask16",
  },
  constants: {
    iota: ["vi32", setr(range(16))],
  },
  helpers: {
    sum_lanes: `static inline float sum_lanes(__m512 v) {
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}`,
    max_lane: `static inline float max_lane(__m512 v) {
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}`,
    sum_lanes_i32: `static inline int32_t sum_lanes_i32(__m512i v) {
  const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}`,
  },
  rows: {
    vfsplat: "_mm512_set1_ps($0)",
    visplat: "_mm512_set1_epi32($0)",
    vfconst: ({ number }) => `_mm512_set1_ps(${floatLiteral(number("value"))})`,
    viconst: "_mm512_set1_epi32({value})",
    viota: "#iota",
    vfload: "_mm512_loadu_ps(@)",
    vfstore: "_mm512_storeu_ps(@, $1)",
    vfloadn: `_mm512_maskz_loadu_ps(${firstLanes}, @)`,
    vfstoren: `_mm512_mask_storeu_ps(@, ${firstLanes}, $2)`,
    vhload: "_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(@)))",
    vhstore: "_mm256_storeu_si256((__m256i *)(@), _mm512_cvtps_ph($1, _MM_FROUND_TO_NEAREST_INT))",
    vbfload:
      "_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(@))), 16))",
    viload: "_mm512_loadu_si512(@)",
    vistore: "_mm512_storeu_si512(@, $1)",
    vu8loadlanes: "_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(@)))",
    vi8loadlanes: "_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(@)))",
    vi8loadpairs: "_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(@)))",
    vu8loadpairs: ({ number }) => {
      const [shift, mask] = [number("shift"), number("mask")];
      const bytes = "_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(@)))";
      const moved = shift === 0 ? bytes : `_mm512_srli_epi16(${bytes}, ${shift})`;
      return mask === 255 >> shift ? moved : `_mm512_and_si512(${moved}, _mm512_set1_epi16(${mask}))`;
    },
    vi8storelanes: "_mm_storeu_si128((__m128i *)(@), _mm512_cvtepi32_epi8($1))",
    vu16storelanes: "_mm256_storeu_si256((__m256i *)(@), _mm512_cvtepi32_epi16($1))",
    vu8load: "_mm512_loadu_si512(@)",
    vu8store: "_mm512_storeu_si512(@, $1)",
    vbroadcast4: "_mm512_set1_epi32(load_i32(@))",
    vu8table: "_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(@)))",
    vigather: "_mm512_i32gather_epi32($1, $0, 1)",
    vfadd: "_mm512_add_ps($0, $1)",
    vfsub: "_mm512_sub_ps($0, $1)",
    vfmul: "_mm512_mul_ps($0, $1)",
    vfdiv: "_mm512_div_ps($0, $1)",
    vfma: "_mm512_fmadd_ps($0, $1, $2)",
    vfmin: "_mm512_min_ps($0, $1)",
    vfmax: "_mm512_max_ps($0, $1)",
    vfabs: "_mm512_abs_ps($0)",
    vfsqrt: "_mm512_sqrt_ps($0)",
    vftoi: "_mm512_cvtps_epi32($0)",
    vitof: "_mm512_cvtepi32_ps($0)",
    vftobits: "_mm512_castps_si512($0)",
    vbitstof: "_mm512_castsi512_ps($0)",
    viadd: "_mm512_add_epi32($0, $1)",
    visub: "_mm512_sub_epi32($0, $1)",
    vimul: "_mm512_mullo_epi32($0, $1)",
    vipairdot: "_mm512_dpwssd_epi32($2, $0, $1)",
    vipairadd: "_mm512_add_epi16($0, $1)",
    vipairlookup: "_mm512_permutexvar_epi16($1, $0)",
    vipairlookup2: "_mm512_permutex2var_epi16($0, $2, $1)",
    viand: "_mm512_and_si512($0, $1)",
    vior: "_mm512_or_si512($0, $1)",
    vixor: "_mm512_xor_si512($0, $1)",
    vishl: "_mm512_slli_epi32($0, {count})",
    vishr: "_mm512_srli_epi32($0, {count})",
    vflt: "_mm512_cmp_ps_mask($0, $1, _CMP_LT_OQ)",
    vilt: "_mm512_cmplt_epi32_mask($0, $1)",
    vieq: "_mm512_cmpeq_epi32_mask($0, $1)",
    vfselect: "_mm512_mask_blend_ps($0, $2, $1)",
    viselect: "_mm512_mask_blend_epi32($0, $2, $1)",
    vfpermute: ({ attributes }) =>
      `_mm512_permutexvar_ps(${setr(attributes.lanes as readonly number[])}, $0)`,
    vfield: ({ number }) => {
      const shift = number("shift");
      const moved = shift === 0 ? "$0" : `_mm512_srli_epi16($0, ${shift})`;
      return `_mm512_and_si512(${moved}, _mm512_set1_epi8(${hexByte(number("mask"))}))`;
    },
    vu8flip: "_mm512_xor_si512($0, _mm512_set1_epi8(-128))",
    vu8mean: "_mm512_avg_epu8($0, $1)",
    vu8add: "_mm512_add_epi8($0, $1)",
    vu8lookup: "_mm512_shuffle_epi8($0, $1)",
    vlookup: ({ attributes }) =>
      `_mm512_shuffle_epi8(_mm512_broadcast_i32x4(${tableLiteral(attributes.table)}), $0)`,
    vbyteof: ({ number }) => {
      const index = number("index");
      if (index === 3) return "_mm512_srli_epi32($0, 24)";
      const moved = index === 0 ? "$0" : `_mm512_srli_epi32($0, ${8 * index})`;
      return `_mm512_and_si512(${moved}, _mm512_set1_epi32(0xff))`;
    },
    vbytejoin: ({ number }) => {
      const [index, shift] = [number("index"), number("shift")];
      const factor = (value: number) => `_mm512_set1_epi32(${value << (8 * index)})`;
      const low = `_mm512_dpbusd_epi32(_mm512_setzero_si512(), $0, ${factor(1)})`;
      return `_mm512_dpbusd_epi32(${low}, ${factor(2 ** shift)}, $1)`;
    },
    vbytes: "$0",
    vsumjoin: "_mm512_add_epi32($0, _mm512_srai_epi32($1, {shift}))",
    vsumpair: ({ number }) =>
      `_mm512_mask_blend_epi16(0xaaaaaaaa, $0, _mm512_slli_epi32($1, ${16 - number("shift")}))`,
    vfsum: "sum_lanes($0)",
    vfmaxlane: "max_lane($0)",
    visum: "sum_lanes_i32($0)",
  },
  dot: { dot, dot8: dot, dot8n: dot },
  costs: {
    dot: 1,
    dotClose: 0,
    dot8: 1,
    dot8n: 1,
    tableLoad: 1, // Zen 4: vbroadcasti32x4 takes the place of a shuffle
    lookup: 1,
    byteJoin: 2,
    fieldShifted: 2,
    field: 1,
    halfLoad: 2, // vcvtph2ps from memory
    simple: 1,
    perCycle: 2,
  },
};
