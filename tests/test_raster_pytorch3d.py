"""PyTorch3D's rasteriser against ours, in pixels and in pictures; runs under ``make test-pytorch3d``."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

import model.render
import model.views
from model.asset import HeadAsset
from model.camera import project_with_depth
from model.head import HeadModel
from model.params import Camera
from model.raster import cpu
from model.raster import pytorch3d as backend
from model.render import clay, overlay
from model.uv import UVLayout

installed = importlib.util.find_spec("pytorch3d") is not None
needs_pytorch3d = pytest.mark.skipif(not installed, reason="PyTorch3D is not installed; run make test-pytorch3d")


@pytest.fixture
def posed(tiny_head: HeadAsset):
    head = HeadModel(tiny_head)
    neutral = head.neutral(4)
    torch.manual_seed(0)
    params = dataclasses.replace(
        neutral,
        pose=torch.randn(4, 3) * 0.5,
        expression=torch.rand_like(neutral.expression),
        jaw=torch.tensor([0.2, 0, 0]).expand(4, 3),
    )
    camera = Camera(torch.tensor([900.0, 1100, 1000, 1400]), torch.tensor([[120.0, 110.0]]).expand(4, 2))
    return head.mesh(params), camera


@needs_pytorch3d
@pytest.mark.parametrize(("height", "width"), [(224, 224), (180, 260), (250, 200)])
@pytest.mark.parametrize("cull", [False, True])
def test_same_face_on_nearly_every_pixel(posed, height: int, width: int, cull: bool) -> None:
    mesh, camera = posed
    points = project_with_depth(camera, mesh.vertices)
    ours = cpu.rasterise(points, mesh.faces, height, width, cull)
    theirs = backend.rasterise(points, mesh.faces, height, width, cull)
    covered = (ours.face >= 0) | (theirs.face >= 0)
    same = (ours.face == theirs.face) & covered
    assert covered.float().mean() > 0.2
    assert same.sum() / covered.sum() >= 0.999
    assert (ours.barycentric - theirs.barycentric)[same].abs().max() < 1e-4
    torch.testing.assert_close(ours.depth[same], theirs.depth[same], atol=1e-3, rtol=1e-5)


@needs_pytorch3d
def test_same_pictures(posed, tiny_head: HeadAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, camera = posed
    layout = UVLayout(tiny_head, 64)
    torch.manual_seed(1)
    albedo, light = torch.rand(4, 3, 8, 8), torch.rand(4, 9, 3)

    def pictures() -> list[torch.Tensor]:
        surface = model.views.look(mesh, camera, 200, 240)
        normals = model.views.normal_view(surface)
        grey, alpha = model.views.shape_view(surface)
        lit = model.views.textured_view(surface, normals, albedo, light, layout)
        return [normals, grey, alpha, lit, model.views.depth_view(surface)]

    ours = pictures()
    monkeypatch.setattr(model.views, "rasterise", backend.rasterise)
    for picture, other in zip(ours, pictures(), strict=True):
        assert ((picture - other).abs().amax(1) < 1e-3).float().mean() > 0.999


@needs_pytorch3d
def test_same_overlay(posed, tiny_head: HeadAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, camera = posed
    one = dataclasses.replace(mesh, vertices=mesh.vertices[0])
    seen_from = Camera(camera.s[0], camera.t[0])
    frame = np.random.default_rng(0).integers(0, 255, (220, 240, 3), dtype=np.uint8)
    ours = overlay(frame, one, seen_from, clay(tiny_head))
    monkeypatch.setattr(model.render, "rasterise", backend.rasterise)
    theirs = overlay(frame, one, seen_from, clay(tiny_head))
    difference = np.abs(ours.astype(int) - theirs).max(-1)
    assert (ours != frame).any(-1).mean() > 0.2
    assert (difference <= 1).mean() > 0.999


@needs_pytorch3d
def test_nothing_to_draw() -> None:
    found = backend.rasterise(torch.rand(2, 4, 3), torch.zeros(0, 3, dtype=torch.long), 5, 6)
    assert (found.face == -1).all() and not found.barycentric.any() and (found.depth == -torch.inf).all()


@pytest.mark.skipif(installed, reason="PyTorch3D is installed here")
def test_its_absence_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match=r"PyTorch3D is not installed; pip install decatrack\[pytorch3d\]"):
        backend.rasterise(torch.rand(3, 3), torch.tensor([[0, 1, 2]]), 4, 4)
