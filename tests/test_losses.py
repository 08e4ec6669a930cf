"""Losses: zero where they should be, what a hand computes, and where they push."""

import math

import pytest
import torch

from training.losses import (
    broad_displacement,
    code_prior,
    displacement_prior,
    excess_loss,
    eye_closure_loss,
    identity_loss,
    landmark_loss,
    landmark_weights,
    light_prior,
    lip_closure_loss,
    mrf_loss,
    photometric_loss,
    shading_smoothness_loss,
    soft_occlusion,
    symmetry_loss,
)
from training.vgg import VGG19, TextureFeatures


@pytest.fixture
def points() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 68, 2) * 2 - 1


def test_landmark_weights() -> None:
    weights = landmark_weights()
    assert weights[[5, 6, 10, 11]].tolist() == [2] * 4
    assert weights[27:36].tolist() == [1.5, 1.5, 1.5, 3, 3, 1.5, 1.5, 1.5, 3]
    assert weights[[48, 54]].tolist() == [3, 3] and float(weights.sum()) == 17 + 4 + 10 + 13.5 + 4.5 + 12 + 30 + 3


def test_landmark_loss(points: torch.Tensor) -> None:
    visible = torch.ones(2, 68)
    assert landmark_loss(points, points, visible) == 0
    # Every point off by (d, d): the weighted mean over both coordinates is d.
    torch.testing.assert_close(landmark_loss(points + 0.1, points, visible), torch.tensor(0.1))
    wrong = points.clone()
    wrong[:, 30] += 1
    expected = 3 * 2 / (2 * landmark_weights().sum())
    torch.testing.assert_close(landmark_loss(wrong, points, visible), expected)
    visible[:, 30] = 0
    assert landmark_loss(wrong, points, visible) == 0
    assert landmark_loss(wrong, points, torch.zeros(2, 68)) == 0


def test_closures_see_distances_only(points: torch.Tensor) -> None:
    for loss, upper, lower in ((eye_closure_loss, [37, 38, 43, 44], [41, 40, 47, 46]), (lip_closure_loss, [61], [67])):
        torch.testing.assert_close(loss(points + 0.3, points), torch.tensor(0.0), atol=1e-6, rtol=0)
        shut = points.clone()
        shut[:, lower] = shut[:, upper]
        others = 3 if len(upper) == 1 else 4
        gaps = (points[:, upper] - points[:, lower]).norm(dim=-1).sum() / (2 * others)
        torch.testing.assert_close(loss(shut, points), gaps)


def test_priors_and_photometry() -> None:
    assert code_prior(torch.tensor([[3.0, 4.0]])) == 12.5
    assert light_prior(torch.rand(2, 9, 1).expand(2, 9, 3)) < 1e-12
    torch.testing.assert_close(light_prior(torch.tensor([1.0, 2.0, 3.0]).expand(2, 9, 3)), torch.tensor(2 / 3))
    image, mask = torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    mask[..., :4] = 1
    torch.testing.assert_close(photometric_loss(image + 0.2, image, mask), torch.tensor(0.1))
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    torch.testing.assert_close(identity_loss(a, 5 * b), torch.tensor(1 - math.sqrt(0.5)))


def test_shading_smoothness() -> None:
    assert shading_smoothness_loss(torch.ones(1, 3, 8, 8)) == 0
    slope = (torch.arange(8.0) * 0.1).expand(1, 3, 8, 8)
    torch.testing.assert_close(shading_smoothness_loss(slope), torch.tensor(0.01))
    torch.testing.assert_close(shading_smoothness_loss(slope.mT), torch.tensor(0.01))


def test_symmetry() -> None:
    maps = torch.rand(1, 6, 6)
    even = maps + maps.flip(-1)
    assert symmetry_loss(even, torch.ones(1, 6, 6)) == 0
    step = torch.zeros(1, 2, 4)
    step[..., 0] = 1
    assert symmetry_loss(step, torch.ones(1, 2, 4)) == 4


def test_mrf_wants_the_targets_patches_in_any_place() -> None:
    torch.manual_seed(0)
    target = TextureFeatures(torch.randn(1, 256, 6, 6), torch.randn(1, 512, 4, 4))

    def shuffled(features: torch.Tensor) -> torch.Tensor:
        flat = features.flatten(2)
        return flat[..., torch.randperm(flat.shape[-1])].reshape(features.shape)

    centred = TextureFeatures(*(f - f.mean(1, keepdim=True) for f in (target.fine, target.coarse)))
    elsewhere = TextureFeatures(shuffled(centred.fine), shuffled(centred.coarse))
    noise = TextureFeatures(torch.randn(1, 256, 6, 6), torch.randn(1, 512, 4, 4))
    one = TextureFeatures(
        target.fine[..., :1, :1].expand(1, 256, 6, 6), target.coarse[..., :1, :1].expand(1, 512, 4, 4)
    )
    assert mrf_loss(target, target).abs() < 1e-4
    assert mrf_loss(elsewhere, centred).abs() < 1e-4
    assert mrf_loss(noise, target) > 1
    assert mrf_loss(one, target) > 1  # one patch everywhere is not diverse


def test_mrf_sums_over_the_batch_and_has_gradients() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    network = VGG19().eval()
    both = mrf_loss(network(a), network(b))
    apart = sum(mrf_loss(network(a[k : k + 1]), network(b[k : k + 1])) for k in range(2))
    torch.testing.assert_close(both, torch.as_tensor(apart), rtol=1e-4, atol=1e-5)
    a.requires_grad_()
    mrf_loss(network(a), network(b)).backward()
    assert a.grad is not None and a.grad.abs().max() > 0


