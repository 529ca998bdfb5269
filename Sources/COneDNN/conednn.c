#include "conednn.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>

#define V3 (DNNL_VERSION_MAJOR >= 3)

#if V3
typedef const_dnnl_memory_desc_t md_ref;
struct gdnn_layout {
    dnnl_memory_desc_t md;
};
#define REF(layout) ((layout) ? (md_ref)(layout)->md : NULL)
#else
typedef const dnnl_memory_desc_t *md_ref;
struct gdnn_layout {
    dnnl_memory_desc_t md;
};
#define REF(layout) ((layout) ? &(layout)->md : NULL)
#endif

#define MAX_ARGUMENTS 12
// Scales and three zero points.
#define MAX_CONSTANTS 4

// What a quantised primitive reads besides its arguments.
typedef struct {
    int count;
    dnnl_exec_arg_t arguments[MAX_CONSTANTS];
    float *scales;
    int32_t zeros[3];
} constants;

struct gdnn_primitive {
    dnnl_primitive_t primitive;
    dnnl_primitive_desc_t desc;
    int count;
    int arguments[MAX_ARGUMENTS];
    dnnl_memory_t memories[MAX_ARGUMENTS];
    void *pointers[MAX_ARGUMENTS];
    constants constants;
};

static _Thread_local char last_error[256];
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static dnnl_status_t start_status;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;

const char *gdnn_last_error(void) { return last_error; }

static void start(void) {
    start_status = dnnl_engine_create(&engine, dnnl_cpu, 0);
    if (start_status == dnnl_success) start_status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
}

static int fail(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return GDNN_OK;
    const char *reason;
    int code;
    switch (status) {
    case dnnl_unimplemented: reason = "not implemented", code = GDNN_UNIMPLEMENTED; break;
    case dnnl_invalid_arguments: reason = "invalid arguments", code = GDNN_INVALID; break;
    case dnnl_out_of_memory: reason = "out of memory", code = GDNN_OUT_OF_MEMORY; break;
    default: reason = "failed", code = GDNN_FAILED; break;
    }
    snprintf(last_error, sizeof last_error, "oneDNN %s: %s", what, reason);
    return code;
}

static int ready(void) {
    pthread_once(&start_once, start);
    return fail(start_status, "engine");
}

int gdnn_version(void) {
    const dnnl_version_t *version = dnnl_version();
    return version->major * 10000 + version->minor * 100 + version->patch;
}

int gdnn_has_bf16(void) {
#if defined(__x86_64__)
    // The user may forbid the library instructions that the processor has.
    return __builtin_cpu_supports("avx512bf16")
        && (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
#else
    return 0;
#endif
}

int gdnn_has_byte_products(void) {
#if defined(__x86_64__)
    // With AVX-VNNI, which has 256 bits, only some of the library's kernels use it.
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_vnni) == dnnl_cpu_isa_avx512_core_vnni;
#else
    return 0;
#endif
}

int gdnn_scales_before_bias(void) { return V3; }

// Layouts.

static dnnl_data_type_t data_type(int type) {
    switch (type) {
    case GDNN_F32: return dnnl_f32;
    case GDNN_U8: return dnnl_u8;
    case GDNN_S8: return dnnl_s8;
    case GDNN_S32: return dnnl_s32;
    case GDNN_F16: return dnnl_f16;
    case GDNN_BF16: return dnnl_bf16;
    default: return dnnl_data_type_undef;
    }
}

static int type_code(dnnl_data_type_t type) {
    switch (type) {
    case dnnl_f32: return GDNN_F32;
    case dnnl_u8: return GDNN_U8;
    case dnnl_s8: return GDNN_S8;
    case dnnl_s32: return GDNN_S32;
    case dnnl_f16: return GDNN_F16;
    case dnnl_bf16: return GDNN_BF16;
    default: return 0;
    }
}

static gdnn_layout *new_layout(void) { return calloc(1, sizeof(gdnn_layout)); }

// Whether oneDNN can count with a shape: no extent is negative, which may mean one that is not known yet, and no number
// of bytes overflows.
static int is_countable(int rank, const int64_t *dims, const int64_t *strides) {
    // Room for the bytes of an element and for the padding of blocks.
    const int64_t limit = INT64_MAX >> 10;
    int64_t count = 1, end = 0;
    int good = rank >= 1 && rank <= GDNN_MAX_RANK && rank <= DNNL_MAX_NDIMS;
    for (int i = 0; good && i < rank; i++) {
        good = dims[i] >= 0 && !__builtin_mul_overflow(count, dims[i] > 0 ? dims[i] : 1, &count) && count <= limit;
        if (good && strides)
            good = strides[i] >= 0 && !__builtin_mul_overflow(strides[i], dims[i], &end) && end <= limit;
    }
    if (!good) fail(dnnl_invalid_arguments, "shape");
    return good;
}

gdnn_layout *gdnn_layout_strided(int type, int rank, const int64_t *dims, const int64_t *strides) {
    if (!is_countable(rank, dims, strides)) return NULL;
    gdnn_layout *layout = new_layout();
    if (!layout) return NULL;
    dnnl_dims_t shape, steps;
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        shape[i] = dims[i];
        steps[i] = strides ? strides[i] : step;
        step *= dims[i] > 0 ? dims[i] : 1;
    }
