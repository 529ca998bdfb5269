#include "ctiff.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

typedef struct {
    const uint8_t *data;
    size_t count;
    uint64_t position;
    char *message;
    size_t message_size;
    // Whether a read went beyond the end of the file.
    int is_truncated;
} Source;

static tmsize_t read_bytes(thandle_t handle, void *target, tmsize_t wanted) {
    Source *source = handle;
    size_t left = source->position < source->count ? source->count - source->position : 0;
    size_t given = wanted > 0 ? (size_t)wanted : 0;
    if (given > left) {
        given = left;
        source->is_truncated = 1;
    }
    if (given > 0) memcpy(target, source->data + source->position, given);
    source->position += given;
    return (tmsize_t)given;
}

static tmsize_t write_bytes(thandle_t handle, void *from, tmsize_t count) {
    (void)handle, (void)from, (void)count;
    return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    Source *source = handle;
    if (whence == SEEK_CUR) offset += source->position;
    if (whence == SEEK_END) offset += source->count;
    source->position = offset;
    return offset;
}

static int close_source(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size(thandle_t handle) { return ((Source *)handle)->count; }

static int map(thandle_t handle, void **base, toff_t *count) {
    Source *source = handle;
    *base = (void *)source->data;
    *count = source->count;
    return 1;
}

static void unmap(thandle_t handle, void *base, toff_t count) { (void)handle, (void)base, (void)count; }

#if TIFFLIB_VERSION >= 20221213
// The first error is the cause; those behind it are its consequences.
static int keep_error(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
    (void)tiff, (void)module;
    Source *source = user;
    if (source->message[0] == 0) vsnprintf(source->message, source->message_size, format, arguments);
    return 1;
}

static int ignore_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments) {
    (void)tiff, (void)user, (void)module, (void)format, (void)arguments;
    return 1;
}

static TIFF *open_source(Source *source) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, source);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_warning, NULL);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)1 << 31);
    TIFF *tiff = TIFFClientOpenExt(
        "picture", "r", source, read_bytes, write_bytes, seek, close_source, size, map, unmap, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}
#else
// Before 4.5 handlers of errors belong to the whole process, which is not ours to change.
static TIFF *open_source(Source *source) {
    return TIFFClientOpen(
        "picture", "r", source, read_bytes, write_bytes, seek, close_source, size, map, unmap);
}
#endif

static int fail(Source *source, int status, const char *text) {
    if (source->is_truncated) {
        snprintf(source->message, source->message_size, "the file is truncated");
        return CTIFF_TRUNCATED;
    }
    if (source->message[0] == 0 || status == CTIFF_UNSUPPORTED)
        snprintf(source->message, source->message_size, "%s", text);
    return status;
}

static int is_gray(TIFF *tiff) {
    uint16_t photometric = 0;
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric)) return 0;
    return photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE;
}

static int inspect(TIFF *tiff, Source *source, ctiff_header *header) {
    uint16_t orientation = ORIENTATION_TOPLEFT, format = SAMPLEFORMAT_UINT;
    if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &header->width) ||
        !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &header->height))
        return fail(source, CTIFF_DAMAGED, "it does not say how large the picture is");
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
        return fail(source, CTIFF_UNSUPPORTED, "numbers with a sign or in floating point");
    header->orientation = orientation;
    header->channels = is_gray(tiff) ? 1 : 3;
    return CTIFF_OK;
}

int ctiff_read_header(
    const uint8_t *data, size_t count, ctiff_header *header, char *message, size_t message_size) {
    Source source = {.data = data, .count = count, .message = message, .message_size = message_size};
    message[0] = 0;
    TIFF *tiff = open_source(&source);
    if (!tiff) return fail(&source, CTIFF_DAMAGED, "its header cannot be read");
    int status = inspect(tiff, &source, header);
    TIFFClose(tiff);
    return status;
}

