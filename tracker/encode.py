"""A network on every face while the frames go by: crops are cut at once and encoded in batches, somewhere else.

Frames are not kept, so a crop must be cut while its frame is there. The detail code is of the person, not of the frame:
of each face some crops are kept, the best of every stretch of the video, and E_d looks at these in the end.

Where the network runs (a thread beside this one, other processes) is behind `Eyes`. A batch holds faces of one chunk of
the video only, so its codes are the same wherever it is encoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from model.camera import lift
from model.crop import Crop, T_frame_crop, trained_crop
from model.deca import DECA
from tracker.identity import quality
from tracker.image import warp
from tracker.observation import Detection, FaceCodes, ibug68

BATCH = 16
AHEAD = 3
"""Batches that may wait to be encoded."""
DETAILED = 32
"""Crops of a face that E_d looks at, at most; at least half as many where there are as many."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Crops:
    """A batch of faces cut out: the pictures, where each was in its frame (x, y, side), how large the face is there."""

    images: UInt8[np.ndarray, "B S S 3"]
    places: Float[np.ndarray, "B 3"]
    sizes: Float[np.ndarray, "B"]


@runtime_checkable
class Pending(Protocol[T_co]):
    """What will be there."""

    def result(self) -> T_co:
        """It, once it is there."""
        ...


@runtime_checkable
class Eyes(Protocol):
    """A network that looks at batches of crops, wherever it runs."""

    @property
    def resolution(self) -> int:
        """Side of its pictures, px."""
        ...

    def coarse(self, crops: Crops) -> Pending[FaceCodes]:
        """What E_c says."""
        ...

    def detail(self, images: UInt8[np.ndarray, "B S S 3"]) -> Pending[np.ndarray]:
        """What E_d says: detail codes (B, D)."""
        ...


class Encoder:
    """E_c and E_d on batches of crops.

    Args:
        deca: in evaluation mode, on its device; see `model.speed.accelerate`.
    """

    def __init__(self, deca: DECA) -> None:
        self._deca = deca
        self._device = deca.albedo_mean.device
        self.resolution = deca.config.resolution

    def coarse(self, crops: Crops) -> FaceCodes:
        """Codes of every face, with its full-frame camera; no detail."""
        config, count = self._deca.config, len(crops.images)
        with torch.inference_mode():
            codes = self._deca.encode_coarse(self._pictures(crops.images))
            place = torch.tensor(crops.places).to(codes.light)
            camera = lift(codes.camera, Crop(place[:, :2], place[:, 2]))

        def array(x: Tensor) -> np.ndarray:
            return x.float().cpu().numpy().copy()

        return FaceCodes(
            encoded=np.ones(count, bool),
            shape=array(codes.face.shape),
            expression=array(codes.face.expression),
            pose=array(codes.face.pose),
            jaw=array(codes.face.jaw),
            eyes=array(codes.face.eyes),
            camera=array(torch.cat([camera.s[:, None], camera.t], 1)),
            albedo=array(codes.albedo),
            light=array(codes.light),
            size=crops.sizes.astype(np.float32),
            detail=np.zeros((count, config.detail), np.float32),
            detailed=np.zeros(count, bool),
        )

    def detail(self, images: UInt8[np.ndarray, "B S S 3"]) -> Float[np.ndarray, "B D"]:
        """Detail codes."""
        with torch.inference_mode():
            return self._deca.encode_detail(self._pictures(images)).float().cpu().numpy().copy()

    def _pictures(self, images: UInt8[np.ndarray, "B S S 3"]) -> Float[Tensor, "B 3 S S"]:
        return torch.tensor(images).to(self._device).permute(0, 3, 1, 2).float() / 255


class EncoderThread:
    """An encoder in a thread beside those that decode and detect; a context manager."""

    def __init__(self, deca: DECA) -> None:
        self._encoder = Encoder(deca)
        # Its operations are not shared out further.
        self._worker = ThreadPoolExecutor(1, "encode", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> EncoderThread:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)

    @property
    def resolution(self) -> int:
        """Side of the network's pictures, px."""
        return self._encoder.resolution

    def coarse(self, crops: Crops) -> Future[FaceCodes]:
        """As `Encoder.coarse`."""
        return self._worker.submit(self._encoder.coarse, crops)

    def detail(self, images: UInt8[np.ndarray, "B S S 3"]) -> Future[np.ndarray]:
        """As `Encoder.detail`."""
        return self._worker.submit(self._encoder.detail, images)


@dataclass
class Spread(Generic[T]):
    """The best item of every stretch of a sequence whose length is not known; stretches grow as it goes on.

    Args:
        most: items kept.
        stride: items in a stretch, at first.
    """

    most: int = DETAILED
    stride: int = 1
    _count: int = 0
    _best: list[tuple[float, T]] = field(default_factory=list)

    def add(self, score: float, item: T) -> None:
        """The next of the sequence."""
        slot = self._count // self.stride
        self._count += 1
        if slot < len(self._best):
            self._best[slot] = max(self._best[slot], (score, item), key=lambda pair: pair[0])
            return
        if slot == self.most:
            pairs = zip(self._best[::2], self._best[1::2], strict=True)
            self._best = [max(a, b, key=lambda pair: pair[0]) for a, b in pairs]
            self.stride *= 2
        self._best.append((score, item))

    @property
    def scored(self) -> list[tuple[float, T]]:
        """What is kept, in order, with its scores."""
        return list(self._best)

    @property
    def items(self) -> list[T]:
        """What is kept, in order."""
        return [item for _, item in self._best]


