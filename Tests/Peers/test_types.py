"""Cast between all pairs of element types against NumPy and ml_dtypes, texts against their documented forms, and networks with
constant weights of other types than float32 against onnx's reference."""

import unittest

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support import each, folder, graft, relative

TYPES = [
    "float", "float16", "bfloat16", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float4e2m1", "float6e2m3", "float6e3m2", "uint4", "int4",
    "uint2", "int2",
]  # fmt: skip
FLOAT8 = {"float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"}


def code(name):
    return getattr(TensorProto, name.upper())


def dtype(name):
    return np.dtype(helper.tensor_dtype_to_np_dtype(code(name)))


def is_whole(name):
    return "int" in name or name == "bool"


def start(name):
    """Numbers that every type makes something of that ONNX defines: within the range where the type is an integer."""
    if name in ("uint2", "int2", "uint4", "int4", "bool"):
        low, high = {"uint2": (0, 3), "int2": (-2, 1), "uint4": (0, 15), "int4": (-8, 7), "bool": (0, 1)}[name]
        return np.arange(low, high + 1).astype(dtype(name))
    if is_whole(name):
        info = np.iinfo(dtype(name))
        middle = np.array([0, 1, 2, 3, 5, 17, 100, 127, info.max, info.min, info.max // 3], object)
        return np.array([int(v) for v in middle], dtype(name))
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 40), rng.normal(0, 30, 40), [0, -0.0, 0.5, 1.5, 2.5, -2.5, 1 + 2**-9, 1 + 2**-9 + 2**-40]])
    return values.astype(np.float64).astype(dtype(name))


def exact(values, target):
    """The conversion that ONNX defines, in exact steps; ml_dtypes rounds float64 and integers by way of float32."""
    if target in FLOAT8:
        values = np.clip(values.astype(np.float64), float(ml_dtypes.finfo(dtype(target)).min), float(ml_dtypes.finfo(dtype(target)).max))
    if target == "bool":
        return values.astype(np.float64) != 0
    try:
        return values.astype(dtype(target))
    except TypeError:  # ml_dtypes has no way between some types of less than a byte; float32 holds them all
        return values.astype(np.float32).astype(dtype(target))


@each("from", TYPES, name=str)
class Casts(unittest.TestCase):
    def check_from(self, source):
        values = start(source)
        targets = [t for t in TYPES if t != source]
        # A floating-point number out of an integer's range has no defined result.
        usable = {}
        for target in targets:
            keep = np.ones(values.shape, bool)
            if is_whole(target) and target != "bool" and not is_whole(source):
                low, high = (0, 1) if target in ("uint2", "int2") else (0, 7) if target in ("uint4", "int4") else (0, 100)
                keep = (values.astype(np.float64) >= low) & (values.astype(np.float64) < high + 1)
            usable[target] = values[keep]
        nodes, initializers, outputs = [], [], []
        for target in targets:
            initializers.append(numpy_helper.from_array(usable[target], f"from_{target}"))
            nodes.append(helper.make_node("Cast", [f"from_{target}"], [f"as_{target}"], to=code(target)))
            # What NPZ cannot hold leaves as a type that holds all its values.
            wide = "double" if target in ("float", "float16", "double") or not is_whole(target) else target
            wide = "int8" if target in ("int4", "int2") else "uint8" if target in ("uint4", "uint2") else wide
            nodes.append(helper.make_node("Cast", [f"as_{target}"], [target], to=code(wide)))
            outputs.append(helper.make_tensor_value_info(target, code(wide), None))
        graph = helper.make_graph(nodes, "casts", [], outputs, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 28)])
        with folder() as place:
            onnx.save(model, place / "model.onnx")
            np.savez(place / "in.npz")
            graft("run", place / "model.onnx", "--inputs", place / "in.npz", "--outputs", place / "out.npz")
            found = dict(np.load(place / "out.npz"))
        for target in targets:
            expected = exact(usable[target], target)
            if not is_whole(target):
                expected = expected.astype(np.float64)
            np.testing.assert_array_equal(
                found[target].astype(expected.dtype), expected, f"{source} {usable[target]} to {target}")


