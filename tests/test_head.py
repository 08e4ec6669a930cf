"""The head model: what blendshapes, correctives and skinning must satisfy, at points and on the whole mesh."""

import dataclasses

import numpy as np
import pytest
import roma
import torch
from heads import EXPRESSIONS, IDENTITIES

from model.asset import HeadAsset, SurfacePoints
from model.head import HeadModel
from model.mesh import Mesh, edges, face_normals, vertex_normals
from model.params import FaceParams


def random_params(*batch: int, seed: int = 0, dtype: torch.dtype = torch.float64, angle: float = 0.3) -> FaceParams:
    generator = torch.Generator().manual_seed(seed)

    def draw(size: int, scale: float) -> torch.Tensor:
        return torch.randn(*batch, size, generator=generator, dtype=dtype) * scale

    return FaceParams(
        shape=draw(IDENTITIES, 1),
        expression=draw(EXPRESSIONS, 0.5).abs(),
        pose=draw(3, angle),
        neck=draw(3, angle),
        jaw=draw(3, angle),
        eyes=draw(6, angle),
    )


def random_points(asset: HeadAsset, count: int) -> SurfacePoints:
    rng = np.random.default_rng(0)
    face = rng.integers(0, len(asset.faces), count)
    return SurfacePoints(face, rng.dirichlet(np.ones(3), count).astype(np.float32))


@pytest.fixture
def head(tiny_head: HeadAsset) -> HeadModel:
    return HeadModel(tiny_head).double()


def test_zero_parameters_give_the_template(head: HeadModel) -> None:
    # The weights' rows sum to one in float32 only.
    torch.testing.assert_close(head(head.neutral()), head.template, atol=2e-8, rtol=0)


def test_codes_are_linear_before_posing(head: HeadModel, tiny_head: HeadAsset) -> None:
    neutral = head.neutral()
    shape = torch.linspace(-2, 2, IDENTITIES, dtype=torch.float64)
    expression = torch.linspace(0, 1, EXPRESSIONS, dtype=torch.float64)
    moved = head(dataclasses.replace(neutral, shape=shape, expression=expression))
    expected = tiny_head.template + tiny_head.shapedirs @ shape.numpy() + tiny_head.exprdirs @ expression.numpy()
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_a_global_rotation_turns_everything_about_the_root(head: HeadModel) -> None:
    params = random_params()
    still = dataclasses.replace(params, pose=torch.zeros(3, dtype=torch.float64))
    root = head.skeleton(still).rest[0]
    rotation = roma.rotvec_to_rotmat(params.pose)
    torch.testing.assert_close(head(params), (head(still) - root) @ rotation.T + root, atol=2e-8, rtol=0)


def test_skinning_against_a_transcription_of_the_formula(tiny_head: HeadAsset) -> None:
    """FLAME's eq. 1 with 4 x 4 matrices, one vertex and one joint after the other."""
    params = random_params(angle=0.5)
    axis_angle = torch.cat([params.pose, params.neck, params.jaw, params.eyes]).view(5, 3)
    local = roma.rotvec_to_rotmat(axis_angle).numpy()
    blended = tiny_head.template + tiny_head.shapedirs @ params.shape.numpy()
    blended = blended + tiny_head.exprdirs @ params.expression.numpy()
    joints = tiny_head.joint_regressor.astype(float) @ blended
    blended = blended + tiny_head.posedirs @ (local[1:] - np.eye(3)).reshape(-1)
    world = []
    for joint, parent in enumerate(tiny_head.parents):
        transform = np.eye(4)
        transform[:3, :3] = local[joint]
        transform[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ transform if parent >= 0 else transform)
    expected = np.zeros_like(blended)
    for joint in range(5):
        relative = blended - joints[joint]
        posed = relative @ world[joint][:3, :3].T + world[joint][:3, 3]
        expected += tiny_head.weights[:, joint : joint + 1] * posed
    head = HeadModel(tiny_head).double()
    np.testing.assert_allclose(head(params), expected, atol=1e-8)
    np.testing.assert_allclose(head.skeleton(params).joints, np.array(world)[:, :3, 3], atol=1e-8)


