"""E_c and E_d of DECA (Feng et al. 2021, §3.3): a face crop to a vector of codes."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from model.backbones import backbone

HIDDEN = 1024


class Encoder(nn.Module):
    """A backbone and two linear layers; no activation on the output.

    Args:
        outputs: length of the code.
        architecture: a backbone by name; the paper's is ``resnet50``.
    """

    def __init__(self, outputs: int, architecture: str = "resnet50") -> None:
        super().__init__()
        self.encoder = backbone(architecture)
        self.layers = nn.Sequential(nn.Linear(self.encoder.channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch codes"]:
        """Crops of 224², RGB in [0, 1] as they are: no mean is subtracted."""
        return self.layers(self.encoder(images))
