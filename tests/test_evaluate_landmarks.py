"""Landmark errors on photographs: layouts of the sets, normalisation, failures, yaw."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.head import HeadModel
from model.io.assets import save_head
from model.io.checkpoints import save_checkpoint
from model.landmarks import HeadLandmarks
from model.params import Camera
from tracker.command import run
from tracker.image import write_image
from tracker.observation import Detection
from training.evaluate.__main__ import main
from training.evaluate.annotations import Annotated, find_annotated
from training.evaluate.estimate import Estimate, landmarks68
from training.evaluate.faces import Finder, misplaced
from training.evaluate.landmarks import DETECTOR, Compared, measure, yaws

COUNT = 5


class Known:
    """An estimator that says the same of every photograph."""

    name = "known"

    def __init__(self, head: HeadModel, yaw: float = 0.0) -> None:
        self.head, self.yaw = head, yaw

    def __call__(self, photos):
        face = self.head.neutral(len(photos))
        face = replace(face, pose=torch.tensor([[0.0, self.yaw, 0.0]]).repeat(len(photos), 1))
        ones = torch.ones(len(photos))
        return Estimate(face, Camera(900 * ones, torch.tensor([[100.0, 120.0]]).repeat(len(photos), 1)))


class Seeing(Finder):
    """Finds what it is told, one answer per photograph; None is no face."""

    def __init__(self, answers: list[np.ndarray | None]) -> None:
        self.answers = list(answers)

    def all(self, image):
        points = self.answers.pop(0)
        if points is None:
            return []
        return [Detection(points, "ibug68", 1.0, np.concatenate([points.min(0), points.max(0)]))]


@pytest.fixture(scope="module")
def photographs(tiny_head: HeadAsset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Known, list[Annotated]]:
    """Annotations that are the known head's points."""
    known = Known(HeadModel(tiny_head))
    points = landmarks68(HeadLandmarks(known.head), known([None]), False)[0].astype(np.float64)
    folder = tmp_path_factory.mktemp("photos")
    entries = []
    for i in range(COUNT):
        write_image(folder / f"{i}.png", np.full((240, 200, 3), 120, np.uint8))
        entries.append(Annotated(folder / f"{i}.png", "set", points))
    return known, entries


def test_errors_are_what_the_annotation_was_moved_by(photographs: tuple[Known, list[Annotated]]) -> None:
    known, entries = photographs
    exact = entries[0].points
    moved = [replace(entries[0], points=exact + np.array([3.0, 4.0])), *entries[1:]]
    seen = [exact + np.array([0.0, 2.0]), None, exact, exact + 500.0, exact]
    errors = measure(moved, [known], Seeing(seen))
    ours, detector = errors["known"], errors[DETECTOR]
    assert (
        ours.found.tolist() == detector.found.tolist() == [True, False, True, False, True]
    )  # 500 px away: another face
    np.testing.assert_allclose(ours.error[0], 5.0, atol=1e-3)
    np.testing.assert_allclose(ours.error[2], 0.0, atol=1e-3)
    np.testing.assert_allclose(detector.error[0], np.hypot(3, 2), atol=1e-6)
    eyes = np.linalg.norm(exact[36] - exact[45])
    assert ours.nme(slice(68), ours.eyes)[0] == pytest.approx(100 * 5 / eyes, rel=1e-4)
    sides = np.ptp(exact, axis=0)
    assert ours.nme(slice(17, 68), ours.box)[0] == pytest.approx(100 * 5 / np.sqrt(sides[0] * sides[1]), rel=1e-4)


def test_inner_points_leave_the_outline_out() -> None:
    error = np.zeros((1, 68))
    error[:, :17] = 7
    compared = Compared(error, np.array([50.0]), np.array([100.0]), np.zeros(1))
    assert compared.nme(slice(17, 68), compared.eyes) == 0
    assert compared.nme(slice(68), compared.box) == pytest.approx(7 * 17 / 68)


def test_surface_points_are_those_behind_the_face(tiny_head: HeadAsset) -> None:
    known = Known(HeadModel(tiny_head), 0.6)
    marks = HeadLandmarks(known.head)
    outline, surface = (landmarks68(marks, known([None]), fixed)[0] for fixed in (False, True))
    np.testing.assert_allclose(outline[17:], surface[17:], atol=1e-3)
    assert np.abs(outline[:17] - surface[:17]).max() > 2


def test_yaw_is_the_annotated_one_or_that_of_the_mean_head_laid_over(tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head)
    entries = []
    for yaw in (-0.7, 0.0, 0.4):
        points = landmarks68(HeadLandmarks(head), Known(head, yaw)([None]), True)[0]
        entries.append(Annotated(Path("x.jpg"), "s", points.astype(np.float64), True))
    np.testing.assert_allclose(yaws(entries, head), np.rad2deg([-0.7, 0.0, 0.4]), atol=0.5)
    said = [replace(entry, yaw=12.0) for entry in entries]
    assert yaws(said, None).tolist() == [12.0] * 3 and np.isnan(yaws(entries, None)).all()


