"""The NoW challenge (Sanyal et al. 2019, section 5): neutral heads from single pictures against scans.

  python -m training.evaluate now final_release_version --weights deca.safetensors --mean --out now/
  python -m training.evaluate now final_release_version --predictions predicted_meshes/

The folder is the validation set as it is released: iphone_pictures/SUBJECT/CHALLENGE/*.jpg, detected_face/…/*.npy,
scans/SUBJECT/*.obj, scans_lmks_onlypp/SUBJECT/*.pp and imagepathsvalidation.txt, in it or one folder up or down.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from model.io.unpickle import read_npy
from training.evaluate.options import folder_of, parser_of
from training.evaluate.protocol import Item, Rules, add_sources, judge
from training.evaluate.report import Report

CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")
RADIUS = 0.7
LISTS = ("imagepathsvalidation.txt", "imagepathstest.txt")
_PICTURES = (".jpg", ".jpeg", ".png")


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("now", __doc__)
    parser.add_argument("folder", metavar="FOLDER", help="the released validation set")
    add_sources(parser)
    parser.add_argument("--metrical", action="store_true", help="the metrical challenge: heads are not scaled")
    parser.add_argument("--list", type=Path, metavar="FILE", help="of the pictures, SUBJECT/CHALLENGE/NAME.jpg a line")
    parser.add_argument("--gender", type=Path, metavar="FILE", help="lines 'SUBJECT,F' or 'SUBJECT,M'")
    options = parser.parse(argv)
    items = find_items(folder_of(options), options.list, options.gender)
    rules = Rules(radius=RADIUS, scaled=not options.metrical, refined=True)
    report = Report("now_metrical" if options.metrical else "now", options.out)
    report.note("pictures", len(items), f"{len(items)} pictures of {len({item.scan for item in items})} people")
    judge(items, options, rules, report, "NoW, metrical" if options.metrical else "NoW")
    report.close()
    return 0


def find_items(root: Path, listed: Path | None = None, gender: Path | None = None) -> list[Item]:
    """The pictures of the set with their scans, by subject.

    Raises:
        ValueError: the folder has another layout, or a picture, scan or landmark file is missing.
    """
    pictures = _folder(root, "iphone_pictures")
    scans, landmarks = _folder(root, "scans"), _folder(root, "scans_lmks_onlypp")
    boxes = next((path for path in _places(root, "detected_face") if path.is_dir()), None)
    genders = {} if gender is None else read_genders(gender)
    items = []
    for name in sorted(_names(root, pictures, listed)):
        parts = Path(name).parts
        if len(parts) != 3:
            raise ValueError(f"{listed or root}: '{name}' is no SUBJECT/CHALLENGE/PICTURE")
        subject, challenge = parts[:2]
        stem = str(Path(name).with_suffix(""))
        if not (pictures / name).is_file():
            raise ValueError(f"{pictures / name}: no such picture, but it is listed")
        items.append(
            Item(
                name=stem,
                group=challenge,
                gender=genders.get(subject, ""),
                picture=pictures / name,
                points=None if boxes is None else _box(boxes / f"{stem}.npy"),
                scan=_only(scans / subject, (".obj", ".ply")),
                landmarks=_only(landmarks / subject, (".pp", ".txt", ".npy")),
            )
        )
    return items


def _places(root: Path, name: str) -> list[Path]:
    return [root / name, root.parent / name, *sorted(root.glob(f"*/{name}"))]


def _folder(root: Path, name: str) -> Path:
    for path in _places(root, name):
        if path.is_dir():
            return path
    raise ValueError(f"{root}: no {name} in it, beside it or one folder below; give the folder of the released set")


def _names(root: Path, pictures: Path, listed: Path | None) -> list[str]:
    places = [listed] if listed else [path for name in LISTS for path in _places(root, name)]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        if listed:
            raise ValueError(f"--list {listed}: no such file")
        found = [p for p in pictures.glob("*/*/*") if p.suffix.lower() in _PICTURES]
        names = [p.relative_to(pictures).as_posix() for p in found]
    else:
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path or pictures}: names no pictures")
    return names


def _only(folder: Path, suffixes: tuple[str, ...]) -> Path:
    """The file of a subject; where a folder holds several, the first by name."""
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in suffixes)
    if not found:
        raise ValueError(f"{folder}: no {' or '.join(suffixes)} file in it")
    return found[0]


def _box(path: Path) -> Float[np.ndarray, "2 2"] | None:
    """Corners of the landmarks' box, px, from the released box.

    The released box is that of the landmarks, grown by 5 % at the bottom, 10 % at either side and 30 % at the top
    (Sanyal et al. 2019, section 5); this goes back.

    Raises:
        ValueError: the file holds no box.
    """
    if not path.is_file():
        return None
    content = read_npy(path)
    try:
        sides = [content[k] for k in ("left", "top", "right", "bottom")] if isinstance(content, dict) else content
        left, top, right, bottom = (float(side) for side in np.asarray(sides, np.float64).reshape(-1))
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"{path}: holds no box; expected left, top, right, bottom") from None
    if right <= left or bottom <= top:
        raise ValueError(f"{path}: the box is empty ({left:g}, {top:g} to {right:g}, {bottom:g})")
    width, height = (right - left) / 1.2, (bottom - top) / 1.35
    return np.array([[left + 0.1 * width, top + 0.3 * height], [right - 0.1 * width, bottom - 0.05 * height]])


def read_genders(path: Path) -> dict[str, str]:
    """Subject → ``F`` or ``M``, from lines 'SUBJECT,F'; blanks or tabs separate too.

    Raises:
        ValueError: no such file, or another line in it.
    """
    if not path.is_file():
        raise ValueError(f"--gender {path}: no such file")
    genders = {}
    for row in csv.reader(line.replace("\t", ",").replace(" ", ",") for line in path.read_text().splitlines()):
        cells = [cell for cell in row if cell]
        if not cells:
            continue
        letter = cells[-1][:1].upper()
        if len(cells) != 2 or letter not in "FM":
            raise ValueError(f"--gender {path}: '{','.join(row)}' is no line 'SUBJECT,F' or 'SUBJECT,M'")
        genders[cells[0]] = letter
    return genders
