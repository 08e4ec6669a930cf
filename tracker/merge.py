"""Chunks of a video put together: one list of observations per face, their codes, and E_d's look at the best crops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tracker.associate import Associator
from tracker.chunks import Seen
from tracker.encode import Eyes, Spread, joined, with_detail
from tracker.observation import Detection, FaceCodes, Frame, Observations

_NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class Gathered:
    """A whole video as it was seen.

    Attributes:
        faces: longest on screen first.
        codes: of all detections; `Observations.found` says which are whose. None without a network or a face.
        frames: how many there were.
        damage: one line, where some could not be decoded.
    """

    faces: list[Observations]
    codes: FaceCodes | None
    frames: int
    damage: str | None


class Merger:
    """Takes the chunks of a video in order; `frames` counts theirs.

    A face is followed over the border of two chunks as from one frame to the next, and frames are numbered in the order
    in which they came.

    Args:
        size: width, height of the video, px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._associator = Associator(size)
        self._codes: list[FaceCodes] = []
        self._best: dict[int, Spread[tuple[int, np.ndarray]]] = {}
        self._kept: np.ndarray | None = None
        self.frames = 0
        self._faces = self._shot = 0
        self._damage: str | None = None

    def push(self, seen: Seen) -> None:
        """The next chunk."""
        self._kept, self._damage = seen.kept, self._damage or seen.damage
        owners: list[int] = []
        first = 0
        for row, count in enumerate(seen.count):
            self._shot += bool(seen.cut[row])
            faces = [
                Detection(seen.points[i], seen.scheme, float(seen.confidence[i]), seen.box[i])
                for i in range(first, first + count)
            ]
            frame = Frame(self.frames, float(seen.time[row]), _NO_PICTURE)
            owners += self._associator.push(frame, faces, self._shot)
            self.frames, first = self.frames + 1, first + int(count)
        if seen.best is not None:
            for row, score, image in zip(seen.best.rows, seen.best.scores, seen.best.images, strict=True):
                spread = self._best.setdefault(owners[row], Spread())
                spread.add(float(score), (self._faces + int(row), np.array(image)))
        if seen.codes is not None:
            self._codes.append(seen.codes)
        self._faces += len(owners)

    def finish(self, eyes: Eyes | None = None, most: int | None = None) -> Gathered:
        """The faces, of which E_d has looked at the best crops.

        Args:
            most: how many faces to give; None is all.
        """
        faces = [replace(face, kept=self._kept) for face in self._associator.finish()][:most]
        codes = joined(self._codes) if self._codes else None
        if codes is not None and eyes is not None and faces:
            wanted = set(np.concatenate([face.found for face in faces if face.found is not None]).tolist())
            best = [item for spread in self._best.values() for item in spread.items if item[0] in wanted]
            if best:
                rows = np.array([row for row, _ in best], np.int64)
                codes = with_detail(codes, eyes, rows, np.stack([image for _, image in best]))
        return Gathered(faces, codes, self.frames, self._damage)
