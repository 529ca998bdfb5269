#include "cwinograd.h"

#if defined(__x86_64__)

#include "crounded.h"
#include "cwinograd_tiles.h"

#define WIDE_INTEGER \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx512vnni,fma")))
#define INLINE_INTEGER WIDE_INTEGER static inline __attribute__((always_inline))

// The largest integer: 32 products of two of them fit 32 bits.
enum { LARGEST = 8191, CHUNK_BLOCKS = CWINOGRAD_CHUNK / BLOCK };

int cwinograd_has_integers(void) {
    return cwinograd_is_available() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
}

// The larger of the magnitudes, as bits; what is not a number is the largest.
INLINE_INTEGER __m512i larger(__m512i most, vec x) {
    return _mm512_max_epi32(most, _mm512_and_si512((__m512i)x, _mm512_set1_epi32(0x7FFFFFFF)));
}

// What numbers within a magnitude are multiplied with to become integers; nothing becomes of magnitudes near zero.
INLINE_INTEGER vec inverse_scale(vec most) {
    __mmask16 counts = _mm512_cmp_ps_mask((__m512)most, (__m512)spread(1e-30f), _CMP_GT_OQ);
    return (vec)_mm512_maskz_div_ps(counts, (__m512)spread(LARGEST), (__m512)most);
}

// With these factors no number of the transformed weights grows beyond the largest of theirs.
#define NEAR_FACTOR 0.45308184f  // 1 / (3 / 2 + NEAR),
#define FAR_FACTOR 0.22654092f   // and 1 / (3 + FAR).
#define NEAR_REST -1.4714045f    // -2 / 3 / NEAR_FACTOR,
#define FAR_REST 0.73570226f     // and 1 / 6 / FAR_FACTOR.

INLINE_INTEGER void transform_filter(const uint16_t *g, vec scale, vec half[6][3]) {
    for (size_t j = 0; j < 3; j++) {
        vec column[3];
        for (size_t i = 0; i < 3; i++) column[i] = scale * widen(g + (i * 3 + j) * BLOCK);
        vec w[6];
        weight_column(column, NEAR_FACTOR, FAR_FACTOR, w);
        for (size_t i = 0; i < 6; i++) half[i][j] = w[i];
    }
}

WIDE_INTEGER void cwinograd_integer_weights(
    const uint16_t *weights, size_t input_channels, size_t first, size_t count, size_t begin, size_t end,
    int16_t *transformed, size_t step, float *scales) {
    for (size_t start = begin; start < end; start += CWINOGRAD_CHUNK) {
        size_t stop = start + CWINOGRAD_CHUNK < end ? start + CWINOGRAD_CHUNK : end;
        for (size_t b = 0; b < count; b++, scales += BLOCK) {
            const uint16_t *filters = weights + (first + b) * input_channels * 9 * BLOCK;
            __m512i most = _mm512_setzero_si512();
            for (const uint16_t *g = filters + start * 9 * BLOCK; g < filters + stop * 9 * BLOCK; g += BLOCK)
                most = larger(most, widen(g));
            vec scale = inverse_scale((vec)most);
            store(scales, (vec)most * (1.0f / LARGEST));
            for (size_t c = start; c < stop; c += 2) {
                vec even[6][3], odd[6][3];
                transform_filter(filters + c * 9 * BLOCK, scale, even);
                transform_filter(filters + (c + 1) * 9 * BLOCK, scale, odd);
                int16_t *target = transformed + ((c - begin) / 2 * count + b) * 2 * BLOCK;
                for (size_t i = 0; i < 6; i++) {
                    vec x[6], y[6];
                    weight_column(even[i], NEAR_FACTOR, FAR_FACTOR, x);
                    weight_column(odd[i], NEAR_FACTOR, FAR_FACTOR, y);
                    for (size_t j = 0; j < 6; j++) {
                        __m512i low = _mm512_cvtps_epi32((__m512)x[j]), high = _mm512_cvtps_epi32((__m512)y[j]);
                        __m512i both = _mm512_mask_blend_epi16(0xAAAAAAAA, low, _mm512_slli_epi32(high, 16));
                        _mm512_storeu_si512(target + (i * 6 + j) * step, both);
                    }
                }
            }
        }
    }
}

// The transform of a tile of one block, and the larger of its magnitudes.
INLINE_INTEGER __m512i transform_tile(const uint16_t *d, size_t row, __m512i most, vec v[36]) {
    vec half[6][6];
    for (size_t j = 0; j < 6; j++) {
        const uint16_t *p = d + j * BLOCK;
        vec column[6];
        input_column(
            widen(p), widen(p + row), widen(p + 2 * row), widen(p + 3 * row), widen(p + 4 * row), widen(p + 5 * row),
            column);
        for (size_t i = 0; i < 6; i++) half[i][j] = column[i];
    }
    for (size_t i = 0; i < 6; i++) {
        input_column(half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5], v + i * 6);
        for (size_t j = 0; j < 6; j++) most = larger(most, v[i * 6 + j]);
    }
    return most;
}

