"""DECA here against the numbers of the reference implementation, key by key, on synthetic assets.

    python tests/parity.py --fake-assets ../shared/golden/fake_assets.py --seed 0 \\
        --expected ../shared/golden/expected_seed0.npz

Exits with 0 when every key of the expected file is within its tolerance.

Maps and pictures start from the reference's own vertices and vertex normals (its keys verts, trans_verts and
vertex_normals, compared in rows of their own) and are drawn by PyTorch3D's rules (`pytorch3d_rules`): normals of
texel-sized triangles, and coordinates in triangles that are seen edge-on, depend on the last bits of the vertices, so
that two exact implementations differ there. The last lines say how far everything is from the reference without these
two crutches, with the product's own vertices and rasteriser from end to end.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytorch3d_rules
import torch

from model.camera import lift, project_crop
from model.crop import Crop
from model.deca import DECA, Pictures, Reconstruction
from model.io.checkpoints import load_deca
from model.io.flame import load_flame
from model.landmarks import on_mesh
from model.mesh import Mesh, vertex_normals
from model.params import Appearance, CropCamera, FaceParams
from model.raster import Fragments
from model.uv import sample
from model.views import Surface, composite, look, shading_view
from training.losses import eye_closure_loss, landmark_loss, lip_closure_loss, mrf_loss, shading_smoothness_loss
from training.vgg import VGG19

SIZE = 224
PICTURES = ("rendered", "alpha", "normal_images", "shape_images", "shape_detail_images")
DEEP = ("enc_", "loss_mrf", "vgg_")
"""Keys that follow from a deep network."""


def tolerance(key: str) -> float:
    """Relative to the largest magnitude of the key."""
    if key in PICTURES:
        return 1e-3
    return 5e-4 if key.startswith(DEEP) else 1e-4


@dataclass(frozen=True)
class Row:
    """A compared key; pictures are compared where a 3 × 3 neighbourhood lies on one surface, the mask."""

    key: str
    absolute: float
    relative: float
    outside: float  # share of the picture's covered pixels that are left out
    passed: bool

    def __str__(self) -> str:
        note = f"  ({self.outside:.2%} of the covered pixels not on one surface)" if self.key in PICTURES else ""
        return (
            f"{self.key:24} abs {self.absolute:9.3e}  rel {self.relative:9.3e}  tolerance {tolerance(self.key):.0e}  "
            f"{'pass' if self.passed else 'FAIL'}{note}"
        )


def compare(key: str, ours: torch.Tensor, theirs: np.ndarray, mask: torch.Tensor, covered: torch.Tensor) -> Row:
    """One row; `mask` and `covered` (batch H W, at the expected file's resolution) count for pictures only."""
    expected = torch.from_numpy(theirs)
    if ours.shape != expected.shape:
        raise ValueError(f"{key} has shape {tuple(ours.shape)}, expected {tuple(expected.shape)}")
    difference = (ours - expected).abs()
    scale = float(expected.abs().max()) or 1.0
    if key == "alpha":  # coverage: the share of pixels that differ
        worst = float((difference > 0.5).float().mean())
        return Row(key, worst, worst, 0.0, worst < tolerance(key))
    outside = 0.0
    if key in PICTURES:
        difference = difference * mask[:, None]
        outside = 1 - float(mask.sum() / covered.sum())
    worst = float(difference.max())
    return Row(key, worst, worst / scale, outside, worst / scale <= tolerance(key))


def one_surface(surface: Surface, deca: DECA) -> torch.Tensor:
    """Pixels all of whose 3 × 3 neighbourhood is covered by one side of one stretch of the surface."""
    grid = surface.grid(deca.layout).movedim(-1, 1)
    facing = surface.carry(surface.normals)[..., 2].sign()[:, None]
    fields = torch.cat([grid, facing, surface.alpha], dim=1)
    padded = torch.nn.functional.pad(fields, (1, 1, 1, 1), mode="replicate")
    around = torch.stack([padded[..., i : i + SIZE, j : j + SIZE] for i in range(3) for j in range(3)])
    extent = around.amax(0) - around.amin(0)
    # A tenth of the UV map is more than a pixel spans anywhere but across a fold or a seam.
    near = (extent[:, :2] < 0.2).all(1) & (extent[:, 2] == 0) & (extent[:, 3] == 0)
    return (near & (surface.alpha[:, 0] > 0)).float()


def codes(inputs: dict[str, torch.Tensor]) -> tuple[FaceParams, Appearance, CropCamera]:
    """The golden codes as records."""
    zeros = torch.zeros(len(inputs["pose"]), 6)
    pose, jaw = inputs["pose"][:, :3], inputs["pose"][:, 3:]
    face = FaceParams(inputs["shape"], inputs["exp"], pose, zeros[:, :3], jaw, zeros)
    camera = CropCamera(inputs["cam"][:, 0], inputs["cam"][:, 1:])
    return face, Appearance(inputs["tex"], inputs["light"], inputs["detail"]), camera


def geometry(deca: DECA, result: Reconstruction, camera: CropCamera) -> dict[str, torch.Tensor]:
    """What follows from the codes by linear algebra and F_d."""
    projected = project_crop(camera, result.mesh.vertices)
    embedding = deca.head.asset.landmarks
    assert embedding is not None
    flipped = Mesh(projected, result.mesh.faces)
    turned = on_mesh(vertex_normals(flipped), flipped.faces, embedding.full68)[..., 2]
    return {
        "verts": result.mesh.vertices,
        "landmarks2d_world": result.landmarks,
        "landmarks3d_world": result.landmarks_fixed,
        "trans_verts": projected,
        "landmarks2d": result.projected,
        "landmarks3d": project_crop(camera, result.landmarks_fixed),
        "landmarks3d_visible": (turned < 0.1).float(),
        "uv_z": result.displacement[:, None, ::4, ::4],
        "displacement_map": (result.displacement + deca.surface.fixed)[:, None, ::4, ::4],
    }


def maps(
    deca: DECA, result: Reconstruction, projected: torch.Tensor, inputs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """UV maps as the expected file has them, every fourth texel."""
    texture = deca.lit_texture(result, inputs["light"])
    places = deca.layout.carry(projected)[:, :2].movedim(1, -1)
    found = sample(inputs["images"], places, outside="zeros")
    full = {
        "uv_vertices": deca.layout.carry(result.mesh.vertices),
        "uv_detail_normals": result.detail.normals,
        "uv_texture": texture,
        "uv_texture_gt": composite(found, deca.surface.mask.expand(len(found), 1, -1, -1), texture),
    }
    return {key: value[..., ::4, ::4] for key, value in full.items()}


def use_pytorch3d_rules(deca: DECA) -> None:
    """Draw the UV map by PyTorch3D's rules too."""
    corners = torch.cat([deca.layout.grid, torch.zeros_like(deca.layout.grid[:, :1])], dim=-1)
    found = pytorch3d_rules.rasterise(corners[None], deca.layout.uv_faces, deca.layout.size)
    deca.layout.set_fragments(Fragments(found.face[0], found.barycentric[0], found.depth[0]))


def pictures(views: Pictures, light: torch.Tensor) -> dict[str, torch.Tensor]:
    """Pictures as the expected file has them, every other pixel."""
    shading = shading_view(views.normals, light)
    images = {
        "rendered": views.image,
        "alpha": views.alpha,
        "normal_images": views.normals,
        "shape_images": views.shape,
        "shape_detail_images": views.detail_shape,
        "sh_shading": shading,
    }
    halved = {key: image[..., ::2, ::2] for key, image in images.items()}
    return halved | {"loss_shading_smooth": shading_smoothness_loss(shading)}


def networks(deca: DECA, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    face, appearance, camera = deca.encode(inputs["images"])
    return {
        "enc_shape": face.shape,
        "enc_tex": appearance.albedo,
        "enc_exp": face.expression,
        "enc_pose": torch.cat([face.pose, face.jaw], dim=-1),
        "enc_cam": torch.cat([camera.s[:, None], camera.t], dim=-1),
        "enc_light": appearance.light,
        "enc_detail": appearance.detail,
    }


def losses(inputs: dict[str, torch.Tensor], result: Reconstruction, seed: int) -> dict[str, torch.Tensor]:
    target, visible = inputs["lmk_gt"][..., :2], inputs["lmk_gt"][..., 2]
    network = vgg(seed)
    generated, wanted = network(inputs["mrf_gen"]), network(inputs["mrf_tar"])
    return {
        "loss_landmark_weighted": landmark_loss(result.projected, target, visible),
        "loss_eye": eye_closure_loss(result.projected, target),
        "loss_lip": lip_closure_loss(result.projected, target),
        "loss_mrf": mrf_loss(generated, wanted),
        "vgg_relu3_2_mean": generated.fine.mean(),
        "vgg_relu4_2_mean": generated.coarse.mean(),
    }


def vgg(seed: int) -> VGG19:
    """VGG19 with the weights of golden/README.md."""
    network, rng = VGG19(), np.random.default_rng([seed, 6])
    state = {}
    for name, value in network.features.state_dict().items():
        scale = np.sqrt(2 / np.prod(value.shape[1:])) if name.endswith("weight") else 0.01
        state[name] = torch.from_numpy((rng.normal(size=value.shape) * scale).astype(np.float32))
    network.features.load_state_dict(state)
    return network.eval()


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"--fake-assets {path}: no such file; give golden/fake_assets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def run(fake_assets: ModuleType, seed: int, expected: dict[str, np.ndarray]) -> list[Row]:
    """Compare every key of the expected file; prints as it goes."""
    inputs = {key: torch.from_numpy(value) for key, value in fake_assets.inputs(seed).items()}
    with tempfile.TemporaryDirectory() as folder:
        fake_assets.write_assets(folder, seed)
        deca = load_deca(Path(folder) / "deca_model.tar", load_flame(folder))
    face, appearance, camera = codes(inputs)

    # End to end. The expected pictures show an albedo of noise, not the model's.
    result = replace(deca.decode(face, appearance, camera), albedo=inputs["albedo"])
    found = geometry(deca, result, camera) | networks(deca, inputs) | losses(inputs, result, seed)
    count = len(inputs["pose"])
    crop = Crop(torch.full((count, 2), SIZE / 2), torch.full((count,), float(SIZE)))
    own = look(result.mesh, lift(camera, crop), SIZE, SIZE, result.normals)
    unaided = maps(deca, result, found["trans_verts"], inputs)
    unaided |= pictures(deca.pictures_of(own, result, inputs["light"]), inputs["light"])

    # From the reference's vertices and by PyTorch3D's rules.
    use_pytorch3d_rules(deca)
    mesh = Mesh(torch.from_numpy(expected.get("verts", found["verts"].numpy())), deca.head.faces)
    projected = torch.from_numpy(expected.get("trans_verts", found["trans_verts"].numpy()))
    found["vertex_normals"] = vertex_normals(mesh)
    normals = torch.from_numpy(expected.get("vertex_normals", found["vertex_normals"].numpy()))
    result = replace(result, mesh=mesh, normals=normals, detail=deca.surface(mesh, result.displacement, normals))
    fragments = pytorch3d_rules.rasterise(projected, mesh.faces, SIZE)
    theirs = Surface(mesh, normals, fragments, fragments.barycentric)
    found |= maps(deca, result, projected, inputs)
    found |= pictures(deca.pictures_of(theirs, result, inputs["light"]), inputs["light"])

    mask, covered = (one_surface(theirs, deca)[:, ::2, ::2], theirs.alpha[:, 0, ::2, ::2])
    rows = []
    for key, value in expected.items():
        if key not in found:
            rows.append(Row(key, float("nan"), float("nan"), 0.0, False))
        else:
            rows.append(compare(key, found[key], value, mask, covered))
        print(rows[-1])
    print(f"\n{sum(row.passed for row in rows)} of {len(rows)} keys pass")

    differ = (theirs.fragments.face != own.fragments.face).float().sum() / theirs.alpha.sum()
    print(f"\nOur vertices and rasteriser, end to end (same face on {1 - float(differ):.3%} of the covered pixels):")
    mask = mask * one_surface(own, deca)[:, ::2, ::2]
    for key, value in unaided.items():
        if key in expected and key != "alpha":
            print(unaided_row(key, value, torch.from_numpy(expected[key]), mask))
    return rows


def unaided_row(key: str, ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor) -> str:
    """A line without a verdict: quantiles tell rounding, of which a few pixels decide the maximum, from error."""
    difference = (ours - theirs).abs() / theirs.abs().max()
    if ours.dim() == 0:
        return f"{key:24} rel {float(difference):9.3e}"
    difference = difference.amax(1)
    values = difference[mask > 0] if difference.shape == mask.shape else difference.flatten()
    middle, most = (float(values.quantile(q)) for q in (0.5, 0.99))
    return f"{key:24} rel median {middle:9.3e}  99 % under {most:9.3e}  largest {float(values.max()):9.3e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fake-assets", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--expected", type=Path, required=True)
    options = parser.parse_args()
    try:
        with np.load(options.expected, allow_pickle=False) as archive:
            expected = {key: archive[key] for key in archive.files}
        rows = run(load_module(options.fake_assets), options.seed, expected)
    except (ValueError, OSError) as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
