#include "seam.h"

// The weight of an element of the input in an element of the result, along one dimension.
static double weight(int linear, int64_t in, int64_t out, int64_t from, int64_t to) {
    double at = ((double)to + 0.5) * (double)in / (double)out - 0.5;
    if (!linear) return (int64_t)lround(at) == from;
    double low = floor(at), part = at - low, result = 0;
    if ((int64_t)fmax(low, 0) == from) result += 1 - part;
    if ((int64_t)fmin(low + 1, (double)in - 1) == from) result += part;
    return result;
}

static void resample(int linear, int64_t h, int64_t w, int64_t oh, int64_t ow, char order) {
    const int64_t x[] = {2, 20, h, w}, y[] = {2, 20, oh, ow};
    int64_t nx = count_of(4, x), ny = count_of(4, y);
    const char *name = linear ? "linear" : "nearest";
    float *in = numbers(nx, 1), *dy = numbers(ny, 2), *out = floats(ny), *dx = floats(nx);
    double *wanted = zeros(ny), *gradient = zeros(nx);
    for (int64_t plane = 0; plane < 40; plane++)
        for (int64_t o = 0; o < oh * ow; o++)
            for (int64_t i = 0; i < h * w; i++) {
                double part = weight(linear, h, oh, i / w, o / ow) * weight(linear, w, ow, i % w, o % ow);
                wanted[plane * oh * ow + o] += part * in[plane * h * w + i];
                gradient[plane * h * w + i] += part * dy[plane * oh * ow + o];
            }
    gdnn_layout *source = layout_named(order, GDNN_F32, 4, x), *target = layout_named(order, GDNN_F32, 4, y);
    int algorithm = linear ? GDNN_RESAMPLE_LINEAR : GDNN_RESAMPLE_NEAREST;
    gdnn_primitive *primitive = NULL;
    begin("%s resampling %dx%d to %dx%d, layout %c", name, (int)h, (int)w, (int)oh, (int)ow, order);
    int status = gdnn_resampling(&primitive, GDNN_FORWARD_INFERENCE, algorithm, source, target);
    if (run(status, primitive, (operand[]){{GDNN_ARG_SRC, in, 0, 0}, {GDNN_ARG_DST, 0, out, 0}, {0, 0, 0, 0}}))
        expect_close(out, wanted, ny, FLOAT);
    begin("gradient of %s resampling %dx%d to %dx%d, layout %c", name, (int)h, (int)w, (int)oh, (int)ow, order);
    primitive = NULL;
    status = gdnn_resampling(&primitive, GDNN_BACKWARD_DATA, algorithm, source, target);
    operand operands[] = {{GDNN_ARG_DIFF_DST, dy, 0, 0}, {GDNN_ARG_DIFF_SRC, 0, dx, 0}, {0, 0, 0, 0}};
    if (run(status, primitive, operands)) expect_close(dx, gradient, nx, FLOAT);
    free(in), free(dy), free(out), free(dx), free(wanted), free(gradient);
    gdnn_layout_destroy(source), gdnn_layout_destroy(target);
}

void test_resampling(void) {
    for (int linear = 0; linear < 2; linear++)
        for (const char *order = "plb"; *order; order++) {
            resample(linear, 4, 5, 8, 10, *order);
            resample(linear, 9, 9, 3, 3, *order);
            resample(linear, 5, 7, 7, 11, *order);
        }
}
