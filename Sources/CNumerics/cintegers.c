#include "cintegers.h"

#include <string.h>

#define PANEL CINTEGERS_PANEL

static void multiply_plain(
    const int16_t *a, size_t a_stride, size_t rows, const int16_t *b, size_t pairs, size_t panels, int32_t *sums,
    size_t sum_stride) {
    for (size_t p = 0; p < panels; p++) {
        for (size_t r = 0; r < rows; r++) {
            uint32_t total[PANEL] = {0};
            const int16_t *line = a + r * a_stride, *panel = b + p * pairs * 2 * PANEL;
            for (size_t k = 0; k < pairs; k++) {
                for (size_t c = 0; c < PANEL; c++) {
                    total[c] += (uint32_t)(line[2 * k] * panel[2 * c]) + (uint32_t)(line[2 * k + 1] * panel[2 * c + 1]);
                }
                panel += 2 * PANEL;
            }
            memcpy(sums + r * sum_stride + p * PANEL, total, sizeof total);
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

static inline int32_t pair_at(const int16_t *a) {
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    return pair;
}

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define BW __attribute__((target("avx512f,avx512bw")))
#define AVX2 __attribute__((target("avx2")))

// Rows and panels at a time: as many sums as fit the registers, so that what is loaded is used often.
#define TILE_ROWS 8
#define TILE_PANELS 2

#define ACCUMULATE_VNNI(sum, x, y) _mm512_dpwssd_epi32(sum, x, y)
#define ACCUMULATE_BW(sum, x, y) _mm512_add_epi32(sum, _mm512_madd_epi16(x, y))

#define DEFINE_TILE(NAME, TARGET, ACCUMULATE)                                                                          \
    TARGET static inline __attribute__((always_inline)) void NAME##_tile(                                              \
        const int16_t *a, size_t a_stride, const int16_t *b, size_t pairs, int32_t *sums, size_t sum_stride,           \
        const int rows, const int panels) {                                                                            \
        __m512i total[TILE_ROWS][TILE_PANELS];                                                                         \
        for (int r = 0; r < rows; r++)                                                                                 \
            for (int p = 0; p < panels; p++) total[r][p] = _mm512_setzero_si512();                                     \
        for (size_t k = 0; k < pairs; k++) {                                                                           \
            __m512i y[TILE_PANELS];                                                                                    \
            for (int p = 0; p < panels; p++) y[p] = _mm512_loadu_si512(b + (p * pairs + k) * 2 * PANEL);               \
            for (int r = 0; r < rows; r++) {                                                                           \
                __m512i x = _mm512_set1_epi32(pair_at(a + r * a_stride + 2 * k));                                      \
                for (int p = 0; p < panels; p++) total[r][p] = ACCUMULATE(total[r][p], x, y[p]);                       \
            }                                                                                                          \
        }                                                                                                              \
        for (int r = 0; r < rows; r++)                                                                                 \
            for (int p = 0; p < panels; p++) _mm512_storeu_si512(sums + r * sum_stride + p * PANEL, total[r][p]);      \
    }                                                                                                                  \
    TARGET static void NAME(                                                                                           \
        const int16_t *a, size_t a_stride, size_t rows, const int16_t *b, size_t pairs, size_t panels, int32_t *sums,  \
        size_t sum_stride) {                                                                                           \
        for (size_t p = 0; p < panels; p += TILE_PANELS) {                                                             \
            const int16_t *panel = b + p * pairs * 2 * PANEL;                                                          \
            int32_t *to = sums + p * PANEL;                                                                            \
            size_t r = 0;                                                                                              \
            if (panels - p >= TILE_PANELS) {                                                                           \
                for (; r + 8 <= rows; r += 8)                                                                          \
                    NAME##_tile(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 8, 2);      \
                for (; r + 4 <= rows; r += 4)                                                                          \
                    NAME##_tile(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 4, 2);      \
                for (; r < rows; r++)                                                                                  \
                    NAME##_tile(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 1, 2);      \
            } else {                                                                                                   \
                for (; r + 8 <= rows; r += 8)                                                                          \
                    NAME##_tile(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 8, 1);      \
                for (; r < rows; r++)                                                                                  \
                    NAME##_tile(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 1, 1);      \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_TILE(multiply_vnni, VNNI, ACCUMULATE_VNNI)
DEFINE_TILE(multiply_bw, BW, ACCUMULATE_BW)

AVX2 static inline __attribute__((always_inline)) void multiply_avx2_rows(
    const int16_t *a, size_t a_stride, const int16_t *panel, size_t pairs, int32_t *sums, size_t sum_stride,
    const int rows) {
    __m256i total[4][2];
    for (int r = 0; r < rows; r++) total[r][0] = total[r][1] = _mm256_setzero_si256();
    for (size_t k = 0; k < pairs; k++) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(panel + k * 2 * PANEL));
        __m256i high = _mm256_loadu_si256((const __m256i *)(panel + k * 2 * PANEL + PANEL));
        for (int r = 0; r < rows; r++) {
            __m256i x = _mm256_set1_epi32(pair_at(a + r * a_stride + 2 * k));
            total[r][0] = _mm256_add_epi32(total[r][0], _mm256_madd_epi16(x, low));
            total[r][1] = _mm256_add_epi32(total[r][1], _mm256_madd_epi16(x, high));
        }
    }
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_si256((__m256i *)(sums + r * sum_stride), total[r][0]);
        _mm256_storeu_si256((__m256i *)(sums + r * sum_stride + 8), total[r][1]);
    }
}

AVX2 static void multiply_avx2(
    const int16_t *a, size_t a_stride, size_t rows, const int16_t *b, size_t pairs, size_t panels, int32_t *sums,
    size_t sum_stride) {
    for (size_t p = 0; p < panels; p++) {
        const int16_t *panel = b + p * pairs * 2 * PANEL;
        int32_t *to = sums + p * PANEL;
        size_t r = 0;
        for (; r + 4 <= rows; r += 4)
            multiply_avx2_rows(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 4);
        for (; r < rows; r++)
            multiply_avx2_rows(a + r * a_stride, a_stride, panel, pairs, to + r * sum_stride, sum_stride, 1);
    }
}
#endif

void cintegers_multiply(
    const int16_t *a, size_t a_stride, size_t rows, const int16_t *b, size_t pairs, size_t panels, int32_t *sums,
    size_t sum_stride) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw")) {
        (__builtin_cpu_supports("avx512vnni") ? multiply_vnni : multiply_bw)(
            a, a_stride, rows, b, pairs, panels, sums, sum_stride);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        multiply_avx2(a, a_stride, rows, b, pairs, panels, sums, sum_stride);
        return;
    }
#endif
    multiply_plain(a, a_stride, rows, b, pairs, panels, sums, sum_stride);
}

