// One small interface over oneDNN for versions 2.6 and 3.x, whose own C interfaces differ.
//
// Layouts are memory descriptors; a primitive bundles oneDNN's primitive, its descriptor and its memory objects and is
// executed with plain pointers. Scratchpads are given by the caller. Everything runs on the processor, on the calling
// thread's OpenMP pool. A primitive is used by one thread at a time. Functions return 0 or an error code; the text of
// the calling thread's last error is gdnn_last_error().
#pragma once
#include <stddef.h>
#include <stdint.h>

#define GDNN_MAX_RANK 12

enum gdnn_status {
    GDNN_OK = 0,
    // oneDNN has no implementation for this combination; the caller runs a kernel of its own.
    GDNN_UNIMPLEMENTED = 1,
    GDNN_INVALID = 2,
    GDNN_OUT_OF_MEMORY = 3,
    GDNN_FAILED = 4,
};

// Element types by their ONNX codes.
enum gdnn_type { GDNN_F32 = 1, GDNN_U8 = 2, GDNN_S8 = 3, GDNN_S32 = 6, GDNN_F16 = 10, GDNN_BF16 = 16 };

// What a primitive computes; the meaning of alpha and beta is beside each element-wise function.
enum gdnn_algorithm {
    GDNN_RELU,        // x > 0 ? x : alpha x
    GDNN_TANH,
    GDNN_ELU,         // x > 0 ? x : alpha (exp x - 1)
    GDNN_SQUARE,
    GDNN_ABS,
    GDNN_SQRT,
    GDNN_LINEAR,      // alpha x + beta
    GDNN_SOFTPLUS,
    GDNN_LOGISTIC,
    GDNN_EXP,
    GDNN_GELU_TANH,
    GDNN_GELU_ERF,
    GDNN_SWISH,       // x logistic(alpha x)
    GDNN_LOG,
    GDNN_CLIP,        // min(max(x, alpha), beta)
    GDNN_POW,         // alpha x^beta
    GDNN_MISH,
    GDNN_HARDSWISH,   // x min(max(x / 6 + 1 / 2, 0), 1)
    GDNN_ROUND,       // half to even
    GDNN_ADD,
    GDNN_MULTIPLY,
    GDNN_MAXIMUM,
    GDNN_MINIMUM,
    GDNN_DIVIDE,
    GDNN_SUBTRACT,
    GDNN_POOL_MAX,
    GDNN_POOL_AVERAGE_WITH_PADDING,
    GDNN_POOL_AVERAGE,
    GDNN_RESAMPLE_NEAREST,
    GDNN_RESAMPLE_LINEAR,
    GDNN_REDUCE_MAX,
    GDNN_REDUCE_MIN,
    GDNN_REDUCE_SUM,
    GDNN_REDUCE_MEAN,
    GDNN_SOFTMAX,
    GDNN_LOG_SOFTMAX,
    GDNN_LRN_ACROSS,
    GDNN_LRN_WITHIN,
};

enum gdnn_direction { GDNN_FORWARD_INFERENCE, GDNN_FORWARD_TRAINING, GDNN_BACKWARD_DATA, GDNN_BACKWARD_WEIGHTS };

// Arguments of an execution.
enum gdnn_argument {
    GDNN_ARG_SRC = 1,
    GDNN_ARG_SRC_1 = 2,
    GDNN_ARG_DST = 17,
    GDNN_ARG_WEIGHTS = 33,
    GDNN_ARG_BIAS = 41,
    GDNN_ARG_MEAN = 49,
    GDNN_ARG_VARIANCE = 50,
    GDNN_ARG_SCALE = 51,
    GDNN_ARG_SHIFT = 52,
    GDNN_ARG_WORKSPACE = 64,
    GDNN_ARG_SCRATCHPAD = 80,
    GDNN_ARG_DIFF_SRC = 129,
    GDNN_ARG_DIFF_DST = 145,
    GDNN_ARG_DIFF_WEIGHTS = 161,
    GDNN_ARG_DIFF_BIAS = 169,
    // The second operand of the binary post-operation at a position of the chain: add the position times
    // GDNN_ARG_POST_STRIDE.
    GDNN_ARG_POST_BINARY = 16384 | 2,
    GDNN_ARG_POST_STRIDE = 16384,
};

typedef struct gdnn_layout gdnn_layout;
typedef struct gdnn_primitive gdnn_primitive;

const char *gdnn_last_error(void);
// The version of the library that is loaded, as major * 10000 + minor * 100 + patch.
int gdnn_version(void);
// Whether the processor computes products in bfloat16 natively.
int gdnn_has_bf16(void);

// Whether all of the library's kernels add products of bytes into 32 bits. Without AVX-512 VNNI they go through 16 bits,
// in which the sum of two products saturates.
int gdnn_has_byte_products(void);
// Whether a quantised convolution or product adds its bias after the scale, so that the bias must be scaled before.
int gdnn_scales_before_bias(void);

