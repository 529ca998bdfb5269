"""Runs one model in one peer and prints its times.

    python peer.py onnxruntime|pytorch NAME FOLDER BATCH SECONDS THREADS
"""

import json
import pathlib
import resource
import sys
import time

begin = time.perf_counter()
peer, name, folder, batch, seconds, threads = sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7])
sys.path.insert(0, str(pathlib.Path(__file__).parent))

if peer == "onnxruntime":
    import numpy
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])
    given = numpy.load(f"{folder}/{name}_{batch}.npz")
    feeds = {"input": given["input"]}
    run = lambda: session.run(None, feeds)
else:
    import torch
    import models
    torch.set_num_threads(threads)
    module, shape = models.make(name)
    data = models.sample(shape, batch)
    if len(shape) == 3:
        module, data = module.to(memory_format=torch.channels_last), data.contiguous(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return module(data)

run()
first = time.perf_counter() - begin
times = []
end, used = time.perf_counter() + seconds, time.process_time()
while seconds and (time.perf_counter() < end or len(times) < 3):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
print(json.dumps({
    "first": first, "median": sorted(times)[len(times) // 2] if times else None, "best": min(times, default=None),
    "processor": (time.process_time() - used) / max(len(times), 1),
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
