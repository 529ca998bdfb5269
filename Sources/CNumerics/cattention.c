#include "cattention.h"

#if defined(__x86_64__)

#include <math.h>
#include <stdint.h>

#include "cactivations.h"

#define NARROW __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,avx512bf16")))
#define INLINE_NARROW NARROW static inline __attribute__((always_inline))

int cattention_is_available(enum cattention_precision precision) {
    return blocks_are_available() && (precision == CATTENTION_FLOAT32 || __builtin_cpu_supports("avx512bf16"));
}

// The words of a row of numbers: one each, or one for a pair.
static size_t words(enum cattention_precision precision, size_t depth) {
    return precision == CATTENTION_BFLOAT16 ? (depth + 1) / 2 : depth;
}

static size_t blocks(size_t columns) { return (columns + BLOCK - 1) / BLOCK; }

size_t cattention_packed_count(enum cattention_precision precision, size_t depth, size_t columns) {
    return words(precision, depth) * blocks(columns) * BLOCK;
}

size_t cattention_row_count(enum cattention_precision precision, size_t depth) { return words(precision, depth); }

// The first min(count, 16) lanes.
INLINE __mmask16 lanes(size_t count) { return count >= BLOCK ? 0xffff : (__mmask16)((1u << count) - 1); }

// Panels of at most MOST_PANEL blocks of columns lie one behind the other: [word][block][16].
struct place {
    size_t start, step;
};

INLINE struct place place_of(size_t block, size_t count, size_t depth) {
    size_t panel = block / MOST_PANEL, left = count - panel * MOST_PANEL;
    size_t width = left < MOST_PANEL ? left : MOST_PANEL;
    return (struct place){(panel * MOST_PANEL * depth + block % MOST_PANEL) * BLOCK, width * BLOCK};
}

