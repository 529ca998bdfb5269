// Activations of vectors of 16 numbers; for AVX-512 only.
#pragma once

#include "cblocks.h"

// 2^x for x <= 126: a polynomial for the fraction, whose relative error is at most 7.5e-8, and the exponent added.
INLINE vec power_of_two(vec x) {
    vec whole = (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec f = x - whole;
    vec p = 0.00967554096f + f * 0.00132764713f;
    p = 0.0555071309f + f * p;
    p = 0.240221202f + f * p;
    p = 0.693146944f + f * p;
    p = 1.00000012f + f * p;
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)whole);
}

// 1 / x for positive normal numbers whose inverse is normal: an estimate of 14 bits and one step of Newton's method.
INLINE vec inverse(vec x) {
    vec estimate = (vec)_mm512_rcp14_ps((__m512)x);
    return estimate * (2.0f - x * estimate);
}

INLINE vec swish(vec x) {
    vec exponent = (vec)_mm512_min_ps((__m512)spread(126.0f), (__m512)(x * -1.44269504f));
    return x * inverse(1.0f + power_of_two(exponent));
}

INLINE vec hardswish(vec x) { return x * clamp(x * (1.0f / 6) + 0.5f, spread(0), spread(1)); }