def write_pts(path: Path, points: np.ndarray) -> None:
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points + 0.5)  # iBUG counts from 1, at the pixels' centres
    path.write_text(f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n")


def test_every_layout_is_read(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(10, 90, (68, 2))
    picture = np.zeros((100, 100, 3), np.uint8)
    for folder in ("pts/helen/testset", "pts/afw", "mat", "shared/eval/aflw2000"):
        (tmp_path / folder).mkdir(parents=True)
        write_image(tmp_path / folder / "a.jpg", picture)
    write_pts(tmp_path / "pts/helen/testset/a.pts", points)
    write_pts(tmp_path / "pts/afw/a.pts", points)
    write_pts(tmp_path / "pts/afw/without_picture.pts", points)
    found = find_annotated(tmp_path / "pts")
    assert [entry.set for entry in found] == ["afw", "helen/testset"]
    np.testing.assert_allclose(found[0].points, points, atol=1e-3)
    assert [entry.set for entry in find_annotated(tmp_path / "pts", ["afw"])] == ["afw"]
    assert find_annotated(tmp_path / "pts/afw")[0].set == "afw"

    pose = np.array([[0.1, -0.5, 0.2, 0, 0, 0, 1e-3]])
    solid = np.concatenate([points.T + 0.5, np.zeros((1, 68))])
    scipy.io.savemat(tmp_path / "mat/a.mat", {"pt3d_68": solid, "Pose_Para": pose})
    (entry,) = find_annotated(tmp_path / "mat")
    np.testing.assert_allclose(entry.points, points)
    assert entry.surface and abs(entry.yaw or 0) == pytest.approx(np.rad2deg(0.5))

    rows = ["path\tset\tidentity\tn_points", "eval/aflw2000/a.jpg\taflw2000\t\t68", "train/b.jpg\tlfw\tx\t0"]
    (tmp_path / "shared/manifest.tsv").write_text("\n".join(rows) + "\n")
    np.savez(tmp_path / "shared/landmarks.npz", **{"eval|aflw2000|a.jpg": points})
    (entry,) = find_annotated(tmp_path / "shared")
    np.testing.assert_allclose(entry.points, points)
    assert entry.surface and entry.yaw is None and entry.path.is_file()


def test_wrong_annotations_give_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to compare with"):
        find_annotated(tmp_path)
    write_image(tmp_path / "a.jpg", np.zeros((10, 10, 3), np.uint8))
    write_pts(tmp_path / "a.pts", np.zeros((5, 2)))
    with pytest.raises(ValueError, match="has 5 points"):
        find_annotated(tmp_path)
    (tmp_path / "a.pts").write_text("nonsense")
    with pytest.raises(ValueError, match=r"not a \.pts file"):
        find_annotated(tmp_path)
    write_pts(tmp_path / "a.pts", np.zeros((68, 2)))
    with pytest.raises(ValueError, match="no such set"):
        find_annotated(tmp_path, ["helen"])
    (tmp_path / "a.pts").unlink()
    (tmp_path / "a.mat").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"not a \.mat file"):
        find_annotated(tmp_path)
    scipy.io.savemat(tmp_path / "a.mat", {"other": np.zeros(3)})
    with pytest.raises(ValueError, match="expected the layout of AFLW2000"):
        find_annotated(tmp_path)


def test_misplaced_tells_faces_apart() -> None:
    face = np.random.default_rng(1).uniform(0, 100, (68, 2))
    assert misplaced(face, face) == 0
    assert misplaced(face + 22.0, face) < 0.5 < misplaced(face + 45.0, face)
    assert misplaced(face * 4, face) > 0.5


def test_the_command_line_judges_a_network(
    photographs: tuple[Known, list[Annotated]],
    tiny_head: HeadAsset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, entries = photographs
    folder = tmp_path / "afw"
    folder.mkdir()
    for entry in entries[:2]:
        (folder / entry.path.name).write_bytes(entry.path.read_bytes())
        write_pts(folder / f"{entry.path.stem}.pts", entry.points)
    save_head(tiny_head, tmp_path / "tiny.npz")
    torch.manual_seed(0)
    config = DECAConfig("mobilenetv2", shape=10, expression=8, albedo=5, detail=16)
    save_checkpoint(DECA(tiny_head, config, 32), tmp_path / "w.safetensors")
    words = ["landmarks", folder, "--head", tmp_path / "tiny.npz", "--weights", tmp_path / "w.safetensors"]
    words += ["--crops", "annotated", "--out", tmp_path / "out"]
    assert run("evaluate", main, [str(word) for word in words]) == 0
    content = json.loads((tmp_path / "out" / "landmarks.json").read_text())
    network, detector = content["sets"]["rows"]
    assert network["set, method"] == "afw, w" and network["not found"] == 0 and network["all 68"] > 0
    assert detector["not found"] == 2 and detector["all 68"] is None  # there is no face on grey
    assert (tmp_path / "out" / "landmarks.png").is_file()
    with np.load(tmp_path / "out" / "landmarks.npz", allow_pickle=False) as arrays:
        assert arrays["afw/w/error"].shape == (2, 68)
    assert run("evaluate", main, ["landmarks", str(folder)]) == 2
    assert "nothing to judge" in capsys.readouterr().err
