#include "seam.h"

static void softmax(int logarithm, int rank, const int64_t *dims, int axis, char order) {
    int64_t count = count_of(rank, dims), inner = count_of(rank - axis - 1, dims + axis + 1), n = dims[axis];
    float *x = numbers(count, 1), *dy = numbers(count, 2), *y = floats(count), *dx = floats(count);
    float *rounded = floats(count);
    double *wanted = zeros(count), *gradient = zeros(count);
    for (int64_t i = 0; i < count; i++) x[i] *= 8;
    for (int64_t line = 0; line < count / n; line++) {
        int64_t start = line / inner * n * inner + line % inner;
        double top = -INFINITY, sum = 0, dot = 0;
        for (int64_t i = 0; i < n; i++) top = fmax(top, x[start + i * inner]);
        for (int64_t i = 0; i < n; i++) sum += exp(x[start + i * inner] - top);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = start + i * inner;
            wanted[at] = logarithm ? x[at] - top - log(sum) : exp(x[at] - top) / sum;
            rounded[at] = (float)wanted[at];
            dot += logarithm ? dy[at] : dy[at] * wanted[at];
        }
        for (int64_t i = 0; i < n; i++) {
            int64_t at = start + i * inner;
            gradient[at] = logarithm ? dy[at] - exp(wanted[at]) * dot : wanted[at] * (dy[at] - dot);
        }
    }
    gdnn_layout *both = layout_named(order, GDNN_F32, rank, dims);
    int algorithm = logarithm ? GDNN_LOG_SOFTMAX : GDNN_SOFTMAX;
    gdnn_primitive *primitive = NULL;
    begin("%ssoftmax of rank %d along %d, layout %c", logarithm ? "log-" : "", rank, axis, order);
    int status = gdnn_softmax(&primitive, GDNN_FORWARD_INFERENCE, algorithm, both, both, axis);
    if (run(status, primitive, (operand[]){{GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_DST, 0, y, 0}, {0, 0, 0, 0}}))
        expect_close(y, wanted, count, FLOAT);
    begin("gradient of %ssoftmax of rank %d along %d, layout %c", logarithm ? "log-" : "", rank, axis, order);
    primitive = NULL;
    status = gdnn_softmax(&primitive, GDNN_BACKWARD_DATA, algorithm, both, both, axis);
    operand operands[] = {
        {GDNN_ARG_DST, rounded, 0, 0}, {GDNN_ARG_DIFF_DST, dy, 0, 0}, {GDNN_ARG_DIFF_SRC, 0, dx, 0}, {0, 0, 0, 0}};
    if (run(status, primitive, operands)) expect_close(dx, gradient, count, FLOAT);
    free(x), free(dy), free(y), free(dx), free(rounded), free(wanted), free(gradient);
    gdnn_layout_destroy(both);
}

enum { N = 2, C = 20, H = 5, W = 4 };

static int neighbours(int within, int64_t size, int64_t i, int64_t j) {
    int64_t half = (size - 1) / 2, area = H * W;
    if (i / (C * area) != j / (C * area)) return 0;
    int64_t dc = j / area - i / area, dh = j % area / W - i % area / W, dw = j % W - i % W;
    if (!within) return dh == 0 && dw == 0 && dc >= -half && dc < size - half;
    return dc == 0 && dh >= -half && dh < size - half && dw >= -half && dw < size - half;
}

