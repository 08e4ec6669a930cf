"""What is judged: a network, the landmark fit, or the mean head; pictures to codes of the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.camera import lift, project
from model.crop import Crop
from model.deca import DECA
from model.head import HeadModel
from model.io.assets import load_head
from model.io.checkpoints import load_deca
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from tracker.encode import cut
from tracker.fit import FitConfig, fit_photos
from tracker.observation import Detection, ibug68
from training.evaluate.faces import crop_around, stacked, tensor
from training.evaluate.scan import IBUG_OF_SEVEN, Head

BATCH = 16


@dataclass(frozen=True)
class Photo:
    """A photograph with a face.

    Attributes:
        image: RGB.
        face: what the detector found.
        crop: for the networks.
    """

    image: UInt8[np.ndarray, "H W 3"]
    face: Detection | None
    crop: Crop


@dataclass(frozen=True)
class Estimate:
    """Codes and cameras of several photographs, whole pictures."""

    face: FaceParams
    camera: Camera


@runtime_checkable
class Estimator(Protocol):
    """Photographs to codes of a head."""

    name: str
    head: HeadModel

    def __call__(self, photos: Sequence[Photo]) -> Estimate:
        """One row per photograph."""
        ...


class Network:
    """A DECA with its weights, alone: nothing is fitted afterwards."""

    def __init__(self, deca: DECA, name: str) -> None:
        self.deca, self.name, self.head = deca, name, deca.head

    def __call__(self, photos: Sequence[Photo]) -> Estimate:
        """One row per photograph, from its crop."""
        with torch.no_grad():
            pictures = [cut(photo.image, photo.crop, self.deca.config.resolution) for photo in photos]
            codes = self.deca.encode_coarse(tensor(pictures))
        return Estimate(codes.face, lift(codes.camera, stacked([photo.crop for photo in photos])))


class Fit:
    """The tracker's landmark fit."""

    def __init__(self, head: HeadModel, config: FitConfig | None = None) -> None:
        self.name, self.head, self.config = "fit", head, config or FitConfig()
        marks = head.asset.landmarks
        self._mediapipe = marks is not None and marks.mediapipe478 is not None

    def __call__(self, photos: Sequence[Photo]) -> Estimate:
        """One row per photograph, from what the detector found.

        Raises:
            ValueError: a photograph without detection.
        """
        faces = [photo.face for photo in photos]
        if any(face is None for face in faces):
            raise ValueError("the fit needs detected faces; leave out photographs without one")
        found = [face for face in faces if face is not None]
        if self._mediapipe and all(face.scheme == "mediapipe478" for face in found):
            scheme, points = "mediapipe478", np.stack([face.points for face in found])
        else:
            scheme, points = "ibug68", np.stack([ibug68(face) for face in found])
        fit = fit_photos(points.astype(np.float32), scheme, self.head, self.config)
        codes = {name: torch.from_numpy(getattr(fit, name)).float() for name in _CODES}
        camera = torch.from_numpy(fit.camera).float()
        return Estimate(FaceParams(**codes), Camera(camera[:, 0], camera[:, 1:]))


class Mean:
    """The mean head: what every method must beat. It has no pose and no camera of its own."""

    def __init__(self, head: HeadModel) -> None:
        self.name, self.head = "mean head", head

    def __call__(self, photos: Sequence[Photo]) -> Estimate:
        """The same for every photograph."""
        count = len(photos)
        return Estimate(self.head.neutral(count), Camera(torch.ones(count), torch.zeros(count, 2)))


_CODES = ("shape", "expression", "pose", "neck", "jaw", "eyes")


def open_estimators(
    weights: Sequence[str], fit: bool, mean: bool, head: str = "openhead"
) -> list[Network | Fit | Mean]:
    """The estimators that a command line names, in order: weights, fit, mean head.

    Raises:
        ValueError: no such head or weights, or weights of another head.
    """
    asset = load_head(head)
    networks = [Network(load_deca(path, asset), Path(path).stem) for path in weights]
    shared = networks[0].head if networks else HeadModel(asset)
    found: list[Network | Fit | Mean] = [*networks]
    if fit:
        found.append(Fit(shared))
    if mean:
        found.append(Mean(shared))
    return found


def neutral_heads(head: HeadModel, shape: Float[Tensor, "batch S"]) -> list[Head]:
    """Heads of the given identities with expression and pose zero, mm, with their seven landmarks."""
    params = replace(head.neutral(len(shape)), shape=shape.to(head.template))
    points = HeadLandmarks(head)
    with torch.no_grad():
        vertices = (1000 * head(params).double()).cpu().numpy()
        seven = (1000 * points.ibug68_fixed(params).double()).cpu().numpy()[:, IBUG_OF_SEVEN]
    faces = head.faces.cpu().numpy()
    return [Head(v, faces, marks) for v, marks in zip(vertices, seven, strict=True)]


def landmarks68(points: HeadLandmarks, estimate: Estimate, surface: bool) -> Float[np.ndarray, "B 68 2"]:
    """iBUG-68 of the estimated heads, px.

    Args:
        surface: points that stay on the surface ("3D" annotations) instead of the outline as it is seen.
    """
    with torch.no_grad():
        marks = points.ibug68_fixed(estimate.face) if surface else points.ibug68(estimate.face)
        return project(estimate.camera, marks).cpu().numpy()


def photo_of(image: UInt8[np.ndarray, "H W 3"], face: Detection) -> Photo:
    """A photograph with the crop that inference takes around a detected face."""
    return Photo(image, face, crop_around(ibug68(face)))
