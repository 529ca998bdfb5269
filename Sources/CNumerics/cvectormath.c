#include "cvectormath.h"

#include "cclones.h"
#include "cstream.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

ALWAYS_INLINE int32_t bits_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

ALWAYS_INLINE float float_of(int32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// With x = 2^k m and m near 1, log x = k log 2 + log m; log m comes from the series of the inverse hyperbolic tangent in
// s = f / (2 + f), f = m - 1, with minimax coefficients. Source: P. T. P. Tang, "Table-driven implementation of the
// logarithm function in IEEE floating-point arithmetic" (1990), and the coefficients of FreeBSD's msun for binary32.
ALWAYS_INLINE float log_finite(float x) {
    const int32_t middle = 0x3F3504F3;  // The square root of one half.
    int is_small = x < 1.17549435e-38f;
    float scaled = is_small ? x * 33554432.0f : x;
    int32_t shifted = bits_of(scaled) - middle;
    int32_t exponent = shifted >> 23;
    float m = float_of((shifted & 0x007FFFFF) + middle);
    float k = (float)exponent - (is_small ? 25.0f : 0.0f);
    float f = m - 1.0f;
    float s = f / (2.0f + f);
    float z = s * s;
    float series = z * (0.66666662693f + z * (0.40000972152f + z * (0.28498786688f + z * 0.24279078841f)));
    float half = 0.5f * f * f;
    return k * 0.69313812256f - ((half - (s * (half + series) + k * 9.0580006145e-06f)) - f);
}

ALWAYS_INLINE float log_of(float x) {
    float y = log_finite(x);
    y = x == INFINITY ? INFINITY : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

// exp x for x in [-104, 89]: 2^k times a polynomial in what is left of x.
ALWAYS_INLINE float exp_within(float x) {
    float k = x * 1.44269504f;
    k = (k + 12582912.0f) - 12582912.0f;  // Rounds to an integer.
    float r = (x - k * 0.693145752f) - k * 1.42860677e-06f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // Two factors, because the result may lie below the normal numbers.
    int32_t first = (int32_t)k >> 1;
    int32_t second = (int32_t)k - first;
    return p * float_of((first + 127) << 23) * float_of((second + 127) << 23);
}

// The same within a unit for x in [-86, 86], where the result and what it is made of are normal numbers: the power of two
// is added to the bits. Coefficients with the least largest relative error.
#define EXP_LIMIT 86.0f
ALWAYS_INLINE float exp_normal(float x) {
    const float t = x * 1.44269504f + 12582912.0f;  // Rounds to an integer, which the low bits are.
    const float k = t - 12582912.0f;
    const float r = (x - k * 0.693145752f) - k * 1.42860677e-06f;
    float p = 1.3814010890200734e-03f;
    p = p * r + 8.369000628590584e-03f;
    p = p * r + 4.166841506958008e-02f;
    p = p * r + 1.66665181517601e-01f;
    p = p * r + 4.999999403953552e-01f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return float_of((int32_t)((uint32_t)bits_of(p) + ((uint32_t)bits_of(t) << 23)));
}

ALWAYS_INLINE float softplus_of(float x) {
    float size = fabsf(x);
    float y = exp_within(size < 104.0f ? -size : -104.0f);
    // log(1 + y) with what the sum rounds away.
    float sum = 1.0f + y;
    float rest = (y - (sum - 1.0f)) / sum;
    float result = (x > 0.0f ? x : 0.0f) + (log_finite(sum) + rest);
    return x == x ? result : x;
}

// Not for NaN. Up to 1 a polynomial in x^2 times x, beyond it 1 - exp(polynomial in x), fitted to the function with the least largest
// relative error; from 4 on the result is 1.
ALWAYS_INLINE float erf_of(float x) {
    float size = fabsf(x);
    float u = size < 1.0f ? x * x : 1.0f;
    float p = 7.853857824e-05f;
    p = p * u - 8.010192541e-04f;
    p = p * u + 5.188327748e-03f;
    p = p * u - 2.685381100e-02f;
    p = p * u + 1.128358543e-01f;
    p = p * u - 3.761262596e-01f;
    p = p * u + 1.128379107e+00f;
    float v = size < 4.0f ? size : 4.0f;  // 4 for NaN.
    float q = -2.169763866e-05f;
    q = q * v + 4.414729192e-04f;
    q = q * v - 4.205286037e-03f;
    q = q * v + 2.521034144e-02f;
    q = q * v - 1.084221005e-01f;
    q = q * v - 6.332163811e-01f;
    q = q * v - 1.129580259e+00f;
    q = q * v + 1.884676913e-04f;
    return copysignf(size < 1.0f ? size * p : 1.0f - exp_normal(q), x);
}

#define MAP(name, function)                                                                            \
    WIDE void name(const float *source, float *target, size_t count, int streams) {                    \
        CSTREAM_EACH(target, count, streams, function(source[i]));                                     \
    }

ALWAYS_INLINE float exp_of(float x) {
    const float held = x > -104.0f ? x : -104.0f;
    const float y = exp_within(held < 89.0f ? held : 89.0f);
    return x != x ? x : y;
}

ALWAYS_INLINE float sigmoid_of(float x) {
    const float size = fabsf(x);
    const float e = exp_within(size < 104.0f ? -size : -104.0f);
    const float y = (x < 0.0f ? e : 1.0f) / (1.0f + e);
    return x != x ? x : y;
}

ALWAYS_INLINE float sigmoid_normal(float x) {
    const float e = exp_normal(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// -m / (m + 2) with m = exp(-2 |x|) - 1, which is exact near 0 too, where exp would round it away. Not for NaN.
ALWAYS_INLINE float tanh_of(float x) {
    const float size = fabsf(x);
    const float w = size < 20.0f ? -2.0f * size : -40.0f;
    const float t = w * 1.44269504f + 12582912.0f;  // As in exp_normal.
    const float k = t - 12582912.0f;
    const float r = (w - k * 0.693145752f) - k * 1.42860677e-06f;
    float p = 1.3814010890200734e-03f;
    p = p * r + 8.369000628590584e-03f;
    p = p * r + 4.166841506958008e-02f;
    p = p * r + 1.66665181517601e-01f;
    p = p * r + 4.999999403953552e-01f;
    p = r + r * (r * p);
    const float scale = float_of((int32_t)(0x3F800000u + ((uint32_t)bits_of(t) << 23)));
    const float m = p * scale + (scale - 1.0f);
    return copysignf(m / (m + 2.0f), x);
}

ALWAYS_INLINE float erf_or_nan(float x) { return x != x ? x : erf_of(x); }
ALWAYS_INLINE float tanh_or_nan(float x) { return x != x ? x : tanh_of(x); }

// So many numbers are looked at before the way to compute them is chosen.
#define PART 512

// `usual` where all numbers of a part are smaller than a limit, `any` where not.
#define MAP_WITHIN(name, usual, any, limit)                                                            \
    WIDE void name(const float *source, float *target, size_t count, int streams) {                    \
        for (size_t first = 0; first < count; first += PART) {                                         \
            const size_t n = count - first < PART ? count - first : PART;                              \
            const float *x = source + first;                                                           \
            float *y = target + first;                                                                 \
            if (cstream_reaches(x, n, limit)) {                                                        \
                CSTREAM_EACH(y, n, streams, any(x[i]));                                                \
            } else {                                                                                   \
                CSTREAM_EACH(y, n, streams, usual(x[i]));                                              \
            }                                                                                          \
        }                                                                                              \
    }

ALWAYS_INLINE float negated(float x) { return -x; }
ALWAYS_INLINE float reciprocal_of(float x) { return 1.0f / x; }

MAP(cvectormath_log, log_of)
MAP(cvectormath_softplus, softplus_of)
MAP_WITHIN(cvectormath_erf, erf_of, erf_or_nan, INFINITY)
MAP_WITHIN(cvectormath_exp, exp_normal, exp_of, EXP_LIMIT)
MAP_WITHIN(cvectormath_sigmoid, sigmoid_normal, sigmoid_of, EXP_LIMIT)
MAP_WITHIN(cvectormath_tanh, tanh_of, tanh_or_nan, INFINITY)
MAP(cvectormath_sqrt, __builtin_elementwise_sqrt)
MAP(cvectormath_negate, negated)
MAP(cvectormath_absolute, fabsf)
MAP(cvectormath_floor, __builtin_floorf)
MAP(cvectormath_ceil, __builtin_ceilf)
MAP(cvectormath_round, __builtin_rintf)
MAP(cvectormath_reciprocal, reciprocal_of)

ALWAYS_INLINE float sloped(float x, float slope) {
    // A slope of 0 times an infinity would be NaN.
    const float below = slope == 0.0f ? 0.0f : x * slope;
    return x < 0.0f ? below : x;
}

ALWAYS_INLINE float clipped(float x, float low, float high) {
    const float raised = x < low ? low : x;
    return raised > high ? high : raised;
}

WIDE void cvectormath_slope(
    const float *source, float slope, float *target, size_t count, int streams) {
    CSTREAM_EACH(target, count, streams, sloped(source[i], slope));
}

WIDE void cvectormath_clip(
    const float *source, float low, float high, float *target, size_t count, int streams) {
    CSTREAM_EACH(target, count, streams, clipped(source[i], low, high));
}

// A row is folded into so many results side by side, which become vectors.
#define LANES 32

ALWAYS_INLINE float largest_of(const float *x, size_t n) {
    float lanes[LANES];
    for (int j = 0; j < LANES; j++) lanes[j] = -INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] = x[i + j] > lanes[j] || x[i + j] != x[i + j] ? x[i + j] : lanes[j];
    for (; i < n; i++) lanes[0] = x[i] > lanes[0] || x[i] != x[i] ? x[i] : lanes[0];
    float largest = lanes[0];
    for (int j = 1; j < LANES; j++) largest = lanes[j] > largest || lanes[j] != lanes[j] ? lanes[j] : largest;
    return largest;
}

// What a row that holds a NaN, an infinity or nothing but negative infinities gives.
static void softmax_of_special_row(const float *x, float *y, size_t n, float largest, int is_logarithm) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += expf(x[i] - largest);
    for (size_t i = 0; i < n; i++) y[i] = is_logarithm ? x[i] - largest - logf(sum) : expf(x[i] - largest) / sum;
}

// Below this the power of a number is no normal one, and counts as zero.
#define LEAST_POWER -86.0f

ALWAYS_INLINE float power_below(float below) {
    const float y = exp_normal(below > LEAST_POWER ? below : LEAST_POWER);
    return below > LEAST_POWER ? y : 0.0f;
}

// The longest row whose powers are kept beside the result, which is then written once.
#define KEPT 4096

// Keeps the powers of a row, where they are wanted, and gives their sum.
ALWAYS_INLINE float sum_of_powers(const float *x, size_t length, float largest, float *powers, int keeps) {
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= length; i += LANES) {
        // The next row is fetched while this one is computed.
        for (int line = 0; line < LANES; line += 16) __builtin_prefetch(x + length + i + line);
        float part[LANES];
        for (int j = 0; j < LANES; j++) part[j] = power_below(x[i + j] - largest);
        for (int j = 0; j < LANES; j++) lanes[j] += part[j];
        if (keeps) memcpy(powers + i, part, sizeof part);
    }
    for (; i < length; i++) {
        const float power = power_below(x[i] - largest);
        lanes[0] += power;
        if (keeps) powers[i] = power;
    }
    float sum = 0;
    for (int j = 0; j < LANES; j++) sum += lanes[j];
    return sum;
}

WIDE void cvectormath_softmax(
    const float *source, float *target, size_t rows, size_t length, int is_logarithm, int streams) {
    float kept[KEPT];
    const int is_kept = streams && length <= KEPT;
    for (size_t row = 0; row < rows; row++) {
        const float *x = source + row * length;
        float *y = target + row * length;
        const float largest = largest_of(x, length);
        if (!(largest > -INFINITY && largest < INFINITY)) {
            softmax_of_special_row(x, y, length, largest, is_logarithm);
        } else if (is_logarithm) {
            const float shift = logf(sum_of_powers(x, length, largest, NULL, 0));
            CSTREAM_EACH(y, length, is_kept, x[i] - largest - shift);
        } else {
            float *powers = is_kept ? kept : y;
            const float factor = 1.0f / sum_of_powers(x, length, largest, powers, 1);
            CSTREAM_EACH(y, length, is_kept, powers[i] * factor);
        }
    }
}
