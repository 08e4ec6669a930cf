"""Clips with known answers, for the demo, the benchmarks and the tests: nobody's video has to be shipped.

``astronaut``: the photograph of Eileen Collins (NASA, public domain; scikit-image carries it), seen by a camera that
pans, zooms and rolls on a known path: every point of the face moves as the path says, exactly.

``openhead``: the shipped head, rendered with a known identity while it talks, blinks, grimaces, looks around and turns,
before a camera that moves: every parameter of every frame is known.

Both get a camera's noise and H.264's compression. The truth is written beside the video, as ``NAME.truth.npz``::

    python -m training.clips {astronaut,openhead} --out FILE.mp4
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch.nn.functional import avg_pool2d

from model.asset import HeadAsset
from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.mesh import Mesh
from model.params import Camera, FaceParams
from model.render import textured_view
from model.shading import albedo_texture, sh_shading
from tracker.image import warp
from tracker.video import VideoWriter
from training.scenery import SIDE, as_filmed, room, surroundings

FPS = 25.0
_LENGTH = 10.0  # s; the performance repeats after that
_CRF = 23.0  # H.264's default, which most clips on the net are coded with


@dataclass(frozen=True)
class AstronautTruth:
    """What the camera did.

    Attributes:
        time: presentation times, s.
        T_frame_from_photo: pixels of the photograph to pixels of the frame, corner origins.
    """

    time: Float[np.ndarray, "T"]
    T_frame_from_photo: Float[np.ndarray, "T 2 3"]


@dataclass(frozen=True)
class OpenheadTruth:
    """What was rendered; T frames.

    Attributes:
        head: name and content hash of the head, ``name:digest``.
        time: presentation times, s.
        params: the head in every frame; the shape is the same in all.
        camera: of the full frame.
        light: the lamp's spherical harmonics, the same in all frames.
        albedo: codes of the albedo, standard deviations.
    """

    head: str
    time: Float[np.ndarray, "T"]
    params: FaceParams
    camera: Camera
    light: Float[torch.Tensor, "9 3"]
    albedo: Float[torch.Tensor, "A"]


def truth_path(video: str | Path) -> Path:
    """Where the truth about a clip lies."""
    return Path(video).with_suffix(".truth.npz")


def astronaut_path(seconds: float | int = 6.0) -> AstronautTruth:
    """A hand-held camera: slow drifts and a livelier sway of the picture's place, size and roll."""
    t = np.arange(round(seconds * FPS)) / FPS
    face = np.array([225.0, 122.0])  # centre of her face, px of the photograph
    zoom = 2.65 * (1 + 0.1 * np.sin(2 * np.pi * t / 5.1) + 0.015 * np.sin(2 * np.pi * t / 1.3 + 1))
    roll = np.deg2rad(7.0 * np.sin(2 * np.pi * t / 4.3 + 0.4) + 1.2 * np.sin(2 * np.pi * t / 1.1))
    x = SIDE / 2 + 45 * np.sin(2 * np.pi * t / 3.7) + 8 * np.sin(2 * np.pi * t / 0.9 + 2)
    y = 231 + 26 * np.sin(2 * np.pi * t / 4.7 + 1.2) + 6 * np.sin(2 * np.pi * t / 1.2)
    A = zoom[:, None, None] * _rotation(roll)
    shift = np.stack([x, y], axis=-1) - A @ face
    return AstronautTruth(t, np.concatenate([A, shift[..., None]], axis=-1))


def write_astronaut(path: str | Path, seconds: float | int = 6.0, seed: int = 0) -> AstronautTruth:
    """Write the clip, and the truth beside it.

    Raises:
        ValueError: scikit-image is not installed, or the file cannot be written.
    """
    try:
        from skimage.data import astronaut
    except ImportError:
        raise ValueError("the astronaut clip needs scikit-image: pip install scikit-image") from None
    truth = astronaut_path(seconds)
    photo = np.ascontiguousarray(astronaut())
    rng = np.random.default_rng(seed)
    with VideoWriter(path, (SIDE, SIDE), FPS, crf=_CRF) as writer:
        for time, T in zip(truth.time, truth.T_frame_from_photo, strict=True):
            image = warp(photo, T, (SIDE, SIDE), border="reflect", cubic=True)
            writer.write(as_filmed(image / 255.0, rng), float(time))
    np.savez_compressed(truth_path(path), time=truth.time, T_frame_from_photo=truth.T_frame_from_photo)
    return truth


