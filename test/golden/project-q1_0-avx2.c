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

// y[t][r] = sum over 128 inputs k of (s·(q − z))[r][k] * x[t][k]
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
          const __m256i part0_0 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block))), signs0);
          const __m256i part0_1 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 16))), signs0);
          const __m256i signs0_2 = _mm256_and_si256(_mm256_srli_epi16(w, 4), _mm256_set1_epi8(0x0f));
          const __m256i w0 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 32))), signs0_2);
          const __m256i part0_0_2 = _mm256_add_epi8(part0_0, w0);
          const __m256i w1 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 48))), signs0_2);
          const __m256i part0_1_2 = _mm256_add_epi8(part0_1, w1);
          const __m256i w2 = _mm256_loadu_si256((const __m256i *)(record + 96));
          const __m256i signs1 = _mm256_and_si256(w2, _mm256_set1_epi8(0x0f));
          const __m256i w3 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 64))), signs1);
          const __m256i part0_0_3 = _mm256_add_epi8(part0_0_2, w3);
          const __m256i w4 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 80))), signs1);
          const __m256i part0_1_3 = _mm256_add_epi8(part0_1_2, w4);
          const __m256i signs1_2 = _mm256_and_si256(_mm256_srli_epi16(w2, 4), _mm256_set1_epi8(0x0f));
          const __m256i w5 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 96))), signs1_2);
          const __m256i part0_0_4 = _mm256_add_epi8(part0_0_3, w5);
          const __m256i w6 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 112))), signs1_2);
          const __m256i part0_1_4 = _mm256_add_epi8(part0_1_3, w6);
          const __m256i w7 = _mm256_loadu_si256((const __m256i *)(record + 128));
          __builtin_prefetch(record + 2432, 0, 3);
          const __m256i signs2 = _mm256_and_si256(w7, _mm256_set1_epi8(0x0f));
          const __m256i w8 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 128))), signs2);
          const __m256i part0_0_5 = _mm256_add_epi8(part0_0_4, w8);
          const __m256i w9 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 144))), signs2);
          const __m256i part0_1_5 = _mm256_add_epi8(part0_1_4, w9);
          const __m256i signs2_2 = _mm256_and_si256(_mm256_srli_epi16(w7, 4), _mm256_set1_epi8(0x0f));
          const __m256i w10 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 160))), signs2_2);
          const __m256i part0_0_6 = _mm256_add_epi8(part0_0_5, w10);
          const __m256i w11 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 176))), signs2_2);
          const __m256i part0_1_6 = _mm256_add_epi8(part0_1_5, w11);
          const __m256i w12 = _mm256_loadu_si256((const __m256i *)(record + 160));
          const __m256i signs3 = _mm256_and_si256(w12, _mm256_set1_epi8(0x0f));
          const __m256i w13 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 192))), signs3);
          const __m256i part0_0_7 = _mm256_add_epi8(part0_0_6, w13);
          const __m256i w14 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 208))), signs3);
          const __m256i part0_1_7 = _mm256_add_epi8(part0_1_6, w14);
          const __m256i signs3_2 = _mm256_and_si256(_mm256_srli_epi16(w12, 4), _mm256_set1_epi8(0x0f));
          const __m256i w15 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 224))), signs3_2);
          const __m256i part0_0_8 = _mm256_add_epi8(part0_0_7, w15);
          const __m256i w16 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 240))), signs3_2);
          const __m256i part0_1_8 = _mm256_add_epi8(part0_1_7, w16);
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
          const __m256i w17 = _mm256_loadu_si256((const __m256i *)(record + 192));
          __builtin_prefetch(record + 2496, 0, 3);
          const __m256i signs0_3 = _mm256_and_si256(w17, _mm256_set1_epi8(0x0f));
          const __m256i part0_0_9 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 256))), signs0_3);
          const __m256i part0_1_9 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 272))), signs0_3);
          const __m256i signs0_4 = _mm256_and_si256(_mm256_srli_epi16(w17, 4), _mm256_set1_epi8(0x0f));
          const __m256i w18 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 288))), signs0_4);
          const __m256i part0_0_10 = _mm256_add_epi8(part0_0_9, w18);
          const __m256i w19 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 304))), signs0_4);
          const __m256i part0_1_10 = _mm256_add_epi8(part0_1_9, w19);
          const __m256i w20 = _mm256_loadu_si256((const __m256i *)(record + 224));
          const __m256i signs1_3 = _mm256_and_si256(w20, _mm256_set1_epi8(0x0f));
          const __m256i w21 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 320))), signs1_3);
          const __m256i part0_0_11 = _mm256_add_epi8(part0_0_10, w21);
          const __m256i w22 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 336))), signs1_3);
          const __m256i part0_1_11 = _mm256_add_epi8(part0_1_10, w22);
          const __m256i signs1_4 = _mm256_and_si256(_mm256_srli_epi16(w20, 4), _mm256_set1_epi8(0x0f));
          const __m256i w23 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 352))), signs1_4);
          const __m256i part0_0_12 = _mm256_add_epi8(part0_0_11, w23);
          const __m256i w24 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 368))), signs1_4);
          const __m256i part0_1_12 = _mm256_add_epi8(part0_1_11, w24);
          const __m256i w25 = _mm256_loadu_si256((const __m256i *)(record + 256));
          __builtin_prefetch(record + 2560, 0, 3);
          const __m256i signs2_3 = _mm256_and_si256(w25, _mm256_set1_epi8(0x0f));
          const __m256i w26 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 384))), signs2_3);
          const __m256i part0_0_13 = _mm256_add_epi8(part0_0_12, w26);
          const __m256i w27 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 400))), signs2_3);
          const __m256i part0_1_13 = _mm256_add_epi8(part0_1_12, w27);
          const __m256i signs2_4 = _mm256_and_si256(_mm256_srli_epi16(w25, 4), _mm256_set1_epi8(0x0f));
          const __m256i w28 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 416))), signs2_4);
          const __m256i part0_0_14 = _mm256_add_epi8(part0_0_13, w28);
          const __m256i w29 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 432))), signs2_4);
          const __m256i part0_1_14 = _mm256_add_epi8(part0_1_13, w29);
          const __m256i w30 = _mm256_loadu_si256((const __m256i *)(record + 288));
          const __m256i signs3_3 = _mm256_and_si256(w30, _mm256_set1_epi8(0x0f));
          const __m256i w31 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 448))), signs3_3);
          const __m256i part0_0_15 = _mm256_add_epi8(part0_0_14, w31);
          const __m256i w32 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 464))), signs3_3);
          const __m256i part0_1_15 = _mm256_add_epi8(part0_1_14, w32);
          const __m256i signs3_4 = _mm256_and_si256(_mm256_srli_epi16(w30, 4), _mm256_set1_epi8(0x0f));
          const __m256i w33 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 480))), signs3_4);
          const __m256i part0_0_16 = _mm256_add_epi8(part0_0_15, w33);
          const __m256i w34 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 496))), signs3_4);
          const __m256i part0_1_16 = _mm256_add_epi8(part0_1_15, w34);
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
          const __m256i w35 = _mm256_loadu_si256((const __m256i *)(record + 320));
          __builtin_prefetch(record + 2624, 0, 3);
          const __m256i signs0_5 = _mm256_and_si256(w35, _mm256_set1_epi8(0x0f));
          const __m256i part0_0_17 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 512))), signs0_5);
          const __m256i part0_1_17 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 528))), signs0_5);
          const __m256i signs0_6 = _mm256_and_si256(_mm256_srli_epi16(w35, 4), _mm256_set1_epi8(0x0f));
          const __m256i w36 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 544))), signs0_6);
          const __m256i part0_0_18 = _mm256_add_epi8(part0_0_17, w36);
          const __m256i w37 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 560))), signs0_6);
          const __m256i part0_1_18 = _mm256_add_epi8(part0_1_17, w37);
          const __m256i w38 = _mm256_loadu_si256((const __m256i *)(record + 352));
          const __m256i signs1_5 = _mm256_and_si256(w38, _mm256_set1_epi8(0x0f));
          const __m256i w39 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 576))), signs1_5);
          const __m256i part0_0_19 = _mm256_add_epi8(part0_0_18, w39);
          const __m256i w40 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 592))), signs1_5);
          const __m256i part0_1_19 = _mm256_add_epi8(part0_1_18, w40);
          const __m256i signs1_6 = _mm256_and_si256(_mm256_srli_epi16(w38, 4), _mm256_set1_epi8(0x0f));
          const __m256i w41 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 608))), signs1_6);
          const __m256i part0_0_20 = _mm256_add_epi8(part0_0_19, w41);
          const __m256i w42 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 624))), signs1_6);
          const __m256i part0_1_20 = _mm256_add_epi8(part0_1_19, w42);
          const __m256i w43 = _mm256_loadu_si256((const __m256i *)(record + 384));
          __builtin_prefetch(record + 2688, 0, 3);
          const __m256i signs2_5 = _mm256_and_si256(w43, _mm256_set1_epi8(0x0f));
          const __m256i w44 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 640))), signs2_5);
          const __m256i part0_0_21 = _mm256_add_epi8(part0_0_20, w44);
          const __m256i w45 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 656))), signs2_5);
          const __m256i part0_1_21 = _mm256_add_epi8(part0_1_20, w45);
          const __m256i signs2_6 = _mm256_and_si256(_mm256_srli_epi16(w43, 4), _mm256_set1_epi8(0x0f));
          const __m256i w46 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 672))), signs2_6);
          const __m256i part0_0_22 = _mm256_add_epi8(part0_0_21, w46);
          const __m256i w47 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 688))), signs2_6);
          const __m256i part0_1_22 = _mm256_add_epi8(part0_1_21, w47);
          const __m256i w48 = _mm256_loadu_si256((const __m256i *)(record + 416));
          const __m256i signs3_5 = _mm256_and_si256(w48, _mm256_set1_epi8(0x0f));
          const __m256i w49 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 704))), signs3_5);
          const __m256i part0_0_23 = _mm256_add_epi8(part0_0_22, w49);
          const __m256i w50 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 720))), signs3_5);
          const __m256i part0_1_23 = _mm256_add_epi8(part0_1_22, w50);
          const __m256i signs3_6 = _mm256_and_si256(_mm256_srli_epi16(w48, 4), _mm256_set1_epi8(0x0f));
          const __m256i w51 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 736))), signs3_6);
          const __m256i part0_0_24 = _mm256_add_epi8(part0_0_23, w51);
          const __m256i w52 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 752))), signs3_6);
          const __m256i part0_1_24 = _mm256_add_epi8(part0_1_23, w52);
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
          const __m256i w53 = _mm256_loadu_si256((const __m256i *)(record + 448));
          __builtin_prefetch(record + 2752, 0, 3);
          const __m256i signs0_7 = _mm256_and_si256(w53, _mm256_set1_epi8(0x0f));
          const __m256i part0_0_25 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 768))), signs0_7);
          const __m256i part0_1_25 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 784))), signs0_7);
          const __m256i signs0_8 = _mm256_and_si256(_mm256_srli_epi16(w53, 4), _mm256_set1_epi8(0x0f));
          const __m256i w54 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 800))), signs0_8);
          const __m256i part0_0_26 = _mm256_add_epi8(part0_0_25, w54);
          const __m256i w55 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 816))), signs0_8);
          const __m256i part0_1_26 = _mm256_add_epi8(part0_1_25, w55);
          const __m256i w56 = _mm256_loadu_si256((const __m256i *)(record + 480));
          const __m256i signs1_7 = _mm256_and_si256(w56, _mm256_set1_epi8(0x0f));
          const __m256i w57 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 832))), signs1_7);
          const __m256i part0_0_27 = _mm256_add_epi8(part0_0_26, w57);
          const __m256i w58 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 848))), signs1_7);
          const __m256i part0_1_27 = _mm256_add_epi8(part0_1_26, w58);
          const __m256i signs1_8 = _mm256_and_si256(_mm256_srli_epi16(w56, 4), _mm256_set1_epi8(0x0f));
          const __m256i w59 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 864))), signs1_8);
          const __m256i part0_0_28 = _mm256_add_epi8(part0_0_27, w59);
          const __m256i w60 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 880))), signs1_8);
          const __m256i part0_1_28 = _mm256_add_epi8(part0_1_27, w60);
          const __m256i w61 = _mm256_loadu_si256((const __m256i *)(record + 512));
          __builtin_prefetch(record + 2816, 0, 3);
          const __m256i signs2_7 = _mm256_and_si256(w61, _mm256_set1_epi8(0x0f));
          const __m256i w62 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 896))), signs2_7);
          const __m256i part0_0_29 = _mm256_add_epi8(part0_0_28, w62);
          const __m256i w63 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 912))), signs2_7);
          const __m256i part0_1_29 = _mm256_add_epi8(part0_1_28, w63);
          const __m256i signs2_8 = _mm256_and_si256(_mm256_srli_epi16(w61, 4), _mm256_set1_epi8(0x0f));
          const __m256i w64 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 928))), signs2_8);
          const __m256i part0_0_30 = _mm256_add_epi8(part0_0_29, w64);
          const __m256i w65 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 944))), signs2_8);
          const __m256i part0_1_30 = _mm256_add_epi8(part0_1_29, w65);
          const __m256i w66 = _mm256_loadu_si256((const __m256i *)(record + 544));
          const __m256i signs3_7 = _mm256_and_si256(w66, _mm256_set1_epi8(0x0f));
          const __m256i w67 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 960))), signs3_7);
          const __m256i part0_0_31 = _mm256_add_epi8(part0_0_30, w67);
          const __m256i w68 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 976))), signs3_7);
          const __m256i part0_1_31 = _mm256_add_epi8(part0_1_30, w68);
          const __m256i signs3_8 = _mm256_and_si256(_mm256_srli_epi16(w66, 4), _mm256_set1_epi8(0x0f));
          const __m256i w69 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 992))), signs3_8);
          const __m256i part0_0_32 = _mm256_add_epi8(part0_0_31, w69);
          const __m256i w70 = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(x0_block + 1008))), signs3_8);
          const __m256i part0_1_32 = _mm256_add_epi8(part0_1_31, w70);
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
