"""Detail: UV grids, displaced surfaces, dense meshes without gaps, textures taken from pictures."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.dense import DenseSurface, subdivision_for
from model.detail import DetailSurface, detail_mask
from model.head import HeadModel
from model.mesh import Mesh, edges, vertex_normals
from model.params import Camera
from model.texture import extract_texture
from model.uv import UVLayout, grid_coordinates, sample, surface_normals
from model.views import (
    composite,
    depth_view,
    detail_normal_view,
    look,
    normal_view,
    shading_view,
    shape_view,
    textured_view,
)


@pytest.fixture(scope="module")
def layout(tiny_head: HeadAsset) -> UVLayout:
    return UVLayout(tiny_head, 128)


@pytest.fixture(scope="module")
def mesh(tiny_head: HeadAsset) -> Mesh:
    return HeadModel(tiny_head).mesh(HeadModel(tiny_head).neutral(2))


def camera(batch: int = 2, scale: float = 300.0) -> Camera:
    return Camera(torch.full((batch,), scale), torch.tensor([[30.0, 36.0]]).expand(batch, 2))


def test_the_map_carries_what_is_linear(tiny_head: HeadAsset, layout: UVLayout) -> None:
    assert tiny_head.uv is not None and tiny_head.uv_faces is not None
    # Each texel's own UV, carried by way of texture vertices, is the texel's centre.
    own = dataclasses.replace(tiny_head, faces=tiny_head.uv_faces)
    uv = UVLayout(own, 128).carry(torch.from_numpy(tiny_head.uv))
    centres = (torch.arange(128) + 0.5) / 128
    inside = layout.covered > 0
    assert 0.5 < inside.float().mean() < 1
    torch.testing.assert_close(uv[0][inside], centres.expand(128, 128)[inside], atol=1e-5, rtol=0)
    torch.testing.assert_close(uv[1][inside], (1 - centres)[:, None].expand(128, 128)[inside], atol=1e-5, rtol=0)


def test_sampling_a_map_at_its_texels_gives_the_map(layout: UVLayout) -> None:
    texture = torch.rand(2, 3, 16, 16)
    centres = (torch.arange(16) + 0.5) / 16
    uv = torch.stack(torch.meshgrid(centres, 1 - centres, indexing="xy"), -1)
    torch.testing.assert_close(sample(texture, grid_coordinates(uv).expand(2, -1, -1, -1)), texture)


def test_grid_normals_are_those_of_its_triangles() -> None:
    torch.manual_seed(0)
    positions = torch.rand(2, 3, 5, 7)
    index = torch.arange(35).reshape(5, 7)
    a, b, c, d = (x.reshape(-1) for x in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = torch.cat([torch.stack([a, c, b], -1), torch.stack([b, c, d], -1)])
    expected = vertex_normals(Mesh(positions.flatten(2).mT, faces)).mT.reshape(2, 3, 5, 7)
    torch.testing.assert_close(surface_normals(positions), expected, atol=1e-5, rtol=1e-4)


def test_a_constant_displacement_grows_a_sphere(tiny_head: HeadAsset, layout: UVLayout, mesh: Mesh) -> None:
    sphere = Mesh(torch.nn.functional.normalize(mesh.vertices, dim=-1) * 0.1, mesh.faces)
    surface = DetailSurface(dataclasses.replace(tiny_head, fixed_displacement=None), layout)
    surface.mask = torch.ones_like(surface.mask)
    maps = surface(sphere, torch.full((2, 128, 128), 0.02))
    skull = (layout.covered > 0) & (torch.arange(128)[:, None] > 24)  # the eyeballs' charts are above
    radius = maps.positions.norm(dim=1)[:, skull]
    assert radius.min() > 0.112 and radius.max() < 0.1201  # flat triangles cut the corners
    round_radius = DetailSurface(tiny_head, layout, curved=True)(sphere, torch.zeros(2, 128, 128)).positions.norm(dim=1)
    flat_radius = layout.carry(sphere.vertices).norm(dim=1)
    assert (0.1 - round_radius[:, skull]).clamp(min=0).mean() < 0.35 * (0.1 - flat_radius[:, skull]).mean()


def test_curved_detail_without_displacement_shades_as_the_coarse_head(
    tiny_head: HeadAsset, layout: UVLayout, mesh: Mesh
) -> None:
    bare = dataclasses.replace(tiny_head, fixed_displacement=None)
    normals = DetailSurface(bare, layout, curved=True)(mesh, torch.zeros(2, 128, 128)).normals
    smooth = layout.carry(vertex_normals(mesh))
    inside = layout.covered > 0
    unit = torch.nn.functional.normalize(smooth, dim=1)
    angle = torch.nn.functional.cosine_similarity(normals, unit, dim=1)[:, inside]
    assert angle.min() > 0.9999
    dense = DenseSurface(tiny_head, 3)(mesh)
    corners = dense.mesh.vertices.shape[1]
    assert dense.normals.shape == (2, corners, 3)
    at_corner = DenseSurface(tiny_head, 1)(mesh)
    torch.testing.assert_close(at_corner.normals.sum(1), vertex_normals(mesh).sum(1), atol=1e-3, rtol=1e-4)


def test_mask_and_fixed_displacement(tiny_head: HeadAsset, layout: UVLayout, mesh: Mesh) -> None:
    fixed = np.full((64, 64), 1e-3, np.float32)
    mask = np.zeros((256, 256), np.float32)
    mask[128:] = 1
    head = dataclasses.replace(tiny_head, fixed_displacement=fixed, uv_masks={"face_eye": mask})
    maps = DetailSurface(head, layout)(mesh, torch.full((2, 32, 32), 2e-3))
    torch.testing.assert_close(maps.displacement[:, :63], torch.full((2, 63, 128), 1e-3))
    torch.testing.assert_close(maps.displacement[:, 65:], torch.full((2, 63, 128), 3e-3))
    torch.testing.assert_close(maps.normals[..., :63, :], layout.carry(vertex_normals(mesh))[..., :63, :])


def test_detail_mask_from_regions(tiny_head: HeadAsset, layout: UVLayout) -> None:
    masked = detail_mask(dataclasses.replace(tiny_head, uv_masks={}), layout)
    assert masked[-30:-6].mean() > 0.99 and masked[:10].mean() < 0.1  # skull below, eyeballs on top
    bare = dataclasses.replace(tiny_head, uv_masks={}, regions={})
    torch.testing.assert_close(detail_mask(bare, layout), layout.covered)


@pytest.mark.parametrize("subdivision", [1, 2, 5])
def test_a_dense_mesh_is_as_closed_as_the_head(tiny_head: HeadAsset, subdivision: int) -> None:
    dense = DenseSurface(tiny_head, subdivision)
    assert len(dense.faces) == len(tiny_head.faces) * subdivision**2
    directed = torch.cat([dense.faces[:, [0, 1]], dense.faces[:, [1, 2]], dense.faces[:, [2, 0]]])
    assert len(torch.unique(directed, dim=0)) == len(directed)  # consistently wound
    assert 2 * len(edges(dense.faces)) == 3 * len(dense.faces)  # closed, as the ellipsoids are
    coarse = edges(torch.from_numpy(tiny_head.faces))
    inner = len(tiny_head.faces) * (subdivision - 1) * (subdivision - 2) // 2
    assert len(dense.corner) == len(tiny_head.template) + len(coarse) * (subdivision - 1) + inner


def test_a_dense_mesh_stays_closed_where_the_map_is_cut(tiny_head: HeadAsset, mesh: Mesh) -> None:
    torch.manual_seed(0)
    displacement = torch.rand(2, 128, 128) * 0.005  # different on the two sides of every seam
    dense = DenseSurface(tiny_head, 3)(mesh, displacement, torch.rand(2, 3, 32, 32))
    assert dense.mesh.vertices.shape == (2, int(dense.mesh.faces.max()) + 1, 3)
    assert dense.colours is not None and dense.colours.min() >= 0 and dense.colours.max() <= 1

    # The volume (divergence theorem) does not depend on the origin only if nothing is open.
    def volume(shift: float) -> torch.Tensor:
        corners = (dense.mesh.vertices.double() + shift)[:, dense.mesh.faces]
        return torch.linalg.det(corners).sum(-1) / 6

    torch.testing.assert_close(volume(0.0), volume(10.0), rtol=1e-6, atol=1e-9)
    assert (volume(0.0) > 0).all()


def test_a_dense_mesh_follows_the_map(tiny_head: HeadAsset, mesh: Mesh) -> None:
    dense = DenseSurface(tiny_head, 2)
    flat, raised = dense(mesh), dense(mesh, torch.full((2, 16, 16), 2e-3))
    moved = (raised.mesh.vertices - flat.mesh.vertices).norm(dim=-1)
    torch.testing.assert_close(moved.max(), torch.tensor(2e-3), rtol=1e-3, atol=0)
    assert moved.min() > 1.5e-3  # interpolated normals are a little shorter
    outwards = (raised.mesh.vertices - flat.mesh.vertices) * vertex_normals(flat.mesh)
    assert (outwards.sum(-1) > 1e-3).float().mean() > 0.99


def test_dense_colours_are_the_textures(tiny_head: HeadAsset, mesh: Mesh) -> None:
    ramp = ((torch.arange(256) + 0.5) / 256)[:, None].expand(256, 256)  # rows: 1 − v, the same on both sides of a seam
    dense = DenseSurface(tiny_head, 3)
    colours = dense(mesh, texture=ramp.expand(2, 3, 256, 256)).colours
    assert tiny_head.uv is not None and tiny_head.uv_faces is not None and colours is not None
    corner = dense.weight.argmax(1)
    whole = dense.weight.max(1).values == 1
    v = np.empty(len(tiny_head.template), np.float32)
    v[tiny_head.faces] = tiny_head.uv[tiny_head.uv_faces][..., 1]
    at = dense.corner[torch.arange(len(corner)), corner][whole]
    torch.testing.assert_close(colours[0, whole, 0], 1 - torch.from_numpy(v)[at], atol=3e-3, rtol=0)


def test_subdivision_for_a_map(tiny_head: HeadAsset) -> None:
    assert subdivision_for(tiny_head, 1) == 1
    assert subdivision_for(tiny_head, 512) >= 2 * subdivision_for(tiny_head, 256) - 1
    with pytest.raises(ValueError, match="subdivision is 0"):
        DenseSurface(tiny_head, 0)
    bare = dataclasses.replace(tiny_head, uv=None, uv_faces=None)
    for make in (DenseSurface, UVLayout):
        with pytest.raises(ValueError, match="no texture coordinates"):
            make(bare)


def test_views_agree_with_each_other(layout: UVLayout, mesh: Mesh) -> None:
    surface = look(mesh, camera(), 72, 60)
    normals = normal_view(surface)
    inside = surface.alpha[:, 0] > 0
    assert 0.2 < inside.float().mean() < 0.9
    shape, alpha = shape_view(surface)
    assert shape.shape == (2, 3, 72, 60) and (shape[:, :, 0, 0] == 0).all()
    torch.testing.assert_close(alpha, surface.alpha)  # nothing of a closed head is seen from its inside
    # The map of the smooth normals gives what interpolating them gives, but for the map's resolution.
    from_map = detail_normal_view(surface, layout.carry(vertex_normals(mesh)), layout)
    assert (from_map - normals).abs().movedim(1, -1)[inside].quantile(0.9) < 0.03
    white = textured_view(surface, normals, torch.ones(2, 3, 8, 8), torch.ones(2, 9, 3), layout)
    torch.testing.assert_close(white, shading_view(normals, torch.ones(2, 9, 3)) * surface.alpha)
    depth = depth_view(surface)
    assert depth.max() <= mesh.vertices[..., 2].max() and depth[:, 0][inside].min() > -0.05
    background = torch.rand(2, 3, 72, 60)
    over = composite(white, surface.alpha, background)
    torch.testing.assert_close(over.movedim(1, -1)[~inside], background.movedim(1, -1)[~inside])
    torch.testing.assert_close(over.movedim(1, -1)[inside], white.movedim(1, -1)[inside])


def test_gradients_of_a_picture(tiny_head: HeadAsset, layout: UVLayout) -> None:
    """Central differences: geometry, albedo, light and camera; a pixel's triangle is constant, so seen pixels only."""
    layout = UVLayout(tiny_head, 32).double()
    template = torch.from_numpy(tiny_head.template).double()[None]
    faces = torch.from_numpy(tiny_head.faces)
    torch.manual_seed(3)
    albedo = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    light = torch.rand(1, 9, 3, dtype=torch.float64)
    weights = torch.rand(1, 3, 20, 18, dtype=torch.float64)
    base = (template, albedo, light, torch.tensor([85.0], dtype=torch.float64), torch.tensor([[9.0, 10.0]]).double())
    steady = look(Mesh(template, faces), Camera(base[3], base[4]), 20, 18)
    grid = steady.grid(layout)
    near = torch.nn.functional.max_pool2d(-steady.alpha, 3, 1, 1) == -1  # not at the silhouette
    cell = (grid * 2 - 0.5).frac().abs()  # away from where bilinear sampling of 4² bends
    mask = near & ((cell > 0.05) & (cell < 0.95)).all(-1)[:, None]

    def value(vertices, colours, coefficients, s, t):
        surface = look(Mesh(vertices, faces), Camera(s, t), 20, 18)
        picture = textured_view(surface, normal_view(surface), colours, coefficients, layout)
        kept = mask & (surface.fragments.face == steady.fragments.face)[:, None]
        return (picture * weights * kept).sum(), kept

    leaves = [x.clone().requires_grad_() for x in base]
    value(*leaves)[0].backward()
    directions = [torch.randn_like(x) for x in base]
    for index, (x, direction) in enumerate(zip(base, directions, strict=True)):
        step = 1e-7 * (1 if index == 0 else 10)
        up, down = ([*base[:index], x + sign * step * direction, *base[index + 1 :]] for sign in (1, -1))
        (high, kept_high), (low, kept_low) = value(*up), value(*down)
        assert kept_high.equal(kept_low) and kept_high.sum() > 60
        gradient = leaves[index].grad
        assert gradient is not None
        slope = float((high - low) / (2 * step))
        assert math.isclose(slope, float((gradient * direction).sum()), rel_tol=2e-4, abs_tol=1e-5), index


