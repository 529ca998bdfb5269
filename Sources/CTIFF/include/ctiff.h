// TIFF decoding through libtiff, whose tags are read by functions with variable arguments.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t width;
    uint32_t height;
    // The value of the tag Orientation.
    int orientation;
    // 1 for gray, with transparency or without, 3 for everything else.
    int channels;
} ctiff_header;

enum { CTIFF_OK = 0, CTIFF_DAMAGED = -1, CTIFF_TRUNCATED = -2, CTIFF_UNSUPPORTED = -3 };

// Reads what the first picture of the TIFF file in `data` declares.
// Returns one of the values above; where it is not CTIFF_OK, `message` holds a text of at most `message_size` bytes.
int ctiff_read_header(
    const uint8_t *data, size_t count, ctiff_header *header, char *message, size_t message_size);

// Checks that all parts of the first picture's pixels lie within the file, without decoding them.
int ctiff_check_parts(const uint8_t *data, size_t count, char *message, size_t message_size);

// Decodes the first picture into `pixels`: `height` rows of `width * channels` bytes, without gaps, where `header` is what
// ctiff_read_header gave. Orientation is not applied; transparency is dropped. 16-bit colours keep their upper byte,
// 16-bit gray is scaled to 8 bits and rounded.
int ctiff_decode(
    const uint8_t *data, size_t count, const ctiff_header *header, uint8_t *pixels, char *message, size_t message_size);
