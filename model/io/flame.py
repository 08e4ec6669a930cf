"""FLAME (Li et al. 2017) from the files that its owners give out: 2020, 2023, 2023 Open and the variants without a jaw.

All files lie in one folder, under the names with which they are offered:

======================================  ============================================================================
``generic_model.pkl`` (2020), ``flame2023.pkl``, ``flame2023_no_jaw.pkl``, ``flame2023_Open.pkl``: one is needed
``landmark_embedding.npy``              needed: 51 static, 79 × 17 moving contour, 68 full landmarks
``head_template.obj``                   UV layout; or take that of ``FLAME_texture.npz``
``FLAME_albedo_from_BFM.npz``           albedo space; or ``FLAME_texture.npz``
``uv_face_eye_mask.png``, ``uv_face_mask.png``, ``fixed_displacement_256.npy``: for the detail of published weights
``FLAME_masks.pkl``                     vertex regions
======================================  ============================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError

from model.asset import HeadAsset, Landmarks, SurfacePoints
from model.io.unpickle import read_npy, read_pickle

_HOME = "https://flame.is.tue.mpg.de (free registration)"
_DECA = "the folder data/ of https://github.com/yfeng95/DECA"
_MODELS = {
    "generic_model.pkl": "flame-2020",
    "flame2023.pkl": "flame-2023",
    "flame2023_no_jaw.pkl": "flame-2023-no-jaw",
    "flame2023_Open.pkl": "flame-2023-open",
}
_SHAPE_COLUMNS = 300  # of shapedirs; the rest are expressions
_UV_SIZE = 256  # of DECA's maps
_EMBEDDING = {
    "static51": ("static_lmk_faces_idx", "static_lmk_bary_coords", (51,)),
    "contour": ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords", (79, 17)),
    "full68": ("full_lmk_faces_idx", "full_lmk_bary_coords", (68,)),
}
_UV_MASKS = {"face_eye": "uv_face_eye_mask.png", "face": "uv_face_mask.png"}
_REGIONS = {"skin": "face", "lips": "lips", "scalp": "scalp", "left_eye": "left_eyeball", "right_eye": "right_eyeball"}


def is_flame(path: str | Path) -> bool:
    """Whether a head's path is FLAME's business: a folder, or a pickle."""
    return Path(path).is_dir() or Path(path).suffix == ".pkl"


def load_flame(path: str | Path, shape: int = 100, expression: int = 50, albedo: int = 50) -> HeadAsset:
    """Read FLAME from a folder, or from one model file with the other files beside it.

    Args:
        path: the folder, or the ``.pkl`` where a folder holds several.
        shape, expression, albedo: how many directions to keep of each.

    Returns:
        The head, in float32, without a digest. Albedo, UV layout, masks and fixed displacement only where their files
        are there.

    Raises:
        ValueError: a needed file is missing (says where it is offered), refused, or not what its name says.
    """
    pickle = _find_model(Path(path))
    folder = pickle.parent
    fields = _read_model(pickle, shape, expression)
    faces, weights = fields["faces"], fields["weights"]
    uv, uv_faces = _read_uv(folder, faces)
    mean, basis = _read_albedo(folder, albedo)
    displacement = folder / "fixed_displacement_256.npy"
    return HeadAsset(
        **fields,
        name=_name(pickle),
        uv=uv,
        uv_faces=uv_faces,
        regions=_read_regions(folder, weights),
        landmarks=_read_landmarks(folder, len(faces)),
        albedo_mean=mean,
        albedo_basis=basis,
        uv_masks={name: _read_mask(folder / file) for name, file in _UV_MASKS.items() if (folder / file).is_file()},
        fixed_displacement=_float(read_npy(displacement)) if displacement.is_file() else None,
    )


def _find_model(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"head {path}: no such file or folder; give 'openhead', a FLAME folder or its .pkl")
    if path.is_file():
        return path
    known = [path / name for name in _MODELS if (path / name).is_file()]
    found = known or [file for file in sorted(path.glob("*.pkl")) if file.name != "FLAME_masks.pkl"]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"head {path}: several models ({names}); name one of them, e.g. {found[0]}")
    if not found:
        raise ValueError(
            f"head {path}: generic_model.pkl is missing (or {', '.join(list(_MODELS)[1:])}); "
            f"FLAME 2020, 2023 and 2023 Open (CC-BY-4.0) are offered at {_HOME}"
        )
    return found[0]


def _name(model: Path) -> str:
    """The release, by the longest known beginning of the file's name."""
    known = [name for name in _MODELS if model.stem.startswith(Path(name).stem)]
    return _MODELS[max(known, key=len)] if known else "flame"


