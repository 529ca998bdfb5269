// Single numbers of bfloat16, from and to the bits of 32-bit numbers.
#pragma once

#include <stdint.h>

static inline uint32_t bfloat16_widened(uint16_t x) { return (uint32_t)x << 16; }

// Rounded to nearest even; a number that is not one stays one.
static inline uint16_t bfloat16_rounded(uint32_t bits) {
    const uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : nearest);
}
