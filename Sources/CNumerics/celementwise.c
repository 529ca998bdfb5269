#include "celementwise.h"

#include "cbfloat16.h"
#include "cclones.h"
#include "cstream.h"

// The result may be one of the operands, which no loop carries from one element to the next.
#define EACH _Pragma("clang loop vectorize(assume_safety) interleave(enable)") for (size_t i = 0; i < n; i++)

#define ADD(x, y) ((x) + (y))
#define SUB(x, y) ((x) - (y))
#define MUL(x, y) ((x) * (y))
#define DIV(x, y) ((x) / (y))
#define MAX(x, y) ((x) > (y) || (x) != (x) ? (x) : (y))
#define MIN(x, y) ((x) < (y) || (x) != (x) ? (x) : (y))

#define BINARY(name, F)                                                                                            \
    WIDE static void name(const float *a, int sa, const float *b, int sb, float *z, size_t n, int streams) {       \
        if (sa && sb) {                                                                                            \
            CSTREAM_EACH(z, n, streams, F(a[i], b[i]));                                                            \
        } else if (sa) {                                                                                           \
            const float y = *b;                                                                                    \
            CSTREAM_EACH(z, n, streams, F(a[i], y));                                                               \
        } else {                                                                                                   \
            const float x = *a;                                                                                    \
            CSTREAM_EACH(z, n, streams, F(x, b[i]));                                                               \
        }                                                                                                          \
    }

BINARY(add, ADD)
BINARY(subtract, SUB)
BINARY(multiply, MUL)
BINARY(divide, DIV)
BINARY(maximum, MAX)
BINARY(minimum, MIN)

void celementwise_binary(
    enum celementwise_operation operation, const float *a, int step_a, const float *b, int step_b, float *z, size_t n,
    int streams) {
    switch (operation) {
    case CELEMENTWISE_ADD: add(a, step_a, b, step_b, z, n, streams); break;
    case CELEMENTWISE_SUBTRACT: subtract(a, step_a, b, step_b, z, n, streams); break;
    case CELEMENTWISE_MULTIPLY: multiply(a, step_a, b, step_b, z, n, streams); break;
    case CELEMENTWISE_DIVIDE: divide(a, step_a, b, step_b, z, n, streams); break;
    case CELEMENTWISE_MAXIMUM: maximum(a, step_a, b, step_b, z, n, streams); break;
    case CELEMENTWISE_MINIMUM: minimum(a, step_a, b, step_b, z, n, streams); break;
    }
}

WIDE void celementwise_accumulate(
    const float *source, const float *next, float *totals, float *z, size_t n, int streams) {
    for (size_t i = 0; i < n; i += CSTREAM_LINE / sizeof *next) __builtin_prefetch(next + i);
    CSTREAM_EACH(z, n, streams, totals[i] += source[i]);
}

WIDE void celementwise_scale_rows(const float *x, const float *factors, float *z, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < 16; i++)
            z[r * 16 + i] = x[r * 16 + i] * factors[i];
}

WIDE void celementwise_shift_rows(const float *x, const float *addends, float *z, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < 16; i++)
            z[r * 16 + i] = x[r * 16 + i] + addends[i];
}

WIDE void celementwise_sum_rows(const float *x, float *sums, size_t rows) {
    // Four partial sums hide the latency of an addition.
    float part[64] = {0};
    size_t r = 0;
    for (; r + 4 <= rows; r += 4)
        for (size_t i = 0; i < 64; i++) part[i] += x[r * 16 + i];
    for (; r < rows; r++)
        for (size_t i = 0; i < 16; i++) part[i] += x[r * 16 + i];
    for (size_t i = 0; i < 16; i++) sums[i] = (part[i] + part[16 + i]) + (part[32 + i] + part[48 + i]);
}

ALWAYS_INLINE float widened(uint16_t x) {
    union { uint32_t bits; float number; } value = {bfloat16_widened(x)};
    return value.number;
}

ALWAYS_INLINE uint16_t rounded(float x) {
    union { float number; uint32_t bits; } value = {x};
    return bfloat16_rounded(value.bits);
}

WIDE void celementwise_rounded_binary(
    enum celementwise_operation operation, const uint16_t *a, const uint16_t *b, uint16_t *z, size_t n) {
    if (operation == CELEMENTWISE_ADD) {
        EACH z[i] = rounded(widened(a[i]) + widened(b[i]));
    } else {
        EACH z[i] = rounded(widened(a[i]) * widened(b[i]));
    }
}

WIDE void celementwise_rounded_rows(
    enum celementwise_operation operation, const uint16_t *x, const float *numbers, uint16_t *z, size_t rows) {
    for (size_t r = 0; r < rows; r++)
        _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < 16; i++) {
            float number = widened(x[r * 16 + i]);
            z[r * 16 + i] = rounded(operation == CELEMENTWISE_ADD ? number + numbers[i] : number * numbers[i]);
        }
}

WIDE void celementwise_sum_rounded_rows(const uint16_t *x, float *sums, size_t rows) {
    float part[64] = {0};
    size_t r = 0;
    for (; r + 4 <= rows; r += 4)
        for (size_t i = 0; i < 64; i++) part[i] += widened(x[r * 16 + i]);
    for (; r < rows; r++)
        for (size_t i = 0; i < 16; i++) part[i] += widened(x[r * 16 + i]);
    for (size_t i = 0; i < 16; i++) sums[i] = (part[i] + part[16 + i]) + (part[32 + i] + part[48 + i]);
}

WIDE void celementwise_add_rows(const float *source, size_t step, size_t rows, float *sums, size_t n) {
    size_t r = 0;
    for (; r + 8 <= rows; r += 8) {
        const float *x = source + r * step;
        EACH {
            float sum = sums[i];
            for (size_t k = 0; k < 8; k++) sum += x[k * step + i];
            sums[i] = sum;
        }
    }
    for (; r < rows; r++) {
        const float *x = source + r * step;
        EACH sums[i] += x[i];
    }
}
