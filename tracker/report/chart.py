"""Charts as inline SVG: lines over time with gaps and cuts marked, and an expression map. No library, no network.

Colours are CSS variables of the page, so that a chart follows light and dark.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from tracker.image import encode_image
from tracker.report.measures import Stretch

WIDTH = 1000.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 8.0, 8.0, 20.0
COLUMNS = 900
"""Points of a line at most; of more, every column keeps its lowest and its highest."""


@dataclass(frozen=True)
class Line:
    """A curve: its name in the legend, and its values."""

    name: str
    values: Float[np.ndarray, "T"]


@dataclass(frozen=True)
class Axis:
    """The time axis that all charts of a face share.

    Attributes:
        time: of every row, s.
        frame: numbers of the frames.
        gaps: where the face was not seen.
        cuts: s.
    """

    time: Float[np.ndarray, "T"]
    frame: Float[np.ndarray, "T"]
    gaps: Sequence[Stretch]
    cuts: Float[np.ndarray, "C"]

    @property
    def span(self) -> tuple[float, float]:
        """First and last time, s."""
        start, end = float(self.time[0]), float(self.time[-1])
        return (start, end) if end > start else (start - 0.5, end + 0.5)

    def x(self, time: float | np.ndarray) -> Any:
        """Place of a time."""
        start, end = self.span
        return LEFT + (time - start) / (end - start) * (WIDTH - LEFT - RIGHT)


def line_chart(
    title: str,
    unit: str,
    axis: Axis,
    lines: Sequence[Line],
    *,
    height: float = 150.0,
    limits: tuple[float, float] | None = None,
) -> str:
    """Curves over time; where the face was not seen the ground is shaded.

    Args:
        limits: of the values; by default what the values need, with 0 in it.
    """
    low, high = limits or _limits(lines)
    inner = height - TOP - BOTTOM

    def y(value):
        return TOP + (high - np.clip(value, low, high)) / (high - low) * inner

    parts = [_marks(axis, height)]
    for tick in _ticks(low, high, 4):
        at = float(y(tick))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    start, end = axis.span
    for tick in _ticks(start, end, 10):
        at = float(axis.x(tick))
        parts.append(f'<text class="tick" x="{at:.1f}" y="{height - 5}" text-anchor="middle">{_seconds(tick)}</text>')
    for number, line in enumerate(lines):
        parts.append(f'<path class="line c{number}" d="{_path(axis, line.values, y)}"/>')
    legend = "".join(f'<span class="key c{k}">{escape(line.name)}</span>' for k, line in enumerate(lines))
    hover = _hover(axis, lines, unit)
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{f' <i>{escape(unit)}</i>' if unit else ''}{legend}</figcaption>"
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" data-hover=\'{hover}\'>{"".join(parts)}'
        f'<line class="cursor" y1="{TOP}" y2="{height - BOTTOM}" x1="-9" x2="-9"/></svg></figure>'
    )


def expression_map(axis: Axis, names: list[str], values: Float[np.ndarray, "T E"], limit: float) -> str:
    """Every unit a row, time to the right, the deeper the colour the stronger; units that never move are left out.

    Args:
        limit: value of the full colour.
    """
    strength = np.abs(values) / limit
    moving = np.flatnonzero(strength.max(0) >= 0.05)
    if not len(moving):
        return "<p>No expression unit moves by more than 5 %.</p>"
    row = 15.0
    height = TOP + row * len(moving) + BOTTOM
    left = 140.0
    picture = _columns(axis, strength[:, moving])
    alpha = np.clip(picture.T, 0, 1)
    sign = np.sign(_columns(axis, values[:, moving], strongest=True)).T
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    rgba[..., :3] = np.where(sign[..., None] < 0, (224, 128, 43), (47, 126, 216))
    rgba[..., 3] = np.round(255 * alpha**0.8)
    start, end = axis.span
    inner = WIDTH - left - RIGHT
    parts = [
        f'<rect class="field" x="{left}" y="{TOP}" width="{inner}" height="{row * len(moving)}"/>',
        f'<image class="pixels" x="{left}" y="{TOP}" width="{inner}" height="{row * len(moving)}" '
        f'preserveAspectRatio="none" href="{data_url(rgba, ".png")}"/>',
    ]
    for number, unit in enumerate(moving):
        at = TOP + row * (number + 0.5) + 3.5
        parts.append(
            f'<text class="tick" x="{left - 6}" y="{at:.1f}" text-anchor="end">{escape(names[int(unit)])}</text>'
        )
    for time in axis.cuts:
        at = left + (time - start) / (end - start) * inner
        parts.append(f'<line class="cut" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    for tick in _ticks(start, end, 10):
        at = left + (tick - start) / (end - start) * inner
        parts.append(f'<text class="tick" x="{at:.1f}" y="{height - 5}" text-anchor="middle">{_seconds(tick)}</text>')
    still = values.shape[1] - len(moving)
    note = f"{still} units never pass 5 % and are left out" if still else ""
    return (
        f"<figure><figcaption><b>Expression</b> <i>{note}</i></figcaption>"
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}">{"".join(parts)}</svg></figure>'
    )


def data_url(image: UInt8[np.ndarray, "H W C"], suffix: str, quality: int | None = None) -> str:
    """A picture as part of a page."""
    kind = {".png": "png", ".jpg": "jpeg"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(encode_image(image, suffix, quality)).decode()}"


def _columns(axis: Axis, values: Float[np.ndarray, "T C"], strongest: bool = False) -> Float[np.ndarray, "N C"]:
    """Rows put into columns of equal time, the largest of each; times without rows are 0.

    Args:
        strongest: the one with the largest size, with its sign.
    """
    start, end = axis.span
    count = min(COLUMNS, max(len(axis.time), 2))
    column = np.minimum(((axis.time - start) / (end - start) * count).astype(int), count - 1)
    out = np.zeros((count, values.shape[1]))
    if strongest:
        order = np.argsort(np.abs(values), axis=0)
        for k in range(values.shape[1]):
            out[column[order[:, k]], k] = values[order[:, k], k]
    else:
        np.maximum.at(out, column, values)
    return out


def _marks(axis: Axis, height: float) -> str:
    """Gaps as shades, cuts as lines."""
    parts = []
    for gap in axis.gaps:
        a, b = float(axis.x(gap.start)), float(axis.x(min(gap.end, axis.span[1])))
        parts.append(
            f'<rect class="gap" x="{a:.1f}" y="{TOP}" width="{max(b - a, 1.0):.1f}" height="{height - TOP - BOTTOM}">'
            f"<title>not seen: frames {gap.first}–{gap.last}</title></rect>"
        )
    for time in axis.cuts:
        at = float(axis.x(time))
        parts.append(f'<line class="cut" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    return "".join(parts)


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    low = min(0.0, *(float(line.values.min()) for line in lines))
    high = max(0.0, *(float(line.values.max()) for line in lines))
    margin = 0.06 * (high - low) or 1.0
    return low - (margin if low < 0 else 0), high + margin


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two."""
    raw = (high - low) / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(power * min((m for m in (1, 2, 5, 10) if m * power >= raw), default=10))
    first = np.ceil(low / step - 1e-9)
    return [round(float(k * step), 10) + 0.0 for k in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def _seconds(time: float) -> str:
    return f"{time:g} s" if time < 60 else f"{int(time // 60)}:{time % 60:04.1f}".removesuffix(".0")


def _path(axis: Axis, values: Float[np.ndarray, "T"], y) -> str:
    """A polyline, broken where rows are missing and at cuts."""
    time = axis.time
    usual = np.median(np.diff(time)) if len(time) > 1 else 1.0
    breaks = set((np.flatnonzero(np.diff(time) > 3 * usual) + 1).tolist())
    breaks |= set(np.searchsorted(time, axis.cuts).tolist())
    words: list[str] = []
    bounds = [0, *sorted(b for b in breaks if 0 < b < len(time)), len(time)]
    for a, b in pairwise(bounds):
        rows = _thinned(values[a:b], max(2, round(COLUMNS * (b - a) / len(time)))) + a
        points = zip(axis.x(time[rows]), y(values[rows]), strict=True)
        words += [f"{'ML'[k > 0]}{px:.1f} {py:.1f}" for k, (px, py) in enumerate(points)]
    return "".join(words)


def _thinned(values: Float[np.ndarray, "N"], columns: int) -> np.ndarray:
    """Rows that draw the same curve: the lowest and the highest of every column."""
    if len(values) <= 2 * columns:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), columns + 1).astype(int)
    rows = [(a + int(np.argmin(values[a:b])), a + int(np.argmax(values[a:b]))) for a, b in pairwise(edges)]
    return np.unique(np.array([0, *np.ravel(rows), len(values) - 1]))


def _hover(axis: Axis, lines: Sequence[Line], unit: str) -> str:
    """What the page's script needs to tell the values under the pointer."""
    rows = np.unique(np.linspace(0, len(axis.time) - 1, min(len(axis.time), COLUMNS)).round().astype(int))
    record = {
        "x": [round(float(v), 1) for v in axis.x(axis.time[rows])],
        "t": [round(float(v), 2) for v in axis.time[rows]],
        "f": [int(v) for v in axis.frame[rows]],
        "unit": unit if unit in ("", "°") else f" {unit}",
        "lines": {line.name: [float(f"{v:.3g}") for v in line.values[rows]] for line in lines},
    }
    return escape(json.dumps(record, separators=(",", ":"), ensure_ascii=False), quote=True)
