#include "cresample.h"

#include <stdlib.h>
#include <string.h>

// All sums are modulo 2^32. The weights of one output add up to 2^22 and their magnitudes to little more, so the true
// sum fits 31 bits and splitting a weight in two parts of 16 bits loses nothing.
#define ROUND (1 << 21)
#define SHIFT 22

static inline uint8_t clamp(uint32_t sum) {
    int32_t value = (int32_t)sum >> SHIFT;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

static inline uint32_t weight(const cresample_axis *axis, size_t i, size_t j) {
    return (uint32_t)axis->high[i * axis->stride + j] * 4096u + (uint32_t)axis->low[i * axis->stride + j];
}

static void horizontal_row(const uint8_t *source, int channels, const cresample_axis *axis, uint8_t *target) {
    for (size_t i = 0; i < axis->outputs; i++) {
        const uint8_t *start = source + (size_t)axis->starts[i] * channels;
        for (int c = 0; c < channels; c++) {
            uint32_t sum = ROUND;
            for (size_t j = 0; j < (size_t)axis->counts[i]; j++) sum += weight(axis, i, j) * start[j * channels + c];
            target[i * channels + c] = clamp(sum);
        }
    }
}

static void vertical_part(
    const uint8_t *source, size_t row_bytes, size_t from, const cresample_axis *axis, size_t i, uint8_t *target) {
    for (size_t x = from; x < row_bytes; x++) {
        uint32_t sum = ROUND;
        const uint8_t *start = source + (size_t)axis->starts[i] * row_bytes + x;
        for (size_t j = 0; j < (size_t)axis->counts[i]; j++) sum += weight(axis, i, j) * start[j * row_bytes];
        target[i * row_bytes + x] = clamp(sum);
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

// The farthest that the loads below reach beyond the last byte of a row that they use.
#define OVERREAD 64

AVX2 static inline __m128i combine(__m128i high, __m128i low) {
    __m128i sum = _mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(high, 12), low), _mm_set1_epi32(ROUND));
    return _mm_srai_epi32(sum, SHIFT);
}

// Four taps at a time: the bytes R0 G0 B0 R1 ... B3 become the pairs (R0 R1) (G0 G1) (B0 B1) in the lower half and
// (R2 R3) (G2 G3) (B2 B3) in the upper half, so that one multiply-add takes two taps of three channels in each half.
AVX2 static void horizontal_rgb(const uint8_t *source, const cresample_axis *axis, uint8_t *target) {
    const __m256i pairs = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    for (size_t i = 0; i < axis->outputs; i++) {
        const uint8_t *start = source + (size_t)axis->starts[i] * 3;
        const int16_t *high = axis->high + i * axis->stride;
        const int16_t *low = axis->low + i * axis->stride;
        __m256i high_sum = _mm256_setzero_si256(), low_sum = _mm256_setzero_si256();
        for (size_t j = 0; j < (size_t)axis->counts[i]; j += 4) {
            __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(start + j * 3)));
            __m256i taps = _mm256_shuffle_epi8(bytes, pairs);
            __m256i h = _mm256_permutevar8x32_epi32(
                _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(high + j))), spread);
            __m256i l = _mm256_permutevar8x32_epi32(
                _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(low + j))), spread);
            high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(taps, h));
            low_sum = _mm256_add_epi32(low_sum, _mm256_madd_epi16(taps, l));
        }
        __m128i h = _mm_add_epi32(_mm256_castsi256_si128(high_sum), _mm256_extracti128_si256(high_sum, 1));
        __m128i l = _mm_add_epi32(_mm256_castsi256_si128(low_sum), _mm256_extracti128_si256(low_sum, 1));
        __m128i value = combine(h, l);
        value = _mm_packus_epi16(_mm_packs_epi32(value, value), value);
        uint32_t pixel = (uint32_t)_mm_cvtsi128_si32(value);
        memcpy(target + i * 3, &pixel, 3);
    }
}

AVX2 static void horizontal_gray(const uint8_t *source, const cresample_axis *axis, uint8_t *target) {
    for (size_t i = 0; i < axis->outputs; i++) {
        const uint8_t *start = source + (size_t)axis->starts[i];
        const int16_t *high = axis->high + i * axis->stride;
        const int16_t *low = axis->low + i * axis->stride;
        __m128i high_sum = _mm_setzero_si128(), low_sum = _mm_setzero_si128();
        for (size_t j = 0; j < (size_t)axis->counts[i]; j += 8) {
            __m128i taps = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(start + j)));
            high_sum = _mm_add_epi32(high_sum, _mm_madd_epi16(taps, _mm_loadu_si128((const __m128i *)(high + j))));
            low_sum = _mm_add_epi32(low_sum, _mm_madd_epi16(taps, _mm_loadu_si128((const __m128i *)(low + j))));
        }
        __m128i sum = _mm_add_epi32(_mm_slli_epi32(high_sum, 12), low_sum);
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
        target[i] = clamp((uint32_t)_mm_cvtsi128_si32(sum) + ROUND);
    }
}

