#include "geometry.h"

typedef struct {
    int source, target;
    int32_t src_zero, weights_zero, dst_zero;
    int channel_scales, bias, changes;
} form;

static const form forms[] = {
    {GDNN_U8, GDNN_S32, 0, 0, 0, 0, 0, 0}, {GDNN_U8, GDNN_S32, 7, 0, 0, 0, 0, 1}, {GDNN_S8, GDNN_S32, -5, 0, 0, 0, 0, 0},
    {GDNN_U8, GDNN_U8, 0, 0, 0, 1, 1, 0},  {GDNN_U8, GDNN_U8, 13, 0, 101, 1, 1, 0}, {GDNN_U8, GDNN_S8, 128, 0, -3, 0, 1, 0},
    {GDNN_S8, GDNN_S8, -9, 0, 4, 1, 1, 0}, {GDNN_U8, GDNN_F32, 99, 0, 0, 1, 0, 1},  {GDNN_S8, GDNN_F32, 0, 0, 0, 0, 1, 0},
};
#define FORMS (int)(sizeof forms / sizeof *forms)

static int width_of(int type) { return type == GDNN_F32 || type == GDNN_S32 ? 4 : 1; }

static int8_t *small_integers(int64_t count, unsigned seed, int low, int high) {
    float *from = numbers(count, seed);
    int8_t *result = malloc((size_t)count);
    for (int64_t i = 0; i < count; i++)
        result[i] = (int8_t)(low + (int)(((double)from[i] + 1) / 2 * (high - low)));
    free(from);
    return result;
}

static int byte_at(const int8_t *bytes, int64_t i, int type) { return type == GDNN_U8 ? (uint8_t)bytes[i] : bytes[i]; }

static double number_at(const void *memory, int64_t i, int type) {
    switch (type) {
    case GDNN_U8: return ((const uint8_t *)memory)[i];
    case GDNN_S8: return ((const int8_t *)memory)[i];
    case GDNN_S32: return ((const int32_t *)memory)[i];
    default: return ((const float *)memory)[i];
    }
}

static gdnn_quantization quantization_of(const form *f, const float *scales, int64_t channels) {
    return (gdnn_quantization){
        scales, f->target == GDNN_S32 ? 0 : f->channel_scales ? (int)channels : 1, f->changes ? 0 : f->src_zero,
        f->weights_zero, f->dst_zero, f->changes};
}

// What the sums of channels become; bytes are compared with one step of room where a number is almost between two.
static void expect_results(
    const form *f, const double *sums, const float *bias, const float *scales, int64_t count, int64_t area,
    int64_t channels, const void *got, const int64_t *places) {
    double worst = 0, scale = 1;
    int64_t apart = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t channel = i / area % channels;
        double wanted = sums[i];
        if (f->target != GDNN_S32)
            wanted = (wanted + (f->bias ? bias[channel] : 0)) * scales[f->channel_scales ? channel : 0];
        int least = f->target == GDNN_U8 ? 0 : -128;
        if (width_of(f->target) == 1)
            wanted = fmin(fmax(nearbyint(wanted) + f->dst_zero, least), least + 255);
        double error = fabs(wanted - number_at(got, places ? places[i] : i, f->target));
        if (error > 0) apart++;
        if (!(error <= worst)) worst = error;
        scale = fmax(scale, fabs(wanted));
    }
    if (f->target == GDNN_S32) expect(worst == 0, "the sums are exact");
    else if (f->target == GDNN_F32) expect(worst <= 1e-5 * scale, "numbers");
    else expect(worst <= 1 && apart <= count / 50, "bytes differ by a step at most, and few do");
}

static int execute(
    gdnn_primitive *primitive, const form *f, void *x, void *w, float *bias, void *y) {
    int arguments[] = {GDNN_ARG_SRC, GDNN_ARG_WEIGHTS, GDNN_ARG_DST, GDNN_ARG_SCRATCHPAD, GDNN_ARG_BIAS};
    size_t bytes = gdnn_scratchpad_bytes(primitive);
    void *pointers[] = {x, w, y, aligned_alloc(64, (bytes + 64) / 64 * 64), bias};
    if (f->changes) gdnn_primitive_set_source_zero(primitive, f->src_zero);
    int status = gdnn_execute(primitive, f->bias ? 5 : 4, arguments, pointers);
    expect_status(status, GDNN_OK);
    free(pointers[3]);
    return status == GDNN_OK;
}

