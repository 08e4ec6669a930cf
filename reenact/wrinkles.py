"""Wrinkles that move: F_d's displacement for the new expression, as a change of the light on the photograph's skin."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.deca import DECA
from model.mesh import Mesh, vertex_normals
from model.params import FaceParams
from model.views import shading_view
from reenact.target import Target

Detail = Literal["animated", "static", "off"]

_LEAST = 0.25
_RANGE = (0.7, 1.4)
"""How far a wrinkle may darken or brighten."""
_USUAL = 1e-4
"""Metres, root mean square over the map: changes beyond that are doubted. F_d's are usually less than 0.09 mm; where it
is asked for more than it learned from (lips pushed out), it draws streaks over the cheeks."""
_SHARE = 0.5
"""Exponent of the change of light. Beside true videos, the shipped F_d's wrinkles are right in kind, too strong: half
of their contrast resembles them more than all of it (tests/benchmarks/reenact.py)."""


class Wrinkles:
    """The detailed surface of a target, for any expression (Feng et al. 2021, eq. 9 to 11).

    Args:
        deca: whose F_d and detailed surface are used, maps of `MAP` texels.
        target: with a detail code.
        mode: ``animated``: F_d(δ, ψ, θ_jaw) of every frame; ``static``: that of the photograph, on the moving head.
    """

    def __init__(self, deca: DECA, target: Target, mode: Detail = "animated") -> None:
        if target.detail is None:
            raise ValueError("wrinkles need a detail code, and no network looked at the target; give --weights")
        self._deca, self._target, self._mode = deca, target, mode
        self._code = target.detail[None]
        with torch.no_grad():
            own = _one(target.params)
            self._own = self._decoded(own)[0]
            mesh = deca.head.mesh(target.params)
            smooth = vertex_normals(mesh)
            self._before = self._change(self.normals(mesh, self._own, smooth), smooth)

    @torch.no_grad()
    def displacement(self, params: FaceParams) -> Float[Tensor, "batch h w"]:
        """What F_d says of these expressions, metres; the less of it, the more than usual it changes."""
        if self._mode == "static":
            return self._own.expand(len(params.jaw), -1, -1)
        change = self._decoded(params) - self._own
        return self._own + believed(change)

    @torch.no_grad()
    def normals(
        self, mesh: Mesh, displacement: Float[Tensor, "h w"], normals: Float[Tensor, "V 3"]
    ) -> Float[Tensor, "3 h w"]:
        """Of one head's detailed surface over the UV map, camera axes."""
        return self._deca.surface(mesh, displacement, normals).normals

    @torch.no_grad()
    def relief(self, detailed: Float[Tensor, "3 h w"], normals: Float[Tensor, "V 3"]) -> Float[np.ndarray, "h w"]:
        """By how much the wrinkles' light on every texel differs from what the photograph has already.

        Args:
            detailed: of `normals`; normals: of the same head's vertices.
        """
        return (self._change(detailed, normals) / self._before).pow(_SHARE).clamp(*_RANGE).numpy()

    def _decoded(self, params: FaceParams) -> Float[Tensor, "batch h w"]:
        code = self._code.expand(len(params.jaw), -1)
        return self._deca.detail_decoder(params.jaw, params.expression, code).float()

    def _change(self, detailed: Float[Tensor, "3 h w"], normals: Float[Tensor, "V 3"]) -> Float[Tensor, "h w"]:
        """Shading of the detailed surface over that of the smooth one."""
        smooth = self._deca.layout.carry(normals)
        light = self._target.light
        shaded, plain = (shading_view(n, light).mean(0).clamp(min=_LEAST) for n in (detailed, smooth))
        return shaded / plain


def believed(change: Float[Tensor, "batch h w"]) -> Float[Tensor, "batch h w"]:
    """Changes of the displacement less what is implausibly large; small ones as they are."""
    size = change.square().mean((1, 2), keepdim=True).sqrt()
    return change / (1 + (size / _USUAL) ** 4)


def _one(params: FaceParams) -> FaceParams:
    return FaceParams(*(getattr(params, name)[None] for name in params.__dataclass_fields__))
