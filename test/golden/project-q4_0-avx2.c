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

// y[t][r] = sum over 256 inputs k of (s·(q − z))[r][k] * x[t][k]; += where it accumulates
// weights  Q4_0, group 32, packed: 16 rows a tile, 2304 bytes
// inputs   int8, one scale per 32 inputs
// mini     mb 256 inputs x block_tiles row tiles
// micro    mu 32 inputs x tu 16 outputs x nu 1 tokens, 8 rows a register (avx2)
void project_w_q4_0_x_i8b32_c256_mb256_mu32_tu16_nu1(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team) {
  char *const   weights     = (char *)arguments[0];   // packed weights
  char *const   x           = (char *)arguments[1];   // prepared activations, one row per token
  char *const   y           = (char *)arguments[2];   // f32 outputs [token][row]
  const int32_t y_stride    = (int32_t)arguments[3];  // bytes from one token's outputs to the next
  const int32_t tiles       = (int32_t)arguments[4];  // row tiles
  char *const   counts      = (char *)arguments[5];   // i32: number of tokens
  const int32_t block_tiles = (int32_t)arguments[6];  // row tiles of a mini-GEMV
  const int32_t accumulate  = (int32_t)arguments[7];  // 1: adds to the outputs, 0: replaces them
  (void)team;
  const __m256i ones16 = _mm256_set1_epi16(1);
  const int32_t tokens = load_i32(counts);
  const int32_t first = (tiles * thread) / threads;
  const int32_t last = (tiles * (thread + 1)) / threads;
  for (int32_t row_block = first; row_block < last; row_block += block_tiles) {
    const int32_t i0 = row_block + block_tiles;
    const int32_t block_end = i0 < last ? i0 : last;
    for (int32_t token = 0; token < tokens; token++) {
      for (int32_t tile = row_block; tile < block_end; tile++) {
        char *const w_tile = weights + 2304 * (intptr_t)tile;
        char *const x0 = x + 320 * (intptr_t)token;
        char *const y0 = (y + (intptr_t)token * y_stride) + 64 * (intptr_t)tile;
        __m256 acc0_0 = _mm256_set1_ps(0.0f);
        __m256 acc0_1 = _mm256_set1_ps(0.0f);
        if (accumulate) {
          acc0_0 = _mm256_loadu_ps((const float *)(y0));
          acc0_1 = _mm256_loadu_ps((const float *)(y0 + 32));
        }
        for (int32_t block = 0; block < 8; block++) {
          char *const record = w_tile + 288 * (intptr_t)block;
          char *const x0_block = x0 + 32 * (intptr_t)block;
          (void)*(const volatile uint8_t *)(record);
          __builtin_prefetch(record + 2304, 0, 3);
          const __m256i w0 = _mm256_loadu_si256((const __m256i *)(record + 32));
          const __m256i q0_k0 = _mm256_and_si256(w0, _mm256_set1_epi8(0x0f));
          const __m256i w1 = _mm256_loadu_si256((const __m256i *)(record + 64));
          __builtin_prefetch(record + 2368, 0, 3);
          const __m256i q1_k0 = _mm256_and_si256(w1, _mm256_set1_epi8(0x0f));
          const __m256i x0_k0 = _mm256_set1_epi32(load_i32(x0_block));
          __m256i dot0_0 = _mm256_maddubs_epi16(q0_k0, x0_k0);
          __m256i dot0_1 = _mm256_maddubs_epi16(q1_k0, x0_k0);
          const __m256i q0_k16 = _mm256_and_si256(_mm256_srli_epi16(w0, 4), _mm256_set1_epi8(0x0f));
          const __m256i q1_k16 = _mm256_and_si256(_mm256_srli_epi16(w1, 4), _mm256_set1_epi8(0x0f));
          const __m256i x0_k16 = _mm256_set1_epi32(load_i32(x0_block + 16));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k16, x0_k16));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k16, x0_k16));
          const __m256i w0_2 = _mm256_loadu_si256((const __m256i *)(record + 96));
          const __m256i q0_k4 = _mm256_and_si256(w0_2, _mm256_set1_epi8(0x0f));
          const __m256i w1_2 = _mm256_loadu_si256((const __m256i *)(record + 128));
          __builtin_prefetch(record + 2432, 0, 3);
          const __m256i q1_k4 = _mm256_and_si256(w1_2, _mm256_set1_epi8(0x0f));
          const __m256i x0_k4 = _mm256_set1_epi32(load_i32(x0_block + 4));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k4, x0_k4));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k4, x0_k4));
          const __m256i q0_k20 = _mm256_and_si256(_mm256_srli_epi16(w0_2, 4), _mm256_set1_epi8(0x0f));
          const __m256i q1_k20 = _mm256_and_si256(_mm256_srli_epi16(w1_2, 4), _mm256_set1_epi8(0x0f));
          const __m256i x0_k20 = _mm256_set1_epi32(load_i32(x0_block + 20));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k20, x0_k20));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k20, x0_k20));
          const __m256i w0_3 = _mm256_loadu_si256((const __m256i *)(record + 160));
          const __m256i q0_k8 = _mm256_and_si256(w0_3, _mm256_set1_epi8(0x0f));
          const __m256i w1_3 = _mm256_loadu_si256((const __m256i *)(record + 192));
          __builtin_prefetch(record + 2496, 0, 3);
          const __m256i q1_k8 = _mm256_and_si256(w1_3, _mm256_set1_epi8(0x0f));
          const __m256i x0_k8 = _mm256_set1_epi32(load_i32(x0_block + 8));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k8, x0_k8));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k8, x0_k8));
          const __m256i q0_k24 = _mm256_and_si256(_mm256_srli_epi16(w0_3, 4), _mm256_set1_epi8(0x0f));
          const __m256i q1_k24 = _mm256_and_si256(_mm256_srli_epi16(w1_3, 4), _mm256_set1_epi8(0x0f));
          const __m256i x0_k24 = _mm256_set1_epi32(load_i32(x0_block + 24));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k24, x0_k24));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k24, x0_k24));
          const __m256i w0_4 = _mm256_loadu_si256((const __m256i *)(record + 224));
          const __m256i q0_k12 = _mm256_and_si256(w0_4, _mm256_set1_epi8(0x0f));
          const __m256i w1_4 = _mm256_loadu_si256((const __m256i *)(record + 256));
          __builtin_prefetch(record + 2560, 0, 3);
          const __m256i q1_k12 = _mm256_and_si256(w1_4, _mm256_set1_epi8(0x0f));
          const __m256i x0_k12 = _mm256_set1_epi32(load_i32(x0_block + 12));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k12, x0_k12));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k12, x0_k12));
          const __m256i q0_k28 = _mm256_and_si256(_mm256_srli_epi16(w0_4, 4), _mm256_set1_epi8(0x0f));
          const __m256i q1_k28 = _mm256_and_si256(_mm256_srli_epi16(w1_4, 4), _mm256_set1_epi8(0x0f));
          const __m256i x0_k28 = _mm256_set1_epi32(load_i32(x0_block + 28));
          dot0_0 = _mm256_add_epi16(dot0_0, _mm256_maddubs_epi16(q0_k28, x0_k28));
          dot0_1 = _mm256_add_epi16(dot0_1, _mm256_maddubs_epi16(q1_k28, x0_k28));
          const int32_t i1 = load_i32(x0 + 4 * (intptr_t)block + 288);
          const __m256i vi0 = _mm256_set1_epi32((i1 * (-8)));
          const float f0 = load_f32(x0 + 4 * (intptr_t)block + 256);
          const __m256 scale0 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record)));
          const __m256 vf0 = _mm256_cvtepi32_ps(_mm256_add_epi32(vi0, _mm256_madd_epi16(ones16, dot0_0)));
          acc0_0 = _mm256_fmadd_ps(vf0, _mm256_mul_ps(scale0, _mm256_set1_ps(f0)), acc0_0);
          const __m256 scale1 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(record + 16)));
          const __m256 vf1 = _mm256_cvtepi32_ps(_mm256_add_epi32(vi0, _mm256_madd_epi16(ones16, dot0_1)));
          acc0_1 = _mm256_fmadd_ps(vf1, _mm256_mul_ps(scale1, _mm256_set1_ps(f0)), acc0_1);
        }
        _mm256_storeu_ps((float *)(y0), acc0_0);
        _mm256_storeu_ps((float *)(y0 + 32), acc0_1);
      }
    }
  }
}
