"""What the fit alone can know: the rendered clip's own landmarks, with noise, in place of the detector's.

    python tests/benchmarks/identifiability.py

The points slide as the detector's do: with the turn of the head, and with the expression as far as the fit believes it.
What `accuracy.py rendered` loses beyond these figures is lost by the detector on the render.
"""

from __future__ import annotations

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from tracker.fit import fit_face
from tracker.fit.slides import read_slides, slide
from tracker.fit.unit_slides import JAW_SHARE, UNITS_SHARE, read_unit_slides
from tracker.observation import Observations
from training.clips import openhead_motion

NOISE_PX = (0.0, 0.5, 1.0)
MOVES = 0.05  # standard deviation of a unit that moves


def main() -> None:
    head = HeadModel(load_head())
    truth = openhead_motion(head.asset)
    with torch.no_grad():
        points = project(truth.camera, HeadLandmarks(head).mediapipe(truth.params)).numpy()
        # as the detector gives them, which slide with the turn of the head
        slid = slide(torch.from_numpy(read_slides()), roma.rotvec_to_rotmat(truth.params.pose)).movedim(1, 2).numpy()
        units, jaw = read_unit_slides().units, read_unit_slides().jaw
        moved = UNITS_SHARE * np.einsum("nu,kuj->nkj", truth.params.expression.numpy(), units)
        moved += JAW_SHARE * np.sin(truth.params.jaw.numpy()[:, 0, None, None]) * jaw
        rotation = roma.rotvec_to_rotmat(truth.params.pose).numpy()[:, :2, :2]
        slid = slid + np.einsum("nij,nkj->nki", rotation, moved)
        points = points + truth.camera.s.numpy()[:, None, None] * slid * [1.0, -1.0]
    known = truth.params.expression.numpy()
    moving = np.flatnonzero(known.std(0) > MOVES)
    count, rng = len(points), np.random.default_rng(0)
    for noise in NOISE_PX:
        seen = (points + noise * rng.standard_normal(points.shape)).astype(np.float32)
        rows = np.arange(count)
        every = np.ones(count, bool)
        fit = fit_face(
            Observations(rows, truth.time, 0 * rows, seen, every, np.ones(count), "mediapipe478", (512, 512)), head
        )
        off = Rotation.from_rotvec(fit.pose) * Rotation.from_rotvec(truth.params.pose.numpy()).inv()
        units = [np.corrcoef(known[:, i], fit.expression[:, i] + 1e-9 * rng.random(count))[0, 1] for i in moving]
        jaw = np.corrcoef(fit.jaw[:, 0], truth.params.jaw[:, 0].numpy())[0, 1]
        print(
            f"noise {noise:.1f} px: pose {np.median(np.rad2deg(off.magnitude())):.2f}° median, "
            f"jaw {jaw:.3f}, {len(moving)} units that move {np.mean(units):.3f}"
        )


if __name__ == "__main__":
    main()
