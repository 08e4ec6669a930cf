"""Live tracking: the stages of the pipeline on every frame as it arrives, smoothed by looking at the past alone.

A frame that cannot be looked at in time is dropped, never queued: what is shown is as new as the machine allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from model.crop import trained_crop
from tracker.associate import Associator
from tracker.camera import LiveSource, Newest
from tracker.causal import CausalSmoother
from tracker.config import TrackConfig
from tracker.detect import Detector
from tracker.encode import Crops, Encoder, cut
from tracker.finish import face_centre, head_id, with_landmarks
from tracker.fit import FaceFit
from tracker.fit.live import LiveFit
from tracker.fit.problem import Problem
from tracker.identity import robust_mean
from tracker.network import WHITE, Network, open_network
from tracker.observation import Detection, FaceCodes, Frame, ibug68
from tracker.pipeline import detector_of, load_model, needs_network, only_ibug68
from tracker.shots import CutNow
from tracker.smooth import smooth_track
from tracker.track import Track

STAGES = ("waiting", "detection", "network", "fit", "smoothing", "viewer")
FORGET = 2.0
"""Seconds after which a face that is not seen is taken for gone."""


@dataclass(frozen=True)
class Now:
    """What a live page shows of a moment: the frame, and of every face that is there one smoothed row."""

    frame: Frame
    rows: dict[int, Track]


@dataclass
class Latency:
    """Milliseconds by stage, of every frame that was looked at.

    `waiting` is from when a frame was there until it was taken; `viewer` until it was drawn on the page, where there is
    one. End to end is all of it.
    """

    stages: dict[str, list[float]] = field(default_factory=dict)
    whole: list[float] = field(default_factory=list)
    arrived: int = 0
    dropped: int = 0
    seconds: float = 0.0

    def add(self, laps: dict[str, float], whole: float | None = None) -> None:
        """Seconds of one frame; `whole` once it has come to its end."""
        for name, value in laps.items():
            self.stages.setdefault(name, []).append(1000 * value)
        if whole is not None:
            self.whole.append(1000 * whole)

    def __str__(self) -> str:
        """One line: median and 95 % of every stage, the rate, and how many frames were dropped."""
        if not self.whole:
            return f"no frame was looked at ({self.arrived} arrived)"
        parts = [f"{name} {_two(self.stages[name])}" for name in STAGES if name in self.stages]
        rate = len(self.stages["waiting"]) / max(self.seconds, 1e-9)
        return (
            f"latency, ms, median/95 %: {', '.join(parts)}; end to end {_two(self.whole)}; {rate:.1f} frames/s; "
            f"{self.dropped} of {self.arrived} frames dropped"
        )


def _two(values: list[float]) -> str:
    return f"{np.median(values):.0f}/{np.quantile(values, 0.95):.0f}"


class _Face:
    """One face while it is seen."""

    def __init__(self, fit: LiveFit) -> None:
        self.fit = fit
        self.rows: list[FaceFit] = []
        self.where: list[tuple[int, float, int]] = []  # frame, time, shot
        self.lights: list[np.ndarray | None] = []
        self.early: list[tuple[int, np.ndarray, float, FaceCodes | None]] = []  # rows fitted before the identity stayed
        self.codes: list[FaceCodes] = []
        self.crops: list[np.ndarray] = []
        self.looks: tuple[np.ndarray, np.ndarray] | None = None  # albedo, detail
        self.looking: Future | None = None
        self.smoother: CausalSmoother | None = None
        self.seen = 0.0


class LiveTracker:
    """Looks at one frame after the other; a context manager.

    Args:
        size: width, height of the frames, px.
        fps: nominal rate, Hz.

    Raises:
        ValueError: no such head, weights, detector or device.
    """

    def __init__(self, config: TrackConfig, size: tuple[int, int], fps: float, name: str = "live") -> None:
        method = "none" if config.smooth.method == "none" else "causal"
        self.config = config = replace(config, smooth=replace(config.smooth, method=method))
        self._size, self._fps, self._name = size, fps, name
        self.head = load_model(config)
        self.network: Network | None = open_network(config.weights, self.head)
        needs_network(config, self.network is not None)
        self._stack = ExitStack()
        self._stack.enter_context(threadpool_limits(1, user_api="blas"))
        self._detector: Detector = self._stack.enter_context(detector_of(config, device=str(self.head.template.device)))
        self._worker = self._stack.enter_context(
            ThreadPoolExecutor(1, "identity", initializer=torch.set_num_threads, initargs=(1,))
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in the fit: the matrices are small
        self._stack.callback(torch.set_num_threads, threads)
        self._encoder = Encoder(self.network.deca) if self.network else None
        self._reduced = only_ibug68(config, self.head.asset)
        self._problem = Problem.of(self.head, "ibug68" if self._reduced else self._detector.scheme, config.fit)
        self._anchor = face_centre(self.head)
        self._pivot = self.head.skeleton.template[0].cpu().double().numpy()
        self._owners = Associator(size, keep=np.zeros(0, np.int64))
        self._cut, self._shot = CutNow(), 0
        self._faces: dict[int, _Face] = {}

    def __enter__(self) -> LiveTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self, frame: Frame, lap: Callable[[str], None] = lambda stage: None) -> Now:
        """The faces of a frame.

        Args:
            lap: called after every stage with its name.
        """
        if self._cut(frame):
            self._shot += 1
            self._detector.reset()
            for face in self._faces.values():
                face.smoother = None
        found = self._detector.detect(frame)
        owners = self._owners.push(frame, found, self._shot)
        lap("detection")
        crops, codes = self._encoded(frame, found)
        lap("network")
        fitted: dict[int, FaceFit] = {}
        for k, (owner, detection) in enumerate(zip(owners, found, strict=True)):
            face = self._faces.setdefault(owner, _Face(LiveFit(self._problem, self._network_facts, self._worker)))
            mine = None if codes is None else codes.at(np.array([k]))
            fitted[owner] = self._fit(face, detection, mine, None if crops is None else crops.images[k], frame.time)
        lap("fit")
        rows = {}
        for owner, face in self._faces.items():
            row = self._row(face, fitted.get(owner), frame)
            if row is not None:
                rows[owner] = row
        lap("smoothing")
        return Now(frame, rows)

    @property
    def _network_facts(self):
        return None if self.network is None else self.network.facts

    def _encoded(self, frame: Frame, found: list[Detection]) -> tuple[Crops | None, FaceCodes | None]:
        if self._encoder is None or not found:
            return None, None
        points = [ibug68(face) for face in found]
        squares = [trained_crop(torch.from_numpy(p.astype(np.float64))) for p in points]
        crops = Crops(
            np.stack([cut(frame.image, square, self._encoder.resolution) for square in squares]),
            np.array([[*square.centre.tolist(), float(square.size)] for square in squares]),
            np.array([np.ptp(p, axis=0).mean() for p in points], np.float64),
        )
        return crops, self._encoder.coarse(crops)

    def _fit(
        self, face: _Face, detection: Detection, codes: FaceCodes | None, crop: np.ndarray | None, now: float
    ) -> FaceFit:
        points = (ibug68(detection) if self._reduced else detection.points).astype(np.float32)
        settled, keys = face.fit.settled, face.fit.keys
        fit = face.fit.see(points, detection.confidence, codes, now)
        if not settled:
            face.early.append((len(face.rows), points, detection.confidence, codes))
            if face.fit.keys > keys and codes is not None and crop is not None:
                face.codes.append(codes)
                face.crops.append(crop)
        elif face.looking is None and face.looks is None and face.crops:
            face.looking = self._worker.submit(self._looks, face.codes, face.crops)
        if face.looking is not None and face.looking.done():
            face.looks, face.looking = face.looking.result(), None
        face.lights.append(None if codes is None else codes.light[0])
        return fit

    def _looks(self, codes: list[FaceCodes], crops: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Albedo and detail of a person, from the keyframes."""
        assert self._encoder is not None
        even = np.ones(len(codes))
        detail = np.concatenate([self._encoder.detail(crop[None]) for crop in crops])
        return robust_mean(np.concatenate([c.albedo for c in codes]), even), robust_mean(detail, even)

    def _row(self, face: _Face, fit: FaceFit | None, frame: Frame) -> Track | None:
        """The face's smoothed row; None where it is gone or was never seen in this shot."""
        if fit is None:
            if frame.time - face.seen > FORGET or face.smoother is None:
                return None
            fit = replace(face.rows[-1], seen=np.zeros(1, bool), confidence=np.zeros(1, np.float32))
            face.lights.append(face.lights[-1])
        else:
            face.seen = frame.time
        face.rows.append(fit)
        face.where.append((frame.index, frame.time, self._shot))
        row = self._track([fit], [face.where[-1]], [face.lights[-1]], face.looks)
        if face.smoother is None:
            face.smoother = CausalSmoother(self.config.smooth, self._pivot, self._anchor, self._fps)
        smooth = face.smoother.push(replace(row, detail=None))
        return replace(smooth, detail=row.detail)

    def _track(
        self,
        fits: list[FaceFit],
        where: list[tuple[int, float, int]],
        lights: list[np.ndarray | None],
        looks: tuple[np.ndarray, np.ndarray] | None,
        number: int = 0,
    ) -> Track:
        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(fit, name) for fit in fits])

        count = len(fits)
        white = np.zeros((9, 3), np.float32)
        white[0] = WHITE
        light = None if self.network is None else np.stack([white if x is None else x for x in lights])
        albedo = detail = None
        if self.network is not None:
            sizes = self.network.deca.config
            known = looks or (np.zeros(sizes.albedo, np.float32), np.zeros(sizes.detail, np.float32))
            albedo, detail = (np.repeat(x.astype(np.float32)[None], count, 0) for x in known)
        return Track(
            head=head_id(self.head), video=self._name, fps=self._fps, size=self._size,
            face=np.full(count, number), frame=np.array([w[0] for w in where]),
            time=np.array([w[1] for w in where], np.float64), shot=np.array([w[2] for w in where]),
            valid=joined("seen"), confidence=joined("confidence"),
            shape=joined("shape"), expression=joined("expression"), pose=joined("pose"), neck=joined("neck"),
            jaw=joined("jaw"), eyes=joined("eyes"), camera=joined("camera"),
            landmarks=np.zeros((count, 68, 2), np.float32), box=np.zeros((count, 4), np.float32),
            expression_names=self.head.asset.expression_names, albedo=albedo, light=light, detail=detail,
        )  # fmt: skip

    def finish(self) -> Track:
        """The whole session: one identity for every face, first frames fitted again with it, smoothed causally.

        Raises:
            ValueError: no face was seen.
        """
        faces = sorted((face for face in self._faces.values() if face.rows), key=lambda face: -self._on_screen(face))
        if not faces:
            raise ValueError(f"{self._name}: no face was seen")
        if self.config.faces != "all":
            faces = faces[: self.config.faces]
        parts = []
        for number, face in enumerate(faces):
            face.fit.finish()
            for row, points, confidence, codes in face.early:
                face.rows[row] = face.fit.fitted(points, confidence, codes)
            person = face.fit.identity.cpu().numpy().astype(np.float32)
            if face.looks is None and face.crops:
                face.looks = face.looking.result() if face.looking else self._looks(face.codes, face.crops)
            stop = 1 + max(k for k, fit in enumerate(face.rows) if fit.seen[0])
            rows = [replace(fit, shape=person) for fit in face.rows[:stop]]
            raw = self._track(rows, face.where[:stop], face.lights[:stop], face.looks, number)
            smooth = smooth_track(replace(raw, detail=None), self.config.smooth, self._pivot, self._anchor)
            parts.append(replace(smooth, detail=raw.detail))
        return with_landmarks(_stacked(parts), self.head)

    def _on_screen(self, face: _Face) -> float:
        return float(sum(fit.seen[0] for fit in face.rows))


