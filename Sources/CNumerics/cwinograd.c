#include "cwinograd.h"

#if defined(__x86_64__)

#include "cwinograd_tiles.h"

int cwinograd_is_available(void) { return blocks_are_available(); }

WIDE void cwinograd_transform_weights(
    const float *weights, size_t input_channels, size_t first, size_t count, size_t begin, size_t end,
    float *transformed, size_t step) {
    for (size_t c = begin; c < end; c++)
        for (size_t b = 0; b < count; b++) {
            const float *g = weights + ((first + b) * input_channels + c) * 9 * BLOCK;
            vec half[6][3];
            for (size_t j = 0; j < 3; j++) {
                vec column[3] = {load(g + j * BLOCK), load(g + (3 + j) * BLOCK), load(g + (6 + j) * BLOCK)};
                vec w[6];
                weight_column(column, 1, 1, w);
                for (size_t i = 0; i < 6; i++) half[i][j] = w[i];
            }
            for (size_t i = 0; i < 6; i++) {
                vec w[6];
                weight_column(half[i], 1, 1, w);
                for (size_t j = 0; j < 6; j++)
                    store(transformed + (i * 6 + j) * step + ((c - begin) * count + b) * BLOCK, w[j]);
            }
        }
}

INLINE void transform_tile(const float *d, size_t row, float *target, size_t step) {
    vec half[6][6];
    for (size_t j = 0; j < 6; j++) {
        const float *p = d + j * BLOCK;
        vec v[6];
        input_column(
            load(p), load(p + row), load(p + 2 * row), load(p + 3 * row), load(p + 4 * row), load(p + 5 * row), v);
        for (size_t i = 0; i < 6; i++) half[i][j] = v[i];
    }
    for (size_t i = 0; i < 6; i++) {
        vec v[6];
        input_column(half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5], v);
        for (size_t j = 0; j < 6; j++) store(target + (i * 6 + j) * step, v[j]);
    }
}

WIDE void cwinograd_transform_input(
    const float *source, const struct cwinograd_geometry *g, size_t first, size_t count, size_t first_block,
    size_t end_block, float *transformed, size_t step) {
    size_t row = g->width * BLOCK, plane = g->height * row;
    for (size_t t = 0; t < count; t++) {
        struct place place = place_of(first + t, g);
        int inside = is_inside(place, g);
        for (size_t b = first_block; b < end_block; b++) {
            const float *image = source + (place.image * g->input_blocks + b) * plane;
            float *target = transformed + (b * count + t) * BLOCK;
            if (inside) {
                transform_tile(image + ((place.y - g->top) * g->width + place.x - g->left) * BLOCK, row, target, step);
            } else {
                float window[6 * 6 * BLOCK] __attribute__((aligned(64)));
                for (size_t i = 0; i < 6; i++)
                    for (size_t j = 0; j < 6; j++) {
                        size_t y = place.y + i, x = place.x + j;
                        int is_image = y >= g->top && x >= g->left && y - g->top < g->height && x - g->left < g->width;
                        vec pixel = {0};
                        if (is_image) pixel = load(image + ((y - g->top) * g->width + x - g->left) * BLOCK);
                        store(window + (i * 6 + j) * BLOCK, pixel);
                    }
                transform_tile(window, 6 * BLOCK, target, step);
            }
        }
    }
}

// The product of `rows` tiles and `panel` blocks, both constants.
INLINE void multiply_tiles(
    const float *a, size_t step, const float *w, size_t blocks, size_t rows, size_t panel, int adds, float *z) {
    vec sums[MOST_ROWS][MOST_PANEL];
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < panel; p++) sums[r][p] = adds ? load(z + p * step + r * BLOCK) : (vec){0};
    multiply_rows(a, step, w, blocks * BLOCK, rows, panel, sums);
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < panel; p++) store(z + p * step + r * BLOCK, sums[r][p]);
}

#define TILES(n) \
    case n: multiply_tiles(a + t * BLOCK, step, w, blocks, n, panel, adds, z + t * BLOCK); break;

INLINE void multiply_panel(
    const float *a, const float *w, size_t blocks, size_t tiles, size_t panel, int adds, float *z) {
    size_t step = tiles * BLOCK, t = 0;
    for (; t + 6 <= tiles; t += 6) multiply_tiles(a + t * BLOCK, step, w, blocks, 6, panel, adds, z + t * BLOCK);
    switch (tiles - t) {
        TILES(5)
        TILES(4)
        TILES(3)
        TILES(2)
        TILES(1)
    }
}

WIDE void cwinograd_multiply(
    const float *input, size_t input_step, const float *weights, size_t weights_step, size_t blocks, size_t tiles,
    size_t panel, int adds, float *products, size_t products_step, struct cwinograd_ahead ahead) {
    for (size_t f = 0; f < FREQUENCIES; f++, input += input_step, weights += weights_step, products += products_step) {
        prefetch(ahead, f);
        switch (panel) {
        case 1: multiply_panel(input, weights, blocks, tiles, 1, adds, products); break;
        case 2: multiply_panel(input, weights, blocks, tiles, 2, adds, products); break;
        case 3: multiply_panel(input, weights, blocks, tiles, 3, adds, products); break;
        case 4: multiply_panel(input, weights, blocks, tiles, 4, adds, products); break;
        }
    }
}

WIDE void cwinograd_transform_output(
    const float *products, size_t step, const struct cwinograd_geometry *g, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const float *addend, float low, float high, float *target) {
    size_t row = g->output_width * BLOCK, plane = g->output_height * row;
    vec lowest = spread(low), highest = spread(high);
    for (size_t t = 0; t < count; t++) {
        struct place place = place_of(first + t, g);
        struct extent extent = extent_of(place, g);
        for (size_t p = 0; p < panel; p++) {
            size_t block = first_block + p;
            size_t offset = (place.image * g->output_blocks + block) * plane + extent.start;
            vec start = {0}, y[4][4];
            if (bias) start = load(bias + block * BLOCK);
            output_tile(products + (p * count + t) * BLOCK, step, -2.0f / 3, 1.0f / 6, y);
            for (size_t i = 0; i < extent.height; i++)
                for (size_t j = 0; j < extent.width; j++) {
                    size_t at = offset + i * row + j * BLOCK;
                    vec value = y[i][j] + start;
                    if (addend) value += load(addend + at);
                    store(target + at, clamp(value, lowest, highest));
                }
        }
    }
}

#else

int cwinograd_is_available(void) { return 0; }

#pragma clang diagnostic ignored "-Wunused-parameter"

// Nobody calls these where they are not available.

void cwinograd_transform_weights(
    const float *weights, size_t input_channels, size_t first, size_t count, size_t begin, size_t end,
    float *transformed, size_t step) { __builtin_trap(); }

void cwinograd_transform_input(
    const float *source, const struct cwinograd_geometry *geometry, size_t first, size_t count, size_t first_block,
    size_t end_block, float *transformed, size_t step) { __builtin_trap(); }

void cwinograd_multiply(
    const float *input, size_t input_step, const float *weights, size_t weights_step, size_t blocks, size_t tiles,
    size_t panel, int adds, float *products, size_t products_step, struct cwinograd_ahead ahead) { __builtin_trap(); }

void cwinograd_transform_output(
    const float *products, size_t step, const struct cwinograd_geometry *geometry, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const float *addend, float low, float high, float *target) { __builtin_trap(); }

#endif
