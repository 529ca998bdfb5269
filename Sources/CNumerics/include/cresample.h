// The inner loops of image resampling with 22-bit fixed-point weights.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The weights of one axis. Output i is the sum over j < counts[i] of weight(i, j) * input[starts[i] + j], plus 2^21,
// shifted right by 22 and clamped to 0...255. weight(i, j) = high[i * stride + j] * 4096 + low[i * stride + j].
// `stride` is a multiple of 8; entries from counts[i] on are zero.
typedef struct {
    size_t outputs;
    size_t stride;
    const int32_t *starts;
    const int32_t *counts;
    const int16_t *high;
    const int16_t *low;
} cresample_axis;

// Resamples `rows` rows of `width` pixels with 1 or 3 interleaved channels to `axis->outputs` pixels each.
void cresample_horizontal(
    const uint8_t *source, size_t rows, size_t width, int channels, const cresample_axis *axis, uint8_t *target);

// Resamples rows of `row_bytes` bytes; `axis->starts` counts from the first row of `source`.
void cresample_vertical(const uint8_t *source, size_t row_bytes, const cresample_axis *axis, uint8_t *target);
