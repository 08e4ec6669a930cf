"""The report as one HTML file: everything inside, nothing fetched."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from tracker.report.chart import Axis, Line, data_url, expression_map, line_chart
from tracker.report.measures import Jitter, Stretch, curves, cuts, doubtful, gaps, jitter, shake
from tracker.report.sheet import Picture
from tracker.track import Track

_SIGMA_LIMIT = 3.0
"""Full colour of the map of codes without a range, standard deviations."""
_NAMED = 12
"""Stretches that are listed."""


@dataclass(frozen=True)
class FaceReport:
    """What the page shows of one face: its rows, those before smoothing (None: not at hand), the contact sheet."""

    track: Track
    raw: Track | None
    sheet: Sequence[Picture]


def write_report(path: Path, track: Track, faces: Sequence[FaceReport], source: str) -> None:
    """Write the page under its name only when it is whole.

    Args:
        source: what the report was made from, for the reader.

    Raises:
        ValueError: it cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(html(track, faces, source), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)


def html(track: Track, faces: Sequence[FaceReport], source: str) -> str:
    """The page."""
    files = resources.files("tracker.report")
    style, script = (files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    name = escape(track.video or source)
    frames = int(track.frame.max() - track.frame.min()) + 1
    seconds = float(track.time.max() - track.time.min()) + 1 / track.fps
    shots = int(track.shot.max()) + 1
    facts = [
        f"{track.size[0]}×{track.size[1]}", f"{track.fps:.6g} frames/s", f"{frames} frames tracked", _clock(seconds),
        f"{shots} shot{'s' * (shots != 1)}", f"{len(faces)} face{'s' * (len(faces) != 1)}", escape(track.head),
    ]  # fmt: skip
    body = "".join(_face(face, cuts(track)) for face in faces)
    index = ""
    if len(faces) > 1:
        links = "".join(f'<a href="#face{f.track.face[0]}">face {f.track.face[0]}</a>' for f in faces)
        index = f"<nav>{links}</nav>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{name}: track report</title>'
        f"<style>{style}</style></head>"
        f"<body><header><h1>{name}</h1><p>{' · '.join(facts)}</p>{index}</header><main>{body}</main>"
        f"<footer>Made by decatrack from {escape(source)}.</footer>"
        f"<script>{script}</script></body></html>"
    )


def _face(face: FaceReport, all_cuts: np.ndarray) -> str:
    track = face.track
    lost, weak = gaps(track), doubtful(track)
    inside = all_cuts[(all_cuts > track.time[0]) & (all_cuts <= track.time[-1])]
    axis = Axis(track.time.astype(np.float64), track.frame.astype(np.float64), lost, inside)
    angles = curves(track)
    names = list(track.expression_names) or [f"ψ {k + 1}" for k in range(track.expression.shape[1])]
    limit = 1.0 if track.expression_range else _SIGMA_LIMIT
    turn, gaze, jaw = angles.turn, angles.gaze, angles.jaw
    charts = [
        expression_map(axis, names, track.expression.astype(np.float64), limit),
        line_chart("Jaw", "°", axis, [Line("opening", jaw[:, 0]), Line("to the subject's left", jaw[:, 1])]),
        line_chart(
            "Head", "°", axis,
            [
                Line("yaw, to the subject's left", turn[:, 0]), Line("pitch, down", turn[:, 1]),
                Line("roll, to the subject's right", turn[:, 2]),
            ],
        ),
        line_chart(
            "Gaze in the head", "°", axis, [Line("to the subject's left", gaze[:, 0]), Line("down", gaze[:, 1])]
        ),
        line_chart(
            "Confidence", "", axis, [Line("confidence", track.confidence.astype(np.float64))],
            height=100.0, limits=(0.0, 1.0),
        ),
    ]  # fmt: skip
    shaking = [Line("in this track", shake(track))]
    if face.raw is not None:
        shaking = [Line("after smoothing", shake(track)), Line("before", shake(face.raw))]
    charts.append(line_chart("Shake of the landmarks", "px per frame²", axis, shaking))
    number = int(track.face[0])
    return (
        f'<section id="face{number}"><h2>Face {number}</h2>{_tiles(track, angles.turn, angles.jaw, lost)}'
        f"{_worth_a_look(lost, weak, inside)}{_sheet(face)}{''.join(charts)}"
        f"{_jitter(jitter(track, face.raw))}</section>"
    )


