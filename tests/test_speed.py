"""Faster encoders give the same codes, and leave the DECA that they are made from as it is."""

import importlib.util
from typing import Any

import pytest
import torch

from model.asset import HeadAsset
from model.backbones import BACKBONES, backbone
from model.deca import DECA, DECAConfig
from model.openvino_network import OpenVINONetwork
from model.speed import TorchNetwork, accelerate


@pytest.fixture(scope="module")
def deca(tiny_head: HeadAsset) -> DECA:
    torch.manual_seed(0)
    return DECA(tiny_head, DECAConfig("mobilenetv2", 10, 8, 5, 16), 16).eval()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("half", [False, True])
def test_same_codes(deca: DECA, engine: str, half: bool) -> None:
    before = {key: value.clone() for key, value in deca.state_dict().items()}
    fast = accelerate(deca, engine, half)
    with torch.no_grad():
        for batch in (1, 3):
            images = torch.rand(batch, 3, 224, 224)
            for slow_part, fast_part in zip(deca.encode(images)[:2], fast.encode(images)[:2], strict=True):
                for name, value in vars(slow_part).items():
                    limit = (0.1 if half else 1e-3) * (value.std() + 1e-6)
                    assert getattr(fast_part, name).dtype == torch.float32
                    assert (getattr(fast_part, name) - value).abs().max() <= limit, name
            face, appearance, camera = deca.encode(images)
            slow_map, fast_map = (d.decode(face, appearance, camera).displacement for d in (deca, fast))
            assert fast_map.dtype == torch.float32
            assert (slow_map - fast_map).abs().max() <= (0.1 if half else 1e-3) * slow_map.abs().max()
    assert list(deca.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in deca.state_dict().items())
    assert fast.coarse_encoder is not deca.coarse_encoder
    assert fast.head is deca.head


def test_engines_by_name(deca: DECA) -> None:
    assert not accelerate(deca).training
    with pytest.raises(ValueError, match="engine is 'tensorrt', expected auto, torch or openvino"):
        accelerate(deca, "tensorrt")


def test_openvino_is_named_where_it_is_missing(deca: DECA, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    assert isinstance(accelerate(deca).coarse_encoder, TorchNetwork)
    with pytest.raises(ValueError, match="not installed; pip install openvino"):
        accelerate(deca, "openvino")


def test_by_itself_openvino_runs_only_what_sees_every_frame(deca: DECA) -> None:
    fast = accelerate(deca)
    assert isinstance(fast.coarse_encoder, OpenVINONetwork)
    assert isinstance(fast.detail_encoder, TorchNetwork)


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"resnet34", "resnet50"}))
def test_every_backbone_is_translated_rightly(name: str) -> None:
    """Whole batches of any size: what is wrong in a translation shows in the features themselves."""
    torch.manual_seed(0)
    slow = backbone(name).eval()
    fast = OpenVINONetwork(slow, [torch.zeros(2, 3, 64, 64)], half=False)
    with torch.no_grad():
        for batch in (1, 5):
            images = torch.rand(batch, 3, 64, 64)
            torch.testing.assert_close(fast(images), slow(images), rtol=1e-4, atol=1e-4 * float(slow(images).std()))
