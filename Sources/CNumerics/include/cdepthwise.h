// Depthwise convolutions on tensors in blocks of 16 channels, with the 1 by 1 convolution before it where there is one, as
// in the blocks of MobileNetV2 and EfficientNet: what lies between the two never leaves the cache of a processor.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The most blocks of channels that are computed at once.
#define CDEPTHWISE_PANEL 4

struct cdepthwise_geometry {
    size_t height, width;                // of an input image
    size_t output_height, output_width;  // of the result
    size_t size, stride;                 // of the window, which is 3, 5 or 7 pixels high and wide; 1 or 2
    size_t top, left;                    // padding
};

enum cdepthwise_function { CDEPTHWISE_CLAMP, CDEPTHWISE_SWISH, CDEPTHWISE_HARDSWISH };

struct cdepthwise_activation {
    enum cdepthwise_function function;
    float low, high;  // of CDEPTHWISE_CLAMP
};

// The convolution before: weights [input channel][panel][16], bias [panel][16].
struct cdepthwise_expansion {
    size_t channels;
    const float *weights, *bias;
    struct cdepthwise_activation activation;
};

// Whether the processor has the instructions that the functions below need.
int cdepthwise_is_available(void);

// The numbers of scratch memory for results of `strip` rows at once.
size_t cdepthwise_scratch(const struct cdepthwise_geometry *geometry, size_t panel, size_t strip);

// Computes rows first ..< end of `panel` <= CDEPTHWISE_PANEL blocks of one image.
//
// source: [block][height][width][16], of the expansion's input where there is one, of these blocks otherwise.
// weights: [panel][size][size][16], bias: [panel][16], target: [panel][output_height][output_width][16].
void cdepthwise_run(
    const struct cdepthwise_geometry *geometry, const float *source, const struct cdepthwise_expansion *expansion,
    const float *weights, const float *bias, struct cdepthwise_activation activation, size_t panel, size_t first,
    size_t end, size_t strip, float *scratch, float *target);

// The same on tensors in blocks of numbers of bfloat16, for processors that multiply these (AVX-512 BF16). What lies
// between the expansion and the window is rounded to bfloat16 as well; sums have 32 bits. Rows of a window are taken in
// pairs, one more than it has with weights of zero: a number that is not finite also reaches the row beside its own.

// weights: [channel pair][panel][16][2], zeros where the count of channels is odd; bias: [panel][16].
struct cdepthwise_rounded_expansion {
    size_t channels;
    const uint16_t *weights;
    const float *bias;
    struct cdepthwise_activation activation;
};

int cdepthwise_rounds(void);

// The numbers of 16 bits that the weights of a block take, which rows of the window in pairs take twice: a window begins
// with the first or the second row of a pair.
size_t cdepthwise_pair_count(size_t size);
// weights: [size][size][16].
void cdepthwise_pair_weights(const float *weights, size_t size, uint16_t *pairs);

size_t cdepthwise_rounded_scratch(const struct cdepthwise_geometry *geometry, size_t panel, size_t strip);

// target: numbers of bfloat16 where rounds is not 0, of 32 bits otherwise.
void cdepthwise_run_rounded(
    const struct cdepthwise_geometry *geometry, const uint16_t *source,
    const struct cdepthwise_rounded_expansion *expansion, const uint16_t *pairs, const float *bias,
    struct cdepthwise_activation activation, size_t panel, size_t first, size_t end, size_t strip, float *scratch,
    int rounds, void *target);
