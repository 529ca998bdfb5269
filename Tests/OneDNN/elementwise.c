#include "seam.h"

double eltwise(int algorithm, double alpha, double beta, double x) {
    switch (algorithm) {
    case GDNN_RELU: return x > 0 ? x : alpha * x;
    case GDNN_TANH: return tanh(x);
    case GDNN_ELU: return x > 0 ? x : alpha * expm1(x);
    case GDNN_SQUARE: return x * x;
    case GDNN_ABS: return fabs(x);
    case GDNN_SQRT: return sqrt(x);
    case GDNN_LINEAR: return alpha * x + beta;
    case GDNN_SOFTPLUS: return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case GDNN_LOGISTIC: return 1 / (1 + exp(-x));
    case GDNN_EXP: return exp(x);
    case GDNN_GELU_TANH: return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case GDNN_GELU_ERF: return 0.5 * x * (1 + erf(x * 0.70710678118654752));
    case GDNN_SWISH: return x / (1 + exp(-alpha * x));
    case GDNN_LOG: return log(x);
    case GDNN_CLIP: return fmin(fmax(x, alpha), beta);
    case GDNN_POW: return alpha * pow(x, beta);
    case GDNN_MISH: return x * tanh(log1p(exp(x)));
    case GDNN_HARDSWISH: return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    default: return NAN;
    }
}

typedef struct {
    const char *name;
    int algorithm;
    float alpha, beta;
    int positive;
    enum tolerance tolerance;
} function;

static const function functions[] = {
    {"relu", GDNN_RELU, 0, 0, 0, EXACT},
    {"leaky relu", GDNN_RELU, 0.25f, 0, 0, EXACT},
    {"tanh", GDNN_TANH, 0, 0, 0, APPROXIMATE},
    {"elu", GDNN_ELU, 1.5f, 0, 0, APPROXIMATE},
    {"square", GDNN_SQUARE, 0, 0, 0, FLOAT},
    {"abs", GDNN_ABS, 0, 0, 0, EXACT},
    {"sqrt", GDNN_SQRT, 0, 0, 1, FLOAT},
    {"linear", GDNN_LINEAR, 1.75f, -0.5f, 0, FLOAT},
    {"softplus", GDNN_SOFTPLUS, 0, 0, 0, APPROXIMATE},
    {"logistic", GDNN_LOGISTIC, 0, 0, 0, APPROXIMATE},
    {"exp", GDNN_EXP, 0, 0, 0, FLOAT},
    {"gelu with tanh", GDNN_GELU_TANH, 0, 0, 0, APPROXIMATE},
    {"gelu with erf", GDNN_GELU_ERF, 0, 0, 0, APPROXIMATE},
    {"swish", GDNN_SWISH, 1, 0, 0, APPROXIMATE},
    {"swish of 1.702", GDNN_SWISH, 1.702f, 0, 0, APPROXIMATE},
    {"log", GDNN_LOG, 0, 0, 1, APPROXIMATE},
    {"clip", GDNN_CLIP, -1.5f, 2.25f, 0, EXACT},
    {"pow", GDNN_POW, 1.5f, 2.5f, 1, FLOAT},
    {"mish", GDNN_MISH, 0, 0, 0, APPROXIMATE},
    {"hardswish", GDNN_HARDSWISH, 0, 0, 0, FLOAT},
};

