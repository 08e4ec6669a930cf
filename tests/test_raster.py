"""The rasterisers: the rules on cases that can be counted by hand, and all of them the same pixels as the reference."""

import numba
import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.camera import project_with_depth
from model.head import HeadModel
from model.params import Camera
from model.raster import cpu, reference
from model.raster import torch as vectorised
from model.raster.fragments import Fragments, barycentrics, interpolate

ALL = pytest.mark.parametrize("rasterise", [reference.rasterise, cpu.rasterise, vectorised.rasterise])
FAST = pytest.mark.parametrize("rasterise", [cpu.rasterise, vectorised.rasterise])
ONE = torch.tensor([[0, 1, 2]])


def identical(a: Fragments, b: Fragments) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("face", "barycentric", "depth"))


def soup(seed: int, count: int, dtype: torch.dtype, snapped: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Triangles of all sizes and orientations, some beyond the 48 by 40 frame; snapped ones have edges on centres."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(3 * count, 3, dtype=dtype, generator=generator) * 80 - 20
    shift = torch.rand(count, 1, 3, dtype=dtype, generator=generator)
    size = torch.rand(count, 1, 1, dtype=dtype, generator=generator) ** 3
    vertices = (vertices.view(count, 3, 3) * size + shift * 40).reshape(-1, 3)
    if snapped:
        vertices[:, :2] = vertices[:, :2].round() + 0.5
    return vertices, torch.arange(3 * count).view(count, 3)


@FAST
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("snapped", [False, True])
@pytest.mark.parametrize("cull", [False, True])
def test_same_pixels_as_the_reference(rasterise, dtype, snapped, cull) -> None:
    for seed in range(3):
        vertices, faces = soup(seed, 150, dtype, snapped)
        expected = reference.rasterise(vertices, faces, 40, 48, cull)
        assert 500 < int((expected.face >= 0).sum()) <= 40 * 48
        assert identical(rasterise(vertices, faces, 40, 48, cull), expected)


@FAST
def test_same_pixels_on_a_batch_of_heads(rasterise, tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head)
    generator = torch.Generator().manual_seed(1)
    params = head.neutral(2, 2)
    params.pose[:] = torch.randn(2, 2, 3, generator=generator) * 0.5
    camera = Camera(torch.tensor(400.0).expand(2, 2), torch.tensor([47.0, 51.0]).expand(2, 2, 2))
    image = project_with_depth(camera, head(params))
    expected = reference.rasterise(image, head.faces, 96, 90)
    assert expected.face.shape == (2, 2, 96, 90)
    assert identical(rasterise(image, head.faces, 96, 90), expected)


def test_chunks_change_nothing(monkeypatch) -> None:
    vertices, faces = soup(5, 150, torch.float32, True)
    vertices, faces = torch.cat([vertices, vertices]), torch.cat([faces, faces + len(vertices)])  # every depth twice
    whole = vectorised.rasterise(vertices, faces, 40, 48)
    monkeypatch.setattr(vectorised, "CHUNK", 700)
    assert identical(vectorised.rasterise(vertices, faces, 40, 48), whole)
    assert identical(reference.rasterise(vertices, faces, 40, 48), whole)


def test_bands_change_nothing(monkeypatch) -> None:
    vertices, faces = soup(6, 40, torch.float32, False)
    vertices = vertices * 16
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 3)
    assert identical(cpu.rasterise(vertices, faces, 1001, 640), vectorised.rasterise(vertices, faces, 1001, 640))


@ALL
def test_pixel_centres(rasterise) -> None:
    triangle = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 4.0, 1.0]])
    fragments = rasterise(triangle, ONE, 4, 5)
    # Centres on x + y = 4 lie on the long edge, which is neither a top nor a left one.
    expected = [[0, 0, 0, -1, -1], [0, 0, -1, -1, -1], [0, -1, -1, -1, -1], [-1] * 5]
    assert fragments.face.tolist() == expected
    assert fragments.barycentric[1, 0].tolist() == [0.5, 0.125, 0.375]
    assert fragments.depth[3, 4] == -torch.inf and fragments.depth[0, 0] == 1


