"""`graft run` against onnxruntime, PyTorch's and Keras' own answers."""

import unittest

import numpy as np
import onnx
import onnx.parser
from support import FIXTURES, compare, each, folder, graft, random_inputs, run_onnx, session, shared, split_golden

# Networks of convolutional classifiers, as exported.
FIXED = [
    *(FIXTURES / "pytorch" / f"{name}.onnx" for name in (
        "cnn_kept", "cnn_folded", "cnn_opset_9", "cnn_opset_11", "cnn_opset_13", "cnn_opset_20", "cnn_fixed_batch", "cnn_dynamo",
        "resnet_kept", "resnet_folded", "resnet_dynamic_size", "shared_initializer", "mobilenet_kept", "mobilenet_folded",
        "squeezenet", "activations", "activations_opset_13", "two_heads")),
    *sorted((FIXTURES / "tf2onnx").glob("*.onnx")),
    *(FIXTURES / "onnx" / f"{name}.onnx" for name in (
        "matmul_add_head", "two_candidates", "old_style", "external", "noncanonical", "empty_strings")),
]  # fmt: skip

# Real models: sizes of open dimensions by input name.
REAL = {
    "models/onnx/byte_sb_bidi_lstm.onnx": {"input": [2, 16]},
    "models/onnx/deeplab_v3_mnv2_voc21.onnx": {},
    "models/onnx/dtln_model_1.onnx": {},
    "models/onnx/magika_standard_v3_3.onnx": {"bytes": [2, 2048]},
    "models/onnx/mnist_8_cntk.onnx": {},
    "models/onnx/mobilenet_v2_050_128.onnx": {},
    "models/onnx/ppocr_v2_cls.onnx": {"x": [1, 3, 48, 192]},
    "models/onnx/silero_vad_16k_op15.onnx": {"input": [2, 512], "state": [2, 2, 128]},
    "models/onnx/sinet_portrait.onnx": {},
    "models/onnx/super_resolution_10.onnx": {},
    "models/onnx/tiny_random_bert_optimum.onnx": {"input_ids": [2, 12], "attention_mask": [2, 12]},
    "models/onnx/ultraface_slim_320.onnx": {},
    "models/onnx/yolox_nano.onnx": {},
    "models/derived/mobilenet_v1_025_224_imagenet.onnx": {},
    "models/derived/mobilenet_v1_025_224_imagenet_int8_qdq.onnx": {},
    "models/derived/resnet20_cifar10.onnx": {},
}


def real_inputs(name, path):
    """Inputs as the model expects them: on noise, a detector's or a quantised network's answer is chance."""
    given = random_inputs(path, sizes=REAL[name])
    random = np.random.default_rng(1)
    if "yolox" in name:
        return {key: random.uniform(0, 255, value.shape).astype(np.float32) for key, value in given.items()}
    if "int8_qdq" in name:
        from PIL import Image

        picture = Image.open(shared("models/images/pelican_wonnx.jpeg")).convert("RGB").resize((224, 224))
        return {key: np.asarray(picture, np.float32)[None] / 127.5 - 1 for key in given}
    if "silero" in name:
        given["sr"] = np.array(16000, np.int64)
    if "magika" in name or "byte_sb" in name:
        return {key: random.integers(0, 256, value.shape).astype(value.dtype) for key, value in given.items()}
    return given


@each("fixture", FIXED, name=lambda p: f"{p.parent.name}_{p.stem}")
@each("real", sorted(REAL), name=lambda name: name.split("/")[-1])
class Run(unittest.TestCase):
    def run_graft(self, path, given):
        with folder() as place:
            np.savez(place / "in.npz", **given)
            graft("run", path, "--inputs", place / "in.npz", "--outputs", place / "out.npz", timeout=300)
            return dict(np.load(place / "out.npz"))

    def check_fixture(self, path):
        given, expected = split_golden(path.with_suffix(".npz"), [i.name for i in session(path).get_inputs()])
        actual = self.run_graft(path, given)
        self.assertEqual(set(actual), set(expected), "names of outputs")
        compare(self, "graft run, fixtures", path.name, actual, expected)

    def check_real(self, name):
        path = shared(name)
        given = real_inputs(name, path)
        expected = run_onnx(path, given)
        actual = self.run_graft(path, given)
        self.assertEqual(set(actual), set(expected), "names of outputs")
        compare(self, "graft run, real models", path.name, actual, expected)


