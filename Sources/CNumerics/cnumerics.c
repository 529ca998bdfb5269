#include "cnumerics.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx,f16c"))) static void half_to_float_f16c(
    const uint16_t *source, float *target, size_t count, int streams) {
    size_t i = 0;
    if (streams) {
        for (; i < count && (uintptr_t)(target + i) % 64 != 0; i++) target[i] = _cvtsh_ss(source[i]);
        for (; i + 16 <= count; i += 16) {
            const __m128i *from = (const __m128i *)(source + i);
            const __m256 low = _mm256_cvtph_ps(_mm_loadu_si128(from));
            const __m256 high = _mm256_cvtph_ps(_mm_loadu_si128(from + 1));
            _mm256_stream_ps(target + i, low);
            _mm256_stream_ps(target + i + 8, high);
        }
    }
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(target + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(source + i))));
    for (; i < count; i++) target[i] = _cvtsh_ss(source[i]);
}

__attribute__((target("avx,f16c"))) static void float_to_half_f16c(const float *source, uint16_t *target, size_t count) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm_storeu_si128((__m128i *)(target + i), _mm256_cvtps_ph(_mm256_loadu_ps(source + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < count; i++) target[i] = _cvtss_sh(source[i], _MM_FROUND_TO_NEAREST_INT);
}

static int has_f16c(void) { return __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c"); }
#else
static void half_to_float_f16c(const uint16_t *s, float *t, size_t n, int p) { (void)s, (void)t, (void)n, (void)p; }
static void float_to_half_f16c(const float *s, uint16_t *t, size_t n) { (void)s, (void)t, (void)n; }
static int has_f16c(void) { return 0; }
#endif

void cnumerics_half_to_float(const uint16_t *source, float *target, size_t count) {
    cnumerics_half_to_float_past(source, target, count, 0);
}

void cnumerics_half_to_float_past(const uint16_t *source, float *target, size_t count, int streams) {
    if (has_f16c()) {
        half_to_float_f16c(source, target, count, streams);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        _Float16 half;
        __builtin_memcpy(&half, source + i, 2);
        target[i] = (float)half;
    }
}

void cnumerics_float_to_half(const float *source, uint16_t *target, size_t count) {
    if (has_f16c()) {
        float_to_half_f16c(source, target, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        _Float16 half = (_Float16)source[i];
        __builtin_memcpy(target + i, &half, 2);
    }
}