def load_astronaut(path: str | Path) -> AstronautTruth:
    """The truth about an astronaut clip, by the video's name."""
    with np.load(truth_path(path), allow_pickle=False) as data:
        return AstronautTruth(data["time"], data["T_frame_from_photo"])


def openhead_motion(asset: HeadAsset, seconds: float | int = 10.0, seed: int = 0) -> OpenheadTruth:
    """A made-up performance: smooth in time, every unit within its range, turns within ±30° yaw and ±15° pitch.

    cheekSquint and noseSneer, which hardly move a landmark, and what no camera sees are left at rest.
    """
    t = np.arange(round(seconds * FPS)) / FPS
    rng = np.random.default_rng(seed)
    names = asset.expression_names
    expression = np.zeros((len(t), len(names)))
    for unit, curve in _performance(t).items():
        sides = [name for name in (unit, f"{unit}Left", f"{unit}Right") if name in names]
        if not sides:
            raise ValueError(f"head {asset.name} has no expression '{unit}'; the clip needs openhead")
        for side in sides:
            column = names.index(side)
            expression[:, column] = np.clip(expression[:, column] + curve, 0.0, 1.0)

    talk = 0.5 + 0.5 * np.sin(2 * np.pi * t / 0.37) * np.sin(2 * np.pi * t / 1.13 + 0.5)
    spells = _bumps(t, [(0.17, 0.2, 1.0), (0.66, 0.14, 1.0), (0.98, 0.12, 1.0)])
    jaw = np.zeros((len(t), 3))
    jaw[:, 0] = 0.2 * talk * spells + 0.25 * _bumps(t, [(0.66, 0.1, 1.0)])

    wide = 0.4 + 0.6 * _bumps(t, [(0.08, 0.2, 1.0), (0.54, 0.16, 1.0)])  # calm but for two spells
    yaw = np.deg2rad(30) * wide * np.cos(2 * np.pi * (t - 0.8) / 3.07) * _begin(t)
    pitch = np.deg2rad(15) * wide * np.sin(2 * np.pi * t / 3.7 + 0.6) * _begin(t)
    roll = np.deg2rad(7) * np.sin(2 * np.pi * t / 4.4 + 2.0) * _begin(t)
    euler = torch.from_numpy(np.stack([yaw, pitch, roll], axis=-1))
    pose = roma.rotmat_to_rotvec(roma.euler_to_rotmat("YXZ", euler))

    gaze = np.zeros((len(t), 3))
    glances = [(0.1, 0.3), (0.25, -0.35), (0.4, 0.0), (0.55, 0.35), (0.7, -0.25), (0.88, 0.0)]
    gaze[:, 1] = _steps(t, glances)
    gaze[:, 0] = _steps(t, [(0.15, 0.12), (0.35, -0.15), (0.6, 0.15), (0.8, 0.0)])

    shape = np.zeros(asset.shapedirs.shape[-1])
    shape[:30] = 0.8 * rng.standard_normal(min(30, len(shape)))
    albedo = np.zeros(0 if asset.albedo_basis is None else len(asset.albedo_basis))
    albedo[:20] = 0.5 * rng.standard_normal(min(20, len(albedo)))
    params = FaceParams(
        shape=_float(np.tile(shape, (len(t), 1))),
        expression=_float(expression),
        pose=pose.float(),
        neck=torch.zeros(len(t), 3),
        jaw=_float(jaw),
        eyes=_float(np.concatenate([gaze, gaze], axis=-1)),
    )
    light = np.zeros((9, 3))
    light[0] = (2.1, 2.05, 2.0)
    light[1] = (-0.33, -0.29, -0.25)  # a warm lamp from the left of the picture, above, in front
    light[2] = (0.38, 0.36, 0.33)
    light[3] = (0.58, 0.56, 0.54)
    light[5] = 0.1
    if asset.albedo_mean is not None:
        light *= 0.49 / float(asset.albedo_mean.mean())  # exposed for the skin
    return OpenheadTruth(
        f"{asset.name}:{asset.digest}", t, params, _follow(asset, params, t), _float(light), _float(albedo)
    )


