"""A track on the page: which frame, which faces, drawn as the user asks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tracker.image import encode_image
from tracker.track import Track
from tracker.view.frames import FrameReader
from tracker.view.glb import unlit_glb
from tracker.view.page import Page, Shown, Solid, Wanted
from tracker.view.panel import bars, frame_json, frame_python
from tracker.view.scene import beside, over
from tracker.view.surfaces import Surfaces

ALL = "all faces"
_TEXTURE_QUALITY = 90


@dataclass(frozen=True)
class Timeline:
    """Positions of the slider: every frame from the track's first to its last, gaps included.

    Attributes:
        first: number of the first frame.
        time: of every position, s.
        rows: of every position, the rows of the faces (by index in `faces`), −1 where a face is not there.
        faces: ids.
    """

    first: int
    time: Float[np.ndarray, "N"]
    rows: Int[np.ndarray, "N K"]
    faces: tuple[int, ...]

    @staticmethod
    def of(track: Track) -> Timeline:
        """The timeline of a track."""
        first, last = int(track.frame.min()), int(track.frame.max())
        known, at = np.unique(track.frame, return_index=True)
        time = np.interp(np.arange(first, last + 1), known, track.time[at].astype(float))
        rows = np.full((last - first + 1, len(track.faces)), -1)
        rows[track.frame - first, np.searchsorted(track.faces, track.face)] = np.arange(len(track))
        return Timeline(first, time, rows, track.faces)

    def __len__(self) -> int:
        return len(self.time)

    def at(self, seconds: float) -> int:
        """The position that is shown at a time since the first."""
        later = np.searchsorted(self.time, self.time[0] + seconds + 1e-6, side="right")
        return int(np.clip(later - 1, 0, len(self) - 1))


class Drawer:
    """Makes what the page shows of a track.

    Args:
        reader: of the video; None without.
    """

    def __init__(self, track: Track, surfaces: Surfaces, reader: FrameReader | None) -> None:
        self.track, self.surfaces, self._reader = track, surfaces, reader
        self.timeline = Timeline.of(track)
        self._centre = amid(surfaces)

    @property
    def names(self) -> list[str]:
        """For the drop-down: every face with the time it is there, and all of them."""
        names = []
        for face in self.timeline.faces:
            mine = self.track.time[self.track.face == face]
            names.append(f"{face}: {clock(float(mine[0]))}–{clock(float(mine[-1]))}")
        return [*names, ALL] if len(names) > 1 else names

    def rows(self, wanted: Wanted) -> list[int]:
        """Rows of the chosen faces that are there at the frame."""
        rows = self.timeline.rows[wanted.frame]
        if wanted.face != ALL:
            rows = rows[[self.names.index(wanted.face)]]
        return [int(row) for row in rows if row >= 0]

    def shown(self, wanted: Wanted) -> Shown:
        """The moment that is asked for."""
        rows = self.rows(wanted)
        # Beside the picture the heads of several people would stand in each other.
        drawn = rows if wanted.over else rows[:1]
        picture = None if self._reader is None else self._reader.at(self.timeline.first + wanted.frame)
        track = self.track
        shown_bars = bars(track.expression_names, track.expression[rows[0]], track.jaw[rows[0]]) if rows else ""
        heads = [drawn_head(track, row, wanted, self.surfaces, self._centre) for row in drawn]
        return Shown(heads, shown_bars, self._status(rows, wanted), picture)

    def _status(self, rows: Sequence[int], wanted: Wanted) -> str:
        track, line = self.track, self.timeline
        place = f"**{clock(float(line.time[wanted.frame]), True)}** · frame {line.first + wanted.frame}"
        if not rows:
            return f"{place} · no such face here"
        row = rows[0]
        seen = "seen" if track.valid[row] else "not seen: predicted"
        return f"{place} · shot {track.shot[row] + 1} · {seen} · confidence {track.confidence[row]:.2f}"

    def copied(self, wanted: Wanted) -> list[tuple[str, str]]:
        """The frame's parameters, of the first of the chosen faces."""
        rows = self.rows(wanted)
        if not rows:
            return [("JSON", "null")]
        return [("JSON", frame_json(self.track, rows[0])), ("Python", frame_python(self.track, rows[0]))]


