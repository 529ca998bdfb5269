// Conversions between types of numbers, compiled for several instruction sets and chosen when the program is loaded.
#pragma once
#include <stddef.h>

enum cconvert_type {
    CCONVERT_FLOAT,
    CCONVERT_DOUBLE,
    CCONVERT_INT8,
    CCONVERT_UINT8,
    CCONVERT_INT32,
    CCONVERT_INT64,
    // Only as a target: whether a number is not zero.
    CCONVERT_BOOL,
    // Only from and to CCONVERT_FLOAT; rounded to nearest even.
    CCONVERT_BFLOAT16,
};

// Converts `count` numbers; returns 0 where there is no such conversion. Integers wrap; the integer part of what does not
// fit 64 bits is the nearest 64-bit integer, that of NaN is 0, and narrower integers take the low bits.
int cconvert(enum cconvert_type from, enum cconvert_type to, const void *source, void *target, size_t count);