// A layout with the given strides in elements; row-major where strides is NULL.
gdnn_layout *gdnn_layout_strided(int type, int rank, const int64_t *dims, const int64_t *strides);
// A layout that a primitive chooses.
gdnn_layout *gdnn_layout_any(int type, int rank, const int64_t *dims);
// The layout named nChw16c and its kin: channels (dimension 1) in blocks.
gdnn_layout *gdnn_layout_channel_blocks(int type, int rank, const int64_t *dims, int64_t block);
// The layouts named Oihw16o and Goihw16g: weights of a convolution over images, output channels or groups (dimension 0)
// in blocks.
gdnn_layout *gdnn_layout_filter_blocks(int type, int rank, const int64_t *dims);
gdnn_layout *gdnn_layout_clone(const gdnn_layout *layout);
void gdnn_layout_destroy(gdnn_layout *layout);
int gdnn_layout_equal(const gdnn_layout *a, const gdnn_layout *b);
size_t gdnn_layout_bytes(const gdnn_layout *layout);
int gdnn_layout_rank(const gdnn_layout *layout);
int gdnn_layout_type(const gdnn_layout *layout);
// Writes dimensions, padded dimensions, outer strides, and up to GDNN_MAX_RANK inner blocks with the dimension each
// belongs to; returns the number of inner blocks, or -1 for a format that blocks do not describe, of which only the
// dimensions are written.
int gdnn_layout_describe(
    const gdnn_layout *layout, int64_t *dims, int64_t *padded, int64_t *strides, int64_t *blocks, int64_t *indices);

// One operation that a primitive applies to its result.
typedef struct {
    // 0: element-wise, 1: sum with what the destination holds, 2: binary with a further operand.
    int kind;
    int algorithm;
    float alpha;
    float beta;
    const gdnn_layout *operand;
} gdnn_post_op;

// How a convolution or matrix product of bytes reads and writes integers. Its result is
// (sum of (src - src_zero) (weights - weights_zero) + bias) scale, then the post-operations, plus dst_zero; a result of
// bytes is rounded to the nearest number, even where two are as near, and held within the type. A bias is of floats.
typedef struct {
    // One for all channels (columns of a product), or one for each; copied.
    const float *scales;
    int scale_count;
    int32_t src_zero;
    int32_t weights_zero;
    int32_t dst_zero;
    // Whether src_zero is given with each execution, by gdnn_primitive_set_source_zero.
    int src_zero_changes;
} gdnn_quantization;

typedef struct {
    const gdnn_post_op *post_ops;
    int post_op_count;
    // Whether products may be computed in bfloat16.
    int allow_bf16;
    // NULL for numbers that are what they are.
    const gdnn_quantization *quantization;
} gdnn_attributes;

// Geometry of convolution and pooling: one entry for each spatial dimension; dilations count from 1.
typedef struct {
    int64_t strides[GDNN_MAX_RANK];
    int64_t dilations[GDNN_MAX_RANK];
    int64_t pad_begin[GDNN_MAX_RANK];
    int64_t pad_end[GDNN_MAX_RANK];
    int64_t kernel[GDNN_MAX_RANK];
} gdnn_window;

// For backward directions src, weights, bias and dst are the layouts of the gradients where these are outputs.
int gdnn_convolution(
    gdnn_primitive **result, int direction, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_window *window, const gdnn_attributes *attributes);
int gdnn_deconvolution(
    gdnn_primitive **result, int direction, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_window *window, const gdnn_attributes *attributes);
int gdnn_matmul(
    gdnn_primitive **result, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_attributes *attributes);
int gdnn_inner_product(
    gdnn_primitive **result, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_attributes *attributes);
int gdnn_pooling(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, const gdnn_layout *dst,
    const gdnn_window *window);
// Backward: src is the layout of the forward input (or output, where the function allows), dst that of its gradient.
int gdnn_eltwise(
    gdnn_primitive **result, int direction, int algorithm, float alpha, float beta, const gdnn_layout *src,
    const gdnn_layout *dst);
int gdnn_binary(
    gdnn_primitive **result, int algorithm, const gdnn_layout *src0, const gdnn_layout *src1, const gdnn_layout *dst,
    const gdnn_attributes *attributes);
int gdnn_softmax(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, const gdnn_layout *dst, int axis);
int gdnn_resampling(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, const gdnn_layout *dst);
int gdnn_lrn(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, int64_t size, float alpha, float beta,
    float k);
int gdnn_reduction(gdnn_primitive **result, int algorithm, const gdnn_layout *src, const gdnn_layout *dst);
int gdnn_reorder(gdnn_primitive **result, const gdnn_layout *src, const gdnn_layout *dst);

void gdnn_primitive_destroy(gdnn_primitive *primitive);
// The layout that an argument must have; NULL where the primitive has no such argument. Owned by the caller.
gdnn_layout *gdnn_primitive_layout(const gdnn_primitive *primitive, int argument);
// The zero point of the source for later executions of a primitive that was made for a changing one.
void gdnn_primitive_set_source_zero(gdnn_primitive *primitive, int32_t zero);
size_t gdnn_scratchpad_bytes(const gdnn_primitive *primitive);
// The name of the implementation; that of a convolution by reference code begins with "ref".
const char *gdnn_primitive_name(const gdnn_primitive *primitive);
int gdnn_execute(gdnn_primitive *primitive, int count, const int *arguments, void *const *pointers);