#if V3
    dnnl_status_t status = dnnl_memory_desc_create_with_strides(&layout->md, rank, shape, data_type(type), steps);
#else
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&layout->md, rank, shape, data_type(type), steps);
#endif
    if (fail(status, "strided layout")) {
        free(layout);
        return NULL;
    }
    return layout;
}

static gdnn_layout *tagged(int type, int rank, const int64_t *dims, dnnl_format_tag_t tag) {
    if (!is_countable(rank, dims, NULL)) return NULL;
    gdnn_layout *layout = new_layout();
    if (!layout) return NULL;
    dnnl_dims_t shape;
    for (int i = 0; i < rank; i++) shape[i] = dims[i];
#if V3
    dnnl_status_t status = dnnl_memory_desc_create_with_tag(&layout->md, rank, shape, data_type(type), tag);
#else
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&layout->md, rank, shape, data_type(type), tag);
#endif
    if (fail(status, "layout")) {
        free(layout);
        return NULL;
    }
    return layout;
}

gdnn_layout *gdnn_layout_any(int type, int rank, const int64_t *dims) {
    return tagged(type, rank, dims, dnnl_format_tag_any);
}

gdnn_layout *gdnn_layout_channel_blocks(int type, int rank, const int64_t *dims, int64_t block) {
    dnnl_format_tag_t tag = dnnl_format_tag_undef;
    if (block == 16)
        tag = rank == 3 ? dnnl_nCw16c : rank == 4 ? dnnl_nChw16c : rank == 5 ? dnnl_nCdhw16c : dnnl_format_tag_undef;
    if (block == 8)
        tag = rank == 3 ? dnnl_nCw8c : rank == 4 ? dnnl_nChw8c : rank == 5 ? dnnl_nCdhw8c : dnnl_format_tag_undef;
    return tag == dnnl_format_tag_undef ? NULL : tagged(type, rank, dims, tag);
}

gdnn_layout *gdnn_layout_filter_blocks(int type, int rank, const int64_t *dims) {
    return rank == 4 ? tagged(type, rank, dims, dnnl_Oihw16o) : rank == 5 ? tagged(type, rank, dims, dnnl_Goihw16g) : NULL;
}

static gdnn_layout *from_ref(md_ref ref) {
    if (!ref) return NULL;
    gdnn_layout *layout = new_layout();
    if (!layout) return NULL;
#if V3
    if (dnnl_memory_desc_clone(&layout->md, ref) != dnnl_success) {
        free(layout);
        return NULL;
    }
#else
    layout->md = *ref;
#endif
    return layout;
}

gdnn_layout *gdnn_layout_clone(const gdnn_layout *layout) { return from_ref(REF(layout)); }

void gdnn_layout_destroy(gdnn_layout *layout) {
    if (!layout) return;
#if V3
    dnnl_memory_desc_destroy(layout->md);
#endif
    free(layout);
}

int gdnn_layout_equal(const gdnn_layout *a, const gdnn_layout *b) { return dnnl_memory_desc_equal(REF(a), REF(b)); }

size_t gdnn_layout_bytes(const gdnn_layout *layout) { return dnnl_memory_desc_get_size(REF(layout)); }

int gdnn_layout_rank(const gdnn_layout *layout) {
#if V3
    int rank = 0;
    dnnl_memory_desc_query(layout->md, dnnl_query_ndims_s32, &rank);
    return rank;
#else
    return layout->md.ndims;
#endif
}

int gdnn_layout_type(const gdnn_layout *layout) {
#if V3
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_memory_desc_query(layout->md, dnnl_query_data_type, &type);
    return type_code(type);
#else
    return type_code(layout->md.data_type);
#endif
}

int gdnn_layout_describe(
    const gdnn_layout *layout, int64_t *dims, int64_t *padded, int64_t *strides, int64_t *blocks, int64_t *indices) {
    int rank = gdnn_layout_rank(layout);
#if V3
    dnnl_format_kind_t kind;
    dnnl_dims_t *shape, *extent, *steps, *inner, *inner_indices;
    int count = 0;
    if (dnnl_memory_desc_query(layout->md, dnnl_query_dims, &shape) != dnnl_success
        || dnnl_memory_desc_query(layout->md, dnnl_query_padded_dims, &extent) != dnnl_success)
        return -1;
    for (int i = 0; i < rank; i++) dims[i] = (*shape)[i], padded[i] = (*extent)[i];
    if (dnnl_memory_desc_query(layout->md, dnnl_query_format_kind, &kind) != dnnl_success || kind != dnnl_blocked
        || dnnl_memory_desc_query(layout->md, dnnl_query_strides, &steps) != dnnl_success
        || dnnl_memory_desc_query(layout->md, dnnl_query_inner_nblks_s32, &count) != dnnl_success
        || dnnl_memory_desc_query(layout->md, dnnl_query_inner_blks, &inner) != dnnl_success
        || dnnl_memory_desc_query(layout->md, dnnl_query_inner_idxs, &inner_indices) != dnnl_success)
        return -1;
    for (int i = 0; i < rank; i++) strides[i] = (*steps)[i];
    for (int i = 0; i < count; i++) blocks[i] = (*inner)[i], indices[i] = (*inner_indices)[i];
    return count;
#else
    const dnnl_memory_desc_t *md = &layout->md;
    for (int i = 0; i < rank; i++) dims[i] = md->dims[i], padded[i] = md->padded_dims[i];
    if (md->format_kind != dnnl_blocked || md->extra.flags) return -1;
    const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
    for (int i = 0; i < rank; i++) strides[i] = blocking->strides[i];
    for (int i = 0; i < blocking->inner_nblks; i++)
        blocks[i] = blocking->inner_blks[i], indices[i] = blocking->inner_idxs[i];
    return blocking->inner_nblks;
#endif
}

