"""Morphs of the base mesh carried over to the cut head: on its vertices, with eyeballs that stay exact spheres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from model.openhead.cut import HeadMesh
from model.openhead.source import BaseMesh, Target

MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Carrier:
    """Carries morphs from the base mesh to the head.

    A ball of the head follows the mean motion of MakeHuman's ball as a whole and its mean radial growth, so it stays a
    sphere under every linear combination of morphs.
    """

    mesh: HeadMesh
    base_size: int
    balls: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]  # base vertices of the left and the right eyeball
    ball_normals: tuple[Float[np.ndarray, "_ 3"], Float[np.ndarray, "_ 3"]]

    def __call__(self, target: Target) -> Float[np.ndarray, "V 3"]:
        """Offsets (metres) of the vertices of the head."""
        dense = np.zeros((self.base_size, 3))
        dense[target.vertex] = target.offset
        offsets = np.zeros_like(self.mesh.vertices)
        known = self.mesh.source_vertex >= 0
        offsets[known] = dense[self.mesh.source_vertex[known]]
        directions = self.mesh.eye_directions
        for side, group in enumerate(("left_eye", "right_eye")):
            moved = dense[self.balls[side]]
            growth = np.einsum("ij,ij->", moved - moved.mean(axis=0), self.ball_normals[side]) / len(moved)
            outward = directions if side == 0 else directions * MIRROR
            offsets[self.mesh.vertices_of(group)] = moved.mean(axis=0) + growth * outward
        return offsets

    def mirrored(self, offsets: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
        """The mirror image of an offset field."""
        return offsets[self.mesh.mirror] * MIRROR

    def symmetric(self, offsets: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
        """The mirror-symmetric part of an offset field."""
        return 0.5 * (offsets + self.mirrored(offsets))


def carrier(base: BaseMesh, mesh: HeadMesh) -> Carrier:
    """The `Carrier` of a cut head."""
    balls = tuple(np.unique(base.quads[f"helper-{side}-eye"]) for side in "lr")
    normals = []
    for ball in balls:
        arms = base.vertices[ball] - base.vertices[ball].mean(axis=0)
        normals.append(arms / np.linalg.norm(arms, axis=1, keepdims=True))
    return Carrier(mesh, len(base.vertices), (balls[0], balls[1]), (normals[0], normals[1]))