static int check_parts(TIFF *tiff, Source *source) {
    uint32_t parts = TIFFIsTiled(tiff) ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    for (uint32_t part = 0; part < parts; part++) {
        uint64_t start = TIFFGetStrileOffset(tiff, part), length = TIFFGetStrileByteCount(tiff, part);
        if (start > source->count || length > source->count - start) source->is_truncated = 1;
        if (source->is_truncated || length == 0)
            return fail(source, CTIFF_DAMAGED, "a part of its pixels is missing");
    }
    return CTIFF_OK;
}

int ctiff_check_parts(const uint8_t *data, size_t count, char *message, size_t message_size) {
    Source source = {.data = data, .count = count, .message = message, .message_size = message_size};
    message[0] = 0;
    TIFF *tiff = open_source(&source);
    if (!tiff) return fail(&source, CTIFF_DAMAGED, "its header cannot be read");
    int status = check_parts(tiff, &source);
    TIFFClose(tiff);
    return status;
}

static uint8_t scaled(uint32_t value) { return (uint8_t)((value * 255 + 32767) / 65535); }

// Routines in the place of libtiff's: rows of `pixels` are `w + from_skew` pixels apart.

// libtiff would keep the upper byte, which makes a picture darker.
static void put_wide_gray(
    TIFFRGBAImage *image, uint32_t *target, uint32_t x, uint32_t y, uint32_t w, uint32_t h, int32_t from_skew,
    int32_t to_skew, unsigned char *pixels) {
    (void)x, (void)y;
    size_t samples = image->samplesperpixel;
    int is_inverted = image->photometric == PHOTOMETRIC_MINISWHITE;
    for (; h > 0; h--) {
        for (uint32_t i = 0; i < w; i++) {
            uint16_t value;
            memcpy(&value, pixels + 2 * samples * i, 2);
            *target++ = 0xFF000000u | scaled(is_inverted ? 65535 - value : value);
        }
        target += to_skew;
        pixels += 2 * samples * (size_t)(w + from_skew);
    }
}

static uint32_t lit(uint32_t ink, uint32_t light) {
    uint32_t product = ink * light + 128, taken = ((product >> 8) + product) >> 8;
    return taken > light ? 0 : light - taken;
}

// Pillow's conversion of four inks, which rounds otherwise.
static void put_inks(
    TIFFRGBAImage *image, uint32_t *target, uint32_t x, uint32_t y, uint32_t w, uint32_t h, int32_t from_skew,
    int32_t to_skew, unsigned char *pixels) {
    (void)x, (void)y;
    size_t samples = image->samplesperpixel;
    for (; h > 0; h--) {
        for (uint32_t i = 0; i < w; i++) {
            const unsigned char *inks = pixels + samples * i;
            uint32_t light = 255 - inks[3];
            *target++ = 0xFF000000u | lit(inks[2], light) << 16 | lit(inks[1], light) << 8 | lit(inks[0], light);
        }
        target += to_skew;
        pixels += samples * (size_t)(w + from_skew);
    }
}

// Pillow's tables in the place of libtiff's: 16-bit colours keep their upper byte, and colours are not darkened by their
// transparency.
static void set_tables(TIFFRGBAImage *image, int channels) {
    if (image->Bitdepth16To8)
        for (uint32_t i = 0; i < 65536; i++)
            image->Bitdepth16To8[i] = channels == 1 ? scaled(i) : (uint8_t)(i >> 8);
    if (image->UaToAa)
        for (uint32_t i = 0; i < 65536; i++) image->UaToAa[i] = (uint8_t)i;
    if (channels == 1 && image->isContig && image->bitspersample == 16) image->put.contig = put_wide_gray;
    if (image->photometric == PHOTOMETRIC_SEPARATED && image->isContig && image->bitspersample == 8 &&
        image->samplesperpixel >= 4)
        image->put.contig = put_inks;
}

// Whether the colours are stored multiplied by their transparency.
static int is_premultiplied(TIFF *tiff) {
    uint16_t count = 0, *kinds = NULL;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
    return count > 0 && kinds && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
}

