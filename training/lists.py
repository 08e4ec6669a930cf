"""Lists of the faces that the shipped weights learned from: ``python -m training.lists ../shared/data lists/``.

Reads ``manifest.tsv`` of the project's data and writes one list a set for `python -m training.prepare`, with links to
the pictures beside them, so that a face's key is its path in the manifest. CelebAMask-HQ's classes become skin masks.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tracker.command import Parser, run
from tracker.image import read_image, write_image
from tracker.inputs import SUFFIXES

SETS = {
    "lfw": ("train/lfw/",),
    "celeba": ("train/celebamask1000/",),
    "helen": ("train/helen_train/",),
    "webmorph": ("train/webmorph/",),
    "london": ("train/webmorph/neutral_front/", "train/webmorph/smiling_front/"),
}
"""List → where its pictures lie. ``webmorph`` holds ``london`` too."""
SKIN = (1, 2, 6, 7, 11, 12)
"""CelebAMask-HQ's classes that are skin to us: skin, nose, brows, lips."""
EMPTY = ("no_face",)
"""Clips without a face."""


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = Parser(prog="python -m training.lists", description=__doc__)
    parser.add_argument("data", type=Path, help="the project's data: manifest.tsv, train/, video/")
    parser.add_argument("out", type=Path, help="folder for the lists")
    options = parser.parse(argv)
    manifest = options.data / "manifest.tsv"
    if not manifest.is_file():
        raise ValueError(f"{manifest}: no such file")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("train", "video"):
        link = options.out / name
        if not link.exists():
            link.symlink_to((options.data / name).resolve(), target_is_directory=True)
    with manifest.open(newline="") as file:
        rows = [(row["path"], row["identity"]) for row in csv.DictReader(file, delimiter="\t")]
    for name, folders in SETS.items():
        faces = [(path, person) for path, person in rows if path.startswith(folders)]
        masks = [_skin(options.data, options.out, path) if name == "celeba" else "" for path, _ in faces]
        _write(options.out / f"{name}.csv", ((*face, mask) for face, mask in zip(faces, masks, strict=True)))
    clips = sorted(path for path in (options.data / "video").rglob("*") if path.suffix.lower() in SUFFIXES)
    named = [(path.relative_to(options.data).as_posix(), person_of(path), "") for path in clips]
    _write(options.out / "video.csv", (row for row in named if row[1] not in EMPTY))
    return 0


def person_of(clip: Path) -> str:
    """Who is in a clip: MEAD's actors by their number, anybody else by the file's name."""
    words = clip.stem.split("_")
    if clip.parent.name == "mead256":
        return words[0]
    return words[1] if words[0] == "mead" else clip.stem


def _skin(data: Path, out: Path, path: str) -> str:
    """The skin mask of a picture of CelebAMask-HQ, made once; its place in the list."""
    place = Path("masks") / f"{Path(path).stem}.png"
    if not (out / place).is_file():
        (out / "masks").mkdir(exist_ok=True)
        classes = read_image(data / path.replace(".jpg", "_mask.png"))[..., :1]
        write_image(out / place, np.where(np.isin(classes, SKIN), np.uint8(255), np.uint8(0)).repeat(3, axis=2))
    return place.as_posix()


def _write(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    lines = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "identity", "mask"))
        writer.writerows(lines)
    print(f"{path}: {len(lines)}")


if __name__ == "__main__":
    sys.exit(run("python -m training.lists", main))
