"""The pictures of docs/deca.md: the parts of DECA on the shipped head. ``python -m training.deca_page [FOLDER]``.

The wrinkles are drawn by hand, where a trained network would put those of the person.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from model.asset import HeadAsset
from model.dense import DenseSurface, subdivision_for
from model.detail import DetailMaps, DetailSurface
from model.head import HeadModel
from model.io.assets import load_head
from model.mesh import Mesh
from model.params import Camera, FaceParams
from model.shading import albedo_texture, sh_basis, shape_shading
from model.texture import extract_texture
from model.uv import UVLayout
from model.views import (
    Surface,
    composite,
    detail_normal_view,
    look,
    normal_view,
    shading_view,
    shape_view,
    textured_view,
)

TILE, SAMPLES = 320, 2  # px on a side, and how often each is sampled
MAP = 512
BACKGROUND = 0.965
_FOLDS = ((0.335, 0.20), (0.297, 0.22), (0.262, 0.21), (0.230, 0.17))
"""Height on the map (from its top) and half width of each fold of the forehead."""


def wrinkles(raise_of_brows: float, size: int = MAP) -> Float[Tensor, "h w"]:
    """Folds of the forehead that deepen as the brows rise (0 to 1), metres over the UV map of openhead."""
    v, u = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    folds = torch.zeros(size, size)
    for height, half in _FOLDS:
        # A fold bends up towards the temples, is deepest in the middle and never quite straight.
        line = height - 0.028 * (u - 0.5) ** 2 / half**2 + 0.004 * torch.sin(38 * u + 60 * height)
        across = (v - line) / 0.006
        along = (1 - ((u - 0.5) / half).abs() ** 3).clamp(min=0)
        folds = folds + along * (0.55 * torch.exp(-((across / 2.2) ** 2)) - 1.25 * torch.exp(-(across**2)))
    return 0.0011 * raise_of_brows * folds


def light_from(
    direction: tuple[float, float, float], colour: tuple[float, float, float], ambient: float
) -> Float[Tensor, "9 3"]:
    """Coefficients of a lamp (Lambert's law) and some light from everywhere, fitted over all normals."""
    normals = torch.nn.functional.normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    towards = torch.nn.functional.normalize(torch.tensor(direction), dim=0)
    wanted = ambient + (normals @ towards).clamp(min=0)[:, None] * torch.tensor(colour)
    return torch.linalg.lstsq(sh_basis(normals), wanted).solution


def main(arguments: list[str] | None = None) -> int:
    """Write the pictures into a folder, by default docs/images."""
    arguments = sys.argv[1:] if arguments is None else arguments
    folder = Path(arguments[0]) if arguments else Path("docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        studio = Studio(load_head())
        studio.parts().save(folder / "deca-detail.png", optimize=True)
        studio.lights().save(folder / "deca-light.png", optimize=True)
        studio.maps().save(folder / "deca-maps.png", optimize=True)
    return 0


class Studio:
    """The shipped head in front of a camera."""

    def __init__(self, asset: HeadAsset) -> None:
        assert asset.albedo_mean is not None and asset.albedo_basis is not None
        self.asset = asset
        self.head = HeadModel(asset)
        self.layout = UVLayout(asset, MAP)
        self.surface = DetailSurface(asset, self.layout, curved=True)
        self.dense = DenseSurface(asset, subdivision_for(asset, MAP // 2))
        mean, basis = torch.from_numpy(asset.albedo_mean), torch.from_numpy(asset.albedo_basis)
        albedo = albedo_texture(mean, basis, torch.zeros(1, len(basis))).clamp(0, 1)
        self.albedo = torch.nn.functional.interpolate(albedo, (MAP, MAP), mode="bilinear", align_corners=False)

    def params(self, raised: float, yaw: float = 0.0, **units: float) -> FaceParams:
        """A pose with the brows raised and other units by name."""
        params = self.head.neutral(1)
        weights = {name: raised for name in self.asset.expression_names if name.startswith("brow") and "Up" in name}
        expression = params.expression.clone()
        for name, value in (weights | units).items():
            expression[0, self.asset.expression_names.index(name)] = value
        return replace(params, expression=expression, pose=torch.tensor([[0.05, yaw, 0.0]]))

    def detailed(self, mesh: Mesh, raised: float) -> DetailMaps:
        """The displaced surface, in maps."""
        return self.surface(mesh, wrinkles(raised)[None])

    @property
    def grey(self) -> Float[Tensor, "h w"]:
        """The coarse shape, shaded over the UV map, to show where things are on it."""
        normals = self.surface(self.head.mesh(self.head.neutral(1)), torch.zeros(1, MAP, MAP)).normals
        return shape_shading(normals.movedim(1, -1))[0] * self.layout.covered + BACKGROUND * (1 - self.layout.covered)

    def look(
        self, mesh: Mesh, zoom: float = 1.0, height: float = -0.02, normals: Float[Tensor, "1 V 3"] | None = None
    ) -> Surface:
        """The mesh in a square picture, larger than a tile by `SAMPLES`."""
        size = TILE * SAMPLES
        scale = 3.3 * size * zoom
        camera = Camera(torch.tensor([scale]), torch.tensor([[size / 2, size / 2 + scale * height]]))
        return look(mesh, camera, size, size, normals)

    def parts(self) -> Image.Image:
        """Coarse and detailed shape while the brows rise, and the map between them."""
        rows = []
        for raised in (0.0, 0.5, 1.0):
            mesh = self.head.mesh(self.params(raised))
            maps = self.detailed(mesh, raised)
            coarse, close = self.look(mesh), self.look(mesh, 2.2, 0.045)
            normals = detail_normal_view(coarse, maps.normals, self.layout)
            close_normals = detail_normal_view(close, maps.normals, self.layout)
            turned = self.head.mesh(self.params(raised, 0.6))
            dense = self.dense(turned, self.detailed(turned, raised).displacement)
            side = self.look(dense.mesh, normals=dense.normals)
            rows.append(
                [
                    tile(*shape_view(coarse)),
                    heat(maps.displacement[0], self.grey),
                    tile(*shape_view(coarse, normals)),
                    tile(*shape_view(close, close_normals)),
                    tile(*shape_view(side)),
                ]
            )
        names = ["coarse shape", "displacement, ±1 mm", "detailed shape", "forehead", "dense mesh"]
        return sheet(rows, names, ["neutral", "brows half up", "brows up"])

    def lights(self) -> Image.Image:
        """Coarse and detailed head under three lights, with and without albedo."""
        mesh = self.head.mesh(self.params(1.0, -0.25))
        maps = self.detailed(mesh, 1.0)
        surface = self.look(mesh)
        coarse = normal_view(surface)
        detail = detail_normal_view(surface, maps.normals, self.layout)
        lamps = {
            "window, left": light_from((-1.0, 0.5, 0.6), (1.15, 1.1, 1.0), 0.25),
            "lamp, above": light_from((0.15, 1.0, 0.6), (1.1, 1.0, 0.82), 0.3),
            "open sky": light_from((0.3, 0.5, 0.8), (0.55, 0.65, 0.8), 0.5),
        }
        rows = []
        for lamp in lamps.values():
            light = lamp[None]
            rows.append(
                [
                    tile(shading_view(coarse, light) * 0.75, surface.alpha),
                    tile(shading_view(detail, light) * 0.75, surface.alpha),
                    tile(textured_view(surface, coarse, self.albedo, light, self.layout), surface.alpha),
                    tile(textured_view(surface, detail, self.albedo, light, self.layout), surface.alpha),
                ]
            )
        names = ["shading, coarse", "shading, detailed", "rendered, coarse", "rendered, detailed"]
        return sheet(rows, names, list(lamps))

    def maps(self) -> Image.Image:
        """What lies over the UV map, and a texture taken back from a picture."""
        mesh = self.head.mesh(self.params(1.0, 0.35))
        maps = self.detailed(mesh, 1.0)
        light = light_from((-0.6, 0.6, 0.8), (0.8, 0.75, 0.7), 0.3)[None]
        size = TILE * SAMPLES
        camera = Camera(torch.tensor([3.3 * size]), torch.tensor([[size / 2, size / 2 - 0.066 * size]]))
        surface = look(mesh, camera, size, size)
        detail = detail_normal_view(surface, maps.normals, self.layout)
        picture = textured_view(surface, detail, self.albedo, light, self.layout)
        found = extract_texture(picture, mesh, camera, self.layout)
        covered = self.layout.covered[None, None]
        grey = shape_shading(maps.normals.movedim(1, -1))[:, None].expand(-1, 3, -1, -1)
        row = [
            tile(maps.normals / 2 + 0.5, covered),
            tile(grey, covered),
            tile(self.albedo * shading_view(maps.normals, light), covered),
            tile(picture, surface.alpha),
            tile(found.colour, found.visible),
        ]
        names = ["detail normals", "grey shading", "lit texture", "picture", "texture from the picture"]
        return sheet([row], names, [""])


def tile(image: Float[Tensor, "1 3 H W"], alpha: Float[Tensor, "1 1 H W"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture over the page's background, at the tile's size."""
    over = composite(image * alpha, alpha, torch.full_like(image, BACKGROUND))
    small = torch.nn.functional.interpolate(over, (TILE, TILE), mode="area")[0].movedim(0, -1)
    return (small.clamp(0, 1) * 255).round().byte().numpy()


def heat(displacement: Float[Tensor, "h w"], grey: Float[Tensor, "h w"]) -> UInt8[np.ndarray, "H W 3"]:
    """Blue inwards, red outwards, 1 mm at full colour, over a pale grey picture."""
    value = (displacement / 1e-3).clamp(-1, 1)
    red, blue = 1 - (-value).clamp(min=0), 1 - value.clamp(min=0)
    pale = 0.7 + 0.3 * grey
    colours = pale * torch.stack([red, torch.minimum(red, blue), blue])[None]
    small = torch.nn.functional.interpolate(colours, (TILE, TILE), mode="area")[0].movedim(0, -1)
    return (small * 255).round().byte().numpy()


def sheet(rows: list[list[UInt8[np.ndarray, "h w 3"]]], names: list[str], labels: list[str]) -> Image.Image:
    """Tiles in rows with a name over each column and one beside each row."""
    top, left, gap = 30, 34 if any(labels) else 0, 4
    width, height = left + len(names) * (TILE + gap), top + len(rows) * (TILE + gap)
    page = Image.new("RGB", (width, height), (255, 255, 255))
    font = ImageFont.load_default(18)
    draw = ImageDraw.Draw(page)
    for column, name in enumerate(names):
        draw.text((left + column * (TILE + gap) + TILE / 2, top / 2), name, (40, 40, 40), font, anchor="mm")
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + index * (TILE + gap)
        if label:
            strip = Image.new("RGB", (TILE, left), (255, 255, 255))
            ImageDraw.Draw(strip).text((TILE / 2, left / 2), label, (40, 40, 40), font, anchor="mm")
            page.paste(strip.rotate(90, expand=True), (0, y))
        for column, pixels in enumerate(row):
            page.paste(Image.fromarray(pixels), (left + column * (TILE + gap), y))
    return page


if __name__ == "__main__":
    raise SystemExit(main())