def write_openhead(
    path: str | Path, asset: HeadAsset | None = None, seconds: float | int = 10.0, seed: int = 0
) -> OpenheadTruth:
    """Render the clip, and write the truth beside it.

    Raises:
        ValueError: the head has no expression names or no albedo, or the file cannot be written.
    """
    asset = load_head("openhead") if asset is None else asset
    if asset.albedo_mean is None or asset.albedo_basis is None or asset.uv is None or asset.uv_faces is None:
        raise ValueError(f"head {asset.name} has no albedo to render; the clip needs openhead")
    truth = openhead_motion(asset, seconds, seed)
    head = HeadModel(asset)
    texture = albedo_texture(_float(asset.albedo_mean), _float(asset.albedo_basis), truth.albedo).clamp(0, 1)
    uv, uv_faces = _float(asset.uv), torch.from_numpy(asset.uv_faces.astype(np.int64))
    hem = torch.from_numpy(np.flatnonzero(asset.template[:, 1] < asset.template[:, 1].min() + 0.006))  # of the neck
    wall = room(np.random.default_rng(seed + 1))
    rng = np.random.default_rng(seed + 2)
    with VideoWriter(path, (SIDE, SIDE), FPS, crf=_CRF) as writer:
        for row, time in enumerate(truth.time):
            mesh = head.mesh(_row(truth.params, row))
            camera = Camera(truth.camera.s[row], truth.camera.t[row])
            colour, alpha = _render(mesh, camera, texture, uv, uv_faces, truth.light)
            border = project(camera, mesh.vertices[hem]).mean(0)
            behind, cloth, front = surroundings(wall, camera.s.item(), (border[0].item(), border[1].item()))
            picture = colour + (1 - alpha) * behind
            writer.write(as_filmed(picture + front * (cloth - picture), rng), float(time))
    params, camera = truth.params, truth.camera
    np.savez_compressed(
        truth_path(path),
        head=truth.head,
        time=truth.time,
        expression_names=np.array(asset.expression_names),
        camera=torch.cat([camera.s[:, None], camera.t], dim=-1).numpy(),
        light=truth.light.numpy(),
        albedo=truth.albedo.numpy(),
        **{key: getattr(params, key).numpy() for key in _FIELDS},
    )
    return truth


def load_openhead(path: str | Path) -> OpenheadTruth:
    """The truth about an openhead clip, by the video's name."""
    with np.load(truth_path(path), allow_pickle=False) as data:
        params = FaceParams(**{key: torch.from_numpy(data[key]) for key in _FIELDS})
        camera = torch.from_numpy(data["camera"])
        light, albedo = torch.from_numpy(data["light"]), torch.from_numpy(data["albedo"])
        return OpenheadTruth(
            str(data["head"]), data["time"], params, Camera(camera[:, 0], camera[:, 1:]), light, albedo
        )


_FIELDS = ("shape", "expression", "pose", "neck", "jaw", "eyes")


def _performance(t: Float[np.ndarray, "T"]) -> dict[str, Float[np.ndarray, "T"]]:
    """Curves of the expression units; a name without a side moves both. (when, how long, how much), parts of
    the performance."""
    blinks = [(when, 0.32 / _LENGTH, 1.0) for when in (0.06, 0.22, 0.37, 0.52, 0.74, 0.93)]
    plan = {
        "eyeBlink": blinks,
        "eyeBlinkLeft": [(0.94, 0.05, 1.0)],  # a wink
        "browInnerUp": [(0.13, 0.12, 1.0), (0.66, 0.13, 1.0)],
        "browOuterUp": [(0.21, 0.12, 1.0), (0.66, 0.13, 0.8)],
        "eyeWide": [(0.21, 0.12, 1.0), (0.66, 0.13, 1.0)],
        "mouthSmile": [(0.29, 0.12, 1.0), (0.95, 0.1, 0.7)],
        "mouthStretch": [(0.36, 0.08, 1.0)],
        "browDown": [(0.42, 0.12, 1.0)],
        "eyeSquint": [(0.42, 0.12, 1.0)],
        "mouthPucker": [(0.50, 0.12, 1.0)],
        "mouthFunnel": [(0.58, 0.12, 1.0)],
        "mouthUpperUp": [(0.73, 0.12, 1.0)],
        "mouthLowerDown": [(0.81, 0.12, 1.0)],
        "mouthFrown": [(0.89, 0.12, 1.0)],
    }
    return {unit: _bumps(t, bumps) for unit, bumps in plan.items()}


