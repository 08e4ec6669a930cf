"""The fitted head moved onto the photograph's own features: small shifts in the picture, smooth over the surface.

A fit leaves some pixels between the head's lips, lids and brows and the photograph's. Pixels that move with the mesh
must be cut exactly along them, or an upper lip moves with the lower one.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from model.asset import HeadAsset, SurfacePoints
from model.camera import project
from model.head import HeadModel
from model.landmarks import head_rotation, ibug68_points
from model.mesh import edges, vertex_normals
from reenact.target import Target
from tracker.fit.slides import read_slides, slide

_STIFF = 0.4
"""Weight of bending (graph Laplacian, squared) against one landmark's."""
_HOLD = 1e-4
"""Weight against shifting at all: far from landmarks the head stays as it was fitted."""
_MOST = 0.18
"""Longest shift, in distances of the eyes' centres: a landmark further off is doubted."""
_EYES = 0.06
"""Distance of the eyes' centres, metres."""
_OUTLINE = np.array(
    [
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
        *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ]
)
"""MediaPipe's points on the face's outline: where they lie on the skin depends on the view."""
_OUTLINE_WEIGHT = 0.05
_IRIS = {"right_eye": slice(468, 473), "left_eye": slice(473, 478)}


@torch.no_grad()
def offsets(target: Target, head: HeadModel) -> Float[np.ndarray, "V 2"]:
    """Pixels by which every vertex of the fitted head, seen on the photograph, is to be shifted."""
    asset = head.asset
    assert asset.landmarks is not None
    mesh = head.mesh(target.params)
    points, found, weight = _pairs(target, head)
    corners = asset.faces[points.face]
    share = points.barycentric
    seen = project(target.camera, mesh.vertices).numpy()
    there = np.einsum("pk,pkc->pc", share, seen[corners])
    facing = np.einsum("pk,pk->p", share, vertex_normals(mesh)[:, 2].numpy()[corners])
    weight = weight * np.clip(facing * 2.5, 0.02, 1)
    most = _MOST * _EYES * float(target.camera.s)
    miss = found - there
    length = np.linalg.norm(miss, axis=1, keepdims=True).clip(1e-6)
    miss = miss * np.minimum(1, most / length)

    rows = np.repeat(np.arange(len(corners)), 3)
    count = len(asset.template)
    places = sparse.csr_matrix((share.reshape(-1), (rows, corners.reshape(-1))), (len(corners), count))
    laplacian = neighbours(asset.faces, count) - sparse.identity(count)
    weights = sparse.diags(weight)
    system = places.T @ weights @ places + _STIFF * laplacian.T @ laplacian + _HOLD * sparse.identity(count)
    result = splu(system.tocsc()).solve(places.T @ (weights @ miss))
    return _parts_follow(result, asset, target, there, found, points).astype(np.float32)


def _pairs(target: Target, head: HeadModel) -> tuple[SurfacePoints, Float[np.ndarray, "P 2"], Float[np.ndarray, " P"]]:
    """Points of the surface, where the photograph shows them (px), and how much each counts."""
    marks = head.asset.landmarks
    assert marks is not None
    found = target.face.points.astype(np.float64)
    if target.face.scheme == "mediapipe478" and marks.mediapipe478 is not None:
        rotation = head_rotation(target.params)
        moved = slide(torch.from_numpy(read_slides()), rotation[None])[0].T.numpy()
        found = found - float(target.camera.s) * moved * (1, -1)
        weight = np.ones(len(found))
        weight[_OUTLINE] = _OUTLINE_WEIGHT
        weight[468:] = 0  # the eyeballs follow by themselves
        return marks.mediapipe478, found, weight
    from tracker.observation import ibug68

    points = ibug68_points(marks, 39)
    weight = np.ones(68)
    weight[:17] = 0
    return points, ibug68(target.face).astype(np.float64), weight


def _parts_follow(
    shifts: np.ndarray, asset: HeadAsset, target: Target, there: np.ndarray, found: np.ndarray, points: SurfacePoints
) -> Float[np.ndarray, "V 2"]:
    """Eyeballs as their irises, teeth and tongue as the lips: each part is shifted as a whole."""
    labels = surface_parts(asset.faces, len(asset.template))
    result = shifts.copy()
    skin = np.bincount(labels).argmax()
    lips = asset.regions.get("lips", np.zeros(len(labels)))
    for part in range(labels.max() + 1):
        rows = labels == part
        if part == skin:
            continue
        result[rows] = (lips[:, None] * shifts).sum(0) / max(lips.sum(), 1e-6)
        for name, irises in _IRIS.items():
            if name in asset.regions and asset.regions[name][rows].mean() > 0.5:
                if len(points.face) == 478:
                    result[rows] = (found[irises] - there[irises]).mean(0)
                else:
                    lids = asset.regions.get(f"{name}lid", np.zeros(len(labels)))
                    result[rows] = (lids[:, None] * shifts).sum(0) / max(lids.sum(), 1e-6)
    return result


def surface_parts(faces: Int[np.ndarray, "F 3"], count: int) -> Int[np.ndarray, " V"]:
    """Which connected part of the surface every vertex belongs to."""
    pairs = edges(torch.from_numpy(faces).long()).numpy()
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(graph, directed=False)[1]


def neighbours(faces: Int[np.ndarray, "F 3"], count: int) -> sparse.csr_matrix:
    """The mean over the vertices at the other ends of a vertex's edges, as a matrix."""
    pairs = edges(torch.from_numpy(faces).long()).numpy()
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
    graph = sparse.csr_matrix((np.ones(len(i)), (i, j)), (count, count))
    degree = np.asarray(graph.sum(1))[:, 0].clip(1)
    return sparse.csr_matrix(sparse.diags(1 / degree) @ graph)