def _tiles(track: Track, turn: np.ndarray, jaw: np.ndarray, lost: Sequence[Stretch]) -> str:
    start, end = float(track.time[0]), float(track.time[-1]) + 1 / track.fps
    seen = track.valid
    tiles = [
        ("on screen", f"{_clock(start)}–{_clock(end)}", f"frames {track.frame[0]}–{track.frame[-1]}"),
        ("seen", f"{100 * seen.mean():.1f} %", f"{len(lost)} gap{'s' * (len(lost) != 1)}" if lost else "no gaps"),
        ("confidence", f"{np.median(track.confidence[seen]) if seen.any() else 0:.2f}", "median"),
        ("turn", f"{np.abs(turn[:, 0]).max():.0f}°", "largest yaw"),
        ("jaw", f"{jaw[:, 0].max():.0f}°", "widest opening"),
    ]
    cells = "".join(f"<div><span>{a}</span><b>{b}</b><small>{c}</small></div>" for a, b, c in tiles)
    return f'<div class="tiles">{cells}</div>'


def _worth_a_look(lost: Sequence[Stretch], weak: Sequence[Stretch], at: np.ndarray) -> str:
    notes = [(s.first, f"{_frames(s)} not seen for {s.seconds:.2f} s: the head is predicted") for s in lost]
    notes += [(s.first, f"{_frames(s)} seen with low confidence") for s in weak]
    listed = [text for _, text in sorted(notes)]
    if len(listed) > _NAMED:
        listed = [*listed[:_NAMED], f"and {len(listed) - _NAMED} more"]
    if len(at):
        times = ", ".join(_clock(float(t), fine=True) for t in at[:_NAMED]) + (" …" if len(at) > _NAMED else "")
        listed.append(f"cuts at {times}")
    if not listed:
        return '<p class="good">Seen in every frame, in one shot; nothing stands out.</p>'
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in listed)}</ul>'


def _sheet(face: FaceReport) -> str:
    track = face.track
    cards = []
    for picture in face.sheet:
        row = picture.row
        images = [image for image in (picture.filmed, picture.tracked) if image is not None]
        tags = "".join(f'<img src="{data_url(image, ".jpg", 82)}" alt="">' for image in images)
        unsure = "" if track.valid[row] else " · not seen"
        cards.append(
            f'<figure class="card{" pair" if len(images) > 1 else ""}">{tags}<figcaption>frame {track.frame[row]} · '
            f"{_clock(float(track.time[row]), fine=True)}{unsure}</figcaption></figure>"
        )
    return f'<div class="sheet">{"".join(cards)}</div>' if cards else ""


def _jitter(rows: Sequence[Jitter]) -> str:
    known = any(math.isfinite(row.before) for row in rows)
    head = "<th>before smoothing</th><th>after</th><th></th>" if known else "<th>in this track</th>"
    largest = [max(v for v in (row.before, row.after, 1e-12) if math.isfinite(v)) for row in rows]
    lines = []
    for row, most in zip(rows, largest, strict=True):
        unit = escape(row.unit if row.unit in ("", "°") else f" {row.unit}")
        cells = f"<td>{_figure(row.after)}{unit}</td>"
        if known:
            ratio = row.after / row.before if math.isfinite(row.before) and row.before > 0 else math.nan
            bar = f'<span class="was"></span><span class="is" style="width:{100 * row.after / most:.0f}%"></span>'
            share = f"{100 * ratio:.0f} %" if math.isfinite(ratio) else ""
            cells = f"<td>{_figure(row.before)}{unit}</td>{cells}<td><div class='bar'>{bar}</div>{share}</td>"
        lines.append(f"<tr><th>{escape(row.name)}</th>{cells}</tr>")
    note = (
        "Noise from frame to frame (standard deviation of what differences of 4th order leave; blinks and quick speech "
        "leave a little too). "
    )
    if not known:
        note += (
            "The track before smoothing is not kept in params.npz, so nothing can be compared here: "
            "<code>track VIDEO --report DIR</code> compares the two."
        )
    return (
        f"<figure><figcaption><b>Jitter</b></figcaption><table><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table><p class='note'>{note}</p></figure>"
    )


def _figure(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "–"


def _frames(stretch: Stretch) -> str:
    if stretch.first == stretch.last:
        return f"frame {stretch.first}"
    return f"frames {stretch.first}–{stretch.last}"


def _clock(seconds: float, fine: bool = False) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}" if fine else f"{int(minutes)}:{rest:04.1f}"
