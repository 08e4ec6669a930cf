"""A network on rendered faces whose codes are known exactly (shards of python -m training.synthetic).

  python -m training.evaluate codes shards/synthetic_test --weights deca.safetensors --out codes/

Give faces that the network has not seen: shards of another seed, or --held-out SHARE as it was in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import roma
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from model.asset import HeadAsset
from model.camera import project_crop
from model.deca import DECA
from model.landmarks import head_rotation
from model.params import CropCamera, FaceParams
from model.shading import sh_shading
from tracker.progress import Progress
from training.data.faces import Faces
from training.evaluate.batches import batches, open_faces
from training.evaluate.estimate import Network, neutral_heads
from training.evaluate.now import RADIUS
from training.evaluate.options import estimators_of, parser_of
from training.evaluate.report import Report, Table, statistics
from training.evaluate.scan import Head, Scan, compare
from training.supervision import CodeMetrics

MOVES = 0.05
"""Standard deviation over the faces from which an expression unit counts as moving."""
POINTS = 25_000
"""Points of a scan that is sampled from a known head; some 40 % of them lie in the face area."""
_INSIDE = ("inner_mouth", "teeth", "tongue", "left_eye", "right_eye")


@dataclass(frozen=True)
class Codes:
    """Codes of all faces, estimated or known.

    Attributes:
        face: codes and pose.
        albedo: coefficients.
        light: spherical harmonics by colour.
        scale: of the crop camera.
        landmarks: iBUG-68 in the crop, [−1, 1].
    """

    face: FaceParams
    albedo: Float[Tensor, "N A"]
    light: Float[Tensor, "N 9 3"]
    scale: Float[Tensor, "N"]
    landmarks: Float[Tensor, "N 68 2"]


@dataclass(frozen=True)
class Errors:
    """One row of figures per face, or per unit.

    Attributes:
        pose: angle between the heads' rotations, degrees.
        gaze: angle between the directions of the eyeballs in the head, degrees, mean of both.
        jaw: correlation of the jaw's opening over the faces.
        units: correlation by unit, of those that move.
        expression: correlation of all these units at once, each about its own mean: units count by how much they vary.
        moved: the same of what the expression does to the face's vertices: units count by how far they move it.
        scale: relative error of the camera's scale, percent.
        landmarks: mean distance over the side of the landmarks' box, percent.
        albedo: mean difference over the face's UV map, RGB in [0, 1].
        light: root mean square difference of the shading of white normals that face the camera, over that of the known
            light, percent. Albedo and light share one scale that no picture tells apart.
    """

    pose: Float[np.ndarray, "N"]
    gaze: Float[np.ndarray, "N"]
    jaw: float
    units: dict[str, float]
    expression: float
    moved: float
    scale: Float[np.ndarray, "N"]
    landmarks: Float[np.ndarray, "N"]
    albedo: Float[np.ndarray, "N"]
    light: Float[np.ndarray, "N"]


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = parser_of("codes", __doc__)
    parser.add_argument("shards", nargs="+", metavar="SHARDS", help="folders of shards with labels")
    parser.add_argument("--weights", action="append", required=True, metavar="PATH", help="may be given repeatedly")
    parser.add_argument("--faces", type=int, default=500, metavar="N", help="at most (default: 500)")
    parser.add_argument("--scans", type=int, default=50, metavar="N", help="heads under the NoW protocol (default: 50)")
    parser.add_argument("--points", type=int, default=POINTS, metavar="N", help=f"of a scan (default: {POINTS})")
    parser.add_argument("--held-out", type=float, metavar="SHARE", help="only people that training held out")
    options = parser.parse(argv)
    if options.faces < 2 or options.scans < 0 or options.points < 100:
        raise ValueError("--faces must be at least 2, --scans at least 0 and --points at least 100")
    options.fit = False
    networks = [estimator for estimator in estimators_of(options) if isinstance(estimator, Network)]
    asset = networks[0].head.asset
    faces = open_faces(options.shards, asset.name)
    chosen = labelled(faces, options.faces, options.held_out)
    report = Report("codes", options.out)
    report.note("faces", len(chosen), f"{len(chosen)} faces with known codes")
    for network in networks:
        known, found = estimate(network.deca, faces, chosen)
        errors = compare_codes(network.deca, found, known)
        plain = compare_codes(network.deca, plainest(network.deca, known), known)
        report.table(network.name, _table(network.name, errors, plain))
        worst = sorted(errors.units.items(), key=lambda item: item[1])
        report.note(f"{network.name}: units", dict(worst))
        print("  units: " + ", ".join(f"{name} {value:.2f}" for name, value in worst))
        if options.scans:
            spread = np.unique(np.linspace(0, len(chosen) - 1, options.scans).round().astype(int))
            report.table(f"{network.name}: shape", _shapes(network, found, known, spread, options.points))
    report.close()
    return 0


def labelled(faces: Faces, most: int, held_out: float | None) -> np.ndarray:
    """Faces with known codes, spread evenly over the shards."""
    rows = np.arange(len(faces)) if held_out is None else np.flatnonzero(faces.held_out(held_out))
    known = []
    for row in rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)] if len(rows) else ():
        labels = faces[int(row)].labels
        if labels is not None and bool(labels.known) and bool(labels.lit):
            known.append(int(row))
    if len(known) < 2:
        raise ValueError(
            f"{len(known)} faces with known codes in these shards; give shards of python -m training.synthetic"
        )
    return np.array(known)


@torch.no_grad()
def estimate(deca: DECA, faces: Faces, chosen: np.ndarray) -> tuple[Codes, Codes]:
    """What is known of the chosen faces, and what the network says of them."""
    known: list[Codes] = []
    found: list[Codes] = []
    with Progress("codes") as progress:
        for batch in batches(faces, chosen, deca.head.asset):
            labels, codes = batch.labels, deca.encode_coarse(batch.images)
            for parts, one in ((known, labels), (found, codes)):
                camera = one.camera
                assert isinstance(camera, CropCamera)
                points = project_crop(camera, deca.points.ibug68(one.face))[..., :2]
                parts.append(Codes(one.face, one.albedo, one.light, camera.s, points))
            progress("faces", sum(len(part.scale) for part in known), len(chosen))
    return _joined(known), _joined(found)


def _joined(parts: list[Codes]) -> Codes:
    face = {f.name: torch.cat([getattr(part.face, f.name) for part in parts]) for f in fields(FaceParams)}
    rest = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Codes) if f.name != "face"}
    return Codes(FaceParams(**face), **rest)


def plainest(deca: DECA, known: Codes) -> Codes:
    """What somebody would say who knows the faces' averages only: mean head, looking ahead, mean pose and light."""
    count = len(known.scale)

    def averaged(values: Tensor) -> Tensor:
        return values.mean(0, keepdim=True).expand(values.shape)

    face = FaceParams(**{f.name: averaged(getattr(known.face, f.name)) for f in fields(FaceParams)})
    neutral = deca.head.neutral(count)
    face = FaceParams(neutral.shape, face.expression, face.pose, face.neck, face.jaw, neutral.eyes)
    return Codes(
        face,
        torch.zeros_like(known.albedo),
        averaged(known.light),
        averaged(known.scale),
        averaged(known.landmarks),
    )


