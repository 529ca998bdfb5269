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

// One column of the weights: w = G g, where the rows of NEAR and FAR have these factors instead of -2 / 3 and 1 / 6.
INLINE void weight_column(const vec g[3], float near_factor, float far_factor, vec w[6]) {
    vec near = (g[0] + 0.5f * g[2]) * near_factor, near_odd = NEAR * near_factor * g[1];
    vec far = (g[0] + 2.0f * g[2]) * far_factor, far_odd = FAR * far_factor * g[1];
    w[0] = g[0];
    w[1] = near + near_odd;
    w[2] = near - near_odd;
    w[3] = far + far_odd;
    w[4] = far - far_odd;
    w[5] = g[2];
}

// One column of the output: y = A^T m, with what the factors of the weights left of -2 / 3 and 1 / 6.
INLINE void output_column(
    vec m0, vec m1, vec m2, vec m3, vec m4, vec m5, float near_rest, float far_rest, vec y[4]) {
    vec near = m1 + m2, near_odd = m1 - m2, far = m3 + m4, far_odd = m3 - m4;
    y[0] = m0 + near_rest * near + far_rest * far;
    y[1] = NEAR * near_rest * near_odd + FAR * far_rest * far_odd;
    y[2] = near_rest / 2 * near + far_rest * 2 * far;
    y[3] = NEAR * near_rest / 2 * near_odd + FAR * far_rest * 2 * far_odd + m5;
}

// An output tile of what each frequency, `step` apart, has for it.
INLINE void output_tile(const float *m, size_t step, float near_rest, float far_rest, vec y[4][4]) {
    vec half[4][6];
    for (size_t j = 0; j < 6; j++, m += step) {
        vec column[4];
        output_column(
            load(m), load(m + 6 * step), load(m + 12 * step), load(m + 18 * step), load(m + 24 * step),
            load(m + 30 * step), near_rest, far_rest, column);
        for (size_t i = 0; i < 4; i++) half[i][j] = column[i];
    }
    for (size_t i = 0; i < 4; i++)
        output_column(
            half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5], near_rest, far_rest, y[i]);
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

// The part of a tile that lies in the output image, and where it starts in a block of the output.
struct extent {
    size_t height, width, start;
};

INLINE struct extent extent_of(struct place place, const struct cwinograd_geometry *g) {
    size_t height = g->output_height - place.y, width = g->output_width - place.x;
    return (struct extent){
        height < CWINOGRAD_TILE ? height : CWINOGRAD_TILE, width < CWINOGRAD_TILE ? width : CWINOGRAD_TILE,
        (place.y * g->output_width + place.x) * BLOCK};
}
