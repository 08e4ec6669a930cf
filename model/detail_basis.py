"""Another F_d: displacements as a sum of maps, whose coefficients are the detail code moved by expression and jaw.

The paper's F_d (`model.detail_decoder`) draws maps by convolutions from a grid of 8². This one adds up stored maps, as
a morphable model of geometry does: a small part of the arithmetic, and it can be set in closed form
(`training.detail_start`), where the other needs very many steps before codes show in its maps at all.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

MAP = 192
"""Texels on a side of the stored maps."""
OUT = 256
"""Texels on a side of what comes out, as of the paper's F_d."""


class BasisDecoder(nn.Module):
    """D = limit · tanh((M₀ + Σ_k c_k M_k) / limit), c = δ + A (θ, ψ) + g(θ, ψ, δ).

    A is linear: what an expression does to everybody; g is a small network: what it does to the wrinkles that somebody
    has.

    Attributes:
        mean, basis: M₀ and M_k, millimetres.
        everybody, own: A and g.

    Args:
        expression, detail: lengths of the codes.
        limit: largest displacement, metres.
    """

    def __init__(self, expression: int, detail: int, limit: float = 0.01) -> None:
        super().__init__()
        self.limit = limit
        self.mean = nn.Parameter(torch.zeros(MAP, MAP))
        self.basis = nn.Parameter(0.01 * torch.randn(detail, MAP, MAP))
        self.everybody = nn.Linear(3 + expression, detail, bias=False)
        self.own = nn.Sequential(nn.Linear(3 + expression + detail, 256), nn.ReLU(), nn.Linear(256, detail))
        last = self.own[-1]
        assert isinstance(last, nn.Linear)
        for weights in (self.everybody.weight, last.weight, last.bias):
            nn.init.zeros_(weights)

    def coefficients(
        self, jaw: Float[Tensor, "batch 3"], expression: Float[Tensor, "batch E"], detail: Float[Tensor, "batch D"]
    ) -> Float[Tensor, "batch D"]:
        """c, of the maps."""
        moved = torch.cat([jaw, expression], dim=-1)
        return detail + self.everybody(moved) + self.own(torch.cat([moved, detail], dim=-1))

    def forward(
        self,
        jaw: Float[Tensor, "batch 3"],
        expression: Float[Tensor, "batch E"],
        detail: Float[Tensor, "batch D"],
    ) -> Float[Tensor, "batch 256 256"]:
        """Displacements over the UV map, metres; row 0 is v = 1."""
        flat = self.coefficients(jaw, expression, detail) @ self.basis.flatten(1) + self.mean.flatten()
        maps = self.limit * torch.tanh(flat * (1e-3 / self.limit))
        return interpolate(maps.unflatten(-1, (1, MAP, MAP)), (OUT, OUT), mode="bilinear", align_corners=False)[:, 0]
