// Products of numbers of bfloat16 in vectors, and the way from and to vectors of 16 numbers. For AVX-512 BF16 only.
#pragma once

#include <stdint.h>

#include "cblocks.h"

#define WIDE_ROUNDED __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,fma")))
#define INLINE_ROUNDED WIDE_ROUNDED static inline __attribute__((always_inline))

// Loops over registers: where one is left, they lie in memory.
#define UNROLLED _Pragma("clang loop unroll(full)")

// 16 pairs of numbers.
typedef uint32_t pairs16 __attribute__((vector_size(64), aligned(4), may_alias));

INLINE_ROUNDED vec widen(const uint16_t *p) {
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return (vec)_mm512_slli_epi32(bits, 16);
}

INLINE_ROUNDED void store_rounded(uint16_t *p, vec x) {
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)x));
}

// The pairs of a[i] and b[i], rounded.
INLINE_ROUNDED pairs16 pair(vec a, vec b) {
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)a));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)b));
    return (pairs16)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

INLINE_ROUNDED pairs16 load_pairs(const uint16_t *p) { return *(const pairs16 *)p; }

// sum[i] + x[2 i] y[2 i] + x[2 i + 1] y[2 i + 1].
INLINE_ROUNDED vec add_products(vec sum, pairs16 x, pairs16 y) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)y);
}

// Two neighbouring numbers in all places.
INLINE_ROUNDED pairs16 spread_pair(const uint16_t *p) {
    int both;
    __builtin_memcpy(&both, p, sizeof both);
    return (pairs16)_mm512_set1_epi32(both);
}

// As multiply_rows, with weights [channel pair][panel][16][2]; channels that fill up a pair are zeros.
INLINE_ROUNDED void multiply_rounded_rows(
    const uint16_t *a, size_t block_step, const uint16_t *w, size_t channels, size_t rows, size_t panel,
    vec sums[MOST_ROWS][MOST_PANEL]) {
    for (; channels >= BLOCK; channels -= BLOCK, a += block_step)
        for (size_t c = 0; c < BLOCK; c += 2, w += panel * 2 * BLOCK) {
            pairs16 column[MOST_PANEL];
            UNROLLED for (size_t p = 0; p < panel; p++) column[p] = load_pairs(w + p * 2 * BLOCK);
            UNROLLED for (size_t r = 0; r < rows; r++) {
                pairs16 x = spread_pair(a + r * BLOCK + c);
                UNROLLED for (size_t p = 0; p < panel; p++) sums[r][p] = add_products(sums[r][p], x, column[p]);
            }
        }
    for (size_t c = 0; c < channels; c += 2, w += panel * 2 * BLOCK)
        UNROLLED for (size_t r = 0; r < rows; r++) {
            pairs16 x = spread_pair(a + r * BLOCK + c);
            UNROLLED for (size_t p = 0; p < panel; p++)
                sums[r][p] = add_products(sums[r][p], x, load_pairs(w + p * 2 * BLOCK));
        }
}