@dataclass(frozen=True)
class Kept:
    """The best crops: which of the faces they are, in order, how good they are, the pictures."""

    rows: Int[np.ndarray, "C"]
    scores: Float[np.ndarray, "C"]
    images: UInt8[np.ndarray, "C S S 3"]


class FaceEncoder:
    """Shows the faces of a run of frames to a network.

    Args:
        batch: faces encoded together.
        stretch: of so many crops of a face in a row the best is kept.
    """

    def __init__(self, eyes: Eyes, batch: int = BATCH, stretch: int = 1) -> None:
        self._eyes, self._batch, self._stretch = eyes, batch, stretch
        self._cuts: list[tuple[np.ndarray, np.ndarray, float]] = []
        self._known: list[tuple[float, int]] = []  # of every face: how sure the detector is, whose it is
        self._waiting: deque[tuple[Crops, Pending[FaceCodes]]] = deque()
        self._done: list[FaceCodes] = []
        self._kept: dict[int, Spread[tuple[int, np.ndarray]]] = {}
        self._taken = 0

    def push(self, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Detection], owners: Sequence[int]) -> None:
        """The faces of a frame, and whose they are; the frame is not kept."""
        for face, owner in zip(faces, owners, strict=True):
            points = ibug68(face)
            crop = trained_crop(torch.from_numpy(points.astype(np.float64)))
            place = np.array([*crop.centre.tolist(), float(crop.size)])
            size = float(np.ptp(points, axis=0).mean())
            self._cuts.append((cut(image, crop, self._eyes.resolution), place, size))
            self._known.append((face.confidence, owner))
            if len(self._cuts) == self._batch:
                self._send()

    def finish(self) -> tuple[FaceCodes | None, Kept]:
        """Codes of all faces that were pushed, in order, without detail, and the best crops; push none more.

        No codes where there were no faces.
        """
        if self._cuts:
            self._send()
        while self._waiting:
            self._take()
        best = sorted(
            ((row, score, image) for spread in self._kept.values() for score, (row, image) in spread.scored),
            key=lambda item: item[0],
        )
        side = self._eyes.resolution
        kept = Kept(
            np.array([row for row, _, _ in best], np.int64),
            np.array([score for _, score, _ in best], np.float64),
            np.array([image for _, _, image in best], np.uint8).reshape(-1, side, side, 3),
        )
        return joined(self._done) if self._done else None, kept

    def _send(self) -> None:
        while len(self._waiting) >= AHEAD:
            self._take()
        side = self._eyes.resolution
        crops = Crops(
            np.array([image for image, _, _ in self._cuts], np.uint8).reshape(-1, side, side, 3),
            np.array([place for _, place, _ in self._cuts]).reshape(-1, 3),
            np.array([size for _, _, size in self._cuts], np.float64),
        )
        self._waiting.append((crops, self._eyes.coarse(crops)))
        self._cuts = []

    def _take(self) -> None:
        """The oldest batch: its codes, and the crops that are better than those before."""
        crops, pending = self._waiting.popleft()
        codes = pending.result()
        self._done.append(codes)
        known = self._known[self._taken : self._taken + len(codes)]
        scores = quality(codes, np.array([confidence for confidence, _ in known]), self._eyes.resolution)
        for place, (score, (_, owner)) in enumerate(zip(scores, known, strict=True)):
            spread = self._kept.setdefault(owner, Spread(most=1 << 60, stride=self._stretch))
            spread.add(float(score), (self._taken + place, crops.images[place].copy()))  # not the whole batch
        self._taken += len(codes)


def encode_photos(
    deca: DECA, images: Sequence[UInt8[np.ndarray, "H W 3"]], faces: Sequence[Detection], batch: int = BATCH
) -> FaceCodes:
    """One face of each photograph, of at least one; all have a detail code."""
    with EncoderThread(deca) as eyes:
        encoder = FaceEncoder(eyes, batch)
        for number, (image, face) in enumerate(zip(images, faces, strict=True)):
            encoder.push(image, [face], [number])
        codes, kept = encoder.finish()
        assert codes is not None, "no photographs"
        return with_detail(codes, eyes, kept.rows, kept.images, batch)


def with_detail(
    codes: FaceCodes,
    eyes: Eyes,
    rows: Int[np.ndarray, "C"],
    images: UInt8[np.ndarray, "C S S 3"],
    batch: int = BATCH,
) -> FaceCodes:
    """The codes with the detail codes of some rows, of which these are the crops."""
    detail, detailed = codes.detail.copy(), codes.detailed.copy()
    waiting: deque[tuple[np.ndarray, Pending[np.ndarray]]] = deque()

    def take() -> None:
        some, pending = waiting.popleft()
        detail[some], detailed[some] = pending.result(), True

    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        waiting.append((rows[part], eyes.detail(images[part])))
        if len(waiting) > AHEAD:
            take()
    while waiting:
        take()
    return replace(codes, detail=detail, detailed=detailed)


def cut(image: UInt8[np.ndarray, "H W 3"], crop: Crop, resolution: int) -> UInt8[np.ndarray, "S S 3"]:
    """The crop of a picture, resampled; black outside."""
    T_crop_frame = np.linalg.inv(T_frame_crop(crop, resolution).double().numpy())
    return warp(image, T_crop_frame[:2], (resolution, resolution))


def joined(parts: Sequence[FaceCodes]) -> FaceCodes:
    """The rows of all parts in order."""
    return FaceCodes(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(FaceCodes)})
