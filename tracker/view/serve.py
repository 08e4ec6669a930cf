"""The viewer of a track: head, networks, video and page put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model.head import HeadModel
from model.io.assets import load_head
from tracker.network import open_network
from tracker.track import Track
from tracker.video import open_video
from tracker.view.frames import FrameReader, check_size
from tracker.view.page import Page
from tracker.view.player import Drawer, Player
from tracker.view.surfaces import Surfaces

UV_SIZE = 256
"""Texels on a side of F_d's map, and of the textures."""


@dataclass(frozen=True)
class Viewer:
    """A page that shows a track, and what plays it."""

    page: Page
    player: Player

    def timing(self) -> str:
        """One line on how quick it was."""
        if not self.player.drawn:
            return "nothing was drawn"
        ms = 1000 * np.array(self.player.drawn)
        skipped = f", {self.player.skipped} left out while playing" if self.player.skipped else ""
        return f"{len(ms)} frames drawn in {np.median(ms):.0f} ms each (95 %: {np.quantile(ms, 0.95):.0f} ms){skipped}"


@contextmanager
def open_viewer(
    track: Track,
    video: Path | None,
    *,
    head: str = "openhead",
    weights: str = "embedded",
    host: str = "127.0.0.1",
    port: int = 8080,
    dark: bool = True,
) -> Iterator[Viewer]:
    """The viewer of a track.

    Raises:
        ValueError: viser is not there, the port is taken, the video is not the track's, or there is no such head.
    """
    surfaces = open_surfaces(track, head, weights)
    with ExitStack() as stack:
        reader = None
        if video is not None:
            opened = stack.enter_context(open_video(video))
            check_size(opened.size, track.size, video)
            reader = FrameReader(opened)
            stack.callback(reader.close)
        drawer = Drawer(track, surfaces, reader)
        page = Page(
            track.video or "decatrack",
            host=host,
            port=port,
            frames=len(drawer.timeline),
            faces=drawer.names,
            detail=surfaces.has_detail and track.detail is not None,
            aspect=track.size[0] / track.size[1],
            pictures=reader is not None,
            dark=dark,
            copied=lambda: drawer.copied(page.wanted),
        )
        stack.callback(page.close)
        yield Viewer(page, Player(page, drawer))


def open_surfaces(track: Track, head: str, weights: str) -> Surfaces:
    """The head of a track and, where the track has detail, the networks that draw it.

    Raises:
        ValueError: no such head or weights, or they are not the track's.
    """
    torch.set_num_threads(min(torch.get_num_threads(), 4))
    model = HeadModel(load_head(head))
    name, digest = model.asset.name, model.asset.digest[:12]
    if track.head.split("-")[0] != name.split("-")[0] or track.expression.shape[1] != model.asset.exprdirs.shape[2]:
        raise ValueError(f"the track was made with the head {track.head}, --head is {name}; give the head of the track")
    if track.head != f"{name}:{digest}":
        raise ValueError(
            f"the track was made with the head {track.head}, --head {head} is {name}:{digest}; track the video again"
        )
    network = None if track.detail is None or weights == "none" else open_network(weights, model, uv_size=UV_SIZE)
    if network is not None and track.detail is not None and network.deca.config.detail != track.detail.shape[1]:
        raise ValueError(
            f"--weights {weights}: takes {network.deca.config.detail} detail coefficients, the track has "
            f"{track.detail.shape[1]}; give the weights that the track was made with, or none"
        )
    return Surfaces(model, None if network is None else network.deca)