class OtherFormats(unittest.TestCase):
    def test_keras_model(self):
        path = FIXTURES / "digits" / "zero-to-four.h5"
        golden = np.load(FIXTURES / "digits" / "old-test.npz")
        given = {"image": np.ascontiguousarray(golden["image"].transpose(0, 2, 3, 1))}
        with folder() as place:
            np.savez(place / "in.npz", **given)
            graft("run", path, "--inputs", place / "in.npz", "--outputs", place / "out.npz")
            compare(self, "graft run, Keras model", path.name, dict(np.load(place / "out.npz")), {"classes": golden["keras"]})

    def test_random_inputs_are_the_same_for_the_same_seed(self):
        path = FIXTURES / "pytorch" / "resnet_kept.onnx"
        with folder() as place:
            for name, seed in (("a", 3), ("b", 3), ("c", 4)):
                graft("run", path, "--random", seed, "--outputs", place / f"{name}.npz")
            a, b, c = (np.load(place / f"{name}.npz")["logits"] for name in "abc")
            self.assertTrue(np.array_equal(a, b))
            self.assertFalse(np.array_equal(a, c))


class OtherKinds(unittest.TestCase):
    """Sequences, optional values and texts in NPZ."""

    MODEL = """
    <ir_version: 8, opset_import: ["" : 20]>
    kinds (seq(float[N]) s, float[N] x, string[2] t, optional(float[N]) o)
      => (seq(float[N]) longer, string[2] twice, bool has, optional(float[N]) same)
    {
      longer = SequenceInsert (s, x)
      twice = StringConcat (t, t)
      has = OptionalHasElement (o)
      same = Identity (o)
    }
    """

    def run_model(self, exit_status=0, **given):
        with folder() as place:
            onnx.save(onnx.parser.parse_model(self.MODEL), place / "m.onnx")
            np.savez(place / "in.npz", x=np.float32([1, 2]), t=np.array(["a", "é"]), **given)
            arguments = ("--inputs", place / "in.npz", "--outputs", place / "o.npz")
            done = graft("run", place / "m.onnx", *arguments, exit_status=exit_status)
            return done, dict(np.load(place / "o.npz")) if exit_status == 0 else {}

    def test_what_has_no_array_is_empty_or_absent(self):
        _, outputs = self.run_model()
        self.assertEqual(set(outputs), {"longer.0", "twice", "has"})
        self.assertEqual(outputs["longer.0"].tolist(), [1, 2])
        self.assertEqual(outputs["twice"].tolist(), ["aa", "éé"])
        self.assertFalse(outputs["has"])

    def test_elements_have_numbers(self):
        _, outputs = self.run_model(**{"s.0": np.float32([3]), "s.1": np.float32([4, 5]), "o": np.float32([6])})
        self.assertEqual([outputs[f"longer.{i}"].tolist() for i in range(3)], [[3], [4, 5], [1, 2]])
        self.assertTrue(outputs["has"])
        self.assertEqual(outputs["same"].tolist(), [6])

    def test_an_array_that_belongs_to_no_input_is_named(self):
        done, _ = self.run_model(exit_status=65, **{"s.1": np.float32([3])})
        self.assertIn("s.1", done.stderr)


class Refused(unittest.TestCase):
    def test_foreign_operator_is_named(self):
        with folder() as place:
            done = graft("run", FIXTURES / "onnx" / "everything.onnx", "--random", 0, "--outputs", place / "o.npz", exit_status=65)
            self.assertIn("Odd", done.stderr)
            self.assertIn("odd", done.stderr)
            self.assertFalse((place / "o.npz").exists())

    def test_foreign_operator_of_a_real_model_is_named(self):
        done = graft("run", shared("models/onnx/qonnx_espcn_subpixel_quant_model.onnx"), "--random", 0, exit_status=65)
        self.assertIn("onnx.brevitas", done.stderr)
        self.assertIn("Quant", done.stderr)

    def test_missing_file_and_wrong_usage(self):
        graft("run", FIXTURES / "nowhere.onnx", "--random", 0, exit_status=66)
        graft("run", "--no-such-flag", exit_status=64)

    def test_inputs_that_do_not_fit(self):
        with folder() as place:
            np.savez(place / "in.npz", image=np.zeros((2, 4, 16, 16), np.float32))
            arguments = ("--inputs", place / "in.npz", "--outputs", place / "o.npz")
            done = graft("run", FIXTURES / "pytorch" / "cnn_kept.onnx", *arguments, exit_status=65)
            self.assertIn("image", done.stderr)


if __name__ == "__main__":
    unittest.main()
