"""F_d of DECA (Feng et al. 2021, §3.2): detail code, expression and jaw to a map of displacements along the normals."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_START = 8  # texels on a side, doubled by every block
_CHANNELS = (128, 64, 64, 32, 16)


class DetailDecoder(nn.Module):
    """Five times upsampling and convolution from 8² to 256².

    The numbers in the state dict are those of the published weights: ``l1.0``, ``conv_blocks.0`` to ``conv_blocks.21``.

    Args:
        codes: length of the input, by default 3 (jaw) + 50 (expression) + 128 (detail).
        limit: largest displacement, metres.
    """

    def __init__(self, codes: int = 181, limit: float = 0.01) -> None:
        super().__init__()
        self.limit = limit
        self.l1 = nn.Sequential(nn.Linear(codes, _CHANNELS[0] * _START**2))
        layers: list[nn.Module] = [nn.BatchNorm2d(_CHANNELS[0])]
        before = _CHANNELS[0]
        for channels in _CHANNELS:
            layers += [
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Conv2d(before, channels, 3, 1, 1),
                nn.BatchNorm2d(channels, eps=0.8),  # of the published network: it dampens nearly silent channels
                nn.LeakyReLU(0.2, inplace=True),
            ]
            before = channels
        self.conv_blocks = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, 1, 1), nn.Tanh())

    def forward(
        self,
        jaw: Float[Tensor, "batch 3"],
        expression: Float[Tensor, "batch E"],
        detail: Float[Tensor, "batch D"],
    ) -> Float[Tensor, "batch 256 256"]:
        """Displacements over the UV map, metres; row 0 is v = 1."""
        start = self.l1(torch.cat([jaw, expression, detail], dim=-1))
        return self.limit * self.conv_blocks(start.unflatten(-1, (_CHANNELS[0], _START, _START)))[:, 0]
