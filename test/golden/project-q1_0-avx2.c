#ifdef __clang__
#include <immintrin.h>
#else
#define _IMMINTRIN_H_INCLUDED
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <f16cintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

struct team;

static inline int32_t load_i32(const char *p) { int32_t v; memcpy(&v, p, 4); return v; }
static inline float load_f32(const char *p) { float v; memcpy(&v, p, 4); return v; }

// y[t][r] = sum over 128 inputs k of (s·(q − z))[r][k] * x[t][k]; += where it accumulates
// weights  Q1_0, group 128, packed: 32 rows a tile, 576 bytes
// inputs   int8, one scale per 32 inputs
// mini     mb 128 inputs x block_tiles row tiles
// micro    mu 32 inputs x tu 32 outputs x nu 1 tokens, 8 rows a register (avx2)
void project_w_q1_0_x_i8b32_c128_mb128_mu32_tu32_nu1(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team) {
  char *const   weights     = (char *)arguments[0];   // packed weights
  char *const   x           = (char *)arguments[1];   // prepared activations, one row per token
  char *const   y           = (char *)arguments[2];   // f32 outputs [token][row]
  const int32_t y_stride    = (int32_t)arguments[3];  // bytes from one token's outputs to the next
  const int32_t tiles       = (int32_t)arguments[4];  // row tiles
  char *const   counts      = (char *)arguments[5];   // i32: number of tokens
  const int32_t block_tiles = (int32_t)arguments[6];  // row tiles of a mini-GEMV
  const int32_t accumulate  = (int32_t)arguments[7];  // 1: adds to the outputs, 0: replaces them
  (void)team;
  const int32_t tokens = load_i32(counts);
  const int32_t first = (tiles * thread) / threads;
  const int32_t last = (tiles * (thread + 1)) / threads;
  for (int32_t row_block = first; row_block < last; row_block += block_tiles) {
    const int32_t i0 = row_block + block_tiles;
    const int32_t block_end = i0 < last ? i0 : last;
    for (int32_t token = 0; token < tokens; token++) {
      for (int32_t tile = row_block; tile < block_end; tile++) {
        char *const w_tile = weights + 576 * (intptr_t)tile;
        char *const x0 = x + 1216 * (intptr_t)token;
        char *const y0 = (y + (intptr_t)token * y_stride) + 128 * (intptr_t)tile;
        __m256 acc0_0 = _mm256_set1_ps(0.0f);
        __m256 acc0_1 = _mm256_set1_ps(0.0f);
        __m256 acc0_2 = _mm256_set1_ps(0.0f);
        __m256 acc0_3 = _mm256_set1_ps(0.0f);
        if (accumulate) {
          acc0_0 = _mm256_loadu_ps((const float *)(y0));
          acc0_1 = _mm256_loadu_ps((const float *)(y0 + 32));
          acc0_2 = _mm256_loadu_ps((const float *)(y0 + 64));
          acc0_3 = _mm256_loadu_ps((const float *)(y0 + 96));
        }
        for (int32_t block = 0; block < 1; block++) {
          char *const record = w_tile + 576 * (intptr_t)block;
          char *const x0_block = x0 + 1024 * (intptr_t)block + 192;
          char *const p0 = x0 + 16 * (intptr_t)block + 128;
          (void)*(const volatile uint8_t *)(record);
          __builtin_prefetch(record + 2304, 0, 3);
          __m256 sum0_0 = _mm256_set1_ps(0.0f);
          __m256 sum0_1 = _mm256_set1_ps(0.0f);
          __m256 sum0_2 = _mm256_set1_ps(0.0f);
          __m256 sum0_3 = _mm256_set1_ps(0.0f);
          const __m256i w = _mm256_loadu_si256((const __m256i *)(record + 64));
          __builtin_prefetch(record + 2368, 0, 3);
          const __m256i signs0 = _mm256_and_si256(w, _mm256_set1_epi8(0x0f));
          const __m256i table0_0 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block)));
          const __m256i part0_0 = _mm256_shuffle_epi8(table0_0, signs0);
          const __m256i table0_1 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 16)));
          const __m256i part0_1 = _mm256_shuffle_epi8(table0_1, signs0);
          const __m256i signs0_2 = _mm256_and_si256(_mm256_srli_epi16(w, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_2 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 32)));
          const __m256i part0_0_2 = _mm256_add_epi8(part0_0, _mm256_shuffle_epi8(table0_0_2, signs0_2));
          const __m256i table0_1_2 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 48)));
          const __m256i part0_1_2 = _mm256_add_epi8(part0_1, _mm256_shuffle_epi8(table0_1_2, signs0_2));
          const __m256i w2 = _mm256_loadu_si256((const __m256i *)(record + 96));
          const __m256i signs1 = _mm256_and_si256(w2, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_3 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 64)));
          const __m256i part0_0_3 = _mm256_add_epi8(part0_0_2, _mm256_shuffle_epi8(table0_0_3, signs1));
          const __m256i table0_1_3 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 80)));
          const __m256i part0_1_3 = _mm256_add_epi8(part0_1_2, _mm256_shuffle_epi8(table0_1_3, signs1));
          const __m256i signs1_2 = _mm256_and_si256(_mm256_srli_epi16(w2, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_4 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 96)));
          const __m256i part0_0_4 = _mm256_add_epi8(part0_0_3, _mm256_shuffle_epi8(table0_0_4, signs1_2));
          const __m256i table0_1_4 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 112)));
          const __m256i part0_1_4 = _mm256_add_epi8(part0_1_3, _mm256_shuffle_epi8(table0_1_4, signs1_2));
          const __m256i w3 = _mm256_loadu_si256((const __m256i *)(record + 128));
          __builtin_prefetch(record + 2432, 0, 3);
          const __m256i signs2 = _mm256_and_si256(w3, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_5 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 128)));
          const __m256i part0_0_5 = _mm256_add_epi8(part0_0_4, _mm256_shuffle_epi8(table0_0_5, signs2));
          const __m256i table0_1_5 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 144)));
          const __m256i part0_1_5 = _mm256_add_epi8(part0_1_4, _mm256_shuffle_epi8(table0_1_5, signs2));
          const __m256i signs2_2 = _mm256_and_si256(_mm256_srli_epi16(w3, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_6 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 160)));
          const __m256i part0_0_6 = _mm256_add_epi8(part0_0_5, _mm256_shuffle_epi8(table0_0_6, signs2_2));
          const __m256i table0_1_6 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 176)));
          const __m256i part0_1_6 = _mm256_add_epi8(part0_1_5, _mm256_shuffle_epi8(table0_1_6, signs2_2));
          const __m256i w4 = _mm256_loadu_si256((const __m256i *)(record + 160));
          const __m256i signs3 = _mm256_and_si256(w4, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_7 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 192)));
          const __m256i part0_0_7 = _mm256_add_epi8(part0_0_6, _mm256_shuffle_epi8(table0_0_7, signs3));
          const __m256i table0_1_7 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 208)));
          const __m256i part0_1_7 = _mm256_add_epi8(part0_1_6, _mm256_shuffle_epi8(table0_1_7, signs3));
          const __m256i signs3_2 = _mm256_and_si256(_mm256_srli_epi16(w4, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_8 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 224)));
          const __m256i part0_0_8 = _mm256_add_epi8(part0_0_7, _mm256_shuffle_epi8(table0_0_8, signs3_2));
          const __m256i table0_1_8 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 240)));
          const __m256i part0_1_8 = _mm256_add_epi8(part0_1_7, _mm256_shuffle_epi8(table0_1_8, signs3_2));
          const __m256i vi0 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_8, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_8)), _mm256_set1_epi32(1));
          const __m256i vi1 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_8, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_8)), _mm256_set1_epi32(1));
          const __m256i vi2 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_8, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_8)), 16);
          const __m256i vi3 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_8, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_8)), 16);
          const float f0 = load_f32(p0);
          const __m256 vf0 = _mm256_set1_ps(f0);
          sum0_0 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi0), vf0, sum0_0);
          sum0_1 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi1), vf0, sum0_1);
          sum0_2 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi2), vf0, sum0_2);
          sum0_3 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi3), vf0, sum0_3);
          const __m256i w5 = _mm256_loadu_si256((const __m256i *)(record + 192));
          __builtin_prefetch(record + 2496, 0, 3);
          const __m256i signs0_3 = _mm256_and_si256(w5, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_9 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 256)));
          const __m256i part0_0_9 = _mm256_shuffle_epi8(table0_0_9, signs0_3);
          const __m256i table0_1_9 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 272)));
          const __m256i part0_1_9 = _mm256_shuffle_epi8(table0_1_9, signs0_3);
          const __m256i signs0_4 = _mm256_and_si256(_mm256_srli_epi16(w5, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_10 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 288)));
          const __m256i part0_0_10 = _mm256_add_epi8(part0_0_9, _mm256_shuffle_epi8(table0_0_10, signs0_4));
          const __m256i table0_1_10 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 304)));
          const __m256i part0_1_10 = _mm256_add_epi8(part0_1_9, _mm256_shuffle_epi8(table0_1_10, signs0_4));
          const __m256i w6 = _mm256_loadu_si256((const __m256i *)(record + 224));
          const __m256i signs1_3 = _mm256_and_si256(w6, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_11 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 320)));
          const __m256i part0_0_11 = _mm256_add_epi8(part0_0_10, _mm256_shuffle_epi8(table0_0_11, signs1_3));
          const __m256i table0_1_11 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 336)));
          const __m256i part0_1_11 = _mm256_add_epi8(part0_1_10, _mm256_shuffle_epi8(table0_1_11, signs1_3));
          const __m256i signs1_4 = _mm256_and_si256(_mm256_srli_epi16(w6, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_12 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 352)));
          const __m256i part0_0_12 = _mm256_add_epi8(part0_0_11, _mm256_shuffle_epi8(table0_0_12, signs1_4));
          const __m256i table0_1_12 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 368)));
          const __m256i part0_1_12 = _mm256_add_epi8(part0_1_11, _mm256_shuffle_epi8(table0_1_12, signs1_4));
          const __m256i w7 = _mm256_loadu_si256((const __m256i *)(record + 256));
          __builtin_prefetch(record + 2560, 0, 3);
          const __m256i signs2_3 = _mm256_and_si256(w7, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_13 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 384)));
          const __m256i part0_0_13 = _mm256_add_epi8(part0_0_12, _mm256_shuffle_epi8(table0_0_13, signs2_3));
          const __m256i table0_1_13 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 400)));
          const __m256i part0_1_13 = _mm256_add_epi8(part0_1_12, _mm256_shuffle_epi8(table0_1_13, signs2_3));
          const __m256i signs2_4 = _mm256_and_si256(_mm256_srli_epi16(w7, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_14 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 416)));
          const __m256i part0_0_14 = _mm256_add_epi8(part0_0_13, _mm256_shuffle_epi8(table0_0_14, signs2_4));
          const __m256i table0_1_14 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 432)));
          const __m256i part0_1_14 = _mm256_add_epi8(part0_1_13, _mm256_shuffle_epi8(table0_1_14, signs2_4));
          const __m256i w8 = _mm256_loadu_si256((const __m256i *)(record + 288));
          const __m256i signs3_3 = _mm256_and_si256(w8, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_15 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 448)));
          const __m256i part0_0_15 = _mm256_add_epi8(part0_0_14, _mm256_shuffle_epi8(table0_0_15, signs3_3));
          const __m256i table0_1_15 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 464)));
          const __m256i part0_1_15 = _mm256_add_epi8(part0_1_14, _mm256_shuffle_epi8(table0_1_15, signs3_3));
          const __m256i signs3_4 = _mm256_and_si256(_mm256_srli_epi16(w8, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_16 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 480)));
          const __m256i part0_0_16 = _mm256_add_epi8(part0_0_15, _mm256_shuffle_epi8(table0_0_16, signs3_4));
          const __m256i table0_1_16 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 496)));
          const __m256i part0_1_16 = _mm256_add_epi8(part0_1_15, _mm256_shuffle_epi8(table0_1_16, signs3_4));
          const __m256i vi4 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_16, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_16)), _mm256_set1_epi32(1));
          const __m256i vi5 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_16, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_16)), _mm256_set1_epi32(1));
          const __m256i vi6 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_16, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_16)), 16);
          const __m256i vi7 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_16, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_16)), 16);
          const float f1 = load_f32(p0 + 4);
          const __m256 vf1 = _mm256_set1_ps(f1);
          sum0_0 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi4), vf1, sum0_0);
          sum0_1 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi5), vf1, sum0_1);
          sum0_2 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi6), vf1, sum0_2);
          sum0_3 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi7), vf1, sum0_3);
          const __m256i w9 = _mm256_loadu_si256((const __m256i *)(record + 320));
          __builtin_prefetch(record + 2624, 0, 3);
          const __m256i signs0_5 = _mm256_and_si256(w9, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_17 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 512)));
          const __m256i part0_0_17 = _mm256_shuffle_epi8(table0_0_17, signs0_5);
          const __m256i table0_1_17 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 528)));
          const __m256i part0_1_17 = _mm256_shuffle_epi8(table0_1_17, signs0_5);
          const __m256i signs0_6 = _mm256_and_si256(_mm256_srli_epi16(w9, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_18 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 544)));
          const __m256i part0_0_18 = _mm256_add_epi8(part0_0_17, _mm256_shuffle_epi8(table0_0_18, signs0_6));
          const __m256i table0_1_18 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 560)));
          const __m256i part0_1_18 = _mm256_add_epi8(part0_1_17, _mm256_shuffle_epi8(table0_1_18, signs0_6));
          const __m256i w10 = _mm256_loadu_si256((const __m256i *)(record + 352));
          const __m256i signs1_5 = _mm256_and_si256(w10, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_19 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 576)));
          const __m256i part0_0_19 = _mm256_add_epi8(part0_0_18, _mm256_shuffle_epi8(table0_0_19, signs1_5));
          const __m256i table0_1_19 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 592)));
          const __m256i part0_1_19 = _mm256_add_epi8(part0_1_18, _mm256_shuffle_epi8(table0_1_19, signs1_5));
          const __m256i signs1_6 = _mm256_and_si256(_mm256_srli_epi16(w10, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_20 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 608)));
          const __m256i part0_0_20 = _mm256_add_epi8(part0_0_19, _mm256_shuffle_epi8(table0_0_20, signs1_6));
          const __m256i table0_1_20 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 624)));
          const __m256i part0_1_20 = _mm256_add_epi8(part0_1_19, _mm256_shuffle_epi8(table0_1_20, signs1_6));
          const __m256i w11 = _mm256_loadu_si256((const __m256i *)(record + 384));
          __builtin_prefetch(record + 2688, 0, 3);
          const __m256i signs2_5 = _mm256_and_si256(w11, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_21 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 640)));
          const __m256i part0_0_21 = _mm256_add_epi8(part0_0_20, _mm256_shuffle_epi8(table0_0_21, signs2_5));
          const __m256i table0_1_21 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 656)));
          const __m256i part0_1_21 = _mm256_add_epi8(part0_1_20, _mm256_shuffle_epi8(table0_1_21, signs2_5));
          const __m256i signs2_6 = _mm256_and_si256(_mm256_srli_epi16(w11, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_22 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 672)));
          const __m256i part0_0_22 = _mm256_add_epi8(part0_0_21, _mm256_shuffle_epi8(table0_0_22, signs2_6));
          const __m256i table0_1_22 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 688)));
          const __m256i part0_1_22 = _mm256_add_epi8(part0_1_21, _mm256_shuffle_epi8(table0_1_22, signs2_6));
          const __m256i w12 = _mm256_loadu_si256((const __m256i *)(record + 416));
          const __m256i signs3_5 = _mm256_and_si256(w12, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_23 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 704)));
          const __m256i part0_0_23 = _mm256_add_epi8(part0_0_22, _mm256_shuffle_epi8(table0_0_23, signs3_5));
          const __m256i table0_1_23 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 720)));
          const __m256i part0_1_23 = _mm256_add_epi8(part0_1_22, _mm256_shuffle_epi8(table0_1_23, signs3_5));
          const __m256i signs3_6 = _mm256_and_si256(_mm256_srli_epi16(w12, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_24 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 736)));
          const __m256i part0_0_24 = _mm256_add_epi8(part0_0_23, _mm256_shuffle_epi8(table0_0_24, signs3_6));
          const __m256i table0_1_24 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 752)));
          const __m256i part0_1_24 = _mm256_add_epi8(part0_1_23, _mm256_shuffle_epi8(table0_1_24, signs3_6));
          const __m256i vi8 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_24, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_24)), _mm256_set1_epi32(1));
          const __m256i vi9 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_24, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_24)), _mm256_set1_epi32(1));
          const __m256i vi10 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_24, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_24)), 16);
          const __m256i vi11 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_24, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_24)), 16);
          const float f2 = load_f32(p0 + 8);
          const __m256 vf2 = _mm256_set1_ps(f2);
          sum0_0 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi8), vf2, sum0_0);
          sum0_1 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi9), vf2, sum0_1);
          sum0_2 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi10), vf2, sum0_2);
          sum0_3 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi11), vf2, sum0_3);
          const __m256i w13 = _mm256_loadu_si256((const __m256i *)(record + 448));
          __builtin_prefetch(record + 2752, 0, 3);
          const __m256i signs0_7 = _mm256_and_si256(w13, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_25 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 768)));
          const __m256i part0_0_25 = _mm256_shuffle_epi8(table0_0_25, signs0_7);
          const __m256i table0_1_25 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 784)));
          const __m256i part0_1_25 = _mm256_shuffle_epi8(table0_1_25, signs0_7);
          const __m256i signs0_8 = _mm256_and_si256(_mm256_srli_epi16(w13, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_26 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 800)));
          const __m256i part0_0_26 = _mm256_add_epi8(part0_0_25, _mm256_shuffle_epi8(table0_0_26, signs0_8));
          const __m256i table0_1_26 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 816)));
          const __m256i part0_1_26 = _mm256_add_epi8(part0_1_25, _mm256_shuffle_epi8(table0_1_26, signs0_8));
          const __m256i w14 = _mm256_loadu_si256((const __m256i *)(record + 480));
          const __m256i signs1_7 = _mm256_and_si256(w14, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_27 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 832)));
          const __m256i part0_0_27 = _mm256_add_epi8(part0_0_26, _mm256_shuffle_epi8(table0_0_27, signs1_7));
          const __m256i table0_1_27 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 848)));
          const __m256i part0_1_27 = _mm256_add_epi8(part0_1_26, _mm256_shuffle_epi8(table0_1_27, signs1_7));
          const __m256i signs1_8 = _mm256_and_si256(_mm256_srli_epi16(w14, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_28 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 864)));
          const __m256i part0_0_28 = _mm256_add_epi8(part0_0_27, _mm256_shuffle_epi8(table0_0_28, signs1_8));
          const __m256i table0_1_28 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 880)));
          const __m256i part0_1_28 = _mm256_add_epi8(part0_1_27, _mm256_shuffle_epi8(table0_1_28, signs1_8));
          const __m256i w15 = _mm256_loadu_si256((const __m256i *)(record + 512));
          __builtin_prefetch(record + 2816, 0, 3);
          const __m256i signs2_7 = _mm256_and_si256(w15, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_29 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 896)));
          const __m256i part0_0_29 = _mm256_add_epi8(part0_0_28, _mm256_shuffle_epi8(table0_0_29, signs2_7));
          const __m256i table0_1_29 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 912)));
          const __m256i part0_1_29 = _mm256_add_epi8(part0_1_28, _mm256_shuffle_epi8(table0_1_29, signs2_7));
          const __m256i signs2_8 = _mm256_and_si256(_mm256_srli_epi16(w15, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_30 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 928)));
          const __m256i part0_0_30 = _mm256_add_epi8(part0_0_29, _mm256_shuffle_epi8(table0_0_30, signs2_8));
          const __m256i table0_1_30 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 944)));
          const __m256i part0_1_30 = _mm256_add_epi8(part0_1_29, _mm256_shuffle_epi8(table0_1_30, signs2_8));
          const __m256i w16 = _mm256_loadu_si256((const __m256i *)(record + 544));
          const __m256i signs3_7 = _mm256_and_si256(w16, _mm256_set1_epi8(0x0f));
          const __m256i table0_0_31 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 960)));
          const __m256i part0_0_31 = _mm256_add_epi8(part0_0_30, _mm256_shuffle_epi8(table0_0_31, signs3_7));
          const __m256i table0_1_31 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 976)));
          const __m256i part0_1_31 = _mm256_add_epi8(part0_1_30, _mm256_shuffle_epi8(table0_1_31, signs3_7));
          const __m256i signs3_8 = _mm256_and_si256(_mm256_srli_epi16(w16, 4), _mm256_set1_epi8(0x0f));
          const __m256i table0_0_32 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 992)));
          const __m256i part0_0_32 = _mm256_add_epi8(part0_0_31, _mm256_shuffle_epi8(table0_0_32, signs3_8));
          const __m256i table0_1_32 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 1008)));
          const __m256i part0_1_32 = _mm256_add_epi8(part0_1_31, _mm256_shuffle_epi8(table0_1_32, signs3_8));
          const __m256i vi12 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_32, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_32)), _mm256_set1_epi32(1));
          const __m256i vi13 = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_32, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_32)), _mm256_set1_epi32(1));
          const __m256i vi14 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_32, _mm256_set1_epi16(1)), _mm256_maddubs_epi16(_mm256_set1_epi16(32), part0_1_32)), 16);
          const __m256i vi15 = _mm256_srai_epi32(_mm256_add_epi16(_mm256_maddubs_epi16(part0_0_32, _mm256_set1_epi16(256)), _mm256_maddubs_epi16(_mm256_set1_epi16(8192), part0_1_32)), 16);
          const float f3 = load_f32(p0 + 12);
          const __m256 vf3 = _mm256_set1_ps(f3);
          sum0_0 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi12), vf3, sum0_0);
          sum0_1 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi13), vf3, sum0_1);
          sum0_2 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi14), vf3, sum0_2);
          sum0_3 = _mm256_fmadd_ps(_mm256_cvtepi32_ps(vi15), vf3, sum0_3);
          const __m256 scale0 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record)));
          acc0_0 = _mm256_fmadd_ps(sum0_0, scale0, acc0_0);
          const __m256 scale1 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record + 16)));
          acc0_1 = _mm256_fmadd_ps(sum0_1, scale1, acc0_1);
          const __m256 scale2 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record + 32)));
          acc0_2 = _mm256_fmadd_ps(sum0_2, scale2, acc0_2);
          const __m256 scale3 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record + 48)));
          acc0_3 = _mm256_fmadd_ps(sum0_3, scale3, acc0_3);
        }
        _mm256_storeu_ps((float *)(y0), acc0_0);
        _mm256_storeu_ps((float *)(y0 + 32), acc0_1);
        _mm256_storeu_ps((float *)(y0 + 64), acc0_2);
        _mm256_storeu_ps((float *)(y0 + 96), acc0_3);
      }
    }
  }
}
