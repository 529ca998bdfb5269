// Loops over vectors whose results go past the caches: as many numbers as fill some lines are computed, then written.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The bytes of a line of a cache, and the numbers that are computed before their lines are written: few enough that a
// processor computes the next while it writes.
#define CSTREAM_LINE 64
#define CSTREAM_BLOCK 64

static inline __attribute__((always_inline)) void cstream_write(const float *block, float *target) {
    typedef float four __attribute__((vector_size(16)));
    for (size_t i = 0; i < CSTREAM_BLOCK; i += 4) {
        four part;
        memcpy(&part, block + i, sizeof part);
        __builtin_nontemporal_store(part, (four *)(target + i));
    }
}

// How many of `count` numbers lie before the first line that they fill.
static inline size_t cstream_head(const float *target, size_t count) {
    const size_t head = (CSTREAM_LINE - (uintptr_t)target % CSTREAM_LINE) % CSTREAM_LINE / sizeof(float);
    return head < count ? head : count;
}

// Whether the size of a number reaches a limit, or one is not a number.
static inline __attribute__((always_inline)) int cstream_reaches(const float *x, size_t n, float limit) {
    int32_t largest = 0, bound;
    memcpy(&bound, &limit, sizeof bound);
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7FFFFFFF;
        largest = bits > largest ? bits : largest;
    }
    return largest >= bound;
}

// Computes target[i] for i < count, where `value` is an expression in i. `streams`: whether it goes past the caches; the
// loop must not read what it writes then.
#define CSTREAM_EACH(target, count, streams, value)                                                            \
    do {                                                                                                       \
        size_t done = 0;                                                                                       \
        if (streams) {                                                                                         \
            done = cstream_head(target, count);                                                                \
            for (size_t i = 0; i < done; i++) target[i] = (value);                                             \
            for (; done + CSTREAM_BLOCK <= count; done += CSTREAM_BLOCK) {                                     \
                float block[CSTREAM_BLOCK];                                                                    \
                _Pragma("clang loop vectorize(assume_safety)") for (size_t j = 0; j < CSTREAM_BLOCK; j++) {    \
                    const size_t i = done + j;                                                                 \
                    block[j] = (value);                                                                        \
                }                                                                                              \
                cstream_write(block, target + done);                                                           \
            }                                                                                                  \
        }                                                                                                      \
        _Pragma("clang loop vectorize(assume_safety)") for (size_t i = done; i < count; i++)                   \
            target[i] = (value);                                                                               \
    } while (0)
