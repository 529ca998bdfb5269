"""A command that is killed while it writes leaves the old file, no file, or the whole new one."""

import os
import random
import signal
import subprocess
import time
import unittest

import numpy as np
import onnx

from support import GRAFT, folder

KILLS = int(os.environ.get("GRAFT_KILLS", "20"))


def large(path):
    """A chain of products, 48 MB of weights."""
    helper, draw = onnx.helper, np.random.default_rng(1)
    names = [f"w{index}" for index in range(12)]
    weights = [onnx.numpy_helper.from_array(draw.random((1000, 1000), dtype=np.float32), name) for name in names]
    nodes = [
        helper.make_node("MatMul", [f"h{index}" if index else "x", name], [f"h{index + 1}"])
        for index, name in enumerate(names)
    ]
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1000])  # noqa: E731
    graph = helper.make_graph(nodes, "large", [value("x")], [value(f"h{len(names)}")], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class Killed(unittest.TestCase):
    def check(self, options, target, old):
        """Kills a conversion at drawn moments; `old` is what the target holds before, if anything."""
        with folder() as place:
            source = place / "large.onnx"
            large(source)
            command = [GRAFT, "convert", str(source), str(place / "fresh" / target), *options]
            quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

            def begin():
                fresh = place / "fresh"
                subprocess.run(["rm", "-rf", fresh], check=True)
                fresh.mkdir()
                if old is not None:
                    (fresh / target).write_bytes(old)
                return time.monotonic(), subprocess.Popen(command, **quiet)

            lengths = []
            for _ in range(2):
                start, process = begin()
                self.assertEqual(process.wait(60), 0)
                lengths.append(time.monotonic() - start)
            whole = {p.name: p.read_bytes() for p in (place / "fresh").iterdir()}
            draw, during = random.Random(2), 0
            for number in range(KILLS):
                start, process = begin()
                time.sleep(draw.uniform(0.1, 1.0) * min(lengths))
                process.send_signal(signal.SIGKILL)
                process.wait()
                found = {p.name: p for p in (place / "fresh").iterdir()}
                during += any(name not in whole for name in found)
                content = found[target].read_bytes() if target in found else None
                self.assertIn(content, (old, whole[target]), f"kill {number}")
                if content == whole[target]:
                    # What the model refers to is there when the model is.
                    for name in whole:
                        self.assertEqual(found[name].read_bytes(), whole[name], f"kill {number}")
            self.assertGreater(during, 0, "no kill fell into the writing")

    def test_a_new_name(self):
        self.check(["--no-verify"], "new.onnx", None)

    def test_a_replaced_file(self):
        self.check(["--no-verify"], "old.onnx", b"what was there before")

    def test_a_checked_file(self):
        self.check([], "new.onnx", None)

    def test_weights_beside_the_model(self):
        self.check(["--no-verify", "--external-data"], "new.onnx", b"what was there before")


if __name__ == "__main__":
    unittest.main()
