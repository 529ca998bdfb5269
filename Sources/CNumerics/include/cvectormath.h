// Functions of many numbers that oneDNN computes with too large a relative error; loops that compilers turn into vectors.
#pragma once
#include <stddef.h>

// The natural logarithm, within one unit in the last place; source and target may be the same.
void cvectormath_log(const float *source, float *target, size_t count);

// log(1 + exp(x)), within a few units in the last place at both ends; source and target may be the same.
void cvectormath_softplus(const float *source, float *target, size_t count);
