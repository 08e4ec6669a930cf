"""DECA as a whole, on the small test head with a small backbone: shapes, who decides what, pictures, gradients."""

import dataclasses

import pytest
import torch

from model.asset import HeadAsset
from model.camera import lift
from model.crop import Crop
from model.deca import DECA, DECAConfig, resampled, within
from model.params import Appearance, CropCamera
from model.views import composite

CONFIG = DECAConfig("mobilenetv2", shape=10, expression=8, albedo=5, detail=16)


@pytest.fixture(scope="module")
def deca(tiny_head: HeadAsset) -> DECA:
    torch.manual_seed(0)
    return DECA(tiny_head, CONFIG, uv_size=64).eval()


def codes(deca: DECA, batch: int = 2):
    face = deca.head.neutral(batch)
    torch.manual_seed(1)
    light = torch.tensor([3.0, 0.5, 0.7, 0.4, 0, 0, 0, 0, 0])[:, None].expand(batch, 9, 3)
    appearance = Appearance(torch.randn(batch, 5), light, torch.randn(batch, 16))
    return face, appearance, CropCamera(torch.full((batch,), 8.0), torch.zeros(batch, 2))


def whole(batch: int = 2) -> Crop:
    return Crop(torch.full((batch, 2), 112.0), torch.full((batch,), 224.0))


def test_encode_splits_the_codes_in_the_papers_order(deca: DECA) -> None:
    seen = {}

    def record(module, inputs, output):
        seen["codes"] = output

    handle = deca.coarse_encoder.register_forward_hook(record)
    with torch.no_grad():
        face, appearance, camera = deca.encode(torch.rand(2, 3, 224, 224))
    handle.remove()
    parts = [face.shape, appearance.albedo, face.expression, face.pose, face.jaw, camera.s[:, None], camera.t]
    expected = seen["codes"].clone()
    expected[:, 15:23] = expected[:, 15:23].clamp(0, 1)  # the head's units go from 0 to 1
    torch.testing.assert_close(torch.cat([*parts, appearance.light.flatten(1)], 1), expected)
    assert appearance.detail.shape == (2, 16) and appearance.light.shape == (2, 9, 3)
    assert not face.neck.any() and not face.eyes.any()
    with torch.no_grad():
        assert deca.decode(face, appearance, camera).mesh.vertices.isfinite().all()


