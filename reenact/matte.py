"""What belongs to the person on a photograph, part by part, and the background behind."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from model.io.parsing import load_parser
from model.parsing import Part
from reenact.target import Target
from tracker.image import warp
from tracker.observation import ibug68

_ROOM = 2.5
"""Side of the window over the side of the landmarks' box: what the parser sees well, with room for hair and neck."""
_ABOVE = 1.3  # as far up as down, times this
_RIM = (0.03, 0.12)  # parts of the window, from its edge
_PARSED = 384  # px, side of what the parser is shown


@dataclass(frozen=True)
class Window:
    """The part of the photograph in which anything moves: x0, y0, x1, y1, px."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.x1 - self.x0, self.y1 - self.y0

    def of(self, image: np.ndarray) -> np.ndarray:
        """A view of the picture's part."""
        return image[self.y0 : self.y1, self.x0 : self.x1]


@dataclass(frozen=True)
class Scene:
    """The window's person and background.

    Attributes:
        parts: probability of every `Part` at the window's pixels.
        matte: 1 where the person is, 0 where the background is, soft between.
        background: the photograph with the person's outline painted over from outside.
    """

    window: Window
    parts: Float[np.ndarray, "P H W"]
    matte: Float[np.ndarray, "H W"]
    background: UInt8[np.ndarray, "H W 3"]

    def person(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 4"]:
        """Colours times matte, and the matte: what the background lacks of the window's picture.

        Laid over the background it is the picture again, wherever the matte is soft or wrong.
        """
        alpha = self.matte[..., None]
        return np.dstack([image - (1 - alpha) * self.background, alpha]).astype(np.float32)


def window_of(target: Target) -> Window:
    """A box about the face, with more room above for high hair, cut off at the picture's edges."""
    points = ibug68(target.face)
    low, high = points.min(0), points.max(0)
    half = _ROOM * float((high - low).mean()) / 2
    x, y = (low + high) / 2
    width, height = target.size
    left, top, right, bottom = x - half, y - _ABOVE * half, x + half, y + half
    return Window(max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom)))


def look_at(target: Target) -> Scene:
    """Parse the window, cut the person out and paint the background behind."""
    window = window_of(target)
    image = window.of(target.image)
    parts = parse(image)
    person = 1 - parts[Part.BACKGROUND]
    guide = image.astype(np.float32).mean(2) / 255
    radius = max(2, round(0.012 * max(window.size)))
    matte = np.clip((guided(person, guide, radius, 1e-3) - 0.15) / 0.7, 0, 1)
    # Below the chin nothing moves far; there the parser knows least, and nothing needs to be cut out.
    points = ibug68(target.face)
    chin, tall = points[8, 1] - window.y0, np.ptp(points[:, 1])
    still = np.clip((np.arange(len(matte)) - chin) / (0.25 * tall) - 0.6, 0, 1)[:, None]
    matte = np.maximum(np.maximum(matte, still), _rim(window, target.size)).astype(np.float32)
    return Scene(window, parts, matte, _background(image, np.maximum(person, matte), radius))


def _rim(window: Window, size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """1 at the window's edges within the picture, 0 further inside: there nothing moves, and nothing is cut out."""
    width, height = window.size
    x, y = np.arange(width) / width, np.arange(height)[:, None] / height
    far = np.full((height, width), np.inf)
    for inside, distance in (
        (window.x0 > 0, x),
        (window.x1 < size[0], 1 - x),
        (window.y0 > 0, y),
        (window.y1 < size[1], 1 - y),
    ):
        if inside:
            far = np.minimum(far, distance)
    return np.clip((_RIM[1] - far) / (_RIM[1] - _RIM[0]), 0, 1)


def parse(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "P H W"]:
    """The probability of every `Part`, at the picture's size."""
    height, width = image.shape[:2]
    shrink = _PARSED / max(height, width)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = warp(image, np.array([[size[0] / width, 0, 0], [0, size[1] / height, 0]]), size, border="edge")
    tensor = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    parts = load_parser()(tensor)[0].numpy()
    return np.stack([cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in parts])


def guided(
    values: Float[np.ndarray, "H W"], guide: Float[np.ndarray, "H W"], radius: int, softness: float
) -> Float[np.ndarray, "H W"]:
    """Values smoothed along the edges of a picture (guided filter, He et al. 2010).

    Args:
        radius: px.
        softness: variance of the guide, [0, 1] squared, below which a place counts as flat.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, size, borderType=cv2.BORDER_REFLECT)

    values, guide = values.astype(np.float32), guide.astype(np.float32)
    centre, level = mean(guide), mean(values)
    slope = (mean(guide * values) - centre * level) / (mean(guide * guide) - centre * centre + softness)
    return mean(slope) * guide + mean(level - slope * centre)


def _background(
    image: UInt8[np.ndarray, "H W 3"], person: Float[np.ndarray, "H W"], radius: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Painted in from the outline inwards (Telea 2004), at a quarter of the size: it is seen in thin strips only."""
    height, width = image.shape[:2]
    hidden = (person > 0.08).astype(np.uint8)
    hidden = cv2.dilate(hidden, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
    if hidden.all():
        return image.copy()
    shrink = min(1.0, 160 / max(height, width))
    size = (max(8, round(width * shrink)), max(8, round(height * shrink)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    mask = (cv2.resize(hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    filled = cv2.inpaint(small, mask, 5, cv2.INPAINT_TELEA)
    large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), max(1.0, radius / 3))
    soft = np.maximum(soft, hidden)[..., None]
    painted = large + _grain(image, hidden)
    return np.clip(painted * soft + image * (1 - soft) + 0.5, 0, 255).astype(np.uint8)


def _grain(image: UInt8[np.ndarray, "H W 3"], hidden: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 3"]:
    """Noise as strong as the visible background's: what is painted in would look smooth beside canvas or film."""
    fine = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 1.5).astype(np.float32)
    shown = hidden == 0
    if shown.sum() < 100:
        return np.zeros_like(fine)
    spread = 1.48 * np.median(np.abs(fine[shown]), axis=0)
    noise = np.random.default_rng(0).standard_normal(hidden.shape).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.7)
    return noise[..., None] / noise.std() * spread
