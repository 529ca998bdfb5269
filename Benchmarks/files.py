"""Whole commands on files: Graft beside onnx and onnx_ir in Python, wall time and peak memory.

    python Benchmarks/files.py GRAFT MODEL.onnx [MODEL.onnx ...]

The best of three rounds, which take turns. `inspect` is compared with opening the model in Python and counting its
nodes and parameters; `rewrite` reads a model and writes it again. The time of a plain copy that is synced to the disk
is shown because no rewrite that keeps the user's data safe can take less.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

GRAFT = sys.argv[1]
ROUNDS = 3
PYTHON = {
    "onnx inspect": "import onnx, sys; m = onnx.load(sys.argv[1]); print(len(m.graph.node), len(m.graph.initializer))",
    "onnx rewrite": "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])",
    "onnx_ir inspect": "import onnx_ir, sys; m = onnx_ir.load(sys.argv[1]); "
                       "print(len(m.graph), len(m.graph.initializers))",
    "onnx_ir rewrite": "import onnx_ir, sys; onnx_ir.save(onnx_ir.load(sys.argv[1]), sys.argv[2])",
}
COPY = ("import os, shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2]); "
        "f = os.open(sys.argv[2], os.O_RDONLY); os.fsync(f)")


def measured(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        for model in sys.argv[2:]:
            size = pathlib.Path(model).stat().st_size / 1e6
            target = str(pathlib.Path(folder) / "out.onnx")
            commands = {
                "graft inspect": [GRAFT, "inspect", model],
                "graft rewrite": [GRAFT, "convert", model, target, "--no-verify"],
                "copy and sync": [sys.executable, "-c", COPY, model, target],
                **{name: [sys.executable, "-c", code, model, target] for name, code in PYTHON.items()},
            }
            best = {}
            for _ in range(ROUNDS):
                for name, command in commands.items():
                    result = measured(command)
                    best[name] = min(best.get(name, result), result)
            print(f"\n{pathlib.Path(model).name}, {size:.0f} MB")
            print(f"{'command':<18}{'seconds':>9}{'MB':>7}{'ratio':>8}")
            for name, (seconds, memory) in best.items():
                own = best[f"graft {name.split()[-1]}"][0] if name.split()[-1] in ("inspect", "rewrite") else None
                ratio = f"{seconds / own:.1f}" if own and not name.startswith("graft") else ""
                print(f"{name:<18}{seconds:>9.3f}{memory:>7.0f}{ratio:>8}")


if __name__ == "__main__":
    main()
