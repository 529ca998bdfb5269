// What the tests of the seam over oneDNN share: data, layouts written out by hand, and the counting of results.
#pragma once
#include "conednn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DIMS 6

// Tolerances: of float arithmetic, relative to the largest number of the wanted result; of functions that oneDNN
// approximates, absolute; of products in bfloat16, relative.
enum tolerance { EXACT, FLOAT, APPROXIMATE, BFLOAT };

// A tensor that a primitive reads (in), writes (out) or both; numbers in row-major order. raw is passed as it is.
typedef struct {
    int argument;
    const float *in;
    float *out;
    void *raw;
} operand;

#define MAX_OPERANDS 8

// The counts of the summary, and whether to name every test, its implementation and its error.
extern int failures, checks, missing, tests, listing;

// Names the test that follows.
void begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
void expect(int truth, const char *what);
void expect_status(int status, int wanted);
// Compares with the wanted numbers; fails on NaN.
void expect_close(const float *got, const double *wanted, int64_t count, enum tolerance tolerance);
// Notes that the library lacks what the current test asks for, which is no failure.
void note_missing(void);

int64_t count_of(int rank, const int64_t *dims);
// Numbers that depend only on the seed, between -1 and 1, none nearer to zero than 0.01.
float *numbers(int64_t count, unsigned seed);
double *zeros(int64_t count);
float *floats(int64_t count);

gdnn_layout *plain(int rank, const int64_t *dims);
// 'p': row-major, 'l': channels last, 'b': channels in blocks of 16, 'e': of 8, 'a': any.
gdnn_layout *layout_named(char name, int type, int rank, const int64_t *dims);

// Runs a primitive on row-major data three times, and destroys it; operands end with argument 0. A status other than
// success fails. Returns whether results were computed.
int run(int status, gdnn_primitive *primitive, const operand *operands);
// The layout of an argument is the one that was asked for.
void expect_layout(const gdnn_primitive *primitive, int argument, const gdnn_layout *wanted);
// A buffer for the workspace that a primitive writes; NULL where it has none.
void *workspace_of(const gdnn_primitive *primitive);

// An element-wise function in double precision.
double eltwise(int algorithm, double alpha, double beta, double x);

void test_layouts(void);
void test_reorder(void);
void test_convolution(void);
void test_gradients(void);
void test_products(void);
void test_quantised(void);
void test_elementwise(void);
void test_pooling(void);
void test_normalization(void);
void test_resampling(void);
void test_errors(void);
