"""Around and before the face, and what cameras and files do to a picture. Pictures are float RGB in [0, 1]."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter

from tracker.image import read_image, resize, warp
from training.data.encode import jpeg
from training.synthetic.noise import spectrum_noise

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def list_backgrounds(folder: str | Path) -> tuple[Path, ...]:
    """The pictures of a folder tree, sorted.

    Raises:
        ValueError: no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{folder}: no such folder; --backgrounds takes a folder of pictures")
    found = tuple(sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES))
    if not found:
        raise ValueError(f"{folder}: holds no pictures; --backgrounds takes a folder of pictures")
    return found


def draw_background(
    rng: np.random.Generator, size: int, photographs: Sequence[Path] = ()
) -> Float[np.ndarray, "n n 3"]:
    """What is behind a face: a wall, a gradient, a room out of focus, foliage, or a part of a photograph."""
    if photographs:
        return _part_of(rng, read_image(photographs[rng.integers(len(photographs))]), size)
    n = 64
    y, x = np.mgrid[:n, :n] / n
    base, other = _wall_colour(rng, 1.2), _wall_colour(rng, 1.2)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.clip(0.5 + (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)), 0, 1)[..., None]
    picture = base + ramp * (other - base)
    kind = rng.choice(["plain", "cloudy", "room", "busy"], p=[0.2, 0.2, 0.35, 0.25])
    if kind != "plain":
        power = rng.uniform(0.7, 1.8)
        noise = spectrum_noise(rng, n, power)[..., None] * rng.uniform(0.03, 0.2)
        noise = noise + spectrum_noise(rng, n, power)[..., None] * rng.normal(0, 0.02, 3)
        picture = picture + noise
    if kind in ("room", "busy"):
        for _ in range(int(rng.integers(6, 40))):
            colour = _wall_colour(rng, 2.0)
            x0, y0 = rng.uniform(-8, n, 2)
            w, h = n * rng.uniform(0.03, 0.35, 2) ** 1.2
            part = picture[max(int(y0), 0) : max(int(y0 + h), 0), max(int(x0), 0) : max(int(x0 + w), 0)]
            part += rng.uniform(0.4, 1.0) * (colour - part)
        if kind == "busy":
            for _ in range(int(rng.integers(2, 14))):
                colour = _wall_colour(rng, 2.5)
                disc = np.hypot(x - rng.random(), y - rng.random()) < rng.uniform(0.01, 0.12)
                picture[disc] += rng.uniform(0.4, 1.0) * (colour - picture[disc])
    blur = rng.uniform(0.3, 3.0)
    picture = gaussian_filter(picture, (blur, blur, 0), mode="nearest")
    fine = resize((255 * picture.clip(0, 1)).astype(np.uint8), (size, size)) / 255.0
    if blur < 1 and kind != "plain":
        fine = fine + 0.015 * resize_noise(rng, size)[..., None]
    return fine


def _wall_colour(rng: np.random.Generator, spread: float) -> Float[np.ndarray, "3"]:
    """Grey, often a little brown, green or blue, seldom strong."""
    value = rng.beta(1.2, 1.4)
    warm, green = spread * rng.gamma(1.0, 0.05) * rng.choice([-1, 1]), spread * 0.02 * rng.standard_normal()
    return np.clip(value + 1.6 * np.sqrt(value) * np.array([warm, green, -warm]), 0, 1)


def resize_noise(rng: np.random.Generator, size: int) -> Float[np.ndarray, "n n"]:
    """Fine noise of unit variance, correlated over a few pixels."""
    noise = rng.standard_normal((size, size), np.float32)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 2


def _part_of(rng: np.random.Generator, image: UInt8[np.ndarray, "H W 3"], size: int) -> Float[np.ndarray, "n n 3"]:
    height, width = image.shape[:2]
    side = min(height, width) * rng.uniform(0.4, 1.0)
    x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
    scale = size / side
    flip = rng.random() < 0.5
    T = np.array([[scale, 0, -scale * x], [0, scale, -scale * y]])
    part = warp(image, T, (size, size), border="reflect") / 255.0
    blur = rng.uniform(0, 0.02) * size if rng.random() < 0.6 else 0.0
    part = gaussian_filter(part, (blur, blur, 0)) if blur > 0.3 else part
    return part[:, ::-1] if flip else part


@dataclass(frozen=True)
class Cover:
    """Something before the face: RGB, and how much of what is behind it hides."""

    colour: Float[np.ndarray, "n n 3"]
    alpha: Float[np.ndarray, "n n"]


