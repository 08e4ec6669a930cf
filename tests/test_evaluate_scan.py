"""Rigid alignment and scan-to-mesh distance, on scans made of openhead."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scans
from scipy.spatial.transform import Rotation

from training.evaluate.curve import cumulative, save_curves
from training.evaluate.meshes import read_head, read_scan, read_seven
from training.evaluate.report import Report, Table, statistics
from training.evaluate.scan import (
    Head,
    Scan,
    Similarity,
    align_landmarks,
    align_surface,
    compare,
    distances,
    face_area,
)

MOVED = Similarity(1.0, Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix(), np.array([10.0, 200.0, -30.0]))


def now(scan: Scan, head: Head, scaled: bool = True, refined: bool = True):
    return compare(scan, head, radius=0.7, scaled=scaled, refined=refined)


@pytest.mark.parametrize("refined", [False, True])
def test_a_scan_of_the_head_itself_is_at_distance_zero_wherever_it_is(refined: bool) -> None:
    head = scans.head()
    for scale in (1.0, 1.1):
        move = replace(MOVED, scale=scale)
        scan = scans.scan(head)
        result = now(Scan(move(scan.points), move(scan.landmarks)), head, refined=refined)
        assert result.distance.max() < 1e-4
        assert result.T_scan_head.scale == pytest.approx(scale, abs=1e-6)
        assert result.landmark_error < 1e-4


def test_distances_do_not_depend_on_where_the_scan_is() -> None:
    scan, head = scans.scan(scans.head(1)), scans.head()
    for scaled in (True, False):
        there = now(Scan(MOVED(scan.points), MOVED(scan.landmarks)), head, scaled)
        here = now(scan, head, scaled)
        assert np.array_equal(there.kept, here.kept)
        np.testing.assert_allclose(there.distance, here.distance, atol=2e-3)


def test_without_scaling_the_size_of_the_head_counts() -> None:
    scan, head = scans.scan(scans.head()), scans.head()
    large = replace(scan, points=1.05 * scan.points, landmarks=1.05 * scan.landmarks)
    assert now(large, head, scaled=True).distance.max() < 1e-3
    metrical = now(large, head, scaled=False)
    assert metrical.distance.mean() > 0.5 and metrical.T_scan_head.scale == 1


def test_a_surface_one_millimetre_off_is_one_millimetre_off() -> None:
    head = scans.head()
    scan = scans.grown(head, 1.0)
    kept = face_area(scan.points, scan.landmarks, 0.7)
    away = distances(scan.points[kept], head, Similarity(1.0, np.eye(3), np.zeros(3)))
    assert np.median(away) == pytest.approx(1.0, abs=1e-6) and away.max() < 1 + 1e-6
    # Laid by its landmarks alone, the head stays where it is; refinement explains a part as size.
    assert np.median(now(scan, head, refined=False).distance) == pytest.approx(1.0, abs=1e-6)
    assert now(scan, head).distance.mean() < 0.9


def test_noise_of_the_landmarks_matters_little_after_refinement() -> None:
    scan, head = scans.scan(scans.head(1)), scans.head()
    exact = now(scan, head).distance.mean()
    rng = np.random.default_rng(0)
    noisy = replace(scan, landmarks=scan.landmarks + rng.normal(size=(7, 3)))
    kept = face_area(scan.points, scan.landmarks, 0.7)
    rough = align_landmarks(head.landmarks, noisy.landmarks)
    fine = align_surface(scan.points[kept], head, rough, True)
    before, after = (distances(scan.points[kept], head, placed).mean() for placed in (rough, fine))
    assert before > exact + 0.05
    assert after == pytest.approx(exact, abs=0.01)


def test_refinement_never_makes_the_sum_of_squares_larger() -> None:
    scan, head = scans.scan(scans.head(2)), scans.head()
    for scaled in (True, False):
        plain, fine = (now(scan, head, scaled, refined) for refined in (False, True))
        assert np.square(fine.distance).sum() < np.square(plain.distance).sum()
        assert (fine.T_scan_head.scale == 1) == (not scaled)


def test_nearest_points_agree_with_a_search_of_every_triangle() -> None:
    head = scans.head()
    rng = np.random.default_rng(1)
    points = head.landmarks + rng.normal(size=(7, 3)) * 8
    corners = head.vertices[head.faces]
    from trimesh.triangles import closest_point

    best = [np.linalg.norm(closest_point(corners, np.tile(p, (len(corners), 1))) - p, axis=1).min() for p in points]
    np.testing.assert_allclose(distances(points, head, Similarity(1.0, np.eye(3), np.zeros(3))), best, atol=1e-9)


def test_landmark_alignment_recovers_what_was_done() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(7, 3)) * 30
    move = replace(MOVED, scale=0.7)
    found = align_landmarks(points, move(points))
    np.testing.assert_allclose(found.rotation, move.rotation, atol=1e-9)
    assert found.scale == pytest.approx(0.7)
    np.testing.assert_allclose(found.inverse()(found(points)), points, atol=1e-9)
    mirrored = align_landmarks(points, points * (-1, 1, 1))
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)  # never a reflection
    assert align_landmarks(points, move(points), scaled=False).scale == 1


def test_the_face_area_is_the_papers() -> None:
    landmarks = np.zeros((7, 3))
    landmarks[:4, 0] = [-45, -15, 15, 45]
    landmarks[4, 1] = -50
    centre, radius = np.array([0, -35.0, 0]), 0.7 * (90 + 50)
    points = centre + np.array([[radius - 0.1, 0, 0], [radius + 0.1, 0, 0], [0, 0, radius - 0.1], [0, -radius - 1, 0]])
    assert face_area(points, landmarks, 0.7).tolist() == [True, False, True, False]


def test_landmarks_in_another_order_show_in_their_error() -> None:
    head = scans.head()
    scan = scans.scan(head, 500)
    assert now(scan, replace(head, landmarks=head.landmarks[[3, 2, 1, 0, 4, 6, 5]]), refined=False).landmark_error > 10


def test_a_scan_away_from_its_landmarks_is_an_error() -> None:
    head = scans.head()
    with pytest.raises(ValueError, match="no point of the scan"):
        now(Scan(head.vertices + 1000, head.landmarks), head)


def test_meshes_and_landmarks_are_read_in_every_format(tmp_path: Path) -> None:
    head = scans.head()
    seven = head.landmarks
    scans.write_pp(tmp_path / "a.pp", seven)
    np.save(tmp_path / "a.npy", seven)
    np.savetxt(tmp_path / "a.txt", seven)
    np.savetxt(tmp_path / "comma.txt", seven, delimiter=",")
    np.savetxt(tmp_path / "a.lnd", np.concatenate([np.arange(1, 8)[:, None], seven], axis=1)[::-1], fmt="%g")
    for name in ("a.pp", "a.npy", "a.txt", "comma.txt", "a.lnd"):
        np.testing.assert_allclose(read_seven(tmp_path / name), seven, atol=1e-3)
    scans.write_obj(tmp_path / "a.obj", head.vertices, head.faces)
    head.surface.export(tmp_path / "a.ply")
    for name in ("a.obj", "a.ply"):
        np.testing.assert_allclose(read_scan(tmp_path / name, tmp_path / "a.pp").points, head.vertices, atol=1e-4)
        assert now(scans.scan(head, 500), read_head(tmp_path / name, tmp_path / "a.npy")).distance.max() < 1e-3
    np.save(tmp_path / "m.npy", seven / 1000)
    scans.write_obj(tmp_path / "m.obj", head.vertices / 1000, head.faces)
    np.testing.assert_allclose(read_head(tmp_path / "m.obj", tmp_path / "m.npy", "m").landmarks, seven, atol=1e-9)


def test_wrong_files_give_one_clear_line(tmp_path: Path) -> None:
    head = scans.head()
    scans.write_obj(tmp_path / "a.obj", head.vertices, head.faces)
    (tmp_path / "bad.pp").write_text("<PickedPoints><point x='1'")
    (tmp_path / "bad.txt").write_text("one two three\n")
    np.save(tmp_path / "six.npy", head.landmarks[:6])
    np.save(tmp_path / "metres.npy", head.landmarks / 1000)
    (tmp_path / "bad.ply").write_bytes(b"ply\nnonsense")
    (tmp_path / "bad.obj").write_text("v 1 2 three\n")
    (tmp_path / "empty.obj").write_text("# nothing\n")
    for name, words in (
        ("none.pp", "no such file"),
        ("bad.pp", "not a file of landmarks"),
        ("bad.txt", "not a file of landmarks"),
        ("six.npy", "expected 7 points"),
        ("metres.npy", "must be in millimetres"),
    ):
        with pytest.raises(ValueError, match=words):
            read_scan(tmp_path / "a.obj", tmp_path / name)
    np.save(tmp_path / "a.npy", head.landmarks)
    for name, words in (
        ("none.ply", "no such"),
        ("bad.ply", "cannot|can be read"),
        ("bad.obj", "damaged"),
        ("empty.obj", "no vert"),
    ):
        with pytest.raises(ValueError, match=words):
            read_scan(tmp_path / name, tmp_path / "a.npy")


def test_curves_and_statistics(tmp_path: Path) -> None:
    at, share = cumulative(np.array([0.5, 1.0, 2.0, 9.0]), 4.0)
    assert share[0] == 0 and share[-1] == 75 and share[np.searchsorted(at, 1.0)] == 50
    assert statistics(np.array([1.0, 2.0, 6.0])) == (2.0, 3.0, pytest.approx(np.sqrt(14 / 3)))
    assert all(np.isnan(statistics(np.zeros(0))))
    save_curves(tmp_path / "c.png", {"a": np.array([1.0, 2.0]), "nothing": np.zeros(0)}, 3.0, "mm")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 1


def test_reports_are_written_whole_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    table = Table("errors, mm", ("method", "mean"), (("a", 1.5), ("b", float("nan"))))
    report = Report("x", tmp_path / "new")
    report.table("all", table)
    report.close()
    assert json.loads((tmp_path / "new" / "x.json").read_text())["all"]["rows"][1] == {"method": "b", "mean": None}
    assert "1.500" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--out"):
        Report("x", tmp_path / "file")
