// Moving elements of which only the width matters.
#pragma once
#include <stddef.h>
#include <stdint.h>

// target[c * target_stride + r] = source[r * source_stride + c] for a block of rows and columns; strides in elements.
// `streams` where lines that are filled at once should go past the caches.
void cmovement_transpose_16(
    const uint16_t *source, size_t source_stride, uint16_t *target, size_t target_stride, size_t rows, size_t columns,
    int streams);
void cmovement_transpose_32(
    const uint32_t *source, size_t source_stride, uint32_t *target, size_t target_stride, size_t rows, size_t columns,
    int streams);

// Copies bytes past the caches, where the processor has stores that do; for what is larger than the caches.
void cmovement_stream(const void *source, void *target, size_t bytes);
// Starts to fetch the beginning of what is read soon.
void cmovement_prefetch(const void *source, size_t bytes);
// Orders what the calling thread wrote past the caches before what it writes later; a thread that did so calls it before
// others read.
void cmovement_finish_streams(void);

// Copies `rows` rows of `bytes` bytes each; the distances from one row to the next are in bytes.
void cmovement_copy_rows(
    const void *source, ptrdiff_t source_step, void *target, ptrdiff_t target_step, size_t bytes, size_t rows,
    int streams);

// target[i] = source[indices[i]] for elements of 1, 2, 4 or 8 bytes; indices below 0 count from the end. Returns the
// place of an index that is out of range, or `count`.
size_t cmovement_pick(
    const void *source, size_t length, const int64_t *indices, void *target, size_t count, size_t width);

// How many elements, of 1, 2, 4 or 8 bytes, have bits in common with a mask.
size_t cmovement_count(const void *source, size_t count, size_t width, uint64_t mask);
// The places of the elements, of 1, 2, 4 or 8 bytes, that have bits in common with a mask, and how many there are. There
// must be room for one place more.
size_t cmovement_find(const void *source, size_t count, size_t width, uint64_t mask, int32_t *places);
