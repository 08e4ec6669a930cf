"""What cameras and codecs do to a picture: few pixels, blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from training.parsing.config import AugmentConfig


def degrade(
    crops: Float[Tensor, "B 3 S S"], config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """The crops as a worse camera would have seen them; [0, 1]."""
    chances = torch.rand(len(crops), 4, generator=generator)
    amounts = torch.rand(len(crops), 4, generator=generator)
    out = []
    for crop, chance, amount in zip(crops, chances.tolist(), amounts.tolist(), strict=True):
        if chance[0] < config.shrink:
            crop = _shrunk(crop, 1.3 * (config.smallest / 1.3) ** amount[0])
        if chance[1] < config.blur:
            crop = _blurred(crop, 0.4 + 1.8 * amount[1] ** 2, generator)
        if chance[2] < config.noise:
            grain = torch.randn(crop.shape, generator=generator)
            grain = grain + 0.5 * torch.randn(1, *crop.shape[1:], generator=generator)
            crop = crop + 0.06 * amount[2] ** 2 * grain
        crop = crop.clamp(0, 1)
        if chance[3] < config.jpeg:
            crop = _compressed(crop, int(15 + 70 * amount[3]))
        out.append(crop)
    return torch.stack(out)


def _shrunk(crop: Float[Tensor, "3 S S"], factor: float) -> Float[Tensor, "3 S S"]:
    side = crop.shape[-1]
    few = max(16, round(side / factor))
    small = interpolate(crop[None], (few, few), mode="bilinear", align_corners=False, antialias=True)
    return interpolate(small, (side, side), mode="bilinear", align_corners=False)[0]


def _blurred(crop: Float[Tensor, "3 S S"], sigma: float, generator: torch.Generator) -> Float[Tensor, "3 S S"]:
    """Out of focus, or moved: along one axis only in a third of the cases."""
    reach = int(2.5 * sigma) + 1
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    axes = int(torch.randint(0, 6, (), generator=generator))
    x = crop[:, None]
    if axes != 0:
        x = conv2d(pad(x, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None])
    if axes != 1:
        x = conv2d(pad(x, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None])
    return x[:, 0]


def _compressed(crop: Float[Tensor, "3 S S"], quality: int) -> Float[Tensor, "3 S S"]:
    file = io.BytesIO()
    Image.fromarray((255 * crop).round().byte().movedim(0, -1).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).movedim(-1, 0).float() / 255
