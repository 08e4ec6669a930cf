"""Texture features without a learned network: a fixed bank of oriented filters, what stands in for VGG19."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad

from training.vgg import TextureFeatures

ORIENTATIONS = 8
_SIZE = 7  # of a filter, px
_WIDTH = 1.4  # of its bell, px
_WAVE = 4.0  # its wavelength, px
_LUMINANCE = (0.299, 0.587, 0.114)
_COLOUR = 0.5  # how much colour counts beside the filters


class FilterBank(nn.Module):
    """Gabor filters (even and odd, eight orientations) on four octaves of luminance, and two colour differences.

    Responses are split by their sign, as a network's activations are, and averaged to the resolution of VGG19's
    features, so that `training.losses.mrf_loss` takes either: `fine` has the three finest octaves at a quarter of the
    resolution, `coarse` the three coarsest at an eighth. What it knows is edges and their scales, colours and blots:
    wrinkles, pores and beards; no objects. Nothing in it is learned or random.
    """

    filters: Float[Tensor, "N 1 k k"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", gabor_filters(), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> TextureFeatures:
        """Features of RGB pictures in [0, 1], sides multiples of 8."""
        luminance = (images * images.new_tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        # Differences of colours that grey light on grey skin does not have.
        colours = _COLOUR * torch.cat([images[:, :1] - images[:, 1:2], images[:, 1:2] - images[:, 2:]], dim=1)
        colours = torch.cat([colours.clamp(min=0), (-colours).clamp(min=0)], dim=1)
        octaves = []
        level = luminance
        for _ in range(4):
            edge = _SIZE // 2
            octaves.append(conv2d(pad(level, (edge, edge, edge, edge), mode="replicate"), self.filters))
            level = avg_pool2d(level, 2)
        fine = [_shares(octave, 4 >> k) for k, octave in enumerate(octaves[:3])]
        coarse = [_shares(octave, 4 >> k) for k, octave in enumerate(octaves[1:])]
        return TextureFeatures(
            torch.cat([*fine, avg_pool2d(colours, 4)], dim=1), torch.cat([*coarse, avg_pool2d(colours, 8)], dim=1)
        )


def gabor_filters() -> Float[Tensor, "16 1 7 7"]:
    """Cosine and sine waves under a bell; no response to a constant, a total of absolute weights of two."""
    place = torch.arange(_SIZE) - _SIZE // 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    bell = torch.exp(-(x**2 + y**2) / (2 * _WIDTH**2))
    filters = []
    for k in range(ORIENTATIONS):
        angle = math.pi * k / ORIENTATIONS
        phase = 2 * math.pi / _WAVE * (x * math.cos(angle) + y * math.sin(angle))
        for wave in (phase.cos(), phase.sin()):
            centred = wave - (bell * wave).sum() / bell.sum()
            kernel = bell * centred
            filters.append(2 * kernel / kernel.abs().sum())
    return torch.stack(filters)[:, None]


def _shares(responses: Tensor, factor: int) -> Tensor:
    """Means of the positive and of the negative parts over squares of `factor` px."""
    positive = responses.clamp(min=0)
    if factor > 1:
        positive, responses = avg_pool2d(positive, factor), avg_pool2d(responses, factor)
    return torch.cat([positive, positive - responses], dim=1)
