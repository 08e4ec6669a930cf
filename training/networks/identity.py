"""Face-recognition networks as the identity loss sees them, and the alignment that they were trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.uv import sample

FIVE_POINTS = (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,))
"""iBUG points whose means are the eyes (the picture's left first), the tip of the nose and the corners of the mouth."""


class IdentityNetwork(nn.Module, ABC):
    """Frozen; gradients flow to the pictures."""

    @abstractmethod
    def forward(
        self, images: Float[Tensor, "batch 3 H W"], landmarks: Float[Tensor, "batch 68 2"]
    ) -> Float[Tensor, "batch D"]:
        """Embeddings whose cosine says how alike two faces are.

        Args:
            images: crops, RGB in [0, 1].
            landmarks: iBUG-68 in the crop, [−1, 1].
        """


def five_points(landmarks: Float[Tensor, "batch 68 2"]) -> Float[Tensor, "batch 5 2"]:
    """Eyes, nose and corners of the mouth, in the unit of the landmarks."""
    return torch.stack([landmarks[:, indices].mean(1) for indices in FIVE_POINTS], dim=1)


def similarity(
    source: Float[Tensor, "batch N 2"], target: Float[Tensor, "batch N 2"]
) -> tuple[Float[Tensor, "batch 2 2"], Float[Tensor, "batch 2"]]:
    """The similarity transform (rotation times scale, translation) with the least squares from source to target.

    In the plane it is linear: with a and b for the scaled cosine and sine, (x, y) → (a x − b y, b x + a y) + t.
    """
    centre, goal = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    p, q = source - centre, target - goal
    length = p.square().sum((1, 2)).clamp(min=1e-12)
    a = (p * q).sum((1, 2)) / length
    b = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / length
    linear = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], dim=1)
    return linear, goal[:, 0] - (linear @ centre[:, 0, :, None])[..., 0]


def aligned(
    images: Float[Tensor, "batch 3 H W"],
    landmarks: Float[Tensor, "batch 68 2"],
    template: Float[Tensor, "5 2"],
    size: int,
) -> Float[Tensor, "batch 3 size size"]:
    """Crops resampled so that the five points come to those of the template; differentiable in the crops.

    Args:
        landmarks: iBUG-68 in the crop, [−1, 1].
        template: pixels of the aligned picture, `size` on a side.
    """
    goal = (template * (2 / size) - 1).expand(len(images), -1, -1)
    linear, shift = similarity(goal, five_points(landmarks))  # from the aligned picture to the crop
    place = (torch.arange(size, dtype=images.dtype, device=images.device) + 0.5) * (2 / size) - 1
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1)
    return sample(images, torch.einsum("bij,hwj->bhwi", linear, grid) + shift[:, None, None])
