"""Losses of known codes: zero at the truth, in the units that they say, blind to faces that are not known."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from torch.autograd import gradcheck

from model.asset import HeadAsset
from model.head import HeadModel
from training.supervision import (
    CodeMetrics,
    albedo_loss,
    axis_angle_loss,
    code_loss,
    mean_of_known,
    metric_loss,
    reprojection_loss,
    rotation_loss,
)

KNOWN = torch.tensor([True, True, False])


@pytest.fixture(scope="module")
def metrics(tiny_head: HeadAsset) -> CodeMetrics:
    return CodeMetrics(tiny_head)


def test_the_metric_of_shape_is_square_millimetres_between_vertices(metrics: CodeMetrics, tiny_head: HeadAsset) -> None:
    torch.manual_seed(0)
    head = HeadModel(tiny_head)
    codes, truth = torch.randn(3, 10), torch.randn(3, 10)
    moved = head.template.new_zeros(3)
    neutral = head.neutral(1)
    for k in range(3):
        offset = torch.from_numpy(tiny_head.shapedirs) @ (codes[k] - truth[k]) * 1000
        skin = torch.from_numpy(tiny_head.regions["skin"])
        moved[k] = (offset.square().sum(-1) * skin).sum() / skin.sum()
    torch.testing.assert_close(metric_loss(codes, truth, metrics.shape, KNOWN), moved[:2].mean(), rtol=1e-4, atol=0)
    assert neutral.shape.shape == (1, 10)


def test_light_counts_by_what_it_makes_of_skin_that_faces_the_camera(metrics: CodeMetrics) -> None:
    light, dark = torch.zeros(1, 9), torch.zeros(1, 9)
    light[0, 0] = math.sqrt(4 * math.pi)  # white skin is white
    loss = metric_loss(light, dark, metrics.light, torch.tensor([True]))
    torch.testing.assert_close(loss, torch.tensor(1.0))
    values = torch.linalg.eigvalsh(metrics.light)
    assert values.min() > -1e-6


def test_rotations_count_by_their_angle() -> None:
    axis = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -1.0]] * 3), dim=-1)
    base = torch.tensor([[0.3, -0.2, 0.5]]).expand(3, 3)
    for angle in (0.0, 0.05, 1.0, math.pi):
        turned = roma.rotvec_composition((axis * angle, base))
        loss = axis_angle_loss(turned, base, KNOWN)
        torch.testing.assert_close(loss, torch.tensor(2 * (1 - math.cos(angle))), atol=1e-5, rtol=1e-4)
        matrices = (roma.rotvec_to_rotmat(vector) for vector in (turned, base))
        torch.testing.assert_close(rotation_loss(*matrices, KNOWN), loss, atol=1e-6, rtol=1e-4)
    small = roma.rotvec_composition((axis * 0.05, base))
    torch.testing.assert_close(axis_angle_loss(small, base, KNOWN), torch.tensor(0.05**2), rtol=1e-3, atol=0)


def test_only_known_faces_count(metrics: CodeMetrics) -> None:
    right = torch.zeros(3, 10)
    wrong = right.clone()
    wrong[2] = 5
    nobody = torch.zeros(3, dtype=torch.bool)
    assert metric_loss(wrong, right, metrics.shape, KNOWN) == 0 and code_loss(wrong, right, KNOWN) == 0
    assert code_loss(wrong, right, ~KNOWN) == 25 and code_loss(wrong, right, nobody) == 0
    assert mean_of_known(torch.tensor([1.0, 3.0, math.inf]), KNOWN) == 2
    points = torch.rand(3, 68, 2)
    off = points + torch.tensor([[3e-1], [4e-1]]).mT
    torch.testing.assert_close(reprojection_loss(off, points, KNOWN), torch.tensor(0.25))
    maps, mask = torch.zeros(3, 3, 4, 4), torch.zeros(4, 4)
    mask[:2] = 1
    other = maps + 0.5
    other[..., 2:, :] = 9
    torch.testing.assert_close(albedo_loss(other, maps, mask, KNOWN), torch.tensor(0.25))


def test_an_unknown_face_gets_no_gradient_even_when_it_is_not_finite(metrics: CodeMetrics) -> None:
    codes = torch.randn(3, 10, requires_grad=True)
    metric_loss(codes, torch.zeros(3, 10), metrics.shape, KNOWN).backward()
    assert codes.grad is not None and codes.grad[:2].abs().min() > 0 and not codes.grad[2].any()


def test_gradients_by_central_differences(metrics: CodeMetrics) -> None:
    torch.manual_seed(1)

    def leaf(*size: int) -> torch.Tensor:
        return torch.randn(*size, dtype=torch.float64, requires_grad=True)

    truth = torch.randn(3, 10, dtype=torch.float64)
    metric = metrics.shape.double()
    assert gradcheck(lambda c: metric_loss(c, truth, metric, KNOWN), leaf(3, 10))
    assert gradcheck(lambda c: code_loss(c, truth, KNOWN), leaf(3, 10))
    assert gradcheck(lambda r: axis_angle_loss(r, truth[:, :6], KNOWN), leaf(3, 6))
    zero = torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda r: axis_angle_loss(r, truth[:, :6], KNOWN), zero)
    points = torch.randn(3, 5, 2, dtype=torch.float64)
    assert gradcheck(lambda p: reprojection_loss(p, points, KNOWN), leaf(3, 5, 2))
    maps, mask = torch.rand(3, 3, 4, 4, dtype=torch.float64), torch.rand(4, 4, dtype=torch.float64)
    assert gradcheck(lambda a: albedo_loss(a, maps, mask, KNOWN), leaf(3, 3, 4, 4))
