"""One export: which format a name asks for, which faces and frames go into it, and the files that come out."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from model.asset import HeadAsset
from model.deca import DECA
from tracker.export.scene import Scene, scene_of
from tracker.track import Track

FORMATS = {
    ".glb": "glTF 2.0",
    ".usda": "UsdSkel, text",
    ".usdc": "UsdSkel, binary",
    ".csv": "Live Link Face",
    ".obj": "Wavefront OBJ",
    ".ply": "PLY",
    "/": "a folder with FLAME npz, transforms.json, frames and masks",
}
"""What a name's ending asks for."""

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExportConfig:
    """What to export.

    Attributes:
        face: its id; None for all faces of the track.
        frame: index in the video, for meshes; None for all.
        detail: dense meshes with DECA's displacement.
        distance: metres to a perspective camera; None for an orthographic one (`tracker.export.scene`).
        still: leave out where the head is in the picture.
        weights: of the network that made the track's detail codes: embedded, open, a path or none.
        video: for frames and masks; None for the track's own, where it is there.
        texture: RGB over the UV map in place of the head's albedo.
    """

    face: int | None = None
    frame: int | None = None
    detail: bool = False
    distance: float | None = None
    still: bool = False
    weights: str = "embedded"
    video: Path | None = None
    texture: UInt8[np.ndarray, "H W 3"] | None = None


