#include "cdepthwise.h"

#if defined(__x86_64__)

#include <string.h>

#include "cactivations.h"
#include "crounded.h"

// Rows of the image lie in pairs, (0, 1), (2, 3) and so on, with the two numbers of a channel beside each other: one
// instruction multiplies both by the weights of two rows of the window.
enum { PAIRED = 2 * BLOCK };

// The pixels of a row that are expanded at once, few enough for the nearest cache; a multiple of MOST_ROWS.
enum { SPAN = 24 };

int cdepthwise_rounds(void) { return cdepthwise_is_available() && __builtin_cpu_supports("avx512bf16"); }

static size_t pairs_of(size_t size) { return (size + 1) / 2; }

size_t cdepthwise_pair_count(size_t size) { return 2 * pairs_of(size) * size * PAIRED; }

WIDE_ROUNDED void cdepthwise_pair_weights(const float *weights, size_t size, uint16_t *pairs) {
    for (size_t odd = 0; odd < 2; odd++)
        for (size_t k = 0; k < pairs_of(size); k++)
            for (size_t j = 0; j < size; j++, pairs += PAIRED) {
                // The rows of the window that fall on the two rows of the pair.
                size_t upper = 2 * k - odd, lower = upper + 1;
                vec a = {0}, b = {0};
                if (upper < size) a = load(weights + (upper * size + j) * BLOCK);
                if (lower < size) b = load(weights + (lower * size + j) * BLOCK);
                *(pairs16 *)pairs = pair(a, b);
            }
}

static size_t padded_width(const struct cdepthwise_geometry *g) {
    size_t reach = (g->output_width - 1) * g->stride + g->size;
    return reach > g->left + g->width ? reach : g->left + g->width;
}

// The pairs that the windows of `strip` rows of the result touch.
static size_t pairs_for(const struct cdepthwise_geometry *g, size_t strip) {
    return ((strip - 1) * g->stride + g->size) / 2 + 1;
}

size_t cdepthwise_rounded_scratch(const struct cdepthwise_geometry *g, size_t panel, size_t strip) {
    size_t width = g->width < SPAN ? g->width : SPAN;
    size_t row = panel * 2 * width > g->output_width ? panel * 2 * width : g->output_width;
    return (panel * pairs_for(g, strip) * padded_width(g) + row) * BLOCK;
}

// Within 1.4e-4 of the result, a tenth of what rounding it to bfloat16 costs.
INLINE vec rough_swish(vec x) {
    vec exponent = x * -1.44269504f;
    // The part that is left when the exponent is rounded down, as scalef does.
    vec f = (vec)_mm512_reduce_ps((__m512)exponent, 1);
    vec p = 0.999925196f + f * (0.695833504f + f * (0.226067170f + f * 0.078024521f));
    vec sum = 1.0f + (vec)_mm512_scalef_ps((__m512)p, (__m512)exponent);
    return x * (vec)_mm512_rcp14_ps((__m512)sum);
}

INLINE vec activated(struct cdepthwise_activation activation, vec x) {
    switch (activation.function) {
    case CDEPTHWISE_SWISH: return rough_swish(x);
    case CDEPTHWISE_HARDSWISH: return hardswish(x);
    default: return clamp(x, spread(activation.low), spread(activation.high));
    }
}

// Neighbouring pixels of one or two rows.
INLINE_ROUNDED void expand_pixels(
    const uint16_t *a, size_t block_step, const struct cdepthwise_rounded_expansion *e, size_t rows, size_t panel,
    float *z, size_t panel_step) {
    vec sums[MOST_ROWS][MOST_PANEL];
    UNROLLED for (size_t p = 0; p < panel; p++)
        UNROLLED for (size_t r = 0; r < rows; r++) sums[r][p] = load(e->bias + p * BLOCK);
    multiply_rounded_rows(a, block_step, e->weights, e->channels, rows, panel, sums);
    UNROLLED for (size_t p = 0; p < panel; p++)
        UNROLLED for (size_t r = 0; r < rows; r++) store(z + p * panel_step + r * BLOCK, sums[r][p]);
}

