"""UsdSkel: meshes with blend shapes, skeletons, the track's animation and the video's camera; the only user of `pxr`.

Textures are files beside the stage, in ``NAME_textures/``. Time codes are seconds times the video's frame rate.
"""

# pyright: reportAttributeAccessIssue=false
# usd-core comes without type stubs, and fills its modules when they are imported.

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from model.asset import HeadAsset
from tracker.export.files import written
from tracker.export.gltf import quaternions
from tracker.export.rig import JOINT_NAMES, Rig
from tracker.export.scene import Scene
from tracker.export.surface import Dressed, Maps, normals_of
from tracker.image import write_image

_MOVED = 1e-8
"""Metres from which a vertex counts as moved by a blend shape."""


def require_usd() -> None:
    """Raises ValueError where usd-core is not installed."""
    if find_spec("pxr") is None:
        raise ValueError("USD needs usd-core; install it with: pip install 'decatrack[usd]'")


def write_usd(path: Path, heads: Sequence[Dressed], scene: Scene, fps: float, asset: HeadAsset) -> list[Path]:
    """Write one or more faces of a track; the stage and its textures.

    Raises:
        ValueError: usd-core is missing, or the files cannot be written there.
    """
    require_usd()
    from pxr import Usd, UsdGeom, UsdSkel

    pictures: list[Path] = []
    with written(path) as temporary:
        stage = Usd.Stage.CreateNew(str(temporary))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        stage.SetTimeCodesPerSecond(fps)
        stage.SetFramesPerSecond(fps)
        stage.SetStartTimeCode(min(head.rig.time[0] for head in heads) * fps)
        stage.SetEndTimeCode(max(head.rig.time[-1] for head in heads) * fps)
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/decatrack").GetPrim())
        for head in heads:
            rig, root = head.rig, f"/decatrack/{head.rig.name}"
            _place(UsdSkel.Root.Define(stage, root), rig, fps)
            skeleton = _skeleton(stage, root, rig, fps)
            mesh = _mesh(stage, root, head, asset)
            UsdSkel.BindingAPI.Apply(mesh.GetPrim()).CreateSkeletonRel().SetTargets([skeleton.GetPath()])
            _shapes(stage, mesh, rig)
            if head.maps is not None:
                pictures += _material(stage, mesh, head.maps, rig.name, path)
        _camera(stage, scene)
        stage.GetRootLayer().Save()
    return [path, *pictures]


def _place(root: Any, rig: Rig, fps: float) -> None:
    """Where the face is: translation and scale of its root, at every frame."""
    from pxr import Gf

    move, size = root.AddTranslateOp(precision=_double()), root.AddScaleOp()
    for time, translation, scale in zip(rig.time * fps, rig.motion.translation, rig.motion.scale, strict=True):
        move.Set(Gf.Vec3d(*translation.tolist()), float(time))
        size.Set(Gf.Vec3f(float(scale)), float(time))


def _double() -> Any:
    from pxr import UsdGeom

    return UsdGeom.XformOp.PrecisionDouble


def _skeleton(stage: Any, root: str, rig: Rig, fps: float) -> Any:
    from pxr import Gf, UsdSkel, Vt

    names: list[str] = []
    for joint, parent in enumerate(rig.parents):
        names.append(JOINT_NAMES[joint] if parent < 0 else f"{names[parent]}/{JOINT_NAMES[joint]}")
    skeleton = UsdSkel.Skeleton.Define(stage, f"{root}/skeleton")
    skeleton.CreateJointsAttr(names)

    def moved(places: np.ndarray) -> Any:
        return Vt.Matrix4dArray([Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*place.tolist())) for place in places])

    local = np.stack([rig.joints[j] - (rig.joints[p] if p >= 0 else 0) for j, p in enumerate(rig.parents)])
    skeleton.CreateBindTransformsAttr(moved(rig.joints))
    skeleton.CreateRestTransformsAttr(moved(local))
    animation = UsdSkel.Animation.Define(stage, f"{root}/skeleton/animation")
    animation.CreateJointsAttr(names)
    animation.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1)] * len(names)))
    animation.CreateBlendShapesAttr(list(rig.target_names))
    turns, moves = animation.CreateRotationsAttr(), animation.CreateTranslationsAttr()
    weights = animation.CreateBlendShapeWeightsAttr()
    turned = np.stack([quaternions(rig.rotations[:, joint]) for joint in range(len(names))], axis=1)
    for row, time in enumerate((rig.time * fps).tolist()):
        quats = [Gf.Quatf(float(w), float(x), float(y), float(z)) for x, y, z, w in turned[row]]
        turns.Set(Vt.QuatfArray(quats), time)
        moves.Set(Vt.Vec3fArray.FromNumpy(_f32(rig.translations[row])), time)
        weights.Set(Vt.FloatArray.FromNumpy(_f32(rig.weights[row])), time)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([animation.GetPath()])
    return skeleton