static uint8_t divided(uint32_t value, uint32_t alpha) {
    uint32_t result = alpha == 0 ? 0 : value * 255 / alpha;
    return (uint8_t)(result > 255 ? 255 : result);
}

static int decode(TIFF *tiff, Source *source, const ctiff_header *header, uint32_t *raster, uint8_t *pixels) {
    int status = check_parts(tiff, source);
    if (status != CTIFF_OK) return status;
    char text[1024] = "";
    size_t count = (size_t)header->width * header->height;
    // A tile may be larger than the picture, but not by any amount.
    uint64_t part = TIFFIsTiled(tiff) ? TIFFTileSize64(tiff) : TIFFStripSize64(tiff);
    if (part > 64 * (uint64_t)count + ((uint64_t)1 << 26))
        return fail(source, CTIFF_DAMAGED, "a part of its pixels is larger than the picture");
    if (!TIFFRGBAImageOK(tiff, text)) {
        const char *apology = "Sorry, can not handle ";
        char reason[1100];
        snprintf(
            reason, sizeof reason, "colours or samples of this kind (%s)",
            strncmp(text, apology, strlen(apology)) == 0 ? text + strlen(apology) : text);
        return fail(source, CTIFF_UNSUPPORTED, reason);
    }
    TIFFRGBAImage image;
    if (!TIFFRGBAImageBegin(&image, tiff, 1, text)) return fail(source, CTIFF_DAMAGED, text);
    image.req_orientation = image.orientation = ORIENTATION_TOPLEFT;
    set_tables(&image, header->channels);
    // What was wrong with other tags does not matter any more.
    source->message[0] = 0;
    int is_whole = image.width == header->width && image.height == header->height &&
                   TIFFRGBAImageGet(&image, raster, header->width, header->height);
    TIFFRGBAImageEnd(&image);
    // Codecs report damage that they can go on behind; what they made up is no picture.
    if (!is_whole || source->message[0] != 0) return fail(source, CTIFF_DAMAGED, "its pixels cannot be decoded");
    int divides = header->channels == 3 && is_premultiplied(tiff);
    for (size_t i = 0; i < count; i++) {
        uint32_t value = raster[i], alpha = TIFFGetA(value);
        if (header->channels == 1) {
            pixels[i] = (uint8_t)TIFFGetR(value);
            continue;
        }
        pixels[3 * i] = divides ? divided(TIFFGetR(value), alpha) : (uint8_t)TIFFGetR(value);
        pixels[3 * i + 1] = divides ? divided(TIFFGetG(value), alpha) : (uint8_t)TIFFGetG(value);
        pixels[3 * i + 2] = divides ? divided(TIFFGetB(value), alpha) : (uint8_t)TIFFGetB(value);
    }
    return CTIFF_OK;
}

int ctiff_decode(
    const uint8_t *data, size_t count, const ctiff_header *header, uint8_t *pixels, char *message, size_t message_size) {
    Source source = {.data = data, .count = count, .message = message, .message_size = message_size};
    message[0] = 0;
    TIFF *tiff = open_source(&source);
    if (!tiff) return fail(&source, CTIFF_DAMAGED, "its header cannot be read");
    ctiff_header found;
    int status = inspect(tiff, &source, &found);
    if (status == CTIFF_OK &&
        (found.width != header->width || found.height != header->height || found.channels != header->channels))
        status = fail(&source, CTIFF_DAMAGED, "its header changed while it was read");
    uint32_t *raster = NULL;
    if (status == CTIFF_OK) {
        raster = calloc((size_t)header->width * header->height, sizeof(uint32_t));
        status = raster ? decode(tiff, &source, header, raster, pixels)
                        : fail(&source, CTIFF_DAMAGED, "there is not enough memory");
    }
    free(raster);
    TIFFClose(tiff);
    return status;
}
