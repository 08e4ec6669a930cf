"""Skin tones from colours, groups from files, intervals of means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.parsing import Part
from training.evaluate.__main__ import PROTOCOLS, main
from training.evaluate.annotations import Annotated
from training.evaluate.skin import (
    CLASSES,
    SIDE,
    UNKNOWN,
    class_of,
    interval,
    rate,
    read_groups,
    skin_angle,
    spread,
    typology_angle,
)

LIGHT, DARK = np.array([219, 174, 152]) / 255, np.array([92, 63, 48]) / 255  # docs/albedo.md: L* 75 and 29


def parser(skin: bool):
    """A parser that calls everything skin, or hair."""

    def parse(images: torch.Tensor) -> torch.Tensor:
        share = torch.zeros(len(images), len(Part), *images.shape[-2:])
        share[:, Part.SKIN if skin else Part.HAIR] = 1
        return share

    return parse


def picture(colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to((255 * colour).round().astype(np.uint8), (200, 200, 3)).copy()


POINTS = np.stack([np.linspace(60, 140, 68), np.linspace(50, 150, 68)], axis=1)


def test_darker_colours_have_smaller_angles():
    """From white to black; CIELAB of sRGB 0.5 grey is L* 53.4, and a colour of L* 50 has angle 0."""
    angles = [typology_angle(LIGHT * share) for share in np.linspace(1, 0.1, 10)]
    assert (np.diff(angles) < 0).all()
    assert typology_angle(LIGHT) > 41 and typology_angle(DARK) < -30
    level = 0.4663  # sRGB of L* 50
    assert abs(typology_angle(np.array([level, level, level - 0.1]))) < 10


def test_classes_cover_all_angles():
    names = [class_of(angle) for angle in np.linspace(90, -90, 721)]
    assert list(dict.fromkeys(names)) == [name for name, _ in CLASSES]
    assert class_of(55.0) == "very light" and class_of(54.9) == "light" and class_of(-30.1) == "dark"
    assert class_of(float("nan")) == UNKNOWN


def test_the_skin_of_a_picture_is_measured():
    assert skin_angle(picture(LIGHT), POINTS, parser(True)) == pytest.approx(typology_angle(LIGHT), abs=1)
    assert np.isnan(skin_angle(picture(LIGHT), POINTS, parser(False)))
    assert np.isnan(skin_angle(picture(np.full(3, 0.5)), POINTS, parser(True)))  # black and white
    assert SIDE**2 > 200


def test_groups_of_a_file_take_the_place_of_tones(tmp_path):
    from tracker.image import write_image

    write_image(tmp_path / "a.png", picture(LIGHT))
    write_image(tmp_path / "b.png", picture(DARK))
    entries = [Annotated(tmp_path / name, "set", POINTS) for name in ("a.png", "b.png")]
    assert [r.group for r in rate(entries, parser(True), None)] == [class_of(typology_angle(LIGHT)), "dark"]
    (tmp_path / "ages.tsv").write_text("a.png\tyoung\n")
    groups = read_groups(tmp_path / "ages.tsv")
    assert [r.group for r in rate(entries, parser(True), groups)] == ["young", "not in the list"]
    (tmp_path / "bad.tsv").write_text("a.png young\n")
    with pytest.raises(ValueError, match="line 1 has 1 columns"):
        read_groups(tmp_path / "bad.tsv")
    with pytest.raises(ValueError, match="cannot be read"):
        read_groups(tmp_path / "none.tsv")


def test_the_interval_holds_the_mean_and_narrows():
    values = np.random.default_rng(0).normal(3, 1, 400)
    (low, high), (wide_low, wide_high) = interval(values), interval(values[:25])
    assert low < values.mean() < high and wide_low < values[:25].mean() < wide_high
    assert high - low == pytest.approx(4 / 20, rel=0.15) and wide_high - wide_low > 2 * (high - low)
    assert np.isnan(interval(values[:1])).all()


def test_a_limit_is_spread_over_the_set():
    entries = [Annotated(Path(f"{i}"), "set", POINTS) for i in range(10)]
    assert [entry.path.name for entry in spread(entries, 4)] == ["0", "3", "6", "9"]
    assert spread(entries, None) == entries
    with pytest.raises(ValueError, match="at least 1"):
        spread(entries, 0)


def test_it_is_a_protocol(capsys):
    assert "skin" in PROTOCOLS
    with pytest.raises(ValueError, match="no such folder"):
        main(["skin", "no-such-folder", "--fit"])
