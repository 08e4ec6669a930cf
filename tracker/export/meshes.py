"""OBJ and PLY: one frame, or a numbered sequence, of the coarse or the dense, detailed head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from tracker.export.files import written
from tracker.image import write_image


@dataclass(frozen=True)
class Solid:
    """A posed head in the scene.

    Attributes:
        points: metres.
        normals: unit.
        faces: triangles.
        uv, uv_faces: texture vertices, origin at the bottom-left, and triangles, where the head has a texture.
        colours: of the points, RGB, where it has one.
    """

    points: Float[np.ndarray, "V 3"]
    normals: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "VT 2"] | None = None
    uv_faces: Int[np.ndarray, "F 3"] | None = None
    colours: UInt8[np.ndarray, "V 3"] | None = None


def write_obj(path: Path, solid: Solid, material: str | None = None) -> None:
    """Write a mesh as Wavefront OBJ.

    Args:
        material: name of the ``.mtl`` file beside it, with a material ``head`` in it.

    Raises:
        ValueError: the file cannot be written there.
    """
    parts = ["# decatrack: metres, y up, the face looks along +z\n"]
    if material:
        parts.append(f"mtllib {material}\n")
    parts.append(_lines("v %.6f %.6f %.6f\n", solid.points))
    corners = [solid.faces + 1]
    if solid.uv is not None and solid.uv_faces is not None:
        parts.append(_lines("vt %.6f %.6f\n", solid.uv))
        corners.append(solid.uv_faces + 1)
    parts.append(_lines("vn %.4f %.4f %.4f\n", solid.normals))
    corners.append(solid.faces + 1)
    parts.append("o head\ns 1\n")
    if material:
        parts.append("usemtl head\n")
    corner = "%d/%d/%d" if len(corners) == 3 else "%d//%d"
    parts.append(_lines(f"f {corner} {corner} {corner}\n", np.stack(corners, axis=-1).reshape(len(solid.faces), -1)))
    with written(path) as temporary:
        temporary.write_text("".join(parts))


def write_material(path: Path, colour: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write ``NAME.mtl`` and its texture ``NAME.png``.

    Raises:
        ValueError: they cannot be written there.
    """
    picture = path.with_suffix(".png")
    write_image(picture, colour)
    text = f"newmtl head\nKa 0 0 0\nKd 1 1 1\nKs 0.04 0.04 0.04\nNs 30\nillum 2\nmap_Kd {picture.name}\n"
    with written(path) as temporary:
        temporary.write_text(text)


def write_ply(path: Path, solid: Solid) -> None:
    """Write a mesh as binary PLY, with normals and the colours of its points.

    Raises:
        ValueError: the file cannot be written there.
    """
    fields: list[tuple[str, str, np.ndarray]] = [
        (name, "<f4", solid.points[:, k].astype(np.float32)) for k, name in enumerate(("x", "y", "z"))
    ]
    fields += [(name, "<f4", solid.normals[:, k].astype(np.float32)) for k, name in enumerate(("nx", "ny", "nz"))]
    if solid.colours is not None:
        fields += [(name, "u1", solid.colours[:, k]) for k, name in enumerate(("red", "green", "blue"))]
    rows = np.empty(len(solid.points), [(name, kind) for name, kind, _ in fields])
    for name, _, values in fields:
        rows[name] = values
    triangles = np.empty(len(solid.faces), [("count", "u1"), ("corner", "<i4", 3)])
    triangles["count"], triangles["corner"] = 3, solid.faces
    header = ["ply", "format binary_little_endian 1.0", "comment decatrack: metres, y up, the face looks along +z"]
    header.append(f"element vertex {len(rows)}")
    header += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind, _ in fields]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header", ""]
    with written(path) as temporary, open(temporary, "wb") as file:
        file.write("\n".join(header).encode())
        file.write(rows.tobytes())
        file.write(triangles.tobytes())


def _lines(pattern: str, rows: np.ndarray) -> str:
    return (pattern * len(rows)) % tuple(rows.ravel().tolist())