#define PIXELS(n) \
    case n: expand_pixels(a, block_step, e, n, panel, z, panel_step); break;

INLINE_ROUNDED void expand_panel(
    const uint16_t *a, size_t block_step, const struct cdepthwise_rounded_expansion *e, size_t count, size_t panel,
    float *z, size_t panel_step) {
    for (; count >= 6; count -= 6, a += 6 * BLOCK, z += 6 * BLOCK)
        expand_pixels(a, block_step, e, 6, panel, z, panel_step);
    switch (count) {
        PIXELS(5)
        PIXELS(4)
        PIXELS(3)
        PIXELS(2)
        PIXELS(1)
    }
}

// Rounds two rows into pairs; lower is NULL where the image has an odd number of rows. The function is a constant.
INLINE_ROUNDED void pack_rows(
    struct cdepthwise_activation activation, const float *upper, const float *lower, size_t width, uint16_t *z) {
    for (size_t x = 0; x < width; x++) {
        vec b = {0};
        if (lower) b = activated(activation, load(lower + x * BLOCK));
        *(pairs16 *)(z + x * PAIRED) = pair(activated(activation, load(upper + x * BLOCK)), b);
    }
}

#define FUNCTION(name) \
    case name: activation.function = name; pack_rows(activation, upper, lower, width, z); break;

WIDE_ROUNDED static void pack(
    struct cdepthwise_activation activation, const float *upper, const float *lower, size_t width, uint16_t *z) {
    switch (activation.function) {
        FUNCTION(CDEPTHWISE_CLAMP)
        FUNCTION(CDEPTHWISE_SWISH)
        FUNCTION(CDEPTHWISE_HARDSWISH)
    }
}

// Two rows of numbers as pairs, and nothing in the place of the second where it is NULL.
WIDE_ROUNDED static void interleave(const uint16_t *upper, const uint16_t *lower, size_t width, uint16_t *z) {
    for (size_t x = 0; x < width; x++) {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(upper + x * BLOCK)));
        __m512i high = _mm512_setzero_si512();
        if (lower) high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(lower + x * BLOCK)));
        *(pairs16 *)(z + x * PAIRED) = (pairs16)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    }
}

#define EXPAND(n) \
    case n: expand_panel(a, block_step, e, count, n, z, panel_step); break;

WIDE_ROUNDED static void expand(
    const uint16_t *a, size_t block_step, const struct cdepthwise_rounded_expansion *e, size_t count, size_t panel,
    float *z, size_t panel_step) {
    switch (panel) {
        EXPAND(1)
        EXPAND(2)
        EXPAND(3)
        EXPAND(4)
    }
}

// One or two rows of the image, expanded, as pairs.
WIDE_ROUNDED static void expand_pairs(
    const struct cdepthwise_geometry *g, const uint16_t *a, const struct cdepthwise_rounded_expansion *e, size_t panel,
    size_t height, float *rows, uint16_t *z, size_t panel_step) {
    size_t plane = g->height * g->width * BLOCK;
    for (size_t x = 0; x < g->width; x += SPAN) {
        size_t count = g->width - x < SPAN ? g->width - x : SPAN, step = 2 * count * BLOCK;
        const uint16_t *upper = a + x * BLOCK;
        if (count == g->width) {
            expand(upper, plane, e, height * count, panel, rows, step);
        } else {
            expand(upper, plane, e, count, panel, rows, step);
            if (height == 2) expand(upper + g->width * BLOCK, plane, e, count, panel, rows + count * BLOCK, step);
        }
        for (size_t p = 0; p < panel; p++) {
            const float *row = rows + p * step;
            pack(e->activation, row, height == 2 ? row + count * BLOCK : NULL, count, z + p * panel_step + x * PAIRED);
        }
    }
}

