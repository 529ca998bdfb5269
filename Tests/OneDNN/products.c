#include "seam.h"

typedef struct {
    const char *name;
    int rank;
    int64_t a[4], b[4], y[4];
    // Whether an operand lies transposed in memory.
    int transposed_a, transposed_b;
    // Whether the primitive chooses the layout of the weights.
    int any, bias;
    // 0: nothing, 1: linear, 2: relu, 3: gelu, 4: linear then add.
    int post;
    // Element type of the operands; the result is float. -1: float whose products may be in bfloat16.
    int type;
} product;

static gdnn_layout *matrix(int type, int rank, const int64_t *dims, int transposed) {
    if (!transposed) return gdnn_layout_strided(type, rank, dims, NULL);
    int64_t strides[4], step = dims[rank - 1] * dims[rank - 2];
    strides[rank - 2] = 1, strides[rank - 1] = dims[rank - 2];
    for (int i = rank - 3; i >= 0; i--) strides[i] = step, step *= dims[i];
    return gdnn_layout_strided(type, rank, dims, strides);
}

static int64_t offset(const product *p, const int64_t *dims, int64_t stack) {
    int64_t at = 0, step = 1;
    for (int i = p->rank - 3; i >= 0; i--) {
        if (dims[i] > 1) at += stack % p->y[i] * step;
        step *= dims[i], stack /= p->y[i];
    }
    return at * dims[p->rank - 2] * dims[p->rank - 1];
}

static void multiply(const product *p) {
    begin("product %s", p->name);
    int64_t na = count_of(p->rank, p->a), nb = count_of(p->rank, p->b), ny = count_of(p->rank, p->y);
    int64_t m = p->y[p->rank - 2], n = p->y[p->rank - 1], k = p->a[p->rank - 1];
    float *a = numbers(na, 1), *b = numbers(nb, 2), *c = numbers(n, 3), *extra = numbers(ny, 4), *y = floats(ny);
    double *wanted = zeros(ny);
    for (int64_t i = 0; i < ny; i++) {
        const float *row = a + offset(p, p->a, i / (m * n)) + i / n % m * k;
        const float *column = b + offset(p, p->b, i / (m * n)) + i % n;
        for (int64_t j = 0; j < k; j++) wanted[i] += (double)row[j] * column[j * n];
        if (p->bias) wanted[i] += c[i % n];
        if (p->post == 1 || p->post == 4) wanted[i] = 0.125 * wanted[i];
        if (p->post == 2) wanted[i] = eltwise(GDNN_RELU, 0, 0, wanted[i]);
        if (p->post == 3) wanted[i] = eltwise(GDNN_GELU_ERF, 0, 0, wanted[i]);
        if (p->post == 4) wanted[i] += extra[i];
    }
    int type = p->type > 0 ? p->type : GDNN_F32;
    gdnn_layout *la = matrix(type, p->rank, p->a, p->transposed_a);
    gdnn_layout *lb = p->any ? gdnn_layout_any(type, p->rank, p->b) : matrix(type, p->rank, p->b, p->transposed_b);
    gdnn_layout *ly = plain(p->rank, p->y);
    int64_t row[4] = {1, 1, 1, 1};
    row[p->rank - 1] = n;
    gdnn_layout *lc = p->bias ? plain(p->rank, row) : NULL;
    gdnn_post_op operations[2] = {{0, GDNN_LINEAR, 0.125f, 0, NULL}, {2, GDNN_ADD, 0, 0, ly}};
    if (p->post == 2) operations[0] = (gdnn_post_op){0, GDNN_RELU, 0, 0, NULL};
    if (p->post == 3) operations[0] = (gdnn_post_op){0, GDNN_GELU_ERF, 0, 0, NULL};
    gdnn_attributes attributes = {operations, p->post == 4 ? 2 : p->post > 0, p->type < 0, NULL};
    gdnn_primitive *primitive = NULL;
    int status = gdnn_matmul(&primitive, la, lb, lc, ly, &attributes);
    operand operands[6] = {{GDNN_ARG_SRC, a, 0, 0}, {GDNN_ARG_WEIGHTS, b, 0, 0}, {GDNN_ARG_DST, 0, y, 0}};
    int count = 3;
    if (p->bias) operands[count++] = (operand){GDNN_ARG_BIAS, c, 0, 0};
    if (p->post == 4) operands[count] = (operand){GDNN_ARG_POST_BINARY + GDNN_ARG_POST_STRIDE, extra, 0, 0};
    int is_narrow = p->type == GDNN_BF16 || p->type < 0;
    if (run(status, primitive, operands))
        expect_close(y, wanted, ny, is_narrow ? BFLOAT : p->post == 3 ? APPROXIMATE : FLOAT);
    free(a), free(b), free(c), free(extra), free(y), free(wanted);
    gdnn_layout *all[] = {la, lb, ly, lc};
    for (int i = 0; i < 4; i++) gdnn_layout_destroy(all[i]);
}

