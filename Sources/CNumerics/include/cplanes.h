// Windows over planes of 32-bit floating-point numbers that lie row by row.
#pragma once
#include <stddef.h>

struct cplanes_window {
    size_t height, width;                  // of a plane
    size_t output_height, output_width;    // of a result
    size_t rows, columns;                  // of the window
    size_t row_stride, column_stride;      // from one window to the next
    size_t row_dilation, column_dilation;  // from one element of a window to the next
    size_t top, left;                      // padding
};

// The columns of a padded row that windows touch: the numbers of scratch memory that cplanes_maximum needs.
static inline size_t cplanes_span(const struct cplanes_window *window) {
    return (window->output_width - 1) * window->column_stride + (window->columns - 1) * window->column_dilation + 1;
}

// The greatest number of each window; NaN is passed over, and a window without numbers gives negative infinity.
void cplanes_maximum(
    const struct cplanes_window *window, const float *source, size_t planes, float *scratch, float *target);

// target[i] = the sum over t < taps of weights[t * count + i] * source[indices[t * count + i]]
void cplanes_resample(
    const float *source, const int *indices, const float *weights, size_t taps, float *target, size_t count);
// target[i] = the sum over t < taps of weights[t] * rows[t][i]
void cplanes_blend(const float *const *rows, const float *weights, size_t taps, float *target, size_t count);

// The four elements of a plane around each of some places, and their weights: those of the upper left ones first.
// grid: column and row of each place, -1 to 1 from end to end. An element outside the plane has the index and the weight
// 0, or `holds_border` takes the nearest inside.
void cplanes_bilinear_taps(
    const float *grid, size_t count, size_t height, size_t width, int is_aligned, int holds_border, int *indices,
    float *weights);
// target[i] = the sum over t < 4 of weights[t * count + i] * source[indices[t * count + i]], where the weight is not 0 or
// the source a number.
void cplanes_sample(const float *source, const int *indices, const float *weights, float *target, size_t count);
