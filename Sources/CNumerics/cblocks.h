// What the files over tensors in blocks of 16 channels share: vectors of 16 numbers, and the product in registers.
// For AVX-512 only.
#pragma once

#include <immintrin.h>
#include <stddef.h>

#define WIDE __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma")))
// Whether the processor has these instructions.
static inline int blocks_are_available(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
           && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
}

#define INLINE WIDE static inline __attribute__((always_inline))

enum { BLOCK = 16, MOST_ROWS = 6, MOST_PANEL = 4 };

typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec spread(float x) { return x - (vec){0}; }

// A number that is not one is the result where an operand is.
INLINE vec clamp(vec x, vec low, vec high) {
    return (vec)_mm512_min_ps((__m512)high, _mm512_max_ps((__m512)low, (__m512)x));
}

// Adds to sums[r][p] the products of `rows` rows, 16 numbers apart, of `channels` numbers in blocks that are block_step
// apart, with weights [channel][panel][16]. rows and panel are constants wherever this is used.
INLINE void multiply_rows(
    const float *a, size_t block_step, const float *w, size_t channels, size_t rows, size_t panel,
    vec sums[MOST_ROWS][MOST_PANEL]) {
    for (; channels >= BLOCK; channels -= BLOCK, a += block_step)
        for (size_t c = 0; c < BLOCK; c++, w += panel * BLOCK) {
            vec column[MOST_PANEL];
            for (size_t p = 0; p < panel; p++) column[p] = load(w + p * BLOCK);
            for (size_t r = 0; r < rows; r++) {
                vec x = spread(a[r * BLOCK + c]);
                for (size_t p = 0; p < panel; p++) sums[r][p] += x * column[p];
            }
        }
    for (size_t c = 0; c < channels; c++, w += panel * BLOCK)
        for (size_t r = 0; r < rows; r++) {
            vec x = spread(a[r * BLOCK + c]);
            for (size_t p = 0; p < panel; p++) sums[r][p] += x * load(w + p * BLOCK);
        }
}