def test_vgg_has_torchvisions_names() -> None:
    state = VGG19().features.state_dict()
    assert list(state)[-1] == "19.bias" and state["19.weight"].shape == (512, 256, 3, 3)
    assert [key for key in state if key.endswith("weight")][:3] == ["0.weight", "2.weight", "5.weight"]
    features = VGG19()(torch.rand(1, 3, 64, 64))
    assert features.fine.shape == (1, 256, 16, 16) and features.coarse.shape == (1, 512, 8, 8)
    assert features.fine.min() == 0 and not features.fine.requires_grad


def test_excess_brings_expressions_back_into_range() -> None:
    assert excess_loss(torch.zeros(3, 8)) == 0
    torch.testing.assert_close(excess_loss(torch.tensor([[0.3, -0.4], [0.0, 0.0]])), torch.tensor(0.125))


def test_the_hidden_side_follows_the_seen_one() -> None:
    displacement = torch.rand(1, 6, 6, requires_grad=True)
    hidden = torch.zeros(1, 6, 6)
    hidden[..., :3] = 1
    symmetry_loss(displacement, hidden, displacement.detach()).backward()
    assert displacement.grad is not None
    assert displacement.grad[..., :3].abs().min() > 0 and not displacement.grad[..., 3:].any()


def test_occlusion_grows_into_the_seen_by_two_texels() -> None:
    visible = torch.zeros(1, 12, 12)
    visible[:, :, 6:] = 1
    hidden = soft_occlusion(visible)
    assert hidden[0, 5].tolist() == [1] * 8 + [0] * 4
    assert not soft_occlusion(torch.ones(1, 12, 12)).any()  # the border of the map is no border of the seen
    torch.testing.assert_close(soft_occlusion(0.25 * visible).min(), torch.tensor(0.75))


def test_displacement_prior() -> None:
    assert displacement_prior(torch.zeros(2, 4, 4)) == 0
    torch.testing.assert_close(displacement_prior(torch.tensor([[[0.01, -0.03]]])), torch.tensor(0.02))


def test_every_gradient_by_central_differences() -> None:
    torch.manual_seed(0)

    def leaf(*size: int) -> torch.Tensor:
        return torch.randn(*size, dtype=torch.float64, requires_grad=True)

    def constant(*size: int) -> torch.Tensor:
        return torch.rand(*size, dtype=torch.float64)

    points, visible = constant(2, 68, 2), (constant(2, 68) > 0.3).double()
    image, mask, codes = constant(2, 3, 6, 6), constant(2, 1, 6, 6), constant(2, 8)
    hidden = constant(2, 6, 6)
    wanted = TextureFeatures(constant(2, 8, 4, 4), constant(2, 8, 2, 2))
    losses = {
        "landmark": (lambda x: landmark_loss(x, points, visible), leaf(2, 68, 2)),
        "eye": (lambda x: eye_closure_loss(x, points), leaf(2, 68, 2)),
        "lip": (lambda x: lip_closure_loss(x, points), leaf(2, 68, 2)),
        "photometric": (lambda x: photometric_loss(x, image, mask), leaf(2, 3, 6, 6)),
        "identity": (lambda x: identity_loss(x, codes), leaf(2, 8)),
        "codes": (code_prior, leaf(2, 8)),
        "light": (light_prior, leaf(2, 9, 3)),
        "excess": (excess_loss, leaf(2, 8)),
        "shading": (shading_smoothness_loss, leaf(2, 3, 6, 6)),
        "symmetry": (lambda x: symmetry_loss(x, hidden), leaf(2, 6, 6)),
        "occlusion": (lambda x: soft_occlusion(x).square().sum(), leaf(2, 6, 6)),
        "displacement": (displacement_prior, leaf(2, 6, 6)),
        "broad": (broad_displacement, leaf(2, 32, 32)),
        "mrf": (lambda x: mrf_loss(TextureFeatures(x, x[..., :2, :2]), wanted), leaf(2, 8, 4, 4)),
    }
    for name, (loss, at) in losses.items():
        assert torch.autograd.gradcheck(loss, at, eps=1e-7, atol=1e-5), name


def test_searching_pairs_in_parts_is_comparing_them_all() -> None:
    """Against the formula as it stands in the paper, on more patches than are compared at a time."""
    torch.manual_seed(0)
    fine = torch.rand(1, 12, 20, 20, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 12, 20, 20, dtype=torch.float64)
    mean = target.mean(1, keepdim=True)
    a, b = (torch.nn.functional.normalize(f - mean, dim=1).flatten(2) for f in (fine, target))
    distance = (1 - torch.einsum("bck,bci->bki", b, a)) / 2
    weight = torch.exp((1 - distance / (distance.amin(1, keepdim=True) + 1e-5)) / 0.5)
    slow = -(weight / weight.sum(1, keepdim=True)).amax(2).mean(1).log().sum()
    fast = mrf_loss(TextureFeatures(fine, fine), TextureFeatures(target, target)) / 3  # one layer, thrice
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(fast, fine)[0], torch.autograd.grad(slow, fine)[0])


def test_broad_displacement_counts_dents_and_not_wrinkles() -> None:
    constant = torch.full((2, 64, 64), -1e-3)
    assert broad_displacement(constant).item() == pytest.approx(1.0)
    stripes = 1e-3 * (torch.arange(64) % 2 * 2 - 1.0)[None, :, None].expand(2, 64, 64)
    assert broad_displacement(stripes).item() == pytest.approx(0.0, abs=1e-6)
    assert broad_displacement(stripes + constant).item() == pytest.approx(1.0)