def format_of(to: str, option: str = "--to") -> str:
    """The format of a name: a key of `FORMATS`.

    Raises:
        ValueError: there is no such format, or the library that writes it is missing.
    """
    if to.endswith("/") or Path(to).is_dir():
        return "/"
    suffix = Path(to).suffix.lower()
    if suffix not in FORMATS:
        known = ", ".join(name for name in FORMATS if name != "/")
        close = difflib.get_close_matches(suffix, FORMATS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"give a name ending in {known}, or a folder: NAME/"
        raise ValueError(f"{option} {to}: cannot write {suffix or 'a name without an ending'}; {hint}")
    if suffix in (".usda", ".usdc"):
        from tracker.export.usd import require_usd

        require_usd()
    return suffix


def load_head_of(track: Track, path: str | None = None) -> HeadAsset:
    """The head that a track was made with.

    Raises:
        ValueError: it is not the one that is given, or is not openhead and none is given.
    """
    from model.io.assets import load_head

    if path is None and not track.head.startswith("openhead"):
        raise ValueError(f"the track was made with head {track.head}; give it with --head PATH")
    asset = load_head(path or "openhead")
    name = f"{asset.name}:{asset.digest[:12]}"
    if asset.name != track.head.partition(":")[0] or asset.shapedirs.shape[-1] != track.shape.shape[1]:
        raise ValueError(f"the track was made with head {track.head}, this is {name}; give its own with --head PATH")
    return asset


def export(
    track: Track,
    asset: HeadAsset,
    to: str,
    config: ExportConfig,
    note: Callable[[str], None] = lambda text: None,
    report: Report = lambda stage, done, total: None,
) -> list[Path]:
    """Write a track in the format that `to` ends in; the files that were written.

    Raises:
        ValueError: an unknown format, face or frame; something that the format needs is missing; cannot be written.
    """
    kind = format_of(to)
    if track.head.partition(":")[2] not in ("", asset.digest[:12]):
        note(f"the track was made with another build of this head, {track.head}; vertices may differ")
    faces = track.faces if config.face is None else (config.face,)
    tracks = [track.of_face(face) for face in faces]
    scene = scene_of(track, config.distance, config.still)
    path = Path(to)
    if kind in (".glb", ".usda", ".usdc"):
        return _scene_file(kind, path, tracks, asset, scene, config)
    if kind == "/":
        from tracker.export.gaussian import export_folder

        if config.face is None and len(faces) > 1:
            note(f"takes face {faces[0]} of {len(faces)}; choose another with --face")
        return export_folder(path, tracks[0], asset, config.distance, config.video, note, report)
    written: list[Path] = []
    for face, own in zip(faces, tracks, strict=True):
        named = path if len(faces) == 1 else path.with_name(f"{path.stem}.face{face}{path.suffix}")
        written += (
            _recording(named, own, asset) if kind == ".csv" else _meshes(named, own, asset, scene, config, report)
        )
    return written


def _scene_file(
    kind: str, path: Path, tracks: list[Track], asset: HeadAsset, scene: Scene, config: ExportConfig
) -> list[Path]:
    from tracker.export.rig import rig_of
    from tracker.export.surface import Dressed, maps_of, split_seams

    deca = _deca(tracks[0], asset, config.weights)
    split = split_seams(asset)
    heads = [Dressed(rig_of(own, asset, scene), split, maps_of(own, asset, deca, config.texture)) for own in tracks]
    if kind == ".glb":
        from tracker.export.gltf import write_gltf

        write_gltf(path, heads, scene, _licence(asset))
        return [path]
    from tracker.export.usd import write_usd

    return write_usd(path, heads, scene, tracks[0].fps, asset)


def _recording(path: Path, track: Track, asset: HeadAsset) -> list[Path]:
    from tracker.export.arkit import arkit_of
    from tracker.export.livelink import LiveLink, write_livelink

    if track.expression_names:
        values = arkit_of(track)
    else:
        from model.io.assets import load_head
        from tracker.export.flame import Mapping

        values = Mapping.between(asset, load_head("openhead")).arkit(track)
    write_livelink(path, LiveLink(track.time.astype(np.float64), values), track.fps)
    return [path]


def _meshes(
    path: Path, track: Track, asset: HeadAsset, scene: Scene, config: ExportConfig, report: Report
) -> list[Path]:
    from tracker.export.meshes import write_material, write_obj, write_ply
    from tracker.export.solids import Sculptor
    from tracker.export.surface import maps_of

    rows = np.arange(len(track))
    if config.frame is not None:
        rows = rows[track.frame == config.frame]
        if not len(rows):
            raise ValueError(
                f"--frame {config.frame}: face {track.face[0]} is in frames {track.frame[0]} to {track.frame[-1]}"
            )
    if config.detail and track.detail is None:
        raise ValueError("--detail: the track has no detail codes; track again with --weights embedded, open or a file")
    deca = _deca(track, asset, config.weights) if config.detail else None
    if config.detail and deca is None:
        raise ValueError(f"--detail: no network for head {asset.name}; give its weights with --weights PATH")
    maps = maps_of(track, asset, texture=config.texture)
    sculptor = Sculptor(track, asset, scene, None if maps is None else maps.colour, deca)
    files: list[Path] = []
    material = None
    if path.suffix.lower() == ".obj" and maps is not None:
        files = [path.with_suffix(".mtl"), path.with_suffix(".png")]
        write_material(files[0], maps.colour)
        material = files[0].name
    for done, row in enumerate(rows):
        report("export", done, len(rows))
        name = path if len(rows) == 1 else path.with_name(f"{path.stem}.{track.frame[row]:05d}{path.suffix}")
        if path.suffix.lower() == ".obj":
            write_obj(name, sculptor.solid(int(row)), material)
        else:
            write_ply(name, sculptor.solid(int(row)))
        files.append(name)
    return files


def _deca(track: Track, asset: HeadAsset, weights: str) -> DECA | None:
    """The network that decodes the track's detail codes; None where there is none."""
    from model.io.checkpoints import build_deca, read_checkpoint, shipped_weights

    if weights == "none" or track.detail is None:
        return None
    named = {"embedded": "", "open": "open"}
    path = shipped_weights(asset, named[weights]) if weights in named else weights
    if path is None:
        return None
    deca = build_deca(read_checkpoint(path), asset, 256, str(path)).eval()
    if deca.config.detail != track.detail.shape[1]:
        raise ValueError(
            f"--weights {weights}: takes {deca.config.detail} detail coefficients, the track has "
            f"{track.detail.shape[1]}; give the weights that the track was made with"
        )
    return deca


def _licence(asset: HeadAsset) -> str:
    """What may be done with the head's own shape and colours; empty where its owner has to be asked."""
    if not asset.name.startswith("openhead"):
        return ""
    return "openhead: CC0 1.0 (MakeHuman); albedo: Face Research Lab London Set, DeBruine and Jones 2017, CC BY 4.0"
