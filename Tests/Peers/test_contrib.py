"""onnxruntime's own operators, recurrent networks and operators on images against onnxruntime itself."""

import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper
from support import compare, each, folder, graft, run_onnx

MICROSOFT = "com.microsoft"
CASES = {}


def case(name, op, inputs, outputs, domain=MICROSOFT, opset=20, stored=(), **attributes):
    """A model of one node. `inputs` are arrays, None for one left out; those in `stored` are weights of the model."""
    CASES[name] = (op, inputs, outputs, domain, opset, set(stored), attributes)


def numbers(*shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed + sum(shape)).standard_normal(shape) * scale).astype(np.float32)


def model(op, inputs, outputs, domain, opset, stored, attributes):
    names = [f"in{index}" if value is not None else "" for index, value in enumerate(inputs)]
    while names and not names[-1]:
        names.pop()
    results = [f"out{index}" if name else "" for index, name in enumerate(outputs)]
    node = helper.make_node(op, names, results, name="node", domain=domain, **attributes)
    graph = helper.make_graph(
        [node], "one",
        [
            helper.make_tensor_value_info(f"in{index}", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for index, value in enumerate(inputs) if value is not None and index not in stored
        ],
        [
            helper.make_tensor_value_info(f"out{index}", kind, None)
            for index, kind in enumerate(outputs) if kind
        ],
        [onnx.numpy_helper.from_array(value, f"in{index}") for index, value in enumerate(inputs) if index in stored],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


F = TensorProto.FLOAT
B, S, N, D = 2, 5, 4, 8
H = N * D

# Products
case("matmul", "FusedMatMul", [numbers(3, 4, 5), numbers(3, 5, 6)], [F], alpha=0.5)
case("matmul_trans_a", "FusedMatMul", [numbers(3, 5, 4), numbers(3, 5, 6)], [F], transA=1, alpha=2.0)
case("matmul_trans_b", "FusedMatMul", [numbers(2, 3, 4, 5), numbers(6, 5)], [F], transB=1)
case("matmul_both", "FusedMatMul", [numbers(5, 4), numbers(6, 5)], [F], transA=1, transB=1, stored=[1])
for name, extra in {"Relu": [], "LeakyRelu": [0.2], "Clip": [-0.5, 0.5], "Sigmoid": [], "Tanh": []}.items():
    case(
        f"conv_{name}", "FusedConv", [numbers(2, 3, 8, 8), numbers(4, 3, 3, 3, scale=0.3), numbers(4)], [F], stored=[1, 2],
        activation=name, pads=[1, 1, 1, 1], strides=[2, 2], **({"activation_params": [float(x) for x in extra]} if extra else {}))
case(
    "conv_sum", "FusedConv", [numbers(2, 3, 8, 8), numbers(4, 3, 3, 3, scale=0.3), numbers(4), numbers(2, 4, 8, 8, seed=3)], [F],
    stored=[1, 2], activation="Relu", pads=[1, 1, 1, 1])
case("gemm", "FusedGemm", [numbers(3, 4), numbers(6, 4), numbers(6)], [F], transB=1, alpha=0.5, beta=2.0, activation="Relu")

# Activations
case("gelu", "Gelu", [numbers(3, 40, scale=3)], [F])
case("bias_gelu", "BiasGelu", [numbers(3, 4, 40), numbers(40)], [F])
case("fast_gelu", "FastGelu", [numbers(3, 4, 40), numbers(40)], [F])
case("fast_gelu_plain", "FastGelu", [numbers(3, 40)], [F])
case("quick_gelu", "QuickGelu", [numbers(3, 40)], [F], alpha=1.5)

# Normalisations
case("layer_norm_old_opset", "LayerNormalization", [numbers(3, 4, 16), numbers(16), numbers(16, seed=2)], [F, F, F], domain="", opset=17, axis=-1)
case("simplified", "SimplifiedLayerNormalization", [numbers(3, 4, 16), numbers(16)], [F, F], domain="", axis=-1, epsilon=1e-4)
case("skip", "SkipLayerNormalization", [numbers(B, S, H), numbers(B, S, H, seed=1), numbers(H), numbers(H, seed=2), numbers(H, seed=3)], [F, None, None, F], epsilon=1e-5)
case("skip_broadcast", "SkipLayerNormalization", [numbers(B, S, H), numbers(S, H, seed=1), numbers(H)], [F])
case("skip_simplified", "SkipSimplifiedLayerNormalization", [numbers(B, S, H), numbers(B, S, H, seed=1), numbers(H), numbers(H, seed=3)], [F, None, None, F], epsilon=1e-5)
case(
    "embedding", "EmbedLayerNormalization",
    [
        np.array([[1, 3, 0, 2, 9], [4, 5, 6, 0, 0]], np.int32), np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]], np.int32),
        numbers(10, H), numbers(7, H), numbers(2, H), numbers(H), numbers(H, seed=4),
        np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32),
    ], [F, TensorProto.INT32], epsilon=1e-5)
