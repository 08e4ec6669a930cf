"""E_d's reading of contrast at points: no light, no colour, only lines; and where the detail stage starts from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.contrast import GAIN, ContrastPoints
from model.deca import DECA, DECAConfig
from model.encoder import Encoder
from training.config import ModelConfig, TrainConfig
from training.detail_start import Material, principal_codes, set_encoder
from training.stages import build_stage


@pytest.fixture(scope="module")
def backbone() -> ContrastPoints:
    torch.manual_seed(0)
    return ContrastPoints().eval()


def test_plain_skin_has_no_contrast_however_bright(backbone: ContrastPoints) -> None:
    places = torch.rand(1, 5, 2) * 1.6 - 0.8
    assert backbone.readings(torch.full((1, 3, 96, 96), 0.6), places).abs().max() < 1e-4
    face = torch.rand(1, 3, 96, 96) * 0.3 + 0.5
    torch.testing.assert_close(
        backbone.readings(0.5 * face, places), backbone.readings(face, places), atol=1e-3, rtol=1e-3
    )


def test_a_dark_spot_is_read_where_it_is(backbone: ContrastPoints) -> None:
    face = torch.full((1, 3, 224, 224), 0.7)
    face[..., 100:104, 60:64] *= 0.8
    spot = torch.tensor([[[62 / 112 - 1, 102 / 112 - 1], [0.5, 0.5]]])
    read = backbone.readings(face, spot)[0].reshape(2, 9, 3)
    assert read[0, 4, 0] < -0.05 * GAIN  # the middle of nine places, the finest scale
    assert read[0, 4, 0] < read[0, :4].min() and read[1].abs().max() < 1e-3
    # Twice the picture is the same reading: sizes are in shares of it.
    large = torch.nn.functional.interpolate(face, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(backbone.readings(large, spot)[0].reshape(2, 9, 3), read, atol=0.15, rtol=0)


def test_the_trunk_is_not_learned() -> None:
    encoder = Encoder(7, "contrast").train()
    assert not encoder.encoder.trunk.training and encoder.encoder.words.training
    codes = encoder(torch.rand(2, 3, 96, 96))
    assert codes.shape == (2, 7)
    codes.sum().backward()
    learned = {id(parameter) for parameter in encoder.learned()}
    for name, parameter in encoder.named_parameters():
        assert ("trunk" in name) == (id(parameter) not in learned) == (parameter.grad is None), name
    assert len(list(Encoder(7, "mobilenetv2").learned())) == len(list(Encoder(7, "mobilenetv2").parameters()))


def test_the_detail_stage_trains_what_is_learned(tiny_head: HeadAsset) -> None:
    sizes = DECAConfig("keypoints", 10, 8, 5, 16, detail_backbone="contrast", resolution=64)
    config = TrainConfig(model=ModelConfig(backbone="keypoints", detail_backbone="contrast", resolution=64))
    stage = build_stage("detail", DECA(tiny_head, sizes, 64), config)
    names = {name for name, parameter in stage.named_parameters() if parameter.requires_grad}
    assert any("words" in name for name in names) and not any("trunk" in name for name in names)


def test_the_start_is_the_linear_map_that_there_is(tiny_head: HeadAsset) -> None:
    """Photographs whose relief is a linear function of what is read: E_d finds it, also for people held out."""
    torch.manual_seed(1)
    deca = DECA(tiny_head, DECAConfig("keypoints", 10, 8, 5, 4, detail_backbone="contrast", resolution=64), 16).eval()
    count, hidden = 160, torch.randn(160, 4)
    words = torch.randn(4, 256 * 27) / 16
    readings = (hidden @ words).unflatten(1, (256, 27))
    maps = (hidden @ torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])) @ torch.randn(4, 256)).reshape(count, 16, 16)
    material = Material(
        relief=maps.half(),
        weight=torch.ones(count, 16, 16).half(),
        places=torch.zeros(count, 512).half(),
        readings=readings.half(),
        expression=torch.zeros(count, 8),
        jaw=torch.zeros(count, 3),
        held=np.arange(count) % 4 == 0,
    )
    codes = principal_codes(material, 4)
    torch.testing.assert_close(codes[torch.from_numpy(~material.held)].std(0), torch.ones(4), atol=1e-3, rtol=0)
    assert set_encoder(deca, material, codes) > 0.8
    backbone = deca.detail_encoder.encoder
    assert isinstance(backbone, ContrastPoints)
    with torch.no_grad():
        features = torch.cat([material.places.float(), backbone.words(material.readings.float()).flatten(1)], dim=1)
        found = deca.detail_encoder.layers(features)
    held = torch.from_numpy(material.held)
    wrong = (found - codes)[held].square().sum() / (codes[held] - codes[~held].mean(0)).square().sum()
    assert float(wrong) == pytest.approx(1 - set_encoder(deca, material, codes), abs=0.02)