// Algorithms.

static dnnl_alg_kind_t algorithm_kind(int algorithm) {
    switch (algorithm) {
    case GDNN_RELU: return dnnl_eltwise_relu;
    case GDNN_TANH: return dnnl_eltwise_tanh;
    case GDNN_ELU: return dnnl_eltwise_elu;
    case GDNN_SQUARE: return dnnl_eltwise_square;
    case GDNN_ABS: return dnnl_eltwise_abs;
    case GDNN_SQRT: return dnnl_eltwise_sqrt;
    case GDNN_LINEAR: return dnnl_eltwise_linear;
    case GDNN_SOFTPLUS: return dnnl_eltwise_soft_relu;
    case GDNN_LOGISTIC: return dnnl_eltwise_logistic;
    case GDNN_EXP: return dnnl_eltwise_exp;
    case GDNN_GELU_TANH: return dnnl_eltwise_gelu_tanh;
    case GDNN_GELU_ERF: return dnnl_eltwise_gelu_erf;
    case GDNN_SWISH: return dnnl_eltwise_swish;
    case GDNN_LOG: return dnnl_eltwise_log;
    case GDNN_CLIP: return dnnl_eltwise_clip;
    case GDNN_POW: return dnnl_eltwise_pow;
    case GDNN_MISH: return dnnl_eltwise_mish;
    case GDNN_HARDSWISH: return dnnl_eltwise_hardswish;
    case GDNN_ROUND: return dnnl_eltwise_round;
    case GDNN_ADD: return dnnl_binary_add;
    case GDNN_MULTIPLY: return dnnl_binary_mul;
    case GDNN_MAXIMUM: return dnnl_binary_max;
    case GDNN_MINIMUM: return dnnl_binary_min;
    case GDNN_DIVIDE: return dnnl_binary_div;
    case GDNN_SUBTRACT: return dnnl_binary_sub;
    case GDNN_POOL_MAX: return dnnl_pooling_max;
    case GDNN_POOL_AVERAGE_WITH_PADDING: return dnnl_pooling_avg_include_padding;
    case GDNN_POOL_AVERAGE: return dnnl_pooling_avg_exclude_padding;
    case GDNN_RESAMPLE_NEAREST: return dnnl_resampling_nearest;
    case GDNN_RESAMPLE_LINEAR: return dnnl_resampling_linear;
    case GDNN_REDUCE_MAX: return dnnl_reduction_max;
    case GDNN_REDUCE_MIN: return dnnl_reduction_min;
    case GDNN_REDUCE_SUM: return dnnl_reduction_sum;
    case GDNN_REDUCE_MEAN: return dnnl_reduction_mean;
    case GDNN_SOFTMAX: return dnnl_softmax_accurate;
    case GDNN_LOG_SOFTMAX: return dnnl_softmax_log;
    case GDNN_LRN_ACROSS: return dnnl_lrn_across_channels;
    case GDNN_LRN_WITHIN: return dnnl_lrn_within_channel;
    default: return dnnl_alg_kind_undef;
    }
}

// oneDNN 3 generalised hardswish to x clip(alpha x + beta); 2.x has the constants built in.
static void eltwise_constants(int algorithm, float *alpha, float *beta) {
#if V3
    if (algorithm == GDNN_HARDSWISH) *alpha = 1.0f / 6.0f, *beta = 0.5f;
    if (algorithm == GDNN_SOFTPLUS) *alpha = 1.0f;
#else
    (void)algorithm, (void)alpha, (void)beta;
#endif
}

static dnnl_prop_kind_t prop_kind(int direction) {
    switch (direction) {
    case GDNN_FORWARD_TRAINING: return dnnl_forward_training;
    case GDNN_BACKWARD_DATA: return dnnl_backward_data;
    case GDNN_BACKWARD_WEIGHTS: return dnnl_backward_weights;
    default: return dnnl_forward_inference;
    }
}

// Attributes.

// Scales and zero points belong to a primitive in 2.x, but for a zero point that changes; in 3.x all are arguments.
static dnnl_status_t set_quantization(dnnl_primitive_attr_t attr, const gdnn_quantization *given, int channel_mask) {
    const int codes[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    const int32_t zeros[] = {given->src_zero, given->weights_zero, given->dst_zero};
    int mask = given->scale_count > 1 ? channel_mask : 0;
    dnnl_status_t status = dnnl_success;
#if V3
    if (given->scale_count > 0) status = dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_WEIGHTS, mask);
    for (int i = 0; i < 3 && status == dnnl_success; i++)
        if (zeros[i] || (i == 0 && given->src_zero_changes))
            status = dnnl_primitive_attr_set_zero_points_mask(attr, codes[i], 0);
#else
    const int32_t later = DNNL_RUNTIME_S32_VAL;
    if (given->scale_count > 0)
        status = dnnl_primitive_attr_set_output_scales(attr, given->scale_count, mask, given->scales);
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        int changes = i == 0 && given->src_zero_changes;
        if (zeros[i] || changes)
            status = dnnl_primitive_attr_set_zero_points(attr, codes[i], 1, 0, changes ? &later : &zeros[i]);
    }
