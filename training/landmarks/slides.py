"""Measure how MediaPipe's points slide with the turn of the head: ``python -m training.landmarks.slides``.

Random heads are rendered as for the embedding (`training.landmarks.renders`); the difference between where the detector
sees a point and where it is embedded is regressed, robustly, on the sines of yaw and pitch. The part that does not
depend on the turn belongs to the embedding, which is calibrated on photographs, and is left out.
Writes ``tracker/fit/slides.npz``, which the landmark fit reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from tqdm import tqdm

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from tracker.command import Parser, run
from tracker.detect import open_detector
from tracker.fit.slides import SLIDES_PATH, turn_features
from tracker.observation import Frame
from training.landmarks.anatomy import anatomy
from training.landmarks.embed import mirror_points
from training.landmarks.renders import picture, random_pose
from training.landmarks.surface import positions

_ITERATIONS = 20
_FLOOR = 5e-4  # metres: residuals under this weigh alike
_RIDGE = 0.02  # of a sine's square, per picture


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = Parser(prog="python -m training.landmarks.slides", description=__doc__)
    parser.add_argument("--out", type=Path, default=SLIDES_PATH, help="the file to write (default %(default)s)")
    parser.add_argument("--renders", type=int, default=150, help="pictures of random heads (default 150)")
    parser.add_argument("--seed", type=int, default=1, help="of the pictures (default 1)")
    options = parser.parse(argv)
    if options.renders < 50:
        raise ValueError(f"--renders must be at least 50, got {options.renders}")
    offsets, sines = observe_renders(options.renders, options.seed)
    asset = load_head()
    parts = anatomy(asset)
    assert asset.landmarks is not None and asset.landmarks.mediapipe478 is not None
    mirror = mirror_points(positions(parts.vertices, parts.faces, asset.landmarks.mediapipe478))
    slides = fit_slides(offsets, sines, mirror)
    temporary = options.out.with_name(f".{options.out.stem}.{os.getpid()}.npz")
    np.savez(temporary, slides=slides.astype(np.float32), renders=np.array(len(offsets)), seed=np.array(options.seed))
    os.replace(temporary, options.out)
    left = offsets - np.einsum("nf,kfj->nkj", sines, slides)
    spread = [1e3 * np.median(np.linalg.norm(x - np.median(x, axis=0), axis=-1)) for x in (offsets, left)]
    size = [1e3 * np.sqrt((slides[:, i] ** 2).sum(-1).mean()) for i in range(2)]
    print(
        f"{options.out}: {len(offsets)} pictures; slides of {size[0]:.1f} mm (yaw) and {size[1]:.1f} mm (pitch) per "
        f"unit of the sine; median deviation of a point {spread[0]:.2f} mm, {spread[1]:.2f} mm without its slide"
    )
    return 0


def observe_renders(count: int, seed: int) -> tuple[Float[np.ndarray, "N 478 2"], Float[np.ndarray, "N 2"]]:
    """What the detector sees less what is there (metres on the head, upright, y up), and the sines of the turn."""
    head = HeadModel(load_head())
    marks = HeadLandmarks(head)
    random = np.random.default_rng(seed)
    offsets, turns = [], []
    with open_detector("mediapipe", static=True) as detector, torch.no_grad():
        for _ in tqdm(range(count), "renders", disable=None):
            params, camera = random_pose(head, random)
            image = picture(head, params, camera, random)[0]
            found = detector.detect(Frame(0, 0.0, image))
            if not found:
                continue
            there = project(camera, marks.mediapipe(params))[0].numpy()
            sines, upright = turn_features(roma.rotvec_to_rotmat(params.pose))
            offset = (found[0].points - there) * [1.0, -1.0] / camera.s.item()
            offsets.append(offset @ upright[0].numpy())
            turns.append(sines[0].numpy())
    return np.stack(offsets).astype(float), np.stack(turns).astype(float)


def fit_slides(
    offsets: Float[np.ndarray, "N K 2"], sines: Float[np.ndarray, "N 2"], mirror: Int[np.ndarray, " K"]
) -> Float[np.ndarray, "K 2 2"]:
    """Slopes of the offsets by the sines, mirror symmetric, with the least sum of distances to all pictures."""
    # The mirror image of a picture is a picture: of the mirrored points, turned the other way.
    offsets = np.concatenate([offsets, offsets[:, mirror] * [-1.0, 1.0]])
    sines = np.concatenate([sines, sines * [-1.0, 1.0]])
    system = np.concatenate([sines, np.ones((len(sines), 1))], axis=1)
    ridge = _RIDGE * len(sines) * np.diag([1.0, 1.0, 0.0])
    slopes = np.zeros((offsets.shape[1], 3, 2))
    for _ in range(_ITERATIONS):
        distance = np.linalg.norm(offsets - np.einsum("nf,kfj->nkj", system, slopes), axis=-1)
        weight = _FLOOR / np.maximum(distance, _FLOOR)
        gram = np.einsum("nk,nf,ng->kfg", weight, system, system) + ridge * weight.mean(0)[:, None, None]
        slopes = np.linalg.solve(gram, np.einsum("nk,nf,nkj->kfj", weight, system, offsets))
    return slopes[:, :2]


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(run("python -m training.landmarks.slides", main))
