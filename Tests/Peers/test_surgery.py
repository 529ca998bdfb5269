"""Changes of models: `head`, `freeze` and `groups` leave the body bit for bit; `fold`, `extract`, `merge`, `rename` and
`dynamic-batch` give valid models that answer as they should."""

import json
import unittest

import numpy as np
import onnx
import onnxruntime
from support import (
    FIXTURES, compare, each, folder, graft, graft_json, keras_names, load_keras, random_inputs, run_onnx, shared,
)  # fmt: skip

# Classifiers, and the kind of node that holds the classifier's matrix.
MODELS = {
    FIXTURES / "digits" / "zero-to-four.onnx": "Gemm",
    FIXTURES / "pytorch" / "cnn_kept.onnx": "Gemm",
    FIXTURES / "pytorch" / "resnet_kept.onnx": "Gemm",
    FIXTURES / "pytorch" / "mobilenet_folded.onnx": "Gemm",
    FIXTURES / "pytorch" / "squeezenet.onnx": "Conv",
    FIXTURES / "tf2onnx" / "mobilenet_like.onnx": "MatMul",
    FIXTURES / "onnx" / "matmul_add_head.onnx": "MatMul",
}
REAL = {
    "models/onnx/mobilenet_v2_050_128.onnx": "MatMul",
    "models/derived/resnet20_cifar10.onnx": "Gemm",
    "models/onnx/mnist_8_cntk.onnx": "MatMul",
}
NAMED = lambda p: f"{p.parent.name}_{p.stem}"


