"""The pictures of docs/deca.md: wrinkles follow the brows, lamps obey Lambert, tiles are in their places."""

import numpy as np
import torch

from model.shading import sh_basis
from training.deca_page import TILE, heat, light_from, sheet, tile, wrinkles


def test_wrinkles_follow_the_brows() -> None:
    assert not wrinkles(0.0, 64).any()
    half, full = wrinkles(0.5), wrinkles(1.0)
    torch.testing.assert_close(2 * half, full)
    assert -1.2e-3 < full.min() < -5e-4 and 1e-4 < full.max() < 6e-4
    assert full[200:].abs().max() < 1e-6, "on the forehead only"


def test_lamps_obey_lambert() -> None:
    light = light_from((0.0, 0.0, 2.0), (1.0, 0.5, 0.25), 0.1)
    front, back = (sh_basis(torch.tensor([0.0, 0.0, z])) @ light for z in (1.0, -1.0))
    torch.testing.assert_close(front, 0.1 + torch.tensor([1.0, 0.5, 0.25]), atol=0.1, rtol=0)
    torch.testing.assert_close(back, torch.full((3,), 0.1), atol=0.1, rtol=0)


def test_sheet() -> None:
    half = torch.zeros(1, 1, 64, 64)
    half[..., 32:] = 1
    red = torch.tensor([1.0, 0, 0])[None, :, None, None].expand(1, 3, 64, 64)
    one = tile(red, half)
    assert one.shape == (TILE, TILE, 3)
    assert one[5, -5].tolist() == [255, 0, 0] and one[5, 5].min() > 240
    dent = heat(torch.full((8, 8), -1e-3), torch.ones(8, 8))
    assert dent[4, 4].tolist() == [0, 0, 255]
    page = np.asarray(sheet([[one, one], [one, one]], ["a", "b"], ["first", "second"]))
    assert page.shape[1] > 2 * TILE and page[-10, -10].tolist() == [255, 0, 0]
