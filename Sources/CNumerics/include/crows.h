// The greatest and least of rows of 32-bit floating-point numbers.
#pragma once
#include <stddef.h>

// How many numbers at the start of a row are not above a bound, or not below it; a NaN is both.
size_t crows_skip(const float *row, size_t length, float bound, int above);

// For each of `width` columns of `length` rows, `step` apart, the row of the greatest or least number: the first such,
// or the last. A NaN is never better than another number. best: scratch memory for `width` numbers.
void crows_place_of_extreme(
    const float *source, size_t length, size_t step, size_t width, int is_maximum, int takes_last, float *best,
    int *places);
// The same for one row.
size_t crows_place_in_row(const float *row, size_t length, int is_maximum, int takes_last);

// The greatest or least number of a row; NaN where there is one.
float crows_extreme(const float *row, size_t length, int is_maximum);
