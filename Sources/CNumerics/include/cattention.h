// The parts of attention over one head at a time, small enough for the cache of a processor: products with packed keys and
// values, and the exponentials between them.
#pragma once
#include <stddef.h>

// How many rows a product takes at most; fewer than a multiple of 6 cost as much as the multiple.
#define CATTENTION_ROWS 24

// How numbers are multiplied. Sums are 32-bit floating point in both.
enum cattention_precision { CATTENTION_FLOAT32, CATTENTION_BFLOAT16 };

// Whether the processor has the instructions that the functions below need.
int cattention_is_available(enum cattention_precision precision);

// The 32-bit words that `depth` rows of `columns` numbers take once they are packed.
size_t cattention_packed_count(enum cattention_precision precision, size_t depth, size_t columns);

// Packs `columns` rows of `depth` numbers, `stride` apart, as the columns of a matrix.
void cattention_pack_columns(
    enum cattention_precision precision, const float *source, size_t stride, size_t depth, size_t columns,
    float *packed);

// Packs `depth` rows of `columns` numbers, `stride` apart, as the rows of a matrix.
void cattention_pack_rows(
    enum cattention_precision precision, const float *source, size_t stride, size_t depth, size_t columns,
    float *packed);

// The 32-bit words that a row of `depth` numbers takes as the left operand of a product.
size_t cattention_row_count(enum cattention_precision precision, size_t depth);

// Makes left operands of rows of numbers; target may be source where the rows are as far apart.
void cattention_convert_rows(
    enum cattention_precision precision, const float *source, size_t stride, size_t rows, size_t depth, float *target,
    size_t target_stride);

// target[r][c] = factors[r] * the sum over d of a[r][d] * packed(d, c), for rows <= CATTENTION_ROWS.
void cattention_multiply(
    enum cattention_precision precision, const float *a, size_t a_stride, size_t rows, size_t depth,
    const float *packed, size_t columns, const float *factors, float *target, size_t target_stride);

// Each number of a row becomes e to the power of what it exceeds the row's greatest by; inverses[r] is one over the sum of
// the row. A row of no numbers but minus infinity becomes NaN.
void cattention_exponentials(float *scores, size_t stride, size_t rows, size_t columns, float *inverses);
