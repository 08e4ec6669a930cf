"""Displacements that never fold, and their inverse."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.sampling import look_up
from reenact.unfold import Backwards, areas, unfolded

STEP = np.array([9.0, 11.0])
COUNT = (24, 20)  # columns, rows


def nodes() -> np.ndarray:
    x, y = np.meshgrid((np.arange(COUNT[0]) + 0.5) * STEP[0], (np.arange(COUNT[1]) + 0.5) * STEP[1])
    return np.stack([x, y], -1)


def bump(height: float, width: float = 20.0) -> np.ndarray:
    """A disc that is pushed to the right, harder than there is room for where `height` exceeds about `width`."""
    place = nodes()
    far = np.linalg.norm(place - place.mean((0, 1)), axis=-1)
    return np.exp(-((far / width) ** 2))[..., None] * np.array([height, 0.3 * height])


def test_areas_of_a_grid_at_rest_are_its_cells():
    np.testing.assert_allclose(areas(nodes()), STEP.prod())


def test_a_displacement_that_does_not_fold_is_left_alone():
    moved = bump(8.0)
    np.testing.assert_array_equal(unfolded(moved, STEP), moved)
    whole = np.full((*COUNT[::-1], 2), 500.0)
    np.testing.assert_array_equal(unfolded(whole, STEP), whole)


@pytest.mark.parametrize("height", [30.0, 60.0, 200.0])
def test_every_cell_keeps_its_orientation_and_part_of_its_area(height):
    moved = bump(height)
    assert areas(nodes() + moved).min() < 0
    result = unfolded(moved, STEP, least=0.2)
    assert areas(nodes() + result).min() >= 0.2 * STEP.prod() - 1e-9


def test_noise_is_unfolded_too_and_the_input_is_kept():
    moved = np.random.default_rng(0).normal(0, 25, (*COUNT[::-1], 2))
    before = moved.copy()
    assert areas(nodes() + unfolded(moved, STEP)).min() > 0
    np.testing.assert_array_equal(moved, before)


def test_far_from_the_fold_nothing_changes():
    moved = bump(35.0, 12.0)
    assert np.abs(unfolded(moved, STEP) - moved)[:3].max() < 1e-3


def test_backwards_undoes_it():
    """Where a pixel comes from, moved forwards, is the pixel."""
    moved = unfolded(bump(25.0, 40.0), STEP)
    back = Backwards(COUNT, STEP, samples=4)(moved)
    height, width = back.shape[:2]
    x, y = np.meshgrid((np.arange(width) + 0.5) * STEP[0] / 4, (np.arange(height) + 0.5) * STEP[1] / 4)
    place = np.stack([x, y], -1)
    origin = place + back
    forward = look_up(moved.astype(np.float32), (origin / STEP).astype(np.float32))
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(origin + forward - place)[inner].max() < 0.6  # cells are halves of quads there, bilinear here
    still = Backwards(COUNT, STEP)(np.zeros_like(moved))
    assert np.abs(still).max() < 1e-5


def test_an_edge_that_moves_inwards_leaves_no_hole():
    back = Backwards(COUNT, STEP)(np.full((*COUNT[::-1], 2), 30.0))
    np.testing.assert_allclose(back, -30.0, atol=1e-4)
