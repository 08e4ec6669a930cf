"""What a conversion knows that the file does not hold, and arrays that are looked up with a clear complaint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from model.head import HeadModel
from tracker.convert.schema import Arrays
from tracker.finish import head_id, with_landmarks
from tracker.track import Track


@dataclass(frozen=True)
class Facts:
    """From the command line.

    Attributes:
        where: name of the file, for errors.
        head: whose codes they are; None where nobody said.
        size: width, height of the frames, px.
        fps: frames per second.
        crop: centre and side of the crop of every frame, px.
        transforms: NeRF-style cameras.
        note: told what is left out.
    """

    where: str
    head: HeadModel | None = None
    size: tuple[int, int] | None = None
    fps: float = 25.0
    crop: tuple[float, float, float] | None = None
    transforms: Path | None = None
    note: Callable[[str], None] = field(default=lambda text: None)

    @property
    def needed_head(self) -> HeadModel:
        """The head.

        Raises:
            ValueError: there is none.
        """
        if self.head is None:
            raise ValueError(f"{self.where}: codes of FLAME, which this package does not have; give --head FOLDER")
        if self.head.asset.name.startswith("openhead"):
            raise ValueError(f"{self.where}: codes of FLAME mean nothing to openhead; give --head FOLDER of FLAME")
        return self.head


def rows(arrays: Arrays, name: str, width: int, facts: Facts, count: int | None = None) -> Float[np.ndarray, "T W"]:
    """An array as rows of a known width: (W,) is one row, and one row stands for all where `count` says how many.

    Raises:
        ValueError: it is missing, of another width, or not of numbers.
    """
    if name not in arrays:
        raise ValueError(f"{facts.where}: lacks {name}; it holds {', '.join(sorted(arrays))}")
    array = np.asarray(arrays[name])
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{facts.where}: {name} must hold numbers, got {array.dtype}")
    flat = array.astype(np.float64).reshape(-1 if array.ndim > 1 else 1, array.shape[-1] if array.ndim else 1)
    if flat.shape[1] != width:
        raise ValueError(f"{facts.where}: {name} has {flat.shape[1]} numbers a frame, expected {width}")
    if count is not None and len(flat) == 1:
        flat = np.repeat(flat, count, axis=0)
    if count is not None and len(flat) != count:
        raise ValueError(f"{facts.where}: {name} has {len(flat)} frames, others have {count}")
    return flat


def fitted(codes: Float[np.ndarray, "T N"], width: int, name: str, facts: Facts) -> Float[np.ndarray, "T W"]:
    """Codes as many as the head has directions: zeros are added; what is cut off is told, unless it is zero."""
    rest = np.abs(codes[:, width:]).max(initial=0)
    if rest > 1e-6:
        over = f"the last {codes.shape[1] - width} of {codes.shape[1]} are left out (up to {rest:.2f} σ)"
        facts.note(f"{name}: the head has {width} directions, {over}")
    return np.pad(codes[:, :width], ((0, 0), (0, max(0, width - codes.shape[1]))))


def track_with(
    facts: Facts,
    size: tuple[int, int],
    *,
    frame: np.ndarray,
    shape: np.ndarray,
    expression: np.ndarray,
    pose: np.ndarray,
    jaw: np.ndarray,
    camera: np.ndarray,
    neck: np.ndarray | None = None,
    eyes: np.ndarray | None = None,
    light: np.ndarray | None = None,
    detail: np.ndarray | None = None,
) -> Track:
    """A track of one face and one shot, its landmarks worked out. Identity is the mean over the frames."""
    head = facts.needed_head
    count = len(frame)
    asset = head.asset
    mean = fitted(shape, asset.shapedirs.shape[-1], "shape", facts).mean(0, keepdims=True)
    track = Track(
        head=head_id(head),
        video=Path(facts.where).stem,
        fps=facts.fps,
        size=size,
        face=np.zeros(count, np.int32),
        frame=frame.astype(np.int32),
        time=frame / facts.fps,
        shot=np.zeros(count, np.int32),
        valid=np.ones(count, bool),
        confidence=np.ones(count, np.float32),
        shape=np.repeat(mean, count, axis=0).astype(np.float32),
        expression=fitted(expression, asset.exprdirs.shape[-1], "expression", facts).astype(np.float32),
        pose=pose.astype(np.float32),
        neck=(np.zeros((count, 3)) if neck is None else neck).astype(np.float32),
        jaw=jaw.astype(np.float32),
        eyes=(np.zeros((count, 6)) if eyes is None else eyes).astype(np.float32),
        camera=camera.astype(np.float32),
        landmarks=np.zeros((count, 68, 2), np.float32),
        box=np.zeros((count, 4), np.float32),
        expression_names=asset.expression_names,
        light=None if light is None else light.astype(np.float32),
        detail=None if detail is None else detail.astype(np.float32),
    )
    return with_landmarks(track, head)
