"""Relief from the darkness of skin: a dark line is a groove, as deep as it is wide and dark; light alone is nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model.asset import HeadAsset
from model.detail import detail_mask
from model.head import HeadModel
from model.mesh import Mesh
from model.params import Camera
from model.parsing import Part
from model.uv import UVLayout
from training.losses import relief_loss
from training.relief import LIMITS, Relief, texel_size

SIZE = 160


class Everywhere(nn.Module):
    """A parser that sees skin left of a column."""

    def __init__(self, until: int = SIZE) -> None:
        super().__init__()
        self.until = until

    def forward(self, images: Tensor) -> Tensor:
        parts = torch.zeros(len(images), len(Part), *images.shape[-2:])
        parts[:, Part.SKIN, :, : self.until] = 1.0
        return parts


@pytest.fixture(scope="module")
def head(tiny_head: HeadAsset) -> HeadModel:
    return HeadModel(tiny_head)


@pytest.fixture(scope="module")
def mesh(head: HeadModel) -> Mesh:
    return head.mesh(head.neutral(1))


@pytest.fixture(scope="module")
def layout(tiny_head: HeadAsset) -> UVLayout:
    return UVLayout(tiny_head, 128)


def relief_with(layout: UVLayout, head: HeadModel, until: int = SIZE, usual: Tensor | None = None) -> Relief:
    return Relief(layout, head.template, detail_mask(head.asset, layout), Everywhere(until), usual)


CAMERA = Camera(torch.tensor([650.0]), torch.tensor([[80.0, 80.0]]))


def face(dark: float, width: float = 2.0, row: int = 70) -> Tensor:
    """Grey, with a level line, `dark` the logarithm of its linear brightness over the rest."""
    rows = torch.arange(SIZE) - row
    logarithm = torch.full((SIZE, SIZE), 0.3).log() + dark * torch.exp(-(rows**2) / (2 * width**2))[:, None]
    linear = logarithm.exp()
    return (1.055 * linear ** (1 / 2.4) - 0.055).clamp(0, 1).expand(1, 3, -1, -1)


def test_a_dark_line_is_a_groove_and_a_bright_one_a_ridge(layout: UVLayout, head: HeadModel, mesh: Mesh) -> None:
    relief = relief_with(layout, head)
    groove, weight = relief(face(-0.2), mesh, CAMERA)
    ridge, _ = relief(face(0.15), mesh, CAMERA)
    assert weight.max() > 0.99 and groove.shape == weight.shape == (1, 128, 128)
    lowest, highest = groove.flatten().argmin(), ridge.flatten().argmax()
    y = layout.carry(mesh.vertices)[0, 1].flatten()
    for place in (lowest, highest):  # the line is 10 px above the middle, 15 mm
        assert float(y[place]) == pytest.approx((80 - 70.5) / 650, abs=0.002)
    assert -1.5e-3 < groove.min() < -1e-4 and groove.max() < -groove.min()
    assert ridge.max() > 1e-4


def test_darker_and_wider_is_deeper(layout: UVLayout, head: HeadModel, mesh: Mesh) -> None:
    relief = relief_with(layout, head)
    depths = [float(-relief(face(*line), mesh, CAMERA)[0].min()) for line in ((-0.1,), (-0.2,), (-0.2, 0.7))]
    assert depths[0] < 0.7 * depths[1] and depths[2] < 0.95 * depths[1]
    black, limit = (relief(face(dark), mesh, CAMERA)[0].min() for dark in (-3.0, 1.5 * LIMITS[0]))
    assert black > 2.0 * limit  # five times as dark: hair is black, wrinkles are not


def test_how_bright_the_picture_is_does_not_matter(layout: UVLayout, head: HeadModel, mesh: Mesh) -> None:
    relief = relief_with(layout, head)
    line = face(-0.2)
    linear = torch.where(line > 0.04045, ((line + 0.055) / 1.055) ** 2.4, line / 12.92)
    half = (1.055 * (linear / 2) ** (1 / 2.4) - 0.055).clamp(min=0)
    torch.testing.assert_close(relief(half, mesh, CAMERA)[0], relief(line, mesh, CAMERA)[0], atol=2e-6, rtol=0)
    assert relief(face(0.0), mesh, CAMERA)[0].abs().max() < 1e-6


def test_only_skin_tells(layout: UVLayout, head: HeadModel, mesh: Mesh) -> None:
    whole, _ = relief_with(layout, head)(face(-0.2), mesh, CAMERA)
    half, weight = relief_with(layout, head, until=80)(face(-0.2), mesh, CAMERA)
    x = layout.carry(mesh.vertices)[0, 0]
    hidden = x > 0.015  # the weight is smooth over some texels
    assert weight[0][hidden].max() == 0 and half[0][hidden].abs().max() == 0
    inside = (x < -0.02) & (layout.covered > 0)
    torch.testing.assert_close(half[0][inside], whole[0][inside], atol=1e-4, rtol=0)


def test_what_all_pictures_show_is_taken_off(layout: UVLayout, head: HeadModel, mesh: Mesh) -> None:
    plain = relief_with(layout, head)
    usual = plain.contrast(face(-0.2), mesh, CAMERA)[0][0]
    assert relief_with(layout, head, usual=usual)(face(-0.2), mesh, CAMERA)[0].abs().max() < 1e-6


def test_texels_are_as_large_as_the_head_says(layout: UVLayout, head: HeadModel) -> None:
    size = texel_size(layout, head.template, layout.covered)
    assert texel_size(layout, 2 * head.template, layout.covered) == pytest.approx(2 * size)
    assert 1 < size < 8  # of an ellipsoid of 15 to 22 cm on 128 texels


def test_the_loss_is_nought_for_the_same_and_two_for_nothing() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(2, 12, 12, dtype=torch.float64)
    weight = torch.rand(2, 12, 12, dtype=torch.float64)
    assert relief_loss(wanted, wanted, weight) == 0
    assert relief_loss(torch.zeros_like(wanted), wanted, weight) == pytest.approx(2.0)
    found = torch.randn(2, 12, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: relief_loss(x, wanted, weight), found, eps=1e-7, atol=1e-5)
