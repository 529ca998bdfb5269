"""Makes the models of the benchmark with random weights: torchvision, timm and transformers, exported to ONNX.

    python Benchmarks/models.py FOLDER [NAME ...]
"""

import pathlib
import sys
import warnings

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Tests/Peers"))
warnings.filterwarnings("ignore")


def torchvision_model(name):
    import torchvision
    return torchvision.models.get_model(name, weights=None), (3, 224, 224)


def timm_model(name):
    import timm
    return timm.create_model(name, pretrained=False), (3, 224, 224)


class Encoder(torch.nn.Module):
    """An encoder of BERT-base's shape on token embeddings' indices."""

    def __init__(self):
        super().__init__()
        from transformers import BertConfig, BertModel
        self.body = BertModel(BertConfig(attn_implementation="eager"), add_pooling_layer=False)

    def forward(self, tokens):
        return self.body(tokens).last_hidden_state


def bert(_):
    return Encoder(), (128,)


MODELS = {
    "mobilenet_v2": torchvision_model, "resnet18": torchvision_model, "resnet50": torchvision_model,
    "efficientnet_b0": torchvision_model, "convnext_tiny": torchvision_model, "vit_b_16": torchvision_model,
    "deit_tiny_patch16_224": timm_model, "bert_base": bert,
}


def make(name):
    """The module in evaluation mode with weights and statistics that are not trivial, and the shape of one input."""
    # timm and torchvision both need torchvision's operators.
    import zoo_torchvision
    zoo_torchvision.ready()
    torch.manual_seed(0)
    module, shape = MODELS[name](name)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval(), shape


def sample(shape, batch):
    generator = torch.Generator().manual_seed(1)
    if len(shape) == 1:
        return torch.randint(0, 30000, (batch, *shape), generator=generator)
    return torch.randn(batch, *shape, generator=generator)


def export(name, folder):
    path = pathlib.Path(folder) / f"{name}.onnx"
    if path.exists():
        return path
    module, shape = make(name)
    partial = path.with_suffix(".partial")
    # The exporter has no form for the fused attention that PyTorch would trace.
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        torch.onnx.export(
            module, (sample(shape, 2),), str(partial), input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "N"}, "output": {0: "N"}}, opset_version=17, dynamo=False)
    partial.rename(path)
    return path


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    # Names of models, and sizes of batches to make inputs for.
    batches = [int(argument) for argument in sys.argv[2:] if argument.isdigit()]
    for name in [argument for argument in sys.argv[2:] if not argument.isdigit()] or MODELS:
        print(export(name, folder))
        shape = (128,) if name == "bert_base" else (3, 224, 224)
        for batch in batches:
            numpy.savez(folder / f"{name}_{batch}.npz", input=sample(shape, batch).numpy())
