"""UsdSkel: usd-core opens the stage, finds nothing wrong with it, and its own skinning gives our vertices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from acted import acted_track

from model.head import HeadModel
from tracker.export.job import ExportConfig, export, format_of
from tracker.export.scene import scene_of

pytest.importorskip("pxr", reason="needs usd-core: pip install 'decatrack[usd]'")


@pytest.mark.parametrize("suffix", [".usda", ".usdc"])
def test_usds_own_skinning_gives_our_vertices(tiny_head, tmp_path, suffix):
    from pxr import Gf, Usd, UsdGeom, UsdSkel

    track = acted_track(tiny_head, frames=4, faces=2)
    files = export(track, tiny_head, str(tmp_path / f"a{suffix}"), ExportConfig())
    assert len(files) == 1 + 2 * 2  # two maps a face
    assert all(file.is_file() for file in files)
    stage = Usd.Stage.Open(str(files[0]))
    scene = scene_of(track)
    for root in [prim for prim in stage.Traverse() if prim.IsA(UsdSkel.Root)]:
        assert UsdSkel.BakeSkinning(UsdSkel.Root(root), Gf.Interval.GetFullInterval())
    for face in track.faces:
        own = track.of_face(face)
        motion = scene.motion(own)
        ours = HeadModel(tiny_head).double()(own.params(dtype=torch.float64)).numpy()
        ours = ours * motion.scale[:, None, None] + motion.translation[:, None]
        mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"/decatrack/face{face}/head"))
        for row, time in enumerate(own.time * track.fps):
            points = np.array(mesh.GetPointsAttr().Get(float(time)), dtype=float)
            world = np.array(UsdGeom.XformCache(float(time)).GetLocalToWorldTransform(mesh.GetPrim()))
            found = points @ world[:3, :3] + world[3, :3]
            assert 1e3 * np.abs(found - ours[row]).max() < 0.1


def test_what_is_on_the_stage(tiny_head, tmp_path):
    from pxr import Usd, UsdGeom, UsdShade, UsdSkel, UsdUtils

    track = acted_track(tiny_head, frames=3)
    (path, *pictures) = export(track, tiny_head, str(tmp_path / "a.usda"), ExportConfig(distance=1.0))
    stage = Usd.Stage.Open(str(path))
    assert stage.GetDefaultPrim().GetPath() == "/decatrack"
    assert stage.GetTimeCodesPerSecond() == track.fps
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
    mesh = stage.GetPrimAtPath("/decatrack/face0/head")
    assert tiny_head.expression_names[0] in UsdSkel.BindingAPI(mesh).GetBlendShapesAttr().Get()
    assert UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()[0]
    validation = pytest.importorskip("pxr.UsdValidation")
    context = validation.ValidationContext(validation.ValidationRegistry().GetOrLoadAllValidators())
    assert [error.GetMessage() for error in context.Validate(stage)] == []
    _, assets, missing = UsdUtils.ComputeAllDependencies(str(path))
    assert not missing
    assert {a.rsplit("/", 1)[-1] for a in assets} == {p.name for p in pictures}


def test_without_usd_core_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("tracker.export.usd.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"decatrack\[usd\]"):
        format_of(str(tmp_path / "a.usdc"))


def test_a_head_without_texture(tiny_head, tmp_path):
    bare = replace(tiny_head, uv=None, uv_faces=None)
    assert len(export(acted_track(bare, frames=2), bare, str(tmp_path / "a.usdc"), ExportConfig())) == 1
