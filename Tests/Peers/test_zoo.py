"""Small forms of many architectures, as PyTorch's two exporters and tf2onnx write them, against the source framework.

The exported files are kept in .build/zoo and made again where a maker or the pinned packages change. Two processes make
them while the tests run.
"""

import atexit
import hashlib
import shutil
import subprocess
import sys
import time
import unittest

import numpy as np
import zoo
from support import ROOT, compare, each, folder, graft, input_names

HERE = ROOT / "Tests" / "Peers"
MAKERS = [*sorted(HERE.glob("zoo*.py")), HERE / "requirements.txt"]
PLACE = ROOT / ".build" / "zoo" / hashlib.sha256(b"".join(path.read_bytes() for path in MAKERS)).hexdigest()[:16]
workers = []


def setUpModule():
    for other in PLACE.parent.glob("*"):
        if other != PLACE:
            shutil.rmtree(other)
    PLACE.mkdir(parents=True, exist_ok=True)
    for old in PLACE.glob("*.failed"):
        old.unlink()
    missing = [name for name in zoo.NAMES if not (PLACE / f"{name}.npz").exists()]
    keras = [name for name in missing if name in zoo.KERAS]
    others = [name for name in missing if name not in zoo.KERAS]
    # Interleaved, so that both have as much to do; TensorFlow is loaded by one of them only.
    for names in (others[::2], others[1::2] + keras):
        if names:
            command = [sys.executable, "-W", "ignore", HERE / "zoo.py", PLACE, *names]
            with open(PLACE / f"worker-{len(workers)}.log", "w") as log:
                workers.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
    atexit.register(lambda: [worker.kill() for worker in workers])


def arrays(name):
    """The inputs and answers of a model, once they are there."""
    while True:
        # Asked before the files: a worker may end between the two questions.
        running = any(worker.poll() is None for worker in workers)
        if (PLACE / f"{name}.npz").exists():
            kept = dict(np.load(PLACE / f"{name}.npz"))
            return [[kept[key] for key in kept if key.startswith(start)] for start in ("in.", "out.")]
        if (PLACE / f"{name}.failed").exists():
            raise AssertionError("the export failed: " + (PLACE / f"{name}.failed").read_text())
        if not running:
            raise AssertionError(f"the workers ended without {name}; see {PLACE}")
        time.sleep(0.1)


@each("model", zoo.NAMES)
class Zoo(unittest.TestCase):
    def check_model(self, name):
        given, expected = arrays(name)
        path = PLACE / f"{name}.onnx"
        inputs, outputs = input_names(path)
        self.assertEqual((len(inputs), len(outputs)), (len(given), len(expected)), "numbers of inputs and outputs")
        with folder() as place:
            np.savez(place / "in.npz", **dict(zip(inputs, given)))
            graft("run", path, "--inputs", place / "in.npz", "--outputs", place / "out.npz", timeout=300)
            actual = dict(np.load(place / "out.npz"))
        title = "graft run, zoo, " + ("dynamo" if name.endswith(".dynamo") else "Keras" if name in zoo.KERAS else "TorchScript")
        compare(self, title, name, actual, dict(zip(outputs, expected)))


if __name__ == "__main__":
    unittest.main()