def _read_model(path: Path, shape: int, expression: int) -> dict[str, Any]:
    model = read_pickle(path)
    wanted = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f")
    missing = [key for key in wanted if not isinstance(model, dict) or key not in model]
    if missing:
        raise ValueError(f"{path}: not a FLAME model, without {', '.join(missing)}; FLAME is offered at {_HOME}")
    regressor = model["J_regressor"]
    regressor = regressor.toarray() if hasattr(regressor, "toarray") else regressor
    directions = np.asarray(model["shapedirs"])
    count = directions.shape[-1]
    if shape > _SHAPE_COLUMNS or _SHAPE_COLUMNS + expression > count:
        raise ValueError(
            f"{path}: has {count} columns of shapedirs, the first {_SHAPE_COLUMNS} for identity; "
            f"{shape} identity and {expression} expression directions were asked for"
        )
    parents = np.asarray(model["kintree_table"])[0].astype(np.int64)
    parents[0] = -1  # stored as 2³² − 1
    return {
        "template": _float(model["v_template"]),
        "faces": np.asarray(model["f"]).astype(np.int64),
        "shapedirs": _float(directions[..., :shape]),
        "exprdirs": _float(directions[..., _SHAPE_COLUMNS : _SHAPE_COLUMNS + expression]),
        **_five_joints(path, parents, _float(regressor), _float(model["weights"]), _float(model["posedirs"])),
    }


def _five_joints(
    path: Path, parents: np.ndarray, regressor: np.ndarray, weights: np.ndarray, posedirs: np.ndarray
) -> dict[str, np.ndarray]:
    """Give a model without a jaw one that moves nothing, so that all heads have the same skeleton."""
    joints = len(parents)
    if joints == 4 and parents.tolist() == [-1, 0, 1, 1]:
        regressor = np.insert(regressor, 2, regressor[1], axis=0)
        weights = np.insert(weights, 2, 0, axis=1)
        if posedirs.shape[-1] == 27:  # 9 for each joint but the root
            posedirs = np.insert(posedirs, [9] * 9, 0, axis=2)
        parents = np.array([-1, 0, 1, 1, 1])
    if parents.tolist() != [-1, 0, 1, 1, 1] or weights.shape[-1] != 5 or posedirs.shape[-1] != 36:
        raise ValueError(
            f"{path}: {joints} joints with parents {parents.tolist()} and {posedirs.shape[-1]} pose correctives; "
            "known are FLAME's five joints (root, neck, jaw, left eye, right eye) and the four of models without a jaw"
        )
    return {"parents": parents, "joint_regressor": regressor, "weights": weights, "posedirs": posedirs}


def _read_landmarks(folder: Path, faces: int) -> Landmarks:
    path = folder / "landmark_embedding.npy"
    if not path.is_file():
        raise ValueError(f"head {folder}: landmark_embedding.npy is missing; it is offered in {_DECA}")
    table = read_npy(path)
    points: dict[str, SurfacePoints] = {}
    for name, (face_key, weight_key, shape) in _EMBEDDING.items():
        if not isinstance(table, dict) or face_key not in table or weight_key not in table:
            raise ValueError(f"{path}: without {face_key} and {weight_key}; take the file offered in {_DECA}")
        face = np.asarray(table[face_key]).astype(np.int64)
        if face.size != np.prod(shape) or face.min() < 0 or face.max() >= faces:
            raise ValueError(
                f"{path}: {face_key} has shape {face.shape}, indices up to {face.max()}; not of this model"
            )
        points[name] = SurfacePoints(face.reshape(shape), _float(table[weight_key]).reshape(*shape, 3))
    return Landmarks(**points)


