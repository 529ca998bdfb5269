"""Quantised models in Graft beside onnxruntime, which quantised them: time for a run of a batch.

    python Benchmarks/quantised.py GRAFT FOLDER [--seconds S] [--rounds R] [--threads T] [--batches B ...] [NAME ...]

A name is a model, or a model and a form as in resnet18.qdq; forms are static with QuantizeLinear and DequantizeLinear
around operators (qdq; channels: one scale for each channel of the weights), static with quantised operators (qoperator),
and dynamic. Activations are unsigned, weights signed bytes. A ratio above 1 means that Graft is faster.
"""

import argparse
import logging
import math
import os
import pathlib
import subprocess
import sys
import warnings

import numpy

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
warnings.filterwarnings("ignore")
MODELS = {
    "resnet18": ["qdq", "qdq_channels", "qoperator"],
    "mobilenet_v2": ["qdq", "qdq_channels", "qoperator"],
    "bert_small": ["qdq", "dynamic"],
}


def exported(name, folder):
    """The model in 32-bit floating point."""
    import models
    import torch

    if name == "bert_small":
        class Small(models.Encoder):
            """Four layers of BERT-base's width."""

            def __init__(self):
                torch.nn.Module.__init__(self)
                from transformers import BertConfig, BertModel
                config = BertConfig(attn_implementation="eager", num_hidden_layers=4)
                self.body = BertModel(config, add_pooling_layer=False)

        models.MODELS[name] = lambda _: (Small(), (128,))
    return models.export(name, folder)


def shape_of(name):
    return (128,) if name.startswith("bert") else (3, 224, 224)


def make(name, form, folder):
    """The quantised model; only missing ones are made."""
    target = pathlib.Path(folder) / f"{name}.{form}.onnx"
    if target.exists():
        return target
    import models
    from onnxruntime import quantization as q

    source = exported(name, folder)
    partial = target.with_suffix(".partial")
    if form == "dynamic":
        q.quantize_dynamic(source, partial, weight_type=q.QuantType.QInt8)
    else:
        class Reader(q.CalibrationDataReader):
            def __init__(self):
                self.left = iter(range(2))

            def get_next(self):
                index = next(self.left, None)
                return None if index is None else {"input": models.sample(shape_of(name), 2).numpy()}

        q.quantize_static(
            source, partial, Reader(), per_channel=form != "qdq",
            quant_format=q.QuantFormat.QOperator if form == "qoperator" else q.QuantFormat.QDQ,
            activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)
    partial.rename(target)
    return target


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("graft")
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--make", action="store_true", help="make the models and measure nothing")
    parser.add_argument("models", nargs="*")
    options = parser.parse_intermixed_args()
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = []
    for name in options.models or list(MODELS):
        model, _, form = name.partition(".")
        chosen += [(model, one) for one in ([form] if form else MODELS[model])]
    if options.make:
        logging.disable(logging.WARNING)
        for name, form in chosen:
            make(name, form, folder)
        return
    names = [f"{name}.{form}" for name, form in chosen]
    # In a process of its own, so that PyTorch's memory and threads are not beside what is measured.
    subprocess.run([sys.executable, str(HERE / "quantised.py"), options.graft, str(folder), "--make", *names], check=True,
                   stdout=subprocess.DEVNULL)

    from run import graft, least, peer
    print(f"{options.threads} threads; quantised models; times in ms for a run of the batch, medians\n")
    print(f"{'model':<28}{'batch':>5}{'Graft':>9}{'ORT':>9}{'ratio':>7}")
    ratios = []
    for (name, _), full in zip(chosen, names):
        for batch in options.batches:
            generator = numpy.random.default_rng(1)
            shape = (batch, *shape_of(name))
            given = generator.integers(0, 30000, shape) if len(shape) == 2 else generator.normal(0, 1, shape)
            numpy.savez(folder / f"{full}_{batch}.npz", input=given.astype(
                numpy.int64 if len(shape) == 2 else numpy.float32))
            mine, theirs = [], []
            for _ in range(options.rounds):
                mine.append(graft(options.graft, full, str(folder), batch, options.seconds, options.threads))
                theirs.append(peer("onnxruntime", full, str(folder), batch, options.seconds, options.threads))
            a, b = least(mine, "median"), least(theirs, "median")
            ratios.append(b / a)
            print(f"{full:<28}{batch:>5}{1e3 * a:>9.2f}{1e3 * b:>9.2f}{b / a:>7.2f}", flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"\ngeometric mean: {mean:.2f} times onnxruntime's throughput")


if __name__ == "__main__":
    main()