class Texts(unittest.TestCase):
    def test_numbers_become_texts_and_come_back(self):
        numbers = np.array([0, 1, -1.5, 0.1, 1e6, 123456.789, 1e-4, 1e-5, 1e16, 1.5e20, np.inf, -np.inf, np.nan, 3.4028235e38], np.float32)
        nodes = [
            helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING),
            helper.make_node("Cast", ["text"], ["back"], to=TensorProto.FLOAT),
            helper.make_node("Equal", ["text", "wanted"], ["same"]),
            helper.make_node("Cast", ["whole"], ["integers"], to=TensorProto.INT64),
        ]
        # The shortest digits that float32 needs, laid out as NumPy does.
        wanted = [str(v) for v in numbers]
        graph = helper.make_graph(
            nodes, "texts", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(numbers)])],
            [helper.make_tensor_value_info("back", TensorProto.FLOAT, None), helper.make_tensor_value_info("same", TensorProto.BOOL, None),
             helper.make_tensor_value_info("integers", TensorProto.INT64, None)],
            [helper.make_tensor("wanted", TensorProto.STRING, [len(wanted)], [w.encode() for w in wanted]),
             helper.make_tensor("whole", TensorProto.STRING, [4], [b"-7", b"9223372036854775807", b" 12 ", b"3.0"])])
        with folder() as place:
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), place / "model.onnx")
            np.savez(place / "in.npz", x=numbers)
            graft("run", place / "model.onnx", "--inputs", place / "in.npz", "--outputs", place / "out.npz")
            found = dict(np.load(place / "out.npz"))
        np.testing.assert_array_equal(found["back"], numbers)
        self.assertTrue(found["same"].all(), [w for w, s in zip(wanted, found["same"]) if not s])
        self.assertEqual(found["integers"].tolist(), [-7, 9223372036854775807, 12, 3])


def network(kind, op):
    """One operator with constant weights, and an activation that may be fused into it."""
    rng = np.random.default_rng(5)

    def numbers(*shape):
        return rng.normal(0, 1, shape).astype(kind)

    if op in ("Conv", "ConvTranspose"):
        x, weights, attributes = numbers(2, 6, 9, 8), [numbers(6, 3, 3, 2), numbers(6)], {"group": 2, "pads": [1, 0, 1, 1], "strides": [2, 1]}
    elif op == "Gemm":
        x, weights, attributes = numbers(3, 8), [numbers(5, 8), numbers(5)], {"transB": 1}
    else:
        x, weights, attributes = numbers(4, 3, 8), [numbers(8, 5)], {}
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    if op == "ConvTranspose":  # the reference has no groups here
        weights[1] = numbers(3)
        del attributes["group"]
    names = [f"w{i}" for i in range(len(weights))]
    nodes = [helper.make_node(op, ["x", *names], ["m"], **attributes), helper.make_node("LeakyRelu", ["m"], ["y"], alpha=0.25)]
    graph = helper.make_graph(
        nodes, op, [helper.make_tensor_value_info("x", code, x.shape)], [helper.make_tensor_value_info("y", code, None)],
        [numpy_helper.from_array(w, n) for w, n in zip(weights, names)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), x


@each("operator", [(kind, op) for kind in (np.float16, np.float64) for op in ("Conv", "ConvTranspose", "Gemm", "MatMul")],
      name=lambda v: f"{v[1]}_{v[0].__name__}")
class Networks(unittest.TestCase):
    def check_operator(self, entry):
        kind, op = entry
        model, x = network(kind, op)
        with folder() as place:
            onnx.save(model, place / "model.onnx")
            np.savez(place / "in.npz", x=x)
            graft("run", place / "model.onnx", "--inputs", place / "in.npz", "--outputs", place / "out.npz", "--repeat", "1")
            found = np.load(place / "out.npz")["y"]
        # The reference in float64, rounded once at the end.
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        for item in wide.graph.initializer:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float64), item.name))
        for port in list(wide.graph.input) + list(wide.graph.output):
            port.type.tensor_type.elem_type = TensorProto.DOUBLE
        expected = ReferenceEvaluator(wide).run(None, {"x": x.astype(np.float64)})[0]
        self.assertEqual(found.dtype, kind)
        self.assertLess(relative(found, expected), {np.float16: 1e-3, np.float64: 1e-14}[kind])
