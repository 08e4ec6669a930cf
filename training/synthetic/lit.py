"""Light on the head: relief, highlights, shadows, and what glasses make of it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from model.asset import HeadAsset
from model.params import FaceParams
from training.synthetic.draw import shade_head
from training.synthetic.hair import step
from training.synthetic.light import Light
from training.synthetic.noise import spectrum_noise
from training.synthetic.skin import Skin
from training.synthetic.style import Glasses, Style


class LitHead:
    """Shades the fragments of a head.

    Args:
        skin: its textures.
    """

    def __init__(self, asset: HeadAsset, skin: Skin) -> None:
        assert asset.uv_faces is not None  # the textures could not have been made
        self.skin = skin
        self.names = asset.expression_names
        self.uv = np.ascontiguousarray((skin.layout.grid.numpy() + 1) / 2 * skin.size, np.float32)
        self.uv_faces = np.ascontiguousarray(asset.uv_faces, np.int64)
        self.faces = np.ascontiguousarray(asset.faces, np.int64)
        region = asset.regions
        shown = region["skin"] - region["scalp"] + region["left_eye"] + region["right_eye"]
        self.counts_as_skin = np.clip(shown, 0, 1).astype(np.float32)
        y, z = asset.template[:, 1], asset.template[:, 2]
        inside = 0.6 * region["inner_mouth"] + 0.35 * region["tongue"] + 0.2 * region["teeth"]
        below = 0.3 * region["neck"] * step(-0.09, -0.115, y) * step(0.07, 0.03, z)
        self.dark = (1 - np.clip(inside + below, 0, 0.8)).astype(np.float32)

    def __call__(
        self,
        buffers: tuple[np.ndarray, ...],
        normals: Float[np.ndarray, "V 3"],
        texture: Float[np.ndarray, "h w 7"],
        half: Float[np.ndarray, "L 4"],
        light: Light,
        shadow: Float[np.ndarray, "n n"],
        samples: int,
        dark: bool,
    ) -> Float[np.ndarray, "n n 5"]:
        """RGB times coverage, coverage, coverage by skin.

        Args:
            buffers: triangle and barycentric coordinates of every sample.
            texture, half: of `bare` or `made_up`.
            shadow: factor on the light.
            samples: per pixel and axis.
            dark: whether less light comes into the mouth and under the chin.
        """
        out = np.zeros((*shadow.shape, 5), np.float32)
        shade_head(
            buffers[0], buffers[1], self.faces, normals, self.uv, self.uv_faces, texture, self.counts_as_skin,
            self.dark if dark else np.ones_like(self.dark), light.factors, half,
            light.colour.astype(np.float32)[: len(half)], shadow, samples, out,
        )  # fmt: skip
        return out

    def bare(self, albedo: Float[np.ndarray, "h w 3"]) -> tuple[np.ndarray, np.ndarray]:
        """Texture and lamps of a head that is nothing but its albedo."""
        texture = np.concatenate([albedo, np.zeros((*albedo.shape[:2], 4))], axis=-1, dtype=np.float32)
        return texture, np.zeros((0, 4), np.float32)

    def made_up(
        self,
        painted: Float[np.ndarray, "h w 3"],
        style: Style,
        params: FaceParams,
        rotation: Float[np.ndarray, "3 3"],
        light: Light,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Texture and lamps of a head with relief, folds and highlights; eyes and teeth are wet."""
        slopes = self.skin.slopes(style, self.folds(params, style), rotation)
        texture = self.skin.texture(painted, slopes, style)
        wet = self.skin.ball + 0.6 * self.skin.teeth
        texture[..., 6] = np.where(wet > 0.5, -0.9 * wet, texture[..., 6])
        half = light.direction + np.array([0.0, 0.0, 1.0])
        half = half / np.maximum(np.linalg.norm(half, axis=-1, keepdims=True), 1e-6)
        return texture, np.column_stack([half, np.full(len(half), style.gloss[1])]).astype(np.float32)

    def folds(self, params: FaceParams, style: Style) -> Float[np.ndarray, "6"]:
        """Depth of the folds, metres: age and expression make them."""
        values = dict(zip(self.names, params.expression.tolist(), strict=True))

        def both(unit: str) -> float:
            return 0.5 * (values.get(unit + "Left", 0.0) + values.get(unit + "Right", 0.0))

        age = style.age
        raised = max(both("browInnerUp"), both("browOuterUp"))
        smile = max(both("mouthSmile"), both("noseSneer"), 0.7 * both("mouthStretch"))
        squint = max(both("cheekSquint"), both("eyeSquint"), both("mouthSmile") * 0.6)
        down = both("browDown")
        shrug = values.get("mouthShrugLower", 0.0)
        return np.array(
            [
                7e-4 * (0.25 * age + raised * (0.2 + 0.8 * age)),
                9e-4 * (0.4 * age + smile * (0.6 + 0.4 * age)),
                7e-4 * (0.15 * age + down * (0.3 + 0.7 * age)),
                5e-4 * (0.2 * age + squint * (0.2 + 0.8 * age)),
                5e-4 * (0.6 * age + 0.3 * squint),
                5e-4 * shrug,
            ]
        )


def cast_shadow(
    rng: np.random.Generator, light: Light, hidden: Float[np.ndarray, "n n"], s: float
) -> Float[np.ndarray, "n n"]:
    """A factor: the shadow of hair and glasses on the skin, and now and then one from outside the picture.

    Args:
        hidden: where hair and glasses are.
        s: px per metre.
    """
    reach = 0.012 * s
    x, y, _ = light.direction[0]
    moved = np.roll(hidden, (round(reach * max(y, 0.2)), round(-reach * x)), (0, 1))
    soft = gaussian_filter(np.maximum(hidden, moved), 0.006 * s)
    factor = 1 - rng.uniform(0.15, 0.6) * soft
    if rng.random() < 0.12:
        noise = spectrum_noise(rng, len(hidden), 2.2)
        factor = factor * (1 - rng.uniform(0.15, 0.6) * step(-0.15, 0.15 + 0.5 * rng.random(), noise))
    return factor.astype(np.float32)


def through_lens(
    rng: np.random.Generator,
    image: Float[np.ndarray, "n n 3"],
    glass: Float[np.ndarray, "n n"],
    normal: Float[np.ndarray, "3"],
    light: Light,
    style: Glasses,
) -> Float[np.ndarray, "n n 3"]:
    """The picture with lenses over it: tinted, and with a reflection now and then.

    Args:
        glass: where the lenses are.
        normal: of the lenses, camera axes.
    """
    size = len(image)
    lit = np.clip(light.on(normal), 0.05, 1.5)
    y, x = np.mgrid[:size, :size] / size
    band = step(0.04, 0.0, np.abs(x + rng.uniform(-1, 1) * y - rng.uniform(0.2, 0.8)))
    gleam = rng.uniform(0.0, 0.35) * band * (rng.random() < 0.5) + 0.03
    seen = image * (1 - style.darkness) + style.darkness * style.tint * lit + gleam[..., None]
    return image + glass[..., None] * (seen - image)