def test_joints_follow_shape_and_expression(head: HeadModel, tiny_head: HeadAsset) -> None:
    params = random_params()
    still = dataclasses.replace(head.neutral(), shape=params.shape, expression=params.expression)
    expected = tiny_head.joint_regressor.astype(float) @ head(still).numpy()
    np.testing.assert_allclose(head.skeleton(params).rest, expected, atol=1e-9)


def test_the_jaw_moves_the_chin_and_the_eyes_turn_the_eyeballs(head: HeadModel, tiny_head: HeadAsset) -> None:
    opened = dataclasses.replace(head.neutral(), jaw=torch.tensor([0.3, 0, 0], dtype=torch.float64))
    moved = (head(opened) - head.template).norm(dim=-1)
    chin = torch.from_numpy((tiny_head.template[:, 1] < -0.05) & (tiny_head.template[:, 2] > 0.05))
    assert moved[chin].min() > 0.01
    left = dataclasses.replace(head.neutral(), eyes=torch.tensor([0, 0.3, 0, 0, 0, 0], dtype=torch.float64))
    moved = head(left) - head.template
    mask = torch.from_numpy(tiny_head.regions["left_eye"] > 0.5)
    pupil = tiny_head.template[:, 2] * tiny_head.regions["left_eye"]
    assert moved[int(pupil.argmax()), 0] > 0.003  # +y turns the gaze to the subject's left, +x
    torch.testing.assert_close(
        torch.cdist(head(left)[mask], head(left)[mask]),
        torch.cdist(head.template[mask], head.template[mask]),
        atol=1e-3,
        rtol=0,
    )  # round, but for the correctives


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_batches(head: HeadModel, tiny_head: HeadAsset, batch: tuple[int, ...]) -> None:
    params = random_params(*batch)
    points = head.at(random_points(tiny_head, 20))
    vertices = head(params)
    assert vertices.shape == (*batch, *head.template.shape) and points(params).shape == (*batch, 20, 3)
    for index in np.ndindex(*batch):
        one = FaceParams(**{f.name: getattr(params, f.name)[index] for f in dataclasses.fields(params)})
        torch.testing.assert_close(vertices[index], head(one), atol=1e-12, rtol=0)
        torch.testing.assert_close(points(params)[index], points(one), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-8)])
def test_points_are_the_interpolated_mesh(tiny_head: HeadAsset, dtype: torch.dtype, tolerance: float) -> None:
    points = random_points(tiny_head, 300)
    head = HeadModel(tiny_head).to(dtype)
    params = random_params(3, dtype=dtype, angle=0.5)
    corners = head(params)[:, tiny_head.faces[points.face]]
    expected = (corners * torch.from_numpy(points.barycentric)[..., None].to(dtype)).sum(-2)
    actual = head.at(points)(params)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def test_the_arrays_of_points_are_what_their_docstring_says(head: HeadModel, tiny_head: HeadAsset) -> None:
    params = random_params()
    points = head.at(random_points(tiny_head, 30))
    skeleton = points.skeleton(params)
    rest = points.template + points.shapedirs @ params.shape + points.exprdirs @ params.expression
    rest = rest + points.posedirs @ skeleton.corrective
    terms = torch.einsum("tij,tj->ti", skeleton.rotation[points.joint], rest)
    terms = terms + points.weight[:, None] * skeleton.offset[points.joint]
    total = torch.zeros(30, 3, dtype=torch.float64).index_add(0, points.point, terms)
    torch.testing.assert_close(points(params), total, atol=1e-12, rtol=0)
    share = torch.zeros(30, dtype=torch.float64).index_add(0, points.point, points.weight)
    torch.testing.assert_close(share, torch.ones_like(share), atol=1e-6, rtol=0)


