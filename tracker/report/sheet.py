"""The contact sheet: a face at some of its frames, as filmed and with the tracked head over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from model.head import HeadModel
from model.params import Camera
from model.render import Paint, clay, overlay
from tracker.image import warp
from tracker.report.measures import strongest
from tracker.track import Track
from tracker.view.frames import FrameReader

SIDE = 240
"""Side of a picture, px."""
MARGIN = 1.9
"""Side of what is shown over that of the box of the landmarks."""
GROUND = (58, 62, 70)
"""Behind the head where there is no video."""


@dataclass(frozen=True)
class Picture:
    """One frame of the sheet.

    Attributes:
        row: of the face's rows.
        filmed: the frame around the face; None without a video, or where it does not decode.
        tracked: the same with the head over it.
    """

    row: int
    filmed: UInt8[np.ndarray, "S S 3"] | None
    tracked: UInt8[np.ndarray, "S S 3"]


def contact_sheet(
    face: Track,
    head: HeadModel,
    reader: FrameReader | None,
    count: int = 12,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Picture]:
    """Pictures of one face: of every stretch of its time the frame with the strongest expression.

    Args:
        reader: of the video, at its full size.
    """
    paint = clay(head.asset)
    solid = Paint(paint.colours, np.ones_like(paint.opacity))
    pictures = []
    rows = strongest(face, count)
    for done, row in enumerate(rows.tolist(), 1):
        frame = None if reader is None else reader.at(int(face.frame[row]))
        T_picture_frame = _crop(face, row)
        filmed = None if frame is None else _filmed(frame, T_picture_frame)
        ground = np.full((SIDE, SIDE, 3), GROUND, np.uint8) if filmed is None else filmed
        with torch.inference_mode():
            mesh = head.mesh(face.params(row))
        camera = face.cameras(row)
        zoom = float(T_picture_frame[0, 0])
        placed = Camera(camera.s * zoom, camera.t * zoom + torch.from_numpy(T_picture_frame[:, 2]).float())
        pictures.append(Picture(row, filmed, overlay(ground, mesh, placed, solid if filmed is None else paint, 2)))
        report(done, len(rows))
    return pictures


def _filmed(frame: UInt8[np.ndarray, "H W 3"], T_picture_frame: Float[np.ndarray, "2 3"]) -> UInt8[np.ndarray, "S S 3"]:
    """The square of the frame; `GROUND` outside of it."""
    inside = warp(np.full(frame.shape[:2], 255, np.uint8), T_picture_frame, (SIDE, SIDE))[..., None] > 127
    return np.where(inside, warp(frame, T_picture_frame, (SIDE, SIDE)), np.array(GROUND, np.uint8))


def _crop(face: Track, row: int) -> Float[np.ndarray, "2 3"]:
    """From the frame's pixels to those of a square about the face, moved into the frame where it fits."""
    x0, y0, x1, y1 = (float(v) for v in face.box[row])
    side = max(MARGIN * max(x1 - x0, y1 - y0), 1.0)
    zoom = SIDE / side
    centre = [(x0 + x1) / 2, (y0 + y1) / 2 - 0.12 * side]
    for axis, length in enumerate(face.size):
        half = side / 2
        centre[axis] = length / 2 if side >= length else min(max(centre[axis], half), length - half)
    return np.array([[zoom, 0.0, SIDE / 2 - zoom * centre[0]], [0.0, zoom, SIDE / 2 - zoom * centre[1]]])
