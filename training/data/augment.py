"""Random changes of a crop's pixels: something that covers it, another camera's colours, a worse picture.

Every function draws from the generator it is given and from nothing else. Pictures are uint8, RGB.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

from tracker.image import decode_image


@dataclass(frozen=True)
class Recoloured:
    """A picture in other colours.

    Attributes:
        gain: per channel; the light's coefficients times it explain the new picture, where `linear`.
        linear: whether nothing but the gain was changed.
    """

    image: UInt8[np.ndarray, "H W 3"]
    gain: Float[np.ndarray, "3"]
    linear: bool


def recolour(image: UInt8[np.ndarray, "H W 3"], strength: float, random: np.random.Generator) -> Recoloured:
    """Another exposure and white balance; every other time another contrast, saturation and gamma too.

    Args:
        strength: 0 to 1; at 1 the exposure changes by up to a factor of 1.5 either way.
    """
    draws = random.uniform(-1, 1, size=7) * strength
    gain = np.exp(0.4 * draws[0] + 0.12 * draws[1:4])
    linear = bool(random.random() < 0.5)
    values = np.arange(256) / 255.0
    if linear:
        tables = [255 * values * g for g in gain]
        return Recoloured(_looked_up(image, tables), gain, True)
    contrast, saturation, gamma = np.exp(draws[4:] * (0.3, 0.5, 0.25))
    middle = image.mean() / 255.0
    bent = np.clip(middle + contrast * (values - middle), 0, 1) ** gamma
    changed = _looked_up(image, [255 * bent * g for g in gain])
    grey = changed @ np.array([0.299, 0.587, 0.114], np.float32)
    changed = grey[..., None] + np.float32(saturation) * (changed - grey[..., None])
    return Recoloured(np.clip(changed + 0.5, 0, 255).astype(np.uint8), gain, False)


def _looked_up(image: UInt8[np.ndarray, "H W 3"], tables: list[np.ndarray]) -> UInt8[np.ndarray, "H W 3"]:
    whole = [np.clip(np.round(table), 0, 255).astype(np.uint8) for table in tables]
    return np.stack([table[image[..., channel]] for channel, table in enumerate(whole)], axis=-1)


def degrade(image: UInt8[np.ndarray, "H W 3"], random: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """One or more of: blurred, shrunk and enlarged again, noisy, compressed."""
    height, width = image.shape[:2]
    blurs, shrinks, noisy, compresses = random.random(4) < (0.35, 0.45, 0.3, 0.6)
    picture = Image.fromarray(image)
    if blurs:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.004, 0.012) * width))
    if shrinks:
        factor = math.exp(random.uniform(math.log(1.5), math.log(5.0)))
        small = (max(8, round(width / factor)), max(8, round(height / factor)))
        way = Image.Resampling.BICUBIC if random.random() < 0.5 else Image.Resampling.BILINEAR
        picture = picture.resize(small, Image.Resampling.BOX).resize((width, height), way)
    if noisy:
        noise = random.normal(scale=random.uniform(2, 9), size=(height, width, 3)).astype(np.float32)
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    if compresses or not (blurs or shrinks or noisy):
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=int(random.integers(20, 76)))
        return decode_image(packed.getvalue())
    return np.asarray(picture)


def occluder(resolution: int, random: np.random.Generator) -> Bool[np.ndarray, "R R"]:
    """Where something stands before the face: a round or angular thing, a bar, or a border of the picture."""
    canvas = Image.new("L", (resolution, resolution))
    draw = ImageDraw.Draw(canvas)
    kind = random.random()
    centre = resolution * random.uniform(0.2, 0.8, size=2)
    size = resolution * random.uniform(0.08, 0.22, size=2)
    angle = random.uniform(0, 2 * np.pi)
    if kind < 0.2:  # everything beyond a line: a hood, a shoulder, the edge of another picture
        normal = np.array([math.cos(angle), math.sin(angle)])
        along = np.array([-normal[1], normal[0]])
        start = resolution * (0.5 + random.uniform(0.22, 0.42) * normal)
        far = 2.0 * resolution
        corners = [start + far * along, start - far * along, start - far * along + far * normal]
        corners.append(start + far * along + far * normal)
    elif kind < 0.4:  # a bar: a microphone, an arm
        size = resolution * np.array([1.5, random.uniform(0.03, 0.09)])
        corners = _box(centre, size, angle)
    else:
        count = 24 if kind < 0.7 else int(random.integers(4, 9))
        around = np.linspace(0, 2 * np.pi, count, endpoint=False)
        radius = np.ones(count) if count == 24 else random.uniform(0.6, 1.2, size=count)
        shape = np.stack([np.cos(around), np.sin(around)], axis=1) * radius[:, None] * size
        c, s = math.cos(angle), math.sin(angle)
        corners = list(shape @ np.array([[c, s], [-s, c]]) + centre)
    draw.polygon([tuple(map(float, corner)) for corner in corners], fill=255)
    return np.asarray(canvas) > 0


def _box(centre: np.ndarray, size: np.ndarray, angle: float) -> list[np.ndarray]:
    c, s = math.cos(angle), math.sin(angle)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size @ np.array([[c, s], [-s, c]])
    return list(corners + centre)


def covered_with(
    image: UInt8[np.ndarray, "H W 3"], where: Bool[np.ndarray, "H W"], random: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with something painted over a part of it: a plain or cloudy surface, or another part of itself."""
    height, width = where.shape
    kind = random.random()
    if kind < 0.35:  # another part of the picture: hair, clothes, skin as of a hand
        x, y = (int(v) for v in random.integers(1, [width, height]))
        paint = np.roll(image, (y, x), axis=(0, 1))
        paint = paint[:, ::-1] if random.random() < 0.5 else paint[::-1]
    else:
        colour = random.uniform(0, 255, size=3)
        cells = 1 if kind < 0.5 else int(random.integers(2, 25))
        clouds = colour + random.uniform(5, 60) * random.standard_normal((cells, cells, 3 if cells % 2 else 1))
        small = Image.fromarray(np.clip(np.broadcast_to(clouds, (cells, cells, 3)), 0, 255).astype(np.uint8))
        paint = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return np.where(where[..., None], paint, image)