WIDE_INTEGER void cwinograd_integer_input(
    const uint16_t *source, const struct cwinograd_geometry *g, size_t first, size_t count, size_t first_chunk,
    size_t end_chunk, int16_t *transformed, size_t step, float *scales) {
    size_t row = g->width * BLOCK, plane = g->height * row;
    for (size_t t = 0; t < count; t++) {
        struct place place = place_of(first + t, g);
        int inside = is_inside(place, g);
        for (size_t chunk = first_chunk; chunk < end_chunk; chunk++) {
            vec v[CHUNK_BLOCKS][36];
            __m512i most = _mm512_setzero_si512();
            size_t block = chunk * CHUNK_BLOCKS, blocks = g->input_blocks - block;
            if (blocks > CHUNK_BLOCKS) blocks = CHUNK_BLOCKS;
            for (size_t b = 0; b < blocks; b++) {
                const uint16_t *image = source + (place.image * g->input_blocks + block + b) * plane;
                if (inside) {
                    const uint16_t *d = image + ((place.y - g->top) * g->width + place.x - g->left) * BLOCK;
                    most = transform_tile(d, row, most, v[b]);
                } else {
                    uint16_t window[6 * 6 * BLOCK] __attribute__((aligned(64)));
                    for (size_t i = 0; i < 6; i++)
                        for (size_t j = 0; j < 6; j++) {
                            size_t y = place.y + i, x = place.x + j;
                            int is_image =
                                y >= g->top && x >= g->left && y - g->top < g->height && x - g->left < g->width;
                            __m256i pixel = _mm256_setzero_si256();
                            if (is_image)
                                pixel = _mm256_loadu_si256(
                                    (const __m256i *)(image + ((y - g->top) * g->width + x - g->left) * BLOCK));
                            _mm256_store_si256((__m256i *)(window + (i * 6 + j) * BLOCK), pixel);
                        }
                    most = transform_tile(window, 6 * BLOCK, most, v[b]);
                }
            }
            vec magnitude = (vec)_mm512_set1_epi32(_mm512_reduce_max_epi32(most));
            scales[chunk * count + t] = magnitude[0] * (1.0f / LARGEST);
            vec scale = inverse_scale(magnitude);
            for (size_t b = 0; b < blocks; b++) {
                int16_t *target = transformed + ((block + b) * count + t) * BLOCK;
                for (size_t f = 0; f < 36; f++) {
                    __m512i integers = _mm512_cvtps_epi32((__m512)(v[b][f] * scale));
                    _mm256_storeu_si256((__m256i *)(target + f * step), _mm512_cvtepi32_epi16(integers));
                }
            }
        }
    }
}

// Adds to each of 16 sums the products of two pairs. The compiler would make two instructions of the intrinsic, for a
// shorter latency that does not matter here.
INLINE_INTEGER __m512i add_integer_products(__m512i sum, __m512i x, __m512i y) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}

// The product of `rows` tiles and `panel` blocks, both constants.
INLINE_INTEGER void multiply_tiles(
    const int16_t *a, size_t tiles, const float *input_scales, const int16_t *w, const float *weight_scales,
    size_t blocks, size_t rows, size_t panel, int adds, float *z) {
    size_t step = tiles * BLOCK;
    for (size_t block = 0; block < blocks; block += CHUNK_BLOCKS) {
        size_t end = block + CHUNK_BLOCKS < blocks ? block + CHUNK_BLOCKS : blocks;
        __mmask16 added = adds || block > 0 ? 0xFFFF : 0;
        __m512i sums[MOST_ROWS][MOST_PANEL];
        UNROLLED for (size_t r = 0; r < rows; r++)
            UNROLLED for (size_t p = 0; p < panel; p++) sums[r][p] = _mm512_setzero_si512();
        for (size_t b = block; b < end; b++, a += step)
            for (size_t c = 0; c < BLOCK; c += 2, w += panel * 2 * BLOCK) {
                __m512i column[MOST_PANEL];
                UNROLLED for (size_t p = 0; p < panel; p++) column[p] = _mm512_loadu_si512(w + p * 2 * BLOCK);
                UNROLLED for (size_t r = 0; r < rows; r++) {
                    __m512i x = (__m512i)spread_pair((const uint16_t *)a + r * BLOCK + c);
                    UNROLLED for (size_t p = 0; p < panel; p++) sums[r][p] = add_integer_products(sums[r][p], x, column[p]);
                }
            }
        UNROLLED for (size_t p = 0; p < panel; p++) {
            vec scale = load(weight_scales + p * BLOCK);
            UNROLLED for (size_t r = 0; r < rows; r++) {
                float *target = z + p * step + r * BLOCK;
                vec start = (vec)_mm512_maskz_loadu_ps(added, target);
                store(target, start + (vec)_mm512_cvtepi32_ps(sums[r][p]) * (scale * spread(input_scales[r])));
            }
        }
        input_scales += tiles;
        weight_scales += panel * BLOCK;
    }
}