#endif
    return status;
}

static dnnl_status_t make_attributes(
    dnnl_primitive_attr_t *attr, const gdnn_attributes *given, int channel_mask) {
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && given && given->allow_bf16)
        status = dnnl_primitive_attr_set_fpmath_mode(*attr, dnnl_fpmath_mode_bf16);
    if (status == dnnl_success && given && given->quantization)
        status = set_quantization(*attr, given->quantization, channel_mask);
    if (status == dnnl_success && given && given->post_op_count > 0) {
        dnnl_post_ops_t chain;
        status = dnnl_post_ops_create(&chain);
        if (status != dnnl_success) return status;
        for (int i = 0; i < given->post_op_count && status == dnnl_success; i++) {
            const gdnn_post_op *op = &given->post_ops[i];
            float alpha = op->alpha, beta = op->beta;
            switch (op->kind) {
            case 0:
                eltwise_constants(op->algorithm, &alpha, &beta);
#if V3
                status = dnnl_post_ops_append_eltwise(chain, algorithm_kind(op->algorithm), alpha, beta);
#else
                status = dnnl_post_ops_append_eltwise(chain, 1.0f, algorithm_kind(op->algorithm), alpha, beta);
#endif
                break;
            case 1:
#if V3
                status = dnnl_post_ops_append_sum(chain, 1.0f, 0, dnnl_data_type_undef);
#else
                status = dnnl_post_ops_append_sum(chain, 1.0f);
#endif
                break;
            default:
                status = dnnl_post_ops_append_binary(chain, algorithm_kind(op->algorithm), REF(op->operand));
            }
        }
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, chain);
        dnnl_post_ops_destroy(chain);
    }
    return status;
}

static dnnl_status_t add_constant(constants *all, int argument, dnnl_data_type_t type, int64_t count, void *data) {
    dnnl_memory_t memory;
    gdnn_layout *layout = gdnn_layout_strided(type_code(type), 1, &count, NULL);
    if (!layout) return dnnl_out_of_memory;
    dnnl_status_t status = dnnl_memory_create(&memory, REF(layout), engine, data);
    gdnn_layout_destroy(layout);
    if (status == dnnl_success) all->arguments[all->count++] = (dnnl_exec_arg_t){argument, memory};
    return status;
}

static dnnl_status_t add_constants(constants *all, const gdnn_quantization *given) {
    const int codes[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    const int32_t zeros[] = {given->src_zero, given->weights_zero, given->dst_zero};
    dnnl_status_t status = dnnl_success;
    if (V3 && given->scale_count > 0) {
        all->scales = malloc((size_t)given->scale_count * sizeof(float));
        if (!all->scales) return dnnl_out_of_memory;
        memcpy(all->scales, given->scales, (size_t)given->scale_count * sizeof(float));
#if V3
        int argument = DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS;
        status = add_constant(all, argument, dnnl_f32, given->scale_count, all->scales);
#endif
    }
    for (int i = 0; i < 3 && status == dnnl_success; i++) {
        all->zeros[i] = zeros[i];
        int changes = i == 0 && given->src_zero_changes;
        if (changes || (V3 && zeros[i]))
            status = add_constant(all, DNNL_ARG_ATTR_ZERO_POINTS | codes[i], dnnl_s32, 1, &all->zeros[i]);
    }
    return status;
}

static int finish(
    gdnn_primitive **result, dnnl_status_t status, dnnl_primitive_desc_t desc, dnnl_primitive_attr_t attr,
    const char *what, const gdnn_attributes *attributes) {
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) return fail(status, what);
    gdnn_primitive *primitive = calloc(1, sizeof *primitive);
    if (!primitive) {
        dnnl_primitive_desc_destroy(desc);
        return fail(dnnl_out_of_memory, what);
    }
    primitive->desc = desc;
    status = dnnl_primitive_create(&primitive->primitive, desc);
    if (status != dnnl_success) {
        dnnl_primitive_desc_destroy(desc);
        free(primitive);
        return fail(status, what);
    }
    if (attributes && attributes->quantization) {
        status = add_constants(&primitive->constants, attributes->quantization);
        if (status != dnnl_success) {
            gdnn_primitive_destroy(primitive);
            return fail(status, what);
        }
    }
    *result = primitive;
    return GDNN_OK;
}

#define BEGIN(what) BEGIN_CHANNELS(what, 0)

// channel_mask: the bits of the dimensions along which scales of channels differ.
#define BEGIN_CHANNELS(what, channel_mask)                                                                            \
    if (ready()) return GDNN_FAILED;                                                                                  \
    dnnl_primitive_attr_t attr = NULL;                                                                                \
    dnnl_primitive_desc_t desc = NULL, hint = NULL;                                                                   \
    const char *name = what;                                                                                          \
    dnnl_status_t status = make_attributes(&attr, attributes, channel_mask);                                          \
    (void)hint