// Weights in the layout of a primitive.
static void *in_layout_of(gdnn_primitive *primitive, const gdnn_layout *stored, int8_t *w) {
    gdnn_layout *wanted = gdnn_primitive_layout(primitive, GDNN_ARG_WEIGHTS);
    size_t bytes = gdnn_layout_bytes(wanted);
    void *result = aligned_alloc(64, (bytes + 63) / 64 * 64);
    gdnn_primitive *reorder = NULL;
    expect_status(gdnn_reorder(&reorder, stored, wanted), GDNN_OK);
    if (reorder) {
        size_t scratch = gdnn_scratchpad_bytes(reorder);
        int arguments[] = {GDNN_ARG_SRC, GDNN_ARG_DST, GDNN_ARG_SCRATCHPAD};
        void *pointers[] = {w, result, aligned_alloc(64, (scratch + 64) / 64 * 64)};
        expect_status(gdnn_execute(reorder, 3, arguments, pointers), GDNN_OK);
        free(pointers[2]);
        gdnn_primitive_destroy(reorder);
    }
    gdnn_layout_destroy(wanted);
    return result;
}

// A bias in the unit of the sums, as this version of the library takes it.
static float *native_bias(const form *f, const float *bias, const float *scales, int64_t channels) {
    float *result = floats(channels);
    for (int64_t c = 0; c < channels; c++) {
        float scale = f->target == GDNN_S32 ? 1 : scales[f->channel_scales ? c : 0];
        result[c] = gdnn_scales_before_bias() ? bias[c] * scale : bias[c];
    }
    return result;
}

static void convolve(const geometry *g, const form *f) {
    shapes s = shapes_of(g, 0);
    begin("quantised %s, form %d", g->name, (int)(f - forms));
    int64_t nx = count_of(s.rank, s.x), nw = count_of(s.weights_rank, s.w), ny = count_of(s.rank, s.y);
    int64_t channels = g->outputs, in_area = nx / s.x[0] / s.x[1], area = ny / s.y[0] / s.y[1];
    int8_t *x = small_integers(nx, 1, f->source == GDNN_U8 ? 0 : -128, f->source == GDNN_U8 ? 255 : 127);
    int8_t *w = small_integers(nw, 2, -127, 127), *last = malloc((size_t)nx);
    float *real_x = floats(nx), *real_w = floats(nw), *bias = numbers(channels, 3), *scales = numbers(channels, 4);
    for (int64_t i = 0; i < nx; i++) real_x[i] = (float)(byte_at(x, i, f->source) - f->src_zero);
    for (int64_t i = 0; i < nw; i++) real_w[i] = w[i];
    for (int64_t c = 0; c < channels; c++) bias[c] = nearbyintf(bias[c] * 5000), scales[c] = 0.0005f + fabsf(scales[c]) / 500;
    double *sums = zeros(ny);
    convolve_plainly(g, 0, RESULT, real_x, real_w, NULL, sums);
    int64_t *places = malloc((size_t)ny * sizeof *places);
    for (int64_t i = 0; i < ny; i++)
        places[i] = (i / area / channels * area + i % area) * channels + i / area % channels;
    for (int64_t i = 0; i < nx; i++)
        last[(i / in_area / s.x[1] * in_area + i % in_area) * s.x[1] + i / in_area % s.x[1]] = x[i];

    gdnn_layout *source = layout_named('l', f->source, s.rank, s.x), *target = layout_named('l', f->target, s.rank, s.y);
    gdnn_layout *any = gdnn_layout_any(GDNN_S8, s.weights_rank, s.w);
    gdnn_layout *stored = gdnn_layout_strided(GDNN_S8, s.weights_rank, s.w, NULL);
    gdnn_layout *row = f->bias ? plain(1, &channels) : NULL;
    gdnn_quantization quantization = quantization_of(f, scales, channels);
    gdnn_post_op round = {0, GDNN_ROUND, 0, 0, NULL};
    gdnn_attributes attributes = {&round, f->dst_zero != 0, 0, &quantization};
    gdnn_primitive *primitive = NULL;
    int status = gdnn_convolution(
        &primitive, GDNN_FORWARD_INFERENCE, source, any, row, target, &s.window, &attributes);
    // The caller has kernels of its own where the library has none, or only its reference code.
    if (status == GDNN_UNIMPLEMENTED || (primitive && !strncmp(gdnn_primitive_name(primitive), "ref", 3))) {
        note_missing();
    } else {
        expect_status(status, GDNN_OK);
        if (primitive) {
            void *y = aligned_alloc(64, ((size_t)(ny * width_of(f->target)) + 63) / 64 * 64);
            void *packed = in_layout_of(primitive, stored, w);
            float *added = native_bias(f, bias, scales, channels);
            if (execute(primitive, f, last, packed, added, y))
                expect_results(f, sums, bias, scales, ny, area, channels, y, places);
            free(y), free(packed), free(added);
        }
    }
    if (primitive) gdnn_primitive_destroy(primitive);
    gdnn_layout *all[] = {source, target, any, stored, row};
    for (int i = 0; i < 5; i++) gdnn_layout_destroy(all[i]);
    free(x), free(w), free(last), free(real_x), free(real_w), free(bias), free(scales), free(sums), free(places);
}

