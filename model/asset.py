"""What a head is made of: the arrays behind openhead and FLAME, read from files by `model.io.assets`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
"""Names of the joints, in the order of the skinning weights."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points bound to the mesh: a triangle and barycentric coordinates in it (rows sum to one)."""

    face: Int[np.ndarray, "*points"]
    barycentric: Float[np.ndarray, "*points 3"]


@dataclass(frozen=True)
class Landmarks:
    """Landmark embeddings on the surface.

    Attributes:
        static51: iBUG points 17–67 (brows, nose, eyes, lips).
        contour: (79, 17) moving jaw line, iBUG points 0–16; one row per degree of yaw, see `model.landmarks`.
        full68: 68 points fixed on the surface ("3D" landmarks).
        mediapipe478: MediaPipe FaceMesh points with iris (468–472 subject's right, 473–477 left eye); absent on FLAME.
    """

    static51: SurfacePoints
    contour: SurfacePoints
    full68: SurfacePoints
    mediapipe478: SurfacePoints | None = None


@dataclass(frozen=True)
class HeadAsset:
    """A linear blendshape head with five joints, in FLAME's layout but of any topology.

    Attributes:
        name: e.g. ``openhead-1``; with `digest` it identifies the model in tracks.
        template: mean head, metres, head space.
        faces: triangles, counter-clockwise from outside.
        shapedirs: identity directions, metres per standard deviation.
        exprdirs: expression directions, metres per unit.
        expression_names: one name per expression direction; empty where the directions have no meaning.
        expression_range: limits of every expression coefficient, e.g. (0, 1); None where unbounded.
        posedirs: corrective offsets, metres, driven by the entries (row-major) of R_j − I of joints 1..4, in order.
        joint_regressor: (5, V), rows sum to one; joints are regressed from the vertices after shape and expression.
        weights: (V, 5) linear blend skinning weights, rows sum to one.
        parents: parent joint of each joint, −1 for the root.
        uv, uv_faces: texture vertices in [0, 1], origin at the *bottom-left*, and their triangles (parallel to faces).
        regions: named float masks in [0, 1] on the vertices ("skin", "lips", "left_eye", ...).
        landmarks: None while the head is being built.
        albedo_mean: (H, W, 3) mean of the linear albedo model in UV space, RGB in [0, 1] as pictures store it (sRGB, as
            the textures of FLAME and BFM); row 0 is v = 1.
        albedo_basis: (A, h, w, 3) albedo directions per standard deviation, resampled to H, W when used.
        uv_masks: named masks in [0, 1] over the UV map, row 0 is v = 1; "face_eye" is where skin detail shows and
            "face" where a texture is taken from a picture. Heads without them get theirs from `regions`.
        fixed_displacement: (H, W) metres along the normals over the UV map, row 0 is v = 1: what lies between the
            template's surface and the skin, without any detail.
        digest: hexadecimal content hash, set by the loader.
    """

    name: str
    template: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    shapedirs: Float[np.ndarray, "V 3 S"]
    exprdirs: Float[np.ndarray, "V 3 E"]
    posedirs: Float[np.ndarray, "V 3 36"]
    joint_regressor: Float[np.ndarray, "5 V"]
    weights: Float[np.ndarray, "V 5"]
    parents: Int[np.ndarray, "5"]
    expression_names: tuple[str, ...] = ()
    expression_range: tuple[float, float] | None = None
    uv: Float[np.ndarray, "VT 2"] | None = None
    uv_faces: Int[np.ndarray, "F 3"] | None = None
    regions: dict[str, Float[np.ndarray, "V"]] = field(default_factory=dict)
    landmarks: Landmarks | None = None
    albedo_mean: Float[np.ndarray, "H W 3"] | None = None
    albedo_basis: Float[np.ndarray, "A h w 3"] | None = None
    uv_masks: dict[str, Float[np.ndarray, "_ _"]] = field(default_factory=dict)
    fixed_displacement: Float[np.ndarray, "_ _"] | None = None
    digest: str = ""
