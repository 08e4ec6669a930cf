"""The reference implementation's numbers on synthetic assets: geometry, cameras, shading, rasterised views.

They lie beside the repository (``../shared/golden``), not in it; without them these tests skip.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from model.asset import HeadAsset, Landmarks, SurfacePoints
from model.camera import lift, project_crop
from model.crop import Crop
from model.head import HeadModel
from model.landmarks import HeadLandmarks
from model.mesh import Mesh, vertex_normals
from model.params import CropCamera, FaceParams
from model.render import shape_view, textured_view
from model.shading import sh_shading

FOLDER = Path(__file__).parents[2] / "shared" / "golden"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference numbers in {FOLDER}")


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    with np.load(FOLDER / "expected_seed0.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


@pytest.fixture(scope="module")
def fake():
    spec = importlib.util.spec_from_file_location("fake_assets", FOLDER / "fake_assets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def inputs(fake) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in fake.inputs(0).items()}


@pytest.fixture(scope="module")
def head(fake) -> HeadModel:
    fields = fake.flame_fields(np.random.default_rng([0, 1]))
    vertices, faces, uv, uv_faces = fake.ellipsoid()
    embedding = fake.landmark_embedding(np.random.default_rng([0, 2]), vertices, faces)

    def points(kind: str) -> SurfacePoints:
        barycentric = np.asarray(embedding[f"{kind}_lmk_bary_coords"], np.float32)
        return SurfacePoints(np.asarray(embedding[f"{kind}_lmk_faces_idx"], np.int64), barycentric)

    full = points("full")
    return HeadModel(
        HeadAsset(
            name="fake",
            template=fields["v_template"].astype(np.float32),
            faces=faces,
            shapedirs=fields["shapedirs"][..., :100].astype(np.float32),
            exprdirs=fields["shapedirs"][..., 300:350].astype(np.float32),
            posedirs=fields["posedirs"].astype(np.float32),
            joint_regressor=fields["J_regressor"].astype(np.float32),
            weights=fields["weights"].astype(np.float32),
            parents=np.array([-1, 0, 1, 1, 1]),
            uv=uv.astype(np.float32),
            uv_faces=uv_faces,
            landmarks=Landmarks(points("static"), points("dynamic"), SurfacePoints(full.face[0], full.barycentric[0])),
        )
    )


@pytest.fixture(scope="module")
def params(inputs) -> FaceParams:
    zero = torch.zeros(3, 6)
    pose = inputs["pose"]
    return FaceParams(inputs["shape"], inputs["exp"], pose[:, :3], zero[:, :3], pose[:, 3:], zero)


def close(actual: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, wanted, atol=tolerance, rtol=0)


def test_geometry(head, params, expected) -> None:
    landmarks = HeadLandmarks(head)
    close(head(params), expected["verts"], 1e-6)
    close(landmarks.ibug68(params), expected["landmarks2d_world"], 1e-6)
    close(landmarks.ibug68_fixed(params), expected["landmarks3d_world"], 1e-6)
    close(vertex_normals(head.mesh(params)), expected["vertex_normals"], 1e-4)


def test_crop_camera(head, params, inputs, expected) -> None:
    camera = CropCamera(inputs["cam"][:, 0], inputs["cam"][:, 1:])
    close(project_crop(camera, head(params)), expected["trans_verts"], 2e-6)
    close(project_crop(camera, HeadLandmarks(head).ibug68(params))[..., :2], expected["landmarks2d"], 2e-6)


def test_spherical_harmonics(inputs, expected) -> None:
    normals = expected["normal_images"].flatten(2).mT
    close(sh_shading(normals, inputs["light"]).mT.unflatten(2, (112, 112)), expected["sh_shading"], 1e-6)


def test_views(head, params, inputs, expected) -> None:
    crop = Crop(torch.full((3, 2), 112.0), torch.full((3,), 224.0))
    camera = lift(CropCamera(inputs["cam"][:, 0], inputs["cam"][:, 1:]), crop)
    mesh = Mesh(head(params), head.faces)
    uv, uv_faces = torch.from_numpy(head.asset.uv), torch.from_numpy(head.asset.uv_faces)
    lit = textured_view(mesh, camera, inputs["albedo"], uv, uv_faces, 224, 224, inputs["light"])
    grey = shape_view(mesh, camera, 224, 224)

    def pixels_off(actual: torch.Tensor, key: str, tolerance: float) -> int:
        return int(((actual[..., ::2, ::2] - expected[key]).abs().amax(1) > tolerance).sum())

    # Of 37,632 pixels. A handful lie where two triangles meet edge-on and the reference's float32 saw the other one.
    assert pixels_off(lit.alpha, "alpha", 0) == 0
    assert pixels_off(lit.normals, "normal_images", 1e-3) <= 4
    assert pixels_off(grey.image, "shape_images", 1e-3) <= 4
    # The albedo is noise at the texels' scale, so float32 coordinates are worth up to 1e-2; and where the texture ends
    # the reference fades to black, which we do not.
    assert pixels_off(lit.image, "rendered", 1e-2) <= 24
    assert pixels_off(lit.image, "rendered", 1e-3) <= 230
