"""Rendered faces: how fast, do they look like faces to a detector that knows photographs only, and how varied are they.

    python tests/benchmarks/synthetic.py [--count 200] [--size 256] [--seed 11] [--sheet FACES.png]

The detector's points and the labels mean nearly but not exactly the same places, so their distance is not all error.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from pathlib import Path

import numpy as np
import roma
from PIL import Image

from model.io.assets import load_head
from tracker.detect import open_detector
from tracker.image import write_image
from tracker.observation import MEDIAPIPE_OF_IBUG, Frame
from training.data.sample import Sample
from training.synthetic.population import Population
from training.synthetic.render import Renderer

RATE = 15.0  # goal, faces a second on one core
FOUND = 0.95  # goal, of faces turned by less than 50°
COLUMNS = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--sheet", type=Path, help="write the first 60 as one picture")
    options = parser.parse_args()
    renderer = Renderer(Population(load_head(), options.seed), options.size)
    renderer.sample(0)
    start, busy = time.perf_counter(), time.process_time()
    samples = [renderer.sample(k) for k in range(options.count)]
    wall, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        f"{options.count / busy:.1f} faces a second of processor time (goal {RATE:.0f}), "
        f"{options.count / wall:.1f} by the clock; {np.mean([len(s.image) for s in samples]) / 1024:.0f} KiB each"
    )
    pictures = [np.asarray(Image.open(io.BytesIO(sample.image))) for sample in samples]
    if options.sheet:
        write_image(options.sheet, _sheet(pictures[:60]))
    _detected(samples, pictures)
    _statistics(samples, pictures)


def _detected(samples: list[Sample], pictures: list[np.ndarray]) -> None:
    yaws, distances = [], []
    with open_detector("mediapipe", static=True) as detector:
        for number, (sample, picture) in enumerate(zip(samples, pictures, strict=True)):
            assert sample.labels is not None
            R = roma.rotvec_to_rotmat(sample.labels.face.pose)
            yaws.append(abs(math.degrees(math.atan2(R[0, 2], R[2, 2]))))
            faces = detector.detect(Frame(number, 0.0, picture.copy()))
            side = np.ptp(sample.landmarks, axis=0).mean()
            off = np.full(51, np.nan)
            if faces:
                off = np.linalg.norm(faces[0].points[MEDIAPIPE_OF_IBUG][17:] - sample.landmarks[17:], axis=-1) / side
            seen = sample.visible[17:]
            distances.append(off[seen].mean() if faces and seen.any() else np.nan)
    yaw, distance = np.array(yaws), np.array(distances)
    for low, high in ((0, 30), (30, 50), (50, 70), (70, 90)):
        chosen = (yaw >= low) & (yaw < high)
        found = distance[chosen & ~np.isnan(distance)]
        if len(found):
            print(
                f"yaw {low} to {high}°: {chosen.sum()} faces, MediaPipe finds {len(found) / chosen.sum():.1%}, "
                f"median distance of the 51 inner landmarks {np.median(found):.2%} of the face's side"
            )
    print(f"below 50°: {np.mean(~np.isnan(distance[yaw < 50])):.1%} found (goal {FOUND:.0%})")


def _statistics(samples: list[Sample], pictures: list[np.ndarray]) -> None:
    rows = []
    for sample, picture in zip(samples, pictures, strict=True):
        centre, reach = sample.landmarks[27:].mean(0), 0.3 * np.ptp(sample.landmarks, axis=0).mean()
        (x0, y0), (x1, y1) = (np.maximum(centre + sign * reach, 0).astype(int) for sign in (-1, 1))
        grey = picture[y0:y1, x0:x1] / 255 @ np.array([0.3, 0.59, 0.11])
        rows.append((grey.mean(), grey.std(), sample.visible.mean()))
    level, contrast, visible = np.array(rows).T
    low, middle, high = np.quantile(level, [0.05, 0.5, 0.95])
    print(
        f"grey of the face {middle:.2f} ({low:.2f} to {high:.2f}, 5 to 95%), contrast {np.median(contrast):.2f}; "
        f"{visible.mean():.0%} of the landmarks visible"
    )


def _sheet(pictures: list[np.ndarray]) -> np.ndarray:
    side = pictures[0].shape[0]
    rows = -(-len(pictures) // COLUMNS)
    sheet = np.zeros((rows * side, COLUMNS * side, 3), np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, COLUMNS)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = picture
    return sheet


if __name__ == "__main__":
    main()
