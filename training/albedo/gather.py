"""All photographs unwrapped, their light taken off, both halves of every face laid upon each other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.asset import HeadAsset
from model.uv import UVLayout
from training.albedo.light import find_light
from training.albedo.unwrap import LUMINANCE, Unwrapper, srgb_to_linear
from training.data.sample import Sample

SIZE = 256
"""Texels on a side of the map."""
LEAST = 0.2
"""Part of the zone that a photograph must show."""
GROUP = 30
"""Photographs of one folder that make a set of their own; smaller folders are put together."""


@dataclass(frozen=True)
class Zone:
    """Texels of the left half of the map that photographs teach: the face. The right half is its mirror image.

    Attributes:
        mask: over the whole map, mirror symmetric.
        half: the same, left half.
    """

    mask: Bool[np.ndarray, "H W"]

    @property
    def half(self) -> Bool[np.ndarray, "H W2"]:
        return self.mask[:, : self.mask.shape[1] // 2]

    def fold(self, values: Float[np.ndarray, "H W *C"]) -> tuple[np.ndarray, np.ndarray]:
        """The zone's texels (n, ...) of the left half, and their mirror images."""
        return values[:, : values.shape[1] // 2][self.half], values[:, ::-1][:, : values.shape[1] // 2][self.half]

    def unfold(self, values: Float[np.ndarray, "n *C"]) -> Float[np.ndarray, "H W *C"]:
        """Both halves again, zero outside the zone."""
        half = np.zeros((*self.half.shape, *values.shape[1:]), values.dtype)
        half[self.half] = values
        return np.concatenate([half, half[:, ::-1]], axis=1)


def face_zone(asset: HeadAsset, size: int = SIZE) -> Zone:
    """The texels of the head's region "face"."""
    face = UVLayout(asset, size).carry(torch.from_numpy(asset.regions["face"])[:, None].float())[0] > 0.02
    return Zone((face | face.flip(-1)).numpy())


def smooth_light(shadow: Float[np.ndarray, "V 9"], asset: HeadAsset, zone: Zone) -> Float[np.ndarray, "n 6"]:
    """The harmonics that light from both sides alike leaves on the mean head, at the zone's texels.

    Args:
        shadow: self-shadowed transfer of the mean head's vertices.
    """
    transfer = UVLayout(asset, zone.mask.shape[0]).carry(torch.from_numpy(shadow).float()).movedim(0, -1).numpy()
    rows = zone.fold(transfer)[0].astype(np.float64)[:, _SYMMETRIC]
    rows[:, 0] = 1.0
    return rows


_SYMMETRIC = [0, 2, 3, 6, 7, 8]  # 1, y, z, yz, x² − y², 3z² − 1


@dataclass(frozen=True)
class Faces:
    """Photographs' faces, their light's shape taken off; its level and colour are still in the colours.

    Attributes:
        colour: linear RGB of the zone's texels under even light.
        weight: [0, 1].
        level: of the light, if the face had the mean albedo.
        white: linear luminance of the white of the eyes over the light's luminance; NaN where not seen.
        key, identity, group: of the photographs; one group shares its camera and studio, or is a random mixture.
    """

    colour: Float[np.ndarray, "N n 3"]
    weight: Float[np.ndarray, "N n"]
    level: Float[np.ndarray, "N 3"]
    white: Float[np.ndarray, "N"]
    key: np.ndarray
    identity: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.key)

    def at(self, which: Int[np.ndarray, "M"]) -> Faces:
        """Some of them."""
        return Faces(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def save(self, path: Path) -> None:
        """Write an ``.npz``; it appears when it is whole."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
        np.savez(temporary, **{f.name: getattr(self, f.name) for f in fields(self)})
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Faces:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})


def join(parts: Sequence[Faces]) -> Faces:
    """All faces of several sets."""
    return Faces(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Faces)})


def gather(
    samples: Iterable[Sample],
    name: str,
    unwrapper: Unwrapper,
    zone: Zone,
    tick: Callable[[int], None] = lambda done: None,
) -> Faces:
    """Unwrap and unlight.

    Args:
        samples: with labels.
        name: of the set, for the groups' names.
        tick: called with the number of samples done.

    Raises:
        ValueError: not one of them shows a face whose fit is known.
    """
    mean = unwrapper.head.asset.albedo_mean
    assert mean is not None
    albedo = _rows(srgb_to_linear(torch.from_numpy(np.asarray(mean, np.float32)).movedim(-1, 0)))
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, float, Sample]] = []
    for done, sample in enumerate(samples):
        tick(done)
        face = unwrapper(sample)
        if face is None:
            continue
        colour, transfer = _rows(face.colour), _rows(face.transfer)
        if (face.skin > 0.05).sum() < 500:
            continue
        lit = find_light(colour, albedo, transfer, face.skin.flatten().numpy().astype(float))
        weight = (face.weight.flatten().numpy() * lit.trust).reshape(unwrapper.layout.size, -1)
        even = (colour / lit.shading).reshape(*weight.shape, 3)
        (here, there), (w, v) = zone.fold(even), zone.fold(weight)
        both = np.maximum(w + v, 1e-6)
        folded = (w[:, None] * here + v[:, None] * there) / both[:, None]
        if np.maximum(w, v).mean() < LEAST:
            continue
        white = face.eye_white / float(lit.level @ np.array(LUMINANCE))
        rows.append((folded.astype(np.float16), np.maximum(w, v).astype(np.float16), lit.level, white, sample))
    if not rows:
        raise ValueError(f"{name}: no face with a known fit is seen well enough; prepare shards with the shipped head")
    colours, weights, levels, whites, kept = zip(*rows, strict=True)
    folders = [sample.key.rsplit("/", 1)[0] for sample in kept]
    counts = Counter(folders)
    return Faces(
        np.stack(colours),
        np.stack(weights),
        np.stack(levels).astype(np.float32),
        np.array(whites, np.float32),
        np.array([sample.key for sample in kept]),
        np.array([sample.identity for sample in kept]),
        np.array([f"{name}:{f}" if counts[f] >= GROUP else name for f in folders]),
    )


def _rows(image: Tensor) -> Float[np.ndarray, "N C"]:
    return image.flatten(1).T.double().numpy()