@ALL
def test_two_triangles_share_no_pixel_and_leave_no_gap(rasterise) -> None:
    for seed in range(20):  # the four corners on pixel centres: every rule about edges is used
        generator = torch.Generator().manual_seed(seed)
        corners = torch.tensor([[2, 2], [14, 2], [14, 12], [2, 12]]) + torch.randint(-2, 3, (4, 2), generator=generator)
        quad = torch.cat([corners + 0.5, torch.zeros(4, 1)], 1)
        a, b = torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 3]])
        one, two = (rasterise(quad, face, 16, 18).face >= 0 for face in (a, b))
        other = [rasterise(quad, torch.tensor(face), 16, 18).face >= 0 for face in ([[0, 1, 3]], [[1, 2, 3]])]
        assert not (one & two).any() and not (other[0] & other[1]).any()
        assert torch.equal(one | two, other[0] | other[1])  # the quad is the same whichever diagonal divides it


@ALL
def test_a_fan_covers_every_pixel_once(rasterise) -> None:
    generator = torch.Generator().manual_seed(3)
    angle = torch.linspace(0, 2 * torch.pi, 38, dtype=torch.float64)[:-1]
    ring = torch.stack([15 + 40 * angle.cos(), 15 + 40 * angle.sin(), torch.zeros_like(angle)], -1).float()
    centre = torch.tensor([[15.5, 14.5, 0.0]])  # on a centre: all triangles meet on a pixel
    vertices = torch.cat([centre, ring + torch.rand(37, 3, generator=generator)])
    faces = torch.stack([torch.zeros(37, dtype=torch.long), torch.arange(37) + 1, (torch.arange(37) + 1) % 37 + 1], -1)
    times = sum((rasterise(vertices, face[None], 30, 30).face >= 0).int() for face in faces)
    assert (times == 1).all()


@ALL
def test_the_nearer_triangle_wins_and_of_equals_the_first(rasterise) -> None:
    triangle = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    stack = torch.cat([triangle, triangle + torch.tensor([0.0, 0.0, 1.0]), triangle + torch.tensor([0.0, 0.0, 1.0])])
    face = rasterise(stack, torch.arange(9).view(3, 3), 6, 6).face
    assert set(face.unique().tolist()) == {-1, 1}


@ALL
def test_culling_keeps_what_faces_the_viewer(rasterise, tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head)
    camera = Camera(torch.tensor(300.0), torch.tensor([32.0, 36.0]))
    image = project_with_depth(camera, head(head.neutral()))
    whole, culled = (rasterise(image, head.faces, 72, 64, cull) for cull in (False, True))
    assert identical(whole, culled) and (whole.face >= 0).sum() > 1500  # a closed surface hides its own back
    assert (whole.depth[whole.face >= 0] > 0).all()


@ALL
def test_useless_triangles_cover_nothing(rasterise) -> None:
    nan, inf = torch.nan, torch.inf
    vertices = torch.tensor(
        [
            [[nan, 0, 0], [9, 0, 0], [0, 9, 0]],
            [[0, 0, inf], [9, 0, 0], [0, 9, 0]],
            [[0, -inf, 0], [9, 0, 0], [0, 9, 0]],
            [[1, 1, 0], [5, 5, 0], [3, 3, 0]],  # no area
            [[2, 2, 0], [2, 2, 0], [7, 3, 0]],
            [[-9, -9, 0], [-1, -9, 0], [-9, -1, 0]],  # outside
            [[1e30, 1e30, 0], [2e30, 1e30, 0], [1e30, 2e30, 0]],
            [[3.6, 3.6, 0], [4.4, 3.6, 0], [4.0, 4.4, 0]],  # between centres
        ]
    ).view(-1, 3)
    assert (rasterise(vertices, torch.arange(24).view(8, 3), 10, 10).face == -1).all()


@ALL
def test_no_triangles(rasterise) -> None:
    fragments = rasterise(torch.zeros(2, 4, 3), torch.zeros(0, 3, dtype=torch.long), 3, 5)
    assert fragments.face.shape == (2, 3, 5) and (fragments.face == -1).all()


@ALL
def test_a_triangle_larger_than_the_frame(rasterise) -> None:
    triangle = torch.tensor([[-1e7, -1e7, 5.0], [3e7, -1e7, 5.0], [-1e7, 3e7, 5.0]])
    fragments = rasterise(triangle, ONE, 20, 30)
    assert (fragments.face == 0).all()
    torch.testing.assert_close(fragments.depth, torch.full((20, 30), 5.0))


