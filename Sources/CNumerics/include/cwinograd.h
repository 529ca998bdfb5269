// Winograd's minimal filtering F(4x4, 3x3) on tensors in blocks of 16 channels.
//
// An output tile of 4 by 4 pixels comes from an input tile of 6 by 6 with 36 products where the definition has 144. The
// transforms are those of A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
//
// The caller owns the scratch memory and the threads; each function does the part of the work that it is told.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The values of one tile in the domain where convolution is multiplication.
#define CWINOGRAD_FREQUENCIES 36
// The numbers of a filter of one input and one output channel.
#define CWINOGRAD_FILTER 9
// The output pixels of a tile in each direction.
#define CWINOGRAD_TILE 4
// The channels in a block, and the most output blocks that are multiplied at once.
#define CWINOGRAD_BLOCK 16
#define CWINOGRAD_PANEL 4

// The numbers from one frequency to the next, for `blocks` blocks of each: steps that are powers of two would compete for
// the same lines of a cache.
static inline size_t cwinograd_step(size_t blocks) { return (blocks | 1) * CWINOGRAD_BLOCK; }

// Where the tiles of a convolution lie. Tile t is column t % columns, row t / columns % rows of image t / (rows * columns).
struct cwinograd_geometry {
    size_t height, width;              // of an input image
    size_t top, left;                  // padding
    size_t output_height, output_width;
    size_t rows, columns;              // tiles of an output image
    size_t input_blocks, output_blocks;  // channels / 16
};

// Whether the processor has the instructions that the functions below need.
int cwinograd_is_available(void);

// Transforms the weights of `count` output blocks from block `first` on, count <= CWINOGRAD_PANEL, for the input channels
// begin ..< end.
// weights: [output block][input channel][3][3][16 output channels].
// transformed: [36, step apart][channel - begin][count][16].
void cwinograd_transform_weights(
    const float *weights, size_t input_channels, size_t first, size_t count, size_t begin, size_t end,
    float *transformed, size_t step);

// Transforms `count` tiles from tile `first` on, of the input blocks first_block ..< end_block.
// source: [image][input block][height][width][16]. transformed: [36, step apart][input block][count][16].
void cwinograd_transform_input(
    const float *source, const struct cwinograd_geometry *geometry, size_t first, size_t count, size_t first_block,
    size_t end_block, float *transformed, size_t step);

// Weights that are transformed next: `count` runs of `lines` times 64 bytes, `step` bytes apart.
struct cwinograd_ahead {
    const void *weights;
    size_t count, step, lines;
};

// For each frequency: products[b][t][16], which is set or added to, gets the sum over `blocks` blocks of input channels c
// of input[c][t] * weights[c][b][16], for the tiles 0 ..< tiles and `panel` output blocks b. Meanwhile the memory is asked
// for what is ahead: with few tiles it would else be waited for longer than computed.
void cwinograd_multiply(
    const float *input, size_t input_step, const float *weights, size_t weights_step, size_t blocks, size_t tiles,
    size_t panel, int adds, float *products, size_t products_step, struct cwinograd_ahead ahead);

// Makes `count` output tiles from tile `first` on, of the output blocks first_block ..< first_block + panel.
// products: [36, step apart][panel][count][16]. bias: a number for each output channel, or NULL. addend: added to the
// result, in the order of target, which it may be, or NULL. The result is held within low and high.
void cwinograd_transform_output(
    const float *products, size_t step, const struct cwinograd_geometry *geometry, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const float *addend, float low, float high, float *target);

// The same between tensors in blocks of numbers of bfloat16. The numbers that are multiplied are 14-bit integers times a
// scale that some of them share, for processors that add the products of two pairs of 16 bits in one instruction (AVX-512
// VNNI): with numbers of bfloat16, which have 8 bits, the transforms would make the result several times less exact than
// the direct algorithm's is.

// The input channels that share a scale. Sums over more would not fit 32 bits.
#define CWINOGRAD_CHUNK 32

int cwinograd_has_integers(void);

// Transforms weights of bfloat16 for the input channels begin ..< end, begin a multiple of CWINOGRAD_CHUNK.
// transformed: [36, step apart][pair of channels][count][16][2]. scales: [chunk][count][16].
void cwinograd_integer_weights(
    const uint16_t *weights, size_t input_channels, size_t first, size_t count, size_t begin, size_t end,
    int16_t *transformed, size_t step, float *scales);

// Transforms the chunks of input blocks first_chunk ..< end_chunk. transformed: [36, step apart][input block][count][16].
// scales: [chunk][count].
void cwinograd_integer_input(
    const uint16_t *source, const struct cwinograd_geometry *geometry, size_t first, size_t count, size_t first_chunk,
    size_t end_chunk, int16_t *transformed, size_t step, float *scales);

// As cwinograd_multiply, with scales of the tiles and of the weights.
void cwinograd_integer_multiply(
    const int16_t *input, size_t input_step, const float *input_scales, const int16_t *weights, size_t weights_step,
    const float *weight_scales, size_t blocks, size_t tiles, size_t panel, int adds, float *products,
    size_t products_step, struct cwinograd_ahead ahead);

// As cwinograd_transform_output; addend and target are numbers of bfloat16 where rounds is not 0, of 32 bits otherwise.
void cwinograd_integer_output(
    const float *products, size_t step, const struct cwinograd_geometry *geometry, size_t first, size_t count,
    size_t first_block, size_t panel, const float *bias, const void *addend, float low, float high, int rounds,
    void *target);