def with_output(model, name):
    """The model with one more output, and nothing that onnxruntime would change."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])


def metadata(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def annotations(path):
    """What the annotations amount to, independent of how a format names parameters."""
    model = onnx.load(path)
    said = {p.key: json.loads(p.value) for p in model.metadata_props if p.key.startswith("graft.") and p.key != "graft.version"}
    sizes = {i.name: int(np.prod(i.dims)) for i in model.graph.initializer}
    size = lambda names: sum(sizes[name] for name in names)
    groups = sorted(
        (round(group["multiplier"], 9), group.get("weight_decay"), size(group["parameters"])) for group in said.get("graft.groups", [])
    )
    return dict(
        labels=said.get("graft.labels"), frozen=size(said.get("graft.frozen", [])), groups=groups,
        preprocessing=said.get("graft.preprocessing"), batch_norm=(said.get("graft.batch_norm") or {}).get("*"),
    )  # fmt: skip


@each("fixture", sorted(MODELS), name=NAMED)
@each("real", sorted(REAL), name=lambda name: name.split("/")[-1])
class Head(unittest.TestCase):
    def check_real(self, name):
        self.check(shared(name), REAL[name])

    def check_fixture(self, path):
        self.check(path, MODELS[path])

    def check(self, path, kind):
        before = onnx.load(path)
        classifier = [n for n in before.graph.node if n.op_type == kind][-1]
        features = classifier.input[0]
        with folder() as place:
            graft("head", path, "--classes", "7", "--seed", "3", "-o", place / "new.onnx")
            after = onnx.load(place / "new.onnx")
            onnx.checker.check_model(after, full_check=True)
            given = random_inputs(path)
            old = with_output(before, features)
            new = with_output(after, features)
            a, b = old.run([features], given)[0], new.run([features], given)[0]
            self.assertEqual(a.tobytes(), b.tobytes(), "features of the body")
            result = new.run([after.graph.output[0].name], given)[0]
            self.assertIn(7, result.shape)
            self.assertGreater(float(np.ptp(result)), 0)

            constants = lambda m: {i.name: onnx.numpy_helper.to_array(i).tobytes() for i in m.graph.initializer}
            kept = constants(after)
            mine = {*classifier.input[1:]}
            # A classifier's matrix may come through a Reshape of the stored tensor.
            for node in before.graph.node:
                if mine & set(node.output):
                    mine |= set(node.input)
            following = [n for n in before.graph.node if n.op_type == "Add" and classifier.output[0] in n.input]
            for node in following:
                mine |= set(node.input)
            for name, data in constants(before).items():
                if name not in mine:
                    self.assertEqual(kept.get(name), data, f"{name} of the body")

            graft("head", path, "--classes", "7", "--seed", "3", "-o", place / "again.onnx")
            self.assertEqual((place / "new.onnx").read_bytes(), (place / "again.onnx").read_bytes(), "same seed, same bytes")


class HeadDetails(unittest.TestCase):
    digits = FIXTURES / "digits" / "zero-to-four.onnx"

    def classifier(self, path):
        model = onnx.load(path)
        node = [n for n in model.graph.node if n.op_type == "Gemm"][-1]
        tensors = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
        matrix = tensors[node.input[1]]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return (matrix if transposed else matrix.T), tensors[node.input[2]]

    def test_names_of_classes_travel(self):
        with folder() as place:
            graft("head", self.digits, "--classes", "rose,tulip,lily", "-o", place / "a.onnx")
            self.assertEqual(annotations(place / "a.onnx")["labels"], ["rose", "tulip", "lily"])
            (place / "names.txt").write_text("oak\nash\n")
            graft("head", self.digits, "--classes", place / "names.txt", "-o", place / "b.onnx")
            self.assertEqual(annotations(place / "b.onnx")["labels"], ["oak", "ash"])

    def test_zeros(self):
        with folder() as place:
            graft("head", self.digits, "--classes", "4", "--init", "zeros", "-o", place / "a.onnx")
            matrix, bias = self.classifier(place / "a.onnx")
            self.assertEqual((matrix.shape, float(np.abs(matrix).max()), float(np.abs(bias).max())), ((4, 32), 0.0, 0.0))

    def test_kept_classes_keep_their_rows(self):
        with folder() as place:
            graft("head", self.digits, "--classes", "rose,tulip,lily", "--seed", "1", "-o", place / "a.onnx")
            graft("head", place / "a.onnx", "--classes", "lily,aster,rose", "--keep", "--seed", "2", "-o", place / "b.onnx")
            old, old_bias = self.classifier(place / "a.onnx")
            new, new_bias = self.classifier(place / "b.onnx")
            for now, then in ((0, 2), (2, 0)):
                self.assertEqual(new[now].tobytes(), old[then].tobytes())
                self.assertEqual(new_bias[now], old_bias[then])
            self.assertNotEqual(new[1].tobytes(), old[1].tobytes())

    def test_an_unclear_head_is_asked_about(self):
        path = FIXTURES / "onnx" / "two_candidates.onnx"
        with folder() as place:
            done = graft("head", path, "--classes", "9", "-o", place / "a.onnx", exit_status=65)
            self.assertIn("head_animals", done.stderr)
            self.assertIn("head_plants", done.stderr)
            self.assertFalse((place / "a.onnx").exists())
            graft("head", path, "--classes", "9", "--at", "head_plants", "-o", place / "b.onnx")
            given = random_inputs(path)
            before, after = with_output(onnx.load(path), "r"), with_output(onnx.load(place / "b.onnx"), "r")
            self.assertEqual(before.run(["animals"], given)[0].tobytes(), after.run(["animals"], given)[0].tobytes())

    def test_without_output_nothing_is_written(self):
        with folder() as place:
            copy = place / "m.onnx"
            copy.write_bytes(self.digits.read_bytes())
            graft("head", copy, "--classes", "9")
            self.assertEqual([p.name for p in place.iterdir()], ["m.onnx"])
            self.assertEqual(copy.read_bytes(), self.digits.read_bytes())

    def test_keras_head(self):
        path = FIXTURES / "digits" / "zero-to-four.h5"
        with folder() as place:
            graft("head", path, "--classes", "five,six,seven,eight,nine,none", "-o", place / "new.h5")
            before, after = load_keras(path), load_keras(place / "new.h5")
            self.assertEqual(after.output_shape, (None, 6))
            for layer in before.layers[:-1]:
                for old, new in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True):
                    self.assertEqual(old.tobytes(), new.tobytes(), layer.name)


class AnnotationsTravel(unittest.TestCase):
    def annotated(self, source, place):
        graft("head", source, "--classes", "five,six,seven,eight,nine", "--seed", "1", "-o", place / "1.onnx")
        graft("freeze", place / "1.onnx", "--all-but", "@head", "-o", place / "2.onnx")
        graft("groups", place / "2.onnx", "--decay", "0.8", "-o", place / "3.onnx")
        return place / "3.onnx"

    def test_through_keras_and_back(self):
        for source in ("zero-to-four.onnx", "zero-to-four.h5"):
            with self.subTest(source), folder() as place:
                path = self.annotated(FIXTURES / "digits" / source, place)
                before = annotations(path)
                self.assertEqual(before["labels"], ["five", "six", "seven", "eight", "nine"])
                self.assertGreater(before["frozen"], 20_000)
                self.assertGreater(len(before["groups"]), 3)
                graft("convert", path, place / "4.h5")
                graft("convert", place / "4.h5", place / "5.onnx")
                self.assertEqual(annotations(place / "5.onnx"), before)
                graft("convert", place / "5.onnx", place / "6.onnx")
                self.assertEqual((place / "5.onnx").read_bytes(), (place / "6.onnx").read_bytes())

    def test_keras_sees_what_is_frozen(self):
        with folder() as place:
            path = self.annotated(FIXTURES / "digits" / "zero-to-four.h5", place)
            graft("convert", path, place / "4.h5")
            model = load_keras(place / "4.h5")
            self.assertEqual(sorted(tuple(w.shape) for w in model.trainable_weights), [(5,), (32, 5)])
            graft("freeze", place / "4.h5", "--none", "-o", place / "5.h5")
            self.assertGreater(len(load_keras(place / "5.h5").trainable_weights), 15)

    def test_weights_are_untouched(self):
        source = FIXTURES / "digits" / "zero-to-four.onnx"
        with folder() as place:
            graft("freeze", source, "--only", "layer1.*", "-o", place / "a.onnx")
            graft("groups", place / "a.onnx", "--set", "layer1.*=0.1", "-o", place / "b.onnx")
            before, after = onnx.load(source), onnx.load(place / "b.onnx")
            self.assertEqual(list(before.graph.initializer), [self.bare(i) for i in after.graph.initializer])
            self.assertEqual(list(before.graph.node), list(after.graph.node))
            frozen = json.loads(metadata(place / "b.onnx")["graft.frozen"])
            self.assertTrue(frozen and all(name.startswith("layer1.") for name in frozen), frozen)
            groups = json.loads(metadata(place / "b.onnx")["graft.groups"])
            self.assertEqual({g["multiplier"] for g in groups}, {0.1})

    @staticmethod
    def bare(tensor):
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        del copy.metadata_props[:]
        return copy

    def test_a_selector_that_matches_nothing_shows_near_misses(self):
        with folder() as place:
            source = FIXTURES / "digits" / "zero-to-four.onnx"
            done = graft("freeze", source, "--only", "leyer1.*", "-o", place / "a.onnx", exit_status=65)
            self.assertIn("layer1", done.stderr)
            self.assertFalse((place / "a.onnx").exists())


NORMALIZED = [FIXTURES / "pytorch" / name for name in ("cnn_kept.onnx", "resnet_kept.onnx", "mobilenet_kept.onnx")]
NORMALIZED = [path for path in NORMALIZED if path.exists()]


@each("fixture", NORMALIZED)
@each("real", ["models/onnx/sinet_portrait.onnx", "models/onnx/ppocr_v2_cls.onnx"], name=lambda name: name.split("/")[-1])
class Fold(unittest.TestCase):
    def check_real(self, name):
        self.check(shared(name))

    def check_fixture(self, path):
        self.check(path)

    def check(self, path):
        with folder() as place:
            report = graft_json("fold", path, "--constants", "--identities", "-o", place / "a.onnx")
            self.assertLess(report["change"]["difference"], 1e-5)
            self.assertGreater(report["removed_nodes"], 0)
            before, after = onnx.load(path), onnx.load(place / "a.onnx")
            onnx.checker.check_model(after, full_check=True)
            count = lambda model: sum(node.op_type == "BatchNormalization" for node in model.graph.node)
            self.assertLess(count(after), count(before))
            given = random_inputs(path)
            compare(self, "fold: outputs in onnxruntime", path.stem, run_onnx(place / "a.onnx", given), run_onnx(path, given))


@each("fixture", sorted(MODELS), name=NAMED)
@each("real", sorted(REAL), name=lambda name: name.split("/")[-1])
class ExtractAndMerge(unittest.TestCase):
    def check_real(self, name):
        self.check(shared(name))

    def check_fixture(self, path):
        self.check(path)

    def check(self, path):
        """A model cut in two in its middle gives what it gave, each part for itself and joined again."""
        inferred = onnx.shape_inference.infer_shapes(onnx.load(path))
        typed = {v.name for v in inferred.graph.value_info}
        given = random_inputs(path)
        expected = run_onnx(path, given)
        ends = [o.name for o in inferred.graph.output]
        nodes = list(inferred.graph.node)
        # A value that everything behind it depends on alone.
        for index in range(len(nodes) // 2, len(nodes)):
            cut = nodes[index].output[0]
            later = {o for node in nodes[index + 1 :] for o in node.output} | {i.name for i in inferred.graph.initializer}
            constants = {o for node in nodes if node.op_type == "Constant" for o in node.output}
            read = {i for node in nodes[index + 1 :] for i in node.input if i}
            if cut in typed and read - later - constants <= {cut} and cut not in constants:
                break
        else:
            self.skipTest("the network has no such place")
        with folder() as place:
            graft("extract", path, "--outputs", cut, "-o", place / "a.onnx")
            graft("extract", path, "--inputs", cut, "-o", place / "b.onnx")
            for name in ("a", "b"):
                onnx.checker.check_model(onnx.load(place / f"{name}.onnx"), full_check=True)
            middle = run_onnx(place / "a.onnx", given)
            self.assertEqual(list(middle), [cut])
            compare(self, "extract: outputs in onnxruntime", path.stem, run_onnx(place / "b.onnx", middle), expected)
            graft("merge", place / "a.onnx", place / "b.onnx", "--map", f"{cut}:{cut}", "--prefix", "second/", "-o", place / "c.onnx")
            onnx.checker.check_model(onnx.load(place / "c.onnx"), full_check=True)
            joined = run_onnx(place / "c.onnx", given)
            self.assertEqual(len(joined), len(ends))
            compare(self, "merge: outputs in onnxruntime", path.stem, joined, expected)
            # The rest is untouched.
            weights = {i.name: i.SerializeToString() for i in onnx.load(path).graph.initializer}
            kept = [i for n in "ab" for i in onnx.load(place / f"{n}.onnx").graph.initializer]
            self.assertTrue(kept or not weights)
            for tensor in kept:
                self.assertEqual(tensor.SerializeToString(), weights[tensor.name], tensor.name)


class ExtractDetails(unittest.TestCase):
    def test_missing_inputs_are_named(self):
        path = FIXTURES / "pytorch" / "resnet_kept.onnx"
        model = onnx.load(path)
        add = next(node for node in model.graph.node if node.op_type == "Add")
        relu = next(node.input[0] for node in model.graph.node if node.op_type == "Relu")
        with folder() as place:
            done = graft(
                "extract", path, "--inputs", add.input[0], "--outputs", model.graph.output[0].name, "-o", place / "a.onnx",
                exit_status=65,
            )  # fmt: skip
            self.assertIn(model.graph.input[0].name, done.stderr)
            done = graft("extract", path, "--outputs", relu + "x", "-o", place / "a.onnx", exit_status=65)
            self.assertIn(relu, done.stderr)
            self.assertFalse((place / "a.onnx").exists())

    def test_a_dry_run_writes_nothing(self):
        path = FIXTURES / "pytorch" / "resnet_kept.onnx"
        done = graft("fold", path, "--dry-run")
        self.assertIn("BatchNormalization", done.stdout)
        self.assertIn("nothing was written", done.stderr)


@each("fixture", sorted(MODELS), name=NAMED)
class RenameNames(unittest.TestCase):
    def check_fixture(self, path):
        before = onnx.load(path)
        source, target = before.graph.input[0].name, before.graph.output[0].name
        with folder() as place:
            graft("rename", path, "--map", f"{source}=image", "--map", f"{target}=scores", "-o", place / "a.onnx")
            graft("rename", place / "a.onnx", "--regex", "--only", "nodes", "--map", "^(.+)$=all/$1", "-o", place / "b.onnx") if any(
                node.name for node in before.graph.node
            ) else (place / "b.onnx").write_bytes((place / "a.onnx").read_bytes())
            after = onnx.load(place / "b.onnx")
            onnx.checker.check_model(after, full_check=True)
            self.assertEqual((after.graph.input[0].name, after.graph.output[0].name), ("image", "scores"))
            self.assertTrue(all(node.name.startswith("all/") for node in after.graph.node if node.name))
            given = random_inputs(path)
            expected = run_onnx(path, given)
            actual = run_onnx(place / "b.onnx", {"image": given[source], **{k: v for k, v in given.items() if k != source}})
            self.assertEqual(actual["scores"].tobytes(), expected[target].tobytes())
            # Back again the file is the same but for its history.
            back = ["--map", f"image={source}", "--map", f"scores={target}"]
            graft("rename", place / "a.onnx", *back, "-o", place / "c.onnx")
            again = onnx.load(place / "c.onnx")
            self.assertEqual(list(again.graph.node), list(before.graph.node))
            self.assertEqual(list(again.graph.initializer), list(before.graph.initializer))


FIXED = {
    "models/onnx/mnist_8_cntk.onnx", "models/onnx/ultraface_slim_320.onnx", "models/onnx/yolox_nano.onnx",
    "models/onnx/deeplab_v3_mnv2_voc21.onnx", "models/onnx/sinet_portrait.onnx", "models/onnx/dtln_model_1.onnx",
}  # fmt: skip


def with_batch(path, size, target):
    """The model with its first free extent set to a number, and inferred anew by onnx."""
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = size
    onnx.save(model, target)


@each("real", sorted(FIXED), name=lambda name: name.split("/")[-1])
class DynamicBatch(unittest.TestCase):
    def check_real(self, name):
        path = shared(name)
        with folder() as place:
            graft("dynamic-batch", path, "--name", "samples", "--no-verify", "-o", place / "a.onnx")
            model = onnx.load(place / "a.onnx")
            onnx.checker.check_model(model, full_check=True)
            rows = [random_inputs(path, seed=seed) for seed in range(3)]
            self.compare_rows(path, place / "a.onnx", rows)

    def compare_rows(self, path, dynamic, rows):
        """Rows of a batch in onnxruntime are what the model of batch one gave."""
        first = {d.dim_param for i in onnx.load(dynamic).graph.input for d in i.type.tensor_type.shape.dim[:1]}
        self.assertIn("samples", first)
        batched = {
            i.name for i in onnx.load(dynamic).graph.input
            if i.type.tensor_type.shape.dim and i.type.tensor_type.shape.dim[0].dim_param == "samples"
        }  # fmt: skip
        given = {k: np.concatenate([row[k] for row in rows]) if k in batched else v for k, v in rows[0].items()}
        whole = run_onnx(dynamic, given)
        for index, row in enumerate(rows):
            for key, expected in run_onnx(path, row).items():
                actual = whole[key]
                axis = next((a for a in range(actual.ndim) if actual.shape[a] != expected.shape[a]), 0)
                part = np.split(actual, len(rows), axis)[index]
                compare(self, "dynamic-batch: rows in onnxruntime", f"{path.stem} {index}", {key: part}, {key: expected})

    def test_exports_of_pytorch_with_a_fixed_batch(self):
        """Exports whose batch was fixed by hand, as exporters without dynamic axes fix it."""
        for name in ("cnn_kept", "resnet_kept", "squeezenet", "mobilenet_folded"):
            with self.subTest(name), folder() as place:
                with_batch(FIXTURES / "pytorch" / f"{name}.onnx", 1, place / "one.onnx")
                graft("dynamic-batch", place / "one.onnx", "--name", "samples", "-o", place / "a.onnx")
                onnx.checker.check_model(onnx.load(place / "a.onnx"), full_check=True)
                rows = [random_inputs(place / "one.onnx", seed=seed) for seed in range(2)]
                self.compare_rows(place / "one.onnx", place / "a.onnx", rows)

    def test_a_node_that_mixes_samples_is_found(self):
        helper = onnx.helper
        node = helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1, name="mean over samples")
        add = helper.make_node("Sub", ["x", "m"], ["y"])
        value = lambda n: helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4])
        graph = helper.make_graph([node, add], "mixing", [value("x")], [value("y")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        with folder() as place:
            onnx.save(model, place / "m.onnx")
            done = graft("dynamic-batch", place / "m.onnx", "-o", place / "a.onnx", exit_status=1)
            self.assertIn("single runs", done.stderr)
            self.assertFalse((place / "a.onnx").exists())


if __name__ == "__main__":
    unittest.main()