@FAST
def test_a_wrong_face_is_refused(rasterise) -> None:
    with pytest.raises(ValueError, match="faces name vertices 0 to 3, the mesh has 3"):
        rasterise(torch.zeros(3, 3), torch.tensor([[0, 1, 3]]), 4, 4)


def test_inputs_are_left_alone() -> None:
    vertices, faces = soup(2, 20, torch.float32, False)
    before = vertices.clone(), faces.clone()
    for rasterise in (reference.rasterise, cpu.rasterise, vectorised.rasterise):
        rasterise(vertices, faces, 40, 48)
    assert torch.equal(vertices, before[0]) and torch.equal(faces, before[1])


def test_interpolation_is_exact_for_affine_functions() -> None:
    vertices, faces = soup(4, 30, torch.float64, False)
    fragments = cpu.rasterise(vertices, faces, 40, 48)
    covered = fragments.face >= 0
    values = interpolate(
        torch.stack([vertices[:, 0], vertices[:, 1], torch.ones(90, dtype=torch.float64)], -1), faces, fragments
    )
    rows, columns = covered.nonzero(as_tuple=True)
    torch.testing.assert_close(values[covered][:, 0], columns + 0.5, check_dtype=False, atol=1e-9, rtol=0)
    torch.testing.assert_close(values[covered][:, 1], rows + 0.5, check_dtype=False, atol=1e-9, rtol=0)
    torch.testing.assert_close(values[..., 2], covered.double())
    depth = interpolate(vertices[:, 2:], faces, fragments)[..., 0]
    torch.testing.assert_close(depth[covered], fragments.depth[covered])


def test_interpolation_in_batches() -> None:
    vertices, faces = soup(4, 30, torch.float32, False)
    batch = torch.stack([vertices, vertices.flip(1) + 3, vertices * 0.7]).unsqueeze(1)
    fragments = cpu.rasterise(batch, faces, 40, 48)
    values = interpolate(batch, faces, fragments)
    weights = barycentrics(batch, faces, fragments)
    assert values.shape == (3, 1, 40, 48, 3)
    for k in range(3):
        single = cpu.rasterise(batch[k, 0], faces, 40, 48)
        torch.testing.assert_close(values[k, 0], interpolate(batch[k, 0], faces, single))
        torch.testing.assert_close(weights[k, 0], single.barycentric, atol=2e-3, rtol=0)


def test_gradients_of_attributes_and_positions() -> None:
    vertices, faces = soup(8, 6, torch.float64, False)
    vertices = vertices * 0.25
    fragments = cpu.rasterise(vertices, faces, 10, 12)
    assert (fragments.face >= 0).any() and (fragments.face < 0).any()
    attributes = torch.rand(18, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def image(points: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        return interpolate(colours, faces, fragments, barycentrics(points, faces, fragments))

    torch.testing.assert_close(image(vertices, attributes), interpolate(attributes, faces, fragments))
    vertices.requires_grad_()
    attributes.requires_grad_()
    assert torch.autograd.gradcheck(image, (vertices, attributes))
    # A degenerate triangle elsewhere must not put NaN into the gradient.
    with torch.no_grad():
        vertices[faces[0, 1]] = vertices[faces[0, 0]]
    hidden = Fragments(torch.where(fragments.face == 0, -1, fragments.face), fragments.barycentric, fragments.depth)
    interpolate(attributes, faces, hidden, barycentrics(vertices, faces, hidden)).sum().backward()
    assert vertices.grad is not None and vertices.grad.isfinite().all()


def test_compiles_where_nothing_can_be_cached(monkeypatch) -> None:
    """As in a read-only installation of a user without a home: numba raises when it finds no place for its cache."""
    from numba.core import caching

    monkeypatch.setattr(caching.FunctionCache._impl_class, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(lambda x: x)
    assert cpu.compiled(lambda x: x + 1)(np.float64(1)) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("snapped", [False, True])
def test_same_pixels_on_cuda(snapped: bool) -> None:
    vertices, faces = soup(1, 150, torch.float32, snapped)
    fragments = vectorised.rasterise(vertices.cuda(), faces.cuda(), 40, 48)
    on_cpu = Fragments(fragments.face.cpu(), fragments.barycentric.cpu(), fragments.depth.cpu())
    assert identical(on_cpu, reference.rasterise(vertices, faces, 40, 48))