#define END                                                                                                           \
    if (hint) dnnl_primitive_desc_destroy(hint);                                                                      \
    return finish(result, status, desc, attr, name, attributes)

#if !V3
#define CREATE(target, op, hint_desc, attributes_) \
    if (status == dnnl_success) status = dnnl_primitive_desc_create(target, op, attributes_, engine, hint_desc)
#endif

static int convolve(
    gdnn_primitive **result, int transposed, int direction, const gdnn_layout *src, const gdnn_layout *weights,
    const gdnn_layout *bias, const gdnn_layout *dst, const gdnn_window *window, const gdnn_attributes *attributes) {
    // In 2.x the scales are those of the result; in 3.x of the weights, which may have groups before their channels.
    int mask = !V3 ? 2 : weights && src && gdnn_layout_rank(weights) > gdnn_layout_rank(src) ? 3 : 1;
    BEGIN_CHANNELS(transposed ? "deconvolution" : "convolution", mask);
    dnnl_alg_kind_t kind = transposed ? dnnl_deconvolution_direct : dnnl_convolution_direct;
    dnnl_dims_t strides, dilates, begin, end;
    for (int i = 0; i < GDNN_MAX_RANK && i < DNNL_MAX_NDIMS; i++) {
        strides[i] = window->strides[i], dilates[i] = window->dilations[i] - 1;
        begin[i] = window->pad_begin[i], end[i] = window->pad_end[i];
    }
    int backward = direction == GDNN_BACKWARD_DATA || direction == GDNN_BACKWARD_WEIGHTS;
    dnnl_primitive_desc_t *forward = backward ? &hint : &desc;
    dnnl_prop_kind_t prop = backward ? dnnl_forward_training : prop_kind(direction);
    md_ref s = REF(src), w = REF(weights), b = REF(bias), d = REF(dst);
#if V3
    // The hint is a forward primitive of the same problem; attributes belong to the primitive itself.
    if (status == dnnl_success)
        status = transposed
            ? dnnl_deconvolution_forward_primitive_desc_create(
                forward, engine, prop, kind, s, w, b, d, strides, dilates, begin, end, backward ? NULL : attr)
            : dnnl_convolution_forward_primitive_desc_create(
                forward, engine, prop, kind, s, w, b, d, strides, dilates, begin, end, backward ? NULL : attr);
    if (status == dnnl_success && direction == GDNN_BACKWARD_DATA)
        status = transposed
            ? dnnl_deconvolution_backward_data_primitive_desc_create(
                &desc, engine, kind, s, w, d, strides, dilates, begin, end, hint, attr)
            : dnnl_convolution_backward_data_primitive_desc_create(
                &desc, engine, kind, s, w, d, strides, dilates, begin, end, hint, attr);
    if (status == dnnl_success && direction == GDNN_BACKWARD_WEIGHTS)
        status = transposed
            ? dnnl_deconvolution_backward_weights_primitive_desc_create(
                &desc, engine, kind, s, w, b, d, strides, dilates, begin, end, hint, attr)
            : dnnl_convolution_backward_weights_primitive_desc_create(
                &desc, engine, kind, s, w, b, d, strides, dilates, begin, end, hint, attr);
#else
    dnnl_convolution_desc_t op;
    if (status == dnnl_success)
        status = transposed
            ? dnnl_dilated_deconvolution_forward_desc_init(&op, prop, kind, s, w, b, d, strides, dilates, begin, end)
            : dnnl_dilated_convolution_forward_desc_init(&op, prop, kind, s, w, b, d, strides, dilates, begin, end);
    CREATE(forward, &op, NULL, backward ? NULL : attr);
    if (status == dnnl_success && direction == GDNN_BACKWARD_DATA) {
        status = transposed
            ? dnnl_dilated_deconvolution_backward_data_desc_init(&op, kind, s, w, d, strides, dilates, begin, end)
            : dnnl_dilated_convolution_backward_data_desc_init(&op, kind, s, w, d, strides, dilates, begin, end);
        CREATE(&desc, &op, hint, attr);
    }
    if (status == dnnl_success && direction == GDNN_BACKWARD_WEIGHTS) {
        status = transposed
            ? dnnl_dilated_deconvolution_backward_weights_desc_init(&op, kind, s, w, b, d, strides, dilates, begin, end)
            : dnnl_dilated_convolution_backward_weights_desc_init(&op, kind, s, w, b, d, strides, dilates, begin, end);
        CREATE(&desc, &op, hint, attr);
    }
#endif
    END;
}

int gdnn_convolution(
    gdnn_primitive **result, int direction, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_window *window, const gdnn_attributes *attributes) {
    return convolve(result, 0, direction, src, weights, bias, dst, window, attributes);
}

int gdnn_deconvolution(
    gdnn_primitive **result, int direction, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_window *window, const gdnn_attributes *attributes) {
    return convolve(result, 1, direction, src, weights, bias, dst, window, attributes);
}

int gdnn_matmul(
    gdnn_primitive **result, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_attributes *attributes) {
    BEGIN_CHANNELS("matmul", 1 << (gdnn_layout_rank(weights) - 1));
#if V3
    if (status == dnnl_success)
        status = dnnl_matmul_primitive_desc_create(
            &desc, engine, REF(src), REF(weights), REF(bias), REF(dst), attr);
#else
    dnnl_matmul_desc_t op;
    if (status == dnnl_success) status = dnnl_matmul_desc_init(&op, REF(src), REF(weights), REF(bias), REF(dst));
    CREATE(&desc, &op, NULL, attr);
#endif
    END;
}

