"""Build the shipped head: ``python -m model.openhead.build [--out PATH] [--albedo NAME|PATH]``.

Needs the extra ``build-head``.

Head space: metres, +x the subject's left, +y up, +z out of the face; the origin lies on the midline, at the height of
the centres of the eyeballs and the depth of the middle of the ears. The same sources give the same bytes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from model.asset import HeadAsset, Landmarks, SurfacePoints
from model.io.assets import save_head
from model.openhead import contact, correctives, expression, rig
from model.openhead.albedo import albedo
from model.openhead.cut import GROUPS, HeadMesh, cut_head, fit_sphere, head_origin
from model.openhead.identity import build_identity
from model.openhead.learned import FILES as LEARNED_FILES
from model.openhead.learned import LearnedAlbedo, put_into, read_learned
from model.openhead.morph import Carrier, carrier
from model.openhead.regions import regions
from model.openhead.rings import QuadGraph, concentric_rings, quad_graph
from model.openhead.source import BaseMesh, read_base_mesh, read_face_unit
from model.openhead.uv import relay

NAME = "openhead-1"
DEFAULT_PATH = Path(__file__).parents[1] / "assets" / "openhead.npz"

BORDER_REACH = (1.0, 0.8, 0.5, 0.2, 0.05)  # how much the neck's rings, from the border up, follow its levelling
OPENING_HELD = 0.4  # part of identity's change of the lids' opening that is taken away
LANDMARKS_PATH = Path(__file__).parent / "landmarks.npz"

GAZE = {"Down": np.radians(20.0), "Up": np.radians(14.0), "In": np.radians(22.0), "Out": np.radians(22.0)}
"""Angles at which the lids take the shapes of `eyeLook…`. MakeHuman's balls, which turn and shift, turn by 16, 11, 22
and 22 degrees there, counted at the pupil; up and down get a quarter more, or the lids would close at 30 degrees."""

NECK_JOINT = ("joint-neck", "joint-head")
NECK_ALONG = 0.62
"""The neck's joint lies this far from MakeHuman's neck joint to its head joint: below the base of the skull."""


@dataclass(frozen=True)
class Geometry:
    """Everything of the head but its texture, before it is rounded for the file."""

    mesh: HeadMesh
    template: Float[np.ndarray, "V 3"]
    shapedirs: Float[np.ndarray, "V 3 S"]
    exprdirs: Float[np.ndarray, "V 3 E"]
    expression_names: tuple[str, ...]
    posedirs: Float[np.ndarray, "V 3 36"]
    joint_regressor: Float[np.ndarray, "5 V"]
    weights: Float[np.ndarray, "V 5"]
    hinge: rig.Hinge


def build_geometry() -> Geometry:
    """Cut, rig and shape the head from MakeHuman's data."""
    base = read_base_mesh()
    mesh = cut_head(base)
    carry = carrier(base, mesh)
    graph = quad_graph(base.quads["body"])

    identity = build_identity(carry, alignment_weights(mesh))
    open_lips = mesh.vertices + identity.mean
    origin = head_origin_of(mesh, open_lips)
    lips = contact.seal(contact.lips(graph, mesh), open_lips)
    closed = lips.closed(open_lips, contact.LIP_OVERLAP)
    template = carry.symmetric(closed + level_border(graph, mesh, closed)) - origin
    lids = contact.left_lids(graph, mesh)
    shapedirs = keep_contact(carry, lips, contact.seal(lids, template), identity.directions)

    jaw_open = carry.symmetric(carry(read_face_unit("jawOpen")))
    teeth = mesh.vertices_of("lower_teeth")
    hinge = rig.fit_hinge(template[teeth], jaw_open[teeth])
    weights = rig.skinning_weights(mesh, template, jaw_open, hinge)
    posedirs = correctives.jaw_corrective(template, weights, jaw_open, hinge)
    posedirs += _gaze(carry)

    units = expression.read_units(carry, template, lips.slit)
    centre, radius = fit_sphere(template[mesh.vertices_of("left_eye")])
    blink = contact.closed_blink(lids, template, units["eyeBlinkLeft"], centre, radius)
    units |= {"eyeBlinkLeft": blink, "eyeBlinkRight": carry.mirrored(blink)}
    units["mouthClose"] = correctives.unskinned(units["mouthClose"], weights, rig.JAW, hinge.rotation)
    exprdirs = np.stack(list(units.values()), axis=-1)

    still = (np.abs(exprdirs).max(axis=(1, 2)) < 1e-7) & (mesh.source_vertex >= 0)
    root, neck = neck_joints(base, mesh, identity.mean, origin)
    regressor = rig.joint_regressor(mesh, template, root, neck, hinge, still)
    return Geometry(mesh, template, shapedirs, exprdirs, tuple(units), posedirs, regressor, weights, hinge)


