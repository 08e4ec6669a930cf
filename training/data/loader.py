"""Batches of crops from a given step on, decoded by worker processes; every step's batch is a pure function of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch.utils.data import DataLoader, Dataset

from model.asset import HeadAsset
from model.head import Skeleton
from model.params import Camera, FaceParams
from tracker.image import decode_image, warp
from training.config import DataConfig
from training.data import augment
from training.data.crops import Cut, cut_labels, evaluation_cut, training_cut
from training.data.faces import Faces
from training.data.order import Order
from training.data.sample import Batch, Labels, Sample

_ENDLESS = 2**40


@dataclass(frozen=True)
class _Crop:
    """One face of a batch, not yet stacked; see `Batch` and `augment.Recoloured`."""

    sample: Sample
    cut: Cut
    image: UInt8[np.ndarray, "R R 3"]
    mask: UInt8[np.ndarray, "R R"]
    landmarks: Float[np.ndarray, "68 2"]
    visible: Bool[np.ndarray, "68"]
    gain: Float[np.ndarray, "3"]
    linear: bool


class Crops(Dataset):
    """Batch by step number.

    Args:
        order: which faces.
        asset: the head that labels are for.
        resolution: side of the crops, px.
        seed: of the random changes; those of a face depend on the seed, the step and its place in the whole batch.
        evaluate: nothing is random: crops of 1.6 times the landmarks' box, as they are.
    """

    def __init__(
        self,
        faces: Faces,
        order: Order,
        asset: HeadAsset,
        config: DataConfig,
        resolution: int,
        seed: int,
        *,
        evaluate: bool = False,
    ) -> None:
        _check(config)
        self._faces, self._order, self._config = faces, order, config
        self._resolution, self._seed, self._evaluate = resolution, seed, evaluate
        self._skeleton = Skeleton(asset)
        self._albedo = 50 if asset.albedo_basis is None else len(asset.albedo_basis)

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step.

        Raises:
            ValueError: a picture is damaged; names the face and where it lies.
        """
        indices = self._order.indices(step)
        crops = [
            self._crop(int(index), np.random.default_rng([self._seed, step, self._order.offset + place]))
            for place, index in enumerate(indices)
        ]
        labels = cut_labels(self._stacked(crops), [crop.cut for crop in crops], self._skeleton)
        people = self._faces.people[indices]
        _, identity = np.unique(people, return_inverse=True)
        return Batch(
            images=torch.from_numpy(np.stack([crop.image for crop in crops])).movedim(-1, 1).contiguous() / 255.0,
            landmarks=torch.from_numpy(np.stack([crop.landmarks for crop in crops])).float(),
            visible=torch.from_numpy(np.stack([crop.visible for crop in crops])).float(),
            masks=torch.from_numpy(np.stack([crop.mask for crop in crops])).unsqueeze(1) / 255.0,
            identity=torch.from_numpy(identity),
            labels=labels,
            keys=tuple(crop.sample.key for crop in crops),
        )

    def _crop(self, index: int, random: np.random.Generator) -> _Crop:
        sample = self._faces[index]
        config, resolution = self._config, self._resolution
        cut = evaluation_cut(sample.landmarks) if self._evaluate else training_cut(sample.landmarks, config, random)
        try:
            stored = decode_image(sample.image)
            stored_mask = None if sample.mask is None else decode_image(sample.mask, grey=True)
        except ValueError as error:
            raise ValueError(f"{self._faces.place(index)}: picture '{sample.key}' is {error}") from None
        matrix, size = cut.matrix(resolution), (resolution, resolution)
        image = warp(stored, matrix, size)
        mask = warp(np.full(stored.shape[:2], 255, np.uint8) if stored_mask is None else stored_mask, matrix, size)
        points = cut.points(sample.landmarks.astype(np.float64))
        visible = sample.visible & (np.abs(points) <= 1).all(axis=1)
        gain, linear = np.ones(3), True
        if not self._evaluate:
            if random.random() < config.occlude:
                where = augment.occluder(resolution, random)
                image = augment.covered_with(image, where, random)
                mask = np.where(where, np.uint8(0), mask)
                visible = visible & ~_covered(points, where)
            if config.colour > 0:
                changed = augment.recolour(image, config.colour, random)
                image, gain, linear = changed.image, changed.gain, changed.linear
            if random.random() < config.degrade:
                image = augment.degrade(image, random)
        return _Crop(sample, cut, image, mask, points, visible, gain, linear)

    def _stacked(self, crops: list[_Crop]) -> Labels:
        """The labels of all faces, zero where there are none; light as it is after the change of colours."""
        labels = [self._nothing() if crop.sample.labels is None else crop.sample.labels for crop in crops]
        cameras = [entry.camera for entry in labels]
        gain = torch.from_numpy(np.stack([crop.gain for crop in crops])).float()
        lit = torch.stack([entry.lit for entry in labels]) & torch.tensor([crop.linear for crop in crops])
        return Labels(
            face=FaceParams(
                *(torch.stack([getattr(entry.face, field.name) for entry in labels]) for field in fields(FaceParams))
            ),
            albedo=torch.stack([entry.albedo for entry in labels]) * lit[:, None],
            light=torch.stack([entry.light for entry in labels]) * gain[:, None] * lit[:, None, None],
            camera=Camera(torch.stack([c.s for c in cameras]), torch.stack([c.t for c in cameras])),
            known=torch.stack([entry.known for entry in labels]),
            lit=lit,
        )

    def _nothing(self) -> Labels:
        sizes = (self._skeleton.shapedirs.shape[-1], self._skeleton.exprdirs.shape[-1], 3, 3, 3, 6)
        no = torch.tensor(False)
        return Labels(
            face=FaceParams(*(torch.zeros(size) for size in sizes)),
            albedo=torch.zeros(self._albedo),
            light=torch.zeros(9, 3),
            camera=Camera(torch.zeros(()), torch.zeros(2)),
            known=no,
            lit=no,
        )


