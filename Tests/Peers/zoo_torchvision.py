"""Imports torchvision where its compiled part does not fit the PyTorch that is here: its operators are then Python."""

import sys


def ready():
    try:
        import torchvision  # noqa: F401
    except RuntimeError as failure:
        if "torchvision::" not in str(failure):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        define()


def _assert_has_ops():
    pass


def define():
    import torch

    library = torch.library.Library("torchvision", "DEF")
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library.define(f"nms{signature}")
    library.define(f"qnms{signature}")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )
    import torchvision.ops.boxes
    import torchvision.ops.roi_align

    def nms(boxes, scores, threshold):
        order, kept = scores.argsort(descending=True, stable=True), []
        overlaps = torchvision.ops.box_iou(boxes, boxes)
        gone = torch.zeros(len(boxes), dtype=torch.bool)
        for index in order.tolist():
            if not gone[index]:
                kept.append(index)
                gone |= overlaps[index] > threshold
        return torch.tensor(kept, dtype=torch.long)

    library.impl("nms", nms, "CPU")
    library.impl("roi_align", sys.modules["torchvision.ops.roi_align"]._roi_align, "CPU")
    for name in ("torchvision.ops.boxes", "torchvision.ops.roi_align"):
        sys.modules[name]._assert_has_ops = _assert_has_ops
    define.library = library
