"""What is done to photographs, in a process of its own: find the face, fit the head, mask the skin, cut out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from tracker.detect import Detector, open_detector
from tracker.fit import FaceFit, fit_photos
from tracker.fit.result import row_of
from tracker.image import decode_image, read_image, resize
from training.data.encode import jpeg, png
from training.data.sample import Labels, Sample
from training.prepare.clips import varied_frames
from training.prepare.config import PrepareConfig
from training.prepare.looking import Sight, UnusableError, find_face, ibug_of
from training.prepare.masks import render_regions, skin_mask
from training.prepare.quality import fingerprint
from training.prepare.sources import PICTURES, Item
from training.prepare.stored import Window, window_around

VIDEO = "video"
"""What is said of a video whose frames were taken."""
MASK_SIDE = 256
"""Skin is masked in a picture of at most that side, px: as fine as the crops are."""
LARGEST = 30_000
"""Longest side of a photograph, px: MediaPipe ends the process at 32,767."""
_CROWD = 8


@dataclass(frozen=True)
class Face:
    """A face as it will be stored; as arrays, which travel between processes better than tensors.

    Attributes:
        fit: one row, px of the stored picture.
        fingerprint: see `training.prepare.quality`.
    """

    identity: str
    image: bytes
    landmarks: Float[np.ndarray, "68 2"]
    visible: Bool[np.ndarray, "68"]
    mask: bytes | None
    fit: FaceFit
    fingerprint: int


@dataclass(frozen=True)
class Outcome:
    """What became of a photograph or frame: a face, or why there is none. Of a video, too, when its frames are through.

    Attributes:
        item: the key of the `Item` that it is of.
        key: its own.
    """

    item: str
    key: str
    face: Face | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Cutout:
    """A photograph whose face was found."""

    item: Item
    key: str
    sight: Sight
    window: Window
    image: UInt8[np.ndarray, "H W 3"]
    mask: UInt8[np.ndarray, "H W"] | None
    size: tuple[int, int]


class Worker:
    """Prepares photographs and videos.

    Args:
        landmarks: the user's own points, a .npz keyed by the items' keys (``/`` may be written ``|``).
        masks: the user's own skin masks, a folder with the photographs' names.

    Raises:
        ValueError: the head or the landmarks cannot be read.
    """

    def __init__(self, config: PrepareConfig, landmarks: Path | None = None, masks: Path | None = None) -> None:
        self.config = config
        self._own = None if landmarks is None else open_landmarks(landmarks)
        self._masks = masks
        self._head = HeadModel(load_head(config.head))
        self._points = HeadLandmarks(self._head)
        self._open = ExitStack()

    def __call__(self, items: list[Item]) -> list[Outcome]:
        """What became of some photographs, or of videos."""
        outcomes: list[Outcome | _Cutout] = []
        for item in items:
            outcomes += self._frames(item) if item.is_video else [self._photograph(item)]
        cutouts = [entry for entry in outcomes if isinstance(entry, _Cutout)]
        finished = iter(self._finish(cutouts))
        return [next(finished) if isinstance(entry, _Cutout) else entry for entry in outcomes]

    def close(self) -> None:
        """Free the detectors."""
        self._open.close()

    @cached_property
    def _one(self) -> Detector:
        return self._open.enter_context(open_detector(self.config.detector, static=True))

    @cached_property
    def _several(self) -> Detector:
        return self._open.enter_context(open_detector(self.config.detector, static=True, faces=_CROWD))

    @cached_property
    def _following(self) -> Detector:
        return self._open.enter_context(open_detector(self.config.detector))

    def _photograph(self, item: Item) -> Outcome | _Cutout:
        try:
            image = read_image(item.path)
        except ValueError:
            return Outcome(item.key, item.key, reason="cannot be read" if item.path.exists() else "no such file")
        if max(image.shape) > LARGEST:
            return Outcome(item.key, item.key, reason="picture too large")
        return self._look(item, item.key, image)

    def _frames(self, item: Item) -> Iterator[Outcome | _Cutout]:
        number, said = 0, "no face found"
        try:
            for frame in varied_frames(item.path, self._following, self.config.frames):
                number += 1
                yield self._look(item, f"{item.key}#{frame.index:06}", frame.image)
        except ValueError:
            said = "cannot be read" if item.path.exists() else "no such file"
        yield Outcome(item.key, item.key, reason=VIDEO if number else said)

    def _look(self, item: Item, key: str, image: UInt8[np.ndarray, "H W 3"]) -> Outcome | _Cutout:
        own = self._own_points(key)
        crowd = item.box is not None or own is not None or self.config.several == "drop"
        try:
            detector = self._several if crowd else self._one
            sight = find_face(image, detector, self._following, self.config, item.box, own)
            height, width = image.shape[:2]
            window = window_around(sight.ibug, width, height, self.config.room, self.config.side)
            mask = self._own_mask(item, image)
        except UnusableError as error:
            return Outcome(item.key, key, reason=str(error))
        except MemoryError:
            raise
        except Exception as error:  # a library stumbled over this one of perhaps a million pictures
            return Outcome(item.key, key, reason=f"failed: {type(error).__name__}")
        cut = None if mask is None else window.cut(mask)
        return _Cutout(item, key, sight, window, window.cut(image), cut, (width, height))

    def _own_points(self, key: str) -> Float[np.ndarray, "68 2"] | None:
        if self._own is None:
            return None
        name = next((name for name in (key, key.replace("/", "|")) if name in self._own), None)
        points = None if name is None else np.asarray(self._own[name], float)
        if points is None or points.ndim != 2 or len(points) not in (68, 478) or not np.isfinite(points).all():
            return None
        return ibug_of(points)

    def _own_mask(self, item: Item, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"] | None:
        path = item.mask
        if path is None and self._masks is not None:
            place = self._masks / item.key
            names = [place.with_suffix(suffix) for suffix in (".png", *PICTURES)]
            path = next((name for name in names if name.is_file()), None)
        if path is None:
            return None
        try:
            mask = decode_image(path.read_bytes(), grey=True)
        except (OSError, ValueError):
            raise UnusableError("its mask cannot be read") from None
        if mask.shape != image.shape[:2]:
            raise UnusableError("its mask has another size")
        return np.where(mask >= 128, np.uint8(255), np.uint8(0))

    def _finish(self, cutouts: list[_Cutout]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for scheme in {cutout.sight.scheme for cutout in cutouts}:
            rows = [i for i, cutout in enumerate(cutouts) if cutout.sight.scheme == scheme]
            chosen = [cutouts[i] for i in rows]
            points = np.stack([cutout.window.points(cutout.sight.points) for cutout in chosen])
            trust = np.array([cutout.sight.confidence for cutout in chosen])
            fit = fit_photos(points.astype(np.float32), scheme, self._head, confidence=trust)
            for number, (row, cutout) in enumerate(zip(rows, chosen, strict=True)):
                outcomes[row] = self._outcome(cutout, row_of(fit, number))
        return [outcomes[row] for row in range(len(cutouts))]

    def _outcome(self, cutout: _Cutout, fit: FaceFit) -> Outcome:
        key = cutout.key
        if not float(fit.error[0]) <= self.config.misfit:
            return Outcome(cutout.item.key, key, reason="no head fits the landmarks")
        params, camera = head_of(fit)
        window, sight = cutout.window, cutout.sight
        if sight.own or self.config.points == "detector":
            landmarks = window.points(sight.ibug)
        else:
            landmarks = project(camera, self._points.ibug68(params))[0].numpy().astype(float)
        in_photograph = landmarks / window.scale + window.corner
        visible = ((in_photograph >= 0) & (in_photograph <= np.array(cutout.size))).all(axis=1)
        image = jpeg(cutout.image, self.config.quality)
        return Outcome(
            cutout.item.key,
            key,
            Face(
                identity=cutout.item.identity,
                image=image,
                landmarks=landmarks.astype(np.float32),
                visible=visible,
                mask=self._mask(cutout, params, camera),
                fit=fit,
                fingerprint=fingerprint(decode_image(image), landmarks.astype(np.float32)),
            ),
        )

    def _mask(self, cutout: _Cutout, params: FaceParams, camera: Camera) -> bytes | None:
        if cutout.mask is not None:
            return png(cutout.mask)
        if not self.config.masks:
            return None
        size = cutout.window.size
        scale = min(1.0, MASK_SIDE / max(size))
        small = cutout.image if scale == 1 else resize(cutout.image, (round(scale * size[0]), round(scale * size[1])))
        one = FaceParams(*(getattr(params, field.name)[0] for field in fields(FaceParams)))
        seen = Camera(scale * camera.s[0], scale * camera.t[0])
        mask = skin_mask(small, render_regions(self._head, one, seen, *small.shape[:2]))
        return png(mask if scale == 1 else np.where(resize(mask, size) >= 128, np.uint8(255), np.uint8(0)))


def open_landmarks(path: Path) -> Mapping[str, np.ndarray]:
    """The user's landmarks.

    Raises:
        ValueError: no such file, or not a .npz.
    """
    if not path.is_file():
        raise ValueError(f"--landmarks {path}: no such file")
    try:
        arrays = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        arrays = None
    if not isinstance(arrays, Mapping):
        raise ValueError(f"--landmarks {path}: not a .npz of points (N, 2), keyed by path")
    return arrays


def head_of(fit: FaceFit) -> tuple[FaceParams, Camera]:
    """The head and the camera of a fit, as tensors."""

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    face = FaceParams(*(tensor(getattr(fit, field.name)) for field in fields(FaceParams)))
    return face, Camera(tensor(fit.camera[:, 0]), tensor(fit.camera[:, 1:]))


def sample_of(key: str, face: Face, albedo: int) -> Sample:
    """The record that is stored.

    Args:
        albedo: length of the head's albedo code.
    """
    params, camera = head_of(face.fit)
    params = FaceParams(*(getattr(params, field.name)[0] for field in fields(FaceParams)))
    labels = Labels(
        face=params,
        albedo=torch.zeros(albedo),
        light=torch.zeros(9, 3),
        camera=Camera(camera.s[0], camera.t[0]),
        known=torch.tensor(True),
        lit=torch.tensor(False),
    )
    return Sample(key, face.identity, face.image, face.landmarks, face.visible, face.mask, labels)


def with_frames(config: PrepareConfig, layout: str) -> PrepareConfig:
    """The settings with the number of frames of a video, by layout where it is not given."""
    return config if config.frames else replace(config, frames=4 if layout == "voxceleb2" else 32)
