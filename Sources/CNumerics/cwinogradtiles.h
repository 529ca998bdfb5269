// What the forms of Winograd's algorithm share: the points, the transform of the input, and the places of tiles.
#pragma once

#include "cblocks.h"
#include "cwinograd.h"

enum { FREQUENCIES = CWINOGRAD_FREQUENCIES };

// The points at which the polynomials are evaluated: 0, infinity and these two with both signs. With them the largest
// error, measured against 64-bit arithmetic, is a third of that with 1 and 2.
#define NEAR 0.70710678f  // The square root of 1/2,
#define FAR 1.41421356f   // and of 2.

// One column of the input: v = B^T d.
INLINE void input_column(vec d0, vec d1, vec d2, vec d3, vec d4, vec d5, vec v[6]) {
    vec near = d4 - 2 * d2, near_odd = NEAR * (d3 - 2 * d1);
    vec far = d4 - 0.5f * d2, far_odd = FAR * (d3 - 0.5f * d1);
    v[0] = d0 - 2.5f * d2 + d4;
    v[1] = near + near_odd;
    v[2] = near - near_odd;
    v[3] = far + far_odd;
    v[4] = far - far_odd;
    v[5] = d1 - 2.5f * d3 + d5;
}

struct place {
    size_t image, y, x;
};

INLINE struct place place_of(size_t tile, const struct cwinograd_geometry *g) {
    size_t of_image = g->rows * g->columns, within = tile % of_image;
    return (struct place){
        tile / of_image, within / g->columns * CWINOGRAD_TILE, within % g->columns * CWINOGRAD_TILE};
}

// Whether the window of a tile lies in the image. The first pixel of a window may lie in the padding: positions are
// shifted by it.
INLINE int is_inside(struct place place, const struct cwinograd_geometry *g) {
    return place.y >= g->top && place.x >= g->left && place.y - g->top + 6 <= g->height
           && place.x - g->left + 6 <= g->width;
}

// The share of one frequency of what is read next.
INLINE void prefetch(struct cwinograd_ahead ahead, size_t f) {
    for (size_t b = 0; b < ahead.count; b++) {
        const char *start = (const char *)ahead.weights + b * ahead.step;
        for (size_t i = ahead.lines * f / FREQUENCIES; i < ahead.lines * (f + 1) / FREQUENCIES; i++)
            __builtin_prefetch(start + i * 64, 0, 2);
    }
}
