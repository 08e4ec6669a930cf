"""Cumulative error curves, as benchmarks of scans and of landmarks show them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

POINTS = 501


def cumulative(errors: Float[np.ndarray, "N"], limit: float) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Errors from 0 to `limit`, and which percentage of all errors is no larger."""
    at = np.linspace(0, limit, POINTS)
    return at, 100 * np.searchsorted(np.sort(errors), at, side="right") / max(len(errors), 1)


def save_curves(
    path: str | Path, errors: Mapping[str, Float[np.ndarray, "_"]], limit: float, axis: str, title: str = ""
) -> None:
    """Draw one curve per name into a PNG; it appears under its name only when it is complete.

    Args:
        limit: the largest error shown.
        axis: what the errors are, with their unit.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("curves are drawn with matplotlib; install it, e.g. pip install 'matplotlib>=3.8'") from None
    figure = Figure(figsize=(6.4, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(errors.items()):
        at, share = cumulative(values, limit)
        label = f"{name}: median {np.median(values):.2f}, mean {values.mean():.2f}" if len(values) else f"{name}: none"
        axes.plot(at, share, label=label, linewidth=1.8, linestyle=("-", "--", "-.", ":")[number // 10 % 4])
    axes.set(xlim=(0, limit), ylim=(0, 100), xlabel=axis, ylabel="percentage", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)
