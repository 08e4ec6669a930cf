"""Wrinkles without a network: where skin is darker than around it, it lies deeper.

Under light from many sides a groove is dark because it sees little of it ("dark is deep": Langer and Bülthoff 2000;
Beeler et al. 2010 refine scans of faces so). One photograph gives a map of displacements that is right about where
wrinkles are and how wide, and roughly about how deep; moles and freckles come out as dents, too. The detail stage may
learn from it (loss `relief`), which shows F_d much sooner than shading does where a person's wrinkles are.

What photographs of all people show alike (shadows of the nose, rims of the lips, brows) belongs to the coarse head, its
albedo and light. It is measured once and taken off:

  python -m training.usual_relief SHARDS... --weights deca.safetensors --out usual.npz
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from model.contrast import blur
from model.deca import DECA
from model.io.parsing import load_parser
from model.mesh import Mesh, vertex_normals
from model.params import Camera
from model.parsing import Part
from model.texture import extract_texture
from model.uv import UVLayout
from training.albedo.unwrap import LUMINANCE, smoothstep, srgb_to_linear

SCALES = (0.9, 1.9, 3.8, 7.5)
"""Standard deviations of the bells between which relief is sought, millimetres: from fine lines to folds."""
DEPTH = (2.5, 4.5, 8.0)
"""Depth of a groove of each width whose bottom is e times as dark as its surroundings, millimetres. A groove loses
light by its depth over its width; of what is broader the light itself tells more, so the rise is less than that."""
LIMITS = (-0.4, 0.2)
"""Logarithms of brightness against the surroundings that count; darker is hair or shadow, brighter a highlight."""
FACING = (0.2, 0.5)
"""A texel counts from the first cosine between its normal and the view on, fully from the second."""


class Relief(nn.Module):
    """Displacement maps from pictures. Buffers only, nothing in a state dict.

    Attributes:
        usual: logarithm of brightness against the surroundings that photographs show on average.

    Args:
        layout: of the maps.
        template: mean head, metres; says how large texels are.
        mask: where detail shows, [0, 1].
        parser: tells skin from hair, brows, lips and glasses (`model.parsing.Parser`).
    """

    usual: Float[Tensor, "H W"]
    mask: Float[Tensor, "H W"]

    def __init__(
        self,
        layout: UVLayout,
        template: Float[Tensor, "V 3"],
        mask: Float[Tensor, "H W"],
        parser: nn.Module,
        usual: Float[Tensor, "H W"] | None = None,
    ) -> None:
        super().__init__()
        self.layout, self.parser = layout, parser
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("usual", torch.zeros_like(mask) if usual is None else usual, persistent=False)
        self.sigmas = tuple(scale / texel_size(layout, template, mask) for scale in SCALES)

    @torch.no_grad()
    def forward(
        self, images: Float[Tensor, "batch 3 S S"], mesh: Mesh, camera: Camera
    ) -> tuple[Float[Tensor, "batch H W"], Float[Tensor, "batch H W"]]:
        """Displacements, metres, and how much they count, [0, 1]; both zero where the picture shows no skin.

        Args:
            images: RGB in [0, 1].
            mesh: the coarse head, camera axes.
            camera: of the pictures, px.
        """
        contrast, weight = self.contrast(images, mesh, camera)
        excess = ((contrast - self.usual) * weight).clamp(*LIMITS)
        levels = [_blurred(excess, weight, sigma) for sigma in self.sigmas]
        bands = [fine - broad for fine, broad in pairwise(levels)]
        depth = sum(1e-3 * deep * band for deep, band in zip(DEPTH, bands, strict=True))
        assert isinstance(depth, Tensor)
        return depth * weight, weight

    @torch.no_grad()
    def contrast(
        self, images: Float[Tensor, "batch 3 S S"], mesh: Mesh, camera: Camera
    ) -> tuple[Float[Tensor, "batch H W"], Float[Tensor, "batch H W"]]:
        """Logarithm of the brightness of skin over that around it, and its weight."""
        parts = self.parser(images)
        skin = parts[:, [Part.SKIN, Part.NOSE]].sum(1, keepdim=True)
        bright = (srgb_to_linear(images) * images.new_tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        found = extract_texture(torch.cat([bright, skin], dim=1), mesh, camera, self.layout)
        facing = self.layout.carry(vertex_normals(mesh))[:, 2]
        seen = found.visible[:, 0] * self.mask * smoothstep(*FACING, facing) * smoothstep(0.6, 0.95, found.colour[:, 1])
        weight = blur(-max_pool2d(-seen[:, None], 5, 1, 2), 1.5)[:, 0]  # keeps off what is mixed in at borders
        logarithm = found.colour[:, 0].clamp(min=2e-3).log()
        return (logarithm - _blurred(logarithm, weight, self.sigmas[-1])) * weight, weight


def texel_size(layout: UVLayout, template: Float[Tensor, "V 3"], mask: Float[Tensor, "H W"]) -> float:
    """Millimetres between texels of the face, the root of their median area."""
    places = layout.carry(template)
    right, down = places.diff(dim=-1)[:, :-1], places.diff(dim=-2)[:, :, :-1]
    area = torch.linalg.vector_norm(torch.linalg.cross(right, down, dim=0), dim=0)
    return 1e3 * math.sqrt(float(area[mask[:-1, :-1] > 0.5].median()))


def relief_of(deca: DECA, usual: str | Path = "") -> Relief:
    """For a DECA's head, with the shipped parser.

    Args:
        usual: file of `python -m training.usual_relief`; without one nothing is taken off.

    Raises:
        ValueError: no such file, or it is of another head or size.
    """
    taken = _read(Path(usual), deca) if usual else None
    return Relief(deca.layout, deca.head.template, deca.surface.mask, load_parser(), taken)


def _blurred(maps: Float[Tensor, "batch H W"], weight: Float[Tensor, "batch H W"], sigma: float) -> Tensor:
    """Weighted means under a bell."""
    share = blur(weight[:, None], sigma)
    return (blur((maps * weight)[:, None], sigma) / share.clamp(min=0.05))[:, 0]


def _read(path: Path, deca: DECA) -> Tensor:
    try:
        with np.load(path, allow_pickle=False) as file:
            head, usual = str(file["head"]), file["usual"]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a file of python -m training.usual_relief ({error})") from None
    if head != deca.head.asset.name or usual.shape != (deca.layout.size,) * 2:
        raise ValueError(
            f"{path}: {usual.shape[0]}² texels of head {head}, the run has {deca.layout.size}² of "
            f"{deca.head.asset.name}; make it again with the run's model.uv_size as --size"
        )
    return torch.from_numpy(usual)
