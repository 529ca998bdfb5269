#include "cmovement.h"

#include <string.h>

#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// The bytes of a line of a cache, which is what a store past the caches should fill at once.
#define LINE 64

typedef uint32_t words __attribute__((vector_size(32)));
typedef uint16_t halves __attribute__((vector_size(16)));

// 8 rows of 8 words become 8 columns.
ALWAYS_INLINE void transpose_words(const uint32_t *from, size_t stride, words columns[8]) {
    words rows[8], pairs[8], quads[8];
    for (int i = 0; i < 8; i++) memcpy(rows + i, from + i * stride, 32);
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4) {
        quads[i] = __builtin_shufflevector(pairs[i], pairs[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        quads[i + 1] = __builtin_shufflevector(pairs[i], pairs[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        quads[i + 2] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        quads[i + 3] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        columns[i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        columns[i + 4] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

ALWAYS_INLINE void transpose_halves(const uint16_t *from, size_t from_stride, halves columns[8]) {
    halves rows[8], pairs[8], quads[8];
    for (int i = 0; i < 8; i++) memcpy(rows + i, from + i * from_stride, 16);
    for (int i = 0; i < 4; i++) {
        pairs[2 * i] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 0, 8, 1, 9, 2, 10, 3, 11);
        pairs[2 * i + 1] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    // Pairs 0 and 2 hold columns 0 to 3 of rows 0 to 3, pairs 1 and 3 columns 4 to 7; 4 to 7 the same of rows 4 to 7.
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            const halves top = pairs[4 * i + j], bottom = pairs[4 * i + j + 2];
            quads[4 * i + 2 * j] = __builtin_shufflevector(top, bottom, 0, 1, 8, 9, 2, 3, 10, 11);
            quads[4 * i + 2 * j + 1] = __builtin_shufflevector(top, bottom, 4, 5, 12, 13, 6, 7, 14, 15);
        }
    }
    for (int i = 0; i < 4; i++) {
        columns[2 * i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        columns[2 * i + 1] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

// Few rows, or few columns, that lie together: numbers are dealt out, or put between each other.
#define DEAL(k)                                                                                    \
    if (columns == k && source_stride == k) {                                                      \
        for (size_t r = 0; r < rows; r++)                                                          \
            for (size_t c = 0; c < k; c++) target[c * target_stride + r] = source[r * k + c];      \
        return;                                                                                    \
    }                                                                                              \
    if (rows == k && target_stride == k) {                                                         \
        for (size_t c = 0; c < columns; c++)                                                       \
            for (size_t r = 0; r < k; r++) target[c * k + r] = source[r * source_stride + c];      \
        return;                                                                                    \
    }

// Blocks of 8 by 8, so many of them below each other that their columns fill lines.
#define TRANSPOSE(name, type, vector, block)                                                                  \
    WIDE void name(                                                                                           \
        const type *restrict source, size_t source_stride, type *restrict target, size_t target_stride,       \
        size_t rows, size_t columns, int streams) {                                                           \
        DEAL(2)                                                                                               \
        DEAL(3)                                                                                               \
        DEAL(4)                                                                                               \
        enum { blocks = LINE / (8 * sizeof(type)), side = 8 * blocks };                                       \
        const size_t whole_columns = columns / 8 * 8;                                                         \
        const int fills_lines = (uintptr_t)target % LINE == 0 && target_stride * sizeof(type) % LINE == 0;    \
        vector part[blocks][8];                                                                               \
        for (size_t c = 0; c < whole_columns; c += 8) {                                                       \
            const type *from = source + c;                                                                    \
            type *to = target + c * target_stride;                                                            \
            size_t r = 0;                                                                                     \
            for (; r + side <= rows; r += side) {                                                             \
                for (size_t b = 0; b < blocks; b++) block(from + (r + 8 * b) * source_stride, source_stride, part[b]); \
                for (size_t i = 0; i < 8; i++)                                                                \
                    for (size_t b = 0; b < blocks; b++) {                                                     \
                        type *place = to + i * target_stride + r + 8 * b;                                     \
                        if (streams && fills_lines)                                                           \
                            __builtin_nontemporal_store(part[b][i], (vector *)place);                         \
                        else                                                                                  \
                            memcpy(place, &part[b][i], sizeof(vector));                                       \
                    }                                                                                         \
            }                                                                                                 \
            for (; r + 8 <= rows; r += 8) {                                                                   \
                block(from + r * source_stride, source_stride, part[0]);                                      \
                for (size_t i = 0; i < 8; i++) memcpy(to + i * target_stride + r, &part[0][i], sizeof(vector)); \
            }                                                                                                 \
            for (size_t i = 0; i < 8; i++)                                                                    \
                for (size_t rest = r; rest < rows; rest++)                                                    \
                    to[i * target_stride + rest] = from[rest * source_stride + i];                            \
        }                                                                                                     \
        for (size_t c = whole_columns; c < columns; c++)                                                      \
            for (size_t r = 0; r < rows; r++)                                                                 \
                target[c * target_stride + r] = source[r * source_stride + c];                                \
    }

TRANSPOSE(cmovement_transpose_16, uint16_t, halves, transpose_halves)
TRANSPOSE(cmovement_transpose_32, uint32_t, words, transpose_words)

void cmovement_stream(const void *source, void *target, size_t bytes) {
    typedef uint64_t pair __attribute__((vector_size(16)));
    const char *from = source;
    char *to = target;
    // Lines of which only a part is written stay in the cache.
    const size_t head = (LINE - (uintptr_t)to % LINE) % LINE;
    if (bytes < head + LINE) {
        memcpy(to, from, bytes);
        return;
    }
    memcpy(to, from, head);
    from += head;
    to += head;
    bytes -= head;
    for (; bytes >= LINE; bytes -= LINE, from += LINE, to += LINE) {
        pair line[4];
        memcpy(line, from, LINE);
        for (int i = 0; i < 4; i++) __builtin_nontemporal_store(line[i], (pair *)to + i);
    }
    memcpy(to, from, bytes);
}

void cmovement_finish_streams(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

#define ROWS_OF(size)                                                    \
    case size:                                                           \
        for (; rows > 0; rows--, from += source_step, to += target_step) \
            memcpy(to, from, size);                                      \
        break;

void cmovement_copy_rows(
    const void *source, ptrdiff_t source_step, void *target, ptrdiff_t target_step, size_t bytes, size_t rows,
    int streams) {
    const char *from = source;
    char *to = target;
    if (streams && bytes % LINE == 0 && (uintptr_t)to % LINE == 0 && target_step % LINE == 0) {
        for (; rows > 0; rows--, from += source_step, to += target_step) cmovement_stream(from, to, bytes);
        return;
    }
    // Short rows are copied without a call for each.
    switch (bytes) {
        ROWS_OF(1)
        ROWS_OF(2)
        ROWS_OF(4)
        ROWS_OF(8)
        ROWS_OF(12)
        ROWS_OF(16)
        ROWS_OF(32)
        ROWS_OF(64)
        ROWS_OF(128)
    default:
        for (; rows > 0; rows--, from += source_step, to += target_step) memcpy(to, from, bytes);
    }
}

// So many indices are looked at together.
#define PICKED 1024

#define PICK(type)                                                                                        \
    for (size_t first = 0; first < count; first += PICKED) {                                              \
        const size_t end = count - first < PICKED ? count : first + PICKED;                               \
        const type *from = source;                                                                        \
        type *to = target;                                                                                \
        int is_plain = 1;                                                                                 \
        for (size_t i = first; i < end; i++) is_plain &= (uint64_t)indices[i] < length;                   \
        if (is_plain) {                                                                                   \
            for (size_t i = first; i < end; i++) to[i] = from[indices[i]];                                \
            continue;                                                                                     \
        }                                                                                                 \
        for (size_t i = first; i < end; i++) {                                                            \
            const int64_t place = indices[i] + (indices[i] < 0 ? (int64_t)length : 0);                    \
            if ((uint64_t)place >= length) return i;                                                      \
            to[i] = from[place];                                                                          \
        }                                                                                                 \
    }

WIDE size_t cmovement_pick(
    const void *source, size_t length, const int64_t *indices, void *target, size_t count, size_t width) {
    if (length == 0) return 0;
    if (width == 1) {
        PICK(uint8_t)
    } else if (width == 2) {
        PICK(uint16_t)
    } else if (width == 4) {
        PICK(uint32_t)
    } else {
        PICK(uint64_t)
    }
    return count;
}

void cmovement_prefetch(const void *source, size_t bytes) {
    const size_t most = bytes < 1024 ? bytes : 1024;
    for (size_t i = 0; i < most; i += LINE) __builtin_prefetch((const char *)source + i);
}

#define COUNT(type)                                                             \
    for (size_t first = 0; first < count; first += PICKED) {                    \
        const size_t end = count - first < PICKED ? count : first + PICKED;     \
        const type bits = (type)mask;                                           \
        uint32_t own = 0;                                                       \
        for (size_t i = first; i < end; i++)                                    \
            own += (((const type *)source)[i] & bits) != 0;                     \
        found += own;                                                           \
    }

WIDE size_t cmovement_count(const void *source, size_t count, size_t width, uint64_t mask) {
    size_t found = 0;
    if (width == 1) {
        COUNT(uint8_t)
    } else if (width == 2) {
        COUNT(uint16_t)
    } else if (width == 4) {
        COUNT(uint32_t)
    } else {
        COUNT(uint64_t)
    }
    return found;
}

// Where nothing is found the next place is written in vain: a branch would be guessed wrong too often.
#define FIND(type)                                          \
    for (size_t i = 0; i < count; i++) {                    \
        places[found] = (int32_t)i;                         \
        found += (((const type *)source)[i] & mask) != 0;   \
    }

size_t cmovement_find(const void *source, size_t count, size_t width, uint64_t mask, int32_t *places) {
    size_t found = 0;
    if (width == 1) {
        FIND(uint8_t)
    } else if (width == 2) {
        FIND(uint16_t)
    } else if (width == 4) {
        FIND(uint32_t)
    } else {
        FIND(uint64_t)
    }
    return found;
}
