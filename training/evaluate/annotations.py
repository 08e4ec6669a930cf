"""Photographs with 68 landmarks by hand, in the layouts in which such sets are released."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Float

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Annotated:
    """A photograph with its annotation.

    Attributes:
        path: of the picture.
        set: the set that it is of.
        points: iBUG-68, px, origin at the corner of the first pixel.
        surface: whether the points stay on the surface, behind the face too, instead of following the outline.
        yaw: degrees, its sign as the set has it; None where unknown.
    """

    path: Path
    set: str
    points: Float[np.ndarray, "68 2"]
    surface: bool = False
    yaw: float | None = None


def find_annotated(root: Path, sets: list[str] | None = None) -> list[Annotated]:
    """All annotated photographs below a folder.

    Three layouts are known: ``manifest.tsv`` with ``landmarks.npz``; ``.pts`` beside the pictures (300W, HELEN, AFW);
    ``.mat`` beside the pictures (AFLW2000-3D, 300W-LP). In the last two every folder with pictures is a set.

    Args:
        sets: which ones; all of them when empty.

    Raises:
        ValueError: nothing is found, or a file is damaged.
    """
    if (root / "manifest.tsv").is_file():
        found = _manifest(root)
    else:
        found = [_pts(root, path) for path in sorted(root.rglob("*.pts"))]
        found += [_mat(root, path) for path in sorted(root.rglob("*.mat"))]
        found = [entry for entry in found if entry is not None]
    if not found:
        raise ValueError(f"{root}: no manifest.tsv, and no .pts or .mat beside a picture; nothing to compare with")
    known = sorted({entry.set for entry in found})
    unknown = sorted(set(sets or ()) - set(known))
    if unknown:
        raise ValueError(f"--set {unknown[0]}: no such set in {root}; there are {', '.join(known)}")
    return [entry for entry in found if not sets or entry.set in sets]


def _manifest(root: Path) -> list[Annotated]:
    """Rows of ``manifest.tsv`` (path, set, ..., n_points) that have 68 points in ``landmarks.npz``, where they lie
    under the path with ``/`` written ``|``. Sets called ``aflw2000...`` are annotated on the surface."""
    if not (root / "landmarks.npz").is_file():
        raise ValueError(f"{root}: has manifest.tsv but no landmarks.npz")
    with (root / "manifest.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if rows and not {"path", "set"} <= rows[0].keys():
        raise ValueError(f"{root / 'manifest.tsv'}: has no columns path and set")
    found = []
    with np.load(root / "landmarks.npz", allow_pickle=False) as arrays:
        names = set(arrays.files)
        for row in rows:
            key = row["path"].replace("/", "|")
            if row.get("n_points", "68") == "68" and key in names:
                points = arrays[key].astype(np.float64)
                if points.shape == (68, 2):
                    found.append(Annotated(root / row["path"], row["set"], points, row["set"].startswith("aflw2000")))
    return found


def _pts(root: Path, path: Path) -> Annotated | None:
    """iBUG's text format; it counts pixels from 1, at their centres."""
    picture = _picture(path)
    if picture is None:
        return None
    try:
        body = path.read_text().split("{")[1].split("}")[0]
        points = np.array(body.split(), np.float64).reshape(-1, 2)
    except (IndexError, ValueError, UnicodeDecodeError):
        raise ValueError(f"{path}: not a .pts file ('{{', one point a line, '}}')") from None
    if points.shape != (68, 2):
        raise ValueError(f"{path}: has {len(points)} points, expected iBUG's 68")
    return Annotated(picture, _set(root, path), points - 0.5)


def _mat(root: Path, path: Path) -> Annotated | None:
    """AFLW2000-3D: ``pt3d_68`` (3, 68), px counted from 1; ``Pose_Para`` pitch, yaw, roll, ..., radians."""
    picture = _picture(path)
    if picture is None:
        return None
    try:
        content = scipy.io.loadmat(path)
        points, pose = content["pt3d_68"], content["Pose_Para"].reshape(-1)
    except KeyError as error:
        raise ValueError(f"{path}: has no {error}; expected the layout of AFLW2000-3D") from None
    except Exception as error:  # scipy raises almost anything for a damaged file
        raise ValueError(f"{path}: not a .mat file that can be read ({str(error).splitlines()[0]})") from None
    if points.shape != (3, 68) or len(pose) < 3:
        raise ValueError(f"{path}: pt3d_68 has shape {points.shape}, expected (3, 68)")
    yaw = float(np.rad2deg(pose[1]))
    return Annotated(picture, _set(root, path), points[:2].T.astype(np.float64) - 0.5, True, yaw)


def _picture(annotation: Path) -> Path | None:
    for suffix in (*PICTURES, *(suffix.upper() for suffix in PICTURES)):
        path = annotation.with_suffix(suffix)
        if path.is_file():
            return path
    return None


def _set(root: Path, path: Path) -> str:
    folder = path.parent.relative_to(root).as_posix()
    return root.resolve().name if folder == "." else folder