def test_a_texture_taken_from_a_picture_is_the_one_that_was_painted(tiny_head: HeadAsset) -> None:
    head, layout = HeadModel(tiny_head), UVLayout(tiny_head, 96)
    neutral = head.neutral(1)
    posed = head.mesh(dataclasses.replace(neutral, pose=torch.tensor([[0.1, 0.4, 0.05]])))
    v, u = torch.meshgrid(torch.linspace(0, 6, 96), torch.linspace(0, 6, 96), indexing="ij")
    texture = torch.stack([torch.sin(u), torch.cos(v), torch.sin(u + v)])[None] * 0.4 + 0.5
    seen_from = Camera(torch.tensor([1500.0]), torch.tensor([[150.0, 180.0]]))
    surface = look(posed, seen_from, 360, 310)
    picture = sample(texture, surface.grid(layout)) * surface.alpha
    found = extract_texture(picture, posed, seen_from, layout)
    visible = found.visible[0, 0] > 0
    assert 0.2 < visible.float().mean() < 0.6
    error = (found.colour - texture).abs().amax(1)[0][visible]
    assert error.quantile(0.95) < 0.02
    # What is turned away or behind something else is not visible: its normal's z, or an eyeball inside of the skull.
    facing = layout.carry(vertex_normals(posed))[0, 2]
    assert (facing[visible] > 0.05).all()
    assert not visible[(facing < 0.05)].any()
    hidden = Mesh(
        torch.cat([posed.vertices, posed.vertices + torch.tensor([0, 0, 0.3])], 1),
        torch.cat([posed.faces, posed.faces + posed.vertices.shape[1]]),
    )
    behind = look(hidden, seen_from, 360, 310)
    assert (behind.fragments.face[behind.fragments.face >= 0] >= len(posed.faces)).all()


