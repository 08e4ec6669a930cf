"""The texture of a face: its albedo, and what the codes do not say: stubble, make-up, spots, folds and relief."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import interpolate

from model.asset import HeadAsset
from model.uv import UVLayout
from training.synthetic.hair import Scalp, step
from training.synthetic.noise import GRAIN, patterns, skin_heights, spectrum_noise
from training.synthetic.style import Style

_MARGIN = 3  # texels at the rims of the skin's chart without relief


class Skin:
    """Textures of a head.

    Raises:
        ValueError: the head has no albedo.
    """

    def __init__(self, asset: HeadAsset) -> None:
        if asset.albedo_mean is None or asset.albedo_basis is None:
            raise ValueError(f"head {asset.name} has no albedo to render; use openhead")
        self.mean = torch.from_numpy(asset.albedo_mean).float().movedim(-1, 0)
        basis = np.moveaxis(asset.albedo_basis, -1, 1)
        self.basis_size = basis.shape[1:]
        self.basis = torch.from_numpy(np.ascontiguousarray(basis.reshape(len(basis), -1))).float()
        self.size = size = asset.albedo_mean.shape[0]
        layout = UVLayout(asset, size)
        self.layout = layout

        def carried(values: np.ndarray) -> np.ndarray:
            return layout.carry(torch.from_numpy(values.astype(np.float32))).numpy()

        place = carried(asset.template).transpose(1, 2, 0).astype(np.float64)
        region = {name: carried(mask[:, None])[0].astype(np.float64) for name, mask in asset.regions.items()}
        self.place, self.region = place, region
        self.face = region["face"] * (1 - region["lips"])
        x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
        self.lids = step(1.3, 0.6, np.hypot((x - 0.031) / 0.020, (y - 0.009) / 0.010)) * step(0.05, 0.06, z)
        self.lids *= region["skin"] * step(-0.002, 0.002, y)
        self.brow = np.clip(region["left_brow"] + region["right_brow"], 0, 1)
        self.cheek_spot = np.exp(-0.5 * (((x - 0.043) / 0.017) ** 2 + ((y + 0.03) / 0.015) ** 2)) * self.face
        self.stubble = {
            kind: Scalp.beard_mask(place, kind) * region["skin"] * (1 - region["lips"]) ** 2
            for kind in ("full", "goatee", "moustache")
        }
        self.grain = patterns(256)[GRAIN].astype(np.float64)
        self.grain = self.grain[:: 256 // size, :: 256 // size] if size < 256 else self.grain
        rng = np.random.default_rng(22)
        self.blotches = np.stack([spectrum_noise(rng, size, 1.3, 3, 40) for _ in range(6)])
        self.pores = np.stack([spectrum_noise(rng, size, 0.3, 20, 100) for _ in range(6)])
        zone = 0.6 + 0.5 * step(0.035, 0.01, x) * region["forehead"] + 0.7 * region["nose"] + 0.25 * self.cheek_spot
        self.gloss = zone * region["skin"] * (1 - region["scalp"]) * (1 - self.brow) + 1.1 * region["lips"]
        self.ball = np.clip(region["left_eye"] + region["right_eye"], 0, 1)
        self.teeth = region["teeth"]
        self._prepare_relief(skin_heights(size))
        maps = ("face", "lids", "brow", "cheek_spot", "grain", "blotches", "pores", "gloss", "ball", "teeth")
        for name in maps:
            setattr(self, name, getattr(self, name).astype(np.float32))
        self.region = {name: mask.astype(np.float32) for name, mask in self.region.items()}
        self.stubble = {kind: mask.astype(np.float32) for kind, mask in self.stubble.items()}
        self.upper = step(0.05, 0.02, self.place[..., 1]).astype(np.float32)

    def _prepare_relief(self, heights: Float[np.ndarray, "n h w"]) -> None:
        """How a difference of heights between texels tilts the normal, head space; and the folds of the face."""
        along_u = np.gradient(self.place, axis=1)
        along_v = np.gradient(self.place, axis=0)
        inside = self.region["skin"] > 0.99
        for shift in range(1, _MARGIN + 1):
            for axis in (0, 1):
                inside &= np.roll(self.region["skin"] > 0.99, shift, axis) & np.roll(
                    self.region["skin"] > 0.99, -shift, axis
                )
        inside &= np.linalg.norm(along_u, axis=-1) < 0.01

        def inverse(vector: np.ndarray) -> np.ndarray:
            square = (vector**2).sum(-1, keepdims=True)
            return np.where(inside[..., None] & (square > 1e-12), vector / np.maximum(square, 1e-12), 0.0)

        self.tilt_u, self.tilt_v = inverse(along_u).astype(np.float32), inverse(along_v).astype(np.float32)
        bare = (1 - 0.9 * self.region["lips"]) * (1 - self.region["scalp"]) * (1 - 0.7 * self.lids)
        self.heights = (heights * bare).astype(np.float32)
        x, y, z = np.abs(self.place[..., 0]), self.place[..., 1], self.place[..., 2]
        front = step(0.03, 0.05, z) * self.region["skin"]

        def groove(distance: np.ndarray, width: float) -> np.ndarray:
            return -np.exp(-0.5 * (distance / width) ** 2)

        wavy = 0.0022 * np.sin(x / 0.011) + 0.001 * np.sin(x / 0.004 + 1)
        forehead = sum(groove(y - level - wavy, 0.0013) for level in (0.036, 0.044, 0.052, 0.061))
        forehead = forehead * step(0.05, 0.035, x) * front
        smile = groove(_to_line(x, y, [(0.0165, -0.034), (0.0235, -0.046), (0.0300, -0.058), (0.0315, -0.074)]), 0.0019)
        frown = groove(x - 0.0065, 0.0012) * step(0.004, 0.010, y) * step(0.032, 0.024, y) * front
        crows = sum(
            groove(_to_line(x, y, [(0.0475, 0.0), (0.060, end)]), 0.0009) for end in (0.010, 0.003, -0.004, -0.011)
        )
        bags = groove(np.hypot((x - 0.030) / 1.25, y - 0.008) - 0.0185, 0.0013) * step(-0.004, -0.008, y) * front
        chin = groove(y + 0.0865, 0.0018) * step(0.02, 0.012, x) * front
        self.folds = np.stack([forehead, smile * front, frown, crows * front, bags, chin]).astype(np.float32)

    def albedo(self, codes: Float[torch.Tensor, "A"]) -> Float[np.ndarray, "h w 3"]:
        """What the codes say, RGB, as `model.shading.albedo_texture` gives it."""
        offset = (codes @ self.basis).view(1, *self.basis_size)
        offset = interpolate(offset, (self.size, self.size), mode="bilinear", align_corners=False)[0]
        return np.ascontiguousarray((self.mean + offset).movedim(0, -1).numpy())

    def colour_of(self, albedo: Float[np.ndarray, "h w 3"], where: Float[np.ndarray, "h w"]) -> np.ndarray:
        """Mean colour of a part, RGB."""
        return np.tensordot(where.astype(np.float32), albedo, 2) / where.sum()

    def painted(
        self, albedo: Float[np.ndarray, "h w 3"], style: Style, rng: np.random.Generator
    ) -> Float[np.ndarray, "h w 3"]:
        """The albedo with spots, stubble and make-up.

        Args:
            rng: of the person.
        """
        out = albedo.astype(np.float32, copy=True)
        first, second = rng.choice(6, 2, replace=False)
        freckles = np.clip(self.pores[second] - rng.uniform(1.6, 6.0), 0, 1.5) * (0.22 * self.upper)
        blush = np.float32(rng.normal(0.0, 0.06)) * self.cheek_spot
        grey = style.mottle * 0.5 * (self.blotches[second] + self.pores[first]) - freckles
        grey = grey - np.float32(rng.uniform(0, 0.15)) * np.clip(-self.folds[4], 0, 1)
        red = (
            style.mottle * self.blotches[first] - 0.3 * freckles - blush
        )  # what blood and pigment do to green and blue
        where = self.region["skin"] * (1 - 0.6 * self.region["scalp"])
        for channel, share in enumerate((-0.1, 1.0, 0.85)):
            out[..., channel] *= np.exp(where * (grey + np.float32(share) * red))
        if style.beard != "none":
            kind = "full" if style.beard == "stubble" else style.beard
            amount = rng.uniform(0.15, 0.65) if style.beard == "stubble" else 0.8
            density = np.clip(self.stubble[kind] * amount * (0.55 + 0.9 * self.grain), 0, 0.9)[..., None]
            dark = (
                np.minimum(style.hair.colour * 0.8, 0.35) if style.hair.kind not in ("scarf", "cap", "beanie") else 0.12
            )
            out += density * (dark - out)
        colour, amount = style.lips
        if amount:
            out += amount * step(0.3, 0.8, self.region["lips"])[..., None] * (colour - out)
        colour, amount = style.lids
        if amount:
            out += amount * self.lids[..., None] * (colour * 0.7 - out)
        out *= 1 + (style.brows - 1) * self.brow[..., None]
        return out.clip(0.0, 1.0)

    def slopes(
        self, style: Style, folds: Float[np.ndarray, "6"], rotation: Float[np.ndarray, "3 3"]
    ) -> Float[np.ndarray, "h w 3"]:
        """What relief and folds take from the unit normal, camera axes.

        Args:
            folds: depth of forehead, cheek, frown, eye, under-eye and chin folds, metres.
            rotation: head space to camera axes.
        """
        height = np.float32(style.relief) * self.heights[style.relief_map]
        height += np.tensordot(folds.astype(np.float32), self.folds, 1)
        down, across = np.gradient(height)
        tilt = across[..., None] * self.tilt_u + down[..., None] * self.tilt_v
        length = np.linalg.norm(tilt, axis=-1, keepdims=True)
        tilt *= 1 / (1 + length)  # no cliffs
        return tilt @ rotation.T.astype(np.float32)

    def texture(
        self, painted: Float[np.ndarray, "h w 3"], slopes: Float[np.ndarray, "h w 3"], style: Style
    ) -> Float[np.ndarray, "h w 7"]:
        """All that `shade_head` asks for."""
        rough = np.clip(1 + 0.25 * self.pores[style.relief_map], 0, 2)
        gloss = style.gloss[0] * self.gloss * rough
        return np.concatenate([painted, slopes, gloss[..., None]], axis=-1, dtype=np.float32)


def _to_line(x: np.ndarray, y: np.ndarray, points: list[tuple[float, float]]) -> np.ndarray:
    """Distance to a polyline."""
    best = np.full(x.shape, np.inf)
    for (ax, ay), (bx, by) in pairwise(points):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        best = np.minimum(best, np.hypot(x - ax - t * dx, y - ay - t * dy))
    return best
