#ifdef __clang__
#include <immintrin.h>
#else
#define _IMMINTRIN_H_INCLUDED
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <f16cintrin.h>
#include <avx512fintrin.h>
#include <avx512vlintrin.h>
#include <avx512bwintrin.h>
#include <avx512vnniintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

struct team;

static inline int32_t load_i32(const char *p) { int32_t v; memcpy(&v, p, 4); return v; }
static inline float load_f32(const char *p) { float v; memcpy(&v, p, 4); return v; }

// y[t][r] = sum over 256 inputs k of (s·(q − z))[r][k] * x[t][k]; += where it accumulates
// weights  3bit-g32, group 32, packed: 16 rows a tile, 1920 bytes
// inputs   int8, one scale per 32 inputs
// mini     mb 256 inputs x block_tiles row tiles
// micro    mu 32 inputs x tu 16 outputs x nu 2, 1 tokens, 16 rows a register (avx512-vnni)
void project_w_3bit_g32_x_i8b32_c256_mb256_mu32_tu16_nu2(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team) {
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
    const int32_t by_2 = tokens - ((tokens - 0) % 2);
    for (int32_t token = 0; token < by_2; token += 2) {
      for (int32_t tile = row_block; tile < block_end; tile++) {
        const int32_t i1 = token + 1;
        char *const w_tile = weights + 1920 * (intptr_t)tile;
        char *const x0 = x + 320 * (intptr_t)token;
        char *const x1 = x + 320 * (intptr_t)i1;
        char *const y0 = (y + (intptr_t)token * y_stride) + 64 * (intptr_t)tile;
        char *const y1 = (y + (intptr_t)i1 * y_stride) + 64 * (intptr_t)tile;
        __m512 acc0_0 = _mm512_set1_ps(0.0f);
        __m512 acc1_0 = _mm512_set1_ps(0.0f);
        if (accumulate) {
          acc0_0 = _mm512_loadu_ps(y0);
          acc1_0 = _mm512_loadu_ps(y1);
        }
        for (int32_t block = 0; block < 8; block++) {
          char *const record = w_tile + 240 * (intptr_t)block;
          char *const x0_block = x0 + 32 * (intptr_t)block;
          char *const x1_block = x1 + 32 * (intptr_t)block;
          (void)*(const volatile uint8_t *)(record);
          __builtin_prefetch(record + 16384, 0, 2);
          const __m512i w0 = _mm512_loadu_si512(record + 48);
          const __m512i s0 = _mm512_and_si512(_mm512_srli_epi16(w0, 1), _mm512_set1_epi8(0x44));
          const __m512i q0_k0 = _mm512_and_si512(w0, _mm512_set1_epi8(0x07));
          const __m512i x0_k0 = _mm512_set1_epi32(load_i32(x0_block));
          __m512i dot0_0 = _mm512_dpbusd_epi32(_mm512_set1_epi32(0), q0_k0, x0_k0);
          const __m512i x1_k0 = _mm512_set1_epi32(load_i32(x1_block));
          __m512i dot1_0 = _mm512_dpbusd_epi32(_mm512_set1_epi32(0), q0_k0, x1_k0);
          const __m512i q0_k12 = _mm512_and_si512(_mm512_srli_epi16(w0, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k12 = _mm512_set1_epi32(load_i32(x0_block + 12));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k12, x0_k12);
          const __m512i x1_k12 = _mm512_set1_epi32(load_i32(x1_block + 12));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k12, x1_k12);
          const __m512i w0_2 = _mm512_loadu_si512(record + 112);
          const __m512i s0_2 = _mm512_avg_epu8(_mm512_and_si512(w0_2, _mm512_set1_epi8(0x88)), s0);
          const __m512i q0_k4 = _mm512_and_si512(w0_2, _mm512_set1_epi8(0x07));
          const __m512i x0_k4 = _mm512_set1_epi32(load_i32(x0_block + 4));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k4, x0_k4);
          const __m512i x1_k4 = _mm512_set1_epi32(load_i32(x1_block + 4));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k4, x1_k4);
          const __m512i q0_k16 = _mm512_and_si512(_mm512_srli_epi16(w0_2, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k16 = _mm512_set1_epi32(load_i32(x0_block + 16));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k16, x0_k16);
          const __m512i x1_k16 = _mm512_set1_epi32(load_i32(x1_block + 16));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k16, x1_k16);
          const __m512i w0_3 = _mm512_loadu_si512(record + 176);
          const __m512i s0_3 = _mm512_avg_epu8(_mm512_and_si512(w0_3, _mm512_set1_epi8(0x88)), s0_2);
          const __m512i q0_k8 = _mm512_and_si512(w0_3, _mm512_set1_epi8(0x07));
          const __m512i x0_k8 = _mm512_set1_epi32(load_i32(x0_block + 8));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k8, x0_k8);
          const __m512i x1_k8 = _mm512_set1_epi32(load_i32(x1_block + 8));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k8, x1_k8);
          const __m512i q0_k20 = _mm512_and_si512(_mm512_srli_epi16(w0_3, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k20 = _mm512_set1_epi32(load_i32(x0_block + 20));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k20, x0_k20);
          const __m512i x1_k20 = _mm512_set1_epi32(load_i32(x1_block + 20));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k20, x1_k20);
          const __m512i q0_k24 = _mm512_and_si512(s0_3, _mm512_set1_epi8(0x07));
          const __m512i x0_k24 = _mm512_set1_epi32(load_i32(x0_block + 24));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k24, x0_k24);
          const __m512i x1_k24 = _mm512_set1_epi32(load_i32(x1_block + 24));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k24, x1_k24);
          const __m512i q0_k28 = _mm512_and_si512(_mm512_srli_epi16(s0_3, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k28 = _mm512_set1_epi32(load_i32(x0_block + 28));
          dot0_0 = _mm512_dpbusd_epi32(dot0_0, q0_k28, x0_k28);
          const __m512i x1_k28 = _mm512_set1_epi32(load_i32(x1_block + 28));
          dot1_0 = _mm512_dpbusd_epi32(dot1_0, q0_k28, x1_k28);
          const float f0 = load_f32(x0 + 4 * (intptr_t)block + 256);
          const float f1 = load_f32(x1 + 4 * (intptr_t)block + 256);
          const int32_t i2 = load_i32(x0 + 4 * (intptr_t)block + 288);
          const int32_t i3 = load_i32(x1 + 4 * (intptr_t)block + 288);
          const __m512 scale0 = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(record)));
          const __m512i vi0 = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(record + 32)));
          const __m512 vf0 = _mm512_cvtepi32_ps(vi0);
          const __m512 vf1 = _mm512_fmadd_ps(vf0, _mm512_set1_ps((0.0f - (float)i2)), _mm512_cvtepi32_ps(dot0_0));
          acc0_0 = _mm512_fmadd_ps(vf1, _mm512_mul_ps(scale0, _mm512_set1_ps(f0)), acc0_0);
          const __m512 vf2 = _mm512_fmadd_ps(vf0, _mm512_set1_ps((0.0f - (float)i3)), _mm512_cvtepi32_ps(dot1_0));
          acc1_0 = _mm512_fmadd_ps(vf2, _mm512_mul_ps(scale0, _mm512_set1_ps(f1)), acc1_0);
        }
        _mm512_storeu_ps(y0, acc0_0);
        _mm512_storeu_ps(y1, acc1_0);
      }
    }
    for (int32_t token2 = by_2; token2 < tokens; token2++) {
      for (int32_t tile2 = row_block; tile2 < block_end; tile2++) {
        char *const w_tile2 = weights + 1920 * (intptr_t)tile2;
        char *const x0_2 = x + 320 * (intptr_t)token2;
        char *const y0_2 = (y + (intptr_t)token2 * y_stride) + 64 * (intptr_t)tile2;
        __m512 acc0_0_2 = _mm512_set1_ps(0.0f);
        if (accumulate) {
          acc0_0_2 = _mm512_loadu_ps(y0_2);
        }
        for (int32_t block2 = 0; block2 < 8; block2++) {
          char *const record2 = w_tile2 + 240 * (intptr_t)block2;
          char *const x0_block2 = x0_2 + 32 * (intptr_t)block2;
          (void)*(const volatile uint8_t *)(record2);
          __builtin_prefetch(record2 + 16384, 0, 2);
          const __m512i w0_4 = _mm512_loadu_si512(record2 + 48);
          const __m512i s0_4 = _mm512_and_si512(_mm512_srli_epi16(w0_4, 1), _mm512_set1_epi8(0x44));
          const __m512i q0_k0_2 = _mm512_and_si512(w0_4, _mm512_set1_epi8(0x07));
          const __m512i x0_k0_2 = _mm512_set1_epi32(load_i32(x0_block2));
          __m512i dot0_0_2 = _mm512_dpbusd_epi32(_mm512_set1_epi32(0), q0_k0_2, x0_k0_2);
          const __m512i q0_k12_2 = _mm512_and_si512(_mm512_srli_epi16(w0_4, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k12_2 = _mm512_set1_epi32(load_i32(x0_block2 + 12));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k12_2, x0_k12_2);
          const __m512i w0_5 = _mm512_loadu_si512(record2 + 112);
          const __m512i s0_5 = _mm512_avg_epu8(_mm512_and_si512(w0_5, _mm512_set1_epi8(0x88)), s0_4);
          const __m512i q0_k4_2 = _mm512_and_si512(w0_5, _mm512_set1_epi8(0x07));
          const __m512i x0_k4_2 = _mm512_set1_epi32(load_i32(x0_block2 + 4));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k4_2, x0_k4_2);
          const __m512i q0_k16_2 = _mm512_and_si512(_mm512_srli_epi16(w0_5, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k16_2 = _mm512_set1_epi32(load_i32(x0_block2 + 16));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k16_2, x0_k16_2);
          const __m512i w0_6 = _mm512_loadu_si512(record2 + 176);
          const __m512i s0_6 = _mm512_avg_epu8(_mm512_and_si512(w0_6, _mm512_set1_epi8(0x88)), s0_5);
          const __m512i q0_k8_2 = _mm512_and_si512(w0_6, _mm512_set1_epi8(0x07));
          const __m512i x0_k8_2 = _mm512_set1_epi32(load_i32(x0_block2 + 8));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k8_2, x0_k8_2);
          const __m512i q0_k20_2 = _mm512_and_si512(_mm512_srli_epi16(w0_6, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k20_2 = _mm512_set1_epi32(load_i32(x0_block2 + 20));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k20_2, x0_k20_2);
          const __m512i q0_k24_2 = _mm512_and_si512(s0_6, _mm512_set1_epi8(0x07));
          const __m512i x0_k24_2 = _mm512_set1_epi32(load_i32(x0_block2 + 24));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k24_2, x0_k24_2);
          const __m512i q0_k28_2 = _mm512_and_si512(_mm512_srli_epi16(s0_6, 4), _mm512_set1_epi8(0x07));
          const __m512i x0_k28_2 = _mm512_set1_epi32(load_i32(x0_block2 + 28));
          dot0_0_2 = _mm512_dpbusd_epi32(dot0_0_2, q0_k28_2, x0_k28_2);
          const float f2 = load_f32(x0_2 + 4 * (intptr_t)block2 + 256);
          const int32_t i4 = load_i32(x0_2 + 4 * (intptr_t)block2 + 288);
          const __m512 scale0_2 = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(record2)));
          const __m512i vi1 = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(record2 + 32)));
          const __m512 vf3 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(vi1), _mm512_set1_ps((0.0f - (float)i4)), _mm512_cvtepi32_ps(dot0_0_2));
          acc0_0_2 = _mm512_fmadd_ps(vf3, _mm512_mul_ps(scale0_2, _mm512_set1_ps(f2)), acc0_0_2);
        }
        _mm512_storeu_ps(y0_2, acc0_0_2);
      }
    }
  }
}
