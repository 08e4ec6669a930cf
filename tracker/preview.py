"""The preview: the video beside itself with the tracked heads laid over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model.head import HeadModel
from model.mesh import Mesh
from model.params import Camera
from model.render import clay, overlay
from tracker.image import resize
from tracker.track import Track
from tracker.video import Video, VideoWriter

LARGEST = 960
"""Longer side of one of the two pictures, px; larger videos are shrunk."""

_BATCH = 32  # heads posed at once


def write_preview(
    path: Path,
    video: Video,
    track: Track,
    head: HeadModel,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write an MP4 with sound: left the video, right the same with the heads drawn over it.

    A head fades with the confidence of its row, and is left out where the face was not seen.

    Raises:
        ValueError: the file cannot be written there.
    """
    width, height = video.size
    shrink = min(1.0, LARGEST / max(width, height))
    size = (max(2, round(width * shrink)), max(2, round(height * shrink)))
    paint = clay(head.asset)
    heads = _PosedHeads(track, head)
    rows = _rows_of_frames(track)
    with VideoWriter(path, (2 * size[0], size[1]), video.fps, audio_from=video.path) as writer:
        for done, frame in enumerate(video, 1):
            image = frame.image if shrink == 1.0 else resize(frame.image, size)
            drawn = image
            for row in rows.get(frame.index, ()):
                if track.valid[row]:
                    mesh, camera = heads.at(row)
                    scaled = Camera(camera.s * shrink, camera.t * shrink)
                    drawn = overlay(drawn, mesh, scaled, paint)
            writer.write(np.concatenate([image, drawn], axis=1), frame.time)
            report(done, max(video.frames, done))


def _rows_of_frames(track: Track) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, frame in enumerate(track.frame):
        rows.setdefault(int(frame), []).append(row)
    return rows


class _PosedHeads:
    """Meshes of a track, posed some frames ahead per face, since a batch costs little more than one."""

    def __init__(self, track: Track, head: HeadModel) -> None:
        self._track = track
        self._head = head
        self._batches: dict[int, tuple[int, torch.Tensor]] = {}

    def at(self, row: int) -> tuple[Mesh, Camera]:
        face = int(self._track.face[row])
        start, vertices = self._batches.get(face, (-_BATCH, None))
        if vertices is None or not start <= row < start + len(vertices):
            stop = min(row + _BATCH, len(self._track))
            with torch.no_grad():
                vertices = self._head.mesh(self._track.params(slice(row, stop))).vertices
            start = row
            self._batches[face] = (start, vertices)
        return Mesh(vertices[row - start], self._head.faces), self._track.cameras(row)
