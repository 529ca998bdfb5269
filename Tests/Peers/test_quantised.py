"""Quantised models and operators against onnxruntime.

Models are quantised with onnxruntime.quantization: static with QuantizeLinear and DequantizeLinear around operators (QDQ),
static with quantised operators (QOperator), and dynamic. Both sides must agree to one step of the output's quantisation;
where the output is no quantised tensor, to a hundredth of its scale. Operators are compared one by one to one step, and at
least 99% of the elements exactly.
"""

import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support import each, figure, folder, graft, relative, session

CONTRIB = helper.make_opsetid("com.microsoft", 1)


def run_both(test, model, given):
    """The outputs of both sides, by name."""
    with folder() as place:
        onnx.save(model, place / "model.onnx")
        np.savez(place / "in.npz", **given)
        graft("run", place / "model.onnx", "--inputs", place / "in.npz", "--outputs", place / "out.npz")
        actual = dict(np.load(place / "out.npz"))
        opened = session(place / "model.onnx")
        names = [output.name for output in opened.get_outputs()]
        expected = dict(zip(names, opened.run(names, given)))
    test.assertEqual(set(actual), set(expected))
    return actual, expected


def steps(test, actual, expected, name):
    """Compares tensors of integers: one step apart at most, few apart at all."""
    test.assertEqual(actual.dtype, expected.dtype, name)
    test.assertEqual(actual.shape, expected.shape, name)
    gap = np.abs(actual.astype(np.int64) - expected.astype(np.int64))
    figure("quantised operators, steps", float(gap.max(initial=0)), name)
    figure("quantised operators, share of elements a step apart", float((gap > 0).mean()), name)
    test.assertLessEqual(gap.max(initial=0), 1, name)
    test.assertLessEqual((gap > 0).mean(), 0.01, name)


# Models


