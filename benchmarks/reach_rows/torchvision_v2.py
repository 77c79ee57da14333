"""torchvision.transforms.v2, also where torchvision's extension, which it does not use, was built for another torch."""

import importlib
import os
import sys

import torch

sys.path += filter(None, [os.environ.get("REACH_TORCHVISION")])
try:
    from_torchvision = importlib.import_module("torchvision.transforms.v2")
except RuntimeError:  # operator torchvision::nms does not exist
    OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from_torchvision = importlib.import_module("torchvision.transforms.v2")
