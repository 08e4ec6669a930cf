"""How wrong a network is by yaw, for the tracker's fit (model/errors.py), on rendered faces whose codes are known.

  python -m training.evaluate errors shards/synthetic_test --weights deca.safetensors --write

Prints a table; --write puts the figures into the weights' own file, where `track` finds them. --fit sets the errors of
the landmark fit beside them, alone and with the network. Give faces that the network has not seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from model.camera import project_crop
from model.deca import DECA
from model.errors import NetworkErrors
from model.head import HeadModel
from model.io.checkpoints import build_deca, read_checkpoint, write_errors
from model.landmarks import HeadLandmarks, head_rotation
from model.params import CropCamera, FaceParams
from tracker.fit import FaceFit, FitConfig
from tracker.fit.network import yaw_of
from tracker.image import decode_image
from tracker.network import Network, network_of, track_photos
from tracker.observation import Detection
from tracker.progress import Progress
from training.data.faces import Faces
from training.evaluate.batches import batches, open_faces
from training.evaluate.codes import labelled
from training.evaluate.faces import Finder
from training.evaluate.options import parser_of
from training.evaluate.report import Report, Table

EDGES = (0.0, 30.0, 60.0, 90.0)
"""Bins of yaw, degrees."""
FEWEST = 20
"""Faces of a bin from which it has figures of its own; else those of the bin before."""
TYPICAL = ("cheekPuff", "noseSneer", "mouthRoll", "mouthSmile", "eyeBlink", "browInnerUp")
"""Units in the table, by the start of their names."""


@dataclass(frozen=True)
class Differences:
    """Of estimated from known codes, one row per face: as in `NetworkErrors`."""

    yaw: Float[np.ndarray, "N"]
    pose: Float[np.ndarray, "N 3"]
    camera: Float[np.ndarray, "N 3"]
    face: Float[np.ndarray, "N C"]
    known_face: Float[np.ndarray, "N C"]
    shape: Float[np.ndarray, "N S"]
    known_shape: Float[np.ndarray, "N S"]


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("errors", __doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="folders of shards with labels")
    parser.add_argument("--weights", required=True, metavar="PATH", help="a .safetensors")
    parser.add_argument("--write", action="store_true", help="put the figures into the weights' file")
    parser.add_argument("--fit", action="store_true", help="the landmark fit too, alone and with the network")
    parser.add_argument("--faces", type=int, default=2000, metavar="N", help="at most (default: 2000)")
    parser.add_argument("--held-out", type=float, metavar="SHARE", help="only people that training held out")
    options = parser.parse(argv)
    if options.faces < FEWEST:
        raise ValueError(f"--faces must be at least {FEWEST}, got {options.faces}")
    from model.io.assets import load_head

    asset = load_head(options.head)
    deca = build_deca(read_checkpoint(options.weights), asset, 16, options.weights)
    faces = open_faces(options.shards, asset.name)
    chosen = labelled(faces, options.faces, options.held_out)
    report = Report("errors", options.out)
    found = differences(deca, faces, chosen)
    errors = measured(found)
    names = asset.expression_names or tuple(f"unit {i}" for i in range(asset.exprdirs.shape[-1]))
    report.table("errors", _table(found, errors, names))
    known = errors.face.mean(0) < 0.97 * errors.face_spread
    report.note("learned", [n for n, k in zip(names, known, strict=False) if k])
    if options.fit:
        report.table("fit", _fits(deca.head, network_of(deca, errors), faces, chosen))
    if options.write:
        write_errors(options.weights, errors)
        print(f"{options.weights}: errors of {len(chosen)} faces written")
    report.close()
    return 0


@torch.no_grad()
def differences(deca: DECA, faces: Faces, chosen: np.ndarray) -> Differences:
    """The network on the chosen faces, in crops as the tracker's."""
    parts: list[list[np.ndarray]] = []
    with Progress("errors") as progress:
        for batch in batches(faces, chosen, deca.head.asset, deca.config.resolution):
            labels, codes = batch.labels, deca.encode_coarse(batch.images)
            rotation, known = head_rotation(codes.face), head_rotation(labels.face)
            assert isinstance(labels.camera, CropCamera)
            places = [
                project_crop(camera, deca.points.ibug68(face))[..., :2].mean(1)
                for camera, face in ((codes.camera, codes.face), (labels.camera, labels.face))
            ]
            apart = (places[0] - places[1]) / labels.camera.s[:, None]
            scale = (codes.camera.s.clamp_min(1e-3) / labels.camera.s).log()
            found = [
                yaw_of(known),
                roma.rotmat_to_rotvec(rotation @ known.transpose(1, 2)),
                torch.cat([scale[:, None], apart], 1),
                unknowns(codes.face) - unknowns(labels.face),
                unknowns(labels.face),
                codes.face.shape - labels.face.shape,
                labels.face.shape,
            ]
            parts.append([x.double().numpy() for x in found])
            progress("faces", sum(len(part[0]) for part in parts), len(chosen))
    return Differences(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def unknowns(face: FaceParams) -> Float[Tensor, "N C"]:
    """Expression, jaw, and both eyes' x, y: what the fit looks for in every frame."""
    return torch.cat([face.expression, face.jaw, face.eyes.unflatten(1, (2, 3))[..., :2].flatten(1)], 1)


def measured(found: Differences) -> NetworkErrors:
    """By bin of yaw: root mean squares; of pose and camera, where a few faces are missed altogether, which the fit
    notices, what the median says of them."""

    def by_yaw(values: Float[np.ndarray, "N C"], size: Callable = _rms) -> Float[np.ndarray, "B C"]:
        rows, result = _bins(found.yaw), []
        for inside in rows:
            enough = inside.sum() >= FEWEST or not result
            result.append(size(values[inside] if inside.any() else values) if enough else result[-1])
        return np.stack(result)

    return NetworkErrors(
        yaw=np.array([(a + b) / 2 for a, b in itertools.pairwise(EDGES)]),
        pose=by_yaw(found.pose, _usual),
        camera=by_yaw(found.camera, _usual),
        face=by_yaw(found.face),
        face_mean=found.known_face.mean(0),
        face_spread=found.known_face.std(0),
        shape=_rms(found.shape),
        shape_mean=found.known_shape.mean(0),
        shape_spread=found.known_shape.std(0),
    )


def _rms(values: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "C"]:
    return np.sqrt(np.square(values).mean(0))


def _usual(values: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "C"]:
    """The standard deviation of normal errors with this median."""
    return np.median(np.abs(values), axis=0) / 0.6745


def _bins(yaw: Float[np.ndarray, "N"]) -> list[np.ndarray]:
    return [(yaw >= low) & (yaw < high) for low, high in zip(EDGES, (*EDGES[1:-1], np.inf), strict=False)]


def _table(found: Differences, errors: NetworkErrors, names: Sequence[str]) -> Table:
    """By bin of yaw; units as errors over the spread of the known ones: 1 is no better than the average face."""
    moves = errors.face_spread > 0.03
    relative = errors.face[:, moves] / errors.face_spread[moves]
    moving = [name for name, moved in zip([*names, *_JOINTS], moves, strict=True) if moved]
    rows: list[tuple] = [
        ("faces", *(int(inside.sum()) for inside in _bins(found.yaw))),
        *((f"pose {axis}, degrees", *np.rad2deg(errors.pose[:, i])) for i, axis in enumerate(("nod", "yaw", "roll"))),
        ("scale, %", *(100 * errors.camera[:, 0])),
        ("place across, mm", *(1000 * errors.camera[:, 1])),
        ("place up, mm", *(1000 * errors.camera[:, 2])),
    ]
    for start in (*TYPICAL, *dict.fromkeys(_JOINTS)):
        columns = [i for i, name in enumerate(moving) if name.startswith(start)]
        if columns:
            rows.append((f"{start}, of spread", *relative[:, columns].mean(1)))
    rows.append(("all units and joints that move, of spread", *relative.mean(1)))
    rows.append(("shape, 10 strongest, of spread", *[(errors.shape / errors.shape_spread)[:10].mean()] * 3))
    columns = ("root mean square error", *(f"{a:.0f}–{b:.0f}°" for a, b in itertools.pairwise(EDGES)))
    return Table("network by yaw", columns, tuple(rows))


_JOINTS = ("jaw x", "jaw y", "jaw z", "left eye x", "left eye y", "right eye x", "right eye y")


def _fits(head: HeadModel, network: Network, faces: Faces, chosen: np.ndarray) -> Table:
    """Pose, landmarks and units of three ways to the same pictures, where the detector finds the face."""
    images: list[np.ndarray] = []
    detections: list[Detection] = []
    labels = []
    with Finder() as finder, Progress("errors") as progress:
        for done, row in enumerate(chosen):
            sample = faces[int(row)]
            image = decode_image(sample.image)
            face = finder.find(image, np.asarray(sample.landmarks))
            if face is not None and sample.labels is not None:
                images.append(image)
                detections.append(face)
                labels.append(sample.labels)
            progress("detect", done + 1, len(chosen))
    known = FaceParams(**{f.name: torch.stack([getattr(x.face, f.name) for x in labels]) for f in fields(FaceParams)})
    scale = torch.stack([x.camera.s for x in labels])
    shift = torch.stack([x.camera.t for x in labels])
    marks = HeadLandmarks(head)
    with torch.no_grad():
        truth = _pixels(marks, known, scale, shift)
    rotation = head_rotation(known)
    yaw = yaw_of(rotation).numpy()
    rows: list[tuple] = [("faces found", *(int(inside.sum()) for inside in _bins(yaw)))]
    ways = {
        "landmarks alone": (None, FitConfig()),
        "network alone": (network, FitConfig(landmarks=False)),
        "network and fit": (network, FitConfig()),
    }
    for name, (used, config) in ways.items():
        fit = track_photos(images, detections, head, used, config)
        pose, points, units = _against(fit, marks, rotation, truth, known)
        for what, values in (("pose, degrees", pose), ("landmarks, % of box", points), ("expression", units)):
            rows.append((f"{name}: {what}", *(float(values[inside].mean()) for inside in _bins(yaw))))
    columns = ("mean", *(f"{a:.0f}–{b:.0f}°" for a, b in itertools.pairwise(EDGES)))
    return Table("fits by yaw", columns, tuple(rows))


def _against(
    fit: FaceFit, marks: HeadLandmarks, rotation: Tensor, truth: Tensor, known: FaceParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees; percent of the side of the known landmarks' box; root mean square difference of the units."""
    face = FaceParams(**{f.name: torch.from_numpy(getattr(fit, f.name)) for f in fields(FaceParams)})
    camera = torch.from_numpy(fit.camera)
    with torch.no_grad():
        points = _pixels(marks, face, camera[:, 0], camera[:, 1:])
    angle = roma.rotmat_geodesic_distance(head_rotation(face), rotation)
    side = (truth.amax(1) - truth.amin(1)).prod(1).sqrt()
    miss = 100 * (points - truth).norm(dim=-1).mean(1) / side
    units = (face.expression - known.expression).square().mean(1).sqrt()
    return np.rad2deg(angle.numpy()), miss.numpy(), units.numpy()


def _pixels(marks: HeadLandmarks, face: FaceParams, scale: Tensor, shift: Tensor) -> Float[Tensor, "N 68 2"]:
    points = marks.ibug68(face)[..., :2]
    return scale[:, None, None] * points * points.new_tensor([1.0, -1.0]) + shift[:, None]