int gdnn_inner_product(
    gdnn_primitive **result, const gdnn_layout *src, const gdnn_layout *weights, const gdnn_layout *bias,
    const gdnn_layout *dst, const gdnn_attributes *attributes) {
    BEGIN("inner product");
#if V3
    if (status == dnnl_success)
        status = dnnl_inner_product_forward_primitive_desc_create(
            &desc, engine, dnnl_forward_inference, REF(src), REF(weights), REF(bias), REF(dst), attr);
#else
    dnnl_inner_product_desc_t op;
    if (status == dnnl_success)
        status = dnnl_inner_product_forward_desc_init(
            &op, dnnl_forward_inference, REF(src), REF(weights), REF(bias), REF(dst));
    CREATE(&desc, &op, NULL, attr);
#endif
    END;
}

int gdnn_pooling(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, const gdnn_layout *dst,
    const gdnn_window *window) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("pooling");
    dnnl_alg_kind_t kind = algorithm_kind(algorithm);
    dnnl_dims_t strides, dilates, begin, end, kernel;
    for (int i = 0; i < GDNN_MAX_RANK && i < DNNL_MAX_NDIMS; i++) {
        strides[i] = window->strides[i], dilates[i] = window->dilations[i] - 1, kernel[i] = window->kernel[i];
        begin[i] = window->pad_begin[i], end[i] = window->pad_end[i];
    }
    int backward = direction == GDNN_BACKWARD_DATA;
    dnnl_primitive_desc_t *forward = backward ? &hint : &desc;
    dnnl_prop_kind_t prop = backward ? dnnl_forward_training : prop_kind(direction);
#if V3
    if (status == dnnl_success)
        status = dnnl_pooling_forward_primitive_desc_create(
            forward, engine, prop, kind, REF(src), REF(dst), strides, kernel, dilates, begin, end,
            backward ? NULL : attr);
    if (status == dnnl_success && backward)
        status = dnnl_pooling_backward_primitive_desc_create(
            &desc, engine, kind, REF(src), REF(dst), strides, kernel, dilates, begin, end, hint, attr);
#else
    dnnl_pooling_v2_desc_t op;
    if (status == dnnl_success)
        status = dnnl_pooling_v2_forward_desc_init(
            &op, prop, kind, REF(src), REF(dst), strides, kernel, dilates, begin, end);
    CREATE(forward, &op, NULL, backward ? NULL : attr);
    if (status == dnnl_success && backward) {
        status = dnnl_pooling_v2_backward_desc_init(
            &op, kind, REF(src), REF(dst), strides, kernel, dilates, begin, end);
        CREATE(&desc, &op, hint, attr);
    }
#endif
    END;
}

int gdnn_eltwise(
    gdnn_primitive **result, int direction, int algorithm, float alpha, float beta, const gdnn_layout *src,
    const gdnn_layout *dst) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("element-wise");
    dnnl_alg_kind_t kind = algorithm_kind(algorithm);
    eltwise_constants(algorithm, &alpha, &beta);
    int backward = direction == GDNN_BACKWARD_DATA;
    dnnl_primitive_desc_t *forward = backward ? &hint : &desc;
    dnnl_prop_kind_t prop = backward ? dnnl_forward_training : prop_kind(direction);
#if V3
    if (status == dnnl_success)
        status = dnnl_eltwise_forward_primitive_desc_create(
            forward, engine, prop, kind, REF(src), REF(dst), alpha, beta, backward ? NULL : attr);
    if (status == dnnl_success && backward)
        status = dnnl_eltwise_backward_primitive_desc_create(
            &desc, engine, kind, REF(dst), REF(dst), REF(src), alpha, beta, hint, attr);
#else
    dnnl_eltwise_desc_t op;
    if (status == dnnl_success)
        status = dnnl_eltwise_forward_desc_init(&op, prop, kind, REF(src), alpha, beta);
    CREATE(forward, &op, NULL, backward ? NULL : attr);
    if (status == dnnl_success && backward) {
        status = dnnl_eltwise_backward_desc_init(&op, kind, REF(dst), REF(src), alpha, beta);
        CREATE(&desc, &op, hint, attr);
    }
#endif
    END;
}

int gdnn_binary(
    gdnn_primitive **result, int algorithm, const gdnn_layout *src0, const gdnn_layout *src1, const gdnn_layout *dst,
    const gdnn_attributes *attributes) {
    BEGIN("binary");
#if V3
    if (status == dnnl_success)
        status = dnnl_binary_primitive_desc_create(
            &desc, engine, algorithm_kind(algorithm), REF(src0), REF(src1), REF(dst), attr);
#else
    dnnl_binary_desc_t op;
    if (status == dnnl_success)
        status = dnnl_binary_desc_init(&op, algorithm_kind(algorithm), REF(src0), REF(src1), REF(dst));
    CREATE(&desc, &op, NULL, attr);
#endif
    END;
}

