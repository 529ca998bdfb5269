#include "geometry.h"

#define POST_SUM 1
#define POST_BINARY 2

typedef struct {
    const char *name;
    int count;
    gdnn_post_op operations[2];
} chain;

static const chain chains[] = {
    {"nothing", 0, {{0}}},
    {"relu", 1, {{0, GDNN_RELU, 0, 0, NULL}}},
    {"leaky relu", 1, {{0, GDNN_RELU, 0.1f, 0, NULL}}},
    {"clip", 1, {{0, GDNN_CLIP, 0, 6, NULL}}},
    {"swish", 1, {{0, GDNN_SWISH, 1, 0, NULL}}},
    {"gelu with erf", 1, {{0, GDNN_GELU_ERF, 0, 0, NULL}}},
    {"gelu with tanh", 1, {{0, GDNN_GELU_TANH, 0, 0, NULL}}},
    {"hardswish", 1, {{0, GDNN_HARDSWISH, 0, 0, NULL}}},
    {"softplus", 1, {{0, GDNN_SOFTPLUS, 0, 0, NULL}}},
    {"mish", 1, {{0, GDNN_MISH, 0, 0, NULL}}},
    {"elu", 1, {{0, GDNN_ELU, 1, 0, NULL}}},
    {"linear", 1, {{0, GDNN_LINEAR, 2, 0.5f, NULL}}},
    {"sum", 1, {{POST_SUM, GDNN_ADD, 0, 0, NULL}}},
    {"sum, relu", 2, {{POST_SUM, GDNN_ADD, 0, 0, NULL}, {0, GDNN_RELU, 0, 0, NULL}}},
    {"relu, sum", 2, {{0, GDNN_RELU, 0, 0, NULL}, {POST_SUM, GDNN_ADD, 0, 0, NULL}}},
    {"add", 1, {{POST_BINARY, GDNN_ADD, 0, 0, NULL}}},
    {"add, relu", 2, {{POST_BINARY, GDNN_ADD, 0, 0, NULL}, {0, GDNN_RELU, 0, 0, NULL}}},
    {"swish, add", 2, {{0, GDNN_SWISH, 1, 0, NULL}, {POST_BINARY, GDNN_ADD, 0, 0, NULL}}},
};
#define CHAINS (int)(sizeof chains / sizeof *chains)

typedef struct {
    int transposed, bias;
    char source, target;
    enum tolerance tolerance;
} variant;

static void forward(const geometry *g, const chain *post, variant v) {
    shapes s = shapes_of(g, v.transposed);
    begin(
        "%s%s, %s, %c to %c%s%s", v.transposed ? "transposed " : "", g->name,
        post->name, v.source, v.target, v.bias ? ", bias" : "", v.tolerance == BFLOAT ? ", fast" : "");
    int64_t nx = count_of(s.rank, s.x), nw = count_of(s.weights_rank, s.w), ny = count_of(s.rank, s.y);
    float *x = numbers(nx, 1), *w = numbers(nw, 2), *b = numbers(g->outputs, 3), *extra = numbers(ny, 4);
    float *y = floats(ny);
    double *wanted = zeros(ny);
    convolve_plainly(g, v.transposed, RESULT, x, w, NULL, wanted);
    int sums = 0, added = -1;
    int64_t area = ny / g->batch / g->outputs;
    for (int64_t i = 0; i < ny; i++) {
        if (v.bias) wanted[i] += b[i / area % g->outputs];
        for (int p = 0; p < post->count; p++) {
            const gdnn_post_op *op = &post->operations[p];
            if (op->kind == 0) wanted[i] = eltwise(op->algorithm, op->alpha, op->beta, wanted[i]);
            else wanted[i] += extra[i];
            if (op->kind == POST_SUM) sums = 1;
            if (op->kind == POST_BINARY) added = p;
        }
    }
    gdnn_layout *source = layout_named(v.source, GDNN_F32, s.rank, s.x);
    gdnn_layout *target = layout_named(v.target, GDNN_F32, s.rank, s.y);
    gdnn_layout *weights = layout_named('a', GDNN_F32, s.weights_rank, s.w);
    gdnn_layout *bias = v.bias ? plain(1, &s.y[1]) : NULL;
    gdnn_layout *second = v.target == 'a' ? layout_named('l', GDNN_F32, s.rank, s.y) : gdnn_layout_clone(target);
    gdnn_post_op operations[2];
    memcpy(operations, post->operations, sizeof operations);
    if (added >= 0) operations[added].operand = second;
    gdnn_attributes attributes = {operations, post->count, v.tolerance == BFLOAT, NULL};
    gdnn_primitive *primitive = NULL;
    int status = (v.transposed ? gdnn_deconvolution : gdnn_convolution)(
        &primitive, GDNN_FORWARD_INFERENCE, source, weights, bias, target, &s.window, &attributes);
    if (primitive && v.source != 'a') expect_layout(primitive, GDNN_ARG_SRC, source);
    if (primitive && v.target != 'a') expect_layout(primitive, GDNN_ARG_DST, target);
    operand operands[6] = {
        {GDNN_ARG_SRC, x, 0, 0}, {GDNN_ARG_WEIGHTS, w, 0, 0}, {GDNN_ARG_DST, sums ? extra : NULL, y, 0}};
    int count = 3;
    if (v.bias) operands[count++] = (operand){GDNN_ARG_BIAS, b, 0, 0};
    if (added >= 0)
        operands[count] = (operand){GDNN_ARG_POST_BINARY + added * GDNN_ARG_POST_STRIDE, extra, 0, 0};
    if (run(status, primitive, operands)) expect_close(y, wanted, ny, v.tolerance);
    gdnn_layout *all[] = {source, target, weights, bias, second};
    for (int i = 0; i < 5; i++) gdnn_layout_destroy(all[i]);
    free(x), free(w), free(b), free(extra), free(y), free(wanted);
}

