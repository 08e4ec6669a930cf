"""Live Link Face's CSV: what Epic's app for iPhones writes, and what Unreal, Maya and Blender add-ons import.

A row per frame: ``Timecode, BlendshapeCount`` and 61 values, named as ARKit's with a capital first letter. The time
code is ``HH:MM:SS:FF.mmm``: hours, minutes, seconds, frames of the second and thousandths of a frame. Units lie in
[0, 1]; angles are radians with the signs of `tracker.export.arkit`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tracker.export.arkit import NAMES
from tracker.export.files import written

COLUMNS = ("Timecode", "BlendshapeCount", *(name[0].upper() + name[1:] for name in NAMES))


@dataclass(frozen=True)
class LiveLink:
    """What such a file holds.

    Attributes:
        time: s, from time code 0.
        values: units and angles, in the order of `tracker.export.arkit.NAMES`.
    """

    time: Float[np.ndarray, "T"]
    values: Float[np.ndarray, "T 61"]


def write_livelink(path: Path, recording: LiveLink, fps: float) -> None:
    """Write a recording.

    Args:
        fps: of the video; time codes count in the next whole number of frames a second.

    Raises:
        ValueError: the file cannot be written there.
    """
    with written(path) as temporary, open(temporary, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for time, values in zip(recording.time, recording.values, strict=True):
            table.writerow([timecode(float(time), _rate(fps)), len(NAMES), *(f"{value:.9f}" for value in values)])


def read_livelink(path: Path, fps: float) -> LiveLink:
    """Read a recording, of ours or of the app.

    Args:
        fps: that its time codes count in.

    Raises:
        ValueError: no such file, or not of this layout.
    """
    try:
        with open(path, newline="") as file:
            head, *rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({error})") from None
    if [name.lower() for name in head] != [name.lower() for name in COLUMNS]:
        raise ValueError(
            f"{path}: not a Live Link Face recording; its columns must be Timecode, BlendshapeCount, 61 units"
        )
    try:
        time = np.array([_seconds(row[0], _rate(fps)) for row in rows])
        values = np.array([[float(value) for value in row[2:]] for row in rows]).reshape(-1, len(NAMES))
    except (ValueError, IndexError):
        raise ValueError(f"{path}: a row is damaged; every row must have {len(COLUMNS)} columns") from None
    return LiveLink(time, values)


def timecode(time: float, rate: int) -> str:
    """Seconds as ``HH:MM:SS:FF.mmm``."""
    thousandths = round(time * rate * 1000)
    frames, thousandth = divmod(thousandths, 1000)
    seconds, frame = divmod(frames, rate)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.{thousandth:03d}"


def _seconds(text: str, rate: int) -> float:
    hours, minutes, seconds, frames = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / rate


def _rate(fps: float) -> int:
    return max(1, round(fps))
