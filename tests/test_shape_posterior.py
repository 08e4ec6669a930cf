"""Codes drawn to the mean: the best linear guess where the truth is known, and the same numbers out of the network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from training.shape_posterior import draw, posterior_map, spread_of

DRAW = np.random.default_rng(5)


def people_and_codes(count: int = 4000, photos: int = 3) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Who, codes as seen, codes as they are."""
    own = torch.from_numpy(DRAW.normal(0, (2.0, 1.0, 0.3), (count, 3)))
    people = np.repeat(np.arange(count), photos)
    true = own[torch.from_numpy(people)] + torch.tensor([1.0, 0, -1])
    turn = torch.linalg.qr(torch.from_numpy(DRAW.normal(size=(3, 3))))[0]
    noise = torch.from_numpy(DRAW.normal(0, (0.5, 1.0, 1.5), true.shape)) @ turn
    return people, true + noise, true


def test_spread_is_that_of_the_people_and_of_the_noise() -> None:
    people, seen, true = people_and_codes()
    spread = spread_of(seen, people)
    torch.testing.assert_close(spread.within, torch.cov((seen - true).T), atol=0.08, rtol=0.0)
    torch.testing.assert_close(spread.between, torch.cov(true.T), atol=0.2, rtol=0.0)
    assert spread.ratio == pytest.approx(float((seen - true).var(0).sum() / true.var(0).sum()), rel=0.1)


def test_no_other_linear_guess_is_closer() -> None:
    people, seen, true = people_and_codes()
    matrix, offset = posterior_map(spread_of(seen, people))
    drawn = seen @ matrix.T + offset
    ones = torch.ones(len(seen), 1, dtype=seen.dtype)
    best = torch.cat([seen, ones], 1) @ torch.linalg.lstsq(torch.cat([seen, ones], 1), true).solution
    error, least, before = (float((guess - true).square().mean()) for guess in (drawn, best, seen))
    assert error < 1.02 * least and error < 0.6 * before
    assert spread_of(drawn, people).ratio < spread_of(seen, people).ratio


def test_people_with_one_photograph_say_nothing() -> None:
    people, seen, _ = people_and_codes(200)
    alone = np.concatenate([people, [1000, 1001]])
    with_them = spread_of(torch.cat([seen, torch.full((2, 3), 99.0).double()]), alone)
    torch.testing.assert_close(with_them.within, spread_of(seen, people).within)
    with pytest.raises(ValueError, match="need two"):
        spread_of(seen[:3], np.arange(3))


@pytest.mark.parametrize("normalised", [False, True])
def test_the_network_gives_the_drawn_codes(tiny_head: HeadAsset, normalised: bool) -> None:
    torch.manual_seed(0)
    sizes = DECAConfig(backbone="mobilenetv2", shape=10, expression=8, albedo=5, detail=16, normalised=normalised)
    deca = DECA(tiny_head, sizes, 64).eval()
    if normalised:
        deca.code_mean.normal_()
        deca.code_spread.uniform_(0.5, 2.0)
    drawn = copy.deepcopy(deca)
    matrix, offset = torch.randn(10, 10).double(), torch.randn(10).double()
    draw(drawn, matrix, offset)
    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before, after = deca.encode_coarse(pictures), drawn.encode_coarse(pictures)
    wanted = (before.face.shape.double() @ matrix.T + offset).float()
    torch.testing.assert_close(after.face.shape, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.face.expression, before.face.expression)
    torch.testing.assert_close(after.camera.s, before.camera.s)
