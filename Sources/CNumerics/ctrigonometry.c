#include "cvectormath.h"

#include "cclones.h"
#include "cstream.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

// So many numbers are looked at together.
#define BLOCK 512

// Up to here the multiple of pi / 2 next to a number has at most 20 bits, and its product with HALF_PI, which has 33, is
// exact. Larger numbers, infinities and NaN go through the C library.
#define LIMIT 1.0e6f
#define HALF_PI 0x1.921fb544p+0
#define HALF_PI_REST 0x1.0b4611a626331p-34

// sin(x + quarter pi / 2): what is left of x after the nearest multiple of pi / 2 goes into polynomials with the least
// largest relative error on -pi / 4 ... pi / 4.
ALWAYS_INLINE float sine_of(float x, int32_t quarter) {
    const double wide = x;
    const double sum = wide * 0.63661977236758134 + 6755399441055744.0;  // 1.5 * 2^52 rounds to an integer.
    const double multiple = sum - 6755399441055744.0;
    const float r = (float)((wide - multiple * HALF_PI) - multiple * HALF_PI_REST);
    quarter += (int32_t)multiple;
    const float u = r * r;
    const float odd = u * (-0.16666655242443085f + u * (0.008332177996635437f + u * -0.00019517235341481864f));
    // A zero keeps its sign.
    const float sine = r == 0.0f ? r : r + r * odd;
    const float even = 0.04166664555668831f + u * (-0.0013887315290048718f + u * 2.4433082217001356e-05f);
    const float cosine = 1.0f + u * (-0.5f + u * even);
    const float y = quarter & 1 ? cosine : sine;
    return quarter & 2 ? -y : y;
}

#define TRIGONOMETRIC(name, quarter, library)                                                   \
    WIDE void name(const float *source, float *target, size_t count, int streams) {             \
        for (size_t first = 0; first < count; first += BLOCK) {                                 \
            const size_t n = count - first < BLOCK ? count - first : BLOCK;                     \
            const float *x = source + first;                                                    \
            float *y = target + first;                                                          \
            if (cstream_reaches(x, n, LIMIT)) {                                                 \
                for (size_t i = 0; i < n; i++)                                                  \
                    y[i] = fabsf(x[i]) < LIMIT ? sine_of(x[i], quarter) : library(x[i]);        \
                continue;                                                                       \
            }                                                                                   \
            CSTREAM_EACH(y, n, streams, sine_of(x[i], quarter));                                \
        }                                                                                       \
    }

TRIGONOMETRIC(cvectormath_sin, 0, sinf)
TRIGONOMETRIC(cvectormath_cos, 1, cosf)