def cnn():
    """Convolutions (plain, strided, depthwise, pointwise), a residual sum, a concatenation, pooling and a classifier."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def weight(name, *shape):
        fan = int(np.prod(shape[1:])) or 1
        weights.append(numpy_helper.from_array(rng.normal(0, (2 / fan) ** 0.5, shape).astype(np.float32), name))
        return name

    def conv(name, source, outputs, inputs, size, group=1, **attributes):
        nodes.append(helper.make_node(
            "Conv", [source, weight(f"{name}.w", outputs, inputs // group, size, size), weight(f"{name}.b", outputs)],
            [name], name=name, kernel_shape=[size, size], pads=[size // 2] * 4, group=group, **attributes))
        return name

    def op(kind, name, *inputs, **attributes):
        nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    stem = op("Relu", "stem_relu", conv("stem", "image", 16, 3, 3, strides=[2, 2]))
    pooled = op("MaxPool", "pooled", stem, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    wide = op("Relu", "wide_relu", conv("wide", pooled, 32, 16, 1))
    deep = op("Relu", "deep_relu", conv("deep", wide, 32, 32, 3, group=32))
    narrow = conv("narrow", deep, 16, 32, 1)
    total = op("Add", "total", narrow, pooled)
    left = op("LeakyRelu", "left_relu", conv("left", total, 8, 16, 3, group=2), alpha=0.1)
    right = op("Sigmoid", "right_sigmoid", conv("right", total, 8, 16, 1))
    joined = op("Concat", "joined", left, right, axis=1)
    small = op("AveragePool", "small", joined, kernel_shape=[2, 2], strides=[2, 2])
    one = op("GlobalAveragePool", "one", small)
    flat = op("Flatten", "flat", one)
    nodes.append(helper.make_node(
        "Gemm", [flat, weight("head.w", 10, 16), weight("head.b", 10)], ["logits"], name="head", transB=1))
    graph = helper.make_graph(
        nodes, "cnn", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [2, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, 10])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mlp():
    """Two hidden layers with MatMul, bias and activation."""
    rng = np.random.default_rng(1)
    sizes = [24, 64, 48, 7]
    nodes, weights, value = [], [], "image"
    for layer, (k, n) in enumerate(zip(sizes, sizes[1:])):
        weights.append(numpy_helper.from_array(rng.normal(0, (2 / k) ** 0.5, (k, n)).astype(np.float32), f"w{layer}"))
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, n).astype(np.float32), f"b{layer}"))
        last = layer == len(sizes) - 2
        nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"m{layer}"], name=f"m{layer}"))
        value = "logits" if last else f"a{layer}"
        nodes.append(helper.make_node("Add", [f"m{layer}", f"b{layer}"], [value], name=f"add{layer}"))
        if not last:
            nodes.append(helper.make_node("Relu", [value], [f"r{layer}"], name=f"r{layer}"))
            value = f"r{layer}"
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [5, 24])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [5, 7])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS = {"cnn": (cnn, (2, 3, 32, 32)), "mlp": (mlp, (5, 24))}
FORMS = ["qdq_u8_s8", "qdq_s8_s8_channels", "qdq_s16_s8", "qoperator_u8_s8", "qoperator_u8_u8", "qoperator_s8_s8_channels", "dynamic_u8", "dynamic_s8"]


def quantised(name, form, place):
    from onnxruntime import quantization as q

    make, shape = MODELS[name]
    onnx.save(make(), place / "float.onnx")

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(2)
            self.batches = iter([{"image": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(4)])

        def get_next(self):
            return next(self.batches, None)

    types = {"u8": q.QuantType.QUInt8, "s8": q.QuantType.QInt8, "s16": q.QuantType.QInt16}
    kind, *rest = form.split("_")
    target = place / "quantised.onnx"
    if kind == "dynamic":
        q.quantize_dynamic(place / "float.onnx", target, weight_type=types[rest[0]])
    else:
        q.quantize_static(
            place / "float.onnx", target, Reader(),
            quant_format=q.QuantFormat.QDQ if kind == "qdq" else q.QuantFormat.QOperator,
            activation_type=types[rest[0]], weight_type=types[rest[1]], per_channel="channels" in rest)
    return onnx.load(target)


@each("model", [f"{name}_{form}" for name in MODELS for form in FORMS], name=str)
class Models(unittest.TestCase):
    def check_model(self, name):
        model_name, form = name.split("_", 1)
        with folder() as place:
            model = quantised(model_name, form, place)
        given = {"image": np.random.default_rng(3).normal(0, 1, MODELS[model_name][1]).astype(np.float32)}
        actual, expected = run_both(self, model, given)
        actual, expected = actual["logits"], expected["logits"]
        step = self.last_step(model)
        if step is None:
            gap = relative(actual, expected)
            figure("quantised models, dynamic", gap, name)
            self.assertLessEqual(gap, 0.01, name)
        else:
            gap = np.abs(actual - expected).max() / step
            figure("quantised models, steps of the output", float(gap), name)
            self.assertLessEqual(gap, 1.01, name)

    def last_step(self, model):
        """The scale of the DequantizeLinear that makes the output."""
        constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear" and node.output[0] == "logits":
                return float(constants[node.input[1]])
        return None


# Operators


def operator_model(kind, inputs, outputs, domain="com.microsoft", **attributes):
    """A model of one node; inputs are (name, array or None), all given at run time."""
    node = helper.make_node(kind, [name if value is not None else "" for name, value in inputs], list(outputs), domain=domain, **attributes)
    given = {name: value for name, value in inputs if value is not None}
    graph = helper.make_graph(
        [node], kind,
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), CONTRIB], ir_version=8), given


U8, S8 = (np.uint8, TensorProto.UINT8), (np.int8, TensorProto.INT8)


def operators():
    """Each operator as (name, kind, inputs, outputs, attributes)."""
    rng = np.random.default_rng(4)

    def data(kind, *shape):
        info = np.iinfo(kind[0])
        return rng.integers(info.min, info.max + 1, shape).astype(kind[0])

    def number(value):
        return np.array(value, np.float32)

    def point(kind, value):
        return np.array(value, kind[0])

    for kind, label, z in ((U8, "u8", 120), (S8, "s8", -7)):
        q = {"y": kind[1]}

        def scaled(name, array, scale, zero, kind=kind):
            return [(name, array), (f"{name}_scale", number(scale)), (f"{name}_zero", point(kind, zero))]

        def target(scale, zero, kind=kind):
            return [("y_scale", number(scale)), ("y_zero", point(kind, zero))]

        for op in ("QLinearAdd", "QLinearMul"):
            a, b = scaled("a", data(kind, 3, 40, 5), 0.03127, z), scaled("b", data(kind, 40, 1), 0.01713, z - 3)
            yield f"{op}_{label}", op, a + b + target(0.05171, z + 5), q, {}
        x = scaled("x", data(kind, 2, 6, 9, 11), 0.043, z)
        yield f"QLinearSigmoid_{label}", "QLinearSigmoid", x + target(1 / 256, np.iinfo(kind[0]).min), q, {}
        yield f"QLinearLeakyRelu_{label}", "QLinearLeakyRelu", x + target(0.03, z), q, {"alpha": 0.2}
        yield f"QLinearGlobalAveragePool_{label}", "QLinearGlobalAveragePool", x + target(0.01, z), q, {}
        yield f"QLinearGlobalAveragePool_last_{label}", "QLinearGlobalAveragePool", x + target(0.01, z), q, {"channels_last": 1}
        for pad in (0, 1):
            yield f"QLinearAveragePool_{label}_{pad}", "QLinearAveragePool", x + target(0.02, z), q, {
                "kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "count_include_pad": pad}
        softmax = target(1 / 256, np.iinfo(kind[0]).min)
        yield f"QLinearSoftmax_13_{label}", "QLinearSoftmax", x + softmax, q, {"axis": -1, "opset": 13}
        yield f"QLinearSoftmax_11_{label}", "QLinearSoftmax", x + softmax, q, {"axis": 2, "opset": 11}
        parts = scaled("a", data(kind, 2, 3, 7), 0.02, z) + scaled("b", data(kind, 2, 5, 7), 0.04, z + 3)
        yield f"QLinearConcat_{label}", "QLinearConcat", target(0.05, z) + parts, q, {"axis": 1}
        condition = [("condition", rng.integers(0, 2, (4, 1)).astype(bool))]
        where = condition + scaled("a", data(kind, 4, 9), 0.02, z) + scaled("b", data(kind, 9), 0.04, z + 3)
        yield f"QLinearWhere_{label}", "QLinearWhere", where + target(0.04, z), q, {}
        bias = [("c", rng.integers(-5000, 5000, 21).astype(np.int32))]
        gemm = scaled("a", data(kind, 13, 37), 0.02, z) + scaled("b", data(S8, 21, 37), 0.03, 0, S8) + bias
        yield f"QGemm_{label}", "QGemm", gemm + target(1.1, z), q, {"transB": 1}
        yield f"QGemm_float_{label}", "QGemm", gemm, {"y": TensorProto.FLOAT}, {"transB": 1, "alpha": 0.5}

    # onnxruntime's own kernels of these two take only some combinations of types.
    a = rng.normal(0, 1, (3, 17, 50)).astype(np.float32)
    for kind, label in ((U8, "u8"), (S8, "s8")):
        zero = ("b_zero", rng.integers(1, 9, 33).astype(kind[0]))
        scale = ("b_scale", rng.uniform(0.01, 0.02, 33).astype(np.float32))
        bias = ("bias", rng.normal(0, 1, 33).astype(np.float32))
        yield f"DynamicQuantizeMatMul_{label}", "DynamicQuantizeMatMul", [("a", a), ("b", data(kind, 50, 33)), scale, zero, bias], {
            "y": TensorProto.FLOAT}, {}
        left = [("a", data(U8, 3, 17, 50)), ("b", data(kind, 50, 33)), ("a_scale", number(0.02)), scale, ("a_zero", point(U8, 99)), zero]
        yield f"MatMulIntegerToFloat_{label}", "MatMulIntegerToFloat", [*left, bias], {"y": TensorProto.FLOAT}, {}
    for bits, block in ((4, 32), (4, 16), (8, 32)):
        k, n = 80, 24
        blocks = -(-k // block)
        codes = ("b", rng.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8))
        scales = ("scales", rng.uniform(0.01, 0.02, n * blocks).astype(np.float32))
        points = ("points", rng.integers(0, 256, n * ((blocks * bits + 7) // 8)).astype(np.uint8))
        for label, rest in (("", []), ("_points", [points])):
            yield f"MatMulNBits_{bits}_{block}{label}", "MatMulNBits", [
                ("a", rng.normal(0, 1, (2, 5, k)).astype(np.float32)), codes, scales, *rest], {"y": TensorProto.FLOAT}, {
                "K": k, "N": n, "bits": bits, "block_size": block}


OPERATORS = list(operators())


@each("operator", OPERATORS, name=lambda entry: entry[0])
class Operators(unittest.TestCase):
    def check_operator(self, entry):
        name, kind, inputs, outputs, attributes = entry
        model, given = operator_model(kind, inputs, outputs, **attributes)
        actual, expected = run_both(self, model, given)
        if expected["y"].dtype == np.float32:
            gap = relative(actual["y"], expected["y"])
            figure("quantised operators with real results", gap, name)
            self.assertLessEqual(gap, 1e-5, name)
        else:
            steps(self, actual["y"], expected["y"], name)
