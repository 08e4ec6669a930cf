"""How everything around the face moves: hair with the head, the neck between head and body, the body not at all.

A displacement field on a coarse grid over the photograph's window. It follows the head's vertices and points in the
hair that hang rigidly on the head, is zero on clothes and at the window's edge, and elsewhere as smooth as it can be:
a linear problem whose matrix never changes, factored once (a thin plate on springs). Where that would fold, it is made
smoother until it does not, and it is inverted exactly (`unfold.py`): nothing can tear or be seen twice. What follows
smooth motion is smooth over time.
"""

from __future__ import annotations

import cv2
import numpy as np
import roma
import scipy.sparse as sparse
from jaxtyping import Float
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree

from model.params import Camera, FaceParams
from model.parsing import Part
from reenact.matte import Scene
from reenact.rig import Posed, Rig
from reenact.unfold import Backwards, unfolded

_NODES = 56  # along the longer side
_MEMBRANE, _PLATE = 0.004, 0.15
_HAIR, _BODY, _EDGE = 0.3, 0.4, 5.0
_DROOP = 0.045  # metres below the chin over which hair lets go of the head
_REACH = (0.05, 0.1)  # metres from the head over which hair is taken to be somebody else's
_HANGING = ("neck", "inner_mouth", "teeth", "tongue", "left_eye", "right_eye")