def test_expression_stays_within_the_heads_range_and_its_gradient_lives() -> None:
    free = torch.tensor([[-0.3, 0.2, 1.7]], requires_grad=True)
    used = within(free, (0.0, 1.0))
    assert used.tolist() == [[0.0, free[0, 1].item(), 1.0]]
    (used * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert free.grad is not None and free.grad.tolist() == [[1.0, 2.0, 3.0]]
    assert within(free, None) is free


def test_gaze_resolution_and_normalised_codes(tiny_head: HeadAsset) -> None:
    torch.manual_seed(0)
    plain = DECA(tiny_head, CONFIG, 16).eval()
    config = dataclasses.replace(CONFIG, gaze=True, resolution=64, normalised=True)
    more = DECA(tiny_head, config, 16).eval()
    assert sum(more.coarse_sizes) == sum(plain.coarse_sizes) + 6
    assert set(more.state_dict()) - set(plain.state_dict()) == {"code_mean", "code_spread"}
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        raw = more.coarse_encoder(images)
        first = more.encode_coarse(images)
        more.code_spread.fill_(0.5)
        more.code_mean[-6:] = 0.1
        second = more.encode_coarse(images)
        torch.testing.assert_close(first.face.eyes, raw[:, -6:])
        torch.testing.assert_close(second.face.eyes, 0.1 + 0.5 * raw[:, -6:])
        torch.testing.assert_close(second.face.shape, 0.5 * raw[:, :10])
        torch.testing.assert_close(first.face.expression + first.excess, raw[:, 15:23])
        larger = torch.nn.functional.interpolate(images, (128, 128), mode="nearest")
        torch.testing.assert_close(more.encode_coarse(larger).face.shape, second.face.shape, atol=0.05, rtol=0)


def test_the_coarse_encoder_may_see_smaller_pictures(tiny_head: HeadAsset) -> None:
    config = dataclasses.replace(CONFIG, resolution=64, coarse_resolution=32)
    torch.manual_seed(0)
    deca = DECA(tiny_head, config, 16).eval()
    torch.manual_seed(0)
    same = DECA(tiny_head, dataclasses.replace(config, coarse_resolution=0), 16).eval()
    assert (deca.coarse_resolution, same.coarse_resolution) == (32, 64)
    images = torch.rand(2, 3, 64, 64)
    small = resampled(images, 32)
    assert small.shape == (2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(deca.encode_coarse(images).face.shape, deca.encode_coarse(small).face.shape)
        assert not torch.equal(deca.encode_coarse(images).face.shape, same.encode_coarse(images).face.shape)
        assert torch.equal(deca.encode_detail(images), same.encode_detail(images))


def test_decode(deca: DECA, tiny_head: HeadAsset) -> None:
    face, appearance, camera = codes(deca)
    with torch.no_grad():
        result = deca.decode(face, appearance, camera)
    torch.testing.assert_close(result.mesh.vertices[0], torch.from_numpy(tiny_head.template), atol=1e-6, rtol=0)
    torch.testing.assert_close(result.projected[..., 0], 8 * result.landmarks[..., 0])
    torch.testing.assert_close(result.projected[..., 1], -8 * result.landmarks[..., 1])
    assert result.displacement.shape == (2, 256, 256) and result.detail.normals.shape == (2, 3, 64, 64)
    assert result.albedo.shape == (2, 3, 64, 64)
    assert tiny_head.albedo_mean is not None
    plain = deca.albedo(torch.zeros(1, 5))[0].movedim(0, -1)
    assert (plain.mean((0, 1)) - torch.from_numpy(tiny_head.albedo_mean).mean((0, 1))).abs().max() < 0.01


def test_animation_keeps_the_person_and_takes_the_drivers_expression_and_jaw(deca: DECA) -> None:
    face, appearance, camera = codes(deca)
    torch.manual_seed(2)
    expression, jaw = torch.rand(2, 8), torch.randn(2, 3) * 0.1
    with torch.no_grad():
        still = deca.decode(face, appearance, camera)
        same = deca.animate(face, appearance, camera, face.expression, face.jaw)
        moved = deca.animate(face, appearance, camera, expression, jaw)
        other = deca.animate(face, dataclasses.replace(appearance, detail=-appearance.detail), camera, expression, jaw)
    torch.testing.assert_close(same.mesh.vertices, still.mesh.vertices)
    torch.testing.assert_close(same.displacement, still.displacement)
    assert (moved.mesh.vertices - still.mesh.vertices).abs().max() > 1e-3
    assert (moved.displacement - still.displacement).abs().max() > 0  # wrinkles move with the expression
    assert (moved.displacement - other.displacement).abs().max() > 0  # and are the person's
    torch.testing.assert_close(moved.mesh.vertices, other.mesh.vertices)
    assert not face.expression.any()  # inputs stay as they were


def test_pictures_in_any_aspect_ratio_over_the_frame(deca: DECA) -> None:
    face, appearance, camera = codes(deca)
    with torch.no_grad():
        result = deca.decode(face, appearance, camera)
        crop = Crop(torch.tensor([[90.0, 50.0]]).expand(2, 2), torch.full((2,), 80.0))
        views = deca.pictures(result, appearance.light, lift(camera, crop), 100, 160)
        square = deca.pictures(result, appearance.light, lift(camera, whole()), 224, 224)
        shape, alpha = deca.detail_shape(result, lift(camera, crop), 100, 160)
    for name, channels in (("image", 3), ("detail_image", 3), ("shape", 3), ("detail_shape", 3), ("depth", 1)):
        assert getattr(views, name).shape == (2, channels, 100, 160)
        assert not getattr(views, name)[..., :, :40].any()  # the crop begins at column 50
    torch.testing.assert_close(shape, views.detail_shape)
    torch.testing.assert_close(alpha, views.shape_alpha)
    # The crop of 80 px of the frame shows what the crop of 224 px shows.
    small = torch.nn.functional.interpolate(square.image, (80, 80), mode="area")
    assert (views.image[..., 10:90, 50:130] - small).abs().mean() < 0.02
    frame = torch.rand(2, 3, 100, 160)
    over = composite(views.image, views.alpha, frame)
    assert torch.equal(over[..., :40], frame[..., :40])


def test_detail_shows_in_the_detailed_pictures_only(deca: DECA) -> None:
    face, appearance, camera = codes(deca, 1)
    with torch.no_grad():
        result = deca.decode(face, appearance, camera)
        bump = torch.zeros(1, 256, 256)
        bump[:, 120:136, 100:160] = 0.003
        raised = dataclasses.replace(result, detail=deca.surface(result.mesh, bump))
        flat, bumpy = (deca.pictures(r, appearance.light, lift(camera, whole(1)), 224, 224) for r in (result, raised))
    assert torch.equal(flat.shape, bumpy.shape) and torch.equal(flat.image, bumpy.image)
    for name in ("detail_shape", "detail_image", "detail_normals"):
        assert (getattr(flat, name) - getattr(bumpy, name)).abs().max() > 0.05
    lit = [deca.lit_texture(r, appearance.light) for r in (result, raised)]
    assert (lit[0] - lit[1]).abs().max() > 0.02


def test_gradients_reach_both_encoders_and_the_decoder(deca: DECA) -> None:
    face, appearance, camera = deca.encode(torch.rand(1, 3, 224, 224))
    camera = CropCamera(camera.s + 8, camera.t)
    result = deca.decode(face, appearance, camera)
    views = deca.pictures(result, appearance.light, lift(camera, whole(1)), 64, 64)
    (views.detail_image.square().mean() + result.projected.square().mean()).backward()
    for network in (deca.coarse_encoder, deca.detail_encoder, deca.detail_decoder):
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    deca.zero_grad()


def test_a_head_without_albedo_is_grey(tiny_head: HeadAsset) -> None:
    bare = dataclasses.replace(tiny_head, albedo_mean=None, albedo_basis=None)
    with torch.no_grad():
        albedo = DECA(bare, CONFIG, 16).albedo(torch.randn(2, 5))
    torch.testing.assert_close(albedo, torch.full((2, 3, 16, 16), 180 / 255))


def test_weights_for_another_head_are_refused(tiny_head: HeadAsset) -> None:
    with pytest.raises(ValueError, match="give 100 shape coefficients, head tiny has 10; use weights"):
        DECA(tiny_head)
    bare = dataclasses.replace(tiny_head, uv=None, uv_faces=None)
    with pytest.raises(ValueError, match="no texture coordinates"):
        DECA(bare, CONFIG)


def test_only_networks_are_in_the_state(deca: DECA) -> None:
    networks = {key.split(".")[0] for key in deca.state_dict()}
    assert networks == {"coarse_encoder", "detail_encoder", "detail_decoder"}