def drawn_head(
    track: Track, row: int, wanted: Wanted, surfaces: Surfaces, centre: Float[np.ndarray, "3"]
) -> Solid | bytes:
    """One row's head with the surface and at the place that are asked for.

    Args:
        centre: as `amid` gives it.
    """

    def placed(vertices: np.ndarray) -> np.ndarray:
        if wanted.over:
            return over(vertices, track.camera[row], track.size, centre, wanted.tall)
        return beside(vertices, centre)

    face = track.params(row)
    if wanted.surface == "coarse" or not surfaces.has_detail or track.detail is None:
        return Solid(placed(surfaces.coarse(face)), surfaces.coarse_parts)
    if wanted.surface == "detail":
        return Solid(placed(surfaces.detailed(face, track.detail[row])), surfaces.detailed_parts)
    assert track.albedo is not None and track.light is not None
    made = surfaces.textured(face, track.albedo[row], track.light[row], track.detail[row])
    texture = encode_image(made.texture, ".jpg", _TEXTURE_QUALITY)
    return unlit_glb(placed(made.vertices), surfaces.uv, surfaces.uv_faces, texture)


class Player:
    """Draws what the user asks for; while playing, what the clock asks for, leaving out frames where it is slow.

    Attributes:
        drawn: seconds that the last moments took to draw and to hand over.
    """

    def __init__(self, page: Page, drawer: Drawer) -> None:
        self._page, self._drawer = page, drawer
        self.drawn: deque[float] = deque(maxlen=500)
        self.skipped = 0

    def run(self, seconds: float | None = None) -> None:
        """Serve until interrupted, or for some seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        wanted = self._page.wanted
        self._draw(wanted)
        while end is None or time.monotonic() < end:
            if wanted.playing:
                wanted = self._play(wanted, end)
            else:
                before = wanted
                wanted = self._page.wait(wanted.changes, 0.5)
                if wanted != before:
                    self._draw(wanted)

    def _play(self, wanted: Wanted, end: float | None) -> Wanted:
        """Until the user changes something; then what is asked for now."""
        line = self._drawer.timeline
        started = time.monotonic()
        offset = float(line.time[wanted.frame] - line.time[0]) if wanted.frame < len(line) - 1 else 0.0
        shown, changes = -1, wanted.changes
        while end is None or time.monotonic() < end:
            seconds = offset + (time.monotonic() - started) * wanted.speed
            position = line.at(seconds)
            if position != shown:
                self.skipped += max(0, position - shown - 1) if shown >= 0 else 0
                shown = position
                self._page.move(position)
                self._draw(replace(wanted, frame=position))
            if position == len(line) - 1:
                started, offset, shown = time.monotonic(), 0.0, -1  # again from the beginning
                pause = 0.5
            else:
                due = float(line.time[position + 1] - line.time[0] - offset) / wanted.speed
                pause = max(0.001, due - (time.monotonic() - started))
            now = self._page.wait(changes, pause)
            if now.changes != changes:
                return now
        return wanted

    def _draw(self, wanted: Wanted) -> None:
        started = time.perf_counter()
        self._page.draw(self._drawer.shown(wanted), wanted)
        self.drawn.append(time.perf_counter() - started)


def amid(surfaces: Surfaces) -> Float[np.ndarray, "3"]:
    """The middle of the mean head's extent, metres."""
    template = surfaces.head.asset.template.astype(np.float64)
    return (template.min(0) + template.max(0)) / 2


def clock(seconds: float, fine: bool = False) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes)}:{rest:05.2f}" if fine else f"{int(minutes)}:{int(rest):02d}"
