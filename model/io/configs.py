"""Configurations: frozen dataclasses whose defaults a YAML file or a list of ``key value`` pairs overrides."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

C = TypeVar("C")


def load_config(base: C, path: str | Path) -> C:
    """The configuration ``base`` with the values of a YAML file put in place of its own.

    Raises:
        ValueError: the file is missing, is no YAML mapping, names an unknown key or gives a value of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"config file not found: {path}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"{path} is not valid YAML: {line}") from None
    if values is None:
        return base
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold 'key: value' lines, got {type(values).__name__}")
    return override(base, values, where=str(path))


def override(base: C, values: Mapping[str, Any], where: str = "config") -> C:
    """``base`` with ``values`` (nested as the dataclasses are) put in; ``where`` names their source in errors.

    Raises:
        ValueError: an unknown key (the nearest name is offered) or a value of the wrong type.
    """
    assert dataclasses.is_dataclass(base) and not isinstance(base, type)
    hints = typing.get_type_hints(type(base))
    changes = {}
    for key, value in values.items():
        if key not in hints:
            raise ValueError(f"{where}: unknown key '{key}'{nearest(str(key), list(hints))}")
        current = getattr(base, key)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            changes[key] = override(current, value, f"{where}: {key}")
        else:
            changes[key] = _converted(value, hints[key], f"{where}: {key}")
    try:
        return dataclasses.replace(base, **changes)
    except ValueError as error:  # from a __post_init__ that checks ranges
        raise ValueError(f"{where}: {error}") from None


def nearest(name: str, names: list[str]) -> str:
    """`` (did you mean 'x'?)`` when one of ``names`` is close, else the list of what there is."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(names))}"


def _converted(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return _converted(value, option, where)
            except ValueError:
                continue
        raise ValueError(f"{where}: expected {_words(hint)}, got {value!r}")
    if origin is Literal:
        if value not in args:
            raise ValueError(
                f"{where}: expected {_words(hint)}, got {value!r}{nearest(str(value), [str(a) for a in args])}"
            )
        return value
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[:1] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        if len(inner) != len(value):
            raise ValueError(f"{where}: expected {len(inner)} values, got {len(value)}")
        return tuple(_converted(v, t, where) for v, t in zip(value, inner, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is type(None) and value is None:
        return None
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise ValueError(f"{where}: expected {_words(hint)}, got {value!r}")


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(a) for a in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_words(a) for a in typing.get_args(hint))
    return "nothing" if hint is type(None) else getattr(hint, "__name__", str(hint))
