#include "seam.h"

#include <stdarg.h>
#include <stdint.h>

int failures, checks, missing, tests, listing;
static char current[160];
static int current_failed;

void begin(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(current, sizeof current, format, list);
    va_end(list);
    current_failed = 0;
    tests++;
}

static void failed(const char *what) {
    if (!current_failed) failures++;
    current_failed = 1;
    printf("FAILED %s: %s\n", current, what);
}

void expect(int truth, const char *what) {
    checks++;
    if (!truth) failed(what);
}

void expect_status(int status, int wanted) {
    char text[320];
    snprintf(text, sizeof text, "status %d where %d was wanted (%s)", status, wanted, status ? gdnn_last_error() : "");
    expect(status == wanted, text);
}

void expect_close(const float *got, const double *wanted, int64_t count, enum tolerance tolerance) {
    double scale = 0, worst = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < count; i++) {
        if (fabs(wanted[i]) > scale) scale = fabs(wanted[i]);
        double error = fabs(got[i] - wanted[i]);
        if (!(error <= worst)) worst = isnan(error) ? INFINITY : error, where = i;
    }
    const double limits[] = {[EXACT] = 0, [FLOAT] = 1e-5 * scale, [APPROXIMATE] = 2e-4, [BFLOAT] = 2e-2 * scale};
    double limit = limits[tolerance];
    char text[160];
    snprintf(
        text, sizeof text, "element %lld is %g and should be %g; the limit is %g", (long long)where, got[where],
        wanted[where], limit);
    if (listing) printf("    %-60s error %.2g of %.2g\n", current, worst, scale);
    expect(count > 0 && worst <= limit, text);
}

void note_missing(void) {
    missing++;
    if (listing) printf("%-64s not offered\n", current);
}

// Data.

int64_t count_of(int rank, const int64_t *dims) {
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    return count;
}

static void *allocated(size_t bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes + 64)) {
        puts("out of memory");
        exit(2);
    }
    return memory;
}

float *floats(int64_t count) { return allocated((size_t)count * sizeof(float)); }

double *zeros(int64_t count) {
    double *memory = allocated((size_t)count * sizeof(double));
    memset(memory, 0, (size_t)count * sizeof(double));
    return memory;
}

float *numbers(int64_t count, unsigned seed) {
    float *result = floats(count);
    uint64_t state = seed * 2654435761u + 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double unit = (double)(state >> 40) / (1 << 24);
        result[i] = (float)(unit < 0.5 ? -0.01 - 1.98 * unit : 0.01 + 1.98 * (unit - 0.5));
    }
    return result;
}

// Layouts.

gdnn_layout *plain(int rank, const int64_t *dims) { return gdnn_layout_strided(GDNN_F32, rank, dims, NULL); }

gdnn_layout *layout_named(char name, int type, int rank, const int64_t *dims) {
    if (name == 'a') return gdnn_layout_any(type, rank, dims);
    if (name == 'b' || name == 'e') return gdnn_layout_channel_blocks(type, rank, dims, name == 'b' ? 16 : 8);
    if (name == 'p') return gdnn_layout_strided(type, rank, dims, NULL);
    int64_t strides[MAX_DIMS], step = dims[1];
    strides[1] = 1;
    for (int i = rank - 1; i > 1; i--) strides[i] = step, step *= dims[i];
    strides[0] = step;
    return gdnn_layout_strided(type, rank, dims, strides);
}

// The place of an element in a layout that blocks describe.
static int64_t place(const gdnn_layout *layout, const int64_t *index) {
    int64_t dims[GDNN_MAX_RANK], padded[GDNN_MAX_RANK], strides[GDNN_MAX_RANK];
    int64_t blocks[GDNN_MAX_RANK], of[GDNN_MAX_RANK], rest[GDNN_MAX_RANK];
    int rank = gdnn_layout_rank(layout);
    int count = gdnn_layout_describe(layout, dims, padded, strides, blocks, of);
    int64_t result = 0, step = 1;
    for (int i = 0; i < rank; i++) rest[i] = index[i];
    for (int i = count - 1; i >= 0; i--) {
        result += rest[of[i]] % blocks[i] * step;
        rest[of[i]] /= blocks[i];
        step *= blocks[i];
    }
    for (int i = 0; i < rank; i++) result += rest[i] * strides[i];
    return result;
}

