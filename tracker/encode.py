"""A network on every face while the frames go by: crops are cut at once, encoded in batches on a thread of their own.

Frames are not kept, so a crop must be cut while its frame is there. The detail code is of the person, not of the frame:
of each face some crops are kept, the best of every stretch of the video, and E_d looks at these in the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
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


@dataclass(frozen=True)
class _Cut:
    """A face's crop, where it is in the frame (x, y, side), how sure the detector is, whose it is, which detection."""

    image: UInt8[np.ndarray, "S S 3"]
    place: Float[np.ndarray, "3"]
    size: float
    confidence: float
    owner: int
    number: int


T = TypeVar("T")


@dataclass
class Spread(Generic[T]):
    """The best item of every stretch of a sequence whose length is not known; stretches grow as it goes on.

    Args:
        most: items kept.
    """

    most: int = DETAILED
    _stride: int = 1
    _count: int = 0
    _best: list[tuple[float, T]] = field(default_factory=list)

    def add(self, score: float, item: T) -> None:
        """The next of the sequence."""
        slot = self._count // self._stride
        self._count += 1
        if slot < len(self._best):
            self._best[slot] = max(self._best[slot], (score, item), key=lambda pair: pair[0])
            return
        if slot == self.most:
            pairs = zip(self._best[::2], self._best[1::2], strict=True)
            self._best = [max(a, b, key=lambda pair: pair[0]) for a, b in pairs]
            self._stride *= 2
        self._best.append((score, item))

    @property
    def items(self) -> list[T]:
        """What is kept, in order."""
        return [item for _, item in self._best]


class FaceEncoder:
    """Encodes faces as frames go by; a context manager.

    Args:
        deca: in evaluation mode, on its device; see `model.speed.accelerate`.
        batch: faces encoded together.
    """

    def __init__(self, deca: DECA, batch: int = BATCH) -> None:
        self._deca, self._batch = deca, batch
        self._device = deca.albedo_mean.device
        self._cuts: list[_Cut] = []
        self._waiting: deque[tuple[list[_Cut], Future[FaceCodes]]] = deque()
        self._done: list[FaceCodes] = []
        self._kept: dict[int, Spread[_Cut]] = {}
        self._count = 0
        # One thread beside those that decode and detect; its operations are not shared out further.
        self._worker = ThreadPoolExecutor(1, "encode", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> FaceEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)

    @property
    def resolution(self) -> int:
        """Side of the network's pictures, px."""
        return self._deca.config.resolution

    def push(self, image: UInt8[np.ndarray, "H W 3"], faces: Sequence[Detection], owners: Sequence[int]) -> None:
        """The faces of a frame, and whose they are; the frame is not kept."""
        for face, owner in zip(faces, owners, strict=True):
            points = ibug68(face)
            crop = trained_crop(torch.from_numpy(points.astype(np.float64)))
            self._cuts.append(
                _Cut(
                    image=cut(image, crop, self.resolution),
                    place=np.array([*crop.centre.tolist(), float(crop.size)]),
                    size=float(np.ptp(points, axis=0).mean()),
                    confidence=face.confidence,
                    owner=owner,
                    number=self._count,
                )
            )
            self._count += 1
            if len(self._cuts) == self._batch:
                self._send()

    def finish(self) -> FaceCodes:
        """Codes of all faces that were pushed, in order; none more may be pushed."""
        self._send()
        while self._waiting:
            self._take()
        codes = joined(self._done) if self._done else self._encode([])
        kept = [item for spread in self._kept.values() for item in spread.items]
        for start in range(0, len(kept), self._batch):
            part = kept[start : start + self._batch]
            detail = self._worker.submit(self._encode_detail, part).result()
            rows = [item.number for item in part]
            codes.detail[rows], codes.detailed[rows] = detail, True
        return codes

    def _send(self) -> None:
        if not self._cuts:
            return
        while len(self._waiting) >= AHEAD:
            self._take()
        self._waiting.append((self._cuts, self._worker.submit(self._encode, self._cuts)))
        self._cuts = []

    def _take(self) -> None:
        """The oldest batch: its codes, and the crops that are better than those before."""
        cuts, future = self._waiting.popleft()
        codes = future.result()
        self._done.append(codes)
        scores = quality(codes, np.array([item.confidence for item in cuts]), self.resolution)
        for score, item in zip(scores, cuts, strict=True):
            self._kept.setdefault(item.owner, Spread()).add(float(score), item)

    def _encode(self, cuts: list[_Cut]) -> FaceCodes:
        config, count = self._deca.config, len(cuts)
        places = np.array([item.place for item in cuts]).reshape(count, 3)
        with torch.inference_mode():
            codes = self._deca.encode_coarse(self._pictures(cuts))
            crop = torch.from_numpy(places).to(codes.light)
            camera = lift(codes.camera, Crop(crop[:, :2], crop[:, 2]))

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
            size=np.array([item.size for item in cuts], np.float32),
            detail=np.zeros((count, config.detail), np.float32),
            detailed=np.zeros(count, bool),
        )

    def _encode_detail(self, cuts: list[_Cut]) -> Float[np.ndarray, "B D"]:
        with torch.inference_mode():
            return self._deca.encode_detail(self._pictures(cuts)).float().cpu().numpy().copy()

    def _pictures(self, cuts: list[_Cut]) -> Float[Tensor, "B 3 S S"]:
        side = self.resolution
        pictures = np.stack([item.image for item in cuts]) if cuts else np.zeros((0, side, side, 3), np.uint8)
        return torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float() / 255


def encode_photos(
    deca: DECA, images: Sequence[UInt8[np.ndarray, "H W 3"]], faces: Sequence[Detection], batch: int = BATCH
) -> FaceCodes:
    """One face of each photograph; all have a detail code."""
    with FaceEncoder(deca, batch) as encoder:
        for number, (image, face) in enumerate(zip(images, faces, strict=True)):
            encoder.push(image, [face], [number])
        return encoder.finish()


def cut(image: UInt8[np.ndarray, "H W 3"], crop: Crop, resolution: int) -> UInt8[np.ndarray, "S S 3"]:
    """The crop of a picture, resampled; black outside."""
    T_crop_frame = np.linalg.inv(T_frame_crop(crop, resolution).double().numpy())
    return warp(image, T_crop_frame[:2], (resolution, resolution))


def joined(parts: Sequence[FaceCodes]) -> FaceCodes:
    """The rows of all parts in order."""
    return FaceCodes(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(FaceCodes)})
