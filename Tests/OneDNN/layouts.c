#include "seam.h"

static void describe(const char *name, const gdnn_layout *layout, int rank, const int64_t *dims, const int64_t *padded,
    const int64_t *strides, int64_t block, size_t bytes) {
    begin("layout %s", name);
    expect(layout != NULL, "no layout");
    if (!layout) return;
    int64_t d[GDNN_MAX_RANK], p[GDNN_MAX_RANK], s[GDNN_MAX_RANK], b[GDNN_MAX_RANK], of[GDNN_MAX_RANK];
    int blocks = gdnn_layout_describe(layout, d, p, s, b, of);
    size_t size = (size_t)rank * sizeof(int64_t);
    expect(gdnn_layout_rank(layout) == rank, "rank");
    expect(gdnn_layout_type(layout) == GDNN_F32, "type");
    expect(blocks == (block > 0), "number of blocks");
    expect(!memcmp(d, dims, size) && !memcmp(p, padded, size) && !memcmp(s, strides, size), "dimensions or strides");
    if (blocks == 1) expect(b[0] == block && of[0] == 1, "block");
    expect(gdnn_layout_bytes(layout) == bytes, "bytes");
    gdnn_layout *clone = gdnn_layout_clone(layout);
    expect(clone && gdnn_layout_equal(clone, layout), "a clone is not equal");
    gdnn_layout_destroy(clone);
}

void test_layouts(void) {
    const int64_t dims[] = {2, 3, 4, 5}, padded[] = {2, 16, 4, 5}, padded8[] = {2, 8, 4, 5};
    gdnn_layout *rows = layout_named('p', GDNN_F32, 4, dims), *last = layout_named('l', GDNN_F32, 4, dims);
    gdnn_layout *b16 = layout_named('b', GDNN_F32, 4, dims), *b8 = layout_named('e', GDNN_F32, 4, dims);
    gdnn_layout *gaps = gdnn_layout_strided(GDNN_F32, 2, (int64_t[]){3, 4}, (int64_t[]){10, 2});
    gdnn_layout *bytes = gdnn_layout_strided(GDNN_U8, 4, dims, NULL), *any = gdnn_layout_any(GDNN_F32, 4, dims);
    describe("row-major", rows, 4, dims, dims, (int64_t[]){60, 20, 5, 1}, 0, 480);
    describe("channels last", last, 4, dims, dims, (int64_t[]){60, 1, 15, 3}, 0, 480);
    describe("blocks of 16", b16, 4, dims, padded, (int64_t[]){320, 320, 80, 16}, 16, 2560);
    describe("blocks of 8", b8, 4, dims, padded8, (int64_t[]){160, 160, 40, 8}, 8, 1280);
    describe("with gaps", gaps, 2, (int64_t[]){3, 4}, (int64_t[]){3, 4}, (int64_t[]){10, 2}, 0, 30 * 4);
    for (int rank = 3; rank <= 5; rank += 2) {
        const int64_t shape[] = {2, 20, 3, 2, 2};
        begin("layout of blocks, rank %d", rank);
        gdnn_layout *layout = layout_named('b', GDNN_F32, rank, shape);
        expect(layout && gdnn_layout_bytes(layout) == (rank == 3 ? 192 * 4 : 768 * 4), "bytes");
        gdnn_layout_destroy(layout);
    }
    begin("layouts compared");
    expect(!gdnn_layout_equal(rows, last) && !gdnn_layout_equal(b16, b8), "different orders are equal");
    expect(!gdnn_layout_equal(rows, bytes), "different types are equal");
    expect(gdnn_layout_type(bytes) == GDNN_U8 && gdnn_layout_bytes(bytes) == 120, "a layout of bytes");
    begin("layout any");
    int64_t d[5][GDNN_MAX_RANK];
    expect(gdnn_layout_describe(any, d[0], d[1], d[2], d[3], d[4]) == -1, "blocks describe it");
    expect(gdnn_layout_rank(any) == 4 && !memcmp(d[0], dims, sizeof dims), "dimensions");
    gdnn_layout *all[] = {rows, last, b16, b8, gaps, bytes, any};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) gdnn_layout_destroy(all[i]);
}