def test_gradients(head: HeadModel, tiny_head: HeadAsset) -> None:
    points = head.at(random_points(tiny_head, 4))
    for params in (random_params(2), head.neutral(2)):  # rotations by exactly zero are where they go wrong
        values = tuple(getattr(params, f.name).clone().requires_grad_() for f in dataclasses.fields(params))
        assert torch.autograd.gradcheck(lambda *v: points(FaceParams(*v)), values)
        assert torch.autograd.gradcheck(lambda *v: head(FaceParams(*v))[..., ::90, :], values)


def test_float32_gradients_at_rest_are_finite(tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head)
    for scale in (0.0, 1e-8, 1e-4):
        params = head.neutral()
        pose = torch.full((3,), scale, requires_grad=True)
        head(dataclasses.replace(params, pose=pose, neck=pose, jaw=pose)).square().sum().backward()
        assert pose.grad is not None and pose.grad.isfinite().all()


def test_the_wrong_number_of_coefficients_is_one_clear_line(head: HeadModel) -> None:
    params = dataclasses.replace(head.neutral(), shape=torch.zeros(7, dtype=torch.float64))
    with pytest.raises(ValueError, match="shape has 7 coefficients, head tiny has 10"):
        head(params)


def test_parameters_are_left_alone(head: HeadModel) -> None:
    params = random_params(2)
    before = [getattr(params, f.name).clone() for f in dataclasses.fields(params)]
    head(params)
    assert all(torch.equal(b, getattr(params, f.name)) for b, f in zip(before, dataclasses.fields(params), strict=True))


def test_nothing_goes_into_a_state_dict(head: HeadModel) -> None:
    assert not head.state_dict() and not list(head.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda(tiny_head: HeadAsset) -> None:
    params = random_params(2, dtype=torch.float32)
    cuda = FaceParams(**{f.name: getattr(params, f.name).cuda() for f in dataclasses.fields(params)})
    head = HeadModel(tiny_head).cuda()
    torch.testing.assert_close(head(cuda).cpu(), HeadModel(tiny_head)(params), atol=1e-6, rtol=0)
    points = head.at(random_points(tiny_head, 9))
    assert points(cuda).is_cuda


def test_normals_of_a_head_point_outwards(head: HeadModel) -> None:
    mesh = head.mesh(head.neutral())
    normals = vertex_normals(mesh)
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals), dtype=torch.float64))
    skull = 18 * 26 + 2
    gradient = mesh.vertices[:skull] / torch.tensor([0.075, 0.11, 0.09], dtype=torch.float64) ** 2
    cosine = (torch.nn.functional.normalize(gradient, dim=-1) * normals[:skull]).sum(-1)
    assert cosine.min() > 0.98
    assert (face_normals(mesh).norm(dim=-1) > 0).all()


def test_normals_turn_with_the_mesh_and_ignore_its_scale(head: HeadModel) -> None:
    mesh = head.mesh(random_params(2))
    rotation = roma.random_rotmat(dtype=torch.float64)
    turned = Mesh(mesh.vertices @ rotation.T * 1e-3, mesh.faces)
    torch.testing.assert_close(vertex_normals(turned), vertex_normals(mesh) @ rotation.T, atol=1e-9, rtol=0)


def test_normals_are_weighted_by_area() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 1], [9, 9, 9]])
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))  # areas 2 and 1, normals +z and +x
    expected = torch.tensor([1.0, 0, 2]) / 5**0.5
    torch.testing.assert_close(vertex_normals(mesh)[0], expected)
    assert vertex_normals(mesh)[4].tolist() == [0, 0, 0]


def test_every_edge_once(tiny_head: HeadAsset) -> None:
    pairs = edges(torch.from_numpy(tiny_head.faces))
    assert len(pairs) == len(pairs.unique(dim=0)) and (pairs[:, 0] < pairs[:, 1]).all()
    # Three closed surfaces of genus 0: V - E + F = 2 each (Euler).
    assert len(tiny_head.template) - len(pairs) + len(tiny_head.faces) == 6
