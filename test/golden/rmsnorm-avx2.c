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
static inline float sum_lanes(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// y = x / sqrt(mean(x^2) + 0.00001) * w over 200 values a row, listed rows only
void rmsnorm_gather_c200_e0p00001(const uint64_t *arguments, int32_t thread, int32_t threads, struct team *team) {
  char *const   x      = (char *)arguments[0];  // f32 rows
  char *const   weight = (char *)arguments[1];  // f32, zero-padded
  char *const   y      = (char *)arguments[2];  // f32 rows
  char *const   counts = (char *)arguments[3];  // i32: number of output rows
  char *const   list   = (char *)arguments[4];  // i32 input row of every output row
  (void)team;
  const int32_t i0 = load_i32(counts);
  const int32_t first = (i0 * thread) / threads;
  const int32_t last = (i0 * (thread + 1)) / threads;
  for (int32_t item = first; item < last; item++) {
    const int32_t i1 = load_i32(list + 4 * (intptr_t)item);
    char *const x_row = x + 1024 * (intptr_t)i1;
    char *const y_row = y + 1024 * (intptr_t)item;
    __m256 sum0 = _mm256_set1_ps(0.0f);
    __m256 sum1 = _mm256_set1_ps(0.0f);
    __m256 sum2 = _mm256_set1_ps(0.0f);
    __m256 sum3 = _mm256_set1_ps(0.0f);
    for (int32_t i = 0; i < 224; i += 32) {
      char *const p0 = x_row + 4 * (intptr_t)i;
      const __m256 vf0 = _mm256_loadu_ps((const float *)(p0));
      sum0 = _mm256_fmadd_ps(vf0, vf0, sum0);
      const __m256 vf1 = _mm256_loadu_ps((const float *)(p0 + 32));
      sum1 = _mm256_fmadd_ps(vf1, vf1, sum1);
      const __m256 vf2 = _mm256_loadu_ps((const float *)(p0 + 64));
      sum2 = _mm256_fmadd_ps(vf2, vf2, sum2);
      const __m256 vf3 = _mm256_loadu_ps((const float *)(p0 + 96));
      sum3 = _mm256_fmadd_ps(vf3, vf3, sum3);
    }
    const __m256 vf4 = _mm256_add_ps(sum0, sum1);
    const __m256 vf5 = _mm256_add_ps(sum2, sum3);
    const float f0 = 1.0f / sqrtf(((sum_lanes(_mm256_add_ps(vf4, vf5)) / 200.0f) + 0.00001f));
    const __m256 factor = _mm256_set1_ps(f0);
    for (int32_t i2 = 0; i2 < 224; i2 += 8) {
      const __m256 vf6 = _mm256_loadu_ps((const float *)(x_row + 4 * (intptr_t)i2));
      const __m256 vf7 = _mm256_loadu_ps((const float *)(weight + 4 * (intptr_t)i2));
      _mm256_storeu_ps((float *)(y_row + 4 * (intptr_t)i2), _mm256_mul_ps(_mm256_mul_ps(vf6, factor), vf7));
    }
  }
}