static enum tolerance tolerance_of(const chain *post) {
    for (int i = 0; i < post->count; i++) {
        const gdnn_post_op *op = &post->operations[i];
        if (op->kind == 0 && op->algorithm != GDNN_RELU && op->algorithm != GDNN_CLIP && op->algorithm != GDNN_LINEAR)
            return APPROXIMATE;
    }
    return FLOAT;
}

void test_convolution(void) {
    static const char orders[][2] = {{'p', 'p'}, {'l', 'l'}, {'b', 'b'}, {'e', 'e'}, {'a', 'a'}};
    for (int g = 0; g < geometry_count; g++)
        for (int i = 0; i < 5; i++)
            for (int bias = 0; bias < 2; bias++)
                forward(&geometries[g], &chains[0], (variant){0, bias, orders[i][0], orders[i][1], FLOAT});
    // With channels that fill blocks, with channels that do not, and with one filter for each channel.
    for (int p = 1; p < CHAINS; p++)
        for (int g = 0; g < geometry_count; g += g == 0 ? 2 : g == 2 ? 10 : 100)
            for (int i = 0; i < 3; i++)
                forward(
                    &geometries[g], &chains[p],
                    (variant){0, 1, orders[i][0], orders[i][1], tolerance_of(&chains[p])});
    for (int g = 0; g < geometry_count; g++)
        for (int i = 0; i < 3; i++) {
            forward(&geometries[g], &chains[1], (variant){0, 1, orders[i][0], orders[i][1], BFLOAT});
            forward(&geometries[g], &chains[0], (variant){1, 1, orders[i][0], orders[i][1], BFLOAT});
        }
    // The first layer of an image model.
    const geometry first = {"first layer", 2, 2, 1, 3, 40, {23, 21}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}};
    for (int p = 0; p < 2; p++)
        for (const char *target = "ble"; *target; target++) {
            forward(&first, &chains[p], (variant){0, 1, 'p', *target, FLOAT});
            if (*target == 'l') forward(&first, &chains[p], (variant){0, 1, 'l', 'l', FLOAT});
        }
    const geometry flagged[] = {
        {"64 to 64", 2, 1, 1, 64, 64, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
        {"128 to 128", 2, 1, 1, 128, 128, {13, 15}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
        {"40 to 48 channels", 2, 1, 1, 40, 48, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
        {"stride 2", 2, 1, 1, 64, 64, {14, 14}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    };
    const int posts[] = {0, 1, 3, 4, 12, 13, 15};
    for (int g = 0; g < 4; g++)
        for (int p = 0; p < 7; p++) {
            const chain *post = &chains[posts[p]];
            forward(&flagged[g], post, (variant){0, 1, 'b', 'b', tolerance_of(post)});
        }
    for (int g = 0; g < geometry_count; g++)
        for (int i = 0; i < 5; i++)
            if (geometries[g].groups == 1 || i != 3)
                forward(&geometries[g], &chains[0], (variant){1, i % 2, orders[i][0], orders[i][1], FLOAT});
    for (int p = 1; p < CHAINS; p++)
        forward(&geometries[0], &chains[p], (variant){1, 1, 'l', 'l', tolerance_of(&chains[p])});
}

static void gradient(const geometry *g, int transposed, int direction, char source, char target, int fast) {
    shapes s = shapes_of(g, transposed);
    int of_weights = direction == GDNN_BACKWARD_WEIGHTS;
    begin(
        "gradient by the %s of %s%s, %c to %c%s", of_weights ? "weights" : "input", transposed ? "transposed " : "",
        g->name, source, target, fast ? ", fast" : "");
    int64_t nx = count_of(s.rank, s.x), nw = count_of(s.weights_rank, s.w), ny = count_of(s.rank, s.y);
    float *x = numbers(nx, 1), *w = numbers(nw, 2), *dy = numbers(ny, 3);
    int64_t count = of_weights ? nw : nx;
    float *result = floats(count), *sums = floats(g->outputs);
    double *wanted = zeros(count), *wanted_sums = zeros(g->outputs);
    convolve_plainly(g, transposed, of_weights ? WEIGHTS : DATA, x, w, dy, wanted);
    int64_t area = ny / g->batch / g->outputs;
    for (int64_t i = 0; i < ny; i++) wanted_sums[i / area % g->outputs] += dy[i];
    gdnn_layout *ls = layout_named(source, GDNN_F32, s.rank, s.x), *lt = layout_named(target, GDNN_F32, s.rank, s.y);
    gdnn_layout *lw = layout_named('a', GDNN_F32, s.weights_rank, s.w);
    // The gradient of the bias comes with that of the weights where it is asked for.
    gdnn_layout *lb = of_weights && target != 'p' ? plain(1, &s.y[1]) : NULL;
    gdnn_attributes attributes = {NULL, 0, fast, NULL};
    gdnn_primitive *primitive = NULL;
    int status = (transposed ? gdnn_deconvolution : gdnn_convolution)(
        &primitive, direction, ls, lw, lb, lt, &s.window, &attributes);
    operand operands[5] = {{GDNN_ARG_DIFF_DST, dy, 0, 0}};
    operands[1] = of_weights ? (operand){GDNN_ARG_SRC, x, 0, 0} : (operand){GDNN_ARG_WEIGHTS, w, 0, 0};
    operands[2] = (operand){of_weights ? GDNN_ARG_DIFF_WEIGHTS : GDNN_ARG_DIFF_SRC, 0, result, 0};
    if (lb) operands[3] = (operand){GDNN_ARG_DIFF_BIAS, 0, sums, 0};
    if (run(status, primitive, operands)) {
        expect_close(result, wanted, count, fast ? BFLOAT : FLOAT);
        if (lb) expect_close(sums, wanted_sums, g->outputs, fast ? BFLOAT : FLOAT);
    }
    gdnn_layout *all[] = {ls, lt, lw, lb};
    for (int i = 0; i < 4; i++) gdnn_layout_destroy(all[i]);
    free(x), free(w), free(dy), free(result), free(sums), free(wanted), free(wanted_sums);
}

// Callers look elsewhere where the implementation is reference code.
static void names(int transposed, int64_t channels, char order, int is_reference) {
    const geometry g = {"", 2, 1, 1, channels, channels, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
    shapes s = shapes_of(&g, transposed);
    begin("name of a %sconvolution of %d channels", transposed ? "transposed " : "", (int)channels);
    gdnn_layout *lx = layout_named(order, GDNN_F32, 4, s.x), *ly = layout_named(order, GDNN_F32, 4, s.y);
    gdnn_layout *lw = plain(4, s.w);
    if (!is_reference) gdnn_layout_destroy(lw), lw = layout_named('a', GDNN_F32, 4, s.w);
    gdnn_primitive *primitive = NULL;
    int status = (transposed ? gdnn_deconvolution : gdnn_convolution)(
        &primitive, GDNN_FORWARD_INFERENCE, lx, lw, NULL, ly, &s.window, NULL);
    expect_status(status, GDNN_OK);
    const char *name = primitive ? gdnn_primitive_name(primitive) : "";
    if (listing) printf("%-64s %s\n", "", name);
    expect(*name && (strncmp(name, "ref", 3) == 0) == is_reference, name);
    gdnn_primitive_destroy(primitive);
    gdnn_layout_destroy(lx), gdnn_layout_destroy(ly), gdnn_layout_destroy(lw);
}

void test_gradients(void) {
    for (int transposed = 0; transposed < 2; transposed++) {
        // Row-major weights between blocks are what no fast implementation takes.
        names(transposed, 5, 'b', 1);
        names(transposed, 32, 'l', 0);
    }
    for (int g = 0; g < geometry_count; g++)
        for (int transposed = 0; transposed < 2; transposed++)
            for (const char *order = "plba"; *order; order++)
                for (int fast = 0; fast < 2; fast++) {
                    gradient(&geometries[g], transposed, GDNN_BACKWARD_DATA, *order, *order, fast);
                    gradient(&geometries[g], transposed, GDNN_BACKWARD_WEIGHTS, *order, *order, fast);
                }
}