@torch.no_grad()
def compare_codes(deca: DECA, found: Codes, known: Codes) -> Errors:
    """All figures but the shape's."""
    turned = roma.rotmat_geodesic_distance(head_rotation(found.face), head_rotation(known.face))
    names = deca.head.asset.expression_names or tuple(f"unit {i}" for i in range(known.face.expression.shape[1]))
    moving = np.flatnonzero(known.face.expression.std(0).numpy() > MOVES)
    size = known.landmarks.amax(1) - known.landmarks.amin(1)
    side = size.prod(-1).sqrt()
    apart = (found.landmarks - known.landmarks).norm(dim=-1).mean(-1)
    mask = deca.surface.mask
    albedo = [
        ((deca.albedo(a[None]) - deca.albedo(b[None]))[0].abs().mean(0) * mask).sum() / mask.sum()
        for a, b in zip(found.albedo, known.albedo, strict=True)
    ]
    normals = _facing_normals().expand(len(known.light), -1, -1)
    shading, wanted = sh_shading(normals, found.light), sh_shading(normals, known.light)
    return Errors(
        pose=np.rad2deg(turned.numpy()),
        gaze=gaze_error(found.face, known.face),
        jaw=correlation(found.face.jaw[:, 0], known.face.jaw[:, 0]),
        units={names[i]: correlation(found.face.expression[:, i], known.face.expression[:, i]) for i in moving},
        expression=correlation(*(_about_mean(codes.face.expression[:, moving]) for codes in (found, known))),
        moved=_moved(deca, found.face.expression, known.face.expression),
        scale=100 * (found.scale / known.scale - 1).abs().numpy(),
        landmarks=100 * (apart / side).numpy(),
        albedo=torch.stack(albedo).numpy(),
        light=100 * ((shading - wanted).square().mean((1, 2)) / wanted.square().mean((1, 2))).sqrt().numpy(),
    )


