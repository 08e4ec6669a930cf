"""Photographs with their classes, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from model.parsing import Part
from tracker.image import read_image, resize

SIDE = 320
"""Side of the portraits, px."""

# CelebAMask-HQ's classes in their order: background, skin, nose, glasses, eyes, brows, ears, inner mouth, lips, hair,
# hat, earring, necklace, neck, clothes.
_PART_OF_CLASS = np.array(
    [
        Part.BACKGROUND,
        Part.SKIN,
        Part.NOSE,
        Part.GLASSES,
        *[Part.EYES] * 2,
        *[Part.BROWS] * 2,
        *[Part.EARS] * 2,
        Part.MOUTH,
        *[Part.LIPS] * 2,
        Part.HAIR,
        Part.HAT,
        Part.EARS,
        Part.CLOTHES,
        Part.NECK,
        Part.CLOTHES,
    ],
    np.uint8,
)

_LEFT_EYE, _RIGHT_EYE = 4, 5

HELD_OUT_BELOW = "19"
"""Portraits whose file's SHA-256 (hexadecimal) sorts before this are never trained on."""


@dataclass(frozen=True)
class Portraits:
    """Square pictures with the part of each pixel.

    Attributes:
        images: RGB.
        parts: `Part` of each pixel, or `UNKNOWN`.
        eyes: centres of the subject's right and left eye, px (x, y); not finite where one is not seen.
        names: of the files, or of the rendered heads.
    """

    images: UInt8[np.ndarray, "N S S 3"]
    parts: UInt8[np.ndarray, "N S S"]
    eyes: Float[np.ndarray, "N 2 2"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


UNKNOWN = 255
"""Stands for a part where nobody knows it; such pixels are not learned from."""


def held_out(content: bytes) -> bool:
    """Whether a photograph is for evaluation only, by what is in its file: a tenth of all are."""
    return hashlib.sha256(content).hexdigest() < HELD_OUT_BELOW


def read_portraits(
    folder: Path, evaluation: bool, progress: Callable[[str, int, int], None] | None = None
) -> Portraits:
    """The photographs ``NAME.jpg`` of a folder with their ``NAME_mask.png``: those held out, or all others.

    Raises:
        ValueError: no such folder, nothing of this kind in it, or a picture and its mask differ in size.
    """
    if not folder.is_dir():
        raise ValueError(f"--photos {folder}: no such folder")
    paths = [path for path in sorted(folder.glob("*.jpg")) if held_out(path.read_bytes()) == evaluation]
    if not paths:
        raise ValueError(f"--photos {folder}: without pictures NAME.jpg with NAME_mask.png; give celebamask1000")
    images = np.empty((len(paths), SIDE, SIDE, 3), np.uint8)
    parts = np.empty((len(paths), SIDE, SIDE), np.uint8)
    eyes = np.full((len(paths), 2, 2), np.nan)
    for k, path in enumerate(paths):
        image, classes = read_image(path), read_image(path.with_name(f"{path.stem}_mask.png"))[..., 0]
        if image.shape[:2] != (SIDE, SIDE) or classes.shape != (SIDE, SIDE):
            raise ValueError(f"{path}: picture and mask are {image.shape[:2]} and {classes.shape}, expected 320×320")
        if classes.max() >= len(_PART_OF_CLASS):
            raise ValueError(f"{path}: its mask has class {classes.max()}, expected 0 to {len(_PART_OF_CLASS) - 1}")
        images[k], parts[k] = image, _PART_OF_CLASS[classes]
        for side, wanted in enumerate((_RIGHT_EYE, _LEFT_EYE)):
            place = np.argwhere(classes == wanted)
            if len(place) >= 8:
                eyes[k, side] = place[:, ::-1].mean(0) + 0.5
        if progress is not None:
            progress("reading", k + 1, len(paths))
    return Portraits(images, parts, eyes, tuple(path.stem for path in paths))


def smaller(images: UInt8[np.ndarray, "N S S 3"], factor: int) -> UInt8[np.ndarray, "N s s 3"]:
    """The pictures shrunk."""
    side = images.shape[1] // factor
    return np.stack([resize(image, (side, side)) for image in images]) if len(images) else images[:, :side, :side]
