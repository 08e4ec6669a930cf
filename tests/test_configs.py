"""Configurations: overrides reach the right field, mistakes name themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from model.io.configs import load_config, override


@dataclass(frozen=True)
class Inner:
    steps: int = 3
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)
    pair: tuple[int, int] = (1, 2)


def test_yaml_overrides_nested_values_and_leaves_the_rest(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("inner: {steps: 7, rate: 1}\nlimit: 4\npair: [3, 4]\n")
    base = Outer()
    assert load_config(base, file) == Outer(limit=4, inner=Inner(steps=7, rate=1.0), pair=(3, 4))
    assert base == Outer()


def test_an_empty_file_changes_nothing(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("# nothing\n")
    assert load_config(Outer(), file) == Outer()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"stpes": 1}}, "inner: unknown key 'stpes'; did you mean 'steps'"),
        ({"inner": {"steps": "many"}}, "steps: expected int, got 'many'"),
        ({"inner": {"steps": True}}, "expected int"),
        ({"inner": {"kind": "c"}}, "expected 'a' or 'b'"),
        ({"inner": 3}, "expected Inner"),
        ({"pair": [1]}, "expected 2 values"),
        ({"zzz": 1}, "known: inner, limit, name, pair"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        override(Outer(), values)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "\x00"])
def test_files_that_are_no_mapping_are_refused(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"c\.yaml"):
        load_config(Outer(), file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="not found"):
        load_config(Outer(), tmp_path / "none.yaml")


def test_the_shipped_yaml_states_every_default():
    import dataclasses
    from pathlib import Path

    import yaml

    from tracker.config import TrackConfig

    file = Path(__file__).parents[1] / "configs" / "track.yaml"
    assert load_config(TrackConfig(), file) == TrackConfig()
    assert yaml.safe_load(file.read_text()) == dataclasses.asdict(TrackConfig())
