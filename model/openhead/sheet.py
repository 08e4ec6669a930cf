"""Contact sheets of a head: ``python -m model.openhead.sheet [--head openhead|PATH] [--out docs/images/openhead.png]``.

Writes two pictures: the mean head with ±3 standard deviations of its first ten identity directions, and, beside it
under the name ``…-expressions.png``, every expression at full strength and the joints.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from model.asset import HeadAsset
from model.head import HeadModel
from model.io.assets import load_head
from model.mesh import Mesh
from model.params import Camera, FaceParams
from model.render import Paint, clay, overlay, skin

BACKGROUND = (232, 234, 237)
INK = (40, 44, 52)
CELL = 208
CAPTION = 26
COLUMNS = 10
SAMPLES = 3  # per pixel and axis
JAW_OPEN = 0.42  # radians: MakeHuman's full opening

NEEDS_OPEN_JAW = {"mouthClose": JAW_OPEN, "tongueOut": 0.2}
"""Units that only make sense with an open jaw, and how far (radians) it is opened to show them."""


@dataclass(frozen=True)
class Shot:
    """One picture of the sheet.

    Attributes:
        label: text under the head.
        params: codes and pose.
        turn: yaw and pitch (radians) by which the posed head is turned for the picture.
        close: whether the face fills the picture, instead of the whole head.
        size: width of the picture, pixels.
    """

    label: str
    params: FaceParams
    turn: tuple[float, float] = (0.0, 0.0)
    close: bool = False
    size: int = CELL


def identity_shots(head: HeadModel) -> list[list[Shot]]:
    """The mean head from five sides, and ±3 standard deviations of the first ten directions."""
    big, mean = CELL * COLUMNS // 5, head.neutral()
    views = {
        "left profile": (-1.5, 0.0),
        "three quarters": (-0.7, 0.0),
        "mean head": (0.0, 0.0),
        "from below": (0.35, -0.45),
        "right profile": (1.5, 0.0),
    }
    rows = [[Shot(name, mean, turn, size=big) for name, turn in views.items()]]
    for sign in (-3.0, 3.0):
        row = []
        for i in range(min(COLUMNS, head.asset.shapedirs.shape[-1])):
            shape = mean.shape.clone()
            shape[i] = sign
            row.append(Shot(f"identity {i + 1}: {sign:+.0f} SD", replace(mean, shape=shape), (0.35, 0.0)))
        rows.append(row)
    return rows


def expression_shots(head: HeadModel) -> list[list[Shot]]:
    """Every expression at full strength, then the joints."""
    neutral = head.neutral()

    def of(*angles: float) -> torch.Tensor:
        return neutral.pose.new_tensor(angles)

    shots = []
    names = head.asset.expression_names or [str(i + 1) for i in range(head.asset.exprdirs.shape[-1])]
    for i, name in enumerate(names):
        expression = neutral.expression.clone()
        expression[i] = 1.0
        yaw = 0.25 if name.endswith("Right") else -0.25 if name.endswith("Left") else 0.0
        opened = NEEDS_OPEN_JAW.get(name, 0.0)
        params = replace(neutral, expression=expression, jaw=of(opened, 0.0, 0.0))
        shots.append(Shot(f"{name} + jaw" if opened else name, params, (yaw, 0.0), close=True))
    shots += [
        Shot("jaw open", replace(neutral, jaw=of(JAW_OPEN, 0, 0)), close=True),
        Shot("jaw half open", replace(neutral, jaw=of(JAW_OPEN / 2, 0, 0)), (-0.9, 0.0), close=True),
        Shot("jaw to the left", replace(neutral, jaw=of(0.05, 0.12, 0)), close=True),
        Shot("eyes up", replace(neutral, eyes=of(-0.35, 0, 0, -0.35, 0, 0)), close=True),
        Shot("eyes down", replace(neutral, eyes=of(0.35, 0, 0, 0.35, 0, 0)), close=True),
        Shot("eyes to the left", replace(neutral, eyes=of(0, 0.5, 0, 0, 0.5, 0)), close=True),
        Shot("eyes to the right", replace(neutral, eyes=of(0, -0.5, 0, 0, -0.5, 0)), close=True),
        Shot("neck forward", replace(neutral, neck=of(0.45, 0, 0)), (0.9, 0.0)),
        Shot("neck turned", replace(neutral, neck=of(0, 0.7, 0))),
        Shot("neck back, tilted", replace(neutral, neck=of(-0.35, 0, 0.25))),
    ]
    return [shots[i : i + COLUMNS] for i in range(0, len(shots), COLUMNS)]


def draw(head: HeadModel, paint: Paint, shot: Shot) -> UInt8[np.ndarray, "H W 3"]:
    """One shot with its label below."""
    frame = np.full((shot.size, shot.size, 3), BACKGROUND, dtype=np.uint8)
    height, middle = (0.172, -0.033) if shot.close else (0.325, -0.017)
    scale = shot.size / height
    yaw, pitch = shot.turn
    turn = roma.euler_to_rotmat("xy", torch.tensor([pitch, yaw]))
    vertices = head(shot.params) @ turn.T
    if not shot.close:  # put the whole head in the middle
        vertices = vertices - vertices.new_tensor([float(vertices[:, 0].amin() + vertices[:, 0].amax()) / 2, 0.0, 0.0])
    camera = Camera(torch.tensor(scale), torch.tensor([0.5 * shot.size, 0.5 * shot.size + middle * scale]))
    picture = overlay(frame, Mesh(vertices, head.faces), camera, paint, samples=SAMPLES)

    font = ImageFont.load_default(size=12 if shot.size == CELL else 15)
    caption = Image.new("RGB", (shot.size, CAPTION), BACKGROUND)
    ImageDraw.Draw(caption).text((shot.size / 2, CAPTION / 2), shot.label, fill=INK, font=font, anchor="mm")
    return np.concatenate([picture, np.asarray(caption)])


def sheet(asset: HeadAsset, shots: list[list[Shot]], head: HeadModel) -> UInt8[np.ndarray, "H W 3"]:
    """The pictures in rows; short rows are filled up with background."""
    paint = skin(asset, opacity=1.0) if asset.uv is not None and asset.albedo_mean is not None else clay(asset)
    width = max(sum(shot.size for shot in row) for row in shots)
    rows = []
    for row in shots:
        strip = np.concatenate([draw(head, paint, shot) for shot in row], axis=1)
        fill = np.full((strip.shape[0], width - strip.shape[1], 3), BACKGROUND, dtype=np.uint8)
        rows.append(np.concatenate([strip, fill], axis=1))
    return np.concatenate(rows, axis=0)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="draw contact sheets of a head")
    parser.add_argument("--head", default="openhead", help="openhead, or the path of a head file")
    parser.add_argument("--out", type=Path, default=Path("docs/images/openhead.png"), help="picture of the identities")
    options = parser.parse_args(arguments)
    asset = load_head(options.head)
    head = HeadModel(asset)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    second = options.out.with_name(f"{options.out.stem}-expressions{options.out.suffix}")
    with torch.no_grad():
        for path, shots in ((options.out, identity_shots(head)), (second, expression_shots(head))):
            Image.fromarray(sheet(asset, shots, head)).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
