"""Frames of a video that differ: of many candidates, those whose landmarks are farthest from one another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tracker.detect import Detector
from tracker.observation import Frame
from tracker.video import open_video
from training.prepare.looking import ibug_of
from training.prepare.quality import box_side

CANDIDATES = 12
"""How many frames are looked at for every one that is taken."""
VARIETY = 0.006
"""Least root mean square distance of the landmarks of two frames that are taken, over the face's side."""


def varied_frames(path: Path, detector: Detector, most: int) -> Iterator[Frame]:
    """At most `most` frames with a face, in order; the detector is one for videos. Decodes the file twice.

    Raises:
        ValueError: the file is no video that can be read.
    """
    wanted = set(_chosen(path, detector, most))
    if wanted:
        with open_video(path) as video:
            for frame in video:
                if frame.index in wanted:
                    yield frame
                    if frame.index == max(wanted):
                        return


def _chosen(path: Path, detector: Detector, most: int) -> list[int]:
    detector.reset()
    indices, shapes = [], []
    with open_video(path) as video:
        every = max(1, video.frames // (CANDIDATES * most))
        for frame in video:
            if frame.index % every == 0:
                found = detector.detect(frame)
                if found:
                    points = ibug_of(found[0].points)
                    indices.append(frame.index)
                    shapes.append((points - points.mean(axis=0)) / box_side(points))
    if not indices:
        return []
    return [indices[i] for i in farthest(np.stack(shapes), most, VARIETY)]


def farthest(shapes: Float[np.ndarray, "T N 2"], most: int, least: float) -> Int[np.ndarray, "K"]:
    """Rows by farthest-point sampling from the most usual one on, until `most` or until the next is nearer than `least`
    (root mean square over the points) to one that was taken."""
    flat = shapes.reshape(len(shapes), -1) / np.sqrt(shapes.shape[1])
    taken = [int(np.linalg.norm(flat - np.median(flat, axis=0), axis=1).argmin())]
    distance = np.linalg.norm(flat - flat[taken[0]], axis=1)
    while len(taken) < min(most, len(flat)) and distance.max() >= least:
        taken.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(flat - flat[taken[-1]], axis=1))
    return np.array(taken)