def test_a_texture_is_not_taken_through_something_in_front(tiny_head: HeadAsset) -> None:
    """Two eyeballs in one line of sight: only the nearer one is visible."""
    assert tiny_head.uv is not None
    left = np.flatnonzero(tiny_head.regions["left_eye"] > 0)
    template = tiny_head.template.copy()
    template[left] += np.array([0, 0, 0.2], np.float32)  # far in front of the face
    head = dataclasses.replace(tiny_head, template=template)
    layout = UVLayout(head, 128)
    mesh = Mesh(torch.from_numpy(template)[None], torch.from_numpy(head.faces))
    seen_from = Camera(torch.tensor([1200.0]), torch.tensor([[110.0, 140.0]]))
    visible = extract_texture(torch.rand(1, 3, 280, 220), mesh, seen_from, layout).visible[0, 0]
    place = layout.carry(mesh.vertices)[0]
    eye = torch.from_numpy(template[left]).mean(0)
    shadow = ((place[:2] - eye[:2, None, None]).norm(dim=0) < 0.012) & (place[2] > 0) & (layout.covered > 0)
    behind, front = shadow & (place[2] < 0.12), shadow & (place[2] > 0.274)
    assert behind.sum() > 20 and front.sum() > 5
    assert not visible[behind].any()
    assert visible[front].float().mean() > 0.95


def test_what_lies_outside_of_the_picture_is_not_visible(tiny_head: HeadAsset, layout: UVLayout, mesh: Mesh) -> None:
    half = Camera(torch.full((2,), 300.0), torch.tensor([[0.0, 36.0]]).expand(2, 2))  # the nose at the left border
    found = extract_texture(torch.rand(2, 3, 72, 60), mesh, half, layout)
    left = layout.carry(mesh.vertices)[:, 0] < -1e-3
    assert not (found.visible[:, 0] > 0)[left].any()
    assert (found.visible[:, 0] > 0)[~left].float().mean() > 0.2
