#include "cdepthwise.h"

#if defined(__x86_64__)

#include <string.h>

#include "cactivations.h"

int cdepthwise_is_available(void) { return blocks_are_available(); }

// The width of a row between zeros that stand for the padding.
static size_t padded_width(const struct cdepthwise_geometry *g) {
    size_t reach = (g->output_width - 1) * g->stride + g->size;
    return reach > g->left + g->width ? reach : g->left + g->width;
}

static size_t rows_for(const struct cdepthwise_geometry *g, size_t strip) { return (strip - 1) * g->stride + g->size; }

size_t cdepthwise_scratch(const struct cdepthwise_geometry *g, size_t panel, size_t strip) {
    return panel * rows_for(g, strip) * padded_width(g) * BLOCK;
}

WIDE static void activate(struct cdepthwise_activation activation, float *row, size_t count) {
    vec low = spread(activation.low), high = spread(activation.high);
    switch (activation.function) {
    case CDEPTHWISE_CLAMP:
        for (size_t i = 0; i < count; i++) store(row + i * BLOCK, clamp(load(row + i * BLOCK), low, high));
        break;
    case CDEPTHWISE_SWISH:
        for (size_t i = 0; i < count; i++) store(row + i * BLOCK, swish(load(row + i * BLOCK)));
        break;
    case CDEPTHWISE_HARDSWISH:
        for (size_t i = 0; i < count; i++) store(row + i * BLOCK, hardswish(load(row + i * BLOCK)));
        break;
    }
}

// `rows` neighbouring pixels, whose results go to places of their own.
INLINE void expand_pixels(
    const float *a, size_t block_step, const struct cdepthwise_expansion *e, size_t rows, size_t panel, float *z,
    const size_t *places, size_t panel_step) {
    vec sums[MOST_ROWS][MOST_PANEL];
    for (size_t p = 0; p < panel; p++)
        for (size_t r = 0; r < rows; r++) sums[r][p] = load(e->bias + p * BLOCK);
    multiply_rows(a, block_step, e->weights, e->channels, rows, panel, sums);
    for (size_t p = 0; p < panel; p++)
        for (size_t r = 0; r < rows; r++) store(z + p * panel_step + places[r], sums[r][p]);
}

#define PIXELS(n) \
    case n: expand_pixels(a, block_step, e, n, panel, z, places, panel_step); break;

// The pixels of whole rows of the image; the results lie in rows that are row_step apart.
INLINE void expand_panel(
    const float *a, size_t block_step, const struct cdepthwise_expansion *e, size_t width, size_t height, size_t panel,
    float *z, size_t row_step, size_t panel_step) {
    size_t x = 0, row = 0;
    for (size_t left = width * height; left > 0;) {
        size_t count = left < MOST_ROWS ? left : MOST_ROWS, places[MOST_ROWS];
        for (size_t r = 0; r < count; r++) {
            places[r] = row * row_step + x * BLOCK;
            if (++x == width) x = 0, row++;
        }
        switch (count) {
            PIXELS(6)
            PIXELS(5)
            PIXELS(4)
            PIXELS(3)
            PIXELS(2)
            PIXELS(1)
        }
        a += count * BLOCK;
        left -= count;
    }
}

// Rows y ..< end of the input image, expanded where that is wanted.
WIDE static void make_rows(
    const struct cdepthwise_geometry *g, const float *source, const struct cdepthwise_expansion *e, size_t panel,
    size_t y, size_t end, float *z, size_t row_step, size_t panel_step) {
    size_t block_step = g->height * g->width * BLOCK, height = end - y;
    const float *a = source + y * g->width * BLOCK;
    if (e) switch (panel) {
        case 1: expand_panel(a, block_step, e, g->width, height, 1, z, row_step, panel_step); break;
        case 2: expand_panel(a, block_step, e, g->width, height, 2, z, row_step, panel_step); break;
        case 3: expand_panel(a, block_step, e, g->width, height, 3, z, row_step, panel_step); break;
        case 4: expand_panel(a, block_step, e, g->width, height, 4, z, row_step, panel_step); break;
        }
    for (size_t p = 0; p < panel; p++)
        for (size_t r = 0; r < height; r++) {
            float *row = z + p * panel_step + r * row_step;
            if (e) activate(e->activation, row, g->width);
            else memcpy(row, a + p * block_step + r * g->width * BLOCK, g->width * BLOCK * sizeof(float));
        }
}

