#include "seam.h"

static void rejected(const char *what, int status, gdnn_primitive *primitive, int wanted) {
    begin("rejected: %s", what);
    expect_status(status, wanted);
    expect(primitive == NULL, "a primitive all the same");
    expect(strncmp(gdnn_last_error(), "oneDNN ", 7) == 0, "no text");
    gdnn_primitive_destroy(primitive);
}

static void no_layout(const char *what, gdnn_layout *layout) {
    begin("no layout: %s", what);
    expect(layout == NULL, "a layout all the same");
    gdnn_layout_destroy(layout);
}

void test_errors(void) {
    int64_t many[16];
    for (int i = 0; i < 16; i++) many[i] = 2;
    const int64_t x[] = {1, 16, 8, 8}, w[] = {16, 16, 3, 3}, w8[] = {16, 8, 3, 3}, y[] = {1, 16, 6, 6};
    no_layout("rank 0", gdnn_layout_strided(GDNN_F32, 0, many, NULL));
    no_layout("rank 13", gdnn_layout_strided(GDNN_F32, 13, many, NULL));
    no_layout("any of rank 0", gdnn_layout_any(GDNN_F32, 0, many));
    no_layout("any of rank 13", gdnn_layout_any(GDNN_F32, 13, many));
    no_layout("a negative extent", gdnn_layout_strided(GDNN_F32, 2, (int64_t[]){3, -4}, NULL));
    no_layout("an unknown type", gdnn_layout_strided(7, 2, many, NULL));
    no_layout(
        "more elements than can be counted",
        gdnn_layout_strided(GDNN_F32, 3, (int64_t[]){INT64_C(1) << 40, INT64_C(1) << 40, 4}, NULL));
    no_layout("a stride beyond memory", gdnn_layout_strided(GDNN_F32, 1, (int64_t[]){4}, (int64_t[]){INT64_MAX / 2}));
    no_layout("an extent that is not known", gdnn_layout_any(GDNN_F32, 2, (int64_t[]){3, INT64_MIN}));
    no_layout("blocks beyond memory", gdnn_layout_channel_blocks(GDNN_F32, 4, (int64_t[]){1, INT64_MAX, 1, 1}, 16));
    no_layout("blocks of 7", gdnn_layout_channel_blocks(GDNN_F32, 4, x, 7));
    no_layout("blocks of rank 2", gdnn_layout_channel_blocks(GDNN_F32, 2, x, 16));

    gdnn_layout *lx = plain(4, x), *lw = plain(4, w), *lw8 = plain(4, w8), *ly = plain(4, y);
    gdnn_layout *ints = gdnn_layout_strided(GDNN_S32, 4, x, NULL);
    gdnn_window window = {.strides = {1, 1}, .dilations = {1, 1}, .kernel = {3, 3}};
    gdnn_primitive *p = NULL;
    int s = gdnn_convolution(&p, GDNN_FORWARD_INFERENCE, lx, lw8, NULL, ly, &window, NULL);
    rejected("channels that do not fit", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_convolution(&p, GDNN_FORWARD_INFERENCE, lx, lw, NULL, lx, &window, NULL);
    rejected("a result of another extent", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_convolution(&p, GDNN_FORWARD_INFERENCE, NULL, lw, NULL, ly, &window, NULL);
    rejected("no source", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_softmax(&p, GDNN_FORWARD_INFERENCE, GDNN_SOFTMAX, ints, ints, 1);
    rejected("softmax of integers", s, p, GDNN_UNIMPLEMENTED), p = NULL;
    gdnn_post_op bad = {0, GDNN_ADD, 0, 0, NULL};
    gdnn_attributes attributes = {&bad, 1, 0, NULL};
    s = gdnn_convolution(&p, GDNN_FORWARD_INFERENCE, lx, lw, NULL, ly, &window, &attributes);
    rejected("addition as an element-wise function", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_pooling(&p, GDNN_FORWARD_INFERENCE, GDNN_RELU, lx, ly, &window);
    rejected("relu as a pool", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_pooling(&p, GDNN_FORWARD_INFERENCE, GDNN_POOL_MAX, lx, lx, &window);
    rejected("a pool of another extent", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_eltwise(&p, GDNN_FORWARD_INFERENCE, 999, 0, 0, lx, lx);
    rejected("an unknown function", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_softmax(&p, GDNN_FORWARD_INFERENCE, GDNN_SOFTMAX, lx, lx, 4);
    rejected("an axis beyond the rank", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_matmul(&p, lx, lw, NULL, ly, NULL);
    rejected("a product of shapes that do not fit", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_reorder(&p, lx, ly);
    rejected("a reorder between shapes", s, p, GDNN_INVALID), p = NULL;
    s = gdnn_reduction(&p, GDNN_REDUCE_SUM, lx, lx);
    rejected("a reduction of nothing", s, p, GDNN_INVALID), p = NULL;

    begin("arguments that an execution cannot have");
    expect_status(gdnn_eltwise(&p, GDNN_FORWARD_INFERENCE, GDNN_RELU, 0, 0, lx, lx), GDNN_OK);
    int arguments[13] = {GDNN_ARG_SRC, GDNN_ARG_DST, GDNN_ARG_BIAS};
    float *memory = numbers(1024, 1);
    void *pointers[13] = {memory, memory, memory};
    if (p) {
        expect(gdnn_primitive_layout(p, GDNN_ARG_BIAS) == NULL, "a layout of a bias");
        expect_status(gdnn_execute(p, 3, arguments, pointers), GDNN_OK);
        expect_status(gdnn_execute(p, 13, arguments, pointers), GDNN_INVALID);
    }
    free(memory);
    gdnn_primitive_destroy(p);
    gdnn_primitive_destroy(NULL);
    gdnn_layout_destroy(NULL);
    gdnn_layout *all[] = {lx, lw, lw8, ly, ints};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) gdnn_layout_destroy(all[i]);
}
