#include "geometry.h"

const geometry geometries[] = {
    {"3x3", 2, 2, 1, 32, 32, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 of odd channels", 2, 2, 1, 5, 7, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 of 40 and 24 channels", 2, 1, 1, 40, 24, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"1x1", 2, 2, 1, 32, 48, {7, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {"1x1 of stride 2", 2, 1, 1, 32, 32, {8, 7}, {1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
    {"5x3 of stride 2x1", 2, 1, 1, 16, 32, {11, 9}, {5, 3}, {2, 1}, {1, 1}, {2, 1}, {2, 1}},
    {"padding at one side", 2, 1, 1, 16, 16, {8, 8}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}},
    {"padding 2 and 1", 2, 1, 1, 32, 16, {8, 7}, {4, 4}, {1, 1}, {1, 1}, {2, 1}, {1, 2}},
    {"dilation", 2, 1, 1, 16, 32, {11, 12}, {3, 3}, {1, 1}, {2, 3}, {2, 3}, {2, 3}},
    {"groups", 2, 2, 4, 64, 64, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"groups of odd channels", 2, 1, 3, 9, 6, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"depthwise", 2, 2, 32, 32, 32, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"depthwise of 20 channels and stride 2", 2, 1, 20, 20, 20, {9, 8}, {5, 5}, {2, 2}, {1, 1}, {2, 2}, {1, 2}},
    {"depthwise with two results", 2, 1, 16, 16, 32, {7, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {"one dimension", 1, 2, 1, 16, 32, {21}, {5}, {2}, {1}, {2}, {1}},
    {"three dimensions", 3, 1, 1, 16, 16, {5, 6, 4}, {3, 2, 3}, {1, 2, 1}, {1, 1, 1}, {1, 0, 1}, {1, 0, 0}},
};
const int geometry_count = sizeof geometries / sizeof *geometries;

static int64_t extent(const geometry *g, int d, int transposed) {
    if (d >= g->spatial) return 1;
    int64_t window = (g->kernel[d] - 1) * g->dilations[d] + 1, padding = g->begin[d] + g->end[d];
    return transposed ? (g->input[d] - 1) * g->strides[d] + window - padding
                      : (g->input[d] + padding - window) / g->strides[d] + 1;
}

shapes shapes_of(const geometry *g, int transposed) {
    shapes s = {.rank = g->spatial + 2, .weights_rank = g->spatial + 2 + (g->groups > 1)};
    s.x[0] = s.y[0] = g->batch;
    s.x[1] = g->channels, s.y[1] = g->outputs;
    int at = 0;
    if (g->groups > 1) s.w[at++] = g->groups;
    s.w[at++] = g->outputs / g->groups, s.w[at++] = g->channels / g->groups;
    for (int d = 0; d < g->spatial; d++) {
        s.x[d + 2] = g->input[d], s.y[d + 2] = extent(g, d, transposed), s.w[at + d] = g->kernel[d];
        s.window.strides[d] = g->strides[d], s.window.dilations[d] = g->dilations[d];
        s.window.pad_begin[d] = g->begin[d], s.window.pad_end[d] = g->end[d], s.window.kernel[d] = g->kernel[d];
    }
    return s;
}

void convolve_plainly(
    const geometry *g, int transposed, enum convolution_part part, const float *x, const float *w, const float *y,
    double *result) {
    int64_t in[3], out[3], k[3], inputs = g->channels / g->groups, outputs = g->outputs / g->groups;
    for (int d = 0; d < 3; d++) {
        in[d] = d < g->spatial ? g->input[d] : 1, out[d] = extent(g, d, transposed);
        k[d] = d < g->spatial ? g->kernel[d] : 1;
    }
    // The window lies on the larger side: the input of a convolution, the result of a transposed one.
    const int64_t *small = transposed ? in : out, *large = transposed ? out : in;
    int64_t area_x = in[0] * in[1] * in[2], area_y = out[0] * out[1] * out[2], taps = k[0] * k[1] * k[2];
    for (int64_t i = 0; i < small[0] * small[1] * small[2] * taps; i++) {
        int64_t p = i / taps, q = i % taps, at = 0;
        int64_t step[3] = {p / (small[1] * small[2]), p / small[2] % small[1], p % small[2]};
        int64_t tap[3] = {q / (k[1] * k[2]), q / k[2] % k[1], q % k[2]};
        int inside = 1;
        for (int d = 0; d < 3; d++) {
            int64_t here = d < g->spatial ? step[d] * g->strides[d] - g->begin[d] + tap[d] * g->dilations[d] : 0;
            inside = inside && here >= 0 && here < large[d];
            at = at * large[d] + here;
        }
        if (!inside) continue;
        for (int64_t o = 0; o < g->batch * g->outputs; o++) {
            int64_t n = o / g->outputs, output = o % g->outputs;
            int64_t iy = o * area_y + (transposed ? at : p), iw = output * inputs * taps + q;
            int64_t ix = (n * g->channels + output / outputs * inputs) * area_x + (transposed ? p : at);
            for (int64_t c = 0; c < inputs; c++, ix += area_x, iw += taps) {
                if (part == RESULT) result[iy] += (double)x[ix] * w[iw];
                if (part == DATA) result[ix] += (double)y[iy] * w[iw];
                if (part == WEIGHTS) result[iw] += (double)x[ix] * y[iy];
            }
        }
    }
}
