// Element-wise arithmetic on 32-bit floating-point numbers, compiled for several instruction sets and chosen when the
// program is loaded.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum celementwise_operation {
    CELEMENTWISE_ADD,
    CELEMENTWISE_SUBTRACT,
    CELEMENTWISE_MULTIPLY,
    CELEMENTWISE_DIVIDE,
    CELEMENTWISE_MAXIMUM,
    CELEMENTWISE_MINIMUM,
};

// z[i] = a[i * step_a] op b[i * step_b] for n elements. Steps are 0 or 1, not both 0. z may be a or b, but not overlap
// them otherwise. `streams`: the result goes past the caches, for what is larger than they are; z is not a or b then, and
// the thread calls cmovement_finish_streams at the end.
void celementwise_binary(
    enum celementwise_operation operation, const float *a, int step_a, const float *b, int step_b, float *z, size_t n,
    int streams);

// totals[i] += source[i], and z[i] the new total. `next` is what is read after this.
void celementwise_accumulate(
    const float *source, const float *next, float *totals, float *z, size_t n, int streams);

// Rows of 16 numbers: each times, or plus, 16 numbers. z may be x.
void celementwise_scale_rows(const float *x, const float *factors, float *z, size_t rows);
void celementwise_shift_rows(const float *x, const float *addends, float *z, size_t rows);
// The sums of the columns of rows of 16 numbers.
void celementwise_sum_rows(const float *x, float *sums, size_t rows);

// The same on numbers of bfloat16, computed in 32 bits and rounded to nearest even; sums and products only. A number that
// is not one stays one.
void celementwise_rounded_binary(
    enum celementwise_operation operation, const uint16_t *a, const uint16_t *b, uint16_t *z, size_t n);
void celementwise_rounded_rows(
    enum celementwise_operation operation, const uint16_t *x, const float *numbers, uint16_t *z, size_t rows);
void celementwise_sum_rounded_rows(const uint16_t *x, float *sums, size_t rows);

// sums[i] += the numbers i of `rows` rows that lie `step` apart, one after the other.
void celementwise_add_rows(const float *source, size_t step, size_t rows, float *sums, size_t n);
