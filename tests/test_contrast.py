"""E_d's reading of contrast at points: no light, no colour, only lines; and where the detail stage starts from it."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.contrast import GAIN, ContrastPoints
from model.deca import DECA, DECAConfig
from model.detail_basis import MAP, BasisDecoder
from model.encoder import Encoder
from training.config import ModelConfig, TrainConfig
from training.detail_start import Material, explained, pairs_of, principal_codes, solve, teach_own
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


def material_with() -> tuple[Material, torch.Tensor]:
    """Photographs, two of a person, whose relief is a linear function of what is read and of the expression."""
    torch.manual_seed(1)
    count = 96
    hidden = torch.randn(count // 2, 4).repeat_interleave(2, 0)  # the person's
    expression = torch.rand(count, 8)
    readings = (hidden @ (torch.randn(4, 256 * 27) / 16)).unflatten(1, (256, 27))
    strengths = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    smooth = torch.nn.functional.interpolate(torch.randn(1, 6, 12, 12), (MAP, MAP), mode="bicubic")[0].flatten(1)
    maps = hidden @ strengths @ smooth[:4] + expression[:, :2] @ smooth[4:]
    material = Material(
        relief=maps.unflatten(1, (MAP, MAP)).half(),
        weight=torch.ones(count, MAP, MAP).half(),
        places=torch.zeros(count, 512).half(),
        readings=readings.half(),
        expression=expression,
        jaw=torch.zeros(count, 3),
        people=np.arange(count) // 2,
        held=np.arange(count) // 2 % 4 == 0,
    )
    return material, hidden


@pytest.fixture(scope="module")
def started(tiny_head: HeadAsset) -> tuple[DECA, Material]:
    sizes = DECAConfig("keypoints", 10, 8, 5, 6, detail_backbone="contrast", decoder="basis", resolution=64)
    deca = DECA(tiny_head, sizes, MAP).eval()
    deca.surface.mask.fill_(1.0)
    material, _ = material_with()
    directions = principal_codes(material, 6)
    learned = torch.from_numpy(~material.held)
    torch.testing.assert_close(directions.codes[learned].std(0), torch.ones(6), atol=1e-3, rtol=0)
    solve(deca, material, directions)
    return deca, material


def test_pairs_are_of_one_person_and_nobody_is_told_of_the_held_out() -> None:
    material, _ = material_with()
    for held in (False, True):
        a, b = pairs_of(material, held)
        assert (material.people[a] == material.people[b]).all() and (material.held[a] == held).all()
        assert (a == b).sum() == (material.held == held).sum() and (a != b).sum() == 2 * (a == b).sum()


def test_the_start_is_the_linear_map_that_there_is(started: tuple[DECA, Material]) -> None:
    """Also for people held out, and from another photograph of the same person in another expression."""
    deca, material = started
    for held in (False, True):
        own, other, mean = explained(deca, material, held)
        assert own > 0.9 and other > 0.9 and mean < 0.5


def test_expression_moves_the_maps_and_the_code_stays_the_persons(started: tuple[DECA, Material]) -> None:
    deca, material = started
    backbone, decoder = deca.detail_encoder.encoder, deca.detail_decoder
    assert isinstance(backbone, ContrastPoints) and isinstance(decoder, BasisDecoder)
    with torch.no_grad():
        read = backbone.words(material.readings.float()).flatten(1)
        codes = deca.detail_encoder.layers(torch.cat([material.places.float(), read], dim=1))
        still = decoder(material.jaw[:1], torch.zeros(1, 8), codes[:1])
        moved = decoder(material.jaw[:1], torch.eye(8)[:1], codes[:1])
    torch.testing.assert_close(codes[::2], codes[1::2], atol=1e-3, rtol=0)  # two photographs of each
    assert (moved - still).abs().mean() > 1e-5


def test_the_small_network_learns_and_is_kept_at_its_best(tiny_head: HeadAsset, started: tuple[DECA, Material]) -> None:
    deca, material = copy.deepcopy(started[0]), started[1]
    directions = principal_codes(material, 6)
    bent = directions.codes + (directions.codes * torch.from_numpy(material.expression[:, :1].numpy())).tanh()
    bent = dataclasses.replace(directions, codes=bent)
    assert isinstance(deca.detail_decoder, BasisDecoder)
    before = copy.deepcopy(deca.detail_decoder.own.state_dict())
    teach_own(deca, material, bent, 200)
    assert any(not torch.equal(before[k], now) for k, now in deca.detail_decoder.own.state_dict().items())
    noise = dataclasses.replace(directions, codes=directions.codes + torch.randn(len(directions.codes), 6) * 3)
    unchanged = copy.deepcopy(started[0])
    assert isinstance(unchanged.detail_decoder, BasisDecoder)
    teach_own(unchanged, material, noise, 49)  # too short to have been judged
    for a, b in zip(before.values(), unchanged.detail_decoder.own.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_sum_of_maps_is_one() -> None:
    decoder = BasisDecoder(8, 4)
    with torch.no_grad():
        decoder.mean.fill_(0.5)
        decoder.basis.zero_()
        decoder.basis[1] = 1.0
        codes = torch.tensor([[0.0, 2.0, 0, 0], [9.0, -1.0, 0, 0]])
        maps = decoder(torch.zeros(2, 3), torch.zeros(2, 8), codes)
    assert maps.shape == (2, 256, 256)
    limit = decoder.limit
    wanted = limit * torch.tanh(torch.tensor([2.5e-3, -0.5e-3]) / limit)
    torch.testing.assert_close(maps.mean((1, 2)), wanted)
    assert maps.std((1, 2)).max() < 1e-8
