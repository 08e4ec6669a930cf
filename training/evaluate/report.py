"""What an evaluation found: tables for the eye, JSON and npz for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """Named columns; the first one names the row.

    Attributes:
        title: what the numbers are, with their unit.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def text(self, indent: str = "  ") -> str:
        """The table in aligned columns."""
        cells = [list(self.columns), *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            indent
            + "  ".join(
                cell.ljust(width) if not i else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, *lines])

    def records(self) -> list[dict[str, Cell | None]]:
        """One dictionary per row, as JSON wants it; NaN becomes null."""

        def plain(cell: Cell) -> Cell | None:
            return None if isinstance(cell, float) and not np.isfinite(cell) else cell

        return [dict(zip(self.columns, map(plain, row), strict=True)) for row in self.rows]


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return "–" if not np.isfinite(cell) else f"{cell:.3f}" if abs(cell) < 100 else f"{cell:.1f}"
    return str(cell)


def statistics(errors: Float[np.ndarray, "N"]) -> tuple[float, float, float]:
    """Median, mean and standard deviation; NaN where there is nothing."""
    if not len(errors):
        return float("nan"), float("nan"), float("nan")
    return float(np.median(errors)), float(errors.mean(dtype=np.float64)), float(errors.std(dtype=np.float64))


class Report:
    """Prints tables as they come, and writes them all at the end where a folder is given.

    Raises:
        ValueError: the folder cannot be written to.
    """

    def __init__(self, name: str, out: Path | None) -> None:
        self.name = name
        self.out = out
        self._content: dict[str, object] = {"protocol": name}
        if out is not None:
            try:
                out.mkdir(parents=True, exist_ok=True)
                _replace(out / f"{name}.json", b"{}")
            except OSError as error:
                raise ValueError(f"--out {out}: cannot write there ({error.strerror or error})") from None

    def note(self, key: str, value: object, line: str | None = None) -> None:
        """Remember a setting or count; `line` is printed."""
        self._content[key] = value
        if line is not None:
            print(line, flush=True)

    def table(self, key: str, table: Table) -> None:
        """Print and remember a table."""
        print(table.text(), flush=True)
        self._content[key] = {"title": table.title, "rows": table.records()}

    def arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write ``NAME.npz``."""
        if self.out is not None:
            temporary = self.out / f".{self.name}.{os.getpid()}.npz"
            np.savez_compressed(temporary, **dict(arrays))
            os.replace(temporary, self.out / f"{self.name}.npz")

    def close(self) -> None:
        """Write ``NAME.json``."""
        if self.out is not None:
            _replace(self.out / f"{self.name}.json", json.dumps(self._content, indent=1).encode() + b"\n")
            print(f"written to {self.out}")


def strings(names: Sequence[str]) -> np.ndarray:
    """An array of text that ``allow_pickle=False`` can read."""
    return np.array(list(names), dtype=np.str_)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