// Pairs begin ..< end of rows of the image.
WIDE_ROUNDED static void make_pairs(
    const struct cdepthwise_geometry *g, const uint16_t *source, const struct cdepthwise_rounded_expansion *e,
    size_t panel, size_t begin, size_t end, float *rows, uint16_t *z, size_t pair_step, size_t panel_step) {
    size_t plane = g->height * g->width * BLOCK, row = g->width * BLOCK;
    for (size_t k = begin; k < end; k++, z += pair_step) {
        size_t height = 2 * k + 2 <= g->height ? 2 : 1;
        const uint16_t *a = source + 2 * k * row;
        if (e) {
            expand_pairs(g, a, e, panel, height, rows, z, panel_step);
        } else {
            for (size_t p = 0; p < panel; p++, a += plane)
                interleave(a, height == 2 ? a + row : NULL, g->width, z + p * panel_step);
        }
    }
}

// `count` neighbouring pixels of the result from the pairs top ..< bottom of the window. size, stride and count are
// constants.
INLINE_ROUNDED void window_pixels(
    const uint16_t *rows, size_t pair_step, const uint16_t *w, vec start, size_t top, size_t bottom, size_t size,
    size_t stride, size_t count, float *z) {
    vec sums[8];
    UNROLLED for (size_t u = 0; u < count; u++) sums[u] = start;
    for (size_t k = top; k < bottom; k++, rows += pair_step)
        for (size_t j = 0; j < size; j++) {
            pairs16 factor = load_pairs(w + (k * size + j) * PAIRED);
            UNROLLED for (size_t u = 0; u < count; u++)
                sums[u] = add_products(sums[u], load_pairs(rows + (u * stride + j) * PAIRED), factor);
        }
    UNROLLED for (size_t u = 0; u < count; u++) store(z + u * BLOCK, sums[u]);
}

INLINE_ROUNDED void window_row(
    const uint16_t *rows, size_t pair_step, const uint16_t *w, vec start, size_t top, size_t bottom, size_t size,
    size_t stride, size_t width, float *z) {
    size_t x = 0;
    for (; x + 8 <= width; x += 8, rows += 8 * stride * PAIRED)
        window_pixels(rows, pair_step, w, start, top, bottom, size, stride, 8, z + x * BLOCK);
    for (; x + 4 <= width; x += 4, rows += 4 * stride * PAIRED)
        window_pixels(rows, pair_step, w, start, top, bottom, size, stride, 4, z + x * BLOCK);
    for (; x < width; x++, rows += stride * PAIRED)
        window_pixels(rows, pair_step, w, start, top, bottom, size, stride, 1, z + x * BLOCK);
}

#define WINDOW(n, s) \
    case n * 2 + s: window_row(rows, pair_step, w, load(bias), top, bottom, n, s, g->output_width, z); break;

