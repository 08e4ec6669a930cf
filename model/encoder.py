"""E_c and E_d of DECA (Feng et al. 2021, §3.3): a face crop to a vector of codes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.backbones import backbone
from model.contrast import ContrastPoints

HIDDEN = 1024


class Encoder(nn.Module):
    """A backbone and two linear layers; no activation on the output.

    Attributes:
        points: how many points follow the code, x and y of each; 0 unless asked for.

    Args:
        outputs: length of the code.
        architecture: a backbone by name, or ``contrast`` (`model.contrast`); the paper's is ``resnet50``.
        seen: whether to say where the backbone sees its points, if it has any.
    """

    def __init__(self, outputs: int, architecture: str = "resnet50", seen: bool = False) -> None:
        super().__init__()
        self.encoder = ContrastPoints() if architecture == "contrast" else backbone(architecture)
        self.points = self.encoder.points if seen else 0
        self.layers = nn.Sequential(nn.Linear(self.encoder.channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch codes"]:
        """Crops of 224², RGB in [0, 1] as they are: no mean is subtracted."""
        features = self.encoder(images)
        codes = self.layers(features)
        return torch.cat([codes.float(), features[:, : 2 * self.points]], dim=1) if self.points else codes

    def learned(self) -> Iterator[nn.Parameter]:
        """What training changes: all but the trunk of a backbone that keeps it."""
        fixed = "encoder.trunk." if isinstance(self.encoder, ContrastPoints) else None
        yield from (weights for name, weights in self.named_parameters() if not (fixed and name.startswith(fixed)))
