// PNG decoding through libpng. libpng reports errors by longjmp, which must not cross Swift frames.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Decodes the PNG file in `data` into `pixels`: `height` rows of `width * channels` bytes, without gaps.
// `channels` is 1 for the colour types gray and gray with alpha, and 3 for all others; `width` and `height` are those of
// the file's header. Alpha and transparency are dropped, gamma and colour profiles are not applied; 16-bit colours keep
// their upper byte, 16-bit gray without alpha is scaled to 8 bits and rounded.
// Returns 0, or -1 with a text of at most `message_size` bytes in `message`.
int cpng_decode(
    const uint8_t *data, size_t count, uint32_t width, uint32_t height, int channels, uint8_t *pixels, char *message,
    size_t message_size);

// Decodes a PNG file of the colour types palette or gray with at most 8 bits into `height` rows of `width` bytes: the
// palette's indices or the gray values as they are stored, unscaled. Otherwise like `cpng_decode`.
int cpng_decode_indices(
    const uint8_t *data, size_t count, uint32_t width, uint32_t height, uint8_t *pixels, char *message,
    size_t message_size);