static void reorder(const char *name, gdnn_layout *from, gdnn_layout *to) {
    begin("reorder %s", name);
    expect(from && to, "no layout");
    if (!from || !to) return;
    int64_t dims[GDNN_MAX_RANK], unused[4][GDNN_MAX_RANK];
    gdnn_layout_describe(from, dims, unused[0], unused[1], unused[2], unused[3]);
    int64_t count = count_of(gdnn_layout_rank(from), dims);
    float *in = numbers(count, 7), *out = floats(count);
    double *wanted = zeros(count);
    for (int64_t i = 0; i < count; i++) wanted[i] = in[i];
    gdnn_primitive *primitive = NULL;
    int status = gdnn_reorder(&primitive, from, to);
    if (run(status, primitive, (operand[]){{GDNN_ARG_SRC, in, 0, 0}, {GDNN_ARG_DST, 0, out, 0}, {0, 0, 0, 0}}))
        expect_close(
            out, wanted, count,
            gdnn_layout_type(from) == GDNN_BF16 || gdnn_layout_type(to) == GDNN_BF16 ? BFLOAT : EXACT);
    free(in), free(out), free(wanted);
    gdnn_layout_destroy(from);
    gdnn_layout_destroy(to);
}

void test_reorder(void) {
    const char *names = "plbe";
    const int64_t shapes[][4] = {{2, 3, 5, 4}, {1, 32, 7, 7}, {2, 40, 3, 3}};
    for (int s = 0; s < 3; s++)
        for (const char *a = names; *a; a++)
            for (const char *b = names; *b; b++) {
                char name[80];
                snprintf(name, sizeof name, "%c to %c, %d channels", *a, *b, (int)shapes[s][1]);
                reorder(name, layout_named(*a, GDNN_F32, 4, shapes[s]), layout_named(*b, GDNN_F32, 4, shapes[s]));
            }
    const int64_t matrix[] = {37, 21};
    reorder("transposed", plain(2, matrix), gdnn_layout_strided(GDNN_F32, 2, matrix, (int64_t[]){1, 37}));
    reorder("to bfloat16", plain(2, matrix), gdnn_layout_strided(GDNN_BF16, 2, matrix, NULL));
    reorder("from bfloat16", gdnn_layout_strided(GDNN_BF16, 2, matrix, NULL), plain(2, matrix));

    // To the layout of weights that a primitive chooses, and back.
    begin("reorder of weights");
    const int64_t x[] = {1, 32, 10, 10}, w[] = {32, 32, 3, 3}, y[] = {1, 32, 8, 8};
    gdnn_window window = {.strides = {1, 1}, .dilations = {1, 1}};
    gdnn_layout *source = layout_named('l', GDNN_F32, 4, x), *target = layout_named('l', GDNN_F32, 4, y);
    gdnn_layout *any = layout_named('a', GDNN_F32, 4, w);
    gdnn_primitive *primitive = NULL;
    expect_status(
        gdnn_convolution(&primitive, GDNN_FORWARD_INFERENCE, source, any, NULL, target, &window, NULL), GDNN_OK);
    if (primitive) {
        gdnn_layout *wanted = gdnn_primitive_layout(primitive, GDNN_ARG_WEIGHTS);
        expect(wanted && !gdnn_layout_equal(wanted, any), "the primitive has not chosen");
        reorder("row-major to chosen weights", plain(4, w), gdnn_layout_clone(wanted));
        reorder("chosen to row-major weights", wanted, plain(4, w));
        gdnn_primitive_destroy(primitive);
    }
    gdnn_layout_destroy(source), gdnn_layout_destroy(target), gdnn_layout_destroy(any);
}
