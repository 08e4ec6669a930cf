"""Joints and skinning: the jaw's hinge out of `jawOpen`, joint regressors, weights merged from MakeHuman's rig."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls
from scipy.sparse.linalg import spsolve

from model.asset import JOINTS
from model.openhead.cut import GROUPS, HeadMesh
from model.openhead.source import read_bone_weights

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(len(JOINTS))
PARENTS = np.array([-1, ROOT, NECK, NECK, NECK])

ROOT_SHARE = {"neck01": 0.8, "neck02": 0.45, "neck03": 0.1}
"""Part of the weight of MakeHuman's three neck bones that stays with the root; all bones below are the root's."""
ROOT_SPAN = (0.12, 0.70)
"""Smoothed shares that become 0 and 1: the border of the neck stays where it is."""
TORSO = ("spine01", "clavicle", "breast", "shoulder01", "upperarm01")


@dataclass(frozen=True)
class Hinge:
    """Rigid motion of the jaw: a rotation about an axis parallel to x.

    Attributes:
        centre: a point of the axis on the midline, metres.
        angle: radians about +x.
        residual: largest distance between the rotated and the wanted points, metres.
    """

    centre: Float[np.ndarray, " 3"]
    angle: float
    residual: float

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Matrix of the rotation."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def fit_hinge(points: Float[np.ndarray, "n 3"], offsets: Float[np.ndarray, "n 3"]) -> Hinge:
    """The rotation about a lateral axis that best (least squares) carries `points` to ``points + offsets``.

    In the plane of y and z this is Procrustes' problem; the centre is the fixed point of the motion.
    """
    before, after = points[:, 1:], (points + offsets)[:, 1:]
    p, q = before - before.mean(axis=0), after - after.mean(axis=0)
    angle = float(np.arctan2((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum(), (p * q).sum()))
    turn = Hinge(np.zeros(3), angle, 0.0).rotation[1:, 1:]
    centre = np.linalg.solve(np.eye(2) - turn, after.mean(axis=0) - turn @ before.mean(axis=0))
    miss = (before - centre) @ turn.T + centre - after
    return Hinge(np.array([0.0, *centre]), angle, float(np.linalg.norm(miss, axis=1).max()))


def skinning_weights(
    mesh: HeadMesh, vertices: Float[np.ndarray, "V 3"], jaw_open: Float[np.ndarray, "V 3"], hinge: Hinge
) -> Float[np.ndarray, "V 5"]:
    """Linear blend skinning weights, mirror symmetric, rows sum to one.

    Root and neck come from MakeHuman's weights, smoothed; the jaw's are those with which its rotation explains
    `jaw_open` best.
    """
    torso = np.zeros(mesh.source_vertex.max() + 1)
    for bone, (index, weight) in read_bone_weights().items():
        share = 1.0 if bone.startswith(TORSO) else ROOT_SHARE.get(bone, 0.0)
        here = index < len(torso)
        torso[index[here]] += share * weight[here]
    laplacian = mesh_laplacian(mesh)
    skin = mesh.vertices_of("skin")
    root_share = np.zeros(len(vertices))
    root_share[skin] = torso[mesh.source_vertex[skin]]
    root_share[skin] = smooth(root_share, laplacian, 8.0)[skin]
    low, high = ROOT_SPAN
    root_share = np.clip((root_share - low) / (high - low), 0.0, 1.0)

    jaw = _jaw_weights(mesh, vertices, jaw_open, hinge, laplacian)
    weights = np.zeros((len(vertices), len(JOINTS)))
    weights[:, JAW] = jaw
    weights[:, ROOT] = (1.0 - jaw) * root_share
    weights[:, NECK] = (1.0 - jaw) * (1.0 - root_share)
    for joint, group in ((LEFT_EYE, "left_eye"), (RIGHT_EYE, "right_eye")):
        weights[mesh.vertices_of(group)] = np.eye(len(JOINTS))[joint]
    swapped = weights[mesh.mirror][:, [ROOT, NECK, JAW, RIGHT_EYE, LEFT_EYE]]
    return 0.5 * (weights + swapped)


def _jaw_weights(
    mesh: HeadMesh,
    vertices: Float[np.ndarray, "V 3"],
    jaw_open: Float[np.ndarray, "V 3"],
    hinge: Hinge,
    laplacian: sp.csr_matrix,
) -> Float[np.ndarray, " V"]:
    """Weights in [0, 1] that minimise |w r − d|² plus roughness; r is the hinge's full motion, d the wanted one."""
    full = (vertices - hinge.centre) @ hinge.rotation.T + hinge.centre - vertices
    arm = (full**2).sum(axis=1)
    # Close to the axis the motion says little: the floor leaves these vertices to their neighbours.
    floor = np.full(len(vertices), (0.002) ** 2)
    system = sp.diags(arm + floor) + laplacian.T @ laplacian * 2e-5
    weights = np.asarray(spsolve(system.tocsc(), np.einsum("ij,ij->i", full, jaw_open)))
    weights = np.clip(weights, 0.0, 1.0)
    weights[weights < 0.01] = 0.0
    weights[mesh.vertices_of("lower_teeth")] = 1.0
    weights[mesh.vertices_of("upper_teeth", "left_eye", "right_eye")] = 0.0
    return weights


