"""Keras .h5 to ONNX, to .h5 and back, against Keras itself and onnxruntime."""

import json
import unittest

import numpy as np
import onnx
from support import (
    FIXTURES,
    compare,
    each,
    folder,
    graft,
    keras_names,
    load_keras,
    run_keras,
    run_onnx,
    same_layout,
    session,
    shared,
    split_golden,
)

ALL = sorted((FIXTURES / "keras").glob("*.h5")) + sorted((FIXTURES / "keras2").glob("*.h5"))
COVERED = [p for p in ALL if not p.stem.startswith("refused_")]
REFUSED = [p for p in ALL if p.stem.startswith("refused_")]
NAMED = lambda p: f"{p.parent.name}_{p.stem}"

# What a refusal must name: the layer's name in the file.
CULPRITS = {"refused_lambda": "twice", "refused_lstm": "lstm", "refused_gru": "gru", "refused_function": "tan2"}

# Full models of image networks whose layers are all covered, and the scale of their inputs.
REAL = {
    "models/keras/mobilenet_v1_025_224_imagenet.h5": 1.0,
    "models/keras/mlperf_tiny_resnet8_cifar10.h5": 255.0,
    "models/keras/mlperf_tiny_resnet8_cifar10_trained.h5": 255.0,
    "models/keras/esc10_miniresnet_1stacks_64x50_tl.h5": 1.0,
    "models/keras/fer2013_mini_xception.102-0.66.hdf5": 1.0,
    "models/keras/hand_keypoint_classifier.hdf5": 1.0,
    "models/keras/mlperf_tiny_ad_toycar.hdf5": 1.0,
}
# ONNX classifiers that Keras layers can express.
TO_KERAS = [
    *(FIXTURES / "pytorch" / f"{name}.onnx" for name in (
        "cnn_kept", "cnn_folded", "cnn_opset_11", "cnn_fixed_batch", "resnet_kept", "resnet_folded", "shared_initializer",
        "mobilenet_kept", "mobilenet_folded", "squeezenet", "cnn_dynamo")),
    *(FIXTURES / "tf2onnx" / f"{name}.onnx" for name in ("mobilenet_like", "resnet_like", "mobilenet_v1_head", "sequential")),
    FIXTURES / "onnx" / "matmul_add_head.onnx",
]  # fmt: skip


def golden(path):
    """Inputs and expected outputs of a Keras fixture."""
    import h5py

    arrays = dict(np.load(path.with_suffix(".npz")))
    with h5py.File(path) as file:
        config = json.loads(file.attrs["model_config"])["config"]
    outputs = config.get("output_layers")
    if outputs is None:
        names = [config["layers"][-1]["config"]["name"]]
    elif outputs and isinstance(outputs[0], str):
        names = [outputs[0]]
    else:
        names = [entry[0] for entry in outputs]
    expected = {name: arrays.pop(name) for name in names}
    return arrays, expected


@each("fixture", COVERED, name=NAMED)
@each("refused", REFUSED, name=NAMED)
class FromKeras(unittest.TestCase):
    def check_fixture(self, path):
        given, expected = golden(path)
        with folder() as place:
            graft("convert", path, place / "result.onnx")
            model = onnx.load(place / "result.onnx")
            onnx.checker.check_model(model, full_check=True)
            shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim][1:] for i in model.graph.input}
            self.assertEqual(set(shapes), set(given), "names of inputs")
            for key, value in given.items():
                self.assertTrue(all(d in (0, s) for d, s in zip(shapes[key], value.shape[1:])), "layout of the interface")
            self.assertEqual([o.name for o in model.graph.output], list(expected), "names of outputs")
            compare(self, "Keras .h5 to ONNX, onnxruntime against Keras", NAMED(path), run_onnx(place / "result.onnx", given), expected)

            graft("convert", path, place / "again.h5")
            # TensorFlow has no convolution with channels first on CPUs; what comes back from ONNX has them last.
            if path.stem != "channels_first":
                actual = run_keras(load_keras(place / "again.h5"), given)
                compare(self, "Keras .h5 to .h5, Keras against Keras", NAMED(path), actual, expected)

            graft("convert", place / "result.onnx", place / "back.h5")
            actual = run_keras(load_keras(place / "back.h5"), given)
            compare(self, "Keras .h5 to ONNX to .h5, Keras against Keras", NAMED(path), same_layout(actual, expected), expected)

    def check_refused(self, path):
        with folder() as place:
            done = graft("convert", path, place / "result.onnx", exit_status=65)
            self.assertIn(CULPRITS[path.stem], done.stderr)
            self.assertIn(path.name, done.stderr)
            self.assertEqual(list(place.iterdir()), [], "something was written")


