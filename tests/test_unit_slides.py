"""Slides of MediaPipe's points with the expression: how they are measured, and a fit that knows of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera
from tracker.fit import FitConfig, fit_face
from tracker.fit.unit_slides import JAW_SHARE, UNITS_SHARE, read_unit_slides
from tracker.observation import Observations
from training.landmarks.unit_slides import Seen, fit_unit_slides, mirrored_units


def test_slides_are_of_this_head_small_and_mirror_symmetric() -> None:
    slides = read_unit_slides()
    assert slides.names == load_head().expression_names
    assert slides.units.shape == (478, len(slides.names), 2) and slides.jaw.shape == (478, 2)
    assert np.isfinite(slides.units).all() and 1e-3 < np.abs(slides.units).max() < 0.02
    np.testing.assert_allclose(slides.jaw[4, 0], 0.0, atol=1e-5)  # the nose's tip stays on the midline
    left, right = (slides.names.index(f"mouthSmile{side}") for side in ("Left", "Right"))
    # corners of the mouth
    np.testing.assert_allclose(slides.units[61, right], slides.units[291, left] * [-1, 1], atol=1e-5)


def test_units_and_their_mirror_images() -> None:
    names = ("jawForward", "mouthSmileLeft", "mouthSmileRight", "mouthLeft", "mouthRight", "browDownLeft")
    assert mirrored_units(names).tolist() == [0, 2, 1, 4, 3, 5]


def test_fit_finds_slopes_under_outliers() -> None:
    rng = np.random.default_rng(0)
    mirror, swapped = np.array([1, 0, 2]), np.array([1, 0])
    truth = 1e-3 * np.array(
        [[[3.0, 1.0], [0.5, -2.0], [0, 1]], [[-0.5, -2.0], [-3.0, 1.0], [0, 1]], [[2.0, 1.0], [-2.0, 1.0], [0, 3]]]
    )
    units, jaw = rng.uniform(0, 1, (400, 2)), rng.uniform(0, 0.4, 400)
    offsets = np.einsum("nf,kfj->nkj", np.column_stack([units, jaw]), truth)
    offsets += 1e-3 * np.array([[0.4, 1.0], [-0.4, 1.0], [0.0, 1.0]])  # belongs to the embedding
    offsets += 1e-4 * rng.standard_normal(offsets.shape)
    offsets[::10] += 0.05 * rng.standard_normal(offsets[::10].shape)
    found = fit_unit_slides(Seen(offsets, np.zeros((400, 2)), units, jaw), mirror, swapped)
    np.testing.assert_allclose(found, truth, rtol=0.2, atol=2e-4)


@pytest.mark.parametrize("unit", ["mouthLowerDown", "mouthFunnel", "browDown"])
def test_fit_that_knows_the_slides_is_nearer(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = HeadModel(load_head())
    slides = read_unit_slides()
    columns = [slides.names.index(f"{unit}{side}") for side in ("Left", "Right")]
    expression, jaw = torch.zeros(12, len(slides.names)), torch.zeros(12, 3)
    expression[:, columns] = torch.linspace(0.0, 0.8, 12)[:, None]
    jaw[:, 0] = 0.1
    params = replace(head.neutral(12), expression=expression, jaw=jaw)
    camera = Camera(torch.full((12,), 1400.0), torch.full((12, 2), 256.0))
    with torch.no_grad():
        still = project(camera, HeadLandmarks(head).mediapipe(params)).numpy()
    moved = UNITS_SHARE * np.einsum("nu,kuj->nkj", expression.numpy(), slides.units)
    moved = moved + JAW_SHARE * np.sin(0.1) * slides.jaw
    seen = still + 1400.0 * moved * [1.0, -1.0]
    rows, every, exact = np.arange(12), np.ones(12, bool), FitConfig(noise=0.05, identity_steps=20, steps=12)
    faces = Observations(
        rows, rows / 25, 0 * rows, seen.astype(np.float32), every, np.ones(12), "mediapipe478", (512, 512)
    )

    def off() -> float:
        return float(np.abs(fit_face(faces, head, exact).expression - expression.numpy()).mean())

    knowing = off()
    monkeypatch.setattr("tracker.fit.problem.with_slides", lambda rig, *_: rig)
    assert knowing < 0.7 * off()
