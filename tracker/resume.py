"""What the detector found so far, on disk beside the result: an interrupted `track` goes on with --resume."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracker.observation import Detection

Found = Sequence[Detection]
"""The faces of one frame."""


@dataclass(frozen=True)
class DetectionStore:
    """A folder of finished chunks, gone when the track is written.

    Attributes:
        folder: holds one file per chunk.
        key: of the video and the detector's settings; chunks of another key are not used.
    """

    folder: Path
    key: str

    @staticmethod
    def beside(out: Path, video: Path, *settings: object) -> DetectionStore:
        """The store for one result; its key follows the file's size and time, and the settings."""
        stat = video.stat()
        text = repr((str(video.resolve()), stat.st_size, stat.st_mtime_ns, settings))
        return DetectionStore(out.with_name(f".{out.name}.partial"), hashlib.sha256(text.encode()).hexdigest()[:16])

    def load(self, chunk: int) -> list[list[Detection]] | None:
        """The faces of each frame of a finished chunk; None where it is not there or was cut off in writing."""
        try:
            with np.load(self._file(chunk), allow_pickle=False) as data:
                if str(data["key"]) != self.key:
                    return None
                counts, points, scheme = data["counts"], data["points"], str(data["scheme"])
                confidence, box = data["confidence"], data["box"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        faces = [Detection(points[i], scheme, float(confidence[i]), box[i]) for i in range(len(points))]
        ends = np.cumsum(counts)
        return [faces[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def save(self, chunk: int, frames: Sequence[Found]) -> None:
        """Put a finished chunk on disk; a failure (a full disk) is not the track's."""
        faces = [face for frame in frames for face in frame]
        part = self._file(chunk).with_suffix(".part")
        try:
            self.folder.mkdir(exist_ok=True)
            with open(part, "wb") as file:
                np.savez(
                    file,
                    key=np.array(self.key),
                    counts=np.array([len(frame) for frame in frames], np.int64),
                    scheme=np.array(faces[0].scheme if faces else ""),
                    points=np.stack([f.points for f in faces]) if faces else np.zeros((0, 0, 2), np.float32),
                    confidence=np.array([f.confidence for f in faces]),
                    box=np.stack([f.box for f in faces]) if faces else np.zeros((0, 4), np.float32),
                )
            part.replace(self._file(chunk))
        except OSError:
            part.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, chunk: int) -> Path:
        return self.folder / f"{chunk:06d}.npz"
