"""Faces of shards as the evaluation sees them: crops of 1.6 times the landmarks' box, nothing random, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from model.asset import HeadAsset
from model.crop import RESOLUTION
from training.config import DataConfig
from training.data.faces import Faces
from training.data.loader import Crops
from training.data.order import Order
from training.data.sample import Batch

SIZE = 16


class Listed(Order):
    """Given faces, in the given order."""

    def __init__(self, chosen: Int[np.ndarray, "N"], size: int = SIZE) -> None:
        self._chosen, self._size = chosen, size

    @property
    def batch(self) -> int:
        """Faces in a batch; the last one may have fewer."""
        return self._size

    @property
    def steps(self) -> int:
        """Batches in all."""
        return -(-len(self._chosen) // self._size)

    @property
    def offset(self) -> int:
        """There is one process."""
        return 0

    def indices(self, step: int) -> Int[np.ndarray, "batch"]:
        """The faces of a batch."""
        return self._chosen[step * self._size : (step + 1) * self._size]


def open_faces(folders: Sequence[str], head: str) -> Faces:
    """The faces of all folders.

    Raises:
        ValueError: no such folders, or no shards in them, or of another head.
    """
    for folder in folders:
        if Path(folder).is_dir() and not (Path(folder) / "meta.json").is_file():
            raise ValueError(
                f"{folder}: holds no shards; make them of photographs: python -m training.prepare {folder} --out SHARDS"
            )
    return Faces(folders, head)


def batches(
    faces: Faces, chosen: Int[np.ndarray, "N"], asset: HeadAsset, resolution: int = RESOLUTION, size: int = SIZE
) -> Iterator[Batch]:
    """The chosen faces, batch by batch."""
    order = Listed(chosen, size)
    crops = Crops(faces, order, asset, DataConfig(), resolution, seed=0, evaluate=True)
    for step in range(order.steps):
        yield crops[step]
