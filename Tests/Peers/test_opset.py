"""`opset`: onnx finds the result valid and onnxruntime gives the same answers, for networks and for onnx's own cases."""

import unittest
import warnings

import numpy as np
import onnx
import onnxruntime
from support import FIXTURES, SHARED, compare, each, folder, graft, random_inputs, run_onnx

VERSIONS = [8, 11, 13, 18, 21, 23]
NETWORKS = [path for name in ("pytorch", "tf2onnx", "digits") for path in sorted((FIXTURES / name).glob("*.onnx"))]
REAL = [path for name in ("onnx", "derived") for path in sorted((SHARED / "models" / name).glob("*.onnx"))]
# Inputs that the model's declared shapes do not tell.
SIZES = {"silero_vad_16k_op15": {"input": [1, 512]}}
# What older versions cannot express: the version from which a model can be converted, and the word that says why.
REFUSED = {
    "activations": (9, "Erf"), "activations_opset_13": (9, "Erf"), "cnn_training_mode": (12, "train"),
    "segmenter": (11, "half_pixel"), "squeezenet": (10, "ceil_mode"), "magika_standard_v3_3": (8, "several shapes"),
    "mobilenet_v1_025_224_imagenet_int8_qdq": (13, "axis"), "byte_sb_bidi_lstm": (9, "ConstantOfShape"), "resnet20_cifar10": (10, "steps"),
    "qonnx_espcn_subpixel_quant_model": (11, "mode"), "silero_vad_16k_op15": (11, "ConstantOfShape"),
    "sinet_portrait": (11, "align_corners"), "tiny_random_bert_optimum": (10, "computed"), "yolox_nano": (10, "steps"),
}  # fmt: skip


@each("fixture", NETWORKS)
@each("real", REAL)
class Networks(unittest.TestCase):
    def check_fixture(self, path):
        self.check(path)

    def check_real(self, path):
        self.check(path)

    def check(self, path):
        bound, word = REFUSED.get(path.stem, (0, ""))
        try:
            given = random_inputs(path, sizes=SIZES.get(path.stem))
            expected = run_onnx(path, given)
        except Exception:
            given = expected = None  # onnxruntime does not know the model's operators; onnx still checks the result.
        with folder() as place:
            for version in VERSIONS:
                target = place / f"{version}.onnx"
                if version < bound:
                    done = graft("opset", path, version, "--no-verify", "-o", target, exit_status=65)
                    self.assertIn(word, done.stderr)
                    self.assertFalse(target.exists())
                    continue
                graft("opset", path, version, "--no-verify", "-o", target)
                model = onnx.load(target)
                onnx.checker.check_model(model, full_check=True)
                self.assertEqual([o.version for o in model.opset_import if o.domain in ("", "ai.onnx")], [version])
                before = onnx.load(path)
                self.assertEqual([f.name for f in model.functions], [f.name for f in before.functions])
                kept = {p.key: p.value for p in model.metadata_props}
                for entry in before.metadata_props:
                    self.assertEqual(kept.get(entry.key), entry.value)
                if given is not None:
                    compare(self, "opset: outputs in onnxruntime", f"{path.stem} {version}", run_onnx(target, given), expected)


def cases():
    """A case or two of onnx's own for each operator whose definition changed its form."""
    from onnx.backend.test.case.node import collect_testcases

    names = {
        "argmax_default_axis_example", "averagepool_2d_dilations", "batchnorm_example", "batchnorm_example_training_mode",
        "cast_FLOAT_to_INT64", "celu", "clip", "clip_default_min", "clip_default_int8_inbounds", "concat_2d_axis_negative_1", "depthtospace_example",
        "dequantizelinear", "dequantizelinear_axis", "dft", "dft_axis", "dropout_default", "dropout_default_mask_ratio",
        "edge_pad", "constant_pad", "constant_pad_axes", "constant_pad_negative_axes", "gather_negative_indices",
        "gathernd_example_int32", "gelu_default_1", "gelu_tanh_1", "gemm_default_no_bias", "greater_equal", "gridsample_bicubic", "gridsample_bilinear", "group_normalization_example", "hardmax_axis_1", "hardswish",
        "layer_normalization_2d_axis0", "layer_normalization_4d_axis_negative_3_epsilon", "logsoftmax_axis_0", "lstm_defaults", "maxpool_2d_ceil", "maxpool_2d_default", "mean_example", "mish", "pow_types_float32_int64", "quantizelinear", "range_float_type_positive_delta", "reduce_l2_default_axes_keepdims_example", "reduce_max_keepdims_example", "reduce_mean_negative_axes_keepdims_example", "reduce_sum_empty_axes_input_noop_example", "reduce_sum_default_axes_keepdims_random", "reshape_allowzero_reordered", "reshape_negative_dim", "resize_upsample_scales_nearest", "resize_upsample_sizes_nearest_axes_2_3", "resize_downsample_scales_linear", "rms_normalization_3d_axis1_epsilon", "roialign_aligned_false", "scatter_elements_with_axis", "shape_start_1", "shape_end_negative_1", "slice", "slice_neg", "softmax_axis_0", "softmax_default_axis", "split_equal_parts_1d_opset18", "split_1d_uneven_split_opset18", "split_variable_parts_2d_opset18", "squeeze_negative_axes", "swish", "sum_example", "top_k", "unsqueeze_negative_axes", "unsqueeze_two_axes",
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in collect_testcases(None) if case.name.removeprefix("test_") in names]


@each("case", cases(), name=lambda case: case.name.removeprefix("test_"))
class Operators(unittest.TestCase):
    def check_case(self, case):
        inputs, outputs = case.data_sets[0]
        converted = 0
        with folder() as place:
            onnx.save(case.model, place / "source.onnx")
            for version in [8, 10, 12, 14, 17, 19, 22]:
                target = place / f"{version}.onnx"
                done = graft("opset", place / "source.onnx", version, "--no-verify", "-o", target, exit_status=None)
                if done.returncode != 0:
                    self.assertEqual(done.returncode, 65, done.stderr)
                    self.assertIn("cannot express", done.stderr)
                    continue
                onnx.checker.check_model(onnx.load(target), full_check=True)
                options = onnxruntime.SessionOptions()
                options.log_severity_level = 4
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
                try:
                    session = onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
                except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
                    continue
                given = dict(zip([i.name for i in session.get_inputs()], map(np.asarray, inputs)))
                for index, (actual, expected) in enumerate(zip(session.run(None, given), outputs)):
                    title = "opset: onnx's own cases in onnxruntime"
                    compare(self, title, f"{case.name} {version}", {index: actual}, {index: expected}, bar=1e-3)
                converted += 1
        self.assertGreater(converted, 0, "no version was compared")


if __name__ == "__main__":
    unittest.main()