int gdnn_softmax(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, const gdnn_layout *dst, int axis) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("softmax");
    dnnl_alg_kind_t kind = algorithm_kind(algorithm);
    int backward = direction == GDNN_BACKWARD_DATA;
    dnnl_primitive_desc_t *forward = backward ? &hint : &desc;
    dnnl_prop_kind_t prop = backward ? dnnl_forward_training : prop_kind(direction);
#if V3
    if (status == dnnl_success)
        status = dnnl_softmax_forward_primitive_desc_create(
            forward, engine, prop, kind, REF(src), REF(dst), axis, backward ? NULL : attr);
    if (status == dnnl_success && backward)
        status = dnnl_softmax_backward_primitive_desc_create(
            &desc, engine, kind, REF(src), REF(dst), REF(dst), axis, hint, attr);
#else
    dnnl_softmax_v2_desc_t op;
    if (status == dnnl_success)
        status = dnnl_softmax_v2_forward_desc_init(&op, prop, kind, REF(src), REF(dst), axis);
    CREATE(forward, &op, NULL, backward ? NULL : attr);
    if (status == dnnl_success && backward) {
        status = dnnl_softmax_v2_backward_desc_init(&op, kind, REF(src), REF(dst), REF(dst), axis);
        CREATE(&desc, &op, hint, attr);
    }
#endif
    END;
}

int gdnn_resampling(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, const gdnn_layout *dst) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("resampling");
    dnnl_alg_kind_t kind = algorithm_kind(algorithm);
    int backward = direction == GDNN_BACKWARD_DATA;
    dnnl_primitive_desc_t *forward = backward ? &hint : &desc;
    dnnl_prop_kind_t prop = backward ? dnnl_forward_training : prop_kind(direction);
#if V3
    if (status == dnnl_success)
        status = dnnl_resampling_forward_primitive_desc_create(
            forward, engine, prop, kind, NULL, REF(src), REF(dst), backward ? NULL : attr);
    if (status == dnnl_success && backward)
        status = dnnl_resampling_backward_primitive_desc_create(
            &desc, engine, kind, NULL, REF(src), REF(dst), hint, attr);
#else
    dnnl_resampling_desc_t op;
    if (status == dnnl_success)
        status = dnnl_resampling_forward_desc_init(&op, prop, kind, NULL, REF(src), REF(dst));
    CREATE(forward, &op, NULL, backward ? NULL : attr);
    if (status == dnnl_success && backward) {
        status = dnnl_resampling_backward_desc_init(&op, kind, NULL, REF(src), REF(dst));
        CREATE(&desc, &op, hint, attr);
    }
#endif
    END;
}

int gdnn_lrn(
    gdnn_primitive **result, int direction, int algorithm, const gdnn_layout *src, int64_t size, float alpha, float beta,
    float k) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("local response normalization");
    dnnl_alg_kind_t kind = algorithm_kind(algorithm);
    int backward = direction == GDNN_BACKWARD_DATA;
    dnnl_primitive_desc_t *forward = backward ? &hint : &desc;
    dnnl_prop_kind_t prop = backward ? dnnl_forward_training : prop_kind(direction);
#if V3
    if (status == dnnl_success)
        status = dnnl_lrn_forward_primitive_desc_create(
            forward, engine, prop, kind, REF(src), REF(src), size, alpha, beta, k, backward ? NULL : attr);
    if (status == dnnl_success && backward)
        status = dnnl_lrn_backward_primitive_desc_create(
            &desc, engine, kind, REF(src), REF(src), REF(src), size, alpha, beta, k, hint, attr);
#else
    dnnl_lrn_desc_t op;
    if (status == dnnl_success) status = dnnl_lrn_forward_desc_init(&op, prop, kind, REF(src), size, alpha, beta, k);
    CREATE(forward, &op, NULL, backward ? NULL : attr);
    if (status == dnnl_success && backward) {
        status = dnnl_lrn_backward_desc_init(&op, kind, REF(src), REF(src), size, alpha, beta, k);
        CREATE(&desc, &op, hint, attr);
    }
#endif
    END;
}

int gdnn_reduction(gdnn_primitive **result, int algorithm, const gdnn_layout *src, const gdnn_layout *dst) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("reduction");
#if V3
    if (status == dnnl_success)
        status = dnnl_reduction_primitive_desc_create(
            &desc, engine, algorithm_kind(algorithm), REF(src), REF(dst), 0, 0, attr);
#else
    dnnl_reduction_desc_t op;
    if (status == dnnl_success)
        status = dnnl_reduction_desc_init(&op, algorithm_kind(algorithm), REF(src), REF(dst), 0, 0);
    CREATE(&desc, &op, NULL, attr);
#endif
    END;
}

int gdnn_reorder(gdnn_primitive **result, const gdnn_layout *src, const gdnn_layout *dst) {
    const gdnn_attributes *attributes = NULL;
    BEGIN("reorder");
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&desc, REF(src), engine, REF(dst), engine, attr);
    END;
}

// Primitives.

void gdnn_primitive_destroy(gdnn_primitive *primitive) {
    if (!primitive) return;
    for (int i = 0; i < primitive->count; i++) dnnl_memory_destroy(primitive->memories[i]);
    for (int i = 0; i < primitive->constants.count; i++) dnnl_memory_destroy(primitive->constants.arguments[i].memory);
    free(primitive->constants.scales);
    dnnl_primitive_destroy(primitive->primitive);
    dnnl_primitive_desc_destroy(primitive->desc);
    free(primitive);
}

