"""A photograph's face, moved by a driver: transfer, pose, draw, write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.deca import DECA
from model.head import HeadModel
from model.io.assets import load_head
from model.mesh import Mesh
from model.params import Camera, FaceParams
from reenact.compose import Composer
from reenact.driver import Driver, check_head
from reenact.lips import Lips
from reenact.matte import Window
from reenact.remainder import Remainder, Spread
from reenact.rig import Posed, Rig
from reenact.target import Target, fit_target, open_deca
from reenact.transfer import Motion, Neutral, TransferConfig, main_face, transfer
from reenact.views import View, driver_window, grid, shape_picture, written
from reenact.wrinkles import Detail, Wrinkles
from tracker.track import Track
from tracker.video import VideoWriter, open_video

_BATCH = 8  # heads posed at once
_AHEAD = 2  # pictures drawn at once
LABEL = "synthetic"
MARK = {
    "comment": "Synthetic: a photograph animated by decatrack's reenact. What is shown was not filmed.",
    "description": "synthetic media (AI-generated face reenactment)",
}
"""Metadata of every video that is written."""


@dataclass(frozen=True)
class ViewConfig:
    """What is drawn.

    Attributes:
        view: ``composite``: the photograph moves; ``shape``, ``detail``: the grey head without and with wrinkles;
            ``grid``: target, driver, shape, detail and composite, labelled.
        detail: ``animated`` wrinkles follow the expression, ``static`` ones stay, ``off`` are none.
        label: whether a small visible mark says that the picture is synthetic.
    """

    view: View = "composite"
    detail: Detail = "animated"
    label: bool = False


@dataclass(frozen=True)
class _Head:
    """One frame's head."""

    posed: Posed
    params: FaceParams
    camera: Camera
    opening: float
    displacement: Float[Tensor, "h w"] | None