// `count` neighbouring pixels of the result from the rows top ..< bottom of the window. size, stride and count are
// constants.
INLINE void window_pixels(
    const float *rows, size_t row_step, const float *w, vec start, size_t top, size_t bottom, size_t size,
    size_t stride, size_t count, float *z) {
    vec sums[8];
    for (size_t u = 0; u < count; u++) sums[u] = start;
    for (size_t i = top; i < bottom; i++, rows += row_step)
        for (size_t j = 0; j < size; j++) {
            vec factor = load(w + (i * size + j) * BLOCK);
            for (size_t u = 0; u < count; u++) sums[u] += factor * load(rows + (u * stride + j) * BLOCK);
        }
    for (size_t u = 0; u < count; u++) store(z + u * BLOCK, sums[u]);
}

INLINE void window_row(
    const float *rows, size_t row_step, const float *w, vec start, size_t top, size_t bottom, size_t size,
    size_t stride, size_t width, float *z) {
    size_t x = 0;
    for (; x + 8 <= width; x += 8, rows += 8 * stride * BLOCK)
        window_pixels(rows, row_step, w, start, top, bottom, size, stride, 8, z + x * BLOCK);
    for (; x + 4 <= width; x += 4, rows += 4 * stride * BLOCK)
        window_pixels(rows, row_step, w, start, top, bottom, size, stride, 4, z + x * BLOCK);
    for (; x < width; x++, rows += stride * BLOCK)
        window_pixels(rows, row_step, w, start, top, bottom, size, stride, 1, z + x * BLOCK);
}

#define WINDOW(n, s) \
    case n * 2 + s: window_row(rows, row_step, w, load(bias), top, bottom, n, s, g->output_width, z); break;

WIDE static void slide(
    const struct cdepthwise_geometry *g, const float *rows, size_t row_step, const float *w, const float *bias,
    size_t top, size_t bottom, float *z) {
    switch (g->size * 2 + g->stride) {
        WINDOW(3, 1)
        WINDOW(3, 2)
        WINDOW(5, 1)
        WINDOW(5, 2)
        WINDOW(7, 1)
        WINDOW(7, 2)
    }
}

WIDE void cdepthwise_run(
    const struct cdepthwise_geometry *g, const float *source, const struct cdepthwise_expansion *expansion,
    const float *weights, const float *bias, struct cdepthwise_activation activation, size_t panel, size_t first,
    size_t end, size_t strip, float *scratch, float *target) {
    size_t row_step = padded_width(g) * BLOCK, panel_step = rows_for(g, strip) * row_step;
    memset(scratch, 0, panel * panel_step * sizeof(float));
    // The rows of the image that the scratch memory holds.
    size_t held = 0, held_end = 0;
    for (size_t start = first; start < end; start += strip) {
        size_t stop = start + strip < end ? start + strip : end;
        size_t from = start * g->stride > g->top ? start * g->stride - g->top : 0;
        size_t reach = (stop - 1) * g->stride + g->size;
        size_t to = reach <= g->top ? 0 : reach - g->top < g->height ? reach - g->top : g->height;
        if (from > to) from = to;
        if (held_end <= from) {
            held_end = from;
        } else if (from > held) {
            for (size_t p = 0; p < panel; p++) {
                float *plane = scratch + p * panel_step;
                memmove(plane, plane + (from - held) * row_step, (held_end - from) * row_step * sizeof(float));
            }
        }
        held = from;
        if (held_end < to)
            make_rows(
                g, source, expansion, panel, held_end, to, scratch + (held_end - held) * row_step + g->left * BLOCK,
                row_step, panel_step);
        held_end = to > held_end ? to : held_end;
        for (size_t y = start; y < stop; y++) {
            // The rows of the window that lie in the image.
            size_t origin = y * g->stride, top = origin < g->top ? g->top - origin : 0;
            size_t left_over = g->height + g->top > origin ? g->height + g->top - origin : 0;
            size_t bottom = left_over < g->size ? left_over : g->size;
            if (bottom < top) bottom = top;
            size_t row = bottom > top ? origin + top - g->top - held : 0;
            for (size_t p = 0; p < panel; p++) {
                float *z = target + (p * g->output_height + y) * g->output_width * BLOCK;
                slide(
                    g, scratch + p * panel_step + row * row_step, row_step, weights + p * g->size * g->size * BLOCK,
                    bias + p * BLOCK, top, bottom, z);
                activate(activation, z, g->output_width);
            }
        }
    }
}

#else

int cdepthwise_is_available(void) { return 0; }

#pragma clang diagnostic ignored "-Wunused-parameter"

// Nobody calls these where they are not available.

size_t cdepthwise_scratch(const struct cdepthwise_geometry *geometry, size_t panel, size_t strip) { __builtin_trap(); }

void cdepthwise_run(
    const struct cdepthwise_geometry *geometry, const float *source, const struct cdepthwise_expansion *expansion,
    const float *weights, const float *bias, struct cdepthwise_activation activation, size_t panel, size_t first,
    size_t end, size_t strip, float *scratch, float *target) { __builtin_trap(); }

#endif