// Rows times constant weights (stack 0), or stacks of matrices that both are computed.
static void multiply(int64_t stack, int64_t m, int64_t k, int64_t n, const form *f, int label) {
    begin(
        "quantised product %lld of %lld x %lld x %lld, form %d", (long long)stack, (long long)m, (long long)k,
        (long long)n, label);
    int64_t many = stack ? stack : 1, rank = stack ? 3 : 2;
    int8_t *x = small_integers(many * m * k, 1, f->source == GDNN_U8 ? 0 : -128, f->source == GDNN_U8 ? 255 : 127);
    int8_t *w = small_integers((stack ? stack : 1) * k * n, 2, -127, 127);
    float *bias = numbers(n, 3), *scales = numbers(n, 4);
    for (int64_t c = 0; c < n; c++) bias[c] = nearbyintf(bias[c] * 5000), scales[c] = 0.0005f + fabsf(scales[c]) / 500;
    double *sums = zeros(many * m * n);
    for (int64_t i = 0; i < many * m * n; i++)
        for (int64_t j = 0; j < k; j++)
            sums[i] += (double)(byte_at(x, i / n * k + j, f->source) - f->src_zero)
                * (w[i / (m * n) * k * n + j * n + i % n] - f->weights_zero);
    int64_t first = stack ? 0 : 1;
    const int64_t a[] = {many, m, k}, b[] = {many, k, n}, y[] = {many, m, n}, c[] = {1, 1, n};
    gdnn_layout *source = gdnn_layout_strided(f->source, (int)rank, a + first, NULL);
    gdnn_layout *target = gdnn_layout_strided(f->target, (int)rank, y + first, NULL);
    gdnn_layout *stored = gdnn_layout_strided(GDNN_S8, (int)rank, b + first, NULL);
    gdnn_layout *wanted = stack ? gdnn_layout_clone(stored) : gdnn_layout_any(GDNN_S8, (int)rank, b + first);
    gdnn_layout *row = f->bias ? plain((int)rank, c + first) : NULL;
    gdnn_quantization quantization = quantization_of(f, scales, n);
    gdnn_post_op round = {0, GDNN_ROUND, 0, 0, NULL};
    gdnn_attributes attributes = {&round, f->dst_zero != 0, 0, &quantization};
    gdnn_primitive *primitive = NULL;
    int status = gdnn_matmul(&primitive, source, wanted, row, target, &attributes);
    if (status == GDNN_UNIMPLEMENTED || (primitive && !strncmp(gdnn_primitive_name(primitive), "ref", 3))) {
        note_missing();
    } else {
        expect_status(status, GDNN_OK);
        if (primitive) {
            void *result = aligned_alloc(64, ((size_t)(many * m * n * width_of(f->target)) + 63) / 64 * 64);
            void *packed = in_layout_of(primitive, stored, w);
            float *added = native_bias(f, bias, scales, n);
            if (execute(primitive, f, x, packed, added, result))
                expect_results(f, sums, bias, scales, many * m * n, 1, n, result, NULL);
            free(result), free(packed), free(added);
        }
    }
    if (primitive) gdnn_primitive_destroy(primitive);
    gdnn_layout *all[] = {source, target, stored, wanted, row};
    for (int i = 0; i < 5; i++) gdnn_layout_destroy(all[i]);
    free(x), free(w), free(bias), free(scales), free(sums);
}

void test_quantised(void) {
    if (!gdnn_has_byte_products()) return;
    for (int i = 0; i < FORMS; i++) {
        for (int g = 0; g < geometry_count; g++) convolve(&geometries[g], &forms[i]);
        const int64_t rows[] = {1, 5, 64, 130};
        for (int m = 0; m < 4; m++) multiply(0, rows[m], 72, m % 2 ? 48 : 33, &forms[i], i);
        form stacked = forms[i];
        stacked.channel_scales = 0;
        for (int zero = -7; zero <= 0; zero += 7) {
            stacked.weights_zero = zero;
            multiply(6, 20, 32, 24, &stacked, i);
        }
    }
}
