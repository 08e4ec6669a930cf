"""Surfaces drawn together with the head: meshes with a colour and a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Thing:
    """A surface of one material.

    Attributes:
        vertices, normals: camera axes, metres and unit.
        faces: triangles, either side may be seen.
        where: place in the pattern, in repeats, and cover: 0 nothing, 1 and more everything is there.
        pattern: one of `training.synthetic.noise`.
        colour: RGB of each triangle.
        contrast: by how much the pattern darkens and lightens.
        gloss: of strands seen from the light.
        flat: how little the light depends on its form, [0, 1].
    """

    vertices: Float[np.ndarray, "V 3"]
    normals: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    where: Float[np.ndarray, "V 3"]
    pattern: int
    colour: Float[np.ndarray, "F 3"]
    contrast: float = 0.0
    gloss: float = 0.0
    flat: float = 0.0


@dataclass(frozen=True)
class Things:
    """Several surfaces as the compiled code takes them; see `training.synthetic.draw`."""

    vertices: Float[np.ndarray, "V 3"]
    normals: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    where: Float[np.ndarray, "V 3"]
    pattern: Int[np.ndarray, "F"]
    look: Float[np.ndarray, "F 6"]


def join(things: Sequence[Thing]) -> Things:
    """All surfaces one after the other; at the same depth the first is seen."""
    start = np.cumsum([0] + [len(thing.vertices) for thing in things])
    none = np.zeros((0, 3))
    return Things(
        np.concatenate([none, *(thing.vertices for thing in things)]),
        np.concatenate([none, *(thing.normals for thing in things)]).astype(np.float32),
        np.concatenate([none.astype(np.int64), *(t.faces + s for t, s in zip(things, start[:-1], strict=True))]),
        np.concatenate([none, *(thing.where for thing in things)]).astype(np.float32),
        np.concatenate([np.zeros(0, np.int64), *(np.full(len(t.faces), t.pattern) for t in things)]),
        np.concatenate(
            [
                np.zeros((0, 6)),
                *(
                    np.column_stack([t.colour, np.tile([t.contrast, t.gloss, t.flat], (len(t.faces), 1))])
                    for t in things
                ),
            ]
        ).astype(np.float32),
    )


def grid_faces(rows: int, columns: int, closed: bool = False) -> Int[np.ndarray, "F 3"]:
    """Triangles between neighbours of a grid of vertices, row by row; `closed` joins the last column to the first."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - (not closed)), indexing="ij")
    i, j = i.ravel(), j.ravel()
    a, b = i * columns + j, i * columns + (j + 1) % columns
    return np.concatenate([np.stack([a, a + columns, b], -1), np.stack([b, a + columns, b + columns], -1)])


def grid_normals(points: Float[np.ndarray, "rows columns 3"], closed: bool = False) -> Float[np.ndarray, "n 3"]:
    """Unit normals of a grid of points, by differences of its neighbours."""
    down = np.gradient(points, axis=0)
    around = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    across = around if closed else np.gradient(points, axis=1)
    normal = np.cross(down, across)
    return (normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)).reshape(-1, 3)