def _read_uv(folder: Path, faces: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    path = folder / "head_template.obj"
    if path.is_file():
        uv, mesh_faces, uv_faces = _read_obj(path)
        if not np.array_equal(mesh_faces, faces):
            raise ValueError(f"{path}: its triangles are not those of the model; take the file offered in {_DECA}")
        return uv, uv_faces
    path = folder / "FLAME_texture.npz"
    if path.is_file():
        archive = _read_npz(path, ("vt", "ft"))
        return _float(archive["vt"]), np.asarray(archive["ft"]).astype(np.int64)
    return None, None


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    uv, faces, uv_faces = [], [], []
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "vt":
            uv.append([float(word) for word in words[:2]])
        elif kind == "f":
            corners = [word.split("/") for word in words]
            if len(corners) != 3 or any(len(corner) < 2 or not corner[1] for corner in corners):
                raise ValueError(f"{path}: {line!r} is not a triangle with texture vertices (f a/s b/t c/u)")
            faces.append([int(corner[0]) - 1 for corner in corners])
            uv_faces.append([int(corner[1]) - 1 for corner in corners])
    return np.array(uv, dtype=np.float32), np.array(faces), np.array(uv_faces)


def _read_albedo(folder: Path, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Both spaces store BGR, in any square size; FLAME's own has values in [0, 255]."""
    for file, mean_key, basis_key, scale in (
        ("FLAME_albedo_from_BFM.npz", "MU", "PC", 1.0),
        ("FLAME_texture.npz", "mean", "tex_dir", 255.0),
    ):
        if not (folder / file).is_file():
            continue
        archive = _read_npz(folder / file, (mean_key, basis_key))
        mean = np.asarray(archive[mean_key]).reshape(-1)
        size = int(np.sqrt(mean.size / 3))
        if size * size * 3 != mean.size:
            raise ValueError(f"{folder / file}: {mean_key} has {mean.size} values, not those of a square RGB map")
        basis = np.asarray(archive[basis_key])
        basis = basis.reshape(mean.size, -1)[:, :count].T
        maps = (_nearest(np.ascontiguousarray(a.reshape(-1, size, size, 3)))[..., ::-1] for a in (mean[None], basis))
        mean, basis = (_float(a) / np.float32(scale) for a in maps)
        return mean[0], basis
    return None, None


def _read_regions(folder: Path, weights: np.ndarray) -> dict[str, np.ndarray]:
    path = folder / "FLAME_masks.pkl"
    if not path.is_file():  # the eyeballs hang on their joints alone
        eyes = {
            name: (weights[:, joint] > 0.5).astype(np.float32) for name, joint in (("left_eye", 3), ("right_eye", 4))
        }
        return {"skin": 1 - np.maximum(*eyes.values()), **eyes}
    masks: dict[str, Any] = read_pickle(path)
    regions = {}
    for name, key in _REGIONS.items():
        if key not in masks:
            raise ValueError(f"{path}: without the region {key}; FLAME_masks.pkl is offered at {_HOME}")
        regions[name] = np.zeros(len(weights), dtype=np.float32)
        regions[name][np.asarray(masks[key], dtype=np.int64)] = 1
    return regions


def _read_mask(path: Path) -> Float[np.ndarray, "_ _"]:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))[None, ..., :1]
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{path}: not a picture ({error}); it is offered in {_DECA}") from error
    return _nearest(pixels)[0, ..., 0].astype(np.float32) / 255


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except KeyError as error:
        raise ValueError(f"{path}: without {error.args[0]}") from error
    except Exception as error:
        raise ValueError(f"{path}: not an .npz of plain arrays ({error})") from error


def _nearest(maps: np.ndarray) -> np.ndarray:
    """(N, h, w, C) resized to DECA's UV size as it does: the texel at ⌊i h / 256⌋."""
    rows, columns = (np.arange(_UV_SIZE) * size // _UV_SIZE for size in maps.shape[1:3])
    return maps[:, rows[:, None], columns[None]]


def _float(array: Any) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32)
