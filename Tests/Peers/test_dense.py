"""A class for each pixel and several classes a sample: heads, training, evaluation and masks beside the peers."""

import json
import unittest

import numpy as np
import onnx
from PIL import Image
from support import compare, folder, graft, graft_json, load_keras, run_onnx

NAMES = "dark,bright"
SIDE = 32


def dense_net(path, channels_last):
    """A small strided network with a classifier, made with Keras (.h5) or by hand (.onnx)."""
    if channels_last:
        import keras

        keras.utils.set_random_seed(1)
        inputs = keras.Input((SIDE, SIDE, 3), name="picture")
        x = inputs
        for index, count in enumerate((8, 12)):
            x = keras.layers.Conv2D(count, 3, strides=2, padding="same", activation="relu", name=f"conv{index}")(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        keras.Model(inputs, keras.layers.Dense(4, name="scores")(x)).save(path)
        return
    random = np.random.default_rng(1)
    nodes, weights, value, channels = [], [], "picture", 3
    for index, count in enumerate((8, 12)):
        kernel = random.normal(0, (2 / (9 * channels)) ** 0.5, (count, channels, 3, 3)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(kernel, f"conv{index}.weight"))
        nodes.append(onnx.helper.make_node(
            "Conv", [value, f"conv{index}.weight"], [f"c{index}"], f"conv{index}", strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(onnx.helper.make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"))
        value, channels = f"r{index}", count
    nodes.append(onnx.helper.make_node("GlobalAveragePool", [value], ["p"], "pool"))
    nodes.append(onnx.helper.make_node("Flatten", ["p"], ["features"], "flatten"))
    graph = onnx.helper.make_graph(
        nodes, "net", [onnx.helper.make_tensor_value_info("picture", 1, ["N", 3, "H", "W"])],
        [onnx.helper.make_tensor_value_info("features", 1, ["N", 12])], weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def masks(place, count):
    """Pictures with a bright rectangle, and masks that say where it is; the first row does not count."""
    random = np.random.default_rng(2)
    for name in ("images", "masks"):
        (place / name).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        x, y = random.integers(0, SIDE // 2, 2)
        mask[y : y + 16, x : x + 14] = 1
        picture = random.integers(0, 60, (SIDE, SIDE, 3)) + 150 * mask[..., None]
        Image.fromarray(picture.astype(np.uint8)).save(place / f"images/{index}.png")
        mask[0] = 255
        image = Image.fromarray(mask, "L")
        if index % 2:
            image = image.convert("P")
            image.putpalette([0, 0, 0, 255, 0, 0] + [9] * 762)
            assert (np.asarray(image) == mask).all()
        image.save(place / f"masks/{index}.png")


class DenseHeads(unittest.TestCase):
    def test_onnx_head_trains_and_draws_masks(self):
        with folder() as place:
            dense_net(place / "net.onnx", False)
            masks(place / "data", 24)
            places = graft_json("head", place / "net.onnx", "--dense", "--list")["feature_maps"]
            self.assertEqual([(p["name"], p["stride"], p["channels"]) for p in places], [("r0", 2, 8), ("r1", 4, 12)])
            report = graft_json(
                "head", place / "net.onnx", "--dense", "--classes", NAMES, "--at", "r0", "--hidden", "8",
                "-o", place / "head.onnx")
            self.assertTrue(report["body"]["identical"])
            onnx.checker.check_model(str(place / "head.onnx"), full_check=True)
            for size in ((SIDE, SIDE), (20, 44)):
                x = np.random.default_rng(0).normal(0, 1, (2, 3, *size)).astype(np.float32)
                np.savez(place / "in.npz", picture=x)
                graft("run", place / "head.onnx", "--inputs", place / "in.npz", "--outputs", place / "out.npz")
                mine = dict(np.load(place / "out.npz"))
                self.assertEqual(next(iter(mine.values())).shape, (2, 2, *size))
                expected = run_onnx(place / "head.onnx", {"picture": x})
                compare(self, "heads for each pixel against onnxruntime", str(size), mine, expected)

            x = np.stack([np.asarray(Image.open(place / f"data/images/{k}.png")) for k in range(24)])
            y = np.stack([np.asarray(Image.open(place / f"data/masks/{k}.png")) for k in range(24)])
            arrays = (x.transpose(0, 3, 1, 2) / 255).astype(np.float32)
            np.savez(place / "train.npz", picture=arrays, y=y.astype(np.int64))
            (place / "recipe.yaml").write_text(
                "loss: cross-entropy\nmonitor: iou\nbatch: 8\noptimizer: {name: adamw}\nstages:\n"
                "  - {name: head, thaw: ['@head'], epochs: 25, rate: 0.02}\n")
            graft(
                "tune", place / "head.onnx", "--data", place / "train.npz", "--recipe", place / "recipe.yaml",
                "--run-dir", place / "run", "-o", place / "tuned.onnx", timeout=300)
            figures = graft_json("eval", place / "tuned.onnx", "--data", place / "train.npz")
            self.assertEqual(figures["task"], "pixels")
            self.assertGreater(figures["mean_iou"], 0.8)
            # The same figures from onnxruntime's scores.
            scores = next(iter(run_onnx(place / "tuned.onnx", {"picture": arrays}).values()))
            counts = y != 255
            taken = scores.argmax(1)
            self.assertAlmostEqual(figures["accuracy"], float((taken[counts] == y[counts]).mean()), places=6)
            iou = [
                ((taken == k) & (y == k) & counts).sum() / (((taken == k) | (y == k)) & counts).sum() for k in (0, 1)
            ]
            self.assertAlmostEqual(figures["mean_iou"], float(np.mean(iou)), places=6)

    def test_keras_head_is_what_keras_computes(self):
        with folder() as place:
            dense_net(place / "net.h5", True)
            report = graft_json(
                "head", place / "net.h5", "--dense", "--classes", NAMES, "--hidden", "4", "-o", place / "head.h5")
            self.assertTrue(report["body"]["identical"])
            model = load_keras(place / "head.h5")
            self.assertEqual(tuple(model.output_shape), (None, SIDE, SIDE, 2))
            kinds = [type(layer).__name__ for layer in model.layers]
            self.assertIn("UpSampling2D", kinds)
            self.assertNotIn("Dense", kinds)
            x = np.random.default_rng(0).normal(0, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
            np.savez(place / "in.npz", picture=x)
            graft("run", place / "head.h5", "--inputs", place / "in.npz", "--outputs", place / "out.npz")
            mine = dict(np.load(place / "out.npz"))
            compare(self, "heads for each pixel against Keras", "head.h5", mine, {"scores": np.asarray(model(x))})
            masks(place / "data", 6)
            figures = graft_json("eval", place / "head.h5", "--data", place / "data")
            self.assertEqual((figures["task"], figures["samples"]), ("pixels", 6))
            self.assertEqual([c["class"] for c in figures["classes"]], NAMES.split(","))
            done = graft_json("predict", place / "head.h5", place / "data/images/0.png", "--output", place / "masks")
            mask = Image.open(place / "masks/0.mask.png")
            self.assertEqual((mask.mode, mask.size), ("P", (SIDE, SIDE)))
            shares = {entry["index"]: entry["share"] for entry in done[0]["classes"]}
            values, counts = np.unique(np.asarray(mask), return_counts=True)
            for value, count in zip(values, counts):
                self.assertAlmostEqual(shares[int(value)], count / SIDE**2, places=6)
            self.assertEqual(Image.open(place / "masks/0.overlay.png").size, (SIDE, SIDE))

    def test_labels_are_learned_each_for_itself(self):
        with folder() as place:
            dense_net(place / "net.onnx", False)
            report = graft_json(
                "head", place / "net.onnx", "--classes", "a,b", "--activation", "sigmoid", "-o", place / "head.onnx")
            self.assertEqual(report["head"]["features"], 12)
            random = np.random.default_rng(3)
            y = random.integers(0, 2, (48, 2))
            x = random.normal(0, 0.2, (48, 3, SIDE, SIDE)).astype(np.float32)
            x[:, 0] += y[:, 0, None, None]
            x[:, 1] += y[:, 1, None, None]
            np.savez(place / "train.npz", picture=x, labels=y)
            graft(
                "tune", place / "head.onnx", "--data", place / "train.npz", "--recipe", "full", "--seed", "1",
                "--run-dir", place / "run", "-o", place / "tuned.onnx", timeout=300)
            self.assertIn("binary-cross-entropy", (place / "run/recipe.yaml").read_text())
            figures = graft_json("eval", place / "tuned.onnx", "--data", place / "train.npz")
            self.assertGreater(figures["mean_ap"], 0.9)
            from sklearn.metrics import average_precision_score

            scores = next(iter(run_onnx(place / "tuned.onnx", {"picture": x}).values()))
            self.assertAlmostEqual(figures["mean_ap"], average_precision_score(y, scores, average="macro"), places=5)


class TracesAndExternalData(unittest.TestCase):
    def test_trace_has_an_event_for_each_node(self):
        with folder() as place:
            dense_net(place / "net.onnx", False)
            np.savez(place / "in.npz", picture=np.zeros((1, 3, SIDE, SIDE), np.float32))
            graft("run", place / "net.onnx", "--inputs", place / "in.npz", "--trace", place / "trace.json")
            events = json.loads((place / "trace.json").read_text())
            self.assertTrue(all(e["ph"] == "X" and e["dur"] >= 0 for e in events))
            self.assertEqual(sorted(e["ts"] for e in events), [e["ts"] for e in events])
            first = next(e for e in events if e["cat"] == "Conv")
            self.assertEqual(first["args"]["layer"], "conv0")
            self.assertEqual(first["args"]["inputs"][0], f"[1, 3, {SIDE}, {SIDE}]")

    def test_weights_go_beside_the_model(self):
        with folder() as place:
            dense_net(place / "net.onnx", False)
            graft("convert", place / "net.onnx", place / "split.onnx", "--external-data-threshold", "10")
            bare = onnx.load(place / "split.onnx", load_external_data=False)
            self.assertTrue(all(t.data_location == onnx.TensorProto.EXTERNAL for t in bare.graph.initializer))
            onnx.checker.check_model(str(place / "split.onnx"))
            graft("convert", place / "split.onnx", place / "whole.onnx", "--no-external-data")
            whole = onnx.load(place / "whole.onnx", load_external_data=False)
            self.assertTrue(all(t.data_location == onnx.TensorProto.DEFAULT for t in whole.graph.initializer))


if __name__ == "__main__":
    unittest.main()