class Field:
    """Where every pixel of the window comes from."""

    def __init__(self, rig: Rig, scene: Scene) -> None:
        self._rig, self._window = rig, scene.window
        width, height = scene.window.size
        step = max(width, height) / _NODES
        self._count = (max(4, round(width / step)), max(4, round(height / step)))  # columns, rows
        self._step = np.array([width / self._count[0], height / self._count[1]])
        nodes = self._nodes()
        origin = np.array([scene.window.x0, scene.window.y0])
        points = rig.photo.points.numpy()
        self._rows = self._followed(rig.photo)
        self._rest = points[self._rows, :2].astype(np.float64)
        parts = {
            part: np.clip(cv2.resize(scene.parts[part], self._count, interpolation=cv2.INTER_AREA).reshape(-1), 0, 1)
            for part in (Part.HAIR, Part.HAT, Part.CLOTHES, Part.BACKGROUND)
        }
        hanging = (parts[Part.HAIR] + parts[Part.HAT]).clip(0, 1)
        chin = self._rest[:, 1].max()
        scale = float(rig.target.camera.s)
        fade = np.clip(1 - (nodes[:, 1] + origin[1] - chin) / (_DROOP * scale), 0, 1)
        away = KDTree(self._rest).query(nodes + origin)[0] / scale
        hanging = hanging * fade * np.clip((_REACH[1] - away) / (_REACH[1] - _REACH[0]), 0, 1)
        hair = np.flatnonzero(hanging > 0.3)
        self._virtual(nodes[hair] + origin, points)
        body = parts[Part.CLOTHES]
        below = np.clip((nodes[:, 1] + origin[1] - chin) / (0.09 * scale) - 0.6, 0, 1)
        columns, rows = self._count
        column, row = np.meshgrid(np.arange(columns), np.arange(rows))
        edge = ((column == 0) | (column == columns - 1) | (row == rows - 1) | (row == 0)).reshape(-1)
        open_edge = self._open_edges(scene).reshape(-1)
        others = (1 - parts[Part.BACKGROUND]) * np.clip((away - _REACH[0]) / (_REACH[1] - _REACH[0]), 0, 1)
        held = _BODY * np.maximum(np.maximum(body, below), others) + _EDGE * (edge & ~open_edge)
        vertices = self._bilinear(self._rest - origin)
        virtual = self._bilinear(nodes[hair])
        share = np.concatenate([np.full(len(self._rows), 1.0), _HAIR * hanging[hair]])
        self._places = sparse.vstack([vertices, virtual]).tocsr()
        self._right = (self._places.T @ sparse.diags(share)).tocsr()
        smooth = _smoothness(columns, rows)
        self._solver = splu((self._right @ self._places + smooth + sparse.diags(held + 1e-6)).tocsc())
        self._pixels = identity(width, height)
        self._backwards = Backwards(self._count, self._step)

    def sources(self, posed: Posed, params: FaceParams, camera: Camera) -> Float[np.ndarray, "H W 2"]:
        """Where the window's pixel centres come from, in the window, px (origin at its corner).

        Args:
            posed: one head; params, camera: the same head's.
        """
        moved = posed.points[self._rows, :2].numpy() - self._rest
        turned = self._hair @ roma.rotvec_to_rotmat(params.pose).numpy().T + self._rig.root.numpy()
        place = np.stack([turned[:, 0], -turned[:, 1]], 1) * float(camera.s) + camera.t.numpy()
        shifts = np.concatenate([moved, place - self._hair_rest])
        columns, rows = self._count
        forward = self._solver.solve(self._right @ shifts).reshape(rows, columns, 2)
        inverse = self._backwards(unfolded(forward, self._step)).astype(np.float32)
        return cv2.resize(inverse, self._window.size, interpolation=cv2.INTER_LINEAR) + self._pixels

    def _nodes(self) -> Float[np.ndarray, "N 2"]:
        columns, rows = self._count
        x, y = np.meshgrid((np.arange(columns) + 0.5) * self._step[0], (np.arange(rows) + 0.5) * self._step[1])
        return np.stack([x, y], -1).reshape(-1, 2)

    def _followed(self, photo: Posed) -> np.ndarray:
        """Vertices of skin and scalp that face the camera, inside the window."""
        regions, count = self._rig.head.asset.regions, len(photo.normals)
        out = np.zeros(count)
        for name in _HANGING:
            out = np.maximum(out, regions.get(name, np.zeros(count)))
        window, points = self._window, photo.points.numpy()
        inside = (points[:, 0] > window.x0) & (points[:, 0] < window.x1)
        inside &= (points[:, 1] > window.y0) & (points[:, 1] < window.y1)
        return np.flatnonzero((photo.normals[:, 2].numpy() > 0.05) & (out < 0.3) & inside)

    def _virtual(self, places: Float[np.ndarray, "H 2"], points: Float[np.ndarray, "V 3"]) -> None:
        """Points of the hair, as deep as the nearest of the head's vertices, in head space from the root joint."""
        target = self._rig.target
        tree = KDTree(self._rest)
        depth = points[self._rows][tree.query(places)[1], 2] if len(places) else np.zeros(0)
        s, t = float(target.camera.s), target.camera.t.numpy()
        space = np.stack([(places[:, 0] - t[0]) / s, (t[1] - places[:, 1]) / s, depth / s], 1)
        self._hair = (space - self._rig.root.numpy()) @ roma.rotvec_to_rotmat(target.params.pose).numpy()
        self._hair_rest = places

    def _open_edges(self, scene: Scene) -> np.ndarray:
        """Nodes at edges of the window that are the picture's own: what lies there may move freely."""
        columns, rows = self._count
        width = self._rig.target.size[0]
        result = np.zeros((rows, columns), bool)
        window = scene.window
        result[0] |= window.y0 == 0
        result[1:-1, 0] |= window.x0 == 0
        result[1:-1, -1] |= window.x1 == width
        return result

    def _bilinear(self, places: Float[np.ndarray, "P 2"]) -> sparse.csr_matrix:
        """Rows that interpolate the nodes at places of the window, px."""
        columns, rows = self._count
        at = np.clip(places / self._step - 0.5, 0, np.array([columns, rows]) - 1.001)
        low = at.astype(int)
        part = at - low
        index, value = [], []
        for dx in (0, 1):
            for dy in (0, 1):
                index.append((low[:, 1] + dy) * columns + low[:, 0] + dx)
                value.append(np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]))
        row = np.tile(np.arange(len(places)), 4)
        return sparse.csr_matrix((np.concatenate(value), (row, np.concatenate(index))), (len(places), columns * rows))


def _smoothness(columns: int, rows: int) -> sparse.csr_matrix:
    """Membrane and thin plate on a grid with free edges."""
    count = columns * rows
    index = np.arange(count).reshape(rows, columns)
    pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    membrane = sparse.csr_matrix((count, count))
    for a, b in pairs:
        a, b = a.reshape(-1), b.reshape(-1)
        row = np.arange(len(a))
        difference = sparse.csr_matrix((np.ones(len(a)), (row, a)), (len(a), count)) - sparse.csr_matrix(
            (np.ones(len(a)), (row, b)), (len(a), count)
        )
        membrane = membrane + difference.T @ difference
    return _MEMBRANE * membrane + _PLATE * membrane @ membrane


def identity(width: int, height: int) -> Float[np.ndarray, "H W 2"]:
    """Every pixel's own centre."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    return np.stack([x, y], -1)
