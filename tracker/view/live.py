"""The page of a live session: the newest frame and its heads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tracker.config import TrackConfig
from tracker.image import resize
from tracker.live import Latency, LiveTracker, Now
from tracker.network import open_network
from tracker.track import Track
from tracker.view.page import Page, Shown
from tracker.view.panel import bars, frame_json, frame_python
from tracker.view.player import amid, drawn_head
from tracker.view.serve import UV_SIZE
from tracker.view.surfaces import Surfaces

LONGEST = 640
"""Longer side of the pictures that are sent, px."""


class LivePage:
    """Shows moments as they come."""

    def __init__(self, page: Page, surfaces: Surfaces, size: tuple[int, int]) -> None:
        self.page, self._surfaces = page, surfaces
        self._centre = amid(surfaces)
        shrink = min(1.0, LONGEST / max(size))
        self._size = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
        self._status = "waiting for the first frame"
        self.newest: Track | None = None

    def show(self, now: Now) -> None:
        """Draw a moment."""
        wanted = self.page.wanted
        rows = list(now.rows.values())
        heads = [
            drawn_head(row, 0, wanted, self._surfaces, self._centre) for row in (rows if wanted.over else rows[:1])
        ]
        picture = now.frame.image
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = resize(picture, self._size)
        drawn = bars(rows[0].expression_names, rows[0].expression[0], rows[0].jaw[0]) if rows else ""
        self.newest = rows[0] if rows else None
        status = f"**live** · frame {now.frame.index}{'' if rows else ' · no face'} · {self._status}"
        self.page.draw(Shown(heads, drawn, status, picture), wanted)

    def tell(self, latency: Latency) -> None:
        """How it goes, on the page."""
        recent = latency.whole[-50:]
        if recent:
            self._status = f"{sum(recent) / len(recent):.0f} ms behind · {latency.dropped} dropped"

    def copied(self) -> list[tuple[str, str]]:
        """The newest parameters."""
        if self.newest is None:
            return [("JSON", "null")]
        return [("JSON", frame_json(self.newest, 0)), ("Python", frame_python(self.newest, 0))]


@contextmanager
def open_live_page(
    tracker: LiveTracker, config: TrackConfig, size: tuple[int, int], name: str, *, host: str, port: int
) -> Iterator[LivePage]:
    """The page of a live session.

    Raises:
        ValueError: viser is not installed, or the port cannot be had.
    """
    drawing = None if tracker.network is None else open_network(config.weights, tracker.head, uv_size=UV_SIZE)
    surfaces = Surfaces(tracker.head, None if drawing is None else drawing.deca)
    live: list[LivePage] = []
    page = Page(
        name,
        host=host,
        port=port,
        frames=0,
        faces=("live",),
        detail=surfaces.has_detail,
        aspect=size[0] / size[1],
        pictures=True,
        copied=lambda: live[0].copied(),
    )
    live.append(LivePage(page, surfaces, size))
    try:
        yield live[0]
    finally:
        page.close()
