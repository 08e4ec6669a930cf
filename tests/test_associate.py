"""Detections to faces: identities over gaps, crossings and cuts."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.associate import Associator
from tracker.observation import Detection, Frame, Observations

SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
EMPTY = np.zeros((2, 2, 3), np.uint8)


def face(x: float, y: float, size: float = 100.0, confidence: float = 0.9) -> Detection:
    points = SHAPE * size + (x, y)
    return Detection(points, "ibug68", confidence, np.concatenate([points.min(axis=0), points.max(axis=0)]))


def collect(rows: list[list[Detection]], shots: list[int] | None = None, **options) -> list[Observations]:
    associator = Associator((1000, 500), **options)
    for index, found in enumerate(rows):
        associator.push(Frame(index, index / 25, EMPTY), found, 0 if shots is None else shots[index])
    return associator.finish()


def centre(faces: Observations, row: int) -> np.ndarray:
    return faces.points[row].mean(axis=0)


def test_two_faces_keep_their_identity_whatever_the_order_of_detections() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for t in range(50):
        found = [face(300 + 2 * t, 200), face(700 - 2 * t, 300)]
        rows.append([found[i] for i in rng.permutation(2)])
    first, second = collect(rows)
    for faces in (first, second):
        assert faces.seen.all() and len(faces.frame) == 50
        steps = np.diff(faces.points.mean(axis=1), axis=0)
        np.testing.assert_allclose(np.abs(steps), [[2, 0]] * 49, atol=1e-3)


def test_crossing_faces_are_told_apart_by_their_motion() -> None:
    rows = [[face(200 + 8 * t, 200), face(600 - 8 * t, 260)] for t in range(50)]
    faces = collect(rows)
    assert len(faces) == 2
    assert all(
        (np.diff(f.points.mean(axis=1)[:, 0]) > 0).all() or (np.diff(f.points.mean(axis=1)[:, 0]) < 0).all()
        for f in faces
    )


def test_longest_on_screen_is_first_even_when_it_comes_later() -> None:
    rows = [([face(200, 200)] if t < 20 else []) + ([face(700, 200)] if t >= 10 else []) for t in range(60)]
    first, second = collect(rows)
    assert centre(first, 0)[0] > 500 and len(first.frame) == 50
    assert first.frame[0] == 10 and first.time[0] == pytest.approx(0.4)
    assert second.frame.tolist() == list(range(20))


def test_gap_is_bridged_and_its_rows_are_unseen_and_zero() -> None:
    rows = [[] if 20 <= t < 35 else [face(300 + t, 200)] for t in range(60)]
    (only,) = collect(rows)
    assert only.frame.tolist() == list(range(60))
    assert only.seen.tolist() == [not 20 <= t < 35 for t in range(60)]
    assert (only.points[20:35] == 0).all() and (only.confidence[20:35] == 0).all()
    np.testing.assert_allclose(only.confidence[:20], 0.9)


def test_too_long_a_gap_or_another_place_is_another_face() -> None:
    far_later = [[] if 20 <= t < 80 else [face(300, 200)] for t in range(110)]
    assert len(collect(far_later, gap=2.0)) == 2
    assert len(collect(far_later, gap=3.0)) == 1
    elsewhere = [[face(300, 200)] if t < 20 else [face(800, 200)] for t in range(40)]
    assert len(collect(elsewhere)) == 2


def test_across_a_cut_only_the_same_place_and_size_is_the_same_face() -> None:
    def film(after: Detection) -> int:
        return len(collect([[face(300, 200)]] * 20 + [[after]] * 20, [0] * 20 + [1] * 20))

    assert film(face(305, 203, 104)) == 1
    assert film(face(380, 200)) == 2
    assert film(face(300, 200, 140)) == 2
    faces = collect([[face(300, 200)]] * 40, [0] * 20 + [1] * 20)
    assert faces[0].shot.tolist() == [0] * 20 + [1] * 20


def test_short_spurious_faces_are_dropped_unless_there_is_no_other() -> None:
    rows = [[face(300, 200)] + ([face(800, 400, 30)] if t in (10, 11) else []) for t in range(40)]
    assert len(collect(rows)) == 1
    assert len(collect(rows, shortest=0.0)) == 2
    assert len(collect([[], [face(300, 200)], []])) == 1
    assert collect([[], []]) == [] and collect([]) == []


def test_scale_aware() -> None:
    """The same shift in pixels is nothing for a near face and another face for a far one."""
    assert len(collect([[face(300, 200, 300)]] * 10 + [[face(360, 200, 300)]] * 10)) == 1
    assert len(collect([[face(300, 200, 30)]] * 10 + [[face(360, 200, 30)]] * 10)) == 2


def test_keeps_only_the_chosen_points_as_float32() -> None:
    keep = np.array([3, 7])
    (only,) = collect([[face(300, 200)]] * 5, keep=keep)
    assert only.points.dtype == np.float32
    np.testing.assert_allclose(only.points[0], (SHAPE * 100 + (300, 200))[keep], atol=1e-4)
    assert only.scheme == "ibug68" and only.size == (1000, 500)
