"""Face parsing: which pixel of a face crop is skin, brow, eye, nose, lip, inner mouth, hair, glasses, hat, neck ...

A small residual encoder (He et al. 2016) whose levels are added up again from coarse to fine (Lin et al. 2017, feature
pyramids). Plain 3 × 3 convolutions, since on a processor they are faster per accuracy than depthwise ones. Weights are
read by `model.io.parsing.load_parser`; they were made by `python -m training.parsing` (docs/parsing.md).
"""

from __future__ import annotations

import copy
from enum import IntEnum

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu
from torch.nn.utils.fusion import fuse_conv_bn_eval

SIDE = 256
"""Longer side of the picture that the network sees, px."""

STRIDE = 32
"""The network's input must be a multiple of this on both sides."""


class Part(IntEnum):
    """What a pixel shows, in the order of the network's channels. Left and right are one class."""

    BACKGROUND = 0
    """Everything else: walls, hands, microphones, other people."""
    SKIN = 1
    """Of the face, forehead and bald scalp; beards and stubble too."""
    NOSE = 2
    BROWS = 3
    EYES = 4
    """The visible eyeball between the lids."""
    LIPS = 5
    MOUTH = 6
    """Inner mouth: teeth, tongue, the dark between the lips."""
    HAIR = 7
    GLASSES = 8
    """Frames with their whole lenses, also clear ones: eyes behind glasses are glasses."""
    HAT = 9
    """Hats, caps, scarves and bands worn on the head."""
    NECK = 10
    EARS = 11
    """With earrings."""
    CLOTHES = 12
    """With necklaces."""


FACE = (Part.SKIN, Part.NOSE, Part.BROWS, Part.EYES, Part.LIPS, Part.MOUTH)
"""What a head model's face region explains: the mask of a photometric loss, and where a texture may be taken from."""

WIDTHS = (24, 40, 64, 112, 120)
DEPTHS = (2, 3, 2, 2)


class ParsingNetwork(nn.Module):
    """Pictures to logits at half their size: 1.4 million weights.

    Args:
        widths: channels at strides 2, 4, 8, 16 and 32.
        depths: residual blocks at strides 4, 8, 16 and 32.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, depths: tuple[int, ...] = DEPTHS) -> None:
        super().__init__()
        self.stem = _ConvBN(3, widths[0], 3, stride=2)
        stages = []
        for below, width, depth in zip(widths, widths[1:], depths, strict=False):
            blocks = [_Residual(below if k == 0 else width, width, 2 if k == 0 else 1) for k in range(depth)]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        climbs, channels = [], widths[-1]
        for skip, width in zip(widths[-2::-1], (112, 64, 48, 32), strict=False):
            climbs.append(_Climb(channels, skip, width))
            channels = width
        self.climbs = nn.ModuleList(climbs)
        self.classify = nn.Conv2d(channels, len(Part), 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, _Residual):
                nn.init.zeros_(layer.second.norm.weight)  # blocks begin as their shortcuts
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch parts H/2 W/2"]:
        """Logits; RGB in [0, 1], both sides multiples of `STRIDE`."""
        levels = [relu(self.stem(4 * images - 2))]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        x = levels.pop()
        for climb in self.climbs:
            x = climb(x, levels.pop())
        return self.classify(x)

    def fused(self) -> ParsingNetwork:
        """The same network for inference, its normalisations folded into the convolutions before them."""
        network = copy.deepcopy(self).eval()
        for module in list(network.modules()):
            if isinstance(module, _ConvBN):
                module.conv = fuse_conv_bn_eval(module.conv, module.norm)  # pyright: ignore[reportArgumentType]
                module.add_module("norm", nn.Identity())
        return network


class Parser(nn.Module):
    """Face crops of any size to the probability of each `Part` at every pixel, for inference.

    Args:
        network: trained; it is copied.
        half: bfloat16 inside the network, twice as fast where the processor has it; probabilities move by less than
            a hundredth, except at edges.
    """

    def __init__(self, network: ParsingNetwork, half: bool = False) -> None:
        super().__init__()
        self.network = network.fused().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.half_precision = half
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch 13 H W"]:
        """Probabilities; they sum to one over the parts.

        The crop should hold one face with room around it: a square of 1.6 to 2.2 times the side of the box of its
        landmarks, about their centre. Larger than the network's picture (`SIDE`) it is shrunk, smaller it is enlarged.

        Args:
            images: RGB, [0, 1].

        Raises:
            ValueError: no pixels, or more than 8 times as long as wide (or the other way round).
        """
        height, width = images.shape[-2:]
        longer, shorter = max(height, width), min(height, width)
        if shorter < 1 or longer > 8 * shorter:
            raise ValueError(f"pictures of {width}×{height} px cannot be parsed; give square crops around a face")
        size = (_multiple(height * SIDE / longer), _multiple(width * SIDE / longer))
        x = images if size == (height, width) else _resize(images, size)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half_precision):
            logits = self.network(x.contiguous(memory_format=torch.channels_last))
        return _resize(logits.float().softmax(1).contiguous(), (height, width))


def face_share(probabilities: Float[Tensor, "*batch 13 H W"]) -> Float[Tensor, "*batch H W"]:
    """Probability that a pixel shows the face itself (`FACE`), not what hides or surrounds it."""
    return probabilities[..., list(FACE), :, :].sum(-3)


def _resize(x: Float[Tensor, "batch C h w"], size: tuple[int, int]) -> Float[Tensor, "batch C H W"]:
    shrinks = size[0] < x.shape[-2] or size[1] < x.shape[-1]
    return interpolate(x, size, mode="bilinear", align_corners=False, antialias=shrinks)


def _multiple(length: float) -> int:
    return STRIDE * max(1, round(length / STRIDE))


class _ConvBN(nn.Module):
    """A convolution and its normalisation."""

    def __init__(self, channels: int, width: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "batch C H W"]) -> Float[Tensor, "batch D h w"]:
        return self.norm(self.conv(x))


class _Residual(nn.Module):
    """Two 3 × 3 convolutions around a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _ConvBN(channels, width, 3, stride)
        self.second = _ConvBN(width, width, 3)
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else _ConvBN(channels, width, 1, stride)

    def forward(self, x: Float[Tensor, "batch C H W"]) -> Float[Tensor, "batch D h w"]:
        return relu(self.second(relu(self.first(x))) + self.shortcut(x))


class _Climb(nn.Module):
    """One level up: the coarser level enlarged, the finer one added, both mixed."""

    def __init__(self, channels: int, skip: int, width: int) -> None:
        super().__init__()
        self.narrow = _ConvBN(channels, width, 1)
        self.skip = _ConvBN(skip, width, 1)
        self.mix = _ConvBN(width, width, 3)

    def forward(
        self, coarse: Float[Tensor, "batch C h w"], fine: Float[Tensor, "batch S H W"]
    ) -> Float[Tensor, "batch D H W"]:
        large = interpolate(self.narrow(coarse), scale_factor=2.0, mode="bilinear", align_corners=False)
        return relu(self.mix(relu(large + self.skip(fine))))