def draw_cover(
    rng: np.random.Generator,
    size: int,
    centre: Float[np.ndarray, "2"],
    side: float,
    skin: Float[np.ndarray, "3"],
) -> Cover:
    """A hand, a microphone, a card, a cup, leaves: something that hides a part of the face.

    Args:
        centre, side: of the face, px.
        skin: colour of a lit hand.
    """
    y, x = np.mgrid[:size, :size] + 0.5
    kind = rng.choice(["hand", "rod", "card", "blob"], p=[0.45, 0.15, 0.2, 0.2])
    angle = rng.uniform(0, 2 * np.pi)
    place = centre + side * rng.uniform(0.25, 0.62) * np.array([np.cos(angle), 0.9 * np.sin(angle)])
    if kind == "hand":
        distance = _hand(rng, x, y, place, centre, side)
        colour, rounding = np.clip(skin * np.exp(rng.normal(0, 0.2)), 0, 1), 0.07 * side
    elif kind == "rod":
        towards = place + side * np.array([rng.normal(0, 0.4), rng.uniform(0.8, 1.5)])
        rod = _to_segment(x, y, place, towards) - 0.04 * side
        distance = np.minimum(rod, np.hypot(x - place[0], y - place[1]) - rng.uniform(0.08, 0.2) * side)
        colour, rounding = np.clip(rng.beta(1, 3) + rng.normal(0, 0.05, 3), 0, 1), 0.1 * side
    elif kind == "card":
        turn = rng.uniform(0, np.pi)
        dx, dy = x - place[0], y - place[1]
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        a, b = side * rng.uniform(0.12, 0.4, 2)
        distance = np.maximum(np.abs(along) - a, np.abs(across) - b)
        colour, rounding = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.2, 3), 0, 1), 0.01 * side
    else:
        a, b = side * rng.uniform(0.1, 0.32, 2)
        wobble = 1 + 0.25 * np.sin(3 * np.arctan2(y - place[1], x - place[0]) + rng.uniform(0, 6))
        distance = (np.hypot((x - place[0]) / a, (y - place[1]) / b) / wobble - 1) * min(a, b)
        colour, rounding = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.2, 3), 0, 1), 0.3 * min(a, b)
    alpha = np.clip(0.5 - distance / 1.2, 0, 1)
    edge = np.clip(-distance / rounding, 0, 1)
    shade = 0.55 + 0.45 * np.sqrt(edge) + 0.1 * (x - y) / size * rng.normal()
    noise = spectrum_noise(rng, 64, 1.0)
    fine = np.kron(noise, np.ones((-(-size // 64),) * 2))[:size, :size]
    shade = shade * (1 + rng.uniform(0.01, 0.1) * (1 if kind != "hand" else 0.3) * gaussian_filter(fine, 1.0))
    return Cover(colour * shade[..., None], alpha)


def _hand(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, place: np.ndarray, centre: np.ndarray, side: float
) -> np.ndarray:
    """Signed distance of a palm with fingers that point about towards the face."""
    aim = np.arctan2(centre[1] - place[1], centre[0] - place[0]) + rng.normal(0, 0.6)
    palm = place - 0.25 * side * np.array([np.cos(aim), np.sin(aim)])
    forearm = palm - side * np.array([np.cos(aim + rng.normal(0, 0.3)), np.sin(aim + 0.1)])
    distance = np.minimum(
        np.hypot(x - palm[0], y - palm[1]) - 0.19 * side, _to_segment(x, y, palm, forearm) - 0.12 * side
    )
    spread = rng.uniform(0.08, 0.3)
    for finger in range(4):
        turn = aim + (finger - 1.5) * spread
        root = palm + 0.15 * side * np.array([np.cos(aim + (finger - 1.5) * 0.5), np.sin(aim + (finger - 1.5) * 0.5)])
        tip = root + side * rng.uniform(0.22, 0.36) * np.array([np.cos(turn), np.sin(turn)])
        distance = np.minimum(distance, _to_segment(x, y, root, tip) - 0.052 * side)
    turn = aim + rng.choice([-1, 1]) * rng.uniform(0.8, 1.3)
    tip = palm + 0.36 * side * np.array([np.cos(turn), np.sin(turn)])
    return np.minimum(distance, _to_segment(x, y, palm, tip) - 0.06 * side)


def _to_segment(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    d = b - a
    t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (d @ d), 0, 1)
    return np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1])


def as_stored(rng: np.random.Generator, picture: Float[np.ndarray, "n n 3"]) -> bytes:
    """What a camera and a file make of a picture, JPEG: focus, motion, size, tone, noise, compression."""
    size = picture.shape[0]
    what = rng.random()
    if what < 0.3:
        blur = rng.uniform(0.3, 0.010 * size)
        picture = gaussian_filter(picture, (blur, blur, 0))
    elif what < 0.4:
        picture = _moved(rng, picture)
    small = size
    if rng.random() < 0.3:
        small = int(size * rng.uniform(0.3, 0.9))
        picture = resize(_bytes(picture), (small, small)) / 255.0
    if rng.random() < 0.35:
        picture = picture.clip(0, 1) ** np.exp(rng.normal(0, 0.12))
        picture = 0.5 + (picture - 0.5) * np.exp(rng.normal(0, 0.1)) + rng.normal(0, 0.02)
    if rng.random() < 0.04:
        picture = np.repeat((picture @ [0.3, 0.59, 0.11])[..., None], 3, axis=-1)
    noise = rng.gamma(1.2, 0.005)
    picture = picture + noise * np.sqrt(0.3 + 1.2 * picture.clip(0, 1)) * (
        0.8 * rng.standard_normal((small, small, 1), np.float32)
        + 0.5 * rng.standard_normal((small, small, 3), np.float32)
    )
    image = _bytes(picture)
    if rng.random() < 0.25:
        image = np.asarray(Image.open(io.BytesIO(jpeg(image, int(rng.integers(25, 75))))))
    if small != size:
        image = resize(image, (size, size))
    return jpeg(image, int(rng.integers(72, 97)))


def _moved(rng: np.random.Generator, picture: Float[np.ndarray, "n n 3"]) -> Float[np.ndarray, "n n 3"]:
    """Smeared along a line of a few pixels, centred."""
    reach = rng.uniform(0.004, 0.016) * picture.shape[0]
    angle = rng.uniform(0, np.pi)
    image = _bytes(picture)
    total = np.zeros_like(picture)
    for t in np.linspace(-1, 1, 7):
        T = np.array([[1, 0, t * reach * np.cos(angle)], [0, 1, t * reach * np.sin(angle)]])
        total += warp(image, T, (picture.shape[1], picture.shape[0]), border="edge")
    return total / (7 * 255.0)


def _bytes(picture: Float[np.ndarray, "n m 3"]) -> UInt8[np.ndarray, "n m 3"]:
    return (255 * picture.clip(0, 1)).round().astype(np.uint8)
