"""The pictures' part of the zoo: small forms of the architectures of torchvision and timm."""


def image(torch, size=64, channels=3, batch=1):
    return torch.randn(batch, channels, size, size)


def torchvision_models():
    """Name, maker of (module, inputs). Each keeps the blocks of its architecture, with few of them."""
    import torch
    from torchvision import models as tv
    from torchvision.models import convnext, densenet, maxvit, resnet, swin_transformer, vgg, video
    from torchvision.models.segmentation import fcn
    from torchvision.ops import misc

    def pictures(make, size=64):
        return lambda: (make(), [image(torch, size)])

    def blocks(block, **settings):
        return lambda: resnet.ResNet(block, [1, 1, 1, 1], num_classes=10, **settings)

    def plain_vgg():
        net = vgg.VGG(vgg.make_layers([16, "M", 32, "M", 64, 64, "M"], batch_norm=True), num_classes=10)
        net.avgpool, net.classifier = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Linear(64, 10)
        return net

    def small_convnext():
        stages = [convnext.CNBlockConfig(16, 32, 1), convnext.CNBlockConfig(32, 64, 2), convnext.CNBlockConfig(64, None, 1)]
        return convnext.ConvNeXt(stages, num_classes=10)

    def swin(block, **settings):
        return lambda: swin_transformer.SwinTransformer(
            patch_size=[4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=10,
            block=block, **settings)  # fmt: skip

    def small_fcn():
        backbone = resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True])
        return fcn._fcn_resnet(backbone, 5, aux=True)

    def detector(make, size):
        return lambda: (make(), [[torch.rand(3, size, size)]])

    def clip(make, size=32):
        return lambda: (make(), [torch.randn(1, 3, 4, size, size)])

    small = dict(num_classes=10)
    none = dict(weights=None, weights_backbone=None)
    return {
        "resnet_basic": pictures(blocks(resnet.BasicBlock)),
        "resnet_bottleneck": pictures(blocks(resnet.Bottleneck)),
        "resnext": pictures(blocks(resnet.Bottleneck, groups=32, width_per_group=4)),
        "wide_resnet": pictures(blocks(resnet.Bottleneck, width_per_group=128)),
        "densenet": pictures(lambda: densenet.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)),
        "vgg_bn": pictures(plain_vgg, 32),
        "squeezenet": pictures(lambda: tv.squeezenet1_1(**small)),
        "mobilenet_v2": pictures(lambda: tv.mobilenet_v2(width_mult=0.35, **small)),
        "mobilenet_v3_small": pictures(lambda: tv.mobilenet_v3_small(**small)),
        "mobilenet_v3_large": pictures(lambda: tv.mobilenet_v3_large(**small)),
        "efficientnet_b0": pictures(lambda: tv.efficientnet_b0(**small)),
        "mnasnet": pictures(lambda: tv.mnasnet0_5(**small)),
        "shufflenet_v2": pictures(lambda: tv.shufflenet_v2_x0_5(**small)),
        "regnet_x": pictures(lambda: tv.regnet_x_400mf(**small)),
        "regnet_y": pictures(lambda: tv.regnet_y_400mf(**small)),
        "convnext": pictures(small_convnext),
        "vit": pictures(lambda: tv.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10), 32),
        "swin": pictures(swin(swin_transformer.SwinTransformerBlock), 32),
        "swin_v2": pictures(
            swin(swin_transformer.SwinTransformerBlockV2, downsample_layer=swin_transformer.PatchMergingV2), 32),
        "maxvit": pictures(lambda: maxvit.MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 8, 0.0, num_classes=10)),
        "googlenet": pictures(lambda: tv.googlenet(aux_logits=False, init_weights=False, **small)),
        "inception_v3": pictures(lambda: tv.inception_v3(aux_logits=False, init_weights=False, **small), 128),
        "deeplab_v3": pictures(lambda: tv.segmentation.deeplabv3_mobilenet_v3_large(num_classes=5, **none)),
        "fcn": pictures(small_fcn),
        "lraspp": pictures(lambda: tv.segmentation.lraspp_mobilenet_v3_large(num_classes=5, **none)),
        "ssdlite": detector(
            lambda: tv.detection.ssdlite320_mobilenet_v3_large(num_classes=4, detections_per_img=20, topk_candidates=40, **none),
            320),
        "r2plus1d": clip(
            lambda: video.resnet.VideoResNet(
                video.resnet.BasicBlock, [video.resnet.Conv2Plus1D] * 4, [1, 1, 1, 1], video.resnet.R2Plus1dStem, 5)),
    }  # fmt: skip


