"""Whole commands on files: Graft beside onnx and onnx_ir in Python, wall time and peak memory.

    python Benchmarks/files.py GRAFT MODEL.onnx [MODEL.onnx ...]

The best of some rounds, which take turns. `inspect` is compared with opening the model in Python and counting its nodes
and parameters; `new` reads a model and writes it under a name that is not taken, `replace` over a file that is there.
None of the Python packages waits for the disk. Graft does so where it replaces a file, and not under a new name; `copy`
and `copy, sync` are a plain copy of the file without and with waiting, below which nothing that does the same can come.
`rename` and `freeze` are passes that change names and annotations, in onnx by a loop over the same names.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

GRAFT = sys.argv[1]
ROUNDS = 5
LOAD = {"onnx": "import onnx, sys; m = onnx.load(sys.argv[1]); ", "onnx_ir": "import onnx_ir, sys; m = onnx_ir.load(sys.argv[1]); "}
SAVE = {"onnx": "onnx.save(m, sys.argv[2])", "onnx_ir": "onnx_ir.save(m, sys.argv[2])"}
COUNT = {"onnx": "print(len(m.graph.node), len(m.graph.initializer))",
         "onnx_ir": "print(len(m.graph), len(m.graph.initializers))"}
RENAME = """
for node in m.graph.node:
    node.input[:] = ["image" if name == "input" else name for name in node.input]
for value in m.graph.input:
    value.name = "image" if value.name == "input" else value.name
"""
FREEZE = """
m.metadata_props.add(key="frozen", value=" ".join(t.name for t in m.graph.initializer))
"""
COPY = "import os, shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
SYNC = "; f = os.open(sys.argv[2], os.O_RDONLY); os.fsync(f)"


def commands(model, target):
    """What is measured: the task and who does it, the command, and whether its target has to be there or not."""
    def python(code):
        return [sys.executable, "-c", code, model, target]

    yield "inspect", "graft", [GRAFT, "inspect", model], None
    for package in LOAD:
        yield "inspect", package, python(LOAD[package] + COUNT[package]), None
    for task in ("new", "replace"):
        yield task, "graft", [GRAFT, "convert", model, target, "--no-verify"], task
        for package in LOAD:
            yield task, package, python(LOAD[package] + SAVE[package]), task
        yield task, "copy" if task == "new" else "copy, sync", python(COPY if task == "new" else COPY + SYNC), task
    passes = {"rename": (["--map", "input=image"], RENAME), "freeze": (["--all-but", "@head"], FREEZE)}
    for task, (arguments, code) in passes.items():
        yield task, "graft", [GRAFT, task, model, *arguments, "--no-verify", "-o", target], "new"
        yield task, "onnx", python(LOAD["onnx"] + code + SAVE["onnx"]), "new"


def measured(command, model, target, place):
    if place == "new":
        target.unlink(missing_ok=True)
    elif place == "replace" and not target.exists():
        target.write_bytes(pathlib.Path(model).read_bytes())
    # What other commands left to be written is not to be waited for here.
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} failed: {errors.decode(errors='replace')[-400:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        for model in sys.argv[2:]:
            size = pathlib.Path(model).stat().st_size
            target = pathlib.Path(folder) / "out.onnx"
            best = {}
            for _ in range(ROUNDS):
                for task, who, command, place in commands(model, str(target)):
                    seconds, memory = measured(command, model, target, place)
                    before = best.get((task, who), (seconds, memory))
                    best[task, who] = min(before[0], seconds), min(before[1], memory)
            print(f"\n{pathlib.Path(model).name}, {size / 1e6:.0f} MB ({size / 2**20:.0f} MiB)")
            print(f"{'task':<10}{'by':<12}{'seconds':>9}{'MiB':>7}{'ratio':>8}")
            for (task, who), (seconds, memory) in best.items():
                ratio = "" if who == "graft" else f"{seconds / best[task, 'graft'][0]:.1f}"
                print(f"{task:<10}{who:<12}{seconds:>9.3f}{memory:>7.0f}{ratio:>8}")


if __name__ == "__main__":
    main()
