"""Where on openhead a landmark may lie: rims of lids and lips, irises, outer skin; and the head's mirror.

The rims are edge loops of MakeHuman's quads, found by the head's builder; hence the extra ``build-head``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from model.asset import HeadAsset, SurfacePoints
from model.openhead import contact
from model.openhead.cut import HeadMesh, cut_head
from model.openhead.rings import quad_graph
from model.openhead.source import read_base_mesh
from training.landmarks.surface import closest, on_edges


@dataclass(frozen=True)
class Slit:
    """The two sides of an opening: paths of mesh edges from the corner at smaller x to the one at larger x, both with
    both corners. Points at the same x of the template touch when the opening is closed."""

    upper: Int[np.ndarray, " u"]
    lower: Int[np.ndarray, " l"]


@dataclass(frozen=True)
class Anatomy:
    """What landmarks need to know about the head.

    Attributes:
        vertices: template, metres, exactly mirror symmetric.
        faces: triangles.
        mirror: index of the mirror image of every vertex.
        mirror_faces: likewise of every triangle.
        skin: triangles of the outer skin.
        face: triangles of the face: skin without scalp, ears and neck.
        slits: ``lips``, ``left_lids``, ``right_lids``.
        eyes: triangles of the eyeballs, ``left`` and ``right``.
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    mirror: Int[np.ndarray, " V"]
    mirror_faces: Int[np.ndarray, " F"]
    skin: Int[np.ndarray, " _"]
    face: Int[np.ndarray, " _"]
    slits: dict[str, Slit]
    eyes: dict[str, Int[np.ndarray, " _"]]

    def mirrored(self, points: SurfacePoints) -> SurfacePoints:
        """The mirror images of surface points."""
        face = self.mirror_faces[points.face]
        wanted = self.mirror[self.faces[points.face]]  # the mirror image of each corner ...
        order = np.argmax(self.faces[face][..., :, None] == wanted[..., None, :], axis=-1)  # ... and where it is
        return SurfacePoints(face, np.take_along_axis(points.barycentric, order, axis=-1))

    def on_slit(self, name: str, x: Float[np.ndarray, " N"], *, upper: bool) -> SurfacePoints:
        """The points of one side of a slit at given places between the corners (template x, metres; held inside)."""
        path = self.slits[name].upper if upper else self.slits[name].lower
        along = np.maximum.accumulate(self.vertices[path, 0])
        inside = np.clip(x, along[0], along[-1])
        edge = np.clip(np.searchsorted(along, inside, side="right") - 1, 0, len(path) - 2)
        t = np.clip((inside - along[edge]) / np.maximum(along[edge + 1] - along[edge], 1e-9), 0.0, 1.0)
        return on_edges(self.faces, path[edge], path[edge + 1], t)

    def iris(self, side: str, size: tuple[float, float]) -> SurfacePoints:
        """Centre of the pupil, then the rim of the iris at the subject's-right, top, left and bottom (as in a picture
        of the head: image left, top, right, bottom).

        Args:
            size: half width and half height, metres.
        """
        vertices = self.vertices[np.unique(self.faces[self.eyes[side]])]
        pole = vertices[np.argmax(vertices[:, 2])]
        around = np.array([[0, 0], [-1, 0], [0, 1], [1, 0], [0, -1]]) * np.array(size)
        ball = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
        ball_radius = pole[2] - ball[2]
        depth = np.sqrt(ball_radius**2 - (around**2).sum(axis=1))
        return closest(self.vertices, self.faces, ball + np.c_[around, depth], self.eyes[side])


def anatomy(asset: HeadAsset) -> Anatomy:
    """Find the parts of the shipped head.

    Raises:
        ValueError: the extra ``build-head`` is missing, or the head is not the one that it builds.
    """
    base = read_base_mesh()
    mesh = cut_head(base)
    if not np.array_equal(mesh.faces, asset.faces):
        raise ValueError(f"head {asset.name} has other triangles than the builder; run python -m model.openhead.build")
    graph = quad_graph(base.quads["body"])
    lips, left = contact.lips(graph, mesh), contact.left_lids(graph, mesh)
    slits = {"lips": _with_corners(lips, mesh), "left_lids": _with_corners(left, mesh)}
    slits["right_lids"] = Slit(
        mesh.mirror[slits["left_lids"].upper][::-1].copy(), mesh.mirror[slits["left_lids"].lower][::-1].copy()
    )
    vertices = asset.template.astype(np.float64)
    vertices = 0.5 * (vertices + vertices[mesh.mirror] * np.array([-1.0, 1.0, 1.0]))

    def faces_in(region: str, least: float) -> Int[np.ndarray, " _"]:
        return np.flatnonzero((asset.regions[region][asset.faces] >= least).all(axis=1))

    return Anatomy(
        vertices=vertices,
        faces=mesh.faces,
        mirror=mesh.mirror,
        mirror_faces=mesh.mirror_faces,
        skin=faces_in("skin", 0.5),
        face=faces_in("face", 0.5),
        slits=slits,
        eyes={side: mesh.faces_of(f"{side}_eye") for side in ("left", "right")},
    )


def _with_corners(slit: contact.Slit, mesh: HeadMesh) -> Slit:
    line = slit.rings[0]
    x = mesh.vertices[line, 0]
    first, last = line[np.argmin(x)], line[np.argmax(x)]
    return Slit(np.r_[first, slit.upper, last], np.r_[first, slit.lower, last])