#if defined(__x86_64__) && defined(__linux__)
#define WIDE_CLONES __attribute__((target_clones("avx512bw", "avx2", "default")))
#else
#define WIDE_CLONES
#endif

WIDE_CLONES static void widen_u8(const uint8_t *source, int16_t zero, int16_t *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = (int16_t)(source[i] - zero);
}

WIDE_CLONES static void widen_s8(const int8_t *source, int16_t zero, int16_t *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = (int16_t)(source[i] - zero);
}

void cintegers_widen(const void *source, int is_signed, int16_t zero, int16_t *target, size_t count) {
    if (is_signed) {
        widen_s8(source, zero, target, count);
    } else {
        widen_u8(source, zero, target, count);
    }
}

WIDE_CLONES static void accumulate_u8(
    const uint8_t *source, int16_t zero, const int16_t *weights, int32_t *sums, size_t count) {
    for (size_t i = 0; i < count; i++)
        sums[i] = (int32_t)((uint32_t)sums[i] + (uint32_t)((int16_t)(source[i] - zero) * weights[i]));
}

WIDE_CLONES static void accumulate_s8(
    const int8_t *source, int16_t zero, const int16_t *weights, int32_t *sums, size_t count) {
    for (size_t i = 0; i < count; i++)
        sums[i] = (int32_t)((uint32_t)sums[i] + (uint32_t)((int16_t)(source[i] - zero) * weights[i]));
}