case(
    "embedding_without_segments", "EmbedLayerNormalization",
    [np.array([[1, 3, 0, 2, 9]], np.int32), None, numbers(10, H), numbers(7, H), None, numbers(H), numbers(H, seed=4)],
    [F, TensorProto.INT32])

# Attention with projections
X, W, BIAS = numbers(B, S, H), numbers(H, 3 * H, scale=0.2), numbers(3 * H)
case("attention", "Attention", [X, W, BIAS], [F], num_heads=N, stored=[1, 2])
case("attention_causal", "Attention", [X, W, BIAS], [F], num_heads=N, unidirectional=1)
case("attention_lengths", "Attention", [X, W, BIAS, np.array([3, 5], np.int32)], [F], num_heads=N)
case("attention_bounds", "Attention", [X, W, BIAS, np.array([3, 5, 1, 0], np.int32)], [F], num_heads=N)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
case("attention_mask", "Attention", [X, W, BIAS, MASK], [F], num_heads=N)
case("attention_mask_causal", "Attention", [X, W, BIAS, MASK], [F], num_heads=N, unidirectional=1)
case("attention_mask_3d", "Attention", [X, W, BIAS, np.tril(np.ones((B, S, S), np.int32))], [F], num_heads=N)
case("attention_past", "Attention", [X, W, BIAS, None, numbers(2, B, N, 3, D)], [F, F], num_heads=N, unidirectional=1)
case("attention_bias", "Attention", [X, W, BIAS, MASK, None, numbers(1, N, S, S)], [F], num_heads=N)
case("attention_sizes", "Attention", [X, numbers(H, 2 * H + 16, scale=0.2), numbers(2 * H + 16)], [F], num_heads=N, qkv_hidden_sizes=[H, H, 16])

# Attention of projected operands
Q, K, V = numbers(B, S, H), numbers(B, 7, H, seed=1), numbers(B, 7, H, seed=2)
case("multi_head", "MultiHeadAttention", [Q, K, V], [F], num_heads=N)
case("multi_head_bias", "MultiHeadAttention", [Q, K, V, BIAS], [F], num_heads=N, scale=0.3)
case("multi_head_mask", "MultiHeadAttention", [Q, K, V, None, np.array([[1, 1, 1, 1, 0, 0, 0], [1] * 7], np.int32)], [F], num_heads=N)
case("multi_head_scores", "MultiHeadAttention", [Q, K, V, None, None, numbers(1, N, S, 7)], [F], num_heads=N)
case("multi_head_causal", "MultiHeadAttention", [Q, numbers(B, S, H, seed=1), numbers(B, S, H, seed=2)], [F], num_heads=N, unidirectional=1)
case("multi_head_cross", "MultiHeadAttention", [Q, numbers(B, N, 6, D), numbers(B, N, 6, D, seed=5)], [F], num_heads=N)
case(
    "multi_head_past", "MultiHeadAttention",
    [numbers(B, 1, H), numbers(B, 1, H, seed=1), numbers(B, 1, H, seed=2), None, None, None, numbers(B, N, 3, D), numbers(B, N, 3, D, seed=1)],
    [F, F, F], num_heads=N)