// 16 rows of 16 words become columns.
INLINE void transpose(__m512 r[BLOCK]) {
    __m512 t[BLOCK];
    for (int i = 0; i < BLOCK; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < BLOCK; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            t[8 * j + i] = _mm512_shuffle_f32x4(r[8 * j + i], r[8 * j + i + 4], 0x88);
            t[8 * j + i + 4] = _mm512_shuffle_f32x4(r[8 * j + i], r[8 * j + i + 4], 0xdd);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

// Two neighbouring numbers in a word, the first in its lower half; the last of an odd count with a zero.
INLINE_NARROW __m512i pairs(const float *row, size_t count) {
    __m512 low = _mm512_maskz_loadu_ps(lanes(count), row);
    __m512 high = count > BLOCK ? _mm512_maskz_loadu_ps(lanes(count - BLOCK), row + BLOCK) : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

WIDE static void pack_columns(const float *source, size_t stride, size_t depth, size_t columns, float *packed) {
    size_t count = blocks(columns);
    for (size_t block = 0; block < count; block++) {
        struct place place = place_of(block, count, depth);
        for (size_t d = 0; d < depth; d += BLOCK) {
            __m512 rows[BLOCK];
            for (size_t c = 0; c < BLOCK; c++) {
                size_t row = block * BLOCK + c;
                rows[c] = row < columns ? _mm512_maskz_loadu_ps(lanes(depth - d), source + row * stride + d)
                                        : _mm512_setzero_ps();
            }
            transpose(rows);
            for (size_t i = 0; i < BLOCK && d + i < depth; i++)
                store(packed + place.start + (d + i) * place.step, (vec)rows[i]);
        }
    }
}

NARROW static void pack_columns_narrow(
    const float *source, size_t stride, size_t depth, size_t columns, float *packed) {
    size_t count = blocks(columns), words = (depth + 1) / 2;
    for (size_t block = 0; block < count; block++) {
        struct place place = place_of(block, count, words);
        for (size_t d = 0; d < words; d += BLOCK) {
            __m512 rows[BLOCK];
            for (size_t c = 0; c < BLOCK; c++) {
                size_t row = block * BLOCK + c;
                rows[c] = row < columns ? (__m512)pairs(source + row * stride + 2 * d, depth - 2 * d)
                                        : _mm512_setzero_ps();
            }
            transpose(rows);
            for (size_t i = 0; i < BLOCK && d + i < words; i++)
                store(packed + place.start + (d + i) * place.step, (vec)rows[i]);
        }
    }
}

void cattention_pack_columns(
    enum cattention_precision precision, const float *source, size_t stride, size_t depth, size_t columns,
    float *packed) {
    if (precision == CATTENTION_BFLOAT16) pack_columns_narrow(source, stride, depth, columns, packed);
    else pack_columns(source, stride, depth, columns, packed);
}

WIDE static void pack_rows(const float *source, size_t stride, size_t depth, size_t columns, float *packed) {
    size_t count = blocks(columns);
    for (size_t d = 0; d < depth; d++)
        for (size_t block = 0; block < count; block++) {
            struct place place = place_of(block, count, depth);
            __mmask16 mask = lanes(columns - block * BLOCK);
            store(
                packed + place.start + d * place.step,
                (vec)_mm512_maskz_loadu_ps(mask, source + d * stride + block * BLOCK));
        }
}

NARROW static void pack_rows_narrow(const float *source, size_t stride, size_t depth, size_t columns, float *packed) {
    size_t count = blocks(columns), words = (depth + 1) / 2;
    // The numbers of two rows in turns.
    static const uint16_t turns[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i order = _mm512_loadu_si512(turns);
    for (size_t d = 0; d < words; d++)
        for (size_t block = 0; block < count; block++) {
            struct place place = place_of(block, count, words);
            __mmask16 mask = lanes(columns - block * BLOCK);
            const float *row = source + 2 * d * stride + block * BLOCK;
            __m512 first = _mm512_maskz_loadu_ps(mask, row);
            __m512 second =
                2 * d + 1 < depth ? _mm512_maskz_loadu_ps(mask, row + stride) : _mm512_setzero_ps();
            __m512i both = _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
            store(packed + place.start + d * place.step, (vec)both);
        }
}

void cattention_pack_rows(
    enum cattention_precision precision, const float *source, size_t stride, size_t depth, size_t columns,
    float *packed) {
    if (precision == CATTENTION_BFLOAT16) pack_rows_narrow(source, stride, depth, columns, packed);
    else pack_rows(source, stride, depth, columns, packed);
}

NARROW static void convert_rows_narrow(
    const float *source, size_t stride, size_t rows, size_t depth, float *target, size_t target_stride) {
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < depth; d += 2 * BLOCK)
            _mm512_mask_storeu_epi32(
                target + r * target_stride + d / 2, lanes((depth - d + 1) / 2),
                pairs(source + r * stride + d, depth - d));
}

void cattention_convert_rows(
    enum cattention_precision precision, const float *source, size_t stride, size_t rows, size_t depth, float *target,
    size_t target_stride) {
    if (precision == CATTENTION_BFLOAT16) convert_rows_narrow(source, stride, rows, depth, target, target_stride);
    else if (source != target)
        for (size_t r = 0; r < rows; r++)
            for (size_t d = 0; d < depth; d++) target[r * target_stride + d] = source[r * stride + d];
}

INLINE void store_sums(
    vec sums[MOST_ROWS][MOST_PANEL], size_t rows, size_t panel, size_t columns, const float *factors, float *target,
    size_t stride) {
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < panel; p++)
            _mm512_mask_storeu_ps(
                target + r * stride + p * BLOCK, lanes(columns - p * BLOCK), (__m512)(sums[r][p] * spread(factors[r])));
}

// rows and panel are constants.
INLINE void multiply_panel(
    const float *a, size_t a_stride, size_t rows, size_t depth, const float *packed, size_t panel, size_t columns,
    const float *factors, float *target, size_t stride) {
    vec sums[MOST_ROWS][MOST_PANEL];
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < panel; p++) sums[r][p] = spread(0);
    for (size_t d = 0; d < depth; d++, packed += panel * BLOCK) {
        vec column[MOST_PANEL];
        for (size_t p = 0; p < panel; p++) column[p] = load(packed + p * BLOCK);
        for (size_t r = 0; r < rows; r++) {
            vec x = spread(a[r * a_stride + d]);
            for (size_t p = 0; p < panel; p++) sums[r][p] += x * column[p];
        }
    }
    store_sums(sums, rows, panel, columns, factors, target, stride);
}

INLINE_NARROW void multiply_panel_narrow(
    const float *a, size_t a_stride, size_t rows, size_t depth, const float *packed, size_t panel, size_t columns,
    const float *factors, float *target, size_t stride) {
    vec sums[MOST_ROWS][MOST_PANEL];
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < panel; p++) sums[r][p] = spread(0);
    for (size_t d = 0; d < depth; d++, packed += panel * BLOCK) {
        vec column[MOST_PANEL];
        for (size_t p = 0; p < panel; p++) column[p] = load(packed + p * BLOCK);
        for (size_t r = 0; r < rows; r++) {
            __m512bh x = (__m512bh)spread(a[r * a_stride + d]);
            for (size_t p = 0; p < panel; p++)
                sums[r][p] = (vec)_mm512_dpbf16_ps((__m512)sums[r][p], x, (__m512bh)column[p]);
        }
    }
    store_sums(sums, rows, panel, columns, factors, target, stride);
}

