"""`tune` and `eval`: what was trained is what is deployed, and the steps are PyTorch's steps."""

import json
import os
import random
import signal
import subprocess
import time
import unittest

import numpy as np
import onnx
from PIL import Image
from support import FIXTURES, GRAFT, compare, figure, folder, graft, graft_json, load_keras, relative, run_keras, run_onnx

DIGITS = FIXTURES / "digits"
CLASSES = ["five", "six", "seven", "eight", "nine"]
PREPROCESSING = ("--scale", "1/255")


def pictures(path):
    """Every picture of an image folder as 1x8x8 in 0..1, and its class as a name."""
    files = sorted(path.glob("*/*.png"))
    arrays = np.stack([np.asarray(Image.open(f)) for f in files])[:, None]
    return arrays.astype(np.float32) / np.float32(255), [f.parent.name for f in files]


def accuracy(scores, names, labels):
    return float(np.mean([labels[k] == name for k, name in zip(scores.argmax(1), names)]))


def find(value, key):
    """The first member of that name, anywhere in a JSON value."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found = find(item, key)
            if found is not None:
                return found
    return None


class Tuned(unittest.TestCase):
    def tuned(self, source, place, suffix):
        graft("head", source, "--classes", ",".join(CLASSES), "--seed", "1", "-o", place / f"head{suffix}")
        arguments = ["--data", DIGITS / "new-train", "--recipe", "gradual", "--seed", "1", "--run-dir", place / "run"]
        graft("tune", place / f"head{suffix}", *arguments, "-o", place / f"tuned{suffix}", timeout=600)
        return place / f"tuned{suffix}"

    def check(self, source, suffix):
        with folder() as place:
            path = self.tuned(source, place, suffix)
            evaluated = find(graft_json("eval", path, "--data", DIGITS / "new-test"), "accuracy")
            before = find(graft_json("eval", place / f"head{suffix}", "--data", DIGITS / "new-test"), "accuracy")
            self.assertGreater(evaluated, 0.85)
            self.assertGreater(evaluated, before + 0.3)
            images, names = pictures(DIGITS / "new-test")
            deployed = place / "deployed.onnx"
            graft("convert", path, deployed)
            labels = json.loads({p.key: p.value for p in onnx.load(deployed).metadata_props}["graft.labels"])
            self.assertEqual(sorted(labels), sorted(CLASSES))
            nhwc = [d.dim_value for d in onnx.load(deployed).graph.input[0].type.tensor_type.shape.dim][-1] == 1
            given = images.transpose(0, 2, 3, 1) if nhwc else images
            in_onnxruntime = accuracy(list(run_onnx(deployed, {"image": given}).values())[0], names, labels)
            figure("tune: accuracy in onnxruntime minus graft eval", abs(in_onnxruntime - evaluated), source.name)
            self.assertEqual(in_onnxruntime, evaluated)
            graft("convert", path, place / "deployed.h5")
            in_keras = accuracy(list(run_keras(load_keras(place / "deployed.h5"), {"image": images}).values())[0], names, labels)
            figure("tune: accuracy in Keras minus graft eval", abs(in_keras - evaluated), source.name)
            self.assertEqual(in_keras, evaluated)
            for name in ("recipe.yaml", "metrics.jsonl", "metrics.csv", "report.html", "report.json", "checkpoints"):
                self.assertTrue((place / "run" / name).exists(), name)
            lines = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
            self.assertTrue(all({"stage", "epoch", "step"} <= set(line) for line in lines))

    def test_onnx(self):
        self.check(DIGITS / "zero-to-four.onnx", ".onnx")

    def test_keras(self):
        self.check(DIGITS / "zero-to-four.h5", ".h5")


class Steps(unittest.TestCase):
    """The 20 steps of fixtures/training through the command: losses step by step, and the weights at the end."""

    def recipe(self, case, batches):
        optimizer = case["optimizer"]
        settings = {k: v for k, v in optimizer.items() if k in ("name", "momentum", "nesterov", "beta1", "beta2", "epsilon", "weight_decay")}
        return {
            "data": {"train": str(batches), "validation": 0, "shuffle": False, "augment": []},
            "batch": 8,
            "loss": {"name": "cross-entropy", "label_smoothing": case["label_smoothing"]},
            "optimizer": {**settings, "exempt": case["exempt"]},
            "batch_norm": {"mode": case["batch_norm"], "affine": case["affine"]},
            "stages": [{"name": "all", "thaw": "*", "epochs": 1, "rate": optimizer["rate"]}],
        }

    def test_losses_and_weights_equal_pytorch(self):
        cases = json.loads((FIXTURES / "training" / "cases.json").read_text())["cases"]
        source = np.load(FIXTURES / "training" / "batches.npz")
        for name in (
            "sgd_bn_train", "sgd_bn_frozen", "sgd_bn_frozen_affine_frozen", "sgd_nesterov_bn_train", "sgd_exempt_bn_train",
            "sgd_smoothing_bn_train", "adamw_bn_train", "adamw_bn_frozen", "adamw_exempt_bn_train",
        ):  # fmt: skip
            with self.subTest(name), folder() as place:
                shape = (-1,) + source["pictures"].shape[2:]
                np.savez(place / "data.npz", pictures=source["pictures"].reshape(shape), labels=source["labels"].reshape(-1))
                # JSON is YAML.
                (place / "recipe.yaml").write_text(json.dumps(self.recipe(cases[name], place / "data.npz")))
                arguments = ["--data", place / "data.npz", "--recipe", place / "recipe.yaml", "--run-dir", place / "run"]
                graft("tune", FIXTURES / "training" / "net.onnx", *arguments, "-o", place / "out.onnx")
                lines = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
                losses = np.array([line["loss"] for line in lines if "loss" in line])
                golden = np.load(FIXTURES / "training" / f"{name}.npz")
                self.assertEqual(len(losses), 20)
                gap = float(np.max(np.abs(losses - golden["loss64"]) / golden["loss64"]))
                figure("tune: 20 losses against PyTorch", gap, name)
                self.assertLessEqual(gap, 1e-4)
                weights = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(place / "out.onnx").graph.initializer}
                for key in golden.files:
                    if key.startswith("final/"):
                        gap = relative(weights[key.removeprefix("final/")], golden[key])
                        figure("tune: weights after 20 steps against PyTorch", gap, f"{name}: {key}")
                        self.assertLessEqual(gap, 1e-4, key)


class Killed(unittest.TestCase):
    """A run that is killed at any moment and resumed ends with the same bytes."""

    RECIPE = {
        "data": {"validation": 0.2},
        "batch": 16,
        "checkpoints": {"seconds": 0},
        "stages": [
            {"name": "head", "thaw": "@head", "epochs": 4, "rate": 3e-3},
            {"name": "all", "thaw": "*", "epochs": 6, "rate": 1e-3, "decay": 0.7, "schedule": {"name": "cosine", "warmup": 0.1}},
        ],
    }
    KILLS = int(os.environ.get("GRAFT_KILLS", "20"))

    def test_resumed_runs_end_with_the_same_bytes(self):
        with folder() as place:
            graft("head", DIGITS / "zero-to-four.onnx", "--classes", ",".join(CLASSES), "--seed", "1", "-o", place / "head.onnx")
            (place / "recipe.yaml").write_text(json.dumps(self.RECIPE))

            def command(name, *more):
                return [
                    GRAFT, "tune", str(place / "head.onnx"), "--data", str(DIGITS / "new-train"), "--recipe", str(place / "recipe.yaml"),
                    "--seed", "5", "--run-dir", str(place / name), "-o", str(place / f"{name}.onnx"), *more,
                ]  # fmt: skip

            quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            began = time.monotonic()
            subprocess.run(command("whole"), check=True, timeout=300, **quiet)
            length = time.monotonic() - began
            expected = (place / "whole.onnx").read_bytes()
            draw = random.Random(1)
            killed = 0
            for number in range(self.KILLS):
                name = f"run{number}"
                process = subprocess.Popen(command(name), **quiet)
                try:
                    process.wait(draw.uniform(0.02, 0.98) * length)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    killed += 1
                    result = place / f"{name}.onnx"
                    if result.exists():  # The process was killed between its last rename and its end.
                        self.assertEqual(result.read_bytes(), expected, "half-written output")
                    subprocess.run(command(name, "--resume"), check=True, timeout=300, **quiet)
                self.assertEqual((place / f"{name}.onnx").read_bytes(), expected, f"kill {number}")
            self.assertGreater(killed, self.KILLS // 2)


if __name__ == "__main__":
    unittest.main()
