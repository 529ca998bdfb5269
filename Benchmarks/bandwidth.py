"""How far single operators are from the bandwidth of the memory, where Graft computes them itself.

    python Benchmarks/bandwidth.py GRAFT [--seconds S] [--threads T] [--megabytes M] [NAME ...]

Each case is a model with one operator on tensors of about M megabytes. The bytes that it cannot do without are those of
its operands, read once, and of its result, written once; over the best time of a run that makes a bandwidth, which stands
beside that of a plain copy by as many threads in NumPy. Reading the model and its inputs does not count. onnxruntime
runs the same model on the same arrays, with its results bound to memory that is there already.

The bound of the last column is the time that a copy of these bytes takes; "far" marks what takes more than two and a
half times as long, operators aside that compute much for each byte (marked *).
"""

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
from onnx import TensorProto as T, helper

CASES = {}
FLOAT = numpy.float32


def case(name, op, inputs, bytes=None, opset=20, constants=(), computes=False, outputs=1, **attributes):
    """A case; `inputs` makes the operands from the number of elements, None for one that is left out.

    `constants` are the positions of operands that are stored in the model. `bytes` counts what must move where that is
    not all operands and results.
    """
    CASES[name] = dict(op=op, inputs=inputs, bytes=bytes, opset=opset, constants=constants, computes=computes,
                       outputs=outputs, attributes=attributes)


def numbers(*shape, dtype=FLOAT, low=-2.0, high=2.0):
    count = math.prod(shape)
    block = numpy.random.default_rng(1).uniform(low, high, min(count, 1 << 20))
    return numpy.resize(block.astype(dtype), count).reshape(shape)


