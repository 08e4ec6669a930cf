"""The NoW protocol on a small folder in the released layout, with scans made of openhead."""

import json
from pathlib import Path

import numpy as np
import pytest
import scans
import torch

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.io.assets import save_head
from model.io.checkpoints import save_checkpoint
from tracker.command import run
from tracker.image import write_image
from training.evaluate.__main__ import main
from training.evaluate.faces import crop_around
from training.evaluate.now import find_items, read_genders

PEOPLE = {"FaMoS_180424_03335_TA": 1, "FaMoS_180704_03355_TA": 2}
PICTURES = ("multiview_neutral/IMG_0041.jpg", "selfie/IMG_0042.jpg")
NAMES = [f"{person}/{picture}" for person in PEOPLE for picture in PICTURES]


def evaluate(*words: object) -> int:
    return run("evaluate", main, [str(word) for word in words])


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("now") / "final_release_version"
    for name in NAMES:
        picture = root / "iphone_pictures" / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_image(picture, np.full((40, 30, 3), 128, np.uint8))
        box = (root / "detected_face" / name).with_suffix(".npy")
        box.parent.mkdir(parents=True, exist_ok=True)
        sides = {"left": 4.0, "right": 28.0, "top": 3.0, "bottom": 30.0}
        np.save(box, np.array(sides, dtype=object), allow_pickle=True)
    for person, seed in PEOPLE.items():
        scan = scans.scan(scans.head(seed), 1200)
        file = "natural_head_rotation.000001"
        scans.write_obj(root / "scans" / person / f"{file}.obj", scan.points, np.zeros((0, 3), int))
        scans.write_pp(root / "scans_lmks_onlypp" / person / f"{file}_picked_points.pp", scan.landmarks)
    (root / "imagepathsvalidation.txt").write_text("\n".join(NAMES) + "\n")
    return root


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The right heads, in metres and anywhere."""
    folder = tmp_path_factory.mktemp("predicted")
    for name in NAMES:
        head = scans.head(PEOPLE[name.split("/")[0]])
        mesh = (folder / name).with_suffix(".obj")
        scans.write_obj(mesh, head.vertices / 1000 + 2, head.faces)
        np.save(mesh.with_suffix(".npy"), head.landmarks / 1000 + 2)
    return folder


def test_right_predictions_have_no_error_and_the_mean_head_has(
    released: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genders = tmp_path / "genders.csv"
    genders.write_text("\n".join(f"{person},{sex}" for person, sex in zip(PEOPLE, "FM", strict=True)))
    out = tmp_path / "out"
    words = ("now", released, "--predictions", predicted, "--mean", "--unit", "m", "--gender", genders, "--out", out)
    assert evaluate(*words) == 0
    text = capsys.readouterr().out
    for title in ("NoW, all", "NoW, multiview_neutral", "NoW, selfie", "NoW, women", "NoW, men"):
        assert f"{title}: distance from scan to mesh, mm" in text
    content = json.loads((out / "now.json").read_text())
    mean, right = content["all"]["rows"]
    assert mean["method"] == "mean head" and mean["pictures"] == right["pictures"] == 4 and mean["missing"] == 0
    assert right["mean"] < 0.005 and 0.3 < mean["median"] < 3 and mean["std"] > 0
    assert [len(content[key]["rows"]) for key in ("women", "men")] == [2, 2]
    assert content["women"]["rows"][0]["mean"] != content["men"]["rows"][0]["mean"]
    assert (out / "now.png").stat().st_size > 5000
    with np.load(out / "now.npz", allow_pickle=False) as arrays:
        assert arrays["mean head/names"].tolist() == sorted(name[:-4] for name in NAMES)
        assert arrays[f"{predicted.name}/cumulative"][-1] == 100
        assert arrays[f"{predicted.name}/scale"] == pytest.approx([1.0] * 4, abs=1e-3)

    # The metrical challenge takes sizes as they are.
    assert evaluate("now", released, "--predictions", predicted, "--metrical", "--unit", "m", "--out", out) == 0
    assert json.loads((out / "now_metrical.json").read_text())["all"]["rows"][0]["mean"] < 0.005


def test_missing_predictions_are_counted_and_named(
    released: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = tmp_path / "some"
    first = Path(NAMES[0]).with_suffix("")
    for suffix in (".obj", ".npy"):
        target = (some / first).with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((predicted / first).with_suffix(suffix).read_bytes())
    assert evaluate("now", released, "--predictions", some) == 0
    text = capsys.readouterr().out
    assert "some: no result: " in text and str(Path(NAMES[1]).with_suffix("")) in text
    (some / first).with_suffix(".npy").unlink()
    assert evaluate("now", released, "--predictions", some) == 2
    assert "without landmarks" in capsys.readouterr().err


def test_a_network_sees_the_released_boxes(released: Path, tiny_head: HeadAsset, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(NAMES[0])
    save_head(tiny_head, tmp_path / "tiny.npz")
    torch.manual_seed(0)
    config = DECAConfig("mobilenetv2", shape=10, expression=8, albedo=5, detail=16)
    save_checkpoint(DECA(tiny_head, config, 32), tmp_path / "w.safetensors")
    out = tmp_path / "out"
    words = ("--head", tmp_path / "tiny.npz", "--weights", tmp_path / "w.safetensors", "--out", out)
    assert evaluate("now", released, *words, "--list", tmp_path / "one.txt") == 0
    row = json.loads((out / "now.json").read_text())["all"]["rows"][0]
    assert row["method"] == "w" and row["pictures"] == 1 and np.isfinite(row["mean"])


def test_boxes_go_back_to_the_landmarks_that_they_were_grown_from(released: Path) -> None:
    points = find_items(released)[0].points
    assert points is not None
    (left, top), (right, bottom) = points
    width, height = right - left, bottom - top
    grown = [left - 0.1 * width, top - 0.3 * height, right + 0.1 * width, bottom + 0.05 * height]
    assert grown == pytest.approx([4, 3, 28, 30])
    assert float(crop_around(points).size) == pytest.approx(1.6 * (width + height) / 2)


def test_the_layout_is_found_from_beside_and_above_and_without_a_list(released: Path, tmp_path: Path) -> None:
    items = find_items(released)
    assert [item.name for item in items] == sorted(name[:-4] for name in NAMES)
    assert {item.group for item in items} == {"multiview_neutral", "selfie"}
    assert len(find_items(released.parent)) == len(items)
    listed = tmp_path / "list.txt"
    listed.write_text(NAMES[2] + "\n\n")
    assert [item.name for item in find_items(released, listed)] == [NAMES[2][:-4]]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("iphone_pictures", "no iphone_pictures"),
        ("scans", "no scans"),
        ("scans_lmks_onlypp", "no scans_lmks_onlypp"),
        ("scan", "no .obj or .ply"),
        ("picture", "no such picture"),
        ("list", "is no SUBJECT/CHALLENGE/PICTURE"),
        ("box", "holds no box"),
    ],
)
def test_another_layout_gives_one_clear_line(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, words: str
) -> None:
    import shutil

    root = tmp_path / "copy"
    shutil.copytree(released, root)
    if broken in ("iphone_pictures", "scans", "scans_lmks_onlypp"):
        shutil.rmtree(root / broken)
    elif broken == "scan":
        next((root / "scans" / next(iter(PEOPLE))).iterdir()).unlink()
    elif broken == "picture":
        (root / "iphone_pictures" / NAMES[0]).unlink()
    elif broken == "list":
        (root / "imagepathsvalidation.txt").write_text("IMG_0041.jpg\n")
    else:
        np.save((root / "detected_face" / NAMES[0]).with_suffix(".npy"), np.zeros(3))
    assert evaluate("now", root, "--mean") == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_mistakes_on_the_command_line(released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "g.csv").write_text("somebody,x\n")
    for arguments, words in (
        (("now", released), "nothing to judge"),
        (("now", tmp_path / "nowhere", "--mean"), "no such folder"),
        (("now", released, "--predictions", tmp_path / "nowhere"), "no such folder"),
        (("now", released, "--mean", "--gender", tmp_path / "g.csv"), "is no line"),
        (("now", released, "--mean", "--list", tmp_path / "none.txt"), "no such file"),
        (("now", released, "--weights", tmp_path / "none.safetensors"), "no such file"),
        (("now", released, "--maen"), "did you mean --mean"),
        (("nwo", released), "did you mean 'now'"),
    ):
        assert evaluate(*arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert evaluate("--help") == 0


def test_genders_are_read_with_any_separator(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("a,F\nb\tmale\nc female\n\n")
    assert read_genders(tmp_path / "g.txt") == {"a": "F", "b": "M", "c": "F"}
