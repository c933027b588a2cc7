// Lets generated AVX-512-VNNI code run on a CPU that has only AVX2: SIMDe (simd-everywhere) defines the 512-bit
// intrinsics in portable C and AVX2. Found before the compiler's own <immintrin.h>, which it includes first.
#ifndef QIGEN_SIMDE_SHIM
#define QIGEN_SIMDE_SHIM

#include_next <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <string.h>

// Not inlined, like SIMDe's own functions under SIMDE_NO_INLINE: compiling takes a quarter of the time.
#define SHIM __attribute__((noinline, unused)) static

// What SIMDe 0.7 lacks or gets wrong, in halves of 256 bits or lane by lane.

typedef union {
  __m512 f;
  __m512i i;
  __m256 f256[2];
  __m256i i256[2];
  float f32[16];
  int32_t i32[16];
} shim512;

SHIM __m512i shim_halves_i(__m256i low, __m256i high) { return ((shim512){.i256 = {low, high}}).i; }
SHIM __m512 shim_halves_f(__m256 low, __m256 high) { return ((shim512){.f256 = {low, high}}).f; }

// SIMDe's leaves −0 as it is.
#undef _mm512_abs_ps
#define _mm512_abs_ps shim_abs_ps
SHIM __m512 shim_abs_ps(__m512 v) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(INT32_MAX)));
}

#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps shim_cvtph_ps
SHIM __m512 shim_cvtph_ps(__m256i h) {
  return shim_halves_f(_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)));
}

#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(v, rounding) \
  _mm256_set_m128i(_mm256_cvtps_ph(((shim512){.f = (v)}).f256[1], rounding), \
                   _mm256_cvtps_ph(((shim512){.f = (v)}).f256[0], rounding))

#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 shim_cvtepu16_epi32
SHIM __m512i shim_cvtepu16_epi32(__m256i v) {
  return shim_halves_i(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
                       _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1)));
}

#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 shim_cvtepu8_epi32
SHIM __m512i shim_cvtepu8_epi32(__m128i v) {
  return shim_halves_i(_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8)));
}

#undef _mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi16 shim_cvtepu8_epi16
SHIM __m512i shim_cvtepu8_epi16(__m256i v) {
  return shim_halves_i(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(v)),
                       _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v, 1)));
}

#undef _mm512_srai_epi32
#define _mm512_srai_epi32 shim_srai_epi32
SHIM __m512i shim_srai_epi32(__m512i v, int count) {
  const shim512 u = {.i = v};
  return shim_halves_i(_mm256_srai_epi32(u.i256[0], count), _mm256_srai_epi32(u.i256[1], count));
}

#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 shim_cvtepi8_epi32
SHIM __m512i shim_cvtepi8_epi32(__m128i v) {
  return shim_halves_i(_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)));
}

#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 shim_cvtepi32_epi8
SHIM __m128i shim_cvtepi32_epi8(__m512i v) {
  int8_t low[16];
  for (int i = 0; i < 16; i++) low[i] = (int8_t)((shim512){.i = v}).i32[i];
  return _mm_loadu_si128((const __m128i *)low);
}

#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 shim_cvtepi32_epi16
SHIM __m256i shim_cvtepi32_epi16(__m512i v) {
  int16_t low[16];
  for (int i = 0; i < 16; i++) low[i] = (int16_t)((shim512){.i = v}).i32[i];
  return _mm256_loadu_si256((const __m256i *)low);
}

#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps shim_cvtepi32_ps
SHIM __m512 shim_cvtepi32_ps(__m512i v) {
  const shim512 u = {.i = v};
  return shim_halves_f(_mm256_cvtepi32_ps(u.i256[0]), _mm256_cvtepi32_ps(u.i256[1]));
}

#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 shim_cvtps_epi32
SHIM __m512i shim_cvtps_epi32(__m512 v) {
  const shim512 u = {.f = v};
  return shim_halves_i(_mm256_cvtps_epi32(u.f256[0]), _mm256_cvtps_epi32(u.f256[1]));
}

#undef _mm512_cmplt_epi32_mask
#define _mm512_cmplt_epi32_mask shim_cmplt_epi32_mask
SHIM __mmask16 shim_cmplt_epi32_mask(__m512i a, __m512i b) {
  const shim512 x = {.i = a}, y = {.i = b};
  const int low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.i256[0], x.i256[0])));
  const int high = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.i256[1], x.i256[1])));
  return (__mmask16)(low | high << 8);
}

#undef _mm512_i32gather_epi32
#define _mm512_i32gather_epi32(offsets, base, scale) shim_i32gather_epi32(offsets, (const char *)(base), scale)
SHIM __m512i shim_i32gather_epi32(__m512i offsets, const char *base, int scale) {
  shim512 r;
  for (int i = 0; i < 16; i++) memcpy(&r.i32[i], base + (intptr_t)((shim512){.i = offsets}).i32[i] * scale, 4);
  return r.i;
}

// A lane whose bit is 0 is not touched in memory.
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps shim_maskz_loadu_ps
SHIM __m512 shim_maskz_loadu_ps(__mmask16 mask, const void *p) {
  shim512 r = {.i32 = {0}};
  for (int i = 0; i < 16; i++)
    if (mask >> i & 1) memcpy(&r.f32[i], (const char *)p + 4 * i, 4);
  return r.f;
}

#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps shim_mask_storeu_ps
SHIM void shim_mask_storeu_ps(void *p, __mmask16 mask, __m512 v) {
  for (int i = 0; i < 16; i++)
    if (mask >> i & 1) memcpy((char *)p + 4 * i, &((shim512){.f = v}).f32[i], 4);
}

#endif
