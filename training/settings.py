"""Settings as words of a command line: dotted names and values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import yaml

from model.io.configs import nearest, override

C = TypeVar("C")


def with_settings(config: C, words: Sequence[str]) -> C:
    """``config`` with ``KEY VALUE`` pairs put in; a tuple's values stand with commas between them.

    Raises:
        ValueError: a word is left over, a key is unknown (the nearest name is offered), a value is of another type.
    """
    if len(words) % 2:
        raise ValueError(
            f"settings come as KEY VALUE, and '{words[-1]}' has no value (or is a folder that is not there)"
        )
    for key, text in zip(words[::2], words[1::2], strict=True):
        config = _set(config, key, text)
    return config


def _set(config: C, key: str, text: str) -> C:
    record: Any = config
    names = key.split(".")
    for depth, name in enumerate(names):
        if not dataclasses.is_dataclass(record):
            raise ValueError(f"setting {key}: '{'.'.join(names[:depth])}' has no parts")
        fields = [field.name for field in dataclasses.fields(record)]
        if name not in fields:
            raise ValueError(f"setting {key}: unknown '{name}'{nearest(name, fields)}")
        hint = typing.get_type_hints(type(record))[name]
        record = getattr(record, name)
    if dataclasses.is_dataclass(record):
        known = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(record))
        raise ValueError(f"setting {key}: is a group; set one of {known}")
    value: Any = _value(text, hint)
    for name in reversed(names):
        value = {name: value}
    return override(config, value, where="settings")


def _value(text: str, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin is tuple:
        return [_value(part, typing.get_args(hint)[0]) for part in text.split(",") if part]
    if hint is str or origin is Literal:
        return text
    if hint is float:  # YAML takes 1e-4 for a word
        try:
            return float(text)
        except ValueError:
            return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