class Reenactor:
    """Draws a target with the motion of a driver.

    Args:
        target: a fitted face, or the path of a photograph whose largest face is fitted.
        head: by default openhead.
        deca: whose F_d makes wrinkles; by default, for a path, the networks that come with the package.
        config: how the motion is put on the target.
        show: what is drawn.

    Raises:
        ValueError: no face in the photograph; ``detail`` is asked for where no network looked at it.
    """

    def __init__(
        self,
        target: Target | str | Path,
        head: HeadModel | None = None,
        deca: DECA | None = None,
        config: TransferConfig | None = None,
        show: ViewConfig | None = None,
    ) -> None:
        self.head = head or HeadModel(load_head())
        if not isinstance(target, Target):
            opened = open_deca("embedded", self.head) if deca is None else None
            network = None
            if opened is not None:
                deca, network = opened
            target = fit_target(target, self.head, network)
        self.target, self.config, self.show = target, config or TransferConfig(), show or ViewConfig()
        has_detail = deca is not None and target.detail is not None and self.show.detail != "off"
        if self.show.view == "detail" and not has_detail:
            raise ValueError("--view detail: needs weights that know wrinkles, and --detail not off")
        self._layout = deca.layout if deca is not None else None
        self._wrinkles = Wrinkles(deca, target, self.show.detail) if deca is not None and has_detail else None
        self._rig = Rig(target, self.head)
        self._composer = Composer(self._rig)
        self._lips = Lips(self.head)
        self._spread: Spread | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures but for the grid, whose width depends on whether there is a driver video."""
        if self.show.view == "composite":
            return self.target.size
        return self._composer.window.size

    @property
    def window(self) -> Window:
        """The part of the photograph in which anything moves."""
        return self._composer.window

    def motion(self, driver: Track, rest: Neutral | None = None) -> Motion:
        """The target's heads for the rows of the driver's main face.

        Args:
            rest: the driver at rest; by default found in the track.

        Raises:
            ValueError: the driver was tracked with another head model.
        """
        check_head(driver, self.head, driver.video)
        return transfer(main_face(driver), self.target.params, self.target.camera, self.head, self.config, rest)

    def render(
        self,
        driver: Track,
        video: Path | None = None,
        rest: Neutral | None = None,
        remainder: Remainder | None = None,
    ) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """One picture per row of the driver's main face; memory does not grow with their number.

        Args:
            video: of the driver, for the grid.
            rest: the driver at rest; by default found in the track.
            remainder: what the driver's landmarks do besides since rest, one row for each of its main face.

        Raises:
            ValueError: the driver was tracked with another head model.
        """
        motion = self.motion(driver, rest)
        frames = self._driver_pictures(main_face(driver), video)
        waiting: deque = deque()
        with ThreadPoolExecutor(_AHEAD) as pool:
            for head in self._heads(motion, remainder):
                waiting.append(pool.submit(self._draw, head, next(frames)))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _heads(self, motion: Motion, remainder: Remainder | None) -> Iterator[_Head]:
        if remainder is not None and not len(remainder.points):
            remainder = None
        assert remainder is None or len(remainder.shifts) == len(motion)
        if remainder is not None and self._spread is None:
            self._spread = Spread(self.head, remainder.points)
        for start in range(0, len(motion), _BATCH):
            rows = slice(start, start + _BATCH)
            params = _rows(motion.params, rows)
            cameras = Camera(motion.camera.s[rows], motion.camera.t[rows])
            extra = None
            if remainder is not None and self._spread is not None:
                some = zip(remainder.shifts[rows], motion.contact[rows].tolist(), strict=True)
                extra = self.config.strength * torch.stack([self._spread(shifts, contact) for shifts, contact in some])
            posed = self._rig.posed(params, cameras, extra)
            gaps = self._lips.gap(params).clamp(min=0).tolist()
            moved = None if self._wrinkles is None else self._wrinkles.displacement(params)
            for k, gap in enumerate(gaps):
                mesh = Mesh(posed.mesh.vertices[k], posed.mesh.faces)
                yield _Head(
                    Posed(posed.points[k], mesh, posed.normals[k]),
                    _rows(params, k),
                    Camera(cameras.s[k], cameras.t[k]),
                    gap,
                    None if moved is None else moved[k],
                )

    def _draw(self, head: _Head, frame: np.ndarray | None) -> UInt8[np.ndarray, "H W 3"]:
        view, window, posed = self.show.view, self._composer.window, head.posed
        normals = relief = None
        if self._wrinkles is not None and head.displacement is not None and view != "shape":
            normals = self._wrinkles.normals(posed.mesh, head.displacement, posed.normals)
            relief = self._wrinkles.relief(normals, posed.normals)

        def shape(detailed: Float[Tensor, "3 h w"] | None) -> np.ndarray:
            fine = None if detailed is None or self._layout is None else (self._layout, detailed)
            return shape_picture(posed.mesh, posed.normals, head.camera, window, fine)

        if view in ("shape", "detail"):
            return self._labelled(shape(normals))
        drawn = self._composer.draw(posed, head.params, head.camera, head.opening, relief)
        if view == "composite":
            return self._labelled(drawn)
        pictures = {"target": window.of(self.target.image)}
        if frame is not None:
            pictures["driver"] = frame
        pictures["shape"] = shape(None)
        if normals is not None:
            pictures["detail"] = shape(normals)
        pictures["composite"] = self._labelled(window.of(drawn))
        return grid(pictures)

    def _labelled(self, picture: np.ndarray) -> np.ndarray:
        return written(picture, LABEL) if self.show.label else picture

    def _driver_pictures(self, rows: Track, video: Path | None) -> Iterator[np.ndarray | None]:
        """The driver's face frame by frame, for the grid; None where it is not shown."""
        last = None
        if video is not None and self.show.view == "grid":
            window = driver_window(rows.box, rows.size)
            first = int(rows.frame[0])
            with open_video(video) as opened:
                for frame in opened:
                    if frame.index >= first:
                        last = window.of(frame.image)
                        yield last
        while True:
            yield last


def write_reenactment(
    path: Path,
    reenactor: Reenactor,
    driver: Driver,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the pictures as MP4, marked as synthetic, with the driver's sound where there is a file of it.

    The pictures have the times of the driver's frames, so that sound and lips stay together.
    """
    rows = main_face(driver.track)
    start = 0.0 if driver.video else float(rows.time[0])
    pictures = reenactor.render(driver.track, driver.video, remainder=driver.remainder)
    first = next(pictures)
    size = (first.shape[1], first.shape[0])
    with VideoWriter(path, size, rows.fps, audio_from=driver.video, metadata=MARK) as writer:
        writer.write(first, float(rows.time[0]) - start)
        report(1, len(rows))
        for done, image in enumerate(pictures, 2):
            writer.write(image, float(rows.time[done - 1]) - start)
            report(done, len(rows))


def _rows(params: FaceParams, rows: slice | int) -> FaceParams:
    return FaceParams(*(getattr(params, name)[rows] for name in params.__dataclass_fields__))