static uint16_t to_bf16(float number) {
    uint32_t bits;
    memcpy(&bits, &number, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t number) {
    uint32_t bits = (uint32_t)number << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

// Copies every element into a layout, or out of it.
static void copy(const gdnn_layout *layout, void *memory, const float *in, float *out) {
    int64_t dims[GDNN_MAX_RANK], unused[4][GDNN_MAX_RANK], index[GDNN_MAX_RANK] = {0};
    int rank = gdnn_layout_rank(layout), type = gdnn_layout_type(layout);
    gdnn_layout_describe(layout, dims, unused[0], unused[1], unused[2], unused[3]);
    int64_t count = count_of(rank, dims);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = place(layout, index);
        if (type == GDNN_BF16) {
            if (in) ((uint16_t *)memory)[at] = to_bf16(in[i]);
            if (out) out[i] = from_bf16(((uint16_t *)memory)[at]);
        } else {
            if (in) ((float *)memory)[at] = in[i];
            if (out) out[i] = ((float *)memory)[at];
        }
        for (int d = rank - 1; d >= 0 && ++index[d] == dims[d]; d--) index[d] = 0;
    }
}

static int is_opaque(const gdnn_layout *layout) {
    int64_t unused[5][GDNN_MAX_RANK];
    return gdnn_layout_describe(layout, unused[0], unused[1], unused[2], unused[3], unused[4]) < 0;
}

// Brings row-major floats into a layout that blocks do not describe; such layouts hold weights.
static void reorder_into(const gdnn_layout *layout, void *memory, const float *in, int rank, const int64_t *dims) {
    gdnn_layout *from = plain(rank, dims);
    gdnn_primitive *primitive = NULL;
    int status = gdnn_reorder(&primitive, from, layout);
    expect_status(status, GDNN_OK);
    if (!status) {
        size_t bytes = gdnn_scratchpad_bytes(primitive);
        void *scratch = bytes ? allocated(bytes) : NULL;
        int arguments[] = {GDNN_ARG_SRC, GDNN_ARG_DST, GDNN_ARG_SCRATCHPAD};
        void *pointers[] = {(void *)in, memory, scratch};
        expect_status(gdnn_execute(primitive, scratch ? 3 : 2, arguments, pointers), GDNN_OK);
        free(scratch);
        gdnn_primitive_destroy(primitive);
    }
    gdnn_layout_destroy(from);
}

// The elements of a row-major tensor in a layout, with padding of zeros.
static void *packed(const gdnn_layout *layout, const float *in) {
    size_t bytes = gdnn_layout_bytes(layout);
    void *memory = allocated(bytes);
    memset(memory, 0, bytes);
    if (in) copy(layout, memory, in, NULL);
    return memory;
}

// Whether the padding of blocks is zero.
static int padding_is_zero(const gdnn_layout *layout, const void *memory) {
    int64_t unused[3][GDNN_MAX_RANK], dims[GDNN_MAX_RANK], padded[GDNN_MAX_RANK];
    gdnn_layout_describe(layout, dims, padded, unused[0], unused[1], unused[2]);
    int rank = gdnn_layout_rank(layout);
    if (count_of(rank, dims) == count_of(rank, padded) || gdnn_layout_type(layout) != GDNN_F32) return 1;
    int64_t index[GDNN_MAX_RANK] = {0};
    for (int64_t i = count_of(rank, padded); i > 0; i--) {
        int inside = 1;
        for (int d = 0; d < rank; d++) inside = inside && index[d] < dims[d];
        if (!inside && ((const float *)memory)[place(layout, index)] != 0) return 0;
        for (int d = rank - 1; d >= 0 && ++index[d] == padded[d]; d--) index[d] = 0;
    }
    return 1;
}

// Runs.

// The same bytes at another place; the old one holds NaN when it is freed.
static void *moved(void *memory, size_t bytes) {
    void *result = allocated(bytes);
    memcpy(result, memory, bytes);
    memset(memory, 0xff, bytes);
    free(memory);
    return result;
}

void *workspace_of(const gdnn_primitive *primitive) {
    gdnn_layout *layout = gdnn_primitive_layout(primitive, GDNN_ARG_WORKSPACE);
    if (!layout) return NULL;
    void *memory = allocated(gdnn_layout_bytes(layout));
    gdnn_layout_destroy(layout);
    return memory;
}

void expect_layout(const gdnn_primitive *primitive, int argument, const gdnn_layout *wanted) {
    gdnn_layout *layout = gdnn_primitive_layout(primitive, argument);
    expect(layout && gdnn_layout_equal(layout, wanted), "another layout than was asked for");
    gdnn_layout_destroy(layout);
}

static void shape_of(const gdnn_layout *layout, int64_t *dims) {
    int64_t unused[4][GDNN_MAX_RANK];
    gdnn_layout_describe(layout, dims, unused[0], unused[1], unused[2], unused[3]);
}

int run(int status, gdnn_primitive *primitive, const operand *operands) {
    expect_status(status, GDNN_OK);
    if (status) return 0;
    if (listing) printf("%-64s %s\n", current, gdnn_primitive_name(primitive));
    static const unsigned char canary[64] = {0xa5, 0x5a, 0xa5, 0x5a, 1, 2, 3, 4};
    gdnn_layout *layouts[MAX_OPERANDS] = {NULL};
    void *memory[MAX_OPERANDS] = {NULL}, *pointers[MAX_OPERANDS + 1], *again[MAX_OPERANDS] = {NULL};
    int arguments[MAX_OPERANDS + 1], count = 0, good = 1;
    for (; operands[count].argument; count++) {
        const operand *o = &operands[count];
        arguments[count] = o->argument;
        pointers[count] = o->raw;
        if (o->raw) continue;
        gdnn_layout *layout = layouts[count] = gdnn_primitive_layout(primitive, o->argument);
        expect(layout != NULL, "an argument without a layout");
        if (!layout) {
            good = 0;
            break;
        }
        size_t bytes = gdnn_layout_bytes(layout);
        if (is_opaque(layout)) {
            int64_t dims[GDNN_MAX_RANK];
            shape_of(layout, dims);
            memory[count] = packed(layout, NULL);
            reorder_into(layout, memory[count], o->in, gdnn_layout_rank(layout), dims);
        } else {
            memory[count] = packed(layout, o->in);
            if (!o->in) memset(memory[count], 0xff, bytes);
        }
        memcpy((char *)memory[count] + bytes, canary, sizeof canary);
        pointers[count] = memory[count];
        if (o->out) {
            again[count] = allocated(bytes);
            memcpy(again[count], memory[count], bytes);
        }
    }
    size_t scratch = gdnn_scratchpad_bytes(primitive);
    void *scratchpad = scratch ? allocated(scratch) : NULL;
    if (scratch) arguments[count] = GDNN_ARG_SCRATCHPAD, pointers[count] = scratchpad;
    // The second run meets memory that it knows and whose padding others have overwritten; the third, other memory.
    for (int round = 0; good && round < 3; round++) {
        if (scratch) memset(scratchpad, 0xff, scratch);
        for (int i = 0; round == 2 && i < count; i++)
            if (layouts[i]) pointers[i] = memory[i] = moved(memory[i], gdnn_layout_bytes(layouts[i]) + sizeof canary);
        for (int i = 0; i < count; i++)
            if (again[i]) memcpy(memory[i], again[i], gdnn_layout_bytes(layouts[i]));
        int result = gdnn_execute(primitive, count + (scratch > 0), arguments, pointers);
        expect_status(result, GDNN_OK);
        good = !result;
        for (int i = 0; good && i < count; i++) {
            if (!operands[i].out) continue;
            gdnn_layout *layout = layouts[i];
            size_t bytes = gdnn_layout_bytes(layout);
            expect(!memcmp((char *)memory[i] + bytes, canary, sizeof canary), "a write beyond the end of a tensor");
            expect(padding_is_zero(layout, memory[i]), "padding that is not zero");
            int64_t dims[GDNN_MAX_RANK];
            shape_of(layout, dims);
            int64_t size = count_of(gdnn_layout_rank(layout), dims);
            double *before = zeros(size);
            for (int64_t j = 0; round && j < size; j++) before[j] = operands[i].out[j];
            copy(layout, memory[i], NULL, operands[i].out);
            if (round) expect_close(operands[i].out, before, size, FLOAT);
            free(before);
        }
    }
    for (int i = 0; i < MAX_OPERANDS; i++) {
        gdnn_layout_destroy(layouts[i]);
        free(memory[i]);
        free(again[i]);
    }
    free(scratchpad);
    gdnn_primitive_destroy(primitive);
    return good;
}
