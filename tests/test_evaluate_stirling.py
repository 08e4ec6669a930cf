"""The protocol of Feng et al. 2018 on a small folder in the released layout, with scans made of openhead."""

import json
from pathlib import Path

import numpy as np
import pytest
import scans

from tracker.command import run
from tracker.image import write_image
from training.evaluate.__main__ import main
from training.evaluate.scan import compare
from training.evaluate.stirling import RULES, find_items

# Scans differ from their annotations in case, and some subjects have an odd one only.
SCANS = {"F_3D_N/F1001_N": 1, "M_3D_N/m1004_N": 2, "F_3D_N/F1013_NH_2": 3}
PICTURES = ("HQ/F1001_front.jpg", "HQ/M1004_a.jpg", "LQ/M1004_b.jpg", "LQ/F1013_c.jpg", "LQ/F1033_x.jpg")


def evaluate(*words: object) -> int:
    return run("evaluate", main, [str(word) for word in words])


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stirling")
    for name in PICTURES:
        path = root / "Subset_2D_FG2018" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.full((30, 30, 3), 99, np.uint8))
    for name, seed in SCANS.items():
        scan = scans.scan(scans.head(seed), 1200)
        scans.write_obj(
            root / "3D" / name.replace("m1004", "M1004").__add__(".obj"), scan.points, np.zeros((0, 3), int)
        )
        marks = root / "annotations" / f"{name}.lnd"
        marks.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(marks, np.concatenate([np.arange(1, 8)[:, None], scan.landmarks], axis=1), fmt="%g")
    return root


def test_pictures_find_their_scans(released: Path) -> None:
    items, left_out = find_items(released)
    found = {item.name: (item.group, item.gender, item.scan.stem, item.landmarks.stem) for item in items}
    assert found["HQ/F1001_front"] == ("HQ", "F", "F1001_N", "F1001_N")
    assert found["LQ/M1004_b"] == ("LQ", "M", "M1004_N", "m1004_N")
    assert found["LQ/F1013_c"][2] == "F1013_NH_2"
    assert left_out == ["LQ/F1033_x.jpg"]  # the subject without annotation
    assert [item.scan for item in items] == sorted(item.scan for item in items)


def test_tables_per_quality_and_gender(released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "right"
    for item in find_items(released)[0]:
        head = scans.head(SCANS[f"{item.gender}_3D_N/{item.landmarks.stem}"])
        path = folder / f"{item.name}.obj"
        scans.write_obj(path, head.vertices * 0.01 - 7, head.faces)
        np.savetxt(path.with_suffix(".txt"), head.landmarks * 0.01 - 7)
    assert evaluate("stirling", released, "--mean", "--predictions", folder, "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "4 pictures of 3 scans" in text and "left out, without scan or annotation: LQ/F1033_x.jpg" in text
    content = json.loads((tmp_path / "out" / "stirling.json").read_text())
    assert [content[k]["rows"][0]["pictures"] for k in ("all", "HQ", "LQ", "women", "men")] == [4, 2, 2, 2, 2]
    mean, right = content["all"]["rows"]
    assert right["RMSE"] < 0.005 < 0.3 < mean["RMSE"] < 4 and mean["RMSE"] >= mean["mean"] * 0.8
    assert (tmp_path / "out" / "stirling.png").is_file()


def test_heads_are_laid_by_their_landmarks_only_and_scaled() -> None:
    scan, head = scans.scan(scans.head(1)), scans.head()
    result = compare(scan, head, radius=RULES.radius, scaled=RULES.scaled, refined=RULES.refined)
    moved = result.T_scan_head(head.landmarks)
    np.testing.assert_allclose(moved.mean(0), scan.landmarks.mean(0), atol=1e-9)  # as Procrustes leaves it
    assert result.T_scan_head.scale != 1 and RULES.radius == 0.6


def test_pairs_name_scans(released: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("LQ/F1033_x.jpg,F1001_N.obj\n")
    items, left_out = find_items(released, pairs)
    assert {item.name: item.scan.stem for item in items}["LQ/F1033_x"] == "F1001_N" and not left_out
    pairs.write_text("LQ/F1033_x.jpg\n")
    with pytest.raises(ValueError, match="is no line"):
        find_items(released, pairs)


def test_another_layout_gives_one_clear_line(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    for gone, words in (
        ("Subset_2D_FG2018", "no pictures in folders HQ and LQ"),
        ("3D", "no scans"),
        ("annotations", "no annotations"),
        ("annotations/F_3D_N", ""),
    ):
        root = tmp_path / gone.replace("/", "_")
        shutil.copytree(released, root)
        shutil.rmtree(root / gone)
        if words:
            assert evaluate("stirling", root, "--mean") == 2
            error = capsys.readouterr().err
            assert words in error and error.count("\n") == 1
        else:
            assert len(find_items(root)[1]) == 3