static void response(int within, int64_t size, float alpha, float beta, float k, char order) {
    const int64_t dims[] = {N, C, H, W}, count = N * C * H * W;
    const char *what = within ? "within a channel" : "across channels";
    float *x = numbers(count, 1), *dy = numbers(count, 2), *y = floats(count), *dx = floats(count);
    double *wanted = zeros(count), *gradient = zeros(count), *omega = zeros(count);
    double n = (double)(within ? size * size : size);
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t j = 0; j < count; j++)
            if (neighbours(within, size, i, j)) sum += (double)x[j] * x[j];
        omega[i] = k + alpha / n * sum;
        wanted[i] = x[i] * pow(omega[i], -beta);
    }
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t j = 0; j < count; j++)
            if (neighbours(within, size, j, i)) sum += dy[j] * x[j] * pow(omega[j], -beta - 1);
        gradient[i] = dy[i] * pow(omega[i], -beta) - 2 * alpha * beta / n * x[i] * sum;
    }
    gdnn_layout *both = layout_named(order, GDNN_F32, 4, dims);
    int algorithm = within ? GDNN_LRN_WITHIN : GDNN_LRN_ACROSS;
    void *workspace = NULL;
    for (int training = 0; training < 2; training++) {
        begin("response normalization %s, layout %c%s", what, order, training ? ", for training" : "");
        gdnn_primitive *primitive = NULL;
        int direction = training ? GDNN_FORWARD_TRAINING : GDNN_FORWARD_INFERENCE;
        int status = gdnn_lrn(&primitive, direction, algorithm, both, size, alpha, beta, k);
        if (training && primitive) workspace = workspace_of(primitive);
        operand operands[4] = {{GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_DST, 0, y, 0}};
        if (workspace) operands[2] = (operand){GDNN_ARG_WORKSPACE, 0, 0, workspace};
        if (run(status, primitive, operands)) expect_close(y, wanted, count, FLOAT);
    }
    begin("gradient of response normalization %s, layout %c", what, order);
    gdnn_primitive *primitive = NULL;
    int status = gdnn_lrn(&primitive, GDNN_BACKWARD_DATA, algorithm, both, size, alpha, beta, k);
    operand operands[5] = {
        {GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_DIFF_DST, dy, 0, 0}, {GDNN_ARG_DIFF_SRC, 0, dx, 0}};
    if (workspace) operands[3] = (operand){GDNN_ARG_WORKSPACE, 0, 0, workspace};
    if (run(status, primitive, operands)) expect_close(dx, gradient, count, FLOAT);
    free(workspace), free(x), free(dy), free(y), free(dx), free(wanted), free(gradient), free(omega);
    gdnn_layout_destroy(both);
}

static void reduce(const char *name, int algorithm, unsigned axes, char order) {
    const int64_t dims[] = {3, 20, 4, 5};
    int64_t small[4], count = count_of(4, dims);
    for (int d = 0; d < 4; d++) small[d] = axes >> d & 1 ? 1 : dims[d];
    int64_t results = count_of(4, small);
    begin("%s over axes %u, layout %c", name, axes, order);
    float *x = numbers(count, 1), *y = floats(results);
    double *wanted = zeros(results);
    for (int64_t i = 0; i < results; i++)
        if (algorithm == GDNN_REDUCE_MAX || algorithm == GDNN_REDUCE_MIN)
            wanted[i] = algorithm == GDNN_REDUCE_MAX ? -INFINITY : INFINITY;
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0, step = 1;
        for (int d = 3; d >= 0; d--) {
            if (small[d] > 1) at += rest % dims[d] * step;
            step *= small[d], rest /= dims[d];
        }
        if (algorithm == GDNN_REDUCE_MAX) wanted[at] = fmax(wanted[at], x[i]);
        else if (algorithm == GDNN_REDUCE_MIN) wanted[at] = fmin(wanted[at], x[i]);
        else wanted[at] += algorithm == GDNN_REDUCE_SUM ? x[i] : x[i] * (double)results / (double)count;
    }
    gdnn_layout *source = layout_named(order, GDNN_F32, 4, dims), *target = layout_named(order, GDNN_F32, 4, small);
    gdnn_primitive *primitive = NULL;
    int status = gdnn_reduction(&primitive, algorithm, source, target);
    if (run(status, primitive, (operand[]){{GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_DST, 0, y, 0}, {0, 0, 0, 0}}))
        expect_close(y, wanted, results, FLOAT);
    free(x), free(y), free(wanted);
    gdnn_layout_destroy(source), gdnn_layout_destroy(target);
}

void test_normalization(void) {
    for (int logarithm = 0; logarithm < 2; logarithm++) {
        softmax(logarithm, 2, (int64_t[]){7, 1000}, 1, 'p');
        softmax(logarithm, 3, (int64_t[]){4, 9, 33}, 1, 'p');
        softmax(logarithm, 3, (int64_t[]){4, 9, 33}, 2, 'p');
        for (const char *order = "plb"; *order; order++)
            for (int axis = 1; axis < 4; axis++) softmax(logarithm, 4, (int64_t[]){2, 20, 3, 5}, axis, *order);
    }
    for (const char *order = "plbe"; *order; order++) {
        response(0, 5, 0.5f, 0.75f, 1, *order);
        response(0, 3, 0.25f, 0.5f, 2, *order);
        response(1, 3, 0.5f, 0.75f, 1, *order);
    }
    const unsigned axes[] = {2, 12, 8, 13, 15};
    for (int i = 0; i < 5; i++)
        for (const char *order = "pl"; *order; order++) {
            reduce("maximum", GDNN_REDUCE_MAX, axes[i], *order);
            reduce("minimum", GDNN_REDUCE_MIN, axes[i], *order);
            reduce("sum", GDNN_REDUCE_SUM, axes[i], *order);
            reduce("mean", GDNN_REDUCE_MEAN, axes[i], *order);
        }
}
