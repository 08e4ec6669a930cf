"""Targets by drivers on one sheet each, at the moments that are hardest: to be looked at.

python -m reenact.sheet --target FACE.jpg [...] --driver TALK.mp4 [...] --out DIR [--weights W] [--pose P] [--damping X]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import roma
from jaxtyping import UInt8

from model.head import HeadModel
from reenact.driver import DRIVER, Driver, open_driver
from reenact.lips import Lips
from reenact.pipeline import Reenactor
from reenact.target import fit_target, open_deca
from reenact.transfer import TransferConfig, calibrated_neutral, main_face
from reenact.views import driver_window, written
from tracker.command import Parser, run
from tracker.image import write_image
from tracker.pipeline import load_model
from tracker.video import open_video

MOMENTS = ("photograph", "rest", "mouth open", "blink", "smile", "turn")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("sheet", _sheets, argv)


def moments(reenactor: Reenactor, driver: Driver) -> list[int]:
    """Rows of the driver's main face: calmest, lips furthest apart, lids most shut, widest smile, largest turn."""
    motion = reenactor.motion(driver.track)
    params, names = motion.params, reenactor.head.asset.expression_names

    def unit(*wanted: str) -> np.ndarray:
        rows = [names.index(name) for name in wanted if name in names]
        return params.expression[:, rows].sum(1).numpy()

    turned = roma.rotvec_to_rotmat(params.pose) @ roma.rotvec_to_rotmat(reenactor.target.params.pose).T
    turn = roma.rotmat_to_rotvec(turned).norm(dim=1).numpy()
    gap = Lips(reenactor.head).gap(params).numpy()
    change = (params.expression - reenactor.target.params.expression).square().sum(1).numpy()
    scores = (-turn - change, gap, unit("eyeBlinkLeft", "eyeBlinkRight"), unit("mouthSmileLeft", "mouthSmileRight"))
    return [int(np.argmax(score)) for score in (*scores, turn)]


def sheet(reenactor: Reenactor, driver: Driver, cell: int = 360) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph and the driver's hardest moments on it, the driver's frames below."""
    track = main_face(driver.track)
    rows = moments(reenactor, driver)
    order = np.argsort(rows, kind="stable")
    chosen = track.select(np.asarray(rows)[order])
    pictures = list(reenactor.render(chosen, rest=calibrated_neutral(track)))
    above = [reenactor.target.image, *(pictures[int(np.where(order == k)[0][0])] for k in range(len(rows)))]
    window = reenactor.window
    made = [
        written(_cell(window.of(picture), cell), name, top=True) for picture, name in zip(above, MOMENTS, strict=True)
    ]
    lines = [np.concatenate(made, axis=1)]
    if driver.video is not None:
        lines.append(np.concatenate(_driver_cells(driver.video, track, rows, cell), axis=1))
    return np.concatenate(lines, axis=0)


def _driver_cells(video: Path, track, rows: list[int], cell: int) -> list[np.ndarray]:
    window, wanted = driver_window(track.box, track.size), {int(track.frame[row]) for row in rows}
    with open_video(video) as opened:
        frames = {frame.index: window.of(frame.image).copy() for frame in opened if frame.index in wanted}
    empty = np.zeros((cell, cell, 3), np.uint8)
    shown = (frames.get(int(track.frame[row])) for row in rows)
    return [empty, *(empty if frame is None else _cell(frame, cell) for frame in shown)]


def _cell(picture: np.ndarray, side: int) -> UInt8[np.ndarray, "s s 3"]:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(np.ascontiguousarray(picture), (round(width * scale), round(height * scale)), interpolation=way)
    result = np.zeros((side, side, 3), np.uint8)
    result[: small.shape[0], : small.shape[1]] = small
    return result


def _sheets(argv: Sequence[str]) -> int:
    p = Parser(prog="reenact.sheet", description="Targets by drivers, at mouth open, blink, smile and turn.")
    p.add_argument("--target", required=True, nargs="+", metavar="FACE.jpg")
    p.add_argument("--driver", required=True, nargs="+", metavar="TALK.mp4|PARAMS.npz")
    p.add_argument("--out", required=True, metavar="DIR", help="where the sheets go; drivers' tracks are kept there")
    p.add_argument("--weights", default="embedded", metavar="embedded|open|PATH|none")
    p.add_argument("--pose", choices=("driver", "target", "none"), default="driver")
    p.add_argument("--damping", type=float, default=0.0, metavar="X")
    p.add_argument("--cell", type=int, default=360, metavar="N", help="side of the pictures, px (default: 360)")
    options = p.parse(argv)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    config = replace(DRIVER, weights=options.weights)
    head: HeadModel = load_model(config)
    deca, network = open_deca(options.weights, head) or (None, None)
    drivers = [open_driver(path, out / "sheet.mp4", head, config, network) for path in options.driver]
    transfer = TransferConfig(head=options.pose, damping=options.damping)
    for path in options.target:
        target = fit_target(path, head, network, note=print)
        reenactor = Reenactor(target, head, deca, transfer)
        for name, driver in zip(options.driver, drivers, strict=True):
            picture = sheet(reenactor, driver, options.cell)
            result = out / f"{Path(path).stem}-by-{Path(name).stem.split('.')[0]}.png"
            write_image(result, picture)
            print(result, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
