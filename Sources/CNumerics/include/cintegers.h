// Products of matrices of 16-bit integers with sums modulo 2^32.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The columns that one panel holds.
#define CINTEGERS_PANEL 16

// sums[r * sum_stride + p * 16 + c] = the sum over k < 2 * pairs of a[r * a_stride + k] * b(k, p * 16 + c), where panel p
// starts at b + p * pairs * 32 and holds the entries k and k + 1 of a column side by side: ((k / 2) * 16 + c) * 2 + k % 2.
// The sum of two neighbouring products must fit 32 bits.
void cintegers_multiply(
    const int16_t *a, size_t a_stride, size_t rows, const int16_t *b, size_t pairs, size_t panels, int32_t *sums,
    size_t sum_stride);

// target[i] = source[i] - zero, for bytes that are signed or not.
void cintegers_widen(const void *source, int is_signed, int16_t zero, int16_t *target, size_t count);

// sums[i] += (source[i] - zero) * weights[i], for bytes that are signed or not.
void cintegers_accumulate(
    const void *source, int is_signed, int16_t zero, const int16_t *weights, int32_t *sums, size_t count);

// The low byte of zero + round((sums[i] + bias[i]) * scales[i]), the rounded number held within low and high.
void cintegers_requantize(
    const int32_t *sums, const int32_t *bias, const float *scales, float low, float high, int32_t zero, uint8_t *target,
    size_t count);

// target[i] = table[source[i]]
void cintegers_look_up(const uint8_t *source, const uint8_t *table, uint8_t *target, size_t count);

// A tensor of bytes that stand for (byte - zero) * scale; step is 0 where one byte stands for all, else 1.
typedef struct {
    const void *bytes;
    size_t step;
    int32_t zero;
    float scale;
} cintegers_operand;

// The low bytes of zero + round(the sum, or the product, of what the operands stand for), the rounded number held within
// low and high.
void cintegers_add(
    cintegers_operand a, cintegers_operand b, int is_signed, float low, float high, int32_t zero, uint8_t *target,
    size_t count);
void cintegers_scale(
    cintegers_operand a, cintegers_operand b, int is_signed, float low, float high, int32_t zero, uint8_t *target,
    size_t count);

// The low byte of zero + round(source[i] / scale), the quotient held within low and high; low for NaN.
void cintegers_quantize(
    const float *source, float scale, float low, float high, int32_t zero, uint8_t *target, size_t count);

// target[i] = (source[i] - zero) * scale, for bytes that are signed or not.
void cintegers_dequantize(
    const void *source, int is_signed, int32_t zero, float scale, float *target, size_t count);

// target[i] = the greater of target[i] and source[i], for bytes that are signed or not.
void cintegers_raise(const void *source, int is_signed, void *target, size_t count);

// sums[i] += source[i], for bytes that are signed or not.
void cintegers_sum(const void *source, int is_signed, int32_t *sums, size_t count);

// Widens [*low, *high] by numbers; NaN is left out.
void cintegers_extremes(const float *source, size_t count, float *low, float *high);

// The softmax of a row of bytes: the low byte of zero + round(factor * e[d] / the sum of e[d]), where d is how far a byte
// lies below the greatest of the row, the rounded number held within low and high.
void cintegers_softmax(
    const void *source, int is_signed, const float *e, float factor, float low, float high, int32_t zero,
    uint8_t *target, size_t count);
