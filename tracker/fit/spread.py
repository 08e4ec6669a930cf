"""Work on parts of the rows of a face: one after another, side by side, or elsewhere; the answers are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Int

Work = Callable[[Int[np.ndarray, "_"]], Any]
"""Done on some rows, of which alone the answer depends."""
Spread = Callable[[Work, Sequence[Int[np.ndarray, "_"]]], list[Any]]
"""Does work on all parts; the answers in order."""


def in_turn(work: Work, parts: Sequence[Int[np.ndarray, "_"]]) -> list[Any]:
    """One part after another."""
    return [work(part) for part in parts]


def side_by_side(threads: int) -> Spread:
    """In so many threads."""

    def spread(work: Work, parts: Sequence[Int[np.ndarray, "_"]]) -> list[Any]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, parts))

    return spread


def parts_of(rows: int, size: int) -> list[Int[np.ndarray, "_"]]:
    """Rows 0 to `rows` in parts of at most `size`."""
    return [np.arange(start, min(start + size, rows)) for start in range(0, rows, size)]