def _bumps(t: Float[np.ndarray, "T"], bumps: list[tuple[float, float, float]]) -> Float[np.ndarray, "T"]:
    """A sum of raised cosines (centre, width, height); centre and width as parts of the performance."""
    part = t / _LENGTH % 1.0
    curve = np.zeros_like(t)
    for centre, width, height in bumps:
        phase = np.clip((part - centre) / width, -0.5, 0.5)
        curve += height * (0.5 + 0.5 * np.cos(2 * np.pi * phase))
    return curve


def _steps(t: Float[np.ndarray, "T"], steps: list[tuple[float, float]]) -> Float[np.ndarray, "T"]:
    """Quick moves from one value to the next (when, to what), eased over a fifth of a second."""
    part = t / _LENGTH % 1.0
    curve, value = np.zeros_like(t), 0.0
    for when, target in steps:
        curve += (target - value) * _ease((part - when) * _LENGTH / 0.2)
        value = target
    return curve


def _begin(t: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    """From rest to full motion in the first second."""
    return _ease(t)


def _ease(x: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _follow(asset: HeadAsset, params: FaceParams, t: Float[np.ndarray, "T"]) -> Camera:
    """A camera that keeps the face about where its path says: as a person does who films."""
    s = 1400 * (1 + 0.15 * np.sin(2 * np.pi * t / 6.1 + 1))
    x = SIDE / 2 + 40 * np.sin(2 * np.pi * t / 4.1)
    y = SIDE / 2 - 10 + 25 * np.sin(2 * np.pi * t / 5.3 + 2)
    mask = _float(asset.regions["face"])
    vertices = HeadModel(asset)(params)
    centre = (vertices * mask[:, None]).sum(1) / mask.sum()
    scale = _float(s)
    return Camera(scale, torch.stack([_float(x) - scale * centre[:, 0], _float(y) + scale * centre[:, 1]], dim=-1))


def _render(
    mesh: Mesh,
    camera: Camera,
    texture: Float[torch.Tensor, "3 h w"],
    uv: Float[torch.Tensor, "VT 2"],
    uv_faces: Int[torch.Tensor, "F 3"],
    light: Float[torch.Tensor, "9 3"],
) -> tuple[Float[np.ndarray, "512 512 3"], Float[np.ndarray, "512 512 1"]]:
    """Colour (times alpha) and alpha of the frame. Four samples a pixel make smooth edges; light, which costs
    most, is worked out once a pixel, and only the head's part of the frame is rendered."""
    points = project(camera, mesh.vertices)
    x0, y0 = points.amin(0).floor().long().clamp(0, SIDE - 1).tolist()
    x1, y1 = points.amax(0).ceil().long().clamp(1, SIDE).tolist()
    fine = Camera(2 * camera.s, 2 * (camera.t - camera.t.new_tensor([x0, y0])))
    view = textured_view(mesh, fine, texture, uv, uv_faces, 2 * (y1 - y0), 2 * (x1 - x0))
    covered = avg_pool2d(view.alpha, 2)
    normals = (avg_pool2d(view.normals, 2) / covered.clamp(min=1e-3)).movedim(0, -1)
    lit = avg_pool2d(view.image, 2).movedim(0, -1) * sh_shading(normals.flatten(0, 1), light).view(normals.shape)
    colour, alpha = np.zeros((SIDE, SIDE, 3)), np.zeros((SIDE, SIDE, 1))
    colour[y0:y1, x0:x1] = lit.clamp(0, 1).numpy()
    alpha[y0:y1, x0:x1] = covered.movedim(0, -1).numpy()
    return colour, alpha


def _rotation(angle: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T 2 2"]:
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=-2)


def _row(params: FaceParams, row: int) -> FaceParams:
    return FaceParams(**{key: getattr(params, key)[row] for key in _FIELDS})


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m training.clips", description="Clips with known answers.")
    parser.add_argument("clip", choices=["astronaut", "openhead"])
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.mp4")
    parser.add_argument("--seconds", type=float, help="length (default: 6 of the astronaut, 10 of openhead)")
    options = parser.parse_args(arguments)
    length = {} if options.seconds is None else {"seconds": options.seconds}
    try:
        (write_astronaut if options.clip == "astronaut" else write_openhead)(options.out, **length)
    except ValueError as error:
        print(f"clips: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
