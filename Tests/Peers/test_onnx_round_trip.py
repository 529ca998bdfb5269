"""ONNX in and out: a file that was read and written again says the same, field by field, and byte by byte where it can."""

import unittest

import onnx
from support import FIXTURES, SHARED, each, figure, folder, graft, package_folder, relative, run_onnx, session, split_golden

HOSTILE = {"external_escapes", "external_absolute", "external_bad_ranges"}
OURS = [p for p in sorted(FIXTURES.glob("**/*.onnx")) if p.stem not in HOSTILE]
THEIRS = sorted((SHARED / "models").glob("**/*.onnx"))
WHEEL = sorted(package_folder("onnx").glob("**/*.onnx"))


def has_external_data(model):
    tensors = list(model.graph.initializer)
    return any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors)


def passes_checker(path):
    try:
        onnx.checker.check_model(str(path))
        return True
    except Exception:
        return False


@each("fixture", OURS, name=lambda p: f"{p.parent.name}_{p.stem}")
@each("shared", THEIRS)
@each("wheel", WHEEL, name=lambda p: f"{p.parent.name}_{p.stem}")
class RoundTrip(unittest.TestCase):
    def round_trip(self, path):
        original = path.read_bytes()
        with folder() as place:
            result = place / "result.onnx"
            graft("convert", path, result)
            written = result.read_bytes()
            before, after = onnx.ModelProto.FromString(original), onnx.ModelProto.FromString(written)
            if has_external_data(before):
                before, after = onnx.load(str(path)), onnx.load(str(result))
                self.assertEqual(before.SerializeToString(deterministic=True), after.SerializeToString(deterministic=True))
            else:
                self.assertEqual(before, after)
                self.assertEqual(before.SerializeToString(deterministic=True), after.SerializeToString(deterministic=True))
                if before.SerializeToString() == original:
                    self.assertEqual(original, written, "equal as a message, but not byte by byte")
            if passes_checker(path):
                onnx.checker.check_model(str(result))
        figure("ONNX round trip: differing files", 0.0, path.name)

    check_fixture = check_shared = check_wheel = round_trip


class Refused(unittest.TestCase):
    def test_external_data_outside_the_folder(self):
        for name in sorted(HOSTILE):
            with self.subTest(name), folder() as place:
                done = graft("convert", FIXTURES / "onnx" / f"{name}.onnx", place / "result.onnx", exit_status=65)
                self.assertIn(name, done.stderr)
                self.assertEqual(list(place.iterdir()), [], "something was written")


class ExternalData(unittest.TestCase):
    def test_result_runs_where_it_was_written(self):
        golden = FIXTURES / "onnx" / "external.npz"
        with folder() as place:
            graft("convert", FIXTURES / "onnx" / "external.onnx", place / "result.onnx")
            inputs = [i.name for i in session(place / "result.onnx").get_inputs()]
            given, expected = split_golden(golden, inputs)
            for key, value in run_onnx(place / "result.onnx", given).items():
                self.assertEqual(relative(value, expected[key]), 0)


if __name__ == "__main__":
    unittest.main()