#define CASE(function, n, panel) \
    case n: function(a, a_stride, n, depth, packed, panel, columns, factors, target, stride); break;
#define ROWS(function, panel) \
    switch (rows < MOST_ROWS ? rows : MOST_ROWS) { \
        CASE(function, 6, panel) \
        CASE(function, 5, panel) \
        CASE(function, 4, panel) \
        CASE(function, 3, panel) \
        CASE(function, 2, panel) \
        CASE(function, 1, panel) \
    }
#define PANELS(function) \
    switch (panel) { \
    case 4: ROWS(function, 4) break; \
    case 3: ROWS(function, 3) break; \
    case 2: ROWS(function, 2) break; \
    case 1: ROWS(function, 1) break; \
    }

WIDE static void multiply_rows_of_panel(
    const float *a, size_t a_stride, size_t rows, size_t depth, const float *packed, size_t panel, size_t columns,
    const float *factors, float *target, size_t stride) {
    PANELS(multiply_panel)
}

NARROW static void multiply_rows_of_panel_narrow(
    const float *a, size_t a_stride, size_t rows, size_t depth, const float *packed, size_t panel, size_t columns,
    const float *factors, float *target, size_t stride) {
    PANELS(multiply_panel_narrow)
}

void cattention_multiply(
    enum cattention_precision precision, const float *a, size_t a_stride, size_t rows, size_t depth,
    const float *packed, size_t columns, const float *factors, float *target, size_t target_stride) {
    size_t count = blocks(columns), length = words(precision, depth);
    for (size_t block = 0; block < count; block += MOST_PANEL) {
        size_t panel = count - block < MOST_PANEL ? count - block : MOST_PANEL;
        for (size_t r = 0; r < rows; r += MOST_ROWS)
            (precision == CATTENTION_BFLOAT16 ? multiply_rows_of_panel_narrow : multiply_rows_of_panel)(
                a + r * a_stride, a_stride, rows - r, length, packed + block * length * BLOCK, panel,
                columns - block * BLOCK, factors + r, target + r * target_stride + block * BLOCK, target_stride);
    }
}

WIDE void cattention_exponentials(float *scores, size_t stride, size_t rows, size_t columns, float *inverses) {
    for (size_t r = 0; r < rows; r++, scores += stride) {
        vec most = spread(-INFINITY), total = spread(0);
        for (size_t c = 0; c < columns; c += BLOCK)
            most = (vec)_mm512_mask_max_ps(
                (__m512)most, lanes(columns - c), (__m512)most, _mm512_maskz_loadu_ps(lanes(columns - c), scores + c));
        vec greatest = spread(_mm512_reduce_max_ps((__m512)most));
        for (size_t c = 0; c < columns; c += BLOCK) {
            __mmask16 mask = lanes(columns - c);
            vec x = ((vec)_mm512_maskz_loadu_ps(mask, scores + c) - greatest) * 1.44269504f;
            // What is as small as this has the power 0; a number that is not one stays.
            vec power = power_of_two((vec)_mm512_max_ps((__m512)spread(-160), (__m512)x));
            total += (vec)_mm512_maskz_mov_ps(mask, (__m512)power);
            _mm512_mask_storeu_ps(scores + c, mask, (__m512)power);
        }
        inverses[r] = 1 / _mm512_reduce_add_ps((__m512)total);
    }
}

#else

int cattention_is_available(enum cattention_precision precision) { (void)precision; return 0; }

#pragma clang diagnostic ignored "-Wunused-parameter"

// Nobody calls these where they are not available.

size_t cattention_packed_count(enum cattention_precision precision, size_t depth, size_t columns) { __builtin_trap(); }
size_t cattention_row_count(enum cattention_precision precision, size_t depth) { __builtin_trap(); }
void cattention_pack_columns(
    enum cattention_precision precision, const float *source, size_t stride, size_t depth, size_t columns,
    float *packed) { __builtin_trap(); }
void cattention_pack_rows(
    enum cattention_precision precision, const float *source, size_t stride, size_t depth, size_t columns,
    float *packed) { __builtin_trap(); }
void cattention_convert_rows(
    enum cattention_precision precision, const float *source, size_t stride, size_t rows, size_t depth, float *target,
    size_t target_stride) { __builtin_trap(); }
void cattention_multiply(
    enum cattention_precision precision, const float *a, size_t a_stride, size_t rows, size_t depth,
    const float *packed, size_t columns, const float *factors, float *target, size_t target_stride) { __builtin_trap(); }
void cattention_exponentials(float *scores, size_t stride, size_t rows, size_t columns, float *inverses) { __builtin_trap(); }

#endif
