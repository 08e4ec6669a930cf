"""Pictures of an albedo model to be looked at: mean, directions, samples; and photographs beside their albedo."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from model.asset import HeadAsset
from model.head import HeadModel
from model.params import Camera
from model.render import textured_view
from model.shading import albedo_texture

CELL = 176
CAPTION = 18
BACKGROUND = 0.91
SAMPLES = 24
LIMIT = 2.0
"""Codes of the random samples are cut off here, standard deviations."""
LIGHTS = {
    "even": ((0.0, 0.0, 0.0), 0.0),
    "side": ((0.55, 0.15, 0.25), 0.0),
    "above": ((-0.15, 0.45, 0.3), 0.0),
}
"""First-order light beside an even one, in its parts; the colour of the even light is white."""


class Studio:
    """Draws lit heads and texture maps of one asset."""

    def __init__(self, asset: HeadAsset, cell: int = CELL) -> None:
        assert asset.albedo_mean is not None and asset.albedo_basis is not None
        assert asset.uv is not None and asset.uv_faces is not None
        self.cell = cell
        self.mean, self.basis = (
            torch.from_numpy(np.asarray(a, np.float32)) for a in (asset.albedo_mean, asset.albedo_basis)
        )
        self.uv, self.uv_faces = torch.from_numpy(asset.uv).float(), torch.from_numpy(asset.uv_faces).long()
        head = HeadModel(asset)
        self.mesh = head.mesh(head.neutral())

    def texture(self, codes: Float[Tensor, "A"]) -> Float[Tensor, "3 H W"]:
        """The albedo of these codes, in [0, 1]."""
        return albedo_texture(self.mean, self.basis, codes).clamp(0, 1)

    def map(self, texture: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "cell cell 3"]:
        """The texture map."""
        return _bytes(torch.nn.functional.interpolate(texture[None], (self.cell, self.cell), mode="area")[0])

    def render(self, texture: Float[Tensor, "3 H W"], light: str = "even") -> UInt8[np.ndarray, "cell cell 3"]:
        """The neutral head from the front, lit."""
        side = 2 * self.cell
        camera = Camera(torch.tensor(side / 0.24), torch.tensor([side / 2, side / 2 - 0.02 * side / 0.24]))
        harmonics = torch.zeros(9, 3)
        harmonics[0] = 1.0 / 0.2821
        harmonics[1:4] = torch.tensor(LIGHTS[light][0])[:, None] / 1.0233
        view = textured_view(self.mesh, camera, texture, self.uv, self.uv_faces, side, side, harmonics)
        picture = view.image.clamp(0, 1) * view.alpha + BACKGROUND * (1 - view.alpha)
        return _bytes(torch.nn.functional.avg_pool2d(picture, 2))


def model_sheet(asset: HeadAsset, names: Sequence[str], seed: int = 0) -> UInt8[np.ndarray, "H W 3"]:
    """Mean; ±2 standard deviations of the first ten directions, lit and as maps; `SAMPLES` random faces."""
    studio = Studio(asset)
    count = len(studio.basis)
    codes = torch.zeros(count)
    mean = studio.texture(codes)
    rows = [[_named(studio.map(mean), "mean"), *(_named(studio.render(mean, way), way) for way in LIGHTS)]]
    for draw in (studio.render, studio.map):
        for sign in (-2.0, 2.0):
            row = []
            for k in range(min(10, count)):
                one = torch.zeros(count)
                one[k] = sign
                row.append(_named(draw(studio.texture(one)), f"{names[k]} {sign:+.0f}"))
            rows.append(row)
    rng = np.random.default_rng(seed)
    textures = [studio.texture(_sample(rng, count)) for _ in range(SAMPLES)]
    ways = list(LIGHTS)
    for start in range(0, SAMPLES, 12):
        some = range(start, min(SAMPLES, start + 12))
        rows.append([_named(studio.render(textures[i], ways[i % len(ways)]), f"sample {i + 1}") for i in some])
        rows.append([studio.map(textures[i]) for i in some])
    return stacked(rows)


def photographs_sheet(
    photographs: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    zone_maps: Sequence[Float[np.ndarray, "H W 3"]],
    codes: Float[np.ndarray, "n A"],
    asset: HeadAsset,
    labels: Sequence[str],
) -> UInt8[np.ndarray, "H W 3"]:
    """Photographs, their unlit colours in the map, their albedo by the model, and the head with it."""
    studio = Studio(asset)
    cells = []
    for photograph, unlit, code, label in zip(photographs, zone_maps, codes, labels, strict=True):
        texture = studio.texture(torch.from_numpy(code).float())
        side = Image.fromarray(photograph).resize((studio.cell, studio.cell), Image.Resampling.LANCZOS)
        even = studio.map(torch.from_numpy(unlit).float().movedim(-1, 0).clamp(0, 1))
        tall = [_named(np.asarray(side), label), even, studio.map(texture), studio.render(texture)]
        cells.append(np.concatenate(tall))
    return stacked([cells[i : i + 12] for i in range(0, len(cells), 12)])


def _sample(rng: np.random.Generator, count: int) -> Float[Tensor, "A"]:
    return torch.from_numpy(rng.standard_normal(count).clip(-LIMIT, LIMIT)).float()


def stacked(rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]]) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of cells on one background; short ones are filled up."""
    strips = []
    for row in rows:
        height = max(cell.shape[0] for cell in row)
        fill: Callable[[np.ndarray], np.ndarray] = lambda c, h=height: np.pad(  # noqa: E731
            c, ((0, h - c.shape[0]), (0, 0), (0, 0)), constant_values=round(255 * BACKGROUND)
        )
        strips.append(np.concatenate([fill(cell) for cell in row], axis=1))
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=round(255 * BACKGROUND)) for s in strips]
    )


def _named(picture: UInt8[np.ndarray, "h w 3"], text: str) -> UInt8[np.ndarray, "h2 w 3"]:
    caption = Image.new("RGB", (picture.shape[1], CAPTION), (round(255 * BACKGROUND),) * 3)
    place = (picture.shape[1] / 2, CAPTION / 2)
    ImageDraw.Draw(caption).text(place, text, fill=(40, 44, 52), font=ImageFont.load_default(size=11), anchor="mm")
    return np.concatenate([picture, np.asarray(caption)])


def _bytes(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return (image.movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()