def _mesh(stage: Any, root: str, head: Dressed, asset: HeadAsset) -> Any:
    from pxr import Gf, Sdf, UsdGeom, UsdSkel, Vt

    rig = head.rig
    mesh = UsdGeom.Mesh.Define(stage, f"{root}/head")
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(_f32(rig.rest)))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(_f32(np.stack([rig.rest.min(0), rig.rest.max(0)]))))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(rig.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(rig.faces.astype(np.int32).ravel()))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(_f32(normals_of(rig.rest, rig.faces))))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    if asset.uv is not None and asset.uv_faces is not None:
        kind = Sdf.ValueTypeNames.TexCoord2fArray
        st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", kind, UsdGeom.Tokens.faceVarying)
        st.Set(Vt.Vec2fArray.FromNumpy(_f32(asset.uv)))
        st.SetIndices(Vt.IntArray.FromNumpy(asset.uv_faces.astype(np.int32).ravel()))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    count = len(rig.parents)
    indices = np.tile(np.arange(count, dtype=np.int32), len(rig.rest))
    binding.CreateJointIndicesPrimvar(False, count).Set(Vt.IntArray.FromNumpy(indices))
    binding.CreateJointWeightsPrimvar(False, count).Set(Vt.FloatArray.FromNumpy(_f32(rig.skin.ravel())))
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    return mesh


def _shapes(stage: Any, mesh: Any, rig: Rig) -> None:
    """The blend shapes, with offsets of the vertices that move and of the normals there."""
    from pxr import Sdf, UsdSkel, Vt

    normals = normals_of(rig.rest, rig.faces)
    paths: list[Any] = []
    for name, offsets in zip(rig.target_names, rig.targets, strict=True):
        shape = UsdSkel.BlendShape.Define(stage, mesh.GetPath().AppendChild(name))
        turns = normals_of(rig.rest + offsets, rig.faces) - normals
        moved = np.flatnonzero((np.abs(offsets).max(1) > _MOVED) | (np.abs(turns).max(1) > 1e-4)).astype(np.int32)
        shape.CreateOffsetsAttr(Vt.Vec3fArray.FromNumpy(_f32(offsets[moved])))
        shape.CreateNormalOffsetsAttr(Vt.Vec3fArray.FromNumpy(_f32(turns[moved])))
        shape.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(moved))
        paths.append(Sdf.Path(shape.GetPath()))
    binding = UsdSkel.BindingAPI(mesh.GetPrim())
    binding.CreateBlendShapesAttr(list(rig.target_names))
    binding.CreateBlendShapeTargetsRel().SetTargets(paths)


def _material(stage: Any, mesh: Any, maps: Maps, name: str, path: Path) -> list[Path]:
    from pxr import Gf, Sdf, UsdShade

    folder = path.with_name(f"{path.stem}_textures")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error.strerror or error}; choose another place") from None
    kinds = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, f"/decatrack/materials/{name}")
    surface = UsdShade.Shader.Define(stage, f"{material.GetPath()}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("metallic", kinds.Float).Set(0.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    reader = UsdShade.Shader.Define(stage, f"{material.GetPath()}/st")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set("st")
    uses = {
        "albedo": (maps.colour, "sRGB", [("diffuseColor", kinds.Color3f, "rgb", kinds.Float3)]),
        "roughness": (
            maps.rough,
            "raw",
            [("roughness", kinds.Float, "g", kinds.Float), ("occlusion", kinds.Float, "r", kinds.Float)],
        ),
    }
    if maps.normal is not None:
        uses["normal"] = (maps.normal, "raw", [("normal", kinds.Normal3f, "rgb", kinds.Float3)])
    files: list[Path] = []
    for kind, (picture, space, inputs) in uses.items():
        files.append(folder / f"{name}_{kind}.png")
        write_image(files[-1], picture)
        texture = UsdShade.Shader.Define(stage, f"{material.GetPath()}/{kind}")
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", kinds.Asset).Set(f"./{folder.name}/{files[-1].name}")
        texture.CreateInput("sourceColorSpace", kinds.Token).Set(space)
        texture.CreateInput("st", kinds.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        for side in ("wrapS", "wrapT"):
            texture.CreateInput(side, kinds.Token).Set("clamp")
        if kind == "normal":
            texture.CreateInput("scale", kinds.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", kinds.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        for given, type_in, channel, type_out in inputs:
            texture.CreateOutput(channel, type_out)
            surface.CreateInput(given, type_in).ConnectToSource(texture.ConnectableAPI(), channel)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    return files


def _camera(stage: Any, scene: Scene) -> None:
    """Apertures and focal lengths are in tenths of the scene's unit."""
    from pxr import Gf, UsdGeom

    camera = UsdGeom.Camera.Define(stage, "/decatrack/video")
    camera.AddTranslateOp().Set(Gf.Vec3d(0, 0, scene.camera_z))
    size, tenths = np.array(scene.extent), 10.0
    if scene.distance is None:
        camera.CreateProjectionAttr(UsdGeom.Tokens.orthographic)
        aperture = tenths * size
    else:
        camera.CreateFocalLengthAttr(0.5)
        aperture = 0.5 * np.array(scene.size) / scene.focal
    camera.CreateHorizontalApertureAttr(float(aperture[0]))
    camera.CreateVerticalApertureAttr(float(aperture[1]))
    camera.CreateClippingRangeAttr(Gf.Vec2f(0.01, 10 * scene.camera_z + 10))


def _f32(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)
