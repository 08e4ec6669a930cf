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
            self._own = self._displacement(_one(target.params))
            mesh = deca.head.mesh(_one(target.params))
            self._before = self._change(mesh, vertex_normals(mesh), self._own)

    @torch.no_grad()
    def normals(
        self, mesh: Mesh, params: FaceParams, normals: Float[Tensor, "batch V 3"]
    ) -> Float[Tensor, "batch 3 h w"]:
        """Of the detailed surface over the UV map, camera axes."""
        return self._deca.surface(mesh, self._moved(params), normals).normals

    @torch.no_grad()
    def relief(
        self, mesh: Mesh, params: FaceParams, normals: Float[Tensor, "batch V 3"]
    ) -> Float[np.ndarray, "batch h w"]:
        """By how much the wrinkles' light on every texel differs from what the photograph has already."""
        return (self._change(mesh, normals, self._moved(params)) / self._before).clamp(*_RANGE).numpy()

    def _moved(self, params: FaceParams) -> Float[Tensor, "batch h w"]:
        if self._mode == "animated":
            return self._displacement(params)
        return self._own.expand(len(params.jaw), -1, -1)

    def _displacement(self, params: FaceParams) -> Float[Tensor, "batch h w"]:
        code = self._code.expand(len(params.jaw), -1)
        return self._deca.detail_decoder(params.jaw, params.expression, code).float()

    def _change(self, mesh: Mesh, normals: Tensor, displacement: Tensor) -> Float[Tensor, "batch h w"]:
        """Shading of the detailed surface over that of the smooth one."""
        light = self._target.light.expand(len(displacement), -1, -1)
        detailed = self._deca.surface(mesh, displacement, normals).normals
        smooth = self._deca.layout.carry(normals)
        with_, without = (shading_view(n, light).mean(1).clamp(min=_LEAST) for n in (detailed, smooth))
        return with_ / without


def _one(params: FaceParams) -> FaceParams:
    return FaceParams(*(getattr(params, name)[None] for name in params.__dataclass_fields__))