def loader(crops: Crops, start: int = 0, stop: int = _ENDLESS, workers: int = 0) -> Iterator[Batch]:
    """Batches `start` to `stop` (not included), in order; the same ones whatever `start` and `workers` are.

    Args:
        workers: processes that decode ahead; 0 decodes here, when a batch is asked for.

    Raises:
        ValueError: a picture is damaged; names it.
    """
    if workers < 0:
        raise ValueError(f"data.workers must be at least 0, got {workers}")
    if not workers:
        yield from (crops[step] for step in range(start, stop))
        return
    batches = DataLoader(
        _Reporting(crops),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=3,
        generator=torch.Generator(),  # of the workers' seeds, which nothing uses; torch's own stays as it was
    )
    for batch in batches:
        if isinstance(batch, ValueError):  # torch would wrap it into the worker's traceback
            raise batch
        yield batch


class _Reporting(Dataset):
    """The same, with users' mistakes as values."""

    def __init__(self, crops: Crops) -> None:
        self._crops = crops

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, step: int) -> Batch | ValueError:
        try:
            return self._crops[step]
        except ValueError as error:
            return error


def _covered(points: Float[np.ndarray, "68 2"], where: Bool[np.ndarray, "R R"]) -> Bool[np.ndarray, "68"]:
    resolution = len(where)
    pixels = np.floor((points + 1) / 2 * resolution).astype(int)
    inside = ((pixels >= 0) & (pixels < resolution)).all(axis=1)
    column, row = np.clip(pixels, 0, resolution - 1).T
    return inside & where[row, column]


def _check(config: DataConfig) -> None:
    low, high = config.scale
    if not 0 < low <= high:
        raise ValueError(f"data.scale must be two rising positive numbers, got {low:g} and {high:g}")
    for name in ("colour", "degrade", "occlude"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"data.{name} must lie in [0, 1], got {getattr(config, name)}")
    if not 0 <= config.rotate <= 180:
        raise ValueError(f"data.rotate must lie in [0, 180] degrees, got {config.rotate}")
    if not 0 <= config.shift < 0.5:
        raise ValueError(f"data.shift must lie in [0, 0.5), got {config.shift}")
