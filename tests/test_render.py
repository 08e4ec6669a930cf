"""Shading and pictures: what light, texture and overlay must do, looked at pixel by pixel."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from model.asset import HeadAsset
from model.camera import project
from model.head import HeadModel
from model.mesh import Mesh
from model.params import Camera
from model.raster import rasterise
from model.render import clay, overlay, shape_view, skin, textured_view
from model.shading import albedo_texture, sample_texture, sh_basis, sh_shading, shape_shading


@pytest.fixture
def head(tiny_head: HeadAsset) -> HeadModel:
    return HeadModel(tiny_head)


@pytest.fixture
def camera() -> Camera:
    return Camera(torch.tensor(300.0), torch.tensor([34.0, 38.0]))


def sphere(count: int) -> torch.Tensor:
    """Directions spread evenly (Fibonacci)."""
    k = torch.arange(count, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * k / count, k * math.pi * (3 - math.sqrt(5))
    return torch.stack([angle.cos() * (1 - z**2).sqrt(), angle.sin() * (1 - z**2).sqrt(), z], -1)


def test_harmonics_are_orthogonal() -> None:
    basis = sh_basis(sphere(4000))
    gram = basis.T @ basis / 4000
    assert (gram - gram.diag().diag()).abs().max() < 1e-3 * gram.diag().min()


def test_harmonics_are_the_light_of_lambert() -> None:
    """Irradiance of a distant light, in three bands: within a few percent of the clamped cosine (Basri and Jacobs)."""
    normals, light = sphere(4000), normalize(torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64), dim=0)
    cosine = (normals @ light).clamp(min=0)
    basis = sh_basis(normals)
    fit = basis @ torch.linalg.lstsq(basis, cosine).solution
    assert (fit - cosine).abs().max() < 0.1


def test_ambient_light_is_the_same_everywhere() -> None:
    light = torch.zeros(9, 3, dtype=torch.float64)
    light[0] = torch.tensor([1.0, 2.0, 3.0]) * math.sqrt(4 * math.pi)
    shading = sh_shading(sphere(50), light)
    torch.testing.assert_close(shading, torch.tensor([1.0, 2, 3], dtype=torch.float64).expand(50, 3))


def test_shape_shading_is_brightest_towards_the_viewer() -> None:
    towards, up, down, away = torch.tensor([[0.0, 0, 1], [0, 1, 0], [0, -1, 0], [0, 0, -1]])
    assert shape_shading(towards) > shape_shading(up) > 0
    assert shape_shading(up) == pytest.approx(float(shape_shading(down)))
    assert shape_shading(away) == 0
    # One light along the normal and four at the angle whose cosine is 1 / sqrt(3).
    assert shape_shading(towards) == pytest.approx(180 / 255 * 1.7 * (1 + 4 / math.sqrt(3)) / 5)


def test_texels_lie_where_their_centres_are() -> None:
    texture = torch.arange(12.0).view(1, 3, 4)
    column, row = torch.meshgrid(torch.arange(4.0), torch.arange(3.0), indexing="xy")
    uv = torch.stack([(column + 0.5) / 4, 1 - (row + 0.5) / 3], -1)
    torch.testing.assert_close(sample_texture(texture, uv), texture)
    corner = torch.tensor([[[0.0, 0.0]]])  # bottom-left is the last row's first texel
    assert sample_texture(texture, corner) == 8


def test_albedo_is_linear_in_its_codes(tiny_head: HeadAsset) -> None:
    assert tiny_head.albedo_mean is not None and tiny_head.albedo_basis is not None
    mean, basis = torch.from_numpy(tiny_head.albedo_mean), torch.from_numpy(tiny_head.albedo_basis)
    codes = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    texture = albedo_texture(mean, basis, codes)
    assert texture.shape == (2, 3, 3, 32, 32)
    torch.testing.assert_close(albedo_texture(mean, basis, torch.zeros(5)), mean.movedim(-1, 0))
    offset = albedo_texture(mean, basis, 2 * codes) - mean.movedim(-1, 0)
    torch.testing.assert_close(offset, 2 * (texture - mean.movedim(-1, 0)), atol=1e-6, rtol=1e-5)
    full = albedo_texture(mean[::2, ::2], basis, codes) - mean[::2, ::2].movedim(-1, 0)  # no resampling needed
    torch.testing.assert_close(full, torch.einsum("ahwc,...a->...chw", basis, codes), atol=1e-6, rtol=1e-5)


def test_views_in_batches(head: HeadModel, camera: Camera, tiny_head: HeadAsset) -> None:
    params = head.neutral(2)
    params.pose[1, 1] = 0.5
    pair = Camera(camera.s.expand(2), camera.t.expand(2, 2))
    view = shape_view(head.mesh(params), pair, 72, 66)
    assert view.image.shape == (2, 3, 72, 66) and view.alpha.shape == (2, 1, 72, 66)
    assert 0.5 < view.image.max() <= 1.15 and view.image.min() == 0
    single = shape_view(Mesh(head(params)[1], head.faces), camera, 72, 66)
    torch.testing.assert_close(view.image[1], single.image)
    assert tiny_head.albedo_mean is not None and tiny_head.uv is not None and tiny_head.uv_faces is not None
    texture = torch.from_numpy(tiny_head.albedo_mean).movedim(-1, 0).expand(2, -1, -1, -1)
    lit = textured_view(
        head.mesh(params), pair, texture, torch.from_numpy(tiny_head.uv), torch.from_numpy(tiny_head.uv_faces), 72, 66
    )
    inside = lit.alpha[:, 0] > 0
    colours = lit.image.movedim(1, -1)
    assert colours[inside].min() > 0.1 and colours[~inside].abs().max() == 0


def test_gradients_reach_vertices_texture_and_light(head: HeadModel, tiny_head: HeadAsset) -> None:
    """Central differences of an image, away from pixels whose triangle changes."""
    assert tiny_head.uv is not None and tiny_head.uv_faces is not None
    uv, uv_faces = torch.from_numpy(tiny_head.uv).double(), torch.from_numpy(tiny_head.uv_faces)
    camera = Camera(torch.tensor(60.0, dtype=torch.float64), torch.tensor([8.0, 9.0], dtype=torch.float64))
    vertices = head.double()(head.neutral())
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(3, 8, 8, dtype=torch.float64, generator=generator)
    light = torch.rand(9, 3, dtype=torch.float64, generator=generator)
    direction = torch.randn(vertices.shape, dtype=torch.float64, generator=generator) * 0.001
    weight = torch.rand(3, 18, 16, dtype=torch.float64, generator=generator)

    def picture(step: torch.Tensor, colours: torch.Tensor, lights: torch.Tensor) -> torch.Tensor:
        mesh = Mesh(vertices + step * direction, head.faces)
        view = textured_view(mesh, camera, colours, uv, uv_faces, 18, 16, lights)
        return (view.image * weight).sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    inputs = (step, texture.requires_grad_(), light.requires_grad_())
    assert torch.autograd.gradcheck(picture, inputs, eps=1e-5, atol=1e-5, rtol=1e-3)


def test_overlay_touches_the_head_only(head: HeadModel, camera: Camera, tiny_head: HeadAsset) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    before = frame.copy()
    mesh = head.mesh(head.neutral())
    out = overlay(frame, mesh, camera, clay(tiny_head))
    assert out.dtype == np.uint8 and out.shape == frame.shape
    assert np.array_equal(frame, before)
    changed = (out != frame).any(-1)
    low, high = project(camera, mesh.vertices).amin(0).floor(), project(camera, mesh.vertices).amax(0).ceil()
    rows, columns = changed.nonzero()
    assert columns.min() >= low[0] and columns.max() <= high[0] and rows.min() >= low[1] and rows.max() <= high[1]
    assert changed.sum() > 1000


def test_overlay_is_a_blend(head: HeadModel, camera: Camera, tiny_head: HeadAsset) -> None:
    """Opaque hides the frame, transparent is the frame, and half is half way between."""
    mesh, black = head.mesh(head.neutral()), np.zeros((72, 66, 3), np.uint8)
    white = black + 255
    paint = clay(tiny_head)

    def drawn(frame: np.ndarray, opacity: float, samples: int) -> np.ndarray:
        return overlay(
            frame, mesh, camera, dataclasses.replace(paint, opacity=np.full_like(paint.opacity, opacity)), samples
        ).astype(float)

    for samples in (1, 2, 3):
        inner = np.zeros((72, 66), bool)
        inner[30:45, 28:40] = True
        assert np.array_equal(drawn(white, 0.0, samples), white)
        full = drawn(black, 1.0, samples)
        np.testing.assert_array_equal(drawn(white, 1.0, samples)[inner], full[inner])
        np.testing.assert_allclose(drawn(white, 0.5, samples)[inner], (255 + full[inner]) / 2, atol=1)
        np.testing.assert_allclose(drawn(black, 0.5, samples), full / 2, atol=1)


def test_overlay_samples_smooth_the_edge(head: HeadModel, camera: Camera, tiny_head: HeadAsset) -> None:
    mesh, white = head.mesh(head.neutral()), np.full((72, 66, 3), 255, np.uint8)
    paint = dataclasses.replace(clay(tiny_head), colours=np.zeros_like(clay(tiny_head).colours))
    paint = dataclasses.replace(paint, opacity=np.ones_like(paint.opacity))
    hard, smooth = (255 - overlay(white, mesh, camera, paint, n).astype(float)[..., 0] for n in (1, 4))
    covered = rasterise(
        torch.cat([project(camera, mesh.vertices), mesh.vertices[:, 2:]], -1), mesh.faces, 72, 66
    ).face.numpy()
    assert np.array_equal(hard > 128, covered >= 0)
    edge = (smooth > 20) & (smooth < 200)
    assert 50 < edge.sum() < 400
    assert abs(smooth.sum() / 255 - (covered >= 0).sum()) < 0.02 * (covered >= 0).sum()  # the same area


@pytest.mark.parametrize("shift", [(-1000.0, 0.0), (34.0, -900.0), (34.0, 1e7)])
def test_overlay_of_a_head_outside_the_frame(head: HeadModel, tiny_head: HeadAsset, shift) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (72, 66, 3), dtype=np.uint8)
    out = overlay(frame, head.mesh(head.neutral()), Camera(torch.tensor(300.0), torch.tensor(shift)), clay(tiny_head))
    assert np.array_equal(out, frame) and out is not frame


def test_overlay_of_a_head_partly_outside_or_broken(head: HeadModel, tiny_head: HeadAsset) -> None:
    frame = np.zeros((40, 30, 3), np.uint8)
    mesh = head.mesh(head.neutral())
    camera = Camera(torch.tensor(900.0), torch.tensor([5.0, 50.0]))
    wide = np.zeros((200, 150, 3), np.uint8)
    whole = overlay(wide, mesh, Camera(camera.s, camera.t + 60), clay(tiny_head), samples=2)
    np.testing.assert_array_equal(overlay(frame, mesh, camera, clay(tiny_head), samples=2), whole[60:100, 60:90])
    vertices = mesh.vertices.clone()
    vertices[::3] = torch.nan
    overlay(frame, Mesh(vertices, mesh.faces), camera, clay(tiny_head))  # draws what is left
    out = overlay(frame, Mesh(vertices * torch.nan, mesh.faces), camera, clay(tiny_head))
    assert np.array_equal(out, frame)


def test_overlay_shows_the_texture(head: HeadModel, camera: Camera, tiny_head: HeadAsset) -> None:
    mesh, black = head.mesh(head.neutral()), np.zeros((72, 66, 3), np.uint8)
    assert tiny_head.uv is not None and tiny_head.uv_faces is not None
    texture = np.zeros((64, 64, 3), np.float32)
    texture[:, :32] = (1, 0, 0)  # u < 0.5: x < 0, the left half of the picture
    texture[:, 32:] = (0, 1, 0)
    out = overlay(black, mesh, camera, skin(tiny_head, texture))
    assert (out[30:45, 20:32, 0] > 60).all() and (out[30:45, 20:32, 1] == 0).all()
    assert (out[30:45, 37:48, 1] > 60).all() and (out[30:45, 37:48, 0] == 0).all()
    with pytest.raises(ValueError, match="head tiny has no texture coordinates; use clay"):
        skin(dataclasses.replace(tiny_head, uv=None, uv_faces=None))
    with pytest.raises(ValueError, match="head tiny has no albedo; use clay"):
        skin(dataclasses.replace(tiny_head, albedo_mean=None))


def test_clay_without_regions(tiny_head: HeadAsset) -> None:
    paint = clay(dataclasses.replace(tiny_head, regions={}))
    assert len(np.unique(paint.colours, axis=0)) == 1
    paint = clay(tiny_head)
    left = tiny_head.regions["left_eye"] > 0
    assert paint.colours[left].min() < 0.3 and paint.colours[left].max() > 0.9  # a pupil and the white around it
