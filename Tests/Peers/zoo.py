"""Makes the zoo: small forms of many architectures, exported to ONNX, with inputs and the source framework's answers.

    python zoo.py FOLDER [NAME ...]

Each model becomes NAME.onnx and NAME.npz (arrays in.0, in.1, ... and out.0, out.1, ...), or NAME.failed with the reason.
Weights are random, and the statistics of batch norms are those of a batch, so that a fold or a fusion that is wrong shows.
A name that ends in ".dynamo" is exported by PyTorch's newer exporter, one that starts with "keras_" by tf2onnx, the others
by PyTorch's older exporter.
"""

import functools
import os
import pathlib
import sys
import time
import traceback
import warnings

import numpy as np

VISION = """
resnet_basic resnet_bottleneck resnext wide_resnet densenet vgg_bn squeezenet mobilenet_v2 mobilenet_v3_small
mobilenet_v3_large efficientnet_b0 mnasnet shufflenet_v2 regnet_x regnet_y convnext vit swin swin_v2 maxvit googlenet
inception_v3 deeplab_v3 fcn lraspp ssdlite r2plus1d vit_distilled cait coat_lite ghostnet ghostnet_v2 hrnet dla res2net
se_resnet senet sk_resnet resnest eca_resnet resnet_d nfnet mixer gmlp poolformer mobilevit mobilevit_v2 levit
efficientformer efficientformer_v2 fastvit repvgg mobileone efficientnet_v2 efficientnet_lite mobilenet_v4 tinynet lcnet
mixnet xcit pit pvt_v2 twins edgenext tiny_vit crossvit visformer convmixer eva02 beit davit coatnet focalnet mambaout
inception_next hgnet_v2 rexnet repvit vovnet csp_darknet dpn sequencer botnet lambda_resnet hiera
efficientvit efficientvit_m swiftformer gcvit nest starnet
""".split()

TEXT = """
bert roberta distilbert albert electra deberta deberta_v2 mobilebert squeezebert mpnet convbert gpt2 gpt_neox opt bloom llama
qwen2 gemma phi t5_encoder bart_encoder modernbert whisper_encoder clip wav2vec2 hubert segformer dinov2 vit_hf detr_yolos
lstm_tagger gru_tagger rnn_tagger speech_gru transformer
""".split()

DYNAMO = """
resnet_basic mobilenet_v3_small densenet convnext vit swin deeplab_v3 hrnet nfnet coatnet bert distilbert gpt2 llama gemma
t5_encoder modernbert opt deberta_v2 fnet whisper_encoder wav2vec2 clip lstm_tagger gru_tagger segformer
""".split()

KERAS = """
keras_mobilenet keras_mobilenet_v2 keras_mobilenet_v3 keras_efficientnet_b0 keras_lstm keras_gru keras_gru_reset_before
keras_attention keras_segmenter keras_conv3d keras_conv1d
""".split()

NAMES = VISION + TEXT + [f"{name}.dynamo" for name in DYNAMO] + KERAS


@functools.cache
def torch_models():
    import zoo_torchvision

    zoo_torchvision.ready()
    import zoo_text
    import zoo_vision

    made = {}
    for part in (zoo_vision.torchvision_models, zoo_vision.timm_models, zoo_text.transformers_models, zoo_text.recurrent_models):
        made |= part()
    return made


def randomize(torch, net):
    """Gives what starts constant or nearly zero (scales, shifts, heads) values that differ and matter."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.numel() < 2 or not parameter.is_floating_point():
                continue
            if parameter.min() == parameter.max():
                value = parameter.flatten()[0].item()
                if value == 0:
                    parameter.normal_(0, 0.1)
                else:
                    parameter.uniform_(0.6, 1.4).mul_(max(abs(value), 0.1))
            elif (spread := parameter.std().item()) < 1e-3:
                parameter.mul_(0.02 / spread)


def settle(torch, net, given):
    """Lets batch norms take statistics of a batch; no channel is much weaker than the others of its layer."""
    norms = [m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
        norm.reset_running_stats()
        norm.train()
    if not torch.is_tensor(given[0]):
        # A detector takes a list of pictures.
        many = [[torch.rand_like(picture) for _ in range(4) for picture in given[0]]]
    else:
        many = [torch.randn(16, *given[0].shape[1:])] if len(given) == 1 else given
    with torch.no_grad():
        net(*many)
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1
        # Means that are taken away whole leave only what differs between random pictures, and deep networks lose all
        # figures to that: frameworks then differ from each other by more than the bar.
        norm.running_var.add_(norm.running_mean**2)
        norm.running_mean.mul_(0.5)
        norm.running_var.clamp_(min=0.2 * norm.running_var.mean().item())


def flat(torch, value):
    if torch.is_tensor(value):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in flat(torch, v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in flat(torch, v)]
    return []


def export_torch(name, path):
    import torch

    torch.set_num_threads(1)
    model = name.removesuffix(".dynamo")
    torch.manual_seed(sum(map(ord, model)))
    net, given = torch_models()[model]()
    net.eval()
    randomize(torch, net)
    settle(torch, net, given)
    net.eval()
    with torch.no_grad():
        expected = flat(torch, net(*given))
    # With gradients on: without them PyTorch takes fused operators that the exporter does not know.
    if name.endswith(".dynamo"):
        torch.onnx.export(net, tuple(given), str(path), dynamo=True, external_data=False, verbose=False)
    else:
        torch.onnx.export(net, tuple(given), str(path), dynamo=False, opset_version=17)
    return [t.numpy() for t in flat(torch, given)], [t.detach().numpy() for t in expected]


def make(name, folder):
    """Writes the files of one model; the arrays come last, whole or not at all."""
    path, arrays = folder / f"{name}.onnx", folder / f"{name}.npz"
    if name.startswith("keras_"):
        import zoo_keras

        given, expected = zoo_keras.export_keras(name, folder)
    else:
        given, expected = export_torch(name, path)
    kept = {f"in.{i}": a for i, a in enumerate(given)} | {f"out.{i}": a for i, a in enumerate(expected)}
    np.savez(folder / f"{name}.part.npz", **kept)
    os.replace(folder / f"{name}.part.npz", arrays)


def main():
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NAMES:
        began = time.monotonic()
        try:
            make(name, folder)
            print(f"{name}: {time.monotonic() - began:.1f} s, {(folder / f'{name}.onnx').stat().st_size >> 10} kB", flush=True)
        except Exception:
            text = traceback.format_exc(limit=-3)[-2000:]
            (folder / f"{name}.failed").write_text(text)
            print(f"{name}: failed\n{text}", flush=True)


if __name__ == "__main__":
    main()
