"""The challenge of Feng et al. 2018 on Stirling/ESRC 3D: neutral heads from single pictures against scans.

  python -m training.evaluate stirling stirling/ --weights deca.safetensors --mean --out stirling_out/

The folder holds the pictures in HQ and LQ (of Subset_2D_FG2018), the scans in F_3D_N and M_3D_N, and the annotations of
the challenge (annotations/F_3D_N/*.lnd, annotations/M_3D_N/*.lnd), each anywhere below it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from training.evaluate.options import folder_of, parser_of
from training.evaluate.protocol import Item, Rules, add_sources, judge
from training.evaluate.report import Report

RULES = Rules(radius=1.2 / 2, scaled=True, refined=False)
GENDER_FOLDERS = {"F": "F_3D_N", "M": "M_3D_N"}
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_SUBJECT = re.compile(r"[FM]\d{4}", re.IGNORECASE)


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("stirling", __doc__)
    parser.add_argument("folder", metavar="FOLDER", help="pictures, scans and annotations")
    add_sources(parser)
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="lines 'HQ/PICTURE,SCAN' where names do not tell")
    options = parser.parse(argv)
    items, left_out = find_items(folder_of(options), options.pairs)
    report = Report("stirling", options.out)
    report.note("pictures", len(items), f"{len(items)} pictures of {len({item.scan for item in items})} scans")
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        report.note("left out", left_out, f"left out, without scan or annotation: {', '.join(left_out[:5])}{more}")
    judge(items, options, RULES, report, "Stirling (Feng et al. 2018)")
    report.close()
    return 0


def find_items(root: Path, pairs: Path | None = None) -> tuple[list[Item], list[str]]:
    """The pictures with their scans, by scan, and the pictures without scan or annotation (f1033 has none).

    Raises:
        ValueError: the folder has another layout.
    """
    pictures = {
        f"{quality}/{path.name}": path
        for quality in ("HQ", "LQ")
        for folder in sorted(root.rglob(quality))
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _PICTURES
    }
    if not pictures:
        raise ValueError(f"{root}: no pictures in folders HQ and LQ below it; unpack Subset_2D_FG2018 there")
    scans = _by_name(root, (".obj", ".ply"))
    marks = _by_name(root, (".lnd",))
    if not scans:
        raise ValueError(f"{root}: no scans (.obj) in folders F_3D_N and M_3D_N below it")
    if not marks:
        raise ValueError(f"{root}: no annotations (.lnd) below it; they come with the challenge's repository")
    named = {} if pairs is None else _pairs(pairs)
    items, left_out = [], []
    for name, path in pictures.items():
        scan = named.get(name) or _scan_of(path.stem, sorted(scans.keys() & marks.keys()))
        if scan is None or scan not in scans or scan not in marks:
            left_out.append(name)
            continue
        stem = str(Path(name).with_suffix(""))
        gender = scan[0].upper()
        items.append(Item(stem, name[:2], gender, path, None, scans[scan], marks[scan]))
    if not items:
        raise ValueError(f"{root}: no picture has both a scan and an annotation; name them by --pairs")
    return sorted(items, key=lambda item: (item.scan, item.name)), left_out


def _by_name(root: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of the gender folders by their lower-case stem: scans and annotations differ in case."""
    return {
        path.stem.lower(): path
        for folder in GENDER_FOLDERS.values()
        for place in sorted(root.rglob(folder))
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in suffixes
    }


def _scan_of(picture: str, names: list[str]) -> str | None:
    """The neutral scan of the subject whose name the picture begins with: SUBJECT_N, else the first of the subject's.

    ``names`` are of scans that have annotations, in lower case.
    """
    subject = _SUBJECT.match(picture)
    if subject is None:
        return None
    person = subject.group().lower()
    if f"{person}_n" in names:
        return f"{person}_n"
    return next((name for name in names if name.startswith(person)), None)


def _pairs(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"--pairs {path}: no such file")
    pairs = {}
    for row in csv.reader(path.read_text().splitlines()):
        if len(row) != 2:
            raise ValueError(f"--pairs {path}: '{','.join(row)}' is no line 'HQ/PICTURE,SCAN'")
        pairs[row[0].strip()] = Path(row[1].strip()).stem.lower()
    return pairs
