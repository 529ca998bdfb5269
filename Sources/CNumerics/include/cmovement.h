// Moving elements of which only the width matters.
#pragma once
#include <stddef.h>
#include <stdint.h>

// target[c * target_stride + r] = source[r * source_stride + c] for a block of rows and columns; strides in elements.
void cmovement_transpose_16(
    const uint16_t *source, size_t source_stride, uint16_t *target, size_t target_stride, size_t rows, size_t columns);
void cmovement_transpose_32(
    const uint32_t *source, size_t source_stride, uint32_t *target, size_t target_stride, size_t rows, size_t columns);
