"""Square crops of a frame, as DECA's networks see them (sizes of Feng et al. 2021 and its reference behaviour)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

RESOLUTION = 224
"""Side of the networks' input, px."""

SCALE = 1.25
"""Room around the face at inference."""

TRAINED_SCALE = 1.6
"""Side of a crop over the mean side of the landmarks' box, amid the range that the networks are trained on, 1.4–1.8."""


@dataclass(frozen=True)
class Crop:
    """An upright square of the frame.

    Attributes:
        centre: x, y in the frame, px.
        size: side, px of the frame, positive.
    """

    centre: Float[Tensor, "*batch 2"]
    size: Float[Tensor, "*batch"]


def crop_of_landmarks(points: Float[Tensor, "*batch N 2"], scale: float = SCALE) -> Crop:
    """The crop around 68 landmarks, px: 1.1 times the mean side of their box, about its centre, times `scale`."""
    low, high = points.amin(-2), points.amax(-2)
    return Crop((low + high) / 2, 1.1 * scale * (high - low).mean(-1))


def trained_crop(points: Float[Tensor, "*batch N 2"]) -> Crop:
    """The crop around 68 landmarks, px, that lies amid those of the training: `TRAINED_SCALE`."""
    low, high = points.amin(-2), points.amax(-2)
    return Crop((low + high) / 2, TRAINED_SCALE * (high - low).mean(-1))


def crop_of_box(box: Float[Tensor, "*batch 4"], scale: float = SCALE) -> Crop:
    """The crop around a detector's box x0, y0, x1, y1, px: it starts higher than the face, so the crop moves down."""
    low, high = box[..., :2], box[..., 2:]
    size = (high - low).mean(-1)
    centre = (low + high) / 2
    centre = torch.stack([centre[..., 0], centre[..., 1] + 0.12 * size], dim=-1)
    return Crop(centre, scale * size)


def T_frame_crop(crop: Crop, resolution: int = RESOLUTION) -> Float[Tensor, "*batch 3 3"]:  # noqa: N802
    """Homogeneous pixels of the resampled crop (``resolution`` on a side) to pixels of the frame."""
    scale = crop.size / resolution
    corner = crop.centre - crop.size[..., None] / 2
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    rows = [scale, zero, corner[..., 0], zero, scale, corner[..., 1], zero, zero, one]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def to_frame(crop: Crop, points: Float[Tensor, "*batch N 2"]) -> Float[Tensor, "*batch N 2"]:
    """Points of the crop in [−1, 1] to pixels of the frame."""
    return crop.centre[..., None, :] + points * (crop.size / 2)[..., None, None]


def to_crop(crop: Crop, points: Float[Tensor, "*batch N 2"]) -> Float[Tensor, "*batch N 2"]:
    """Pixels of the frame to points of the crop in [−1, 1]; the inverse of `to_frame`."""
    return (points - crop.centre[..., None, :]) / (crop.size / 2)[..., None, None]
