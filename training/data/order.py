"""Which faces make which batch: a pure function of the seed and the step, so that a run can go on anywhere."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from training.config import DataConfig, StageConfig
from training.data.faces import Faces

CYCLE = 1024
"""Draws in which every folder has exactly its share."""
_FOLDERS, _DRAWS, _PHOTOGRAPHS = range(3)  # what a random generator is for


class Order:
    """The order of a stage's faces. One process of `world` gets its part of every batch; all parts make the batch.

    With one photograph of each person (`StageConfig.images` is 1) what is drawn are faces: a fresh permutation of all
    of them in every epoch. With several, what is drawn are people of whom there are at least two photographs (with
    `DataConfig.singles` one); of each, `images` photographs that differ, and not the same again until all were drawn.
    Who has fewer is repeated, as evenly as it goes. With `DataConfig.shares`, every folder is permuted on its own and
    has its share of the draws.

    Attributes:
        taking_part: how many faces are drawn from.
        people: how many people these are of.

    Args:
        held_out: the faces for validation, instead of those for training.

    Raises:
        ValueError: nothing to draw from, settings that do not fit together.
    """

    def __init__(
        self,
        faces: Faces,
        data: DataConfig,
        stage: StageConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
        *,
        held_out: bool = False,
    ) -> None:
        _check(faces, data, stage, world)
        assert 0 <= rank < world
        self._images, self._seed = stage.images, seed
        self._subjects, self._rank, self._world = stage.subjects, rank, world
        chosen = faces.held_out(data.held_out) == held_out
        if not chosen.any():
            raise ValueError(_nothing(faces, data, held_out))
        if data.smallest > 0:
            chosen &= faces.sides >= data.smallest
            if not chosen.any():
                raise ValueError(f"data.smallest: no face is {data.smallest:g} px or larger; lower it")
        self._faces, self._bounds = _groups(faces, np.flatnonzero(chosen), stage.images, 1 if data.singles else 2)
        if not len(self._faces):
            raise ValueError(_no_pairs(faces, stage.images))
        self.taking_part = len(self._faces)
        self.people = len(np.unique(faces.people[self._faces]))
        self._quota = None
        self._starts = np.array([0, len(self._bounds) - 1])
        if data.shares:
            folders = faces.folder[self._faces[self._bounds[:-1]]]  # ascending, as the faces are
            present, starts = np.unique(folders, return_index=True)
            self._starts = np.append(starts, len(folders))
            self._quota = _quota(np.array(data.shares)[present])
        self._permutations: dict[int, tuple[int, np.ndarray]] = {}  # of each folder, the last one asked for

    @property
    def steps(self) -> int:
        """Steps in which about as many faces are drawn as there are: an epoch."""
        return max(1, round(self.taking_part / (self._subjects * self._images)))

    @property
    def batch(self) -> int:
        """Faces in this process's part of a batch."""
        return self._subjects // self._world * self._images

    @property
    def offset(self) -> int:
        """Place of this process's first face in the whole batch."""
        return self._rank * self.batch

    def indices(self, step: int) -> Int[np.ndarray, "batch"]:
        """The faces of batch `step`, counted from 0; those of one person stand together."""
        part = self._subjects // self._world
        first = step * self._subjects + self._rank * part
        drawn = [self._draw(first + i) for i in range(part)]
        if self._images > 1:  # between two epochs the same person can come twice
            place: dict[int, int] = {}
            for group, _ in drawn:
                place.setdefault(group, len(place))
            drawn.sort(key=lambda pair: place[pair[0]])
        return np.concatenate([self._photographs(group, visit) for group, visit in drawn])

    def _draw(self, position: int) -> tuple[int, int]:
        """The group at a position of the endless sequence of draws, and how often it was drawn before."""
        folder = 0
        if self._quota is not None:
            cycle, place = divmod(position, CYCLE)
            order = np.random.default_rng([self._seed, _FOLDERS, cycle]).permutation(
                np.repeat(np.arange(len(self._quota)), self._quota)
            )
            folder = int(order[place])
            position = cycle * int(self._quota[folder]) + int((order[:place] == folder).sum())
        start, stop = int(self._starts[folder]), int(self._starts[folder + 1])
        visit, place = divmod(position, stop - start)
        return start + int(self._permutation(folder, visit)[place]), visit

    def _permutation(self, folder: int, visit: int) -> np.ndarray:
        known = self._permutations.get(folder)
        if known is None or known[0] != visit:
            size = int(self._starts[folder + 1] - self._starts[folder])
            order = np.random.default_rng([self._seed, _DRAWS, folder, visit]).permutation(size)
            self._permutations[folder] = known = (visit, order)
        return known[1]

    def _photographs(self, group: int, visit: int) -> np.ndarray:
        faces = self._faces[self._bounds[group] : self._bounds[group + 1]]
        parts = max(1, len(faces) // self._images)  # visits until all were seen
        cycle, part = divmod(visit, parts)
        order = np.random.default_rng([self._seed, _PHOTOGRAPHS, group, cycle]).permutation(faces)
        return np.resize(order[part * self._images : (part + 1) * self._images], self._images)


def _groups(faces: Faces, chosen: np.ndarray, images: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    """What is drawn as one, one after the other, and where each begins (and the last ends): every face on its own, or
    the faces of every person with at least so many."""
    if images == 1:
        return chosen, np.arange(len(chosen) + 1)
    people = faces.people[chosen]
    order = np.argsort(people, kind="stable")
    _, counts = np.unique(people, return_counts=True)
    several = np.repeat(counts >= least, counts)
    return chosen[order][several], np.concatenate([[0], np.cumsum(counts[counts >= least])])


def _quota(shares: np.ndarray) -> np.ndarray:
    """Draws of each folder in a cycle, at least one, by the largest remainders."""
    wanted = shares / shares.sum() * CYCLE
    counts = np.maximum(np.floor(wanted).astype(int), 1)
    while counts.sum() != CYCLE:
        step = 1 if counts.sum() < CYCLE else -1
        counts[np.argmax(step * (wanted - counts) - (CYCLE if step < 0 else 0) * (counts == 1))] += step
    return counts


def _check(faces: Faces, data: DataConfig, stage: StageConfig, world: int) -> None:
    if stage.subjects < 1 or stage.images < 1:
        raise ValueError(f"subjects and images must be at least 1, got {stage.subjects} and {stage.images}")
    if stage.subjects % world:
        raise ValueError(f"{stage.subjects} subjects cannot be shared out to {world} workers; make it a multiple")
    if not 0 <= data.held_out < 1:
        raise ValueError(f"data.held_out must be at least 0 and below 1, got {data.held_out}")
    if data.shares and len(data.shares) != len(faces.shards):
        raise ValueError(f"data.shares has {len(data.shares)} numbers for {len(faces.shards)} folders; give one each")
    if any(not share > 0 for share in data.shares):
        raise ValueError(f"data.shares must be positive, got {data.shares}; leave a folder out of data.shards instead")


def _where(faces: Faces) -> str:
    return ", ".join(str(shards.folder) for shards in faces.shards)


def _nothing(faces: Faces, data: DataConfig, held_out: bool) -> str:
    people = len(np.unique(faces.people))
    what, do = ("none", "raise it") if held_out else ("all", "lower it")
    return f"{_where(faces)}: data.held_out {data.held_out} takes {what} of the {people} people for validation; {do}"


def _no_pairs(faces: Faces, images: int) -> str:
    return (
        f"{_where(faces)}: nobody has two photographs there, and this stage draws {images} of each person; "
        "prepare photographs with identities (a folder each), or set images to 1 and consistency to false"
    )
