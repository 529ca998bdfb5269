#include "seam.h"

typedef struct {
    const char *name;
    int spatial;
    int64_t input[3], kernel[3], strides[3], dilations[3], begin[3], end[3];
} pool;

static const pool pools[] = {
    {"2x2", 2, {8, 6}, {2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
    {"3x3 of stride 2 with padding", 2, {9, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {"3x2 with padding at one side", 2, {7, 7}, {3, 2}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"2x3 with padding 0x2 and 1x0", 2, {7, 7}, {2, 3}, {2, 1}, {1, 1}, {0, 2}, {1, 0}},
    {"over everything", 2, {7, 5}, {7, 5}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {"with dilation", 2, {9, 9}, {3, 2}, {1, 2}, {2, 3}, {1, 1}, {1, 1}},
    {"in one dimension", 1, {13}, {3}, {2}, {1}, {1}, {1}},
    {"in three dimensions", 3, {5, 4, 6}, {2, 2, 3}, {1, 2, 2}, {1, 1, 1}, {0, 0, 1}, {1, 0, 1}},
};

enum { BATCH = 2, CHANNELS = 20 };

// Computes y of x, or adds to dx what dy gives it.
static void pool_plainly(
    const pool *p, int algorithm, const int64_t *out, const float *x, double *y, const float *dy, double *dx) {
    int64_t in[3], k[3];
    for (int d = 0; d < 3; d++) in[d] = d < p->spatial ? p->input[d] : 1, k[d] = d < p->spatial ? p->kernel[d] : 1;
    int64_t places = out[0] * out[1] * out[2], taps = k[0] * k[1] * k[2], area = in[0] * in[1] * in[2];
    for (int64_t i = 0; i < BATCH * CHANNELS * places; i++) {
        int64_t step[3] = {i % places / (out[1] * out[2]), i / out[2] % out[1], i % out[2]};
        const float *plane = x + i / places * area;
        int64_t best = -1, inside_count = 0, list[200];
        double sum = 0;
        for (int64_t q = 0; q < taps; q++) {
            int64_t tap[3] = {q / (k[1] * k[2]), q / k[2] % k[1], q % k[2]}, at = 0;
            int inside = 1;
            for (int d = 0; d < 3; d++) {
                int64_t here = d < p->spatial ? step[d] * p->strides[d] - p->begin[d] + tap[d] * p->dilations[d] : 0;
                inside = inside && here >= 0 && here < in[d];
                at = at * in[d] + here;
            }
            if (!inside) continue;
            list[inside_count++] = at;
            sum += plane[at];
            if (best < 0 || plane[at] > plane[best]) best = at;
        }
        double divisor = (double)(algorithm == GDNN_POOL_AVERAGE ? inside_count : taps);
        if (y) y[i] = algorithm == GDNN_POOL_MAX ? plane[best] : sum / divisor;
        if (!dx) continue;
        double *target = dx + i / places * area;
        if (algorithm == GDNN_POOL_MAX) target[best] += dy[i];
        else
            for (int64_t j = 0; j < inside_count; j++) target[list[j]] += dy[i] / divisor;
    }
}

static void test_pool(const pool *p, int algorithm, const char *what, char order) {
    int rank = p->spatial + 2;
    int64_t x[5] = {BATCH, CHANNELS}, y[5] = {BATCH, CHANNELS}, out[3] = {1, 1, 1};
    gdnn_window window = {{0}, {0}, {0}, {0}, {0}};
    for (int d = 0; d < p->spatial; d++) {
        int64_t extent = (p->kernel[d] - 1) * p->dilations[d] + 1;
        x[d + 2] = p->input[d];
        y[d + 2] = out[d] = (p->input[d] + p->begin[d] + p->end[d] - extent) / p->strides[d] + 1;
        window.strides[d] = p->strides[d], window.dilations[d] = p->dilations[d], window.kernel[d] = p->kernel[d];
        window.pad_begin[d] = p->begin[d], window.pad_end[d] = p->end[d];
    }
    int64_t nx = count_of(rank, x), ny = count_of(rank, y);
    float *in = numbers(nx, 1), *dy = numbers(ny, 2), *result = floats(ny), *dx = floats(nx);
    double *wanted = zeros(ny), *gradient = zeros(nx);
    pool_plainly(p, algorithm, out, in, wanted, dy, gradient);
    gdnn_layout *source = layout_named(order, GDNN_F32, rank, x), *target = layout_named(order, GDNN_F32, rank, y);
    void *workspace = NULL;
    for (int training = 0; training < 2; training++) {
        begin("%s pool %s, layout %c%s", what, p->name, order, training ? ", for training" : "");
        gdnn_primitive *primitive = NULL;
        int status = gdnn_pooling(
            &primitive, training ? GDNN_FORWARD_TRAINING : GDNN_FORWARD_INFERENCE, algorithm, source, target, &window);
        if (training && primitive) workspace = workspace_of(primitive);
        operand operands[4] = {{GDNN_ARG_SRC, in, 0, 0}, {GDNN_ARG_DST, 0, result, 0}};
        if (workspace) operands[2] = (operand){GDNN_ARG_WORKSPACE, 0, 0, workspace};
        if (run(status, primitive, operands)) expect_close(result, wanted, ny, FLOAT);
    }
    begin("gradient of %s pool %s, layout %c", what, p->name, order);
    gdnn_primitive *primitive = NULL;
    int status = gdnn_pooling(&primitive, GDNN_BACKWARD_DATA, algorithm, source, target, &window);
    operand operands[4] = {{GDNN_ARG_DIFF_DST, dy, 0, 0}, {GDNN_ARG_DIFF_SRC, 0, dx, 0}};
    if (workspace) operands[2] = (operand){GDNN_ARG_WORKSPACE, 0, 0, workspace};
    if (run(status, primitive, operands)) expect_close(dx, gradient, nx, FLOAT);
    free(workspace), free(in), free(dy), free(result), free(dx), free(wanted), free(gradient);
    gdnn_layout_destroy(source), gdnn_layout_destroy(target);
}

void test_pooling(void) {
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        for (const char *order = "plb"; *order; order++) {
            test_pool(&pools[i], GDNN_POOL_MAX, "maximum", *order);
            test_pool(&pools[i], GDNN_POOL_AVERAGE, "average", *order);
            test_pool(&pools[i], GDNN_POOL_AVERAGE_WITH_PADDING, "average with padding", *order);
        }
}