void cintegers_accumulate(
    const void *source, int is_signed, int16_t zero, const int16_t *weights, int32_t *sums, size_t count) {
    if (is_signed) {
        accumulate_s8(source, zero, weights, sums, count);
    } else {
        accumulate_u8(source, zero, weights, sums, count);
    }
}

// The low byte of zero + round(value), the value held within low and high; low for NaN.
static inline __attribute__((always_inline)) uint8_t rounded(float value, float low, float high, int32_t zero) {
    value = value > low ? value : low;
    value = value < high ? value : high;
    // Adding 1.5 * 2^23 rounds to nearest even and leaves the integer in the low bits.
    float shifted = value + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint8_t)(bits - 0x4B400000u + (uint32_t)zero);
}

WIDE_CLONES void cintegers_requantize(
    const int32_t *sums, const int32_t *bias, const float *scales, float low, float high, int32_t zero, uint8_t *target,
    size_t count) {
    for (size_t i = 0; i < count; i++)
        target[i] = rounded((float)(int32_t)((uint32_t)sums[i] + (uint32_t)bias[i]) * scales[i], low, high, zero);
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static size_t look_up_wide(
    const uint8_t *source, const uint8_t *table, uint8_t *target, size_t count) {
    __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64);
    __m512i c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        __m512i index = _mm512_loadu_si512(source + i);
        __m512i low = _mm512_permutex2var_epi8(a, index, b), high = _mm512_permutex2var_epi8(c, index, d);
        _mm512_storeu_si512(target + i, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high));
    }
    return i;
}
#endif

void cintegers_look_up(const uint8_t *source, const uint8_t *table, uint8_t *target, size_t count) {
    size_t i = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi")) i = look_up_wide(source, table, target, count);
#endif
    for (; i < count; i++) target[i] = table[source[i]];
}

// The same loop for each type and step, so that each is vectorised.
#define COMBINE(BYTE, STEP_A, STEP_B, VALUE)                                                                           \
    do {                                                                                                               \
        const BYTE *x = a.bytes, *y = b.bytes;                                                                         \
        for (size_t i = 0; i < count; i++) {                                                                           \
            float p = (float)(x[i * STEP_A] - a.zero), q = (float)(y[i * STEP_B] - b.zero);                            \
            target[i] = rounded(VALUE, low, high, zero);                                                               \
        }                                                                                                              \
    } while (0)

#define COMBINE_ALL(BYTE, VALUE)                                                                                       \
    do {                                                                                                               \
        if (a.step && b.step) COMBINE(BYTE, 1, 1, VALUE);                                                              \
        else if (a.step) COMBINE(BYTE, 1, 0, VALUE);                                                                   \
        else COMBINE(BYTE, 0, 1, VALUE);                                                                               \
    } while (0)

WIDE_CLONES void cintegers_add(
    cintegers_operand a, cintegers_operand b, int is_signed, float low, float high, int32_t zero, uint8_t *target,
    size_t count) {
    if (is_signed) COMBINE_ALL(int8_t, p * a.scale + q * b.scale);
    else COMBINE_ALL(uint8_t, p * a.scale + q * b.scale);
}

// The product of two bytes less their zero points has at most 17 bits.
WIDE_CLONES void cintegers_scale(
    cintegers_operand a, cintegers_operand b, int is_signed, float low, float high, int32_t zero, uint8_t *target,
    size_t count) {
    float scale = a.scale * b.scale;
    if (is_signed) COMBINE_ALL(int8_t, p * q * scale);
    else COMBINE_ALL(uint8_t, p * q * scale);
}

