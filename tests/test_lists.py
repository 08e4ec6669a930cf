"""The lists of faces for training, from a manifest made up here."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tracker.image import read_image, write_image
from training.lists import main, person_of


def test_lists_follow_the_manifest(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "lists"
    paths = {
        "train/lfw/A/A_1.jpg": "A",
        "train/celebamask1000/c.jpg": "",
        "train/webmorph/smiling_front/7.jpg": "london_7",
        "train/webmorph/zoom/15cm.jpg": "zoom",
        "eval/afw/x.jpg": "",
    }
    lines = ["path\tset\tidentity\tn_points", *(f"{path}\ts\t{person}\t0" for path, person in paths.items())]
    (data / "train/celebamask1000").mkdir(parents=True)
    (data / "video/mead256").mkdir(parents=True)
    (data / "manifest.tsv").write_text("\n".join(lines) + "\n")
    classes = np.zeros((4, 4, 3), np.uint8)
    classes[0], classes[1], classes[2] = 1, 13, 10  # skin, hair, inner mouth
    write_image(data / "train/celebamask1000/c_mask.png", classes)
    for name in ("d3.mp4", "no_face.mp4", "mead_M003_happy_1080p.mp4", "mead256/W009_front_sad.mp4"):
        (data / "video" / name).touch()
    assert main([str(data), str(out)]) == 0

    def rows(name: str) -> list[tuple[str, str, str]]:
        with (out / f"{name}.csv").open(newline="") as file:
            return [(row["path"], row["identity"], row["mask"]) for row in csv.DictReader(file)]

    assert rows("lfw") == [("train/lfw/A/A_1.jpg", "A", "")]
    assert [row[0] for row in rows("webmorph")] == [
        "train/webmorph/smiling_front/7.jpg",
        "train/webmorph/zoom/15cm.jpg",
    ]
    assert [row[1] for row in rows("london")] == ["london_7"]
    assert [row[1] for row in rows("video")] == ["d3", "W009", "M003"]
    assert rows("celeba") == [("train/celebamask1000/c.jpg", "", "masks/c.png")]
    assert (read_image(out / "masks/c.png")[:, 0, 0] == [255, 0, 0, 0]).all()
    assert all((out / row[0]).exists() for row in rows("video"))
    everything = [row[0] for name in ("lfw", "celeba", "helen", "webmorph", "video") for row in rows(name)]
    assert not any(path.startswith("eval/") for path in everything)


def test_people_of_clips() -> None:
    assert person_of(Path("video/mead256/M030_front_fear_level3_001.mp4")) == "M030"
    assert person_of(Path("video/mead_W036_happy_1080p.mp4")) == "W036"
    assert person_of(Path("video/duda_1080p.mp4")) == "duda_1080p"


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest\.tsv: no such file"):
        main([str(tmp_path), str(tmp_path / "lists")])