class Transposes(unittest.TestCase):
    """A model that came as NHWC has Transposes at its edges only."""

    def test_none_in_the_middle(self):
        for name in ("mobilenet_like", "resnet_like", "efficientnet_like", "squeeze_excite", "segmentation", "many_layers"):
            with self.subTest(name), folder() as place:
                graft("convert", FIXTURES / "keras" / f"{name}.h5", place / "result.onnx")
                graph = onnx.load(place / "result.onnx").graph
                edges = [v for v in [*graph.input, *graph.output] if len(v.type.tensor_type.shape.dim) == 4]
                transposes = [n for n in graph.node if n.op_type == "Transpose"]
                self.assertLessEqual(len(transposes), len(edges))


class Frozen(unittest.TestCase):
    def test_trainable_flags_survive(self):
        for major in ("keras", "keras2"):
            for name in ("partly_frozen", "nested_partly_frozen"):
                with self.subTest(f"{major}/{name}"), folder() as place:
                    path = FIXTURES / major / f"{name}.h5"
                    before = {w.name for w in load_keras(path).trainable_weights}
                    graft("convert", path, place / "again.h5")
                    after = {w.name for w in load_keras(place / "again.h5").trainable_weights}
                    self.assertEqual(before, after)
                    graft("convert", path, place / "middle.onnx")
                    graft("convert", place / "middle.onnx", place / "back.h5")
                    model = load_keras(place / "back.h5")
                    count = lambda weights: sum(int(np.prod(w.shape)) for w in weights)
                    self.assertEqual(count(model.trainable_weights), count(load_keras(path).trainable_weights))


@each("real", sorted(REAL), name=lambda name: name.split("/")[-1])
class RealModels(unittest.TestCase):
    def check_real(self, name):
        path = shared(name)
        model = load_keras(path)
        random = np.random.default_rng(0)
        inputs, _ = keras_names(model)
        given = {
            key: (random.uniform(-0.5, 1, [2] + list(t.shape)[1:]) * REAL[name]).astype(np.float32)
            for key, t in zip(inputs, model.inputs)
        }
        expected = run_keras(model, given)
        with folder() as place:
            graft("convert", path, place / "result.onnx")
            onnx.checker.check_model(str(place / "result.onnx"), full_check=True)
            compare(self, "Real Keras models to ONNX", path.name, run_onnx(place / "result.onnx", given), expected)
            graft("convert", path, place / "again.h5")
            compare(self, "Real Keras models to .h5", path.name, run_keras(load_keras(place / "again.h5"), given), expected)


@each("fixture", TO_KERAS, name=NAMED)
class ToKeras(unittest.TestCase):
    def check_fixture(self, path):
        inputs = [i.name for i in session(path).get_inputs()]
        given, expected = split_golden(path.with_suffix(".npz"), inputs)
        with folder() as place:
            graft("convert", path, place / "result.h5")
            import keras

            model = keras.models.load_model(place / "result.h5", compile=False)
            actual = same_layout(run_keras(model, given), expected)
            compare(self, "ONNX to Keras 3 .h5, Keras against onnxruntime", NAMED(path), actual, expected)
            graft("convert", place / "result.h5", place / "back.onnx")
            want = {i.name: i.shape for i in session(place / "back.onnx").get_inputs()}
            from support import fit

            turned = {k: fit(v, [d if isinstance(d, int) else None for d in s]) for (k, s), v in zip(want.items(), given.values())}
            actual = same_layout(run_onnx(place / "back.onnx", turned), expected)
            compare(self, "ONNX to .h5 to ONNX, onnxruntime", NAMED(path), actual, expected)

    def test_what_keras_cannot_say_is_refused(self):
        with folder() as place:
            done = graft("convert", FIXTURES / "onnx" / "if.onnx", place / "result.h5", exit_status=65)
            self.assertIn("If", done.stderr)
            self.assertEqual(list(place.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
