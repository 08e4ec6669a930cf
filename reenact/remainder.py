"""What landmarks of a driver do that the fitted head does not: small shifts over the face, added to the motion.

A head model has few ways to move, and smoothing takes some of them away. What is left between the detector's points and
the posed head, less what is left at rest (the driver's face is not the model's), is motion too. It is kept in head
space, spread smoothly over the surface and moves the target's pixels; it never changes codes.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import scipy.sparse as sparse
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from scipy.sparse.linalg import splu
from torch import Tensor

from model.head import HeadModel
from model.landmarks import head_rotation
from reenact.align import neighbours, surface_parts
from tracker.fit.slides import read_slides, slide
from tracker.observation import Observations
from tracker.track import Track

_FAST, _SLOW, _WINDOW = 0.45, 1.0, 3.0
"""Deviations in frames of the smoothing over time of what moves and of what is still, and of telling them apart."""
_NOISE = 0.6
"""Times the landmarks' trembling from which a change counts as motion."""
_MOST = 0.004
"""Metres beyond which a shift is doubted."""
_STIFF, _HOLD = 0.4, 1e-3
"""Weight of bending over the surface, and of staying where the codes say, against one landmark's."""
_BATCH = 64
_LOOSE = (10, 297, 284, 389, 454, 361, 397, 379, 150, 172, 132, 234, 162, 54, 67)
"""Points of the outline: where they lie on the skin depends on the view."""


@dataclass(frozen=True)
class Remainder:
    """One row per row of a driver's track.

    Attributes:
        points: which of MediaPipe's points.
        shifts: metres, head space.
    """

    points: Int[np.ndarray, " P"]
    shifts: Float[np.ndarray, "T P 3"]

    def select(self, rows: np.ndarray) -> Remainder:
        """Some rows."""
        return replace(self, shifts=self.shifts[rows])

    def save(self, path: Path) -> None:
        """Write it; under its final name only when it is whole."""
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.savez_compressed(file, points=self.points, shifts=self.shifts.astype(np.float16))
        part.replace(path)

    def since(self, rows: np.ndarray) -> Remainder:
        """What is left after taking off the mean of some rows, at which the driver is at rest."""
        change = self.shifts.astype(np.float32) - self.shifts[rows].astype(np.float32).mean(0)
        length = np.linalg.norm(change, axis=-1, keepdims=True)
        return replace(self, shifts=change * np.minimum(1, _MOST / np.maximum(length, 1e-9)))


@torch.no_grad()
def remainder_of(track: Track, seen: Observations, head: HeadModel) -> Remainder:
    """Of one face; of no points where the head does not know MediaPipe's or the detector has others.

    Args:
        track: rows of the face.
        seen: the same rows, as detected.
    """
    marks = head.asset.landmarks
    usable = np.flatnonzero(seen.seen & track.valid)
    if marks is None or marks.mediapipe478 is None or seen.scheme != "mediapipe478" or not len(usable):
        return Remainder(np.zeros(0, int), np.zeros((len(track), 0, 3), np.float32))
    kept = np.arange(478) if seen.kept is None else seen.kept
    kept = kept[kept < 468]  # irises turn with the eyes
    faces, share = head.asset.faces[marks.mediapipe478.face[kept]], marks.mediapipe478.barycentric[kept]
    slides = torch.from_numpy(read_slides())
    result = np.zeros((len(track), len(kept), 3), np.float32)
    for start in range(0, len(track), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(track)))
        params = track.select(rows).params()
        vertices = head.mesh(params).vertices.numpy()
        there = np.einsum("pk,tpkc->tpc", share, vertices[:, faces])
        slid = slide(slides, head_rotation(params)).numpy().transpose(0, 2, 1)[:, kept]
        camera = track.camera[rows][:, None]
        found = (seen.of_scheme(rows)[:, kept] - camera[..., 1:]) / camera[..., :1] * (1, -1) - slid
        left = np.concatenate([found - there[..., :2], np.zeros_like(there[..., :1])], -1)
        result[rows] = left @ roma.rotvec_to_rotmat(params.pose).numpy()
    # Rows in which the face was not seen take the nearest one's.
    nearest = usable[np.rint(np.interp(np.arange(len(track)), usable, np.arange(len(usable)))).astype(int)]
    return Remainder(kept, calmed(result[nearest]))


def calmed(shifts: Float[np.ndarray, "T P 3"]) -> Float[np.ndarray, "T P 3"]:
    """Smoothed over time where changes are no larger than noise, hardly elsewhere (a local Wiener filter).

    Noise is told by the third differences, which motion hardly has.
    """
    if len(shifts) < 8:
        return shifts.astype(np.float32)
    noise = 1.48 * np.median(np.abs(np.diff(shifts, 3, axis=0)), axis=0) / np.sqrt(20)
    slow = gaussian_filter1d(shifts, _SLOW, axis=0)
    moved = gaussian_filter1d(shifts, _FAST, axis=0) - slow
    energy = gaussian_filter1d(np.square(moved).sum(-1), _WINDOW, axis=0)
    share = np.clip(1 - _NOISE**2 * np.square(noise).sum(-1) / np.maximum(energy, 1e-12), 0, 1)
    return (slow + share[..., None] * moved).astype(np.float32)


def load_remainder(path: Path) -> Remainder:
    """Read it.

    Raises:
        ValueError: no such file, or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Remainder(arrays["points"], arrays["shifts"].astype(np.float32))
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None


class Spread:
    """Shifts of landmarks spread over a head's surface: a thin plate, whose matrix is factored once."""

    def __init__(self, head: HeadModel, points: Int[np.ndarray, " P"]) -> None:
        asset, marks = head.asset, head.asset.landmarks
        assert marks is not None and marks.mediapipe478 is not None
        count = len(asset.template)
        corners = asset.faces[marks.mediapipe478.face[points]]
        share = marks.mediapipe478.barycentric[points]
        rows = np.repeat(np.arange(len(points)), 3)
        places = sparse.csr_matrix((share.reshape(-1), (rows, corners.reshape(-1))), (len(points), count))
        weight = sparse.diags(np.where(np.isin(points, _LOOSE), 0.1, 1.0))
        bend = neighbours(asset.faces, count) - sparse.identity(count)
        system = places.T @ weight @ places + _STIFF * bend.T @ bend + _HOLD * sparse.identity(count)
        self._solver, self._right = splu(system.tocsc()), (places.T @ weight).tocsr()
        labels = surface_parts(asset.faces, count)
        self._loose = labels != np.bincount(labels).argmax()
        self._lips = np.asarray(asset.regions.get("lips", np.zeros(count)), float)

    def __call__(self, shifts: Float[np.ndarray, "P 3"], contact: float) -> Float[Tensor, "V 3"]:
        """Metres, head space; eyes, teeth and tongue go with the whole face, and lips that touch stay together."""
        result = self._solver.solve(self._right @ shifts.astype(np.float64))
        whole = shifts.mean(0)
        result[self._loose] = whole
        result -= contact * self._lips[:, None] * (result - whole)
        return torch.from_numpy(result).float()
