"""Graft beside onnxruntime and PyTorch on the same machine, in one run: throughput, memory, time to the first result.

    python Benchmarks/run.py GRAFT FOLDER [--seconds S] [--rounds R] [--threads T] [--json FILE] [MODEL ...]

Each measurement is a process of its own; the rounds interleave them, and the best round of each counts, so that what
else the machine does hurts all alike. A ratio above 1 means that Graft is faster, or needs less.
"""

import argparse
import json
import math
import os
import pathlib
import resource
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))


def measured(command, environment=None):
    """What a command prints, the wall time until it ends, and the most memory that it had."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, **(environment or {})})
    text = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        raise RuntimeError(f"{command}: {errors.decode(errors='replace')[-400:]}")
    return json.loads(text), wall, usage.ru_maxrss * 1024


def graft(binary, name, folder, batch, seconds, threads, precision="float32"):
    command = [binary, "run", f"{folder}/{name}.onnx", "--inputs", f"{folder}/{name}_{batch}.npz", "--json",
               "--precision", precision]
    if seconds:
        command += ["--seconds", str(seconds)]
    environment = {"OMP_NUM_THREADS": str(threads)}
    if seconds:
        # A process that measures nothing but itself may spin, as onnxruntime's threads do.
        environment["OMP_WAIT_POLICY"] = os.environ.get("GRAFT_WAIT_POLICY", "active")
    result, wall, memory = measured(command, environment)
    return {"median": result["median_seconds"], "best": result["best_seconds"], "first": wall, "memory": memory,
            "processor": result["processor_seconds"]}


def peer(which, name, folder, batch, seconds, threads):
    result, wall, memory = measured(
        [sys.executable, "-W", "ignore", str(HERE / "peer.py"), which, name, folder, str(batch), str(seconds),
         str(threads)])
    return {**result, "first": wall, "memory": memory}


def least(results, key):
    return min(result[key] for result in results)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("graft")
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--json")
    parser.add_argument("--no-pytorch", action="store_true")
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Not in this process: the memory of a child counts from what its parent has.
    made = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "models.py"), str(folder), *options.models,
         *map(str, options.batches)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    names = [pathlib.Path(line).stem for line in made.stdout.split()]

    print(f"{options.threads} threads; times in ms for a run of the batch, medians; ratios: the peer's over Graft's;\n"
          "bf16: float32 over bfloat16\n")
    print(f"{'model':<16}{'batch':>5}{'Graft':>8}{'ORT':>8}{'ratio':>6}{'PyTorch':>8}{'ratio':>6}{'bf16':>6}"
          f"{'MB':>5}{'ORT':>5}{'start':>6}{'ORT':>5}")
    rows = []
    for name in names:
        for batch in options.batches:
            columns = {"graft": [], "onnxruntime": [], "pytorch": []}
            for _ in range(options.rounds):
                columns["graft"].append(graft(options.graft, name, folder, batch, options.seconds, options.threads))
                columns["onnxruntime"].append(
                    peer("onnxruntime", name, str(folder), batch, options.seconds, options.threads))
                if not options.no_pytorch:
                    columns["pytorch"].append(
                        peer("pytorch", name, str(folder), batch, options.seconds, options.threads))
            narrow = min(
                graft(options.graft, name, folder, batch, options.seconds, options.threads, "bf16")["median"]
                for _ in range(options.rounds))
            first = [graft(options.graft, name, folder, batch, 0, options.threads)["first"] for _ in range(2)]
            first_peer = [peer("onnxruntime", name, str(folder), batch, 0, options.threads)["first"] for _ in range(2)]
            row = {"model": name, "batch": batch, "first": min(first), "onnxruntime first": min(first_peer),
                   "bf16": narrow}
            for key, results in columns.items():
                if results:
                    row[key] = least(results, "median")
                    row[f"{key} memory"] = least(results, "memory")
                    row[f"{key} processor"] = least(results, "processor")
            rows.append(row)
            torch_time = row.get("pytorch", math.nan)
            print(f"{name[:15]:<16}{batch:>5}{1e3 * row['graft']:>8.1f}{1e3 * row['onnxruntime']:>8.1f}"
                  f"{row['onnxruntime'] / row['graft']:>6.2f}{1e3 * torch_time:>8.1f}{torch_time / row['graft']:>6.2f}"
                  f"{row['graft'] / narrow:>6.2f}{row['graft memory'] / 1e6:>5.0f}"
                  f"{row['onnxruntime memory'] / 1e6:>5.0f}{row['first']:>6.2f}{row['onnxruntime first']:>5.2f}",
                  flush=True)

    def mean(values):
        values = list(values)
        return math.exp(sum(map(math.log, values)) / len(values))

    ratio = mean(row["onnxruntime"] / row["graft"] for row in rows)
    processor = mean(row["onnxruntime processor"] / row["graft processor"] for row in rows)
    print(f"\ngeometric means: {ratio:.2f} times onnxruntime's throughput, {processor:.2f} times by processor time"
          + ("" if options.no_pytorch else f", {mean(r['pytorch'] / r['graft'] for r in rows):.2f} times PyTorch's"))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
