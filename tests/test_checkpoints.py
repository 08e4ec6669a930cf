"""Weights: both layouts, there and back; what does not fit is listed; nothing in a file runs."""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from flame_files import write_flame
from safetensors import safe_open
from safetensors.torch import save_file

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.io.assets import load_head
from model.io.checkpoints import (
    PUBLISHED_NAMES,
    load_deca,
    main,
    read_checkpoint,
    save_checkpoint,
)

CONFIG = DECAConfig("mobilenetv2", shape=10, expression=8, albedo=5, detail=16)


@pytest.fixture(scope="module")
def small(tiny_head: HeadAsset) -> DECA:
    torch.manual_seed(0)
    return DECA(tiny_head, CONFIG, 16).eval()


@pytest.fixture(scope="module")
def flame(tiny_head: HeadAsset, tmp_path_factory: pytest.TempPathFactory) -> HeadAsset:
    folder = tmp_path_factory.mktemp("flame")
    write_flame(folder, tiny_head)
    return load_head(folder)


@pytest.fixture(scope="module")
def published(flame: HeadAsset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the published layout, random, with what a training checkpoint adds."""
    torch.manual_seed(1)
    state = DECA(flame, uv_size=8).state_dict()
    content: dict = {
        theirs: {key.split(".", 1)[1]: value for key, value in state.items() if key.startswith(f"{ours}.")}
        for ours, theirs in PUBLISHED_NAMES.items()
    }
    path = tmp_path_factory.mktemp("weights") / "deca_model.tar"
    torch.save(content | {"global_step": 7, "batch_size": 2}, path)
    return path


def test_own_checkpoints_round_trip(small: DECA, tiny_head: HeadAsset, tmp_path: Path) -> None:
    save_checkpoint(small, tmp_path / "w.safetensors")
    loaded = load_deca(tmp_path / "w.safetensors", tiny_head, 16)
    assert loaded.config == CONFIG and not loaded.training
    for key, value in small.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.safetensors"]


def test_files_from_before_a_setting_existed_are_read(small: DECA, tiny_head: HeadAsset, tmp_path: Path) -> None:
    save_checkpoint(small, tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        metadata, state = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    for name in ("gaze", "resolution", "normalised"):
        del config[name]
    save_file(state, tmp_path / "old.safetensors", metadata | {"config": json.dumps(config)})
    assert load_deca(tmp_path / "old.safetensors", tiny_head, 16).config == CONFIG


def test_normalised_codes_become_plain_ones_in_the_published_layout(
    small: DECA, tiny_head: HeadAsset, tmp_path: Path
) -> None:
    deca = DECA(tiny_head, dataclasses.replace(CONFIG, normalised=True), 16).eval()
    deca.load_state_dict(small.state_dict(), strict=False)
    deca.code_mean.normal_()
    deca.code_spread.uniform_(0.5, 2)
    save_checkpoint(deca, tmp_path / "w.safetensors")
    same = load_deca(tmp_path / "w.safetensors", tiny_head, 16)
    assert torch.equal(same.code_spread, deca.code_spread)
    assert main([str(tmp_path / "w.safetensors"), str(tmp_path / "w.tar")]) == 0
    published = torch.load(tmp_path / "w.tar", weights_only=True)
    plain = DECA(tiny_head, CONFIG, 16).eval()
    plain.coarse_encoder.load_state_dict(published["E_flame"])
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = deca.encode_coarse(images), plain.encode_coarse(images)
    torch.testing.assert_close(found.light, expected.light, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.face.pose, expected.face.pose, atol=1e-4, rtol=1e-4)


def test_half_precision_halves_the_file(small: DECA, tiny_head: HeadAsset, tmp_path: Path) -> None:
    save_checkpoint(small, tmp_path / "full.safetensors")
    save_checkpoint(small, tmp_path / "half.safetensors", torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.52 * sizes[0]
    loaded = load_deca(tmp_path / "half.safetensors", tiny_head, 16)
    assert all(value.dtype in (torch.float32, torch.int64) for value in loaded.state_dict().values())
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(loaded.coarse_encoder(images), small.coarse_encoder(images), atol=5e-3, rtol=5e-2)


def test_the_published_layout_loads_and_converts_both_ways(published: Path, flame: HeadAsset, tmp_path: Path) -> None:
    deca = load_deca(published, flame, 8)
    assert deca.config == DECAConfig()
    ours, back = tmp_path / "mine.safetensors", tmp_path / "back.tar"
    assert main([str(published), str(ours)]) == 0
    assert main([str(ours), str(back)]) == 0
    first, last = (torch.load(path, weights_only=True) for path in (published, back))
    for name in PUBLISHED_NAMES.values():
        assert first[name].keys() == last[name].keys()
        assert all(torch.equal(first[name][key], last[name][key]) for key in first[name])
    state = load_deca(ours, flame, 8).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in deca.state_dict().items())


def test_every_name_that_does_not_fit_is_listed(published: Path, flame: HeadAsset, tmp_path: Path) -> None:
    content = torch.load(published, weights_only=True)
    del content["E_flame"]["layers.2.bias"], content["D_detail"]["l1.0.weight"]
    content["E_detail"]["layers.2.bias"] = torch.zeros(7)
    content["D_detail"]["surprise"] = torch.zeros(1)
    torch.save(content, tmp_path / "bad.tar")
    with pytest.raises(ValueError) as error:
        load_deca(tmp_path / "bad.tar", flame, 8)
    for part in (
        "4 of 688 do not fit",
        "coarse_encoder.layers.2.bias is missing",
        "detail_decoder.l1.0.weight is missing",
        "detail_encoder.layers.2.bias has shape (7,), expected (128,)",
        "detail_decoder.surprise is not of these networks",
    ):
        assert part in str(error.value)


def test_weights_of_another_head_are_refused(
    published: Path, tiny_head: HeadAsset, small: DECA, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="trained for flame-2020, the head is tiny"):
        load_deca(published, tiny_head)
    save_checkpoint(small, tmp_path / "w.safetensors")
    wider = dataclasses.replace(tiny_head, shapedirs=np.repeat(tiny_head.shapedirs, 2, -1))
    with pytest.raises(ValueError, match="give 10 shape coefficients, head tiny has 20"):
        load_deca(tmp_path / "w.safetensors", wider)


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_that_runs_a_command_is_refused(flame: HeadAsset, tmp_path: Path) -> None:
    torch.save({"E_flame": Touch(tmp_path / "made"), "E_detail": {}, "D_detail": {}}, tmp_path / "evil.tar")
    (tmp_path / "plain.tar").write_bytes(pickle.dumps(Touch(tmp_path / "made")))
    for name in ("evil.tar", "plain.tar"):
        with pytest.raises(ValueError, match="not a checkpoint that can be read safely") as error:
            load_deca(tmp_path / name, flame)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tar", b"hello", "not a checkpoint"),
        ("x.tar", b"", "not a checkpoint"),
        ("x.safetensors", b"hello", "not a safetensors file"),
    ],
)
def test_a_damaged_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / name)


def test_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.tar")
    with pytest.raises(ValueError, match=r"without E_flame, E_detail, D_detail; .*github"):
        read_checkpoint(tmp_path / "other.tar")
    with pytest.raises(ValueError, match=r"nothing: no such file; give .*the path of a \.safetensors"):
        read_checkpoint("nothing")
    assert main([str(tmp_path / "other.tar"), str(tmp_path / "o.safetensors")]) == 2
    assert "without E_flame" in capsys.readouterr().err
    assert not (tmp_path / "o.safetensors").exists()


def test_an_unknown_suffix(small: DECA, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown suffix '\.pt'; give \.safetensors or \.tar"):
        save_checkpoint(small, tmp_path / "w.pt")
