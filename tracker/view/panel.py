"""What the page writes beside the head: bars of the expression, and the frame's parameters to copy. Plain HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float

from tracker.track import Track

_STYLE = (
    "<style>"
    ".dt{font:11px/15px system-ui,sans-serif;padding:0 12px 8px;color:var(--mantine-color-text)}"
    ".dt .r{display:grid;grid-template-columns:7.6em 1fr 1fr;gap:0 6px;align-items:center;height:15px}"
    ".dt .n{text-align:right;white-space:nowrap;opacity:.85;overflow:hidden;text-overflow:ellipsis}"
    ".dt .b{position:relative;height:9px;border-radius:2px;background:rgba(128,134,150,.22)}"
    ".dt .w{grid-column:2/4}"
    ".dt .b i{position:absolute;top:0;bottom:0;border-radius:2px;background:#3b82d6}"
    ".dt .b.q i{background:#e08a2e}"
    ".dt .b em{position:absolute;right:3px;top:-3px;font-style:normal;font-size:9px;opacity:.8}"
    ".dt .h{opacity:.6;padding:6px 0 2px;text-transform:uppercase;font-size:9px;letter-spacing:.08em}"
    "</style>"
)
_GROUPS = (
    ("brow", "Brows"), ("eye", "Eyes"), ("cheek", "Cheeks and nose"), ("nose", "Cheeks and nose"), ("jaw", "Jaw"),
    ("mouth", "Mouth"), ("tongue", "Mouth"),
)  # fmt: skip
_JAW_OPEN = 0.5
"""Rotation of the jaw (rad) at which its bar is full."""


def bars(names: Sequence[str], values: Float[np.ndarray, "E"], jaw: Float[np.ndarray, "3"]) -> str:
    """Every unit by its name, left and right side by side as on the subject's face seen in a mirror of words: L, R.

    Args:
        names: of the units; empty for codes in standard deviations, which are drawn to both sides of 0.
        values: [0, 1], or standard deviations where there are no names.
        jaw: axis-angle, rad.
    """
    opening = _row("opening", [_bar(float(jaw[0]) / _JAW_OPEN, f"{np.rad2deg(jaw[0]):.0f}°")])
    if not names:
        rows = [_row(f"ψ {k + 1}", [_signed(float(v))]) for k, v in enumerate(values)]
        return (
            f'{_STYLE}<div class="dt" id="bars"><div class="h">Jaw</div>{opening}<div class="h">Expression, σ</div>'
            + ("".join(rows) + "</div>")
        )
    shown: dict[str, list[str]] = {}
    for name, cells in _paired(names, values):
        group = next((title for start, title in _GROUPS if name.startswith(start)), "Others")
        shown.setdefault(group, []).append(_row(_short(name), cells))
    shown.setdefault("Jaw", []).insert(0, opening)
    body = "".join(f'<div class="h">{title}</div>{"".join(rows)}' for title, rows in shown.items())
    return f'{_STYLE}<div class="dt" id="bars">{body}</div>'


def _paired(names: Sequence[str], values: Float[np.ndarray, "E"]) -> list[tuple[str, list[str]]]:
    """Units with their bars; what has a left and a right is one row."""
    value = {name: float(v) for name, v in zip(names, values, strict=True)}
    rows: list[tuple[str, list[str]]] = []
    for name in names:
        stem = re.sub("(Left|Right)$", "", name)
        pair = (f"{stem}Left", f"{stem}Right")
        if stem in ("jaw", "mouth") or not all(side in value for side in pair):
            rows.append((name, [_bar(value[name], f"{value[name]:.2f}")]))
        elif name == pair[0]:
            rows.append(
                (
                    stem,
                    [_bar(value[side], f"{letter} {value[side]:.2f}") for side, letter in zip(pair, "LR", strict=True)],
                )
            )
    return rows


def _short(name: str) -> str:
    """Without the group's word, which stands above: ``browInnerUp`` is ``innerUp``."""
    short = re.sub("^(brow|eye|mouth|jaw)(?=[A-Z])", "", name)
    return short[0].lower() + short[1:]


def _row(name: str, cells: Sequence[str]) -> str:
    wide = len(cells) == 1
    drawn = [cell.replace('class="b', 'class="b w', 1) if wide else cell for cell in cells]
    return f'<div class="r"><span class="n">{escape(name)}</span>{"".join(drawn)}</div>'


def _bar(share: float, text: str) -> str:
    width = 100 * min(max(share, 0.0), 1.0)
    return f'<span class="b"><i style="left:0;width:{width:.0f}%"></i><em>{text}</em></span>'


def _signed(value: float) -> str:
    half = 50 * min(abs(value) / 3.0, 1.0)
    left = 50 - half if value < 0 else 50
    kind = "b q" if value < 0 else "b"
    drawn = f'<i style="left:{left:.0f}%;width:{half:.0f}%"></i>'
    return f'<span class="{kind}">{drawn}<em>{value:+.2f}</em></span>'


def frame_json(track: Track, row: int) -> str:
    """One row of a track as JSON, in the units of ``params.npz``."""
    record: dict = {
        "head": track.head,
        "video": track.video,
        "face": int(track.face[row]),
        "frame": int(track.frame[row]),
        "time": round(float(track.time[row]), 4),
        "valid": bool(track.valid[row]),
        "confidence": round(float(track.confidence[row]), 4),
    }
    names = ("shape", "expression", "pose", "neck", "jaw", "eyes", "camera", "albedo", "light", "detail")
    for name in names:
        column = getattr(track, name)
        if column is None:
            continue
        values = [float(f"{v:.6g}") for v in np.asarray(column[row], float).reshape(-1)]
        if name == "expression" and track.expression_names:
            record[name] = dict(zip(track.expression_names, values, strict=True))
        else:
            record[name] = values
    return json.dumps(record, indent=1)


def frame_python(track: Track, row: int) -> str:
    """The same as Python that makes `model.params.FaceParams` and `Camera` of it."""
    record = json.loads(frame_json(track, row))
    if track.expression_names:
        record["expression"] = list(record["expression"].values())
    lines = [f"# {track.video}, face {record['face']}, frame {record['frame']}, {record['time']} s; {track.head}"]
    lines += ["import torch", "from model.params import Camera, FaceParams", "", "face = FaceParams("]
    lines += [
        f"    {name}=torch.tensor({record[name]})," for name in ("shape", "expression", "pose", "neck", "jaw", "eyes")
    ]
    s, tx, ty = record["camera"]
    lines += [")", f"camera = Camera(s=torch.tensor({s}), t=torch.tensor([{tx}, {ty}]))"]
    return "\n".join(lines) + "\n"


def copying(title: str, text: str) -> str:
    """A text with a button that copies it; works without a secure context too."""
    button = (
        "navigator.clipboard&&window.isSecureContext?navigator.clipboard.writeText(t.value):"
        "(t.select(),document.execCommand('copy'));this.textContent='Copied'"
    )
    style = "font:11px/1.35 ui-monospace,monospace;width:100%;height:11em;resize:vertical;box-sizing:border-box"
    colours = "background:transparent;color:inherit;border:1px solid rgba(128,134,150,.5);border-radius:4px"
    return (
        f'<div style="padding:0 2px 12px"><button type="button" style="{colours};padding:4px 12px;cursor:pointer" '
        f"onclick=\"const t=this.parentElement.querySelector('textarea');{button}\">Copy {escape(title)}</button>"
        f'<textarea readonly aria-label="{escape(title)}" style="{style};{colours};margin-top:6px;padding:6px">'
        f"{escape(text)}</textarea></div>"
    )
