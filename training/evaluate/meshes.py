"""Scans, predicted meshes and their landmarks, as the benchmarks store them: obj, ply, pp, lnd, txt, npy."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float

from training.evaluate.scan import LANDMARKS, Head, Scan

UNITS = {"m": 1000.0, "cm": 10.0, "mm": 1.0}
"""Millimetres in each."""
_EYES = (50.0, 150.0)
"""Between these the distance of the outer eye corners lies, mm, if a scan is in millimetres at all."""


def read_scan(points: Path, landmarks: Path) -> Scan:
    """A scan (.obj or .ply, mm) and its seven landmarks.

    Raises:
        ValueError: a file is missing or damaged, or the scan is not in millimetres.
    """
    scan = Scan(_scan_points(points), read_seven(landmarks))
    eyes = float(np.linalg.norm(scan.landmarks[0] - scan.landmarks[3]))
    if not _EYES[0] < eyes < _EYES[1]:
        raise ValueError(
            f"{landmarks}: the outer eye corners are {eyes:.3g} apart, expected {_EYES[0]:g} to {_EYES[1]:g} mm; "
            "scans must be in millimetres, with landmarks in the order " + ", ".join(LANDMARKS)
        )
    return scan


def read_head(mesh: Path, landmarks: Path, unit: str = "mm") -> Head:
    """A predicted mesh with its landmarks, brought to millimetres.

    Args:
        unit: of both, one of `UNITS`.

    Raises:
        ValueError: a file is missing or damaged.
    """
    loaded = _load(mesh)
    if not len(loaded.faces):
        raise ValueError(f"{mesh}: has no triangles; a prediction must be a mesh")
    scale = UNITS[unit]
    faces = np.asarray(loaded.faces, np.int64)
    return Head(scale * np.asarray(loaded.vertices, np.float64), faces, scale * read_seven(landmarks))


def read_seven(path: Path) -> Float[np.ndarray, "7 3"]:
    """The seven landmarks: MeshLab's ``.pp``, ``.npy``, or text with one point per line (``.txt``; ``.lnd`` of the
    Stirling annotations, whose lines begin with the point's number).

    Raises:
        ValueError: no such file, or not seven points of three numbers.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of landmarks")
    try:
        if path.suffix == ".pp":
            points = np.array([[float(p.get(c, "nan")) for c in "xyz"] for p in ElementTree.parse(path).iter("point")])
        elif path.suffix == ".npy":
            points = np.asarray(np.load(path, allow_pickle=False), np.float64)
        else:
            points = np.loadtxt(path, delimiter="," if "," in path.read_text() else None, ndmin=2)
            if points.shape == (7, 4):
                points = points[np.argsort(points[:, 0]), 1:]
    except (ValueError, ElementTree.ParseError, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f"{path}: not a file of landmarks ({str(error).splitlines()[0]})") from None
    if points.shape != (7, 3) or not np.isfinite(points).all():
        raise ValueError(f"{path}: expected 7 points of 3 numbers, got shape {points.shape}; in order {LANDMARKS}")
    return points


def _scan_points(path: Path) -> Float[np.ndarray, "N 3"]:
    """The vertices of a scan as they are in the file: loaders double those at seams of the texture."""
    if path.suffix.lower() != ".obj":
        return np.asarray(_load(path).vertices, np.float64)
    if not path.is_file():
        raise ValueError(f"{path}: no such scan")
    try:
        with path.open("rb") as file:
            rows = [line.split()[1:4] for line in file if line.startswith(b"v ")]
        points = np.array(rows, np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{path}: holds no vertices")
    return points


def _load(path: Path) -> trimesh.Trimesh:
    if not path.is_file():
        raise ValueError(f"{path}: no such mesh")
    try:
        loaded = trimesh.load(path, process=False, force="mesh", skip_materials=True)
    except Exception as error:  # the loaders raise almost anything for a damaged file
        raise ValueError(f"{path}: not a mesh that can be read ({type(error).__name__}: {error})") from None
    if not isinstance(loaded, trimesh.Trimesh) or not len(loaded.vertices):
        raise ValueError(f"{path}: holds no mesh; give an .obj or .ply")
    return loaded