WIDE_CLONES void cintegers_quantize(
    const float *source, float scale, float low, float high, int32_t zero, uint8_t *target, size_t count) {
    for (size_t i = 0; i < count; i++) target[i] = rounded(source[i] / scale, low, high, zero);
}

WIDE_CLONES void cintegers_dequantize(
    const void *source, int is_signed, int32_t zero, float scale, float *target, size_t count) {
    const uint8_t *u = source;
    const int8_t *s = source;
    if (is_signed) {
        for (size_t i = 0; i < count; i++) target[i] = (float)(s[i] - zero) * scale;
    } else {
        for (size_t i = 0; i < count; i++) target[i] = (float)(u[i] - zero) * scale;
    }
}

WIDE_CLONES void cintegers_raise(const void *source, int is_signed, void *target, size_t count) {
    const uint8_t *u = source;
    const int8_t *s = source;
    uint8_t *to = target;
    int8_t *signed_to = target;
    if (is_signed) {
        for (size_t i = 0; i < count; i++) signed_to[i] = s[i] > signed_to[i] ? s[i] : signed_to[i];
    } else {
        for (size_t i = 0; i < count; i++) to[i] = u[i] > to[i] ? u[i] : to[i];
    }
}

WIDE_CLONES void cintegers_sum(const void *source, int is_signed, int32_t *sums, size_t count) {
    const uint8_t *u = source;
    const int8_t *s = source;
    if (is_signed) {
        for (size_t i = 0; i < count; i++) sums[i] += s[i];
    } else {
        for (size_t i = 0; i < count; i++) sums[i] += u[i];
    }
}

#define LANES 32

WIDE_CLONES void cintegers_extremes(const float *source, size_t count, float *low, float *high) {
    float least[LANES], greatest[LANES];
    for (int j = 0; j < LANES; j++) least[j] = *low, greatest[j] = *high;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float value = source[i + j];
            least[j] = value < least[j] ? value : least[j];
            greatest[j] = value > greatest[j] ? value : greatest[j];
        }
    }
    for (; i < count; i++) {
        least[0] = source[i] < least[0] ? source[i] : least[0];
        greatest[0] = source[i] > greatest[0] ? source[i] : greatest[0];
    }
    for (int j = 0; j < LANES; j++) {
        *low = least[j] < *low ? least[j] : *low;
        *high = greatest[j] > *high ? greatest[j] : *high;
    }
}

WIDE_CLONES void cintegers_softmax(
    const void *source, int is_signed, const float *e, float factor, float low, float high, int32_t zero,
    uint8_t *target, size_t count) {
    const uint8_t *bytes = source;
    // With the highest bit turned, signed bytes are in the order of unsigned ones.
    const uint8_t turn = is_signed ? 128 : 0;
    uint8_t greatest = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t value = bytes[i] ^ turn;
        greatest = value > greatest ? value : greatest;
    }
    float sums[16] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (int j = 0; j < 16; j++) sums[j] += e[(uint8_t)(greatest - (bytes[i + j] ^ turn))];
    for (; i < count; i++) sums[0] += e[(uint8_t)(greatest - (bytes[i] ^ turn))];
    for (int j = 0; j < 16; j++) sum += sums[j];
    float scale = factor / sum;
    if (count < 512) {
        for (i = 0; i < count; i++)
            target[i] = rounded(e[(uint8_t)(greatest - (bytes[i] ^ turn))] * scale, low, high, zero);
        return;
    }
    uint8_t codes[256], table[256];
    for (int d = 0; d < 256; d++) codes[d] = rounded(e[d] * scale, low, high, zero);
    for (int d = 0; d < 256; d++) table[d] = codes[(uint8_t)(greatest - (d ^ turn))];
    cintegers_look_up(bytes, table, target, count);
}
