#include "crows.h"

#include "cclones.h"

#include <math.h>

#define EACH(i, n) _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < (n); i++)

// The forms that vectors have an instruction for; y where one is NaN.
#define GREATER(x, y) ((x) > (y) ? (x) : (y))
#define LESS(x, y) ((x) < (y) ? (x) : (y))

#define PLACE(condition)                                        \
    for (size_t p = 1; p < length; p++) {                       \
        const float *row = source + p * step;                   \
        const int place = (int)p;                               \
        EACH(i, width) {                                        \
            const float x = row[i], y = best[i];                \
            const int is_better = (condition);                  \
            best[i] = is_better ? x : y;                        \
            places[i] = is_better ? place : places[i];          \
        }                                                       \
    }

WIDE void crows_place_of_extreme(
    const float *source, size_t length, size_t step, size_t width, int is_maximum, int takes_last, float *best,
    int *places) {
    for (size_t i = 0; i < width; i++) {
        best[i] = source[i];
        places[i] = 0;
    }
    if (is_maximum && takes_last) {
        PLACE(x >= y)
    } else if (is_maximum) {
        PLACE(x > y)
    } else if (takes_last) {
        PLACE(x <= y)
    } else {
        PLACE(x < y)
    }
}

// A row is folded into so many results side by side, which become vectors.
#define LANES 64
// So many numbers of a row are looked at before the next; they are still in the cache when one is looked for among them.
#define PART 2048

// The greatest or least number that is not NaN.
#define FOLD(name, F, start)                                                        \
    ALWAYS_INLINE float name(const float *x, size_t n) {                            \
        float lanes[LANES];                                                         \
        for (int j = 0; j < LANES; j++) lanes[j] = start;                           \
        size_t i = 0;                                                               \
        for (; i + LANES <= n; i += LANES)                                          \
            for (int j = 0; j < LANES; j++) lanes[j] = F(x[i + j], lanes[j]);       \
        for (; i < n; i++) lanes[0] = F(x[i], lanes[0]);                            \
        for (int j = 1; j < LANES; j++) lanes[0] = F(lanes[j], lanes[0]);           \
        return lanes[0];                                                            \
    }

FOLD(greatest_of, GREATER, -INFINITY)
FOLD(least_of, LESS, INFINITY)

// So many numbers are looked at together.
#define SKIPPED 32

#define SKIP(is_beyond)                                                 \
    for (; i + SKIPPED <= length; i += SKIPPED) {                       \
        const float *part = row + i;                                    \
        int is_here = 0;                                                \
        for (int j = 0; j < SKIPPED; j++) is_here |= is_beyond(part[j]); \
        if (is_here) break;                                             \
    }                                                                   \
    for (; i < length; i++)                                             \
        if (is_beyond(row[i])) break;                                   \
    return i;

#define IS_ABOVE(x) !((x) <= bound)
#define IS_BELOW(x) !((x) >= bound)

WIDE size_t crows_skip(const float *row, size_t length, float bound, int above) {
    size_t i = 0;
    if (above) {
        SKIP(IS_ABOVE)
    }
    SKIP(IS_BELOW)
}

WIDE size_t crows_place_in_row(const float *row, size_t length, int is_maximum, int takes_last) {
    // Nothing is better than a NaN at the start.
    if (row[0] != row[0]) return 0;
    float best = row[0];
    size_t found = 0;
    for (size_t first = 0; first < length; first += PART) {
        const size_t n = length - first < PART ? length - first : PART;
        const float own = is_maximum ? greatest_of(row + first, n) : least_of(row + first, n);
        if (is_maximum ? own > best : own < best)
            found = first;
        else if (takes_last && own == best)
            found = first;
        else
            continue;
        best = own;
    }
    size_t end = length - found < PART ? length : found + PART;
    if (takes_last) {
        while (end > 0 && row[end - 1] != best) end--;
        return end > 0 ? end - 1 : 0;
    }
    for (; end - found >= LANES; found += LANES) {
        int is_here = 0;
        for (int j = 0; j < LANES; j++) is_here |= row[found + j] == best;
        if (is_here) break;
    }
    while (found < end && row[found] != best) found++;
    return found < length ? found : length - 1;
}

// The greatest or least number of a row, or NaN; the numbers that are not equal to themselves are found on the way.
#define EXTREME(F, start)                                                     \
    float lanes[LANES];                                                       \
    int nan[LANES];                                                           \
    for (int j = 0; j < LANES; j++) {                                         \
        lanes[j] = start;                                                     \
        nan[j] = 0;                                                           \
    }                                                                         \
    size_t i = 0;                                                             \
    for (; i + LANES <= length; i += LANES)                                   \
        for (int j = 0; j < LANES; j++) {                                     \
            lanes[j] = F(row[i + j], lanes[j]);                               \
            nan[j] |= row[i + j] != row[i + j];                               \
        }                                                                     \
    for (; i < length; i++) {                                                 \
        lanes[0] = F(row[i], lanes[0]);                                       \
        nan[0] |= row[i] != row[i];                                           \
    }                                                                         \
    for (int j = 1; j < LANES; j++) {                                         \
        lanes[0] = F(lanes[j], lanes[0]);                                     \
        nan[0] |= nan[j];                                                     \
    }                                                                         \
    return nan[0] ? NAN : lanes[0];

WIDE float crows_extreme(const float *row, size_t length, int is_maximum) {
    if (is_maximum) {
        EXTREME(GREATER, -INFINITY)
    }
    EXTREME(LESS, INFINITY)
}
