"""ResNet50 of VGGFace2 (Cao et al. 2018): 2048 numbers per face, the paper's identity network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate as resize

from model.backbones import Bottleneck, ResNet
from model.io.unpickle import read_pickle
from training.networks.identity import IdentityNetwork

SIZE = 224
MEAN_BGR = (91.4953, 103.8827, 131.0912)
"""What is subtracted from pictures in [0, 255]."""


class CaffeBottleneck(Bottleneck):
    """He et al. 2016 as in Caffe: the stride is on the first convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__(channels, width, stride)
        self.conv1.stride, self.conv2.stride = (stride, stride), (1, 1)


class VGGFace2(IdentityNetwork):
    """The layers up to the mean over the last feature map; state-dict names are torchvision's."""

    mean: Float[Tensor, "3 1 1"]

    def __init__(self) -> None:
        super().__init__()
        self.layers = ResNet(CaffeBottleneck, (3, 4, 6, 3))
        self.layers.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.register_buffer("mean", torch.tensor(MEAN_BGR)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(
        self, images: Float[Tensor, "batch 3 H W"], landmarks: Float[Tensor, "batch 68 2"]
    ) -> Float[Tensor, "batch 2048"]:
        """The crops as they are: VGGFace2's faces were cut out as loosely as DECA's."""
        if images.shape[-2:] != (SIZE, SIZE):
            images = resize(images, (SIZE, SIZE), mode="bilinear", align_corners=False)
        return self.layers(images.flip(1) * 255 - self.mean)


def load_vggface2(path: Path) -> VGGFace2:
    """From a state dict (.pt, .pth) or a pickled dictionary of NumPy arrays (.pkl), both with torchvision's names.

    Raises:
        ValueError: not such a file, or weights are missing or of another shape.
    """
    try:
        content: Any
        if path.suffix == ".pkl":
            content = {key: torch.as_tensor(value) for key, value in read_pickle(path).items()}
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            content = content.get("state_dict", content)
    except Exception as error:  # torch raises almost anything for a file that is none of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"networks.identity {path}: not weights that can be read safely ({reason})") from error
    state = {key.removeprefix("module."): value for key, value in content.items()}
    network = VGGFace2()
    wanted = network.layers.state_dict()
    counted = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    faults = [
        key
        for key, value in wanted.items()
        if key not in counted and (key not in state or state[key].shape != value.shape)
    ]
    if faults:
        raise ValueError(
            f"networks.identity {path}: {len(faults)} of {len(wanted) - len(counted)} weights of VGGFace2's ResNet50 "
            f"are missing or of another shape, the first is {faults[0]}"
        )
    network.layers.load_state_dict(counted | {key: state[key] for key in wanted if key not in counted})
    return network.eval()
