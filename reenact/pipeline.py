"""A photograph's head, moved by a driver: fit the photograph, track the driver, transfer, draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from model.head import HeadModel
from model.mesh import Mesh
from model.params import Camera, FaceParams
from model.render import clay, overlay
from reenact.transfer import Transfer, main_face, transfer
from tracker.detect import open_detector
from tracker.finish import head_id
from tracker.fit import FitConfig, fit_photos
from tracker.image import read_image
from tracker.observation import Frame
from tracker.track import Track
from tracker.video import VideoWriter

_BACKGROUND = (24, 26, 30)
_FILL = 0.75  # part of the picture's height that the head takes
_BATCH = 32


@dataclass(frozen=True)
class Target:
    """The head of a photograph: one row, no batch dimensions."""

    params: FaceParams


def fit_target(path: str | Path, head: HeadModel, config: FitConfig | None = None) -> Target:
    """Fit the largest face of a photograph.

    Raises:
        ValueError: no such file, not a picture, or no face in it.
    """
    image = read_image(path)
    with open_detector(static=True) as detector:
        faces = detector.detect(Frame(0, 0.0, image))
    if not faces:
        raise ValueError(f"{path}: no face was found in the picture")
    points = faces[0].points[None].astype(np.float32)
    fit = fit_photos(points, faces[0].scheme, head, config)
    rows = (getattr(fit, name)[0] for name in ("shape", "expression", "pose", "neck", "jaw", "eyes"))
    return Target(FaceParams(*(torch.from_numpy(row.copy()) for row in rows)))


@dataclass(frozen=True)
class Reenactor:
    """Draws a target's head with the motion of a driver.

    Attributes:
        head: on the CPU.
        target: the head of the photograph.
        transfer: how the driver's motion is put on it.
        size: side of the square pictures, px.
    """

    head: HeadModel
    target: Target
    transfer: Transfer = "relative"
    size: int = 720

    def render(self, driver: Track) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """One picture per frame of the driver's main face: the target's head, shaded, on a plain background.

        Raises:
            ValueError: the driver was tracked with another head model.
        """
        if driver.head != head_id(self.head):
            raise ValueError(
                f"{driver.video}: tracked with head {driver.head}, this one is {head_id(self.head)}; track it again"
            )
        params = transfer(main_face(driver), self.target.params, self.transfer, self.head.asset.expression_range)
        camera = self._camera()
        paint = clay(self.head.asset)
        paint = replace(paint, opacity=np.ones_like(paint.opacity))  # nothing is to shine through here
        blank = np.full((self.size, self.size, 3), _BACKGROUND, np.uint8)
        count = len(params.shape)
        for start in range(0, count, _BATCH):
            rows = slice(start, start + _BATCH)
            part = FaceParams(*(getattr(params, name)[rows] for name in params.__dataclass_fields__))
            with torch.no_grad():
                vertices = self.head.mesh(part).vertices
            for single in vertices:
                yield overlay(blank, Mesh(single, self.head.faces), camera, paint)

    def _camera(self) -> Camera:
        """Shows the whole head of the target, upright, amid the picture."""
        with torch.no_grad():
            points = self.head.mesh(self._at_rest()).vertices
        low, high = points.amin(0), points.amax(0)
        scale = _FILL * self.size / float(high[1] - low[1])
        middle = (low + high) / 2
        shift = torch.stack([self.size / 2 - scale * middle[0], self.size / 2 + scale * middle[1]])
        return Camera(torch.tensor(scale), shift)

    def _at_rest(self) -> FaceParams:
        target = self.target.params
        still = torch.zeros(3)
        return FaceParams(target.shape, 0 * target.expression, still, still, still, torch.zeros(6))


def write_reenactment(
    path: Path,
    reenactor: Reenactor,
    driver: Track,
    sound: Path | None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the pictures as MP4, with the driver's sound where there is a file of it."""
    rows = main_face(driver)
    start = 0.0 if sound else float(rows.time[0])
    with VideoWriter(path, (reenactor.size, reenactor.size), driver.fps, audio_from=sound) as writer:
        for done, image in enumerate(reenactor.render(driver), 1):
            writer.write(image, float(rows.time[done - 1]) - start)
            report(done, len(rows))