_Static_assert(
    GDNN_ARG_SRC == DNNL_ARG_SRC && GDNN_ARG_SRC_1 == DNNL_ARG_SRC_1 && GDNN_ARG_DST == DNNL_ARG_DST
        && GDNN_ARG_WEIGHTS == DNNL_ARG_WEIGHTS && GDNN_ARG_BIAS == DNNL_ARG_BIAS && GDNN_ARG_MEAN == DNNL_ARG_MEAN
        && GDNN_ARG_VARIANCE == DNNL_ARG_VARIANCE && GDNN_ARG_SCALE == DNNL_ARG_SCALE
        && GDNN_ARG_SHIFT == DNNL_ARG_SHIFT && GDNN_ARG_WORKSPACE == DNNL_ARG_WORKSPACE
        && GDNN_ARG_SCRATCHPAD == DNNL_ARG_SCRATCHPAD && GDNN_ARG_DIFF_SRC == DNNL_ARG_DIFF_SRC
        && GDNN_ARG_DIFF_DST == DNNL_ARG_DIFF_DST && GDNN_ARG_DIFF_WEIGHTS == DNNL_ARG_DIFF_WEIGHTS
        && GDNN_ARG_DIFF_BIAS == DNNL_ARG_DIFF_BIAS,
    "arguments have other codes in this version of oneDNN");

// The codes of the operands of post-operations differ between versions.
static int native_argument(int argument) {
    int position = argument / GDNN_ARG_POST_STRIDE;
    return position ? DNNL_ARG_ATTR_MULTIPLE_POST_OP(position - 1) | argument % GDNN_ARG_POST_STRIDE : argument;
}

static md_ref argument_ref(const gdnn_primitive *primitive, int argument) {
    md_ref ref = dnnl_primitive_desc_query_md(primitive->desc, dnnl_query_exec_arg_md, native_argument(argument));
    if (!ref) return NULL;
#if V3
    int rank = 0;
    dnnl_memory_desc_query(ref, dnnl_query_ndims_s32, &rank);
    return rank > 0 ? ref : NULL;
#else
    return ref->ndims > 0 ? ref : NULL;
#endif
}

gdnn_layout *gdnn_primitive_layout(const gdnn_primitive *primitive, int argument) {
    return from_ref(argument_ref(primitive, argument));
}

void gdnn_primitive_set_source_zero(gdnn_primitive *primitive, int32_t zero) { primitive->constants.zeros[0] = zero; }

size_t gdnn_scratchpad_bytes(const gdnn_primitive *primitive) {
    md_ref ref = argument_ref(primitive, DNNL_ARG_SCRATCHPAD);
    return ref ? dnnl_memory_desc_get_size(ref) : 0;
}

const char *gdnn_primitive_name(const gdnn_primitive *primitive) {
    const char *text = NULL;
    dnnl_primitive_desc_query(primitive->desc, dnnl_query_impl_info_str, 0, &text);
    // oneDNN 3 names the gradient of a convolution that computes a transposed one behind its own name.
    const char *inner = text ? strrchr(text, '+') : NULL;
    return inner ? inner + 1 : text ? text : "";
}

int gdnn_execute(gdnn_primitive *primitive, int count, const int *arguments, void *const *pointers) {
    dnnl_exec_arg_t list[MAX_ARGUMENTS + MAX_CONSTANTS];
    if (count > MAX_ARGUMENTS) return fail(dnnl_invalid_arguments, "execution");
    int used = 0;
    for (int i = 0; i < count; i++) {
        int slot = 0;
        while (slot < primitive->count && primitive->arguments[slot] != arguments[i]) slot++;
        if (slot == primitive->count) {
            if (slot == MAX_ARGUMENTS) return fail(dnnl_invalid_arguments, "execution");
            md_ref ref = argument_ref(primitive, arguments[i]);
            if (!ref) continue;
            dnnl_memory_t memory;
            dnnl_status_t status = dnnl_memory_create(&memory, ref, engine, DNNL_MEMORY_NONE);
            if (status != dnnl_success) return fail(status, "memory");
            primitive->arguments[slot] = arguments[i];
            primitive->memories[slot] = memory;
            primitive->pointers[slot] = NULL;
            primitive->count++;
        }
        // oneDNN 2 zeroes the padding of a blocked layout whenever the pointer is set; primitives keep it zero
        // themselves, so a pointer that stays the same is not set again.
        if (primitive->pointers[slot] != pointers[i]) {
            dnnl_status_t status = dnnl_memory_set_data_handle(primitive->memories[slot], pointers[i]);
            if (status != dnnl_success) return fail(status, "memory");
            primitive->pointers[slot] = pointers[i];
        }
        list[used].arg = native_argument(arguments[i]);
        list[used].memory = primitive->memories[slot];
        used++;
    }
    for (int i = 0; i < primitive->constants.count; i++) list[used++] = primitive->constants.arguments[i];
    dnnl_status_t status = dnnl_primitive_execute(primitive->primitive, stream, used, list);
    if (status == dnnl_success) status = dnnl_stream_wait(stream);
    return fail(status, "execution");
}
