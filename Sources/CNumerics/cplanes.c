#include "cplanes.h"

#include "cclones.h"

#include <math.h>
#include <stdint.h>

#define EACH(i, n) _Pragma("clang loop vectorize(assume_safety)") for (size_t i = 0; i < (n); i++)

// The form that vectors have an instruction for; y where one is NaN.
#define GREATER(x, y) ((x) > (y) ? (x) : (y))

// The greatest of the rows of a window in each column, where they lie in the plane.
ALWAYS_INLINE void fold_rows(const float *row, size_t step, size_t rows, float *line, size_t width) {
    if (rows == 1) {
        EACH(i, width) line[i] = GREATER(row[i], -INFINITY);
    } else if (rows == 2) {
        EACH(i, width) line[i] = GREATER(row[step + i], GREATER(row[i], -INFINITY));
    } else {
        EACH(i, width) {
            const float first = GREATER(row[step + i], GREATER(row[i], -INFINITY));
            line[i] = GREATER(row[2 * step + i], first);
        }
    }
    for (size_t r = 3; r < rows; r++) EACH(i, width) line[i] = GREATER(row[r * step + i], line[i]);
}

ALWAYS_INLINE void fold_columns(
    const float *line, size_t columns, size_t stride, size_t dilation, float *target, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float greatest = line[i * stride];
        for (size_t c = 1; c < columns; c++) greatest = GREATER(line[i * stride + c * dilation], greatest);
        target[i] = greatest;
    }
}

WIDE void cplanes_maximum(
    const struct cplanes_window *window, const float *source, size_t planes, float *scratch, float *target) {
    const struct cplanes_window w = *window;
    const size_t span = cplanes_span(&w);
    // The part of the line that lies in the plane; what is left of it and right of it is never written again.
    const size_t end = w.left + w.width < span ? w.left + w.width : span;
    for (size_t i = 0; i < span; i++) scratch[i] = -INFINITY;
    for (size_t plane = 0; plane < planes; plane++) {
        const float *from = source + plane * w.height * w.width;
        for (size_t y = 0; y < w.output_height; y++) {
            const size_t start = y * w.row_stride;
            const size_t above = start < w.top ? (w.top - start + w.row_dilation - 1) / w.row_dilation : 0;
            const size_t room = start < w.top + w.height ? w.top + w.height - start : 0;
            const size_t below = (room + w.row_dilation - 1) / w.row_dilation;
            const size_t last = below < w.rows ? below : w.rows;
            float *to = target + (plane * w.output_height + y) * w.output_width;
            if (above >= last || end <= w.left) {
                for (size_t i = 0; i < w.output_width; i++) to[i] = -INFINITY;
                continue;
            }
            fold_rows(
                from + (start + above * w.row_dilation - w.top) * w.width, w.row_dilation * w.width, last - above,
                scratch + w.left, end - w.left);
            if (w.columns == 2 && w.column_stride == 2 && w.column_dilation == 1)
                fold_columns(scratch, 2, 2, 1, to, w.output_width);
            else if (w.columns == 3 && w.column_stride == 2 && w.column_dilation == 1)
                fold_columns(scratch, 3, 2, 1, to, w.output_width);
            else if (w.columns == 3 && w.column_stride == 1 && w.column_dilation == 1)
                fold_columns(scratch, 3, 1, 1, to, w.output_width);
            else if (w.column_stride == 1) {
                EACH(i, w.output_width) to[i] = scratch[i];
                for (size_t c = 1; c < w.columns; c++)
                    EACH(i, w.output_width) to[i] = GREATER(scratch[i + c * w.column_dilation], to[i]);
            } else
                fold_columns(scratch, w.columns, w.column_stride, w.column_dilation, to, w.output_width);
        }
    }
}

WIDE void cplanes_resample(
    const float *source, const int *indices, const float *weights, size_t taps, float *target, size_t count) {
    if (taps == 2) {
        EACH(i, count)
            target[i] = source[indices[i]] * weights[i] + source[indices[count + i]] * weights[count + i];
        return;
    }
    EACH(i, count) target[i] = source[indices[i]] * weights[i];
    for (size_t t = 1; t < taps; t++)
        EACH(i, count) target[i] += source[indices[t * count + i]] * weights[t * count + i];
}