static void inner_product(int spatial, int bias, int relu) {
    begin("inner product, %d dimensions%s%s", 2 + spatial, bias ? ", bias" : "", relu ? ", relu" : "");
    const int64_t x[] = {3, 20, 4, 2}, w[] = {17, 20, 4, 2}, y[] = {3, 17};
    int64_t k = count_of(1 + spatial, x + 1);
    float *a = numbers(3 * k, 1), *b = numbers(17 * k, 2), *c = numbers(17, 3), *out = floats(51);
    double *wanted = zeros(51);
    for (int i = 0; i < 51; i++) {
        for (int64_t j = 0; j < k; j++) wanted[i] += (double)a[i / 17 * k + j] * b[i % 17 * k + j];
        if (bias) wanted[i] += c[i % 17];
        if (relu && wanted[i] < 0) wanted[i] = 0;
    }
    gdnn_layout *lx = plain(2 + spatial, x), *lw = gdnn_layout_any(GDNN_F32, 2 + spatial, w), *ly = plain(2, y);
    gdnn_layout *lb = bias ? plain(1, w) : NULL;
    gdnn_post_op operation = {0, GDNN_RELU, 0, 0, NULL};
    gdnn_attributes attributes = {&operation, relu, 0, NULL};
    gdnn_primitive *primitive = NULL;
    int status = gdnn_inner_product(&primitive, lx, lw, lb, ly, &attributes);
    operand operands[5] = {{GDNN_ARG_SRC, a, 0, 0}, {GDNN_ARG_WEIGHTS, b, 0, 0}, {GDNN_ARG_DST, 0, out, 0}};
    if (bias) operands[3] = (operand){GDNN_ARG_BIAS, c, 0, 0};
    if (run(status, primitive, operands)) expect_close(out, wanted, 51, FLOAT);
    free(a), free(b), free(c), free(out), free(wanted);
    gdnn_layout *all[] = {lx, lw, ly, lb};
    for (int i = 0; i < 4; i++) gdnn_layout_destroy(all[i]);
}

void test_products(void) {
    const product shapes[] = {
        {.name = "13x37x29", .rank = 2, .a = {13, 37}, .b = {37, 29}, .y = {13, 29}},
        {.name = "64x128x96", .rank = 2, .a = {64, 128}, .b = {128, 96}, .y = {64, 96}},
        {.name = "1x40x33", .rank = 2, .a = {1, 40}, .b = {40, 33}, .y = {1, 33}},
        {.name = "in a stack", .rank = 3, .a = {5, 9, 16}, .b = {5, 16, 11}, .y = {5, 9, 11}},
        {.name = "in a stack of stacks", .rank = 4, .a = {2, 3, 7, 8}, .b = {2, 3, 8, 9}, .y = {2, 3, 7, 9}},
        {.name = "with one right side for a stack", .rank = 3, .a = {5, 9, 16}, .b = {1, 16, 11}, .y = {5, 9, 11}},
        {.name = "with one left side for a stack", .rank = 3, .a = {1, 9, 16}, .b = {5, 16, 11}, .y = {5, 9, 11}},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int bias = 0; bias < 2; bias++)
            for (int post = 0; post < 5; post++)
                for (int lay = 0; lay < 5; lay++) {
                    product p = shapes[i];
                    char name[120];
                    p.bias = bias, p.post = post, p.any = lay == 4;
                    p.transposed_a = lay & 1, p.transposed_b = lay >> 1 & 1;
                    snprintf(
                        name, sizeof name, "%s%s%s%s%s, post-operation %d", shapes[i].name, p.any ? ", packed" : "",
                        p.transposed_a ? ", left transposed" : "", p.transposed_b ? ", right transposed" : "",
                        bias ? ", bias" : "", post);
                    p.name = name;
                    multiply(&p);
                    if (post == 0 || post == 2) {
                        if (gdnn_has_bf16()) p.type = GDNN_BF16, strcat(name, ", bfloat16"), multiply(&p);
                        p.type = -1, strcat(name, ", fast"), multiply(&p);
                    }
                }
    for (int spatial = 0; spatial < 3; spatial += 2)
        for (int i = 0; i < 4; i++) inner_product(spatial, i & 1, i >> 1);
}