def gaze_error(found: FaceParams, known: FaceParams) -> Float[np.ndarray, "N"]:
    """Angle between the directions in which the eyeballs look, in the head, degrees; mean of both eyes."""
    ahead = torch.tensor([0.0, 0.0, 1.0])
    angles = []
    for start in (0, 3):
        a, b = (roma.rotvec_to_rotmat(face.eyes[:, start : start + 3]) @ ahead for face in (found, known))
        angles.append(torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1)))
    return np.rad2deg(torch.stack(angles).mean(0).numpy())


def correlation(a: Float[Tensor, "N"], b: Float[Tensor, "N"]) -> float:
    """Pearson's; 0 where one of them does not vary at all."""
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def _about_mean(units: Float[Tensor, "N U"]) -> Float[Tensor, "NU"]:
    return (units - units.mean(0)).flatten()


def _moved(deca: DECA, found: Float[Tensor, "N E"], known: Float[Tensor, "N E"]) -> float:
    """Correlation of two fields of displacements over the face, by the scalar product of the codes that make them."""
    metric = CodeMetrics(deca.head.asset).expression
    a, b = found - found.mean(0), known - known.mean(0)
    product, aa, bb = (((x @ metric) * y).sum() for x, y in ((a, b), (a, a), (b, b)))
    return float(product / (aa * bb).sqrt()) if aa > 0 and bb > 0 else 0.0


def _facing_normals(count: int = 200) -> Float[Tensor, "1 K 3"]:
    """Normals spread evenly over the half sphere that faces the camera (a Fibonacci lattice)."""
    k = torch.arange(count) + 0.5
    z, angle = k / count, k * np.pi * (3 - 5**0.5)
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=-1)[None]


def _table(name: str, errors: Errors, plain: Errors) -> Table:
    def units(found: Errors) -> float:
        return float(np.mean(list(found.units.values()))) if found.units else float("nan")

    rows = [
        ("pose, median, degrees", float(np.median(errors.pose)), float(np.median(plain.pose))),
        ("expression, correlation of all units", errors.expression, plain.expression),
        ("expression, correlation of what it moves", errors.moved, plain.moved),
        (f"expression, mean correlation of {len(errors.units)} units", units(errors), units(plain)),
        ("jaw opening, correlation", errors.jaw, plain.jaw),
        ("gaze, median, degrees", float(np.median(errors.gaze)), float(np.median(plain.gaze))),
        ("camera scale, median, %", float(np.median(errors.scale)), float(np.median(plain.scale))),
        ("landmarks, mean, % of box", float(errors.landmarks.mean()), float(plain.landmarks.mean())),
        ("albedo, mean, RGB 0–1", float(errors.albedo.mean()), float(plain.albedo.mean())),
        ("light, median, % of shading", float(np.median(errors.light)), float(np.median(plain.light))),
    ]
    return Table(f"{name} on known codes", ("what", "network", "average face"), tuple(rows))


def _shapes(network: Network, found: Codes, known: Codes, rows: np.ndarray, points: int) -> Table:
    """The NoW protocol, with the known heads as scans."""
    asset = network.head.asset
    truth = neutral_heads(network.head, known.face.shape[rows])
    ours = neutral_heads(network.head, found.face.shape[rows])
    mean = neutral_heads(network.head, network.head.neutral(1).shape)[0]
    distances: dict[tuple[str, bool], list[np.ndarray]] = {}
    with Progress("codes") as progress:
        for number, (head, own) in enumerate(zip(truth, ours, strict=True)):
            scan = sampled_scan(head, asset, points, number)
            for name, candidate in ((network.name, own), ("mean head", mean)):
                for scaled in (True, False):
                    result = compare(scan, candidate, radius=RADIUS, scaled=scaled, refined=True)
                    distances.setdefault((name, scaled), []).append(result.distance)
            progress("scans", number + 1, len(truth))
    table = tuple(
        (name, "scaled" if scaled else "metrical", len(parts), *statistics(np.concatenate(parts)))
        for (name, scaled), parts in distances.items()
    )
    columns = ("head", "alignment", "scans", "median", "mean", "std")
    return Table("shape under the NoW protocol: distance from scan to mesh, mm", columns, table)


def sampled_scan(head: Head, asset: HeadAsset, count: int, seed: int) -> Scan:
    """Points spread evenly over the outside of a known head, as a scanner would see it, with its landmarks.

    Mouth, teeth, tongue and eyeballs are left out where the head says what they are.
    """
    inside = np.zeros(len(head.vertices), bool)
    for name in _INSIDE:
        inside |= asset.regions.get(name, np.zeros(len(inside))) > 0.5
    outer = trimesh.Trimesh(head.vertices, head.faces[~inside[head.faces].any(1)], process=False)
    return Scan(np.asarray(trimesh.sample.sample_surface(outer, count, seed=seed)[0]), head.landmarks)