# Architectures of timm: the name there, the size of the picture, and the settings that make it small.
TIMM = {
    "vit_distilled": ("deit_tiny_distilled_patch16_224", 64, dict(depth=2, img_size=64)),
    "cait": ("cait_xxs24_224", 64, dict(depth=2, img_size=64, embed_dim=64, num_heads=4)),
    "coat_lite": ("coat_lite_tiny", 64, dict(img_size=64)),
    "ghostnet": ("ghostnet_050", 64, {}),
    "ghostnet_v2": ("ghostnetv2_100", 64, {}),
    "hrnet": ("hrnet_w18_small", 64, {}),
    "dla": ("dla46_c", 64, {}),
    "res2net": ("res2net50_26w_4s", 64, dict(layers=(1, 1, 1, 1))),
    "se_resnet": ("seresnet18", 64, dict(layers=(1, 1, 1, 1))),
    "senet": ("legacy_seresnet18", 64, {}),
    "sk_resnet": ("skresnet18", 64, dict(layers=(1, 1, 1, 1))),
    "resnest": ("resnest14d", 64, {}),
    "eca_resnet": ("ecaresnet26t", 64, dict(layers=(1, 1, 1, 1))),
    "resnet_d": ("resnet10t", 64, {}),
    "nfnet": ("test_nfnet", 64, {}),
    "poolformer": ("poolformer_s12", 64, {}),
    "mobilevit": ("mobilevit_xxs", 64, {}),
    "mobilevit_v2": ("mobilevitv2_050", 64, {}),
    "levit": ("levit_128s", 64, dict(img_size=64)),
    "efficientformer": ("efficientformer_l1", 224, {}),
    "efficientformer_v2": ("efficientformerv2_s0", 64, dict(img_size=64)),
    "fastvit": ("fastvit_t8", 64, {}),
    "repvgg": ("repvgg_a0", 64, {}),
    "mobileone": ("mobileone_s0", 64, {}),
    "efficientnet_v2": ("tf_efficientnetv2_b0", 64, {}),
    "efficientnet_lite": ("efficientnet_lite0", 64, {}),
    "mobilenet_v4": ("mobilenetv4_conv_small_035", 64, {}),
    "tinynet": ("tinynet_e", 64, {}),
    "lcnet": ("lcnet_050", 64, {}),
    "mixnet": ("mixnet_s", 64, {}),
    "xcit": ("xcit_nano_12_p8_224", 64, dict(img_size=64, depth=2)),
    "pit": ("pit_ti_224", 64, dict(img_size=64)),
    "pvt_v2": ("pvt_v2_b0", 64, {}),
    "twins": ("twins_svt_small", 64, dict(img_size=64, depths=(1, 1, 2, 1), embed_dims=(32, 64, 64, 128))),
    "edgenext": ("edgenext_xx_small", 64, {}),
    "tiny_vit": ("tiny_vit_5m_224", 64, dict(depths=(1, 1, 2, 1))),
    "crossvit": ("crossvit_tiny_240", 240, {}),
    "visformer": ("visformer_tiny", 64, dict(img_size=64)),
    "eva02": ("eva02_tiny_patch14_224", 56, dict(img_size=56, depth=2)),
    "beit": ("beit_base_patch16_224", 64, dict(img_size=64, depth=2, embed_dim=64, num_heads=4)),
    "davit": ("davit_tiny", 64, dict(depths=(1, 1, 1, 1), embed_dims=(16, 32, 64, 96), num_heads=(1, 2, 4, 6))),
    "coatnet": ("coatnet_nano_rw_224", 64, dict(img_size=64)),
    "mambaout": ("mambaout_femto", 64, {}),
    "inception_next": ("inception_next_atto", 64, {}),
    "hgnet_v2": ("hgnetv2_b0", 64, {}),
    "rexnet": ("rexnet_100", 64, {}),
    "repvit": ("repvit_m0_9", 64, {}),
    "vovnet": ("ese_vovnet19b_dw", 64, {}),
    "csp_darknet": ("cs3darknet_s", 64, {}),
    "dpn": ("dpn48b", 64, {}),
    "sequencer": ("sequencer2d_s", 64, dict(layers=(1, 1, 1, 1), embed_dims=(32, 64, 64, 64), hidden_sizes=(8, 16, 16, 16))),
    "botnet": ("botnet26t_256", 64, dict(img_size=64)),
    "lambda_resnet": ("lambda_resnet26t", 64, {}),
    "hiera": ("hiera_tiny_224", 64, dict(img_size=(64, 64), embed_dim=24, stages=(1, 1, 2, 1))),
    "efficientvit": ("efficientvit_b0", 64, {}),
    "efficientvit_m": ("efficientvit_m0", 64, {}),
    "swiftformer": ("swiftformer_xs", 64, {}),
    "gcvit": ("gcvit_xxtiny", 64, dict(img_size=64)),
    "starnet": ("starnet_s1", 64, {}),
}  # fmt: skip


def timm_models():
    import timm
    import torch
    from timm.models import convmixer, focalnet, mlp_mixer, nest

    # PyTorch's own attention cannot be traced with the settings that some models give it.
    timm.layers.set_fused_attn(False)

    def maker(name, size, settings):
        return lambda: (timm.create_model(name, num_classes=10, **settings), [image(torch, size)])

    def own(model, **settings):
        return lambda: (model(num_classes=10, **settings), [image(torch)])

    mlp = dict(img_size=64, patch_size=16, num_blocks=2, embed_dim=64)
    return {title: maker(*entry) for title, entry in TIMM.items()} | {
        "mixer": own(mlp_mixer.MlpMixer, **mlp),
        "gmlp": own(
            mlp_mixer.MlpMixer, block_layer=mlp_mixer.SpatialGatingBlock, mlp_layer=timm.layers.GatedMlp, mlp_ratio=4, **mlp),
        "convmixer": own(convmixer.ConvMixer, dim=64, depth=2),
        "focalnet": own(focalnet.FocalNet, depths=(1, 1, 2, 1), embed_dim=24),
        "nest": own(nest.Nest, img_size=64, embed_dims=(32, 64, 96), depths=(1, 1, 2), num_heads=(2, 4, 6)),
    }  # fmt: skip