def keep_contact(
    carry: Carrier, lips: contact.Seal, left_lids: contact.Seal, directions: Float[np.ndarray, "V 3 S"]
) -> Float[np.ndarray, "V 3 S"]:
    """Directions of identity under which the lips stay closed, and that change the eyes' opening less.

    A blink has the same travel for everybody: the openings may not differ more than it can close.
    """
    kept = np.empty_like(directions)
    for i in range(directions.shape[-1]):
        field = left_lids.closed(lips.closed(directions[..., i]), share=OPENING_HELD)
        kept[..., i] = carry.mirrored(left_lids.closed(carry.mirrored(field), share=OPENING_HELD))
    return kept[..., np.argsort(-(kept**2).sum(axis=(0, 1)), kind="stable")]


def level_border(graph: QuadGraph, mesh: HeadMesh, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Offsets that bring the neck's border into its plane, fading over the rings above."""
    start, beside = (int(v) for v in mesh.source_vertex[mesh.border[:2]])
    on_border = set(mesh.source_vertex[mesh.border].tolist())
    kept = set(mesh.source_vertex.tolist())
    above = next(v for v in graph.neighbours[start] if v in kept and v not in on_border)
    rings = mesh.index_of_source[concentric_rings(graph, start, beside, above, len(BORDER_REACH))]
    ring = vertices[rings[0]] - vertices[rings[0]].mean(axis=0)
    normal = np.linalg.svd(ring)[2][2]
    offsets = np.zeros_like(vertices)
    offsets[rings] = np.array(BORDER_REACH)[:, None, None] * (-(ring @ normal)[:, None] * normal)
    return offsets


def alignment_weights(mesh: HeadMesh) -> Float[np.ndarray, " V"]:
    """Weights by which heads are aligned: area of the outer skin above the chin."""
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 6
    weights = np.zeros(len(mesh.vertices))
    skin = mesh.faces_of("skin")
    np.add.at(weights, mesh.faces[skin].ravel(), np.repeat(area[skin], 3))
    weights[mesh.vertices[:, 1] < -0.11] = 0.0
    return weights


def head_origin_of(mesh: HeadMesh, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " 3"]:
    """Origin of head space for these vertices; the base mesh's is at zero, ears are assumed to move with the eyes."""
    eyes = vertices[mesh.vertices_of("left_eye", "right_eye")]
    return np.array([0.0, 0.5 * (eyes[:, 1].min() + eyes[:, 1].max()), 0.0])


def neck_joints(
    base: BaseMesh, mesh: HeadMesh, mean: Float[np.ndarray, "V 3"], origin: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Places of the root and the neck joint on the mean head, metres, moved like the neck's surface around them."""
    low, high = (base.centre(group) - head_origin(base) for group in NECK_JOINT)
    places = (low, low + NECK_ALONG * (high - low))
    skin = (mesh.vertex_group == GROUPS.index("skin")) & (mesh.vertices[:, 2] < 0.03)
    moved = []
    for place in places:
        ring = skin & (np.abs(mesh.vertices[:, 1] - place[1]) < 0.015)
        moved.append(place + mean[ring].mean(axis=0) - origin)
    return moved[0], moved[1]


def _gaze(carry: Carrier) -> Float[np.ndarray, "V 3 36"]:
    """Motion of the lids with the gaze, as correctives of both eyes."""
    mesh = carry.mesh
    total = np.zeros((len(mesh.vertices), 3, 36))
    for joint, side, other in ((rig.LEFT_EYE, "Left", "Right"), (rig.RIGHT_EYE, "Right", "Left")):
        lids = {}
        for way in GAZE:
            twin = carry.mirrored(carry(read_face_unit(f"eyeLook{way}{other}")))
            lids[way] = 0.5 * (carry(read_face_unit(f"eyeLook{way}{side}")) + twin)
            lids[way][mesh.source_vertex < 0] = 0.0  # the balls are turned by their joints
        to_left, to_right = ("Out", "In") if side == "Left" else ("In", "Out")
        for axis, plus, minus in ((0, "Down", "Up"), (1, to_left, to_right)):
            total += correctives.gaze_corrective(joint, axis, (GAZE[plus], lids[plus]), (-GAZE[minus], lids[minus]))
    return total


def to_asset(geometry: Geometry, learned: LearnedAlbedo | None = None) -> HeadAsset:
    """The record that is saved: bases rounded to float16, texture and landmarks added where they exist.

    Args:
        learned: the face's albedo as photographs taught it; the built one where None.
    """
    mesh = geometry.mesh
    uv, uv_faces = relay(mesh)
    masks = regions(mesh)
    albedo_mean, albedo_basis = albedo(mesh, uv, uv_faces, masks)
    if learned is not None:
        albedo_mean, albedo_basis = put_into(albedo_mean, albedo_basis, learned)
    return HeadAsset(
        name=NAME,
        template=geometry.template.astype(np.float32),
        faces=mesh.faces,
        shapedirs=_half(geometry.shapedirs),
        exprdirs=_half(geometry.exprdirs),
        posedirs=_half(geometry.posedirs),
        joint_regressor=geometry.joint_regressor.astype(np.float32),
        weights=geometry.weights.astype(np.float32),
        parents=rig.PARENTS,
        expression_names=geometry.expression_names,
        expression_range=(0.0, 1.0),
        uv=uv.astype(np.float32),
        uv_faces=uv_faces,
        regions=masks,
        albedo_mean=_half(albedo_mean),
        albedo_basis=_half(albedo_basis),
        landmarks=read_landmarks(LANDMARKS_PATH) if LANDMARKS_PATH.exists() else None,
    )


def _half(array: np.ndarray) -> np.ndarray:
    """Rounded to float16, without negative zeros: rounding errors decide their signs, and the file's bytes are to be
    the same on every machine."""
    return array.astype(np.float16) + np.float16(0)


def read_landmarks(path: Path) -> Landmarks:
    """Landmark embeddings as `training.landmarks` leaves them: arrays ``NAME/face`` and ``NAME/barycentric``."""
    with np.load(path, allow_pickle=False) as arrays:
        points = {
            name: SurfacePoints(arrays[f"{name}/face"].astype(np.int64), arrays[f"{name}/barycentric"])
            for name in ("static51", "contour", "full68", "mediapipe478")
        }
    return Landmarks(**points)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="build the shipped head from MakeHuman's data")
    parser.add_argument("--out", type=Path, default=DEFAULT_PATH, help=f"the file to write (default {DEFAULT_PATH})")
    parser.add_argument("--albedo", default="open", help="open (default), built, learned, or a file")
    options = parser.parse_args(arguments)
    learned = None
    if options.albedo != "built":
        learned = read_learned(LEARNED_FILES.get(options.albedo, Path(options.albedo)))
    digest = save_head(to_asset(build_geometry(), learned), options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, digest {digest}")


if __name__ == "__main__":
    main()
