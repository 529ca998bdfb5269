"""What the tests against the peers share: running the command, finding files, comparing, figures."""

import contextlib
import functools
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
SHARED = ROOT.parent / "shared"
GRAFT = os.environ.get("GRAFT", str(ROOT / ".build/release/graft"))
BAR = 1e-4

_figures = {}


def figure(title, value, name):
    """Keeps the largest value of a figure and where it was; the runner prints them at the end."""
    count, largest, where = _figures.get(title, (0, -1.0, ""))
    if value > largest:
        largest, where = value, name
    _figures[title] = (count + 1, largest, where)


def figures():
    return dict(_figures)


def graft(*arguments, exit_status=0, timeout=120):
    """Runs the command and checks how it ended, if `exit_status` is not None; a signal is never right."""
    command = [GRAFT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, stdin=subprocess.DEVNULL)
    if exit_status is not None and done.returncode != exit_status:
        raise AssertionError(
            f"graft {' '.join(map(str, arguments))}\nended with {done.returncode}, expected {exit_status}\n"
            f"{done.stderr[-2000:]}{done.stdout[-500:]}"
        )
    return done


def graft_json(*arguments, **options):
    return json.loads(graft(*arguments, "--json", **options).stdout)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="graft-peers-") as path:
        yield pathlib.Path(path)


def shared(name):
    """A file in ../shared, or skips the test and says so."""
    path = SHARED / name
    if not path.exists():
        raise unittest.SkipTest(f"../shared/{name} is not here")
    return path


def method_name(text):
    return re.sub(r"\W+", "_", str(text)).strip("_")


def each(title, values, name=lambda v: getattr(v, "stem", str(v))):
    """Makes one test method of a class for each value from a method `check_<title>(self, value)`."""

    def decorate(cls):
        check = getattr(cls, f"check_{title}")
        used = set()
        for value in values:
            method = unique = f"test_{title}_{method_name(name(value))}"
            number = 2
            while unique in used:
                unique, number = f"{method}_{number}", number + 1
            used.add(unique)
            setattr(cls, unique, functools.partialmethod(check, value))
        if not values:

            def nothing(self):
                self.skipTest("no file for it is here")

            setattr(cls, f"test_{title}", nothing)
        return cls

    return decorate


def package_folder(name):
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


# Comparing
def relative(actual, expected):
    """The largest difference, relative to the largest expected magnitude; the shapes must agree."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, expected {expected.shape}")
    if expected.size == 0:
        return 0.0
    if not np.array_equal(np.isfinite(actual), np.isfinite(expected)):
        raise AssertionError("not finite in different places")
    finite = np.isfinite(expected)
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(expected[finite]).max()), 1e-30)
    return float(np.abs(actual[finite] - expected[finite]).max()) / scale


def compare(test, title, name, actual, expected, bar=BAR):
    """Compares two dictionaries of arrays: by name, or by position where the names differ."""
    test.assertEqual(len(actual), len(expected), f"outputs {list(actual)}, expected {list(expected)}")
    if set(actual) != set(expected):
        actual = dict(zip(expected, actual.values()))
    for key, value in expected.items():
        gap = relative(actual[key], value)
        figure(title, gap, f"{name}: {key}")
        test.assertLessEqual(gap, bar, f"{name}: {key}")


# onnxruntime
def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # onnxruntime 1.31 merges a Pad with zeros into a MaxPool, whose own padding is minus infinity: wrong for negative
    # inputs. Keras fixtures with such inputs show it.
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["Pad_Fusion"]
    )


def run_onnx(path, given):
    """Runs a model in onnxruntime; inputs by name, or by position where the names differ."""
    opened = session(path)
    names = [i.name for i in opened.get_inputs()]
    if set(names) != set(given):
        given = dict(zip(names, given.values()))
    outputs = [o.name for o in opened.get_outputs()]
    return dict(zip(outputs, opened.run(outputs, given)))


def input_names(path):
    """The names of a model's inputs, those with a tensor left out, and of its outputs; nothing is loaded but the graph."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    return [i.name for i in graph.input if i.name not in stored], [o.name for o in graph.output]


KINDS = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_,
}  # fmt: skip


def random_inputs(path, seed=0, sizes=None):
    """Inputs for every input of a model; open dimensions are 1, or what `sizes` says by input name."""
    random = np.random.default_rng(seed)
    given = {}
    for entry in session(path).get_inputs():
        shape = (sizes or {}).get(entry.name) or [d if isinstance(d, int) and d > 0 else 1 for d in entry.shape]
        kind = KINDS[entry.type]
        if np.issubdtype(kind, np.floating):
            given[entry.name] = random.normal(0, 1, shape).astype(kind)
        else:
            given[entry.name] = random.integers(0, 2, shape).astype(kind)
    return given


def split_golden(path, model_inputs):
    """The arrays of a golden NPZ as inputs and outputs, in the order of the file."""
    arrays = dict(np.load(path))
    given = {name: arrays.pop(name) for name in model_inputs}
    return given, arrays


# Keras
def keras_major(path):
    import h5py

    with h5py.File(path) as file:
        version = file.attrs.get("keras_version", "2")
    version = version.decode() if isinstance(version, bytes) else str(version)
    return int(version.split(".")[0])


def load_keras(path):
    """Loads an .h5 in the Keras of its major version, or in the other one where that fails."""
    import keras

    def new():
        return keras.models.load_model(path, compile=False)

    def old():
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tf_keras

        return tf_keras.models.load_model(path, compile=False)

    first, second = (new, old) if keras_major(path) >= 3 else (old, new)
    try:
        return first()
    except Exception as failure:
        try:
            return second()
        except Exception:
            raise failure from None


def keras_names(model):
    """Input and output names of a Keras model of either major version."""
    inputs = [tensor.name.split(":")[0] for tensor in model.inputs]
    if hasattr(getattr(model.outputs[0], "_keras_history", None), "operation"):
        return inputs, [tensor._keras_history.operation.name for tensor in model.outputs]
    return inputs, list(model.output_names)


def run_keras(model, given):
    """Runs a Keras model; inputs by name or position, turned to NHWC or NCHW where the model wants that."""
    inputs, outputs = keras_names(model)
    if set(inputs) != set(given):
        given = dict(zip(inputs, given.values()))
    values = [fit(given[name], tuple(tensor.shape)) for name, tensor in zip(inputs, model.inputs)]
    result = model(values if len(values) > 1 else values[0], training=False)
    results = result if isinstance(result, (list, tuple)) else [result]
    return {name: np.asarray(r.detach() if hasattr(r, "detach") else r) for name, r in zip(outputs, results)}


def fits(shape, wanted):
    return len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape[1:], wanted[1:]))


def fit(array, wanted):
    """The array in the layout that has the wanted shape: as it is, or with the channels moved."""
    if array.ndim != 4 or fits(array.shape, wanted):
        return array
    for order in ((0, 2, 3, 1), (0, 3, 1, 2)):
        if fits(array.transpose(order).shape, wanted):
            return array.transpose(order)
    return array


def same_layout(actual, expected):
    """Moves the channels of results back where a conversion changed the layout of the interface."""
    return {k: fit(a, e.shape) for (k, a), e in zip(actual.items(), expected.values())}
