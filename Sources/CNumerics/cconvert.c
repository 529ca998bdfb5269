#include "cconvert.h"

#include "cbfloat16.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx512dq", "avx2", "default")))
#else
#define WIDE
#endif

#define EACH _Pragma("clang loop vectorize(assume_safety) interleave(enable)") for (size_t i = 0; i < n; i++)

#define PLAIN(name, S, T)                                   \
    WIDE static void name(const S *x, T *y, size_t n) {     \
        EACH y[i] = (T)x[i];                                \
    }

#define FROM_INTEGER(prefix, S)             \
    PLAIN(prefix##_float, S, float)         \
    PLAIN(prefix##_double, S, double)       \
    PLAIN(prefix##_int8, S, int8_t)         \
    PLAIN(prefix##_uint8, S, uint8_t)       \
    PLAIN(prefix##_int32, S, int32_t)       \
    PLAIN(prefix##_int64, S, int64_t)       \
    TRUTH(prefix##_bool, S)

#define TRUTH(name, S)                                      \
    WIDE static void name(const S *x, uint8_t *y, size_t n) {  \
        EACH y[i] = x[i] != 0;                              \
    }

// Numbers within 32 bits are converted at once; the others, which are rare, one by one.
#define BLOCK 512

#define FROM_FLOATING_TO(name, S, T)                                                \
    WIDE static void name(const S *x, T *y, size_t n) {                             \
        for (size_t first = 0; first < n; first += BLOCK) {                         \
            const size_t end = n - first < BLOCK ? n : first + BLOCK;               \
            int outside = 0;                                                        \
            for (size_t i = first; i < end; i++)                                    \
                outside |= !(x[i] > (S)-2147483648.0 && x[i] < (S)2147483648.0);    \
            if (outside) {                                                          \
                for (size_t i = first; i < end; i++) y[i] = (T)whole(x[i]);         \
            } else {                                                                \
                for (size_t i = first; i < end; i++) y[i] = (T)(int32_t)x[i];       \
            }                                                                       \
        }                                                                           \
    }

static inline int64_t whole(double x) {
    if (x > -9.2e18 && x < 9.2e18) return (int64_t)x;
    return x != x ? 0 : x < 0 ? INT64_MIN : INT64_MAX;
}

#define FROM_FLOATING(prefix, S)                    \
    PLAIN(prefix##_float, S, float)                 \
    PLAIN(prefix##_double, S, double)               \
    FROM_FLOATING_TO(prefix##_int8, S, int8_t)      \
    FROM_FLOATING_TO(prefix##_uint8, S, uint8_t)    \
    FROM_FLOATING_TO(prefix##_int32, S, int32_t)    \
    FROM_FLOATING_TO(prefix##_int64, S, int64_t)    \
    TRUTH(prefix##_bool, S)

FROM_FLOATING(float, float)
FROM_FLOATING(double, double)
FROM_INTEGER(int8, int8_t)
FROM_INTEGER(uint8, uint8_t)
FROM_INTEGER(int32, int32_t)
FROM_INTEGER(int64, int64_t)

WIDE static void float_bfloat16(const uint32_t *x, uint16_t *y, size_t n) { EACH y[i] = bfloat16_rounded(x[i]); }

WIDE static void bfloat16_float(const uint16_t *x, uint32_t *y, size_t n) { EACH y[i] = bfloat16_widened(x[i]); }

#define CASE(to_code, name, S, T) \
    case to_code: name((const S *)source, (T *)target, count); return 1;

#define TARGETS(prefix, S)                                  \
    switch (to) {                                           \
        CASE(CCONVERT_FLOAT, prefix##_float, S, float)      \
        CASE(CCONVERT_DOUBLE, prefix##_double, S, double)   \
        CASE(CCONVERT_INT8, prefix##_int8, S, int8_t)       \
        CASE(CCONVERT_UINT8, prefix##_uint8, S, uint8_t)    \
        CASE(CCONVERT_INT32, prefix##_int32, S, int32_t)    \
        CASE(CCONVERT_INT64, prefix##_int64, S, int64_t)    \
        CASE(CCONVERT_BOOL, prefix##_bool, S, uint8_t)      \
    default: return 0;                                      \
    }

int cconvert(enum cconvert_type from, enum cconvert_type to, const void *source, void *target, size_t count) {
    switch (from) {
    case CCONVERT_FLOAT:
        if (to == CCONVERT_BFLOAT16) {
            float_bfloat16((const uint32_t *)source, (uint16_t *)target, count);
            return 1;
        }
        TARGETS(float, float)
    case CCONVERT_DOUBLE: TARGETS(double, double)
    case CCONVERT_INT8: TARGETS(int8, int8_t)
    case CCONVERT_UINT8: TARGETS(uint8, uint8_t)
    case CCONVERT_INT32: TARGETS(int32, int32_t)
    case CCONVERT_INT64: TARGETS(int64, int64_t)
    case CCONVERT_BFLOAT16:
        if (to != CCONVERT_FLOAT) return 0;
        bfloat16_float((const uint16_t *)source, (uint32_t *)target, count);
        return 1;
    default: return 0;
    }
}
