"""A backbone for E_d: what skin looks like, darker or lighter than around it, at many points that it finds on the face.

A wrinkle is a small difference of brightness at a place of the face. A mean over the picture forgets both. Here a small
network, E_c's own backbone, finds points of the face's surface in a smaller picture; around each of them the larger
picture is read at three scales.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, grid_sample, interpolate, pad

from model.backbones import KeypointResNet

SEEN = 128
"""Side of the picture in which points are found, px."""
SIGMAS = (0.8, 1.6, 3.2, 6.4)
"""Standard deviations of the bells whose differences are read, px of 224."""
STEP = 5.0
"""Distance of the nine readings around a point, px of 224."""
LUMINANCE = (0.299, 0.587, 0.114)
GAIN = 10.0
"""Wrinkles are a tenth darker than skin; networks like numbers about one."""


class ContrastPoints(nn.Module):
    """256 points, and eight numbers of the contrast around each: 2,560 features.

    Attributes:
        trunk: finds the points. It is not learned with the rest: it comes from an E_c (`training.detail_start`).
        words: from the 27 readings around a point (nine places, three scales) to what is kept of them.
        points: how many.
    """

    def __init__(self, words: int = 8) -> None:
        super().__init__()
        self.trunk = KeypointResNet()
        self.words = nn.Linear(9 * (len(SIGMAS) - 1), words, bias=False)
        self.points = self.trunk.points
        self.channels = (2 + words) * self.points

    def train(self, mode: bool = True) -> ContrastPoints:
        super().train(mode)
        self.trunk.eval()
        return self

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch channels"]:
        small = images
        if images.shape[-2:] != (SEEN, SEEN):
            small = interpolate(images, (SEEN, SEEN), mode="bilinear", align_corners=False, antialias=True)
        with torch.no_grad():
            places = self.trunk(small)[:, : 2 * self.points].float()
        with torch.autocast(images.device.type, enabled=False):
            around = self.readings(images.float(), places.unflatten(1, (-1, 2)))
        return torch.cat([places, self.words(around).flatten(1)], dim=1)

    def readings(
        self, images: Float[Tensor, "batch 3 H W"], places: Float[Tensor, "batch P 2"]
    ) -> Float[Tensor, "batch P 27"]:
        """Differences of the logarithm of brightness, blurred by successive bells, at and around points.

        Args:
            places: [−1, 1] over the picture.
        """
        unit = images.shape[-1] / 224
        bright = (images * images.new_tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        logarithm = 2.2 * bright.clamp(min=0.02).log()  # 2.2: to linear light
        levels = [blur(logarithm, sigma * unit) for sigma in SIGMAS]
        bands = torch.cat([fine - broad for fine, broad in pairwise(levels)], dim=1)
        step = torch.arange(-1, 2, dtype=places.dtype, device=places.device) * (STEP / 112)
        offsets = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).reshape(9, 2)
        found = grid_sample(bands, places[:, :, None] + offsets, padding_mode="border", align_corners=False)
        return GAIN * found.clamp(-0.5, 0.5).permute(0, 2, 3, 1).flatten(2)


def blur(maps: Float[Tensor, "batch 1 H W"], sigma: float) -> Float[Tensor, "batch 1 H W"]:
    """Under a bell of that standard deviation, texels; the border continues."""
    reach = int(3 * sigma + 0.5)
    bell = torch.exp(-(torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype) ** 2) / (2 * sigma**2))
    bell = bell / bell.sum()
    maps = conv2d(pad(maps, (reach, reach, 0, 0), mode="replicate"), bell[None, None, None])
    return conv2d(pad(maps, (0, 0, reach, reach), mode="replicate"), bell[None, None, :, None])