WIDE_ROUNDED static void slide(
    const struct cdepthwise_geometry *g, const uint16_t *rows, size_t pair_step, const uint16_t *w, const float *bias,
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

INLINE_ROUNDED void finish(
    struct cdepthwise_activation activation, const float *sums, size_t width, int rounds, void *target) {
    for (size_t x = 0; x < width; x++) {
        vec value = activated(activation, load(sums + x * BLOCK));
        if (rounds) store_rounded((uint16_t *)target + x * BLOCK, value);
        else store((float *)target + x * BLOCK, value);
    }
}

#undef FUNCTION
#define FUNCTION(name)                                                 \
    case name:                                                         \
        activation.function = name;                                    \
        if (rounds) finish(activation, sums, width, 1, target);        \
        else finish(activation, sums, width, 0, target);               \
        break;

WIDE_ROUNDED static void finish_row(
    struct cdepthwise_activation activation, const float *sums, size_t width, int rounds, void *target) {
    switch (activation.function) {
        FUNCTION(CDEPTHWISE_CLAMP)
        FUNCTION(CDEPTHWISE_SWISH)
        FUNCTION(CDEPTHWISE_HARDSWISH)
    }
}

WIDE_ROUNDED void cdepthwise_run_rounded(
    const struct cdepthwise_geometry *g, const uint16_t *source,
    const struct cdepthwise_rounded_expansion *expansion, const uint16_t *pairs, const float *bias,
    struct cdepthwise_activation activation, size_t panel, size_t first, size_t end, size_t strip, float *scratch,
    int rounds, void *target) {
    size_t pair_step = padded_width(g) * PAIRED, panel_step = pairs_for(g, strip) * pair_step;
    size_t weight_step = cdepthwise_pair_count(g->size), width = rounds ? sizeof(uint16_t) : sizeof(float);
    uint16_t *plane = (uint16_t *)scratch;
    float *rows = scratch + panel * panel_step / 2;
    memset(plane, 0, panel * panel_step * sizeof(uint16_t));
    // The pairs of rows of the image that the scratch memory holds.
    size_t held = 0, held_end = 0, image_end = (g->height + 1) / 2;
    for (size_t start = first; start < end; start += strip) {
        size_t stop = start + strip < end ? start + strip : end;
        size_t from = start * g->stride > g->top ? (start * g->stride - g->top) / 2 : 0;
        size_t reach = (stop - 1) * g->stride + g->size;
        size_t to = reach <= g->top ? 0 : (reach - g->top + 1) / 2;
        if (to > image_end) to = image_end;
        if (from > to) from = to;
        if (held_end <= from) {
            held_end = from;
        } else if (from > held) {
            for (size_t p = 0; p < panel; p++) {
                uint16_t *moved = plane + p * panel_step;
                memmove(moved, moved + (from - held) * pair_step, (held_end - from) * pair_step * sizeof(uint16_t));
            }
        }
        held = from;
        if (held_end < to)
            make_pairs(
                g, source, expansion, panel, held_end, to, rows, plane + (held_end - held) * pair_step + g->left * PAIRED,
                pair_step, panel_step);
        held_end = to > held_end ? to : held_end;
        for (size_t y = start; y < stop; y++) {
            // The pair that the window begins in, counted from one above the image, and the pairs that lie in it.
            size_t lift = g->top + (g->top & 1), origin = y * g->stride + lift - g->top, odd = origin & 1;
            size_t above = lift / 2, begin = origin / 2, count = pairs_of(g->size);
            size_t top = begin < above ? above - begin : 0;
            size_t bottom = image_end + above > begin ? image_end + above - begin : 0;
            if (bottom > count) bottom = count;
            if (bottom < top) bottom = top;
            size_t row = bottom > top ? begin + top - above - held : 0;
            for (size_t p = 0; p < panel; p++) {
                slide(
                    g, plane + p * panel_step + row * pair_step, pair_step,
                    pairs + p * weight_step + odd * weight_step / 2, bias + p * BLOCK, top, bottom, rows);
                char *z = (char *)target + (p * g->output_height + y) * g->output_width * BLOCK * width;
                finish_row(activation, rows, g->output_width, rounds, z);
            }
        }
    }
}

#else

int cdepthwise_rounds(void) { return 0; }

#pragma clang diagnostic ignored "-Wunused-parameter"

// Nobody calls these where they are not available.

size_t cdepthwise_pair_count(size_t size) { __builtin_trap(); }

void cdepthwise_pair_weights(const float *weights, size_t size, uint16_t *pairs) { __builtin_trap(); }

size_t cdepthwise_rounded_scratch(const struct cdepthwise_geometry *geometry, size_t panel, size_t strip) {
    __builtin_trap();
}

void cdepthwise_run_rounded(
    const struct cdepthwise_geometry *geometry, const uint16_t *source,
    const struct cdepthwise_rounded_expansion *expansion, const uint16_t *pairs, const float *bias,
    struct cdepthwise_activation activation, size_t panel, size_t first, size_t end, size_t strip, float *scratch,
    int rounds, void *target) { __builtin_trap(); }

#endif
