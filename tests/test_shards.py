"""Shards of faces: what is written is read again, in whatever order, and damage is said."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import faces
import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from training.data import shards as module
from training.data.sample import Sample
from training.data.shards import Shards, ShardWriter


def assert_same(a: Sample, b: Sample) -> None:
    assert (a.key, a.identity, a.image, a.mask) == (b.key, b.identity, b.image, b.mask)
    np.testing.assert_array_equal(a.landmarks, b.landmarks)
    np.testing.assert_array_equal(a.visible, b.visible)
    assert (a.labels is None) == (b.labels is None)
    if a.labels is not None and b.labels is not None:
        for field in ("albedo", "light", "known", "lit"):
            torch.testing.assert_close(getattr(a.labels, field), getattr(b.labels, field), rtol=0, atol=0)
        for x, y in ((a.labels.face, b.labels.face), (a.labels.camera, b.labels.camera)):
            assert vars(x).keys() == vars(y).keys()
            for name in vars(x):
                torch.testing.assert_close(getattr(x, name), getattr(y, name), rtol=0, atol=0)


@pytest.fixture
def samples(tiny_head: HeadAsset) -> list[Sample]:
    random = np.random.default_rng(0)
    kinds = [
        faces.labelled(0, tiny_head, "anna"),
        faces.plain("b", "bert", seed=1),
        faces.plain("c", "Zoë/1", seed=2, mask=faces.png(np.zeros((9, 9), np.uint8))),
        faces.labelled(3, tiny_head, "anna"),
        faces.plain("e", "bert", seed=4),
    ]
    hidden = [Sample(s.key, s.identity, s.image, s.landmarks, random.random(68) < 0.5, s.mask, s.labels) for s in kinds]
    return hidden


def test_faces_come_back_as_they_were(samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACES", 2)
    shards = Shards(faces.write(tmp_path / "s", samples))
    assert len(shards) == 5 and len(shards.files) == 3
    for read in (shards, pickle.loads(pickle.dumps(shards))):
        for index in (4, 0, 2, 3, 1, -1):
            assert_same(read[index], samples[index])
    for a, b in zip(shards[1:4], samples[1:4], strict=True):
        assert_same(a, b)
    assert shards.keys.tolist() == [s.key for s in samples]
    assert shards.identities.tolist() == ["anna", "bert", "Zoë/1", "anna", "bert"]
    np.testing.assert_allclose(shards.sides, [np.ptp(s.landmarks, axis=0).mean() for s in samples], rtol=1e-6)
    assert shards.sizes == {"shape": 10, "expression": 8, "albedo": samples[0].labels.albedo.shape[0]}
    with pytest.raises(IndexError):
        shards[5]


def test_a_folder_is_added_to_and_keeps_what_it_had(samples: list[Sample], tmp_path: Path) -> None:
    folder = faces.write(tmp_path / "s", samples[:2])
    before = {path.name: path.read_bytes() for path in folder.glob("*.arrow")}
    with ShardWriter(folder, "tiny") as writer:
        assert samples[0].key in writer and samples[2].key not in writer and len(writer) == 2
        for sample in samples[2:]:
            writer.write(sample)
        assert writer.waiting == 3
    assert all((folder / name).read_bytes() == data for name, data in before.items())
    shards = Shards(folder)
    for index, sample in enumerate(samples):
        assert_same(shards[index], sample)
    with ShardWriter(folder, "tiny") as writer, pytest.raises(ValueError, match="there is a face 'b' already"):
        writer.write(samples[1])


def test_a_file_appears_when_it_is_whole_and_an_exception_loses_nothing(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "s", "tiny") as writer:
        writer.write(samples[0])
        assert not list((tmp_path / "s").glob("*.arrow"))
        raise RuntimeError("the work stops here")
    assert_same(Shards(tmp_path / "s")[0], samples[0])
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["faces-00000.arrow", "meta.json"]


def test_labels_of_another_length_are_refused(samples: list[Sample], tmp_path: Path) -> None:
    other = faces.plain("x", "x", codes=faces.labels(0, albedo=77))
    with ShardWriter(tmp_path / "s", "tiny") as writer:
        writer.write(samples[0])
        with pytest.raises(ValueError, match="'x' has codes of"):
            writer.write(other)
    assert len(Shards(tmp_path / "s")) == 1


def test_what_is_no_shards_is_said(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        Shards(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no meta\.json"):
        Shards(tmp_path / "empty")
    ShardWriter(tmp_path / "none", "tiny").close()
    with pytest.raises(ValueError, match="holds no faces"):
        Shards(tmp_path / "none")
    folder = faces.write(tmp_path / "s", samples)
    with pytest.raises(ValueError, match="for head 'tiny', not 'flame'"):
        Shards(folder, "flame")
    with pytest.raises(ValueError, match="for head 'tiny', not 'flame'"):
        ShardWriter(folder, "flame")
    with ShardWriter(tmp_path / "versions", "tiny", "abc") as writer:
        writer.write(samples[0])
    assert len(Shards(tmp_path / "versions", "tiny", "abc")) == len(Shards(tmp_path / "versions", "tiny")) == 1
    assert len(Shards(folder, "tiny", "abc")) == 5  # does not say which version
    with pytest.raises(ValueError, match="another version of head 'tiny'"):
        Shards(tmp_path / "versions", "tiny", "def")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "schema": "decatrack-shards/9"}))
    with pytest.raises(ValueError, match="decatrack-shards/9"):
        Shards(folder)
    (folder / "meta.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Shards(folder)


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_damaged_file_is_named(samples: list[Sample], tmp_path: Path, keep: float | int) -> None:
    folder = faces.write(tmp_path / "s", samples)
    path = folder / "faces-00000.arrow"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(ValueError, match=r"faces-00000\.arrow: damaged"):
        Shards(folder)
