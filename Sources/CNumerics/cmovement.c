#include "cmovement.h"

#include <string.h>

// Vectors of 16 bytes, which every processor here has.
typedef uint32_t words __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(16)));

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void transpose_words(const uint32_t *from, size_t from_stride, uint32_t *to, size_t to_stride) {
    words a, b, c, d;
    memcpy(&a, from, 16);
    memcpy(&b, from + from_stride, 16);
    memcpy(&c, from + 2 * from_stride, 16);
    memcpy(&d, from + 3 * from_stride, 16);
    const words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const words cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    memcpy(to, &a, 16);
    memcpy(to + to_stride, &b, 16);
    memcpy(to + 2 * to_stride, &c, 16);
    memcpy(to + 3 * to_stride, &d, 16);
}

ALWAYS_INLINE void transpose_halves(const uint16_t *from, size_t from_stride, uint16_t *to, size_t to_stride) {
    halves rows[8], pairs[8], quads[8];
    for (int i = 0; i < 8; i++) memcpy(rows + i, from + i * from_stride, 16);
    for (int i = 0; i < 4; i++) {
        pairs[2 * i] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 0, 8, 1, 9, 2, 10, 3, 11);
        pairs[2 * i + 1] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    // Pairs 0 and 2 hold columns 0 to 3 of rows 0 to 3, pairs 1 and 3 columns 4 to 7; 4 to 7 the same of rows 4 to 7.
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            const halves top = pairs[4 * i + j], bottom = pairs[4 * i + j + 2];
            quads[4 * i + 2 * j] = __builtin_shufflevector(top, bottom, 0, 1, 8, 9, 2, 3, 10, 11);
            quads[4 * i + 2 * j + 1] = __builtin_shufflevector(top, bottom, 4, 5, 12, 13, 6, 7, 14, 15);
        }
    }
    for (int i = 0; i < 4; i++) {
        const halves first = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        const halves second = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        memcpy(to + 2 * i * to_stride, &first, 16);
        memcpy(to + (2 * i + 1) * to_stride, &second, 16);
    }
}

#define TRANSPOSE(name, type, side, block)                                                                     \
    void name(                                                                                                 \
        const type *source, size_t source_stride, type *target, size_t target_stride, size_t rows,             \
        size_t columns) {                                                                                      \
        const size_t whole_rows = rows / side * side, whole_columns = columns / side * side;                   \
        for (size_t c = 0; c < whole_columns; c += side)                                                       \
            for (size_t r = 0; r < whole_rows; r += side)                                                      \
                block(source + r * source_stride + c, source_stride, target + c * target_stride + r,           \
                      target_stride);                                                                          \
        for (size_t c = 0; c < columns; c++)                                                                   \
            for (size_t r = c < whole_columns ? whole_rows : 0; r < rows; r++)                                 \
                target[c * target_stride + r] = source[r * source_stride + c];                                 \
    }

TRANSPOSE(cmovement_transpose_16, uint16_t, 8, transpose_halves)
TRANSPOSE(cmovement_transpose_32, uint32_t, 4, transpose_words)
