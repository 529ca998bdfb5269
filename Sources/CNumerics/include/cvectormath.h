// Functions of many numbers that oneDNN computes with too large a relative error; loops that compilers turn into vectors.
#pragma once
#include <stddef.h>

// The natural logarithm, within one unit in the last place; source and target may be the same.
void cvectormath_log(const float *source, float *target, size_t count);

// The error function, within a few units in the last place; source and target may be the same.
void cvectormath_erf(const float *source, float *target, size_t count);

// For each row of `length` numbers exp(x) over the sum of all exp(x), or the logarithm of that.
void cvectormath_softmax(const float *source, float *target, size_t rows, size_t length, int is_logarithm);

// Whole numbers below, above and nearest (half to even), -x, |x| and 1 / x; source and target may be the same.
void cvectormath_negate(const float *source, float *target, size_t count);
void cvectormath_absolute(const float *source, float *target, size_t count);
void cvectormath_floor(const float *source, float *target, size_t count);
void cvectormath_ceil(const float *source, float *target, size_t count);
void cvectormath_round(const float *source, float *target, size_t count);
void cvectormath_reciprocal(const float *source, float *target, size_t count);

// log(1 + exp(x)), within a few units in the last place at both ends; source and target may be the same.
void cvectormath_softplus(const float *source, float *target, size_t count);

// exp(x), 1 / (1 + exp(-x)) and tanh(x), within a few units in the last place; source and target may be the same.
void cvectormath_exp(const float *source, float *target, size_t count);
void cvectormath_sigmoid(const float *source, float *target, size_t count);
void cvectormath_tanh(const float *source, float *target, size_t count);

// x, or x times the slope where x is negative; source and target may be the same.
void cvectormath_slope(const float *source, float slope, float *target, size_t count);
// x held between two numbers; NaN stays. source and target may be the same.
void cvectormath_clip(const float *source, float low, float high, float *target, size_t count);

// Sine and cosine, within a few units in the last place for every number; source and target may be the same.
void cvectormath_sin(const float *source, float *target, size_t count);
void cvectormath_cos(const float *source, float *target, size_t count);
