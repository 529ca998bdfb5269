// Functions of many numbers that oneDNN computes with too large a relative error; loops that compilers turn into vectors.
//
// `streams`: the results go past the caches, for what is larger than they are; source and target must not be the same
// then, and the thread calls cmovement_finish_streams at the end.
#pragma once
#include <stddef.h>

// The natural logarithm, within one unit in the last place; source and target may be the same.
void cvectormath_log(const float *source, float *target, size_t count, int streams);

// The error function, within a few units in the last place; source and target may be the same.
void cvectormath_erf(const float *source, float *target, size_t count, int streams);

// For each row of `length` numbers exp(x) over the sum of all exp(x), or the logarithm of that.
void cvectormath_softmax(
    const float *source, float *target, size_t rows, size_t length, int is_logarithm, int streams);

// Whole numbers below, above and nearest (half to even), -x, |x|, 1 / x and the square root; source and target may be the
// same.
void cvectormath_sqrt(const float *source, float *target, size_t count, int streams);
void cvectormath_negate(const float *source, float *target, size_t count, int streams);
void cvectormath_absolute(const float *source, float *target, size_t count, int streams);
void cvectormath_floor(const float *source, float *target, size_t count, int streams);
void cvectormath_ceil(const float *source, float *target, size_t count, int streams);
void cvectormath_round(const float *source, float *target, size_t count, int streams);
void cvectormath_reciprocal(const float *source, float *target, size_t count, int streams);

// log(1 + exp(x)), within a few units in the last place at both ends; source and target may be the same.
void cvectormath_softplus(const float *source, float *target, size_t count, int streams);

// exp(x), 1 / (1 + exp(-x)) and tanh(x), within a few units in the last place; source and target may be the same.
void cvectormath_exp(const float *source, float *target, size_t count, int streams);
void cvectormath_sigmoid(const float *source, float *target, size_t count, int streams);
void cvectormath_tanh(const float *source, float *target, size_t count, int streams);

// x, or x times the slope where x is negative; source and target may be the same.
void cvectormath_slope(const float *source, float slope, float *target, size_t count, int streams);
// x held between two numbers; NaN stays. source and target may be the same.
void cvectormath_clip(const float *source, float low, float high, float *target, size_t count, int streams);

// Sine and cosine, within a few units in the last place for every number; source and target may be the same.
void cvectormath_sin(const float *source, float *target, size_t count, int streams);
void cvectormath_cos(const float *source, float *target, size_t count, int streams);
