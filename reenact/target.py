"""A photograph's face: its head, camera, light, albedo and detail, and its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.deca import DECA
from model.head import HeadModel
from model.params import Camera, FaceParams
from reenact.light import find_light
from tracker.detect import open_detector
from tracker.fit import FitConfig
from tracker.image import read_image, resize
from tracker.network import Network, open_network, track_photos
from tracker.observation import Detection, Frame

LARGEST = (1920, 1080)
"""Longer and shorter side of the pictures that are made, px; larger photographs are shrunk."""
MAP = 256
"""Texels on a side of the maps of light and detail."""
_FACES = 12
_LEAST = 24.0
"""Distance of the outer eye corners, px, below which a face is too small to be moved."""


@dataclass(frozen=True)
class Target:
    """One face of a photograph; records have no batch dimensions.

    Attributes:
        image: the photograph, RGB, at most `LARGEST`.
        face: what the detector found on it.
        params: the head.
        camera: of the whole photograph.
        light: spherical harmonics by colour, camera axes.
        albedo: coefficients; zero where nothing estimated them.
        detail: DECA's detail code; None without a network.
    """

    image: UInt8[np.ndarray, "H W 3"]
    face: Detection
    params: FaceParams
    camera: Camera
    light: Float[Tensor, "9 3"]
    albedo: Float[Tensor, " A"]
    detail: Float[Tensor, " D"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.image.shape[1], self.image.shape[0]


def open_deca(weights: str, head: HeadModel) -> tuple[DECA, Network] | None:
    """The networks with the weights of `TrackConfig.weights`, made fast, with maps of `MAP`; None where there are none.

    Raises:
        ValueError: no such weights, damaged, or of another head.
    """
    network = open_network(weights, head, uv_size=MAP)
    return None if network is None else (network.deca, network)


def fit_target(
    path: str | Path,
    head: HeadModel,
    network: Network | None = None,
    config: FitConfig | None = None,
    *,
    face: int = 1,
    note: Callable[[str], None] = lambda text: None,
) -> Target:
    """Find and fit a face of a photograph.

    Args:
        path: JPEG, PNG or WebP; its EXIF orientation is applied.
        network: that looks at the face; without one, albedo is the mean and light is fitted to it.
        face: 1 is the largest, 2 the second largest ...
        note: told, in one line, what a user should know besides.

    Raises:
        ValueError: no such file, not a picture, no face in it, fewer than `face`, or a face too small.
    """
    image = within(read_image(path))
    with open_detector(faces=_FACES, static=True) as detector:
        faces = detector.detect(Frame(0, 0.0, image))
    if not faces:
        raise ValueError(f"{path}: no face was found in the picture")
    if not 1 <= face <= len(faces):
        raise ValueError(f"--face {face}: {path} has {len(faces)} face(s); give a number from 1 to {len(faces)}")
    if len(faces) > 1 and face == 1:
        x, y = (faces[0].box[:2] + faces[0].box[2:]) / 2
        note(f"{path}: {len(faces)} faces; took the largest, at {x:.0f}, {y:.0f}; choose with --face 1 to {len(faces)}")
    return target_of(image, faces[face - 1], head, network, config, name=str(path))


def target_of(
    image: UInt8[np.ndarray, "H W 3"],
    face: Detection,
    head: HeadModel,
    network: Network | None = None,
    config: FitConfig | None = None,
    *,
    name: str = "the photograph",
) -> Target:
    """Fit a face that was found already; arguments and errors as `fit_target`."""
    fit = track_photos([image], [face], head, network, config)
    rows = (getattr(fit, name)[0] for name in ("shape", "expression", "pose", "neck", "jaw", "eyes"))
    params = FaceParams(*(torch.from_numpy(row.copy()) for row in rows))
    camera = Camera(torch.tensor(fit.camera[0, 0]), torch.from_numpy(fit.camera[0, 1:].copy()))
    if float(camera.s) * 0.09 < _LEAST:
        raise ValueError(f"{name}: the face is only {float(camera.s) * 0.15:.0f} px wide; give a closer photograph")
    count = 0 if head.asset.albedo_basis is None else len(head.asset.albedo_basis)
    seen = fit.appearance
    albedo = torch.zeros(count) if seen is None else torch.from_numpy(seen.albedo[0].copy())
    guess = None if seen is None else torch.from_numpy(seen.light[0].copy())
    light = find_light(image, head, params, camera, albedo, guess)
    detail = None if seen is None else torch.from_numpy(seen.detail[0].copy())
    return Target(image, face, params, camera, light, albedo, detail)


def within(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture that is at most `LARGEST`, with even sides as videos need them."""
    height, width = image.shape[:2]
    shrink = min(1.0, LARGEST[0] / max(height, width), LARGEST[1] / min(height, width))
    size = (max(2, round(width * shrink / 2) * 2), max(2, round(height * shrink / 2) * 2))
    if shrink == 1.0:  # cut a row or column off, keep the pixels
        return np.ascontiguousarray(image[: height - height % 2, : width - width % 2])
    return resize(image, size)