// Sixteen bytes of a row at a time, two rows in each multiply-add.
AVX2 static size_t vertical_avx2(
    const uint8_t *source, size_t row_bytes, const cresample_axis *axis, size_t i, uint8_t *target) {
    const int16_t *high = axis->high + i * axis->stride;
    const int16_t *low = axis->low + i * axis->stride;
    size_t count = (size_t)axis->counts[i];
    size_t x = 0;
    for (; x + 16 <= row_bytes; x += 16) {
        const uint8_t *start = source + (size_t)axis->starts[i] * row_bytes + x;
        __m256i high_a = _mm256_setzero_si256(), high_b = high_a, low_a = high_a, low_b = high_a;
        for (size_t j = 0; j < count; j += 2) {
            const uint8_t *row = start + j * row_bytes;
            __m128i even = _mm_loadu_si128((const __m128i *)row);
            // The weight after the last one is zero, so any readable row will do there.
            __m128i odd = _mm_loadu_si128((const __m128i *)(j + 1 < count ? row + row_bytes : row));
            __m256i a = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(even, odd));
            __m256i b = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(even, odd));
            int32_t pair;
            memcpy(&pair, high + j, 4);
            __m256i h = _mm256_set1_epi32(pair);
            memcpy(&pair, low + j, 4);
            __m256i l = _mm256_set1_epi32(pair);
            high_a = _mm256_add_epi32(high_a, _mm256_madd_epi16(a, h));
            high_b = _mm256_add_epi32(high_b, _mm256_madd_epi16(b, h));
            low_a = _mm256_add_epi32(low_a, _mm256_madd_epi16(a, l));
            low_b = _mm256_add_epi32(low_b, _mm256_madd_epi16(b, l));
        }
        __m128i low_half = _mm_packs_epi32(
            combine(_mm256_castsi256_si128(high_a), _mm256_castsi256_si128(low_a)),
            combine(_mm256_extracti128_si256(high_a, 1), _mm256_extracti128_si256(low_a, 1)));
        __m128i high_half = _mm_packs_epi32(
            combine(_mm256_castsi256_si128(high_b), _mm256_castsi256_si128(low_b)),
            combine(_mm256_extracti128_si256(high_b, 1), _mm256_extracti128_si256(low_b, 1)));
        _mm_storeu_si128((__m128i *)(target + i * row_bytes + x), _mm_packus_epi16(low_half, high_half));
    }
    return x;
}

static int has_avx2(void) { return __builtin_cpu_supports("avx2"); }
#else
#define OVERREAD 0
static void horizontal_rgb(const uint8_t *s, const cresample_axis *a, uint8_t *t) { (void)s, (void)a, (void)t; }
static void horizontal_gray(const uint8_t *s, const cresample_axis *a, uint8_t *t) { (void)s, (void)a, (void)t; }
static size_t vertical_avx2(const uint8_t *s, size_t n, const cresample_axis *a, size_t i, uint8_t *t) {
    return (void)s, (void)n, (void)a, (void)i, (void)t, 0;
}
static int has_avx2(void) { return 0; }
#endif

void cresample_horizontal(
    const uint8_t *source, size_t rows, size_t width, int channels, const cresample_axis *axis, uint8_t *target) {
    size_t row_bytes = width * channels;
    size_t target_bytes = axis->outputs * channels;
    int fast = has_avx2() && (channels == 1 || channels == 3);
    // Vector loads may pass the end of a row; the last rows are read from a copy with room behind them.
    uint8_t *copy = fast ? malloc(row_bytes + OVERREAD) : NULL;
    if (fast && !copy) fast = 0;
    if (copy) memset(copy + row_bytes, 0, OVERREAD);
    for (size_t y = 0; y < rows; y++) {
        const uint8_t *row = source + y * row_bytes;
        uint8_t *out = target + y * target_bytes;
        if (!fast) {
            horizontal_row(row, channels, axis, out);
            continue;
        }
        if ((rows - y - 1) * row_bytes < OVERREAD) row = memcpy(copy, row, row_bytes);
        if (channels == 3)
            horizontal_rgb(row, axis, out);
        else
            horizontal_gray(row, axis, out);
    }
    free(copy);
}

void cresample_vertical(const uint8_t *source, size_t row_bytes, const cresample_axis *axis, uint8_t *target) {
    int fast = has_avx2();
    for (size_t i = 0; i < axis->outputs; i++) {
        size_t from = fast ? vertical_avx2(source, row_bytes, axis, i, target) : 0;
        vertical_part(source, row_bytes, from, axis, i, target);
    }
}