static void test_function(const function *f, char layout, int rank, const int64_t *dims) {
    int64_t count = count_of(rank, dims);
    float *x = numbers(count, 3), *dy = numbers(count, 4), *y = floats(count), *dx = floats(count);
    double *wanted = zeros(count), *gradient = zeros(count);
    for (int64_t i = 0; i < count; i++) {
        // Numbers of all magnitudes that matter, away from corners and, where needed, from zero.
        x[i] *= f->positive ? 3 : 6;
        if (f->positive) x[i] = fabsf(x[i]) + 0.05f;
        if (fabs(x[i] - f->alpha) < 1e-4 || fabs(x[i] - f->beta) < 1e-4 || fabs(fabs(x[i]) - 3) < 1e-4) x[i] += 3e-4f;
        wanted[i] = eltwise(f->algorithm, f->alpha, f->beta, x[i]);
        double h = 1e-6, up = eltwise(f->algorithm, f->alpha, f->beta, x[i] + h);
        gradient[i] = dy[i] * (up - eltwise(f->algorithm, f->alpha, f->beta, x[i] - h)) / (2 * h);
    }
    gdnn_layout *both = layout_named(layout, GDNN_F32, rank, dims);
    gdnn_primitive *primitive = NULL;
    begin("%s, layout %c", f->name, layout);
    int status = gdnn_eltwise(&primitive, GDNN_FORWARD_INFERENCE, f->algorithm, f->alpha, f->beta, both, both);
    if (run(status, primitive, (operand[]){{GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_DST, 0, y, 0}, {0, 0, 0, 0}}))
        expect_close(y, wanted, count, f->tolerance);
    begin("gradient of %s, layout %c", f->name, layout);
    primitive = NULL;
    status = gdnn_eltwise(&primitive, GDNN_BACKWARD_DATA, f->algorithm, f->alpha, f->beta, both, both);
    operand operands[] = {
        {GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_DIFF_DST, dy, 0, 0}, {GDNN_ARG_DIFF_SRC, 0, dx, 0}, {0, 0, 0, 0}};
    if (run(status, primitive, operands))
        expect_close(dx, gradient, count, f->tolerance == APPROXIMATE ? APPROXIMATE : FLOAT);
    free(x), free(dy), free(y), free(dx), free(wanted), free(gradient);
    gdnn_layout_destroy(both);
}

typedef double (*binary_function)(double, double);
static double add(double a, double b) { return a + b; }
static double multiply(double a, double b) { return a * b; }
static double divide(double a, double b) { return a / b; }
static double subtract(double a, double b) { return a - b; }

static void test_binary(const char *name, int algorithm, binary_function f, char layout, const int64_t *second) {
    const int64_t dims[] = {2, 20, 3, 4};
    begin("%s of layout %c and %lldx%lldx%lldx%lld", name, layout, (long long)second[0], (long long)second[1],
        (long long)second[2], (long long)second[3]);
    int64_t count = count_of(4, dims), other = count_of(4, second);
    float *a = numbers(count, 5), *b = numbers(other, 6), *y = floats(count);
    double *wanted = zeros(count);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0, step = 1;
        for (int d = 3; d >= 0; d--) {
            if (second[d] > 1) at += rest % dims[d] * step, step *= second[d];
            rest /= dims[d];
        }
        wanted[i] = f(a[i], b[at]);
    }
    gdnn_layout *la = layout_named(layout, GDNN_F32, 4, dims);
    gdnn_layout *lb = other == count ? gdnn_layout_clone(la) : plain(4, second);
    gdnn_primitive *primitive = NULL;
    int status = gdnn_binary(&primitive, algorithm, la, lb, la, NULL);
    operand operands[] = {{GDNN_ARG_SRC, a, 0, 0}, {GDNN_ARG_SRC_1, b, 0, 0}, {GDNN_ARG_DST, 0, y, 0}, {0, 0, 0, 0}};
    if (run(status, primitive, operands)) expect_close(y, wanted, count, FLOAT);
    free(a), free(b), free(y), free(wanted);
    gdnn_layout_destroy(la), gdnn_layout_destroy(lb);
}

void test_elementwise(void) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        test_function(&functions[i], 'p', 1, (int64_t[]){1037});
        test_function(&functions[i], 'l', 4, (int64_t[]){2, 20, 5, 3});
        test_function(&functions[i], 'b', 4, (int64_t[]){2, 20, 5, 3});
    }
    const struct {
        const char *name;
        int algorithm;
        binary_function function;
    } list[] = {
        {"sum", GDNN_ADD, add},        {"product", GDNN_MULTIPLY, multiply}, {"maximum", GDNN_MAXIMUM, fmax},
        {"minimum", GDNN_MINIMUM, fmin}, {"quotient", GDNN_DIVIDE, divide},   {"difference", GDNN_SUBTRACT, subtract},
    };
    const int64_t seconds[][4] = {{2, 20, 3, 4}, {1, 20, 1, 1}, {1, 1, 1, 1}, {2, 1, 3, 4}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (const char *layout = "plb"; *layout; layout++)
            for (int s = 0; s < 4; s++)
                test_binary(list[i].name, list[i].algorithm, list[i].function, *layout, seconds[s]);
}
