"""The albedo that photographs taught (`python -m training.albedo`), put into the built one where they show nothing.

The face comes from photographs: its mean, the direction of skin tone and the principal components of what is left.
Scalp, ears, neck, eyes and the inner mouth stay built. Every learned direction goes on beyond the face as the built
changes of skin and hair that are nearest to it along the face's edge, so a darker face has a darker neck. Built
directions of what photographs do not teach, `PAINTED`, are the last ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import binary_dilation, binary_fill_holes, zoom

from model.openhead.albedo import ALBEDO_NAMES, BASIS_SIZE, DIRECTIONS, MEAN_SIZE
from model.openhead.paint import LOOKS

SCHEMA = "openhead-albedo/1"
PATH = Path(__file__).parent / "albedo_learned.npz"
FILES = {"learned": PATH, "open": PATH.with_name("albedo_open.npz")}
"""The learned albedos that are here: of all photographs, and of the freely licensed ones alone."""
PAINTED = (
    "hair_lightness", "hair_redness", "hair", "hairline", "iris_lightness", "iris_warmth", "sclera", "teeth",
    "ear_redness", "neck",
)  # fmt: skip
"""Built directions that are kept, outside the face."""
LEARNED = DIRECTIONS - len(PAINTED)
LEARNED_NAMES = ("tone", *(f"component_{i}" for i in range(LEARNED - 1)), *PAINTED)
"""What every direction of the learned albedo is, in order."""

_SKIN = ("lightness", "redness", "yellowness")
_MOST_HAIR = 0.8  # standard deviations of the hair's lightness per standard deviation of a direction
_CLEAR = 6  # texels about eyes, nostrils and mouth that do not count as the face's edge
_STEP = 2.0**-10  # directions are multiples of this: the file is smaller; two of them are half an 8-bit step


@dataclass(frozen=True)
class LearnedAlbedo:
    """Statistics of faces over the left half of the texture map; the right half is the mirror image.

    Attributes:
        mean: RGB, sRGB-encoded, row 0 is v = 1.
        share: [0, 1], how much the face is learned here.
        directions: per standard deviation; the first is skin tone, −2 the darkest people and 2 the lightest.
        about: what it was learned from.
    """

    mean: Float[np.ndarray, "256 128 3"]
    share: Float[np.ndarray, "256 128"]
    directions: Float[np.ndarray, "K 128 64 3"]
    about: str


def save_learned(albedo: LearnedAlbedo, path: Path) -> None:
    """Write the statistics, quantised to 16 bits (mean) and 8 bits (directions); the file appears when it is whole."""
    scale = np.abs(albedo.directions).max(axis=(1, 2, 3)) / 127
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        np.savez_compressed(
            temporary,
            schema=np.array(SCHEMA),
            about=np.array(albedo.about),
            mean=np.round(albedo.mean.clip(0, 1) * 65535).astype(np.uint16),
            share=np.round(albedo.share.clip(0, 1) * 255).astype(np.uint8),
            scale=scale.astype(np.float32),
            directions=np.round(albedo.directions / scale[:, None, None, None]).astype(np.int8),
        )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_learned(path: Path = PATH) -> LearnedAlbedo:
    """Read what `save_learned` wrote.

    Raises:
        ValueError: no such file, or it is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["schema"]) != SCHEMA:
                raise ValueError(f"{path}: schema is {arrays['schema']}, expected {SCHEMA}; python -m training.albedo")
            return LearnedAlbedo(
                mean=arrays["mean"] / 65535.0,
                share=arrays["share"] / 255.0,
                directions=arrays["directions"] * arrays["scale"].astype(np.float64)[:, None, None, None],
                about=str(arrays["about"]),
            )
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: no learned albedo ({error}); python -m training.albedo writes it") from None


def put_into(
    mean: Float[np.ndarray, "256 256 3"], basis: Float[np.ndarray, "50 128 128 3"], learned: LearnedAlbedo
) -> tuple[Float[np.ndarray, "256 256 3"], Float[np.ndarray, "50 128 128 3"]]:
    """The built albedo of `model.openhead.albedo` with the learned face in it: mean and directions, `LEARNED_NAMES`.

    Raises:
        ValueError: not `LEARNED` directions were learned.
    """
    if len(learned.directions) != LEARNED:
        raise ValueError(f"the learned albedo has {len(learned.directions)} directions, {LEARNED} are needed")
    built = dict(zip(ALBEDO_NAMES, basis.astype(np.float64), strict=True))
    skin = np.stack([built[name] for name in _SKIN])
    hair = built["hair_lightness"]
    fine, face = mirrored(learned.share), mirrored(learned.mean)
    share, face128 = halved(fine[..., None])[..., 0], halved(face)
    hairy = np.abs(hair).sum(-1) / np.abs(hair).sum(-1).max()
    holes = np.asarray(binary_fill_holes(share > 0.5), bool) & (share <= 0.5)
    holes = np.asarray(binary_dilation(holes, iterations=_CLEAR), bool)
    rim = share * (1 - share) * (hairy < 0.02) * ~holes
    brow = share * (hairy > 0.3)

    def beyond(inside: np.ndarray) -> np.ndarray:
        """How a change of the face goes on outside it."""
        of_skin = nearest(inside, skin, rim)
        rest = inside - np.tensordot(of_skin, skin, 1)
        of_hair = nearest(rest, hair[None], brow).clip(-_MOST_HAIR, _MOST_HAIR)
        return np.tensordot(of_skin, skin, 1) + of_hair[0] * hair

    shift = np.tensordot(nearest(face128 - halved(mean), skin, rim), skin, 1)
    twice = MEAN_SIZE // BASIS_SIZE
    outside = mean + zoom(shift, (twice, twice, 1), order=1, grid_mode=True, mode="nearest")
    new_mean = (fine[..., None] * face + (1 - fine[..., None]) * outside).clip(0, 1)
    directions = []
    for half in learned.directions:
        inside = mirrored(half)
        directions.append(share[..., None] * inside + (1 - share[..., None]) * beyond(inside))
    directions += [(1 - share[..., None]) * built[name] for name in PAINTED]
    new_basis = np.round(np.stack(directions) / _STEP) * _STEP + 0.0
    return new_mean.astype(np.float32), new_basis.astype(np.float32)


def nearest(
    target: Float[np.ndarray, "h w 3"], directions: Float[np.ndarray, "q h w 3"], weight: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "q"]:
    """Coefficients of the directions whose sum is nearest to the target, under weights."""
    root = np.sqrt(weight).ravel()[:, None].repeat(3, axis=1).ravel()
    rows = directions.reshape(len(directions), -1) * root
    normal = rows @ rows.T
    ridge = (1e-9 * np.trace(normal) + 1e-12) * np.eye(len(rows))
    return np.linalg.solve(normal + ridge, rows @ (target.ravel() * root))


def mirrored(half: Float[np.ndarray, "h w *C"]) -> Float[np.ndarray, "h w2 *C"]:
    """The whole map of a left half."""
    return np.concatenate([half, half[:, ::-1]], axis=1)


def halved(image: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "h w C"]:
    """A map at half the size, by means of four."""
    h, w, c = image.shape
    return image.reshape(h // 2, 2, w // 2, 2, c).mean(axis=(1, 3))


assert set(PAINTED) <= set(LOOKS)
