"""DECA (Feng et al. 2021): a picture of a face to an animatable, detailed head, and back to pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate as resize

from model.asset import HeadAsset
from model.camera import project_crop
from model.detail import DetailMaps, DetailSurface
from model.detail_basis import BasisDecoder
from model.detail_decoder import DetailDecoder
from model.encoder import Encoder
from model.head import HeadModel
from model.landmarks import HeadLandmarks
from model.mesh import Mesh, vertex_normals
from model.params import Appearance, Camera, CropCamera, FaceParams
from model.uv import UVLayout
from model.views import (
    Surface,
    depth_view,
    detail_normal_view,
    look,
    normal_view,
    shading_view,
    shape_view,
    textured_view,
)


@dataclass(frozen=True)
class DECAConfig:
    """What a set of weights was trained for.

    Attributes:
        backbone: of both encoders, see `model.backbones`; the paper's is ``resnet50``.
        detail_backbone: of E_d where it is another one (``contrast``, see `model.contrast`); empty takes `backbone`.
        decoder: F_d, ``paper`` or ``basis`` (`model.detail_basis`).
        shape, expression, albedo, detail: lengths of the codes.
        curved: whether triangles are rounded before they are displaced (`model.detail.DetailSurface`); the published
            weights were trained without.
        gaze: whether E_c ends with six more outputs, the rotations of the eyeballs; the published one does not.
        resolution: side of the encoders' pictures, px; crops of another size are resampled.
        coarse_resolution: side of E_c's pictures where it is another one: where a lip is shows in a smaller picture
            than a wrinkle, and E_c sees every frame; 0 takes `resolution`, as the published one does.
        normalised: whether E_c gives codes minus `DECA.code_mean`, in units of `DECA.code_spread` (both are then part
            of the state), so that one rate of learning suits all of them; the published one gives the codes.
    """

    backbone: str = "resnet50"
    shape: int = 100
    expression: int = 50
    albedo: int = 50
    detail: int = 128
    curved: bool = False
    gaze: bool = False
    resolution: int = 224
    coarse_resolution: int = 0
    normalised: bool = False
    detail_backbone: str = ""
    decoder: str = "paper"


@dataclass(frozen=True)
class CoarseCodes:
    """What E_c sees in a picture.

    Attributes:
        face: neck zero; eyes zero unless the weights estimate gaze; expression within the head's range.
        albedo: coefficients, standard deviations.
        light: spherical harmonics by colour, camera axes.
        camera: of the crop.
        excess: how far the network's expression lay outside of the head's range, in its units; signed.
        points: where the backbone sees its points, [−1, 1] over the picture; the first 68 are iBUG's where it was
            trained so. None where the backbone has none.
    """

    face: FaceParams
    albedo: Float[Tensor, "batch A"]
    light: Float[Tensor, "batch 9 3"]
    camera: CropCamera
    excess: Float[Tensor, "batch E"]
    points: Float[Tensor, "batch P 2"] | None = None


@dataclass(frozen=True)
class Reconstruction:
    """A decoded face.

    Attributes:
        mesh: coarse, metres, camera axes.
        normals: unit, of the mesh's vertices.
        landmarks: iBUG-68 with the moving jaw line, metres, camera axes.
        landmarks_fixed: the 68 points that stay on the surface.
        projected: `landmarks` in the crop, [−1, 1], x right and y down.
        displacement: what F_d gave, metres, 256² over the UV map.
        detail: the detailed surface.
        albedo: RGB over the UV map; grey (180/255) for a head without an albedo space.
    """

    mesh: Mesh
    normals: Float[Tensor, "batch V 3"]
    landmarks: Float[Tensor, "batch 68 3"]
    landmarks_fixed: Float[Tensor, "batch 68 3"]
    projected: Float[Tensor, "batch 68 2"]
    displacement: Float[Tensor, "batch 256 256"]
    detail: DetailMaps
    albedo: Float[Tensor, "batch 3 h w"]


@dataclass(frozen=True)
class Pictures:
    """One head looked at in every way; RGB, black where no mesh is.

    Attributes:
        alpha: 1 where the mesh is.
        image: albedo under the light, coarse.
        detail_image: the same with the detail's normals.
        shape, detail_shape: grey, coarse and detailed.
        shape_alpha: 1 where the shape views show the head, without its inside.
        normals: smooth, camera axes; detail_normals: of the detailed surface.
        depth: Z in camera axes, metres.
    """

    alpha: Float[Tensor, "batch 1 H W"]
    image: Float[Tensor, "batch 3 H W"]
    detail_image: Float[Tensor, "batch 3 H W"]
    shape: Float[Tensor, "batch 3 H W"]
    detail_shape: Float[Tensor, "batch 3 H W"]
    shape_alpha: Float[Tensor, "batch 1 H W"]
    normals: Float[Tensor, "batch 3 H W"]
    detail_normals: Float[Tensor, "batch 3 H W"]
    depth: Float[Tensor, "batch 1 H W"]


class DECA(nn.Module):
    """Encoders, head and detail decoder; any head with texture coordinates and landmarks.

    The state dict holds the three networks only (and `code_mean` and `code_spread` of a normalised E_c): the head comes
    from its own file. Call ``eval()`` before use.

    Attributes:
        coarse_sizes: lengths of shape, albedo, expression, pose and jaw, camera, light and, where estimated, eyes.
        coarse_points: how many points E_c's backbone sees; they follow the codes.
        code_mean, code_spread: of E_c's codes, in that order; 0 and 1 unless weights say otherwise.

    Args:
        uv_size: texels on a side of the albedo and of the detailed surface's maps.

    Raises:
        ValueError: the head lacks texture coordinates or landmarks, or its codes have other lengths than the config's.
    """

    albedo_mean: Float[Tensor, "3 h w"]
    albedo_basis: Float[Tensor, "A texels"]
    code_mean: Float[Tensor, " codes"]
    code_spread: Float[Tensor, " codes"]

    def __init__(self, asset: HeadAsset, config: DECAConfig | None = None, uv_size: int = 256) -> None:
        super().__init__()
        self.config = config = DECAConfig() if config is None else config
        _check_sizes(asset, config)
        self.head = HeadModel(asset)
        self.points = HeadLandmarks(self.head)
        self.layout = UVLayout(asset, uv_size)
        self.surface = DetailSurface(asset, self.layout, config.curved)
        mean, basis = _albedo(asset, config.albedo, uv_size)
        self.register_buffer("albedo_mean", mean, persistent=False)
        self.register_buffer("albedo_basis", basis, persistent=False)

        self.coarse_sizes = (config.shape, config.albedo, config.expression, 6, 3, 27) + (6,) * config.gaze
        self.register_buffer("code_mean", torch.zeros(sum(self.coarse_sizes)), persistent=config.normalised)
        self.register_buffer("code_spread", torch.ones(sum(self.coarse_sizes)), persistent=config.normalised)
        self.coarse_encoder = Encoder(sum(self.coarse_sizes), config.backbone, seen=True)
        self.coarse_points = self.coarse_encoder.points
        self.detail_encoder = Encoder(config.detail, config.detail_backbone or config.backbone)
        if config.decoder not in ("paper", "basis"):
            raise ValueError(f"decoder is {config.decoder!r}, expected paper or basis")
        self.detail_decoder = (
            BasisDecoder(config.expression, config.detail)
            if config.decoder == "basis"
            else DetailDecoder(3 + config.expression + config.detail)
        )

    @property
    def coarse_resolution(self) -> int:
        """Side of E_c's pictures, px."""
        return self.config.coarse_resolution or self.config.resolution

    def encode(self, images: Float[Tensor, "batch 3 H W"]) -> tuple[FaceParams, Appearance, CropCamera]:
        """E_c and E_d: crops, RGB in [0, 1], to codes."""
        codes = self.encode_coarse(images)
        detail = self.encode_detail(images)
        return codes.face, Appearance(codes.albedo, codes.light, detail), codes.camera

    def encode_coarse(self, images: Float[Tensor, "batch 3 H W"]) -> CoarseCodes:
        """E_c: crops, RGB in [0, 1], to codes."""
        output = self.coarse_encoder(resampled(images, self.coarse_resolution)).float()
        codes, points = output.split([sum(self.coarse_sizes), 2 * self.coarse_points], dim=-1)
        if self.config.normalised:
            codes = self.code_mean + self.code_spread * codes
        shape, albedo, free, pose, camera, light, *eyes = codes.split(self.coarse_sizes, dim=-1)
        expression = within(free, self.head.asset.expression_range)
        face = FaceParams(
            shape=shape,
            expression=expression,
            pose=pose[:, :3],
            neck=codes.new_zeros(len(codes), 3),
            jaw=pose[:, 3:],
            eyes=eyes[0] if eyes else codes.new_zeros(len(codes), 6),
        )
        camera = CropCamera(camera[:, 0], camera[:, 1:])
        seen = points.unflatten(-1, (-1, 2)) if self.coarse_points else None
        return CoarseCodes(face, albedo, light.unflatten(-1, (9, 3)), camera, free - expression.detach(), seen)

    def encode_detail(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch D"]:
        """E_d: crops, RGB in [0, 1], to detail codes."""
        return self.detail_encoder(resampled(images, self.config.resolution)).float()

    def decode(self, face: FaceParams, appearance: Appearance, camera: CropCamera) -> Reconstruction:
        """Codes to a mesh, its landmarks and its maps (eq. 1, 2 and 10)."""
        mesh = self.head.mesh(face)
        normals = vertex_normals(mesh)
        landmarks = self.points.ibug68(face)
        displacement = self.detail_decoder(face.jaw, face.expression, appearance.detail).float()
        return Reconstruction(
            mesh=mesh,
            normals=normals,
            landmarks=landmarks,
            landmarks_fixed=self.points.ibug68_fixed(face),
            projected=project_crop(camera, landmarks)[..., :2],
            displacement=displacement,
            detail=self.surface(mesh, displacement, normals),
            albedo=self.albedo(appearance.albedo),
        )

    def animate(
        self,
        face: FaceParams,
        appearance: Appearance,
        camera: CropCamera,
        expression: Float[Tensor, "batch E"],
        jaw: Float[Tensor, "batch 3"],
    ) -> Reconstruction:
        """A person (shape, pose, detail code) with the driver's expression and jaw, in the mesh and in its wrinkles."""
        return self.decode(replace(face, expression=expression, jaw=jaw), appearance, camera)

    def albedo(self, codes: Float[Tensor, "batch A"]) -> Float[Tensor, "batch 3 h w"]:
        """The linear albedo model over the UV map, RGB, not clamped."""
        return self.albedo_mean + (codes @ self.albedo_basis).unflatten(-1, self.albedo_mean.shape)

    def lit_texture(
        self, reconstruction: Reconstruction, light: Float[Tensor, "batch 9 3"]
    ) -> Float[Tensor, "batch 3 h w"]:
        """The albedo under the light with the detail's normals, over the UV map (eq. 4 with N')."""
        return reconstruction.albedo * shading_view(reconstruction.detail.normals, light)

    def detail_shape(
        self, reconstruction: Reconstruction, camera: Camera, height: int, width: int
    ) -> tuple[Float[Tensor, "batch 3 H W"], Float[Tensor, "batch 1 H W"]]:
        """The grey, detailed head and its alpha."""
        surface = look(reconstruction.mesh, camera, height, width, reconstruction.normals)
        return shape_view(surface, detail_normal_view(surface, reconstruction.detail.normals, self.layout))

    def pictures(
        self,
        reconstruction: Reconstruction,
        light: Float[Tensor, "batch 9 3"],
        camera: Camera,
        height: int,
        width: int,
    ) -> Pictures:
        """Rasterise once and make every picture; `model.camera.lift` gives the camera of a crop or of its frame."""
        return self.pictures_of(
            look(reconstruction.mesh, camera, height, width, reconstruction.normals), reconstruction, light
        )

    def pictures_of(
        self, surface: Surface, reconstruction: Reconstruction, light: Float[Tensor, "batch 9 3"]
    ) -> Pictures:
        """Every picture of a surface that is already rasterised."""
        normals = normal_view(surface)
        detail_normals = detail_normal_view(surface, reconstruction.detail.normals, self.layout)
        shape, shape_alpha = shape_view(surface)
        return Pictures(
            alpha=surface.alpha,
            image=textured_view(surface, normals, reconstruction.albedo, light, self.layout),
            detail_image=textured_view(surface, detail_normals, reconstruction.albedo, light, self.layout),
            shape=shape,
            detail_shape=shape_view(surface, detail_normals)[0],
            shape_alpha=shape_alpha,
            normals=normals,
            detail_normals=detail_normals,
            depth=depth_view(surface),
        )


def resampled(images: Float[Tensor, "batch C H W"], size: int) -> Float[Tensor, "batch C size size"]:
    """Pictures of another size; unchanged where they have it."""
    if images.shape[-2:] == (size, size):
        return images
    return resize(images, (size, size), mode="bilinear", align_corners=False, antialias=images.shape[-1] > size)


def within(codes: Float[Tensor, "*batch E"], limits: tuple[float, float] | None) -> Float[Tensor, "*batch E"]:
    """Codes brought into the head's range, exactly; their gradient is that of the codes outside of it too.

    A plain clamp has no gradient there: a unit that a network once pushed below zero would never come back.
    """
    if limits is None:
        return codes
    return codes.detach().clamp(*limits) + (codes - codes.detach())


def _check_sizes(asset: HeadAsset, config: DECAConfig) -> None:
    sizes = {"shape": asset.shapedirs.shape[-1], "expression": asset.exprdirs.shape[-1]}
    if asset.albedo_basis is not None:
        sizes["albedo"] = len(asset.albedo_basis)
    for name, size in sizes.items():
        if getattr(config, name) != size:
            raise ValueError(
                f"the networks give {getattr(config, name)} {name} coefficients, head {asset.name} has {size}; "
                "use weights that were trained for this head"
            )


def _albedo(asset: HeadAsset, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Mean (3, h, w) and basis (A, 3 h w)."""
    if asset.albedo_mean is None or asset.albedo_basis is None:
        return torch.full((3, size, size), 180 / 255), torch.zeros(count, 3 * size * size)
    maps = (asset.albedo_mean[None], asset.albedo_basis)
    mean, basis = (torch.from_numpy(array).float().movedim(-1, 1) for array in maps)
    if mean.shape[-1] != size:
        mean = resize(mean, (size, size), mode="bilinear", align_corners=False, antialias=mean.shape[-1] > size)
    if basis.shape[-1] != size:
        basis = resize(basis, (size, size), mode="bilinear", align_corners=False, antialias=basis.shape[-1] > size)
    return mean[0], basis.flatten(1)
