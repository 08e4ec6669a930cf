"""Displacements on a grid that turn nothing inside out, and what they look like backwards."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int

from model.raster import rasterise

_ROUNDS = (1.0, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 6.0, 6.0, 8.0, 8.0)
"""Deviations, in nodes, of the smoothing of each round."""
_HALVINGS = 6


def areas(places: Float[np.ndarray, "r c 2"]) -> Float[np.ndarray, "r-1 c-1"]:
    """The least of the areas that a cell's corners span, of each cell; for a grid at rest, the cells' own area.

    Where all are positive, every cell keeps its orientation however it is cut into triangles.
    """
    right, down = np.diff(places, axis=1), np.diff(places, axis=0)
    least = None
    for across in (right[:-1], right[1:]):
        for along in (down[:, :-1], down[:, 1:]):
            area = across[..., 0] * along[..., 1] - across[..., 1] * along[..., 0]
            least = area if least is None else np.minimum(least, area)
    assert least is not None
    return least


def unfolded(
    moved: Float[np.ndarray, "r c 2"], step: Float[np.ndarray, "2"], least: float = 0.2
) -> Float[np.ndarray, "r c 2"]:
    """Displacements of a regular grid smoothed where its cells would shrink too far or turn over, and only there.

    Args:
        moved: x, y.
        step: of the grid, in the same unit.
        least: part of its area that every cell keeps.
    """
    rows, columns = moved.shape[:2]
    x, y = np.meshgrid(np.arange(columns) * step[0], np.arange(rows) * step[1])
    rest = np.stack([x, y], -1)
    wanted = least * float(step[0] * step[1])
    result = moved.astype(np.float64)
    for spread in _ROUNDS:
        bad = areas(rest + result) < 1.25 * wanted
        if not bad.any():
            return result
        mask = np.zeros((rows, columns), np.float32)
        for corner in (mask[:-1, :-1], mask[1:, :-1], mask[:-1, 1:], mask[1:, 1:]):
            corner[bad] = 1
        mask = np.minimum(1, 3 * cv2.GaussianBlur(mask, (0, 0), spread))[..., None]
        result += mask * (cv2.GaussianBlur(result, (0, 0), spread, borderType=cv2.BORDER_REPLICATE) - result)
    if (areas(rest + result) >= wanted).all():
        return result
    middle = result.mean((0, 1))  # moved as one piece nothing folds: as far from that as is allowed
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        fine = (areas(rest + share * (result - middle)) >= wanted).all()
        low, high = (share, high) if fine else (low, share)
    return middle + low * (result - middle)


class Backwards:
    """Inverts displacements of a regular grid exactly, as piecewise linear ones over its triangles.

    Args:
        count: columns and rows of the grid's nodes, the first at half a step from the corner.
        step: px.
        samples: of the result, for each node.
    """

    def __init__(self, count: tuple[int, int], step: Float[np.ndarray, "2"], samples: int = 2) -> None:
        columns, rows = count
        self._size = (samples * columns, samples * rows)
        self._step, self._samples = step, samples
        # A ring far outside moves with the edge, so that edges that move inwards leave nothing uncovered.
        xs, ys = (np.concatenate([[-0.35 * n], np.arange(n) + 0.5, [1.35 * n]]) for n in (columns, rows))
        self._rest = np.stack(np.meshgrid(xs, ys), -1)
        self._faces = torch.from_numpy(_triangles(rows + 2, columns + 2))
        x, y = np.meshgrid(np.arange(self._size[0]) + 0.5, np.arange(self._size[1]) + 0.5)
        self._own = np.stack([x, y], -1) / samples

    def __call__(self, moved: Float[np.ndarray, "r c 2"]) -> Float[np.ndarray, "R C 2"]:
        """Displacements from the samples to where they come from, px."""
        padded = np.pad(moved / self._step, ((1, 1), (1, 1), (0, 0)), mode="edge")
        there = (self._rest + padded).reshape(-1, 2) * self._samples
        points = torch.from_numpy(np.column_stack([there, np.zeros(len(there))]))
        fragments = rasterise(points, self._faces, self._size[1], self._size[0])
        face, share = fragments.face.numpy(), fragments.barycentric.numpy()
        back = -padded.reshape(-1, 2)[self._faces.numpy()[np.maximum(face, 0)]]
        return np.einsum("hwk,hwkc->hwc", share, back) * self._step


def _triangles(rows: int, columns: int) -> Int[np.ndarray, "F 3"]:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (corner.reshape(-1) for corner in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