def mesh_laplacian(mesh: HeadMesh) -> sp.csr_matrix:
    """Uniform graph Laplacian of the triangles' edges: L = I − D⁻¹A."""
    return _graph_laplacian(mesh.faces, len(mesh.vertices))


def _graph_laplacian(faces: Int[np.ndarray, "F 3"], count: int) -> sp.csr_matrix:
    a = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    b = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    links = sp.coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count)).tocsr()
    links = ((links + links.T) > 0).astype(float)
    return (sp.identity(count) - sp.diags(1.0 / np.asarray(links.sum(axis=1)).ravel()) @ links).tocsr()


def smooth(
    field: Float[np.ndarray, "V *rest"], laplacian: sp.csr_matrix, strength: float
) -> Float[np.ndarray, "V *rest"]:
    """Implicit smoothing along the mesh: the solution x of (I + strength·L) x = field."""
    system = sp.identity(len(field)) + strength * laplacian
    return np.asarray(spsolve(system.tocsc(), field))


def joint_regressor(
    mesh: HeadMesh,
    vertices: Float[np.ndarray, "V 3"],
    root: Float[np.ndarray, " 3"],
    neck: Float[np.ndarray, " 3"],
    hinge: Hinge,
    still: Bool[np.ndarray, " V"],
) -> Float[np.ndarray, "5 V"]:
    """Rows that give the joints of the mean head exactly and follow identity; only `still` vertices are used.

    Root and neck are regressed from the band of the neck's surface at their height, the jaw from the upper teeth and
    the skin by the ears (no still skin lies below its hinge), the eyes from their balls.
    """
    regressor = np.zeros((len(JOINTS), len(vertices)))
    outer = still & (mesh.vertex_group == 0)
    y, z = vertices[:, 1], vertices[:, 2]
    behind = z < 0.03  # the front of the neck, not the chin or the lining of the mouth
    for joint, place, band in ((ROOT, root, 0.02), (NECK, neck, 0.02)):
        regressor[joint] = _reproduce(vertices, place, outer & behind & (np.abs(y - place[1]) < band))
    near = np.hypot(y - hinge.centre[1], z - hinge.centre[2]) < 0.035
    bone = still & (mesh.vertex_group == GROUPS.index("upper_teeth"))
    regressor[JAW] = _reproduce(vertices, hinge.centre, bone | (outer & near & (np.abs(vertices[:, 0]) > 0.045)))
    for joint, group in ((LEFT_EYE, "left_eye"), (RIGHT_EYE, "right_eye")):
        ball = np.zeros(len(vertices), dtype=bool)
        ball[mesh.vertices_of(group)] = True
        centre = 0.5 * (vertices[ball][0] + vertices[ball][-1])  # the poles are opposite
        regressor[joint] = _reproduce(vertices, centre, ball)
    return regressor


def _reproduce(
    vertices: Float[np.ndarray, "V 3"], place: Float[np.ndarray, " 3"], chosen: Bool[np.ndarray, " V"]
) -> Float[np.ndarray, " V"]:
    """Weights on the chosen vertices, as even as can be, none negative, that sum to one and average to `place`."""
    p = vertices[chosen] - place
    conditions = np.concatenate([p.T / np.abs(p).max(), np.ones((1, len(p)))]) * 1e4
    wanted = np.array([0.0, 0.0, 0.0, 1e4])
    even = np.full(len(p), 1.0 / len(p))
    weights, _ = nnls(np.concatenate([conditions, np.eye(len(p))]), np.concatenate([wanted, even]))
    row = np.zeros(len(vertices))
    row[chosen] = weights / weights.sum()
    return row