# Grouped queries with a cache
G, E = 2, 16
COS, SIN = np.cos(numbers(16, D // 2)), np.sin(numbers(16, D // 2))
WIDE_COS, WIDE_SIN = np.cos(numbers(16, E // 2)), np.sin(numbers(16, E // 2))


def grouped(name, queries, capacity, lengths, total, packed=False, extra=(), **attributes):
    operands = (
        [numbers(B, queries, (N + 2 * G) * E), None, None]
        if packed else [numbers(B, queries, N * E), numbers(B, queries, G * E, seed=1), numbers(B, queries, G * E, seed=2)])
    caches = [numbers(B, G, capacity, E), numbers(B, G, capacity, E, seed=1)] if capacity else [None, None]
    case(
        name, "GroupQueryAttention", operands + caches + [np.array(lengths, np.int32), np.array(total, np.int32), *extra],
        [F, F, F], num_heads=N, kv_num_heads=G, **attributes)


grouped("grouped_prompt", 5, 0, [4, 4], 5)
grouped("grouped_prompt_rotary", 5, 0, [4, 4], 5, extra=[WIDE_COS, WIDE_SIN], do_rotary=1)
grouped("grouped_packed", 5, 0, [4, 4], 5, packed=True, extra=[WIDE_COS, WIDE_SIN], do_rotary=1, rotary_interleaved=1)
grouped("grouped_step", 1, 6, [6, 6], 7, extra=[WIDE_COS, WIDE_SIN], do_rotary=1)
grouped("grouped_window", 5, 0, [4, 4], 5, local_window_size=2)
grouped("grouped_softcap", 5, 0, [4, 4], 5, softcap=3.0, scale=0.4)

case("rotary", "RotaryEmbedding", [numbers(B, S, H), np.array([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]], np.int64), COS, SIN], [F])
case("rotary_heads", "RotaryEmbedding", [numbers(B, N, S, D), np.array([2], np.int64), COS, SIN], [F], interleaved=1)

# Recurrent networks; onnxruntime clips, ends sequences and couples gates in ways that ONNX's cases do not show.
T, I, U = 6, 3, 5
for op, gates in {"RNN": 1, "GRU": 3, "LSTM": 4}.items():
    for direction in ("forward", "reverse", "bidirectional"):
        d = 2 if direction == "bidirectional" else 1
        weights = [numbers(d, gates * U, I), numbers(d, gates * U, U, seed=1, scale=0.5), numbers(d, 2 * gates * U, seed=2)]
        states = [numbers(d, B, U, seed=3)] + ([numbers(d, B, U, seed=4), numbers(d, 3 * U, seed=5)] if op == "LSTM" else [])
        outputs = [F, F] + ([F] if op == "LSTM" else [])
        case(
            f"{op}_{direction}", op, [numbers(T, B, I), *weights, np.array([6, 4], np.int32), *states], outputs, domain="",
            opset=14, hidden_size=U, direction=direction, stored=[1, 2])
case("gru_linear", "GRU", [numbers(T, B, I), numbers(1, 3 * U, I), numbers(1, 3 * U, U, seed=1), numbers(1, 6 * U)], [F, F], domain="", opset=14, hidden_size=U, linear_before_reset=1)
case("lstm_clip", "LSTM", [numbers(T, B, I), numbers(1, 4 * U, I), numbers(1, 4 * U, U, seed=1)], [F, F, F], domain="", opset=14, hidden_size=U, clip=0.4)
case("lstm_coupled", "LSTM", [numbers(T, B, I), numbers(1, 4 * U, I), numbers(1, 4 * U, U, seed=1)], [F, F, F], domain="", opset=14, hidden_size=U, input_forget=1)
case(
    "gru_activations", "GRU", [numbers(T, B, I), numbers(1, 3 * U, I), numbers(1, 3 * U, U, seed=1)], [F, F], domain="", opset=14,
    hidden_size=U, activations=["HardSigmoid", "ScaledTanh"], activation_alpha=[0.3, 1.2], activation_beta=[0.4, 0.8])
for name in ("Relu", "LeakyRelu", "ThresholdedRelu", "Elu", "Softsign", "Softplus", "Affine"):
    case(f"rnn_{name}", "RNN", [numbers(T, B, I), numbers(1, U, I, scale=0.3), numbers(1, U, U, seed=1, scale=0.3)], [F, F], domain="", opset=14, hidden_size=U, activations=[name],
         **({"activation_alpha": [0.5]} if name not in ("Relu", "Softsign", "Softplus") else {}), **({"activation_beta": [0.1]} if name == "Affine" else {}))  # fmt: skip

# Images
IMAGE = numbers(2, 3, 9, 7)
for mode in ("linear", "nearest", "cubic"):
    for padding in ("zeros", "border", "reflection"):
        for aligned in (0, 1):
            case(
                f"grid_{mode}_{padding}_{aligned}", "GridSample", [IMAGE, numbers(2, 4, 5, 2)], [F], domain="", mode=mode,
                padding_mode=padding, align_corners=aligned)
REGIONS = np.array([[0, 0, 20, 30], [4, 2, 11, 13], [-3, 5, 60, 8], [9, 9, 9, 9]], np.float32)
for mode in ("half_pixel", "output_half_pixel"):
    for ratio in (0, 2):
        case(
            f"roi_align_{mode}_{ratio}", "RoiAlign", [IMAGE, REGIONS, np.array([0, 1, 1, 0], np.int64)], [F], domain="", opset=16,
            coordinate_transformation_mode=mode, output_height=3, output_width=4, sampling_ratio=ratio, spatial_scale=0.3)
case(
    "max_roi_pool", "MaxRoiPool", [IMAGE, np.concatenate([[[0], [1], [1], [0]], REGIONS], 1).astype(np.float32)], [F], domain="",
    pooled_shape=[3, 2], spatial_scale=0.3)
BOXES = np.random.default_rng(7).uniform(0, 1, (2, 200, 4)).astype(np.float32)
SCORES = np.random.default_rng(8).uniform(0, 1, (2, 3, 200)).astype(np.float32)
for centred in (0, 1):
    case(
        f"suppression_{centred}", "NonMaxSuppression", [BOXES, SCORES, np.array([20], np.int64), np.array([0.4], np.float32), np.array([0.3], np.float32)],
        [TensorProto.INT64], domain="", opset=11, center_point_box=centred)
case(
    "deform", "DeformConv", [numbers(2, 4, 9, 7), numbers(6, 2, 3, 3), numbers(2, 36, 5, 4), numbers(6), numbers(2, 18, 5, 4, seed=3)], [F],
    domain="", group=2, offset_group=2, pads=[1, 1, 1, 1], strides=[2, 2])


@each("operator", list(CASES), name=lambda name: name)
class Contributed(unittest.TestCase):
    def check_operator(self, name):
        op, inputs, outputs, domain, opset, stored, attributes = CASES[name]
        given = {f"in{i}": v for i, v in enumerate(inputs) if v is not None and i not in stored}
        with folder() as place:
            path = place / "model.onnx"
            onnx.save(model(op, inputs, outputs, domain, opset, stored, attributes), path)
            expected = run_onnx(path, given)
            np.savez(place / "in.npz", **given)
            graft("run", path, "--inputs", place / "in.npz", "--outputs", place / "out.npz")
            actual = dict(np.load(place / "out.npz"))
        compare(self, f"{'onnxruntime' if domain else 'ONNX'}'s operators one by one", name, actual, expected)


class WithoutPeer(unittest.TestCase):
    """Operators and forms that onnxruntime has for graphics processors only, by their definition."""

    def run_graft(self, op, inputs, **attributes):
        with folder() as place:
            onnx.save(model(op, inputs, [F], MICROSOFT, 20, set(), attributes), place / "model.onnx")
            np.savez(place / "in.npz", **{f"in{index}": value for index, value in enumerate(inputs)})
            graft("run", place / "model.onnx", "--inputs", place / "in.npz", "--outputs", place / "out.npz")
            return np.load(place / "out.npz")["out0"]

    def test_sum_with_bias_and_skip(self):
        x, bias, skip = numbers(2, 6, 8), numbers(8), numbers(2, 6, 8, seed=1)
        np.testing.assert_allclose(self.run_graft("BiasAdd", [x, bias, skip]), x + bias + skip, rtol=1e-6)

    def test_gate_by_gelu(self):
        from math import erf

        x, bias = numbers(2, 6, 8), numbers(8)
        hidden, gate = np.split((x + bias).astype(np.float64), 2, axis=-1)
        expected = hidden * gate * 0.5 * (1 + np.vectorize(erf)(gate / np.sqrt(2)))
        np.testing.assert_allclose(self.run_graft("BiasSplitGelu", [x, bias]), expected, rtol=1e-4, atol=1e-6)

    def unpacked(self, q, k, v):
        """onnxruntime's attention of operands of shape (batch, rows, heads, size)."""
        rows = [np.ascontiguousarray(x).reshape(*x.shape[:2], -1) for x in (q, k, v)]
        with folder() as place:
            onnx.save(model("MultiHeadAttention", rows, [F], MICROSOFT, 20, set(), {"num_heads": N}), place / "model.onnx")
            return run_onnx(place / "model.onnx", {f"in{index}": x for index, x in enumerate(rows)})["out0"]

    def test_packed_queries_keys_and_values(self):
        x = numbers(B, S, N, 3, D)
        expected = self.unpacked(x[:, :, :, 0], x[:, :, :, 1], x[:, :, :, 2])
        np.testing.assert_allclose(self.run_graft("MultiHeadAttention", [x], num_heads=N), expected, rtol=1e-4, atol=1e-6)

    def test_packed_keys_and_values(self):
        q, x = numbers(B, S, H), numbers(B, 7, N, 2, D)
        expected = self.unpacked(q.reshape(B, S, N, D), x[:, :, :, 0], x[:, :, :, 1])
        found = self.run_graft("MultiHeadAttention", [q, x], num_heads=N)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


if __name__ == "__main__":
    unittest.main()
