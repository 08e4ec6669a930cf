"""Where photographs and videos lie, and whose they are: the layouts of folders and of lists that are read.

============== ====================================================================================================
``folders``    one folder per person, photographs and videos in it at any depth; those that lie directly in the given
               folder are a person each (so a folder of videos is one person per video)
``csv``        a list with the columns ``path``, ``identity`` and, if there are masks, ``mask``; paths relative to it
``vggface2``   ``n000001/0001_01.jpg``, below ``train`` or ``test`` or not; ``loose_bb_*.csv`` beside or above says
               which face is meant
``bupt``       BUPT-Balancedface: ``African/m.0abc/000.jpg``, below ``race_per_7000`` or not; the four races are part
               of the person's name
``voxceleb2``  ``id00012/video/00001.mp4``, below ``dev/mp4`` or not; all videos of an id are one person
============== ====================================================================================================
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tracker.inputs import SUFFIXES as VIDEOS

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
RACES = ("African", "Asian", "Caucasian", "Indian")


@dataclass(frozen=True)
class Item:
    """A photograph or a video.

    Attributes:
        key: its path below what was given, or as its list has it; unique.
        path: the file.
        identity: whose it is.
        mask: the user's own skin mask, of the photograph's size.
        box: x0, y0, x1, y1 of the face that is meant, px; None takes the detector's choice.
    """

    key: str
    path: Path
    identity: str
    mask: Path | None = None
    box: tuple[float, float, float, float] | None = None

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS


def find(place: Path, layout: str = "auto") -> tuple[str, list[Item]]:
    """The layout, and what is there, in the order of the names (of the list for ``csv``).

    Raises:
        ValueError: nothing is there, or it is not in that layout.
    """
    if not place.exists():
        raise ValueError(f"{place}: no such folder or list")
    if layout == "auto":
        layout = _guess(place)
    elif layout not in READERS:
        raise ValueError(f"--layout {layout}: unknown; there are auto, {', '.join(READERS)}")
    if (layout == "csv") != place.is_file():
        need = "a list (a file)" if layout == "csv" else "a folder"
        raise ValueError(f"{place}: layout '{layout}' needs {need}")
    items = list(READERS[layout](place))
    if not items:
        raise ValueError(
            f"{place}: no picture or video in layout '{layout}' there (looked for {' '.join(PICTURES + VIDEOS)})"
        )
    return layout, items


def _guess(place: Path) -> str:
    if place.is_file():
        if place.suffix.lower() not in (".csv", ".tsv", ".txt"):
            raise ValueError(f"{place}: give a folder, or a list that ends in .csv or .tsv")
        return "csv"
    for layout, starts in _STARTS.items():
        for start in starts:
            names = [entry.name for entry in _folders(place / start)]
            if names and all(_PERSON[layout].fullmatch(name) for name in names):
                return layout
    return "folders"


_PERSON: Mapping[str, re.Pattern[str]] = {
    "vggface2": re.compile(r"n\d{6}"),
    "voxceleb2": re.compile(r"id\d{5}"),
    "bupt": re.compile("|".join(RACES)),
}
_STARTS: Mapping[str, tuple[str, ...]] = {
    "vggface2": ("", "train", "test"),
    "voxceleb2": ("", "mp4", "dev/mp4", "test/mp4", "dev", "test"),
    "bupt": ("", "race_per_7000", "images"),
}


def _folders(place: Path) -> list[Path]:
    return sorted(entry for entry in place.iterdir() if entry.is_dir()) if place.is_dir() else []


def _files(place: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files below a folder, in the order of their names."""
    for folder, inner, names in os.walk(place):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(folder) / name


def _read_folders(place: Path) -> Iterator[Item]:
    for path in _files(place, PICTURES + VIDEOS):
        parts = path.relative_to(place).parts
        yield Item("/".join(parts), path, parts[0] if len(parts) > 1 else "/".join(parts))


def _read_csv(place: Path) -> Iterator[Item]:
    seen: set[str] = set()
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, delimiter="\t" if place.suffix.lower() == ".tsv" else ",")
            names = rows.fieldnames or []
            for need in ("path", "identity"):
                if need not in names:
                    raise ValueError(f"{place}: no column '{need}'; has {', '.join(names) or 'nothing'}")
            for number, row in enumerate(rows, 2):
                key, identity, mask = row["path"], row["identity"], row.get("mask")
                if not key or identity is None:
                    raise ValueError(f"{place}, line {number}: no path or no identity; give path,identity[,mask]")
                if key in seen:
                    raise ValueError(f"{place}, line {number}: {key} stands there twice")
                seen.add(key)
                yield Item(key, place.parent / key, identity or key, place.parent / mask if mask else None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{place}: cannot be read as a list ({error})") from None


def _read_people(layout: str, suffixes: tuple[str, ...]) -> Callable[[Path], Iterator[Item]]:
    def read(place: Path) -> Iterator[Item]:
        for start in _STARTS[layout]:
            for person in _folders(place / start):
                if _PERSON[layout].fullmatch(person.name):
                    for path in _files(person, suffixes):
                        yield Item(path.relative_to(place).as_posix(), path, person.name)

    return read


def _read_vggface2(place: Path) -> Iterator[Item]:
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for folder in (place, place / "bb_landmark", place.parent, place.parent / "bb_landmark"):
        for file in sorted(folder.glob("loose_bb*.csv")):
            boxes.update(_loose_boxes(file))
    for item in _read_people("vggface2", PICTURES)(place):
        yield Item(item.key, item.path, item.identity, box=boxes.get(f"{item.identity}/{item.path.stem}"))


def _loose_boxes(path: Path) -> dict[str, tuple[float, float, float, float]]:
    boxes = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                x, y, w, h = (float(row[name]) for name in "XYWH")
                boxes[row["NAME_ID"]] = (x, y, x + w, y + h)
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"{path}: not a list of NAME_ID,X,Y,W,H; remove it or give the right one") from None
    return boxes


def _read_bupt(place: Path) -> Iterator[Item]:
    for start in _STARTS["bupt"]:
        for race in _folders(place / start):
            if race.name in RACES:
                for path in _files(race, PICTURES):
                    person = path.relative_to(race).parts[0]
                    yield Item(path.relative_to(place).as_posix(), path, f"{race.name}/{person}")


READERS: Mapping[str, Callable[[Path], Iterator[Item]]] = {
    "folders": _read_folders,
    "csv": _read_csv,
    "vggface2": _read_vggface2,
    "bupt": _read_bupt,
    "voxceleb2": _read_people("voxceleb2", VIDEOS),
}
