"""Several folders of shards as one sequence of faces."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Bool, Float, Int

from training.data.sample import Sample
from training.data.shards import Shards


class Faces(Sequence[Sample]):
    """The faces of all folders, one folder after the other.

    Attributes:
        shards: the folders.
        folder: which folder each face is of.

    Args:
        folders: written by `ShardWriter`.
        head: `HeadAsset.name` of the head that is trained; None takes any.
        digest: its `HeadAsset.digest`; empty takes any version.

    Raises:
        ValueError: no folder is given, one is given twice, or see `Shards`.
    """

    def __init__(self, folders: Sequence[str | Path], head: str | None = None, digest: str = "") -> None:
        if not folders:
            raise ValueError("no shards are given; name folders of python -m training.prepare in data.shards")
        doubles = [str(f) for f in folders if [Path(f).resolve() for f in folders].count(Path(f).resolve()) > 1]
        if doubles:
            raise ValueError(f"data.shards: {doubles[0]} is given twice; data.shares says how often one is drawn from")
        self.shards = tuple(Shards(folder, head, digest) for folder in folders)
        counts = [len(shards) for shards in self.shards]
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self.folder: Int[np.ndarray, "N"] = np.repeat(np.arange(len(counts)), counts)

    def __len__(self) -> int:
        return int(self._first[-1])

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """A face; a slice gives a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, row = self._locate(index)
        return self.shards[number][row]

    def place(self, index: int) -> str:
        """Where a face lies, for messages."""
        number, row = self._locate(index)
        return self.shards[number].place(row)

    def _locate(self, index: int) -> tuple[int, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"face {index} of {len(self)}")
        index %= len(self)
        number = int(self.folder[index])
        return number, index - int(self._first[number])

    @cached_property
    def people(self) -> Int[np.ndarray, "N"]:
        """A number for the person of each face. People of the same name in two folders are two people."""
        numbers, total = [], 0
        for shards in self.shards:
            _, inverse = np.unique(shards.identities, return_inverse=True)
            numbers.append(inverse + total)
            total += int(inverse.max()) + 1
        return np.concatenate(numbers)

    @cached_property
    def sides(self) -> Float[np.ndarray, "N"]:
        """Mean side of the landmarks' boxes in the stored pictures, px."""
        return np.concatenate([shards.sides for shards in self.shards])

    def held_out(self, share: float) -> Bool[np.ndarray, "N"]:
        """Whether each face is for validation only: about `share` of the people, by a hash of their names.

        A person's side does not depend on who else is there.
        """
        masks = []
        for shards in self.shards:
            names, inverse = np.unique(shards.identities, return_inverse=True)
            masks.append(np.array([_hash(name) < share for name in names.tolist()])[inverse])
        return np.concatenate(masks)


def _hash(name: str) -> float:
    """Uniform in [0, 1), the same everywhere and always."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48