WIDE void cplanes_blend(const float *const *rows, const float *weights, size_t taps, float *target, size_t count) {
    if (taps == 2) {
        const float *a = rows[0], *b = rows[1];
        const float v = weights[0], w = weights[1];
        EACH(i, count) target[i] = a[i] * v + b[i] * w;
        return;
    }
    if (taps == 4) {
        const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
        const float s = weights[0], t = weights[1], u = weights[2], v = weights[3];
        EACH(i, count) target[i] = a[i] * s + b[i] * t + c[i] * u + d[i] * v;
        return;
    }
    const float first = weights[0];
    EACH(i, count) target[i] = rows[0][i] * first;
    for (size_t t = 1; t < taps; t++) {
        const float *row = rows[t];
        const float weight = weights[t];
        EACH(i, count) target[i] += row[i] * weight;
    }
}

WIDE void cplanes_bilinear_taps(
    const float *grid, size_t count, size_t height, size_t width, int is_aligned, int holds_border, int *indices,
    float *weights) {
    const float columns = (float)width, rows = (float)height;
    const float x_scale = is_aligned ? columns - 1 : columns, y_scale = is_aligned ? rows - 1 : rows;
    const float shift = is_aligned ? 0.0f : 0.5f;
    const int last_x = (int)width - 1, last_y = (int)height - 1, step = (int)width;
    EACH(i, count) {
        float x = (grid[2 * i] + 1) / 2 * x_scale - shift, y = (grid[2 * i + 1] + 1) / 2 * y_scale - shift;
        if (holds_border) {
            x = x < -shift ? 0 : x > columns - 1 + shift ? columns - 1 : x;
            y = y < -shift ? 0 : y > rows - 1 + shift ? rows - 1 : y;
        }
        // Not a number, or so far outside that nothing is inside.
        const int is_near = fabsf(x) <= columns + 4 && fabsf(y) <= rows + 4;
        x = is_near ? x : 0;
        y = is_near ? y : 0;
        const float left = __builtin_floorf(x), top = __builtin_floorf(y);
        const float right_part = x - left, lower_part = y - top;
        int x0 = (int)left, y0 = (int)top, x1 = x0 + 1, y1 = y0 + 1;
        int in_x0 = x0 >= 0 && x0 <= last_x, in_x1 = x1 >= 0 && x1 <= last_x;
        int in_y0 = y0 >= 0 && y0 <= last_y, in_y1 = y1 >= 0 && y1 <= last_y;
        if (holds_border) {
            x0 = x0 < 0 ? 0 : x0 > last_x ? last_x : x0;
            x1 = x1 < 0 ? 0 : x1 > last_x ? last_x : x1;
            y0 = y0 < 0 ? 0 : y0 > last_y ? last_y : y0;
            y1 = y1 < 0 ? 0 : y1 > last_y ? last_y : y1;
            in_x0 = in_x1 = in_y0 = in_y1 = 1;
        }
        in_x0 &= is_near;
        in_x1 &= is_near;
        indices[i] = in_y0 & in_x0 ? y0 * step + x0 : 0;
        indices[count + i] = in_y0 & in_x1 ? y0 * step + x1 : 0;
        indices[2 * count + i] = in_y1 & in_x0 ? y1 * step + x0 : 0;
        indices[3 * count + i] = in_y1 & in_x1 ? y1 * step + x1 : 0;
        weights[i] = in_y0 & in_x0 ? (1 - lower_part) * (1 - right_part) : 0;
        weights[count + i] = in_y0 & in_x1 ? (1 - lower_part) * right_part : 0;
        weights[2 * count + i] = in_y1 & in_x0 ? lower_part * (1 - right_part) : 0;
        weights[3 * count + i] = in_y1 & in_x1 ? lower_part * right_part : 0;
    }
}

WIDE void cplanes_sample(
    const float *source, const int *indices, const float *weights, float *target, size_t count) {
    const int *a = indices, *b = a + count, *c = b + count, *d = c + count;
    const float *p = weights, *q = p + count, *r = q + count, *s = r + count;
    // What is not there stands for the first element with a weight of 0, which an infinity would make NaN.
    if (source[0] - source[0] != 0) {
        for (size_t i = 0; i < count; i++) {
            float sum = 0;
            for (size_t t = 0; t < 4; t++) {
                const float weight = weights[t * count + i];
                if (weight != 0) sum += source[indices[t * count + i]] * weight;
            }
            target[i] = sum;
        }
        return;
    }
    EACH(i, count) target[i] = source[a[i]] * p[i] + source[b[i]] * q[i] + source[c[i]] * r[i] + source[d[i]] * s[i];
}
