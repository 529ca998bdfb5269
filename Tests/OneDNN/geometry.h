// Convolutions in plain loops; up to three spatial dimensions, of which missing ones have extent 1.
#pragma once
#include "seam.h"

typedef struct {
    const char *name;
    // Spatial dimensions, batch, groups, channels of the input and the output.
    int spatial;
    int64_t batch, groups, channels, outputs;
    // Extent of the input, the window and its steps, by dimension.
    int64_t input[3], kernel[3], strides[3], dilations[3], begin[3], end[3];
} geometry;

typedef struct {
    int rank, weights_rank;
    int64_t x[5], w[6], y[5];
    gdnn_window window;
} shapes;

// The shapes of a convolution, or of a transposed one.
shapes shapes_of(const geometry *g, int transposed);

enum convolution_part { RESULT, DATA, WEIGHTS };
// Adds to y, dx or dw what the other two make of it.
void convolve_plainly(
    const geometry *g, int transposed, enum convolution_part part, const float *x, const float *w, const float *y,
    double *result);

extern const geometry geometries[];
extern const int geometry_count;