#define TILES(n)                                                                                        \
    case n:                                                                                             \
        multiply_tiles(                                                                                 \
            a + t * BLOCK, tiles, input_scales + t, w, weight_scales, blocks, n, panel, adds, z + t * BLOCK); \
        break;

INLINE_INTEGER void multiply_panel(
    const int16_t *a, size_t tiles, const float *input_scales, const int16_t *w, const float *weight_scales,
    size_t blocks, size_t panel, int adds, float *z) {
    size_t t = 0;
    for (; t + 6 <= tiles; t += 6)
        multiply_tiles(
            a + t * BLOCK, tiles, input_scales + t, w, weight_scales, blocks, 6, panel, adds, z + t * BLOCK);
    switch (tiles - t) {
        TILES(5)
        TILES(4)
        TILES(3)
        TILES(2)
        TILES(1)
    }
}

#define PANEL(n) \
    case n: multiply_panel(input, tiles, input_scales, weights, weight_scales, blocks, n, adds, products); break;

WIDE_INTEGER void cwinograd_integer_multiply(
    const int16_t *input, size_t input_step, const float *input_scales, const int16_t *weights, size_t weights_step,
    const float *weight_scales, size_t blocks, size_t tiles, size_t panel, int adds, float *products,
    size_t products_step, struct cwinograd_ahead ahead) {
    for (size_t f = 0; f < FREQUENCIES; f++, input += input_step, weights += weights_step, products += products_step) {
        prefetch(ahead, f);
        switch (panel) {
            PANEL(1)
            PANEL(2)
            PANEL(3)
            PANEL(4)
        }
    }
}

INLINE_INTEGER void make_tiles(
    const float *products, size_t step, const struct cwinograd_geometry *g, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const void *addend, float low, float high, int rounds,
    void *target) {
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
            output_tile(products + (p * count + t) * BLOCK, step, NEAR_REST, FAR_REST, y);
            for (size_t i = 0; i < extent.height; i++)
                for (size_t j = 0; j < extent.width; j++) {
                    size_t at = offset + i * row + j * BLOCK;
                    vec value = y[i][j] + start;
                    if (rounds) {
                        if (addend) value += widen((const uint16_t *)addend + at);
                        store_rounded((uint16_t *)target + at, clamp(value, lowest, highest));
                    } else {
                        if (addend) value += load((const float *)addend + at);
                        store((float *)target + at, clamp(value, lowest, highest));
                    }
                }
        }
    }
}

WIDE_INTEGER void cwinograd_integer_output(
    const float *products, size_t step, const struct cwinograd_geometry *g, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const void *addend, float low, float high, int rounds,
    void *target) {
    if (rounds) make_tiles(products, step, g, first, count, first_block, panel, bias, addend, low, high, 1, target);
    else make_tiles(products, step, g, first, count, first_block, panel, bias, addend, low, high, 0, target);
}

#else

int cwinograd_has_integers(void) { return 0; }

#pragma clang diagnostic ignored "-Wunused-parameter"

// Nobody calls these where they are not available.

void cwinograd_integer_weights(
    const uint16_t *weights, size_t input_channels, size_t first, size_t count, size_t begin, size_t end,
    int16_t *transformed, size_t step, float *scales) { __builtin_trap(); }

void cwinograd_integer_input(
    const uint16_t *source, const struct cwinograd_geometry *geometry, size_t first, size_t count, size_t first_chunk,
    size_t end_chunk, int16_t *transformed, size_t step, float *scales) { __builtin_trap(); }

void cwinograd_integer_multiply(
    const int16_t *input, size_t input_step, const float *input_scales, const int16_t *weights, size_t weights_step,
    const float *weight_scales, size_t blocks, size_t tiles, size_t panel, int adds, float *products,
    size_t products_step, struct cwinograd_ahead ahead) { __builtin_trap(); }

void cwinograd_integer_output(
    const float *products, size_t step, const struct cwinograd_geometry *geometry, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const void *addend, float low, float high, int rounds,
    void *target) { __builtin_trap(); }

#endif