def picture(n, dtype=FLOAT, **more):
    """N x C x H x W."""
    return numbers(max(1, n // (64 * 112 * 112)), 64, 112, 112, dtype=dtype, **more)


def rows(n, width=768, dtype=FLOAT, **more):
    """Tokens x width."""
    return numbers(max(1, n // width), width, dtype=dtype, **more)


def indices(count, bound):
    return numpy.random.default_rng(2).integers(0, bound, count).astype(numpy.int64)


def ints(*values):
    return numpy.array(values, dtype=numpy.int64)


def scalar(value, dtype=FLOAT):
    return numpy.array(value, dtype=dtype)


# Elementwise
for op in ("Add", "Mul"):
    case(op, op, lambda n: [picture(n // 2), picture(n // 2)])
case("Sub row", "Sub", lambda n: [rows(n), numbers(768)])
case("Add channel", "Add", lambda n: [picture(n), numbers(64, 1, 1)])
case("Mul gate", "Mul", lambda n: [picture(n), numbers(max(1, n // (64 * 112 * 112)), 64, 1, 1)])
case("Mul scalar", "Mul", lambda n: [rows(n), scalar(0.5)])
case("Mul column", "Mul", lambda n: [rows(n), numbers(max(1, n // 768), 1)])
case("Div", "Div", lambda n: [rows(n // 2), rows(n // 2, low=1)])
case("Pow 2", "Pow", lambda n: [rows(n), scalar(2.0)], constants=(1,))
case("Max", "Max", lambda n: [rows(n // 2), rows(n // 2)])
case("Greater", "Greater", lambda n: [rows(n // 2), rows(n // 2)])
case("Equal int64", "Equal", lambda n: [rows(n // 4, dtype=numpy.int64), rows(n // 4, dtype=numpy.int64)])
case("And", "And", lambda n: [rows(n * 2) > 0, rows(n * 2) > 1])
case("Not", "Not", lambda n: [rows(n * 2) > 0])
case("Where", "Where", lambda n: [rows(n // 2) > 0, rows(n // 2), rows(n // 2)])
case("Where mask", "Where", lambda n: [numbers(1, 1, 256, 256) > 0, numbers(n // 12 // 65536, 12, 256, 256), scalar(-1e9)])
case("Clip", "Clip", lambda n: [picture(n), scalar(0), scalar(6)], constants=(1, 2))
case("Relu", "Relu", lambda n: [picture(n)])
case("LeakyRelu", "LeakyRelu", lambda n: [picture(n)])
case("PRelu", "PRelu", lambda n: [picture(n), numbers(64, 1, 1)], constants=(1,))
case("HardSwish", "HardSwish", lambda n: [picture(n)])
case("Abs", "Abs", lambda n: [rows(n)])
case("Neg", "Neg", lambda n: [rows(n)])
case("Sqrt", "Sqrt", lambda n: [rows(n, low=0)])
case("Reciprocal", "Reciprocal", lambda n: [rows(n, low=1)])
case("Floor", "Floor", lambda n: [rows(n)])
case("Sigmoid", "Sigmoid", lambda n: [rows(n)])
case("Tanh", "Tanh", lambda n: [rows(n)])
case("Erf", "Erf", lambda n: [rows(n)])
case("Gelu", "Gelu", lambda n: [rows(n)])
case("Gelu tanh", "Gelu", lambda n: [rows(n)], approximate="tanh")
case("Exp", "Exp", lambda n: [rows(n)])
case("Log", "Log", lambda n: [rows(n, low=1)])
case("Sin", "Sin", lambda n: [rows(n)])
case("Mish", "Mish", lambda n: [rows(n)])
case("Softplus", "Softplus", lambda n: [rows(n)])
case("Elu", "Elu", lambda n: [rows(n)])
case("Mod int64", "Mod", lambda n: [rows(n // 2, dtype=numpy.int64, high=1000), scalar(7, numpy.int64)])

# Types
for source, target in (("float32", "float16"), ("float16", "float32"), ("float32", "bfloat16"), ("float32", "int64"),
                       ("int64", "float32"), ("float32", "uint8"), ("uint8", "float32"), ("bool", "float32"),
                       ("int64", "int32"), ("int32", "int64"), ("float32", "float64"), ("float32", "bool")):
    case(f"Cast {source} to {target}", "Cast",
         lambda n, source=source: [rows(n, dtype=numpy.dtype(source), low=0, high=200)],
         to=getattr(T, target.upper().replace("FLOAT32", "FLOAT").replace("FLOAT64", "DOUBLE")))
case("QuantizeLinear", "QuantizeLinear", lambda n: [picture(n), scalar(0.02), scalar(128, numpy.uint8)],
     constants=(1, 2))
case("DequantizeLinear", "DequantizeLinear",
     lambda n: [picture(n, dtype=numpy.uint8, low=0, high=255), scalar(0.02), scalar(128, numpy.uint8)],
     constants=(1, 2))
case("DequantizeLinear channel", "DequantizeLinear",
     lambda n: [picture(n, dtype=numpy.int8, low=-100, high=100), numbers(64, low=0.01, high=0.1)], constants=(1,), axis=1)
case("DynamicQuantizeLinear", "DynamicQuantizeLinear", lambda n: [rows(n)], outputs=3,
     bytes=lambda given, made: 2 * given[0].nbytes + made[0].nbytes)

# Movement
case("Transpose NCHW to NHWC", "Transpose", lambda n: [picture(n)], perm=[0, 2, 3, 1])
case("Transpose NHWC to NCHW", "Transpose", lambda n: [numbers(max(1, n // 802816), 112, 112, 64)], perm=[0, 3, 1, 2])
case("Transpose heads", "Transpose", lambda n: [numbers(n // 786432, 1024, 12, 64)], perm=[0, 2, 1, 3])
case("Transpose keys", "Transpose", lambda n: [numbers(n // 786432, 1024, 12, 64)], perm=[0, 2, 3, 1])
case("Transpose matrix", "Transpose", lambda n: [numbers(4096, n // 4096)], perm=[1, 0])
case("Transpose matrix float16", "Transpose", lambda n: [numbers(4096, n // 2048, dtype=numpy.float16)], perm=[1, 0])
case("Concat channels", "Concat", lambda n: [picture(n // 2), picture(n // 2)], axis=1)
case("Concat last", "Concat", lambda n: [rows(n // 2, 64), rows(n // 2, 64)], axis=-1)
case("Split channels", "Split", lambda n: [picture(n)], outputs=2, axis=1, num_outputs=2)
case("Split last", "Split", lambda n: [rows(n, 2304)], outputs=3, axis=-1, num_outputs=3)
half = dict(bytes=lambda given, made: 2 * made[0].nbytes, constants=(1, 2, 3, 4))
case("Slice channels", "Slice", lambda n: [picture(n), ints(0), ints(32), ints(1), ints(1)], **half)
case("Slice last", "Slice", lambda n: [rows(n, 2304), ints(0), ints(768), ints(1), ints(1)], **half)
case("Slice step 2", "Slice", lambda n: [picture(n), ints(0, 0), ints(112, 112), ints(2, 3), ints(2, 2)],
     constants=(1, 2, 3, 4), bytes=lambda given, made: 3 * made[0].nbytes)
case("Pad constant", "Pad", lambda n: [picture(n), ints(0, 0, 1, 1, 0, 0, 1, 1)], constants=(1,))
case("Pad reflect", "Pad", lambda n: [picture(n), ints(0, 0, 1, 1, 0, 0, 1, 1)], constants=(1,), mode="reflect")
case("Expand", "Expand", lambda n: [numbers(n // 1048576, 1, 1024, 128), ints(1, 8, 1, 1)], constants=(1,))
case("Tile", "Tile", lambda n: [rows(n // 4), ints(1, 4)], constants=(1,))
case("DepthToSpace", "DepthToSpace", lambda n: [picture(n)], blocksize=2)
case("SpaceToDepth", "SpaceToDepth", lambda n: [picture(n)], blocksize=2)
case("Trilu", "Trilu", lambda n: [numbers(n // 262144, 512, 512)])

# Indexing
picked = lambda given, made: 2 * made[0].nbytes + given[1].nbytes
case("Gather rows", "Gather", lambda n: [numbers(30000, 768), indices(n // 768, 30000)], bytes=picked)
case("Gather channels", "Gather", lambda n: [picture(n), indices(64, 64)], axis=1, bytes=picked)
case("Gather last", "Gather", lambda n: [rows(n), indices(768, 768)], axis=1, bytes=picked)
case("GatherElements", "GatherElements", lambda n: [rows(n // 2), indices(n // 2 // 768 * 768, 768).reshape(-1, 768)],
     axis=1)
case("GatherND", "GatherND", lambda n: [numbers(1000, 30, 768), numpy.stack(
    [indices(n // 768, 1000), indices(n // 768, 30)], axis=1)], bytes=picked)
case("ScatterND", "ScatterND", lambda n: [rows(n), indices(n // 1536, n // 768).reshape(-1, 1), rows(n // 2)],
     bytes=lambda given, made: sum(x.nbytes for x in given) + made[0].nbytes)
case("ScatterElements", "ScatterElements", lambda n: [
    rows(n // 2), indices(n // 2 // 768 * 768, 768).reshape(-1, 768), rows(n // 2)], axis=1)
case("OneHot", "OneHot", lambda n: [indices(n // 1000, 1000), scalar(1000, numpy.int64), numpy.array([0, 1], FLOAT)],
     constants=(1, 2))
case("TopK 5 of 1000", "TopK", lambda n: [rows(n, 1000), ints(5)], constants=(1,), outputs=2, computes=True)
case("ArgMax last", "ArgMax", lambda n: [rows(n, 1000)], axis=-1, keepdims=0)
case("ArgMax channels", "ArgMax", lambda n: [picture(n)], axis=1, keepdims=0)
case("CumSum last", "CumSum", lambda n: [rows(n), scalar(1, numpy.int64)], constants=(1,))
case("CumSum first", "CumSum", lambda n: [rows(n), scalar(0, numpy.int64)], constants=(1,))
case("NonZero", "NonZero", lambda n: [rows(n // 4, low=-2, high=0.1, dtype=numpy.int32)],
     bytes=lambda given, made: given[0].nbytes + made[0].nbytes)

# Rows: normalisation, softmax, sums
case("Softmax last", "Softmax", lambda n: [rows(n)], axis=-1)
case("Softmax channels", "Softmax", lambda n: [picture(n)], axis=1)
case("LogSoftmax last", "LogSoftmax", lambda n: [rows(n)], axis=-1)
case("LayerNormalization", "LayerNormalization", lambda n: [rows(n), numbers(768), numbers(768)], constants=(1, 2))
case("RMSNormalization", "RMSNormalization", lambda n: [rows(n), numbers(768)], constants=(1,), opset=23)
case("InstanceNormalization", "InstanceNormalization", lambda n: [picture(n), numbers(64), numbers(64)],
     constants=(1, 2))
case("GroupNormalization", "GroupNormalization", lambda n: [picture(n), numbers(64), numbers(64)], constants=(1, 2),
     opset=21, num_groups=8)
case("BatchNormalization", "BatchNormalization", lambda n: [
    picture(n), numbers(64), numbers(64), numbers(64), numbers(64, low=1)], constants=(1, 2, 3, 4))
case("LpNormalization", "LpNormalization", lambda n: [rows(n)], axis=-1)
case("ReduceMean last", "ReduceMean", lambda n: [rows(n), ints(1)], constants=(1,))
case("ReduceMean plane", "ReduceMean", lambda n: [picture(n), ints(2, 3)], constants=(1,))
case("ReduceMean channels", "ReduceMean", lambda n: [picture(n), ints(1)], constants=(1,))
case("ReduceMean first", "ReduceMean", lambda n: [rows(n), ints(0)], constants=(1,))
case("ReduceSum all", "ReduceSum", lambda n: [rows(n)], keepdims=0)
case("ReduceMax last", "ReduceMax", lambda n: [rows(n), ints(1)], constants=(1,))
case("ReduceL2 last", "ReduceL2", lambda n: [rows(n), ints(1)], constants=(1,))
case("GlobalAveragePool", "GlobalAveragePool", lambda n: [picture(n)])
case("MaxPool", "MaxPool", lambda n: [picture(n)], kernel_shape=[2, 2], strides=[2, 2])

# Pictures
case("Resize nearest", "Resize", lambda n: [picture(n // 4), None, numpy.array([1, 1, 2, 2], FLOAT)], constants=(2,),
     mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
case("Resize linear", "Resize", lambda n: [picture(n // 4), None, numpy.array([1, 1, 2, 2], FLOAT)], constants=(2,),
     mode="linear")
case("Resize cubic", "Resize", lambda n: [picture(n // 4), None, numpy.array([1, 1, 2, 2], FLOAT)], constants=(2,),
     mode="cubic", computes=True)
case("GridSample", "GridSample", lambda n: [
    picture(n), numbers(max(1, n // 802816), 112, 112, 2, low=-1, high=1)], computes=True)
case("RoiAlign", "RoiAlign", lambda n: [
    numbers(1, 256, 200, 200), numpy.array([[x % 90, x % 70, x % 90 + 60, x % 70 + 80] for x in range(n // 12544)], FLOAT),
    numpy.zeros(n // 12544, numpy.int64)], output_height=7, output_width=7, sampling_ratio=2, computes=True)


def model_of(entry, arrays):
    """The model, and the operands that are given to it."""
    graph_inputs, stored, names, given = [], [], [], {}
    for position, array in enumerate(arrays):
        if array is None:
            names.append("")
            continue
        name = f"x{position}"
        names.append(name)
        if position in entry["constants"]:
            stored.append(onnx.numpy_helper.from_array(array, name))
        else:
            type = helper.np_dtype_to_tensor_dtype(array.dtype)
            graph_inputs.append(helper.make_tensor_value_info(name, type, array.shape))
            given[name] = array
    outputs = [f"y{index}" for index in range(entry["outputs"])]
    node = helper.make_node(entry["op"], names, outputs, **entry["attributes"])
    graph = helper.make_graph([node], "one", graph_inputs, [helper.make_empty_tensor_value_info(y) for y in outputs],
                              stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", entry["opset"])], ir_version=9)
    return onnx.shape_inference.infer_shapes(model), given


def copy_bandwidth(megabytes, threads):
    """The bytes read and written a second by a plain copy."""
    source = numpy.ones((threads, megabytes * 250_000 // threads), FLOAT)
    target = numpy.zeros_like(source)
    best = math.inf
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        end = time.perf_counter() + 1
        while time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(lambda part: numpy.copyto(target[part], source[part]), range(threads)))
            best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


def graft_seconds(binary, model, arrays, seconds, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "active"}
    done = subprocess.run([binary, "run", model, "--inputs", arrays, "--seconds", str(seconds), "--json"],
                          capture_output=True, env=environment, text=True)
    return json.loads(done.stdout)["best_seconds"] if done.returncode == 0 else done.stderr.strip()[-200:]


def peer_seconds(model, given, seconds, threads):
    """onnxruntime's best time, and the results; no time where it has no such kernel."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        results = session.run(None, given)
    except Exception:
        return None, None
    binding = session.io_binding()
    for name, array in given.items():
        binding.bind_cpu_input(name, array)
    for output, array in zip(session.get_outputs(), results):
        binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(array.copy()))
    best = math.inf
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        best = min(best, time.perf_counter() - start)
    return best, results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("graft")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("names", nargs="*", help="cases whose names start with one of these")
    options = parser.parse_intermixed_args()
    cases = {name: entry for name, entry in CASES.items()
             if not options.names or any(name.startswith(wanted) for wanted in options.names)}
    copy = copy_bandwidth(options.megabytes, options.threads)
    print(f"{options.threads} threads; a copy moves {copy / 1e9:.1f} GB/s (read and written)\n")
    print(f"{'operator':<27}{'MB':>6}{'ms':>9}{'GB/s':>7}{'of copy':>9}{'ORT ms':>9}{'ratio':>7}")
    ratios, far = [], []
    with tempfile.TemporaryDirectory() as folder:
        path, arrays = f"{folder}/model.onnx", f"{folder}/inputs.npz"
        for name, entry in cases.items():
            operands = entry["inputs"](options.megabytes * 250_000)
            model, given = model_of(entry, operands)
            onnx.save(model, path)
            numpy.savez(arrays, **given)
            own = graft_seconds(options.graft, path, arrays, options.seconds, options.threads)
            if isinstance(own, str):
                print(f"{name:<27}{own}")
                continue
            peer, results = peer_seconds(path, given, options.seconds, options.threads)
            if results is None:
                # The shapes of what runs nowhere else here: as large as the first operand.
                results = [operands[0]] * entry["outputs"]
            read = [array for array in operands if array is not None]
            count = entry["bytes"](read, results) if entry["bytes"] else sum(x.nbytes for x in read + list(results))
            rate = count / own
            is_far = rate < 0.4 * copy and not entry["computes"]
            if is_far:
                far.append(name)
            if peer:
                ratios.append(peer / own)
            print(f"{name + ('*' if entry['computes'] else ''):<27}{count / 1e6:>6.0f}{1e3 * own:>9.2f}{rate / 1e9:>7.1f}"
                  f"{100 * rate / copy:>7.0f} %{1e3 * peer if peer else math.nan:>9.2f}"
                  f"{peer / own if peer else math.nan:>7.2f}{'  far' if is_far else ''}", flush=True)
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"\ngeometric mean: {mean:.2f} times onnxruntime's speed over {len(ratios)} operators; "
              f"{len(far)} of {len(cases)} far from the bandwidth of a copy")


if __name__ == "__main__":
    main()
