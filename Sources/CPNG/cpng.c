#include "cpng.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *data;
    size_t count;
    size_t position;
    char *message;
    size_t message_size;
    // Owned here and not in locals, whose values are not defined after longjmp.
    png_structp png;
    png_infop info;
    png_bytep *rows;
    uint8_t *wide;
    // Whether palette indices and gray values are given as they are stored.
    int as_indices;
} Decoder;

static void fail(png_structp png, png_const_charp text) {
    Decoder *decoder = png_get_error_ptr(png);
    snprintf(decoder->message, decoder->message_size, "%s", text);
    longjmp(png_jmpbuf(png), 1);
}

static void ignore(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void read_bytes(png_structp png, png_bytep target, size_t count) {
    Decoder *decoder = png_get_io_ptr(png);
    if (count > decoder->count - decoder->position) png_error(png, "the file is truncated");
    memcpy(target, decoder->data + decoder->position, count);
    decoder->position += count;
}

static void decode(Decoder *decoder, uint32_t width, uint32_t height, int channels, uint8_t *pixels) {
    png_structp png = decoder->png;
    // Ancillary chunks can hold compressed data of any size and none of them changes the pixels.
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_user_limits(png, width, height);
    png_read_info(png, decoder->info);
    int depth = png_get_bit_depth(png, decoder->info);
    int colour = png_get_color_type(png, decoder->info);
    if (png_get_image_width(png, decoder->info) != width || png_get_image_height(png, decoder->info) != height)
        png_error(png, "the header changed while it was read");
    int is_wide_gray = colour == PNG_COLOR_TYPE_GRAY && depth == 16;
    if (decoder->as_indices) {
        if ((colour != PNG_COLOR_TYPE_PALETTE && colour != PNG_COLOR_TYPE_GRAY) || depth > 8)
            png_error(png, "it has neither a palette nor gray values of at most 8 bits");
        png_set_packing(png);
    } else if (colour == PNG_COLOR_TYPE_PALETTE) {
        // Where a palette has transparent entries libpng expands to four channels.
        png_set_palette_to_rgb(png);
        png_set_strip_alpha(png);
    }
    if (!decoder->as_indices && colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16 && !is_wide_gray) png_set_strip_16(png);
    if (colour & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, decoder->info);

    size_t row_bytes = (size_t)width * channels;
    size_t stride = is_wide_gray ? row_bytes * 2 : row_bytes;
    if (png_get_rowbytes(png, decoder->info) != stride) png_error(png, "its rows have another size than its header says");
    decoder->rows = malloc(height * sizeof(png_bytep));
    if (is_wide_gray) decoder->wide = malloc(stride * height);
    if (!decoder->rows || (is_wide_gray && !decoder->wide)) png_error(png, "there is not enough memory");
    uint8_t *base = is_wide_gray ? decoder->wide : pixels;
    for (uint32_t y = 0; y < height; y++) decoder->rows[y] = base + y * stride;
    png_read_image(png, decoder->rows);
    // 16-bit gray is scaled and rounded; the upper byte alone, which other 16-bit colours get, would make it darker.
    if (is_wide_gray)
        for (size_t i = 0; i < row_bytes * height; i++) {
            uint32_t value = (uint32_t)base[2 * i] << 8 | base[2 * i + 1];
            pixels[i] = (uint8_t)((value * 255 + 32767) / 65535);
        }
}

static int run(
    const uint8_t *data, size_t count, uint32_t width, uint32_t height, int channels, int as_indices, uint8_t *pixels,
    char *message, size_t message_size) {
    Decoder decoder = {
        .data = data, .count = count, .message = message, .message_size = message_size, .as_indices = as_indices};
    int result = -1;
    decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, fail, ignore);
    if (decoder.png) decoder.info = png_create_info_struct(decoder.png);
    if (!decoder.info) {
        snprintf(message, message_size, "there is not enough memory");
    } else if (!setjmp(png_jmpbuf(decoder.png))) {
        png_set_read_fn(decoder.png, &decoder, read_bytes);
        decode(&decoder, width, height, channels, pixels);
        result = 0;
    }
    png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
    free(decoder.rows);
    free(decoder.wide);
    return result;
}

int cpng_decode(
    const uint8_t *data, size_t count, uint32_t width, uint32_t height, int channels, uint8_t *pixels, char *message,
    size_t message_size) {
    return run(data, count, width, height, channels, 0, pixels, message, message_size);
}

int cpng_decode_indices(
    const uint8_t *data, size_t count, uint32_t width, uint32_t height, uint8_t *pixels, char *message,
    size_t message_size) {
    return run(data, count, width, height, 1, 1, pixels, message, message_size);
}