def _stacked(parts: list[Track]) -> Track:
    names = parts[0]._columns()
    return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


class _Drawing:
    """Draws the newest moment in a thread of its own, so that tracking does not wait for the page."""

    def __init__(self, show: Callable[[Now], None], latency: Latency) -> None:
        self._show, self._latency = show, latency
        self._there = threading.Condition()
        self._next: tuple[Now, float, float] | None = None
        self._over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="live-page", daemon=True)
        self._thread.start()

    def draw(self, moment: Now, arrived: float, tracked: float) -> None:
        """Soon; one that was not drawn yet is forgotten."""
        with self._there:
            if self._error is not None:
                raise self._error
            self._next = moment, arrived, tracked
            self._there.notify()

    def close(self) -> None:
        with self._there:
            self._over = True
            self._there.notify()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while True:
            with self._there:
                self._there.wait_for(lambda: self._next is not None or self._over)
                if self._next is None:
                    return
                (moment, arrived, tracked), self._next = self._next, None
            try:
                self._show(moment)
            except Exception as error:
                self._error = error
                return
            now = time.perf_counter()
            self._latency.add({"viewer": now - tracked}, now - arrived)


def run_live(
    source: LiveSource,
    tracker: LiveTracker,
    show: Callable[[Now], None] | None = None,
    status: Callable[[Latency], None] = lambda latency: None,
) -> Latency:
    """Look at the newest frame again and again until the source is over, or the user interrupts.

    Args:
        show: draws a moment, in a thread of its own; end to end is then until it is drawn.
        status: told how it goes, about once a second.
    """
    latency = Latency()
    newest = Newest(source)
    drawing = None if show is None else _Drawing(show, latency)
    started = told = time.perf_counter()
    try:
        while not newest.over:
            arrived = newest.take(0.2)
            if arrived is None:
                continue
            laps: dict[str, float] = {}
            last = time.perf_counter()
            laps["waiting"] = last - arrived.at

            def lap(stage: str, laps: dict[str, float] = laps) -> None:
                nonlocal last
                now = time.perf_counter()
                laps[stage] = now - last
                last = now

            moment = tracker.look(arrived.frame, lap)
            latency.add(laps, last - arrived.at if drawing is None else None)
            if drawing is not None:
                drawing.draw(moment, arrived.at, last)
            latency.arrived, latency.dropped = newest.arrived, newest.dropped
            latency.seconds = last - started
            if last - told > 1:
                told = last
                status(latency)
    except KeyboardInterrupt:
        pass  # how a live session ends
    finally:
        latency.arrived, latency.dropped = newest.arrived, newest.dropped
        if drawing is not None:
            drawing.close()
        newest.close()
    return latency
