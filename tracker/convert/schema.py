"""Schemas of ``params.npz``, and the steps from one to the next.

A schema is named ``decatrack/N``. Within one, keys may be added that older readers ignore; a key that is renamed,
reshaped or given another meaning or unit makes a new schema. Whoever raises `tracker.track.SCHEMA` adds one `Step` to
`STEPS`, from the schema before to the new one, with a test of it; nothing else has to be done for old files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tracker.track import SCHEMA

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Step:
    """From one schema to the next.

    Attributes:
        old, new: schemas.
        change: arrays of the old schema to those of the new one; it raises ValueError where a fact is missing, and
            need not touch the key ``schema``.
    """

    old: str
    new: str
    change: Callable[[Arrays], Arrays]


STEPS: tuple[Step, ...] = ()
"""All steps there are. None yet: decatrack/1 is the first schema."""


def upgraded(arrays: Arrays, where: str, steps: Sequence[Step] = STEPS, wanted: str = SCHEMA) -> dict[str, np.ndarray]:
    """The arrays of a file, brought to the wanted schema step by step.

    Args:
        where: how errors name the file.

    Raises:
        ValueError: the file names no schema, or one from which no steps lead here (a newer version's, for instance).
    """
    if "schema" not in arrays:
        raise ValueError(f"{where}: names no schema; it is not a params.npz")
    schema, seen = str(arrays["schema"]), set()
    start, result = schema, dict(arrays)
    while schema != wanted:
        step = next((step for step in steps if step.old == schema and schema not in seen), None)
        if step is None:
            raise ValueError(
                f"{where}: schema is {start}, and nothing leads from {schema} to {wanted}; {_advice(start)}"
            )
        seen.add(schema)
        result, schema = dict(step.change(result)), step.new
        result["schema"] = np.array(schema)
    return result


def _advice(schema: str) -> str:
    name, _, number = schema.partition("/")
    newer = name == SCHEMA.partition("/")[0] and number.isdigit() and int(number) > int(SCHEMA.partition("/")[2])
    return "install a newer decatrack" if newer else "make it again with: track VIDEO --out FILE.npz"
