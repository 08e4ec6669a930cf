"""Learn the albedo of the shipped head from photographs: ``python -m training.albedo --photos SHARDS... --out FILE``.

SHARDS are folders of ``python -m training.prepare``, of a head of the same shape (its albedo may be another).
The file holds statistics of the face's colours; ``python -m model.openhead.build --albedo FILE`` makes a head with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool

from model.asset import HeadAsset
from model.head import HeadModel
from model.io.assets import load_head
from model.io.parsing import load_parser
from model.openhead.learned import LEARNED_NAMES, PATH, LearnedAlbedo, put_into, read_learned, save_learned
from model.openhead.paint import srgb_decoded
from tracker.command import Parser, run
from tracker.image import decode_image, write_image
from tracker.progress import Progress
from training.albedo.gather import SIZE, Faces, Zone, face_zone, gather, join, smooth_light
from training.albedo.judge import held_out, unexplained
from training.albedo.learn import DOUBT, Learned, albedo_colours, learn
from training.albedo.sheet import SAMPLES, model_sheet, photographs_sheet
from training.albedo.tone import find_tones, usable
from training.albedo.transfer import self_shadowed_transfer
from training.albedo.unwrap import LUMINANCE, Unwrapper
from training.data.sample import Sample
from training.data.shards import Shards


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = Parser(prog="python -m training.albedo", description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of shards")
    parser.add_argument("--out", type=Path, default=PATH, help=f"the file to write (default {PATH})")
    parser.add_argument("--only", nargs="+", default=[], help="only faces whose key contains one of these")
    parser.add_argument("--skip", nargs="+", default=[], help="no faces whose key contains one of these")
    parser.add_argument("--studio", nargs="+", default=[], help="folders of photographs taken under one light")
    parser.add_argument(
        "--hold-out", type=float, default=0.0, help="share of the people to judge by, not to learn from"
    )
    parser.add_argument("--judge", type=Path, help="learn nothing, judge this file by the people held out")
    parser.add_argument("--cache", type=Path, help="folder for unwrapped faces: found there, they are not made again")
    parser.add_argument("--sheet", type=Path, help="folder for pictures to look at (they show the photographs)")
    parser.add_argument("--about", default="", help="sources and terms, for the file")
    parser.add_argument("--head", default="openhead", help="openhead with its built albedo, or the path of one")
    options = parser.parse(argv)
    if options.judge is not None and options.hold_out == 0:
        raise ValueError("--judge needs people held out; give the --hold-out of the file's own run")
    if not 0 <= options.hold_out < 1:
        raise ValueError(f"--hold-out {options.hold_out}: must be at least 0 and less than 1")
    torch.set_num_threads(1)
    asset = load_head(options.head)
    check_built(asset)
    shards = [Shards(folder, asset.name) for folder in options.photos]
    zone = face_zone(asset)
    unwrapper = None
    sets = []
    for folder, photographs in zip(options.photos, shards, strict=True):
        cached = options.cache / f"{folder.name}-{asset.digest[:8]}.npz" if options.cache else None
        if cached is not None and cached.exists():
            sets.append(Faces.load(cached))
            continue
        unwrapper = unwrapper or Unwrapper(HeadModel(asset), load_parser(), SIZE)
        total = len(photographs)
        with Progress("albedo") as bar:
            tick = partial(_tick, bar, folder.name, total)
            sets.append(gather(_all(photographs), folder.name, unwrapper, zone, tick))
        if cached is not None:
            cached.parent.mkdir(parents=True, exist_ok=True)
            sets[-1].save(cached)
    faces = chosen(join(sets), options.only, options.skip)
    held = held_out(faces.identity, options.hold_out)
    if options.judge is not None:
        print(judged(faces, held, zone, options.studio, read_learned(options.judge), asset))
        return 0
    head = HeadModel(asset)
    harmonics = smooth_light(self_shadowed_transfer(head.mesh(head.neutral())).numpy(), asset, zone)
    learned = learn(
        faces.at(np.flatnonzero(~held)),
        zone,
        harmonics,
        options.studio,
        options.about or ", ".join(f.name for f in options.photos),
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_learned(learned.albedo, options.out)
    print(report(int((~held).sum()), faces.at(np.flatnonzero(~held)).identity, learned))
    if held.any():
        print(judged(faces, held, zone, options.studio, learned.albedo, asset))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")
    if options.sheet is not None:
        options.sheet.mkdir(parents=True, exist_ok=True)
        assert asset.albedo_mean is not None and asset.albedo_basis is not None
        mean, basis = put_into(asset.albedo_mean, asset.albedo_basis, learned.albedo)
        painted = replace(asset, albedo_mean=mean, albedo_basis=basis)
        write_image(options.sheet / "model.png", model_sheet(painted, LEARNED_NAMES))
        write_image(
            options.sheet / "photographs.png",
            _compared(faces.at(np.flatnonzero(~held)), learned, zone, shards, painted),
        )
        print(f"{options.sheet}: model.png, photographs.png")
    return 0


def check_built(asset: HeadAsset) -> None:
    """Refuse a head whose albedo is not the built one, into which the learned face is put.

    Raises:
        ValueError: it has none, or a learned one: all directions of that are mirror symmetric, the built ones are not.
    """
    basis = asset.albedo_basis
    if asset.albedo_mean is None or basis is None or np.array_equal(basis, basis[:, :, ::-1]):
        raise ValueError(
            f"head {asset.name} has no built albedo; give --head HEAD.npz of "
            "'python -m model.openhead.build --albedo built --out HEAD.npz'"
        )


def chosen(faces: Faces, only: Sequence[str], skip: Sequence[str]) -> Faces:
    """The faces whose keys contain one of `only` (all where there is none) and none of `skip`.

    Raises:
        ValueError: none is left.
    """
    kept = np.array(
        [(not only or any(s in k for s in only)) and not any(s in k for s in skip) for k in faces.key.tolist()], bool
    )
    if not kept.any():
        raise ValueError(f"no face of {len(faces)} is left by --only {' '.join(only)} --skip {' '.join(skip)}")
    return faces.at(np.flatnonzero(kept))


def judged(
    faces: Faces,
    held: Bool[np.ndarray, "N"],
    zone: Zone,
    studios: Sequence[str],
    albedo: LearnedAlbedo,
    asset: HeadAsset,
) -> str:
    """What the built and the learned albedo leave of the faces of people that were held out."""
    tones = find_tones(faces.level, faces.white, faces.group, studios)
    assert asset.albedo_mean is not None and asset.albedo_basis is not None
    built = (np.asarray(asset.albedo_mean, np.float32), np.asarray(asset.albedo_basis, np.float32))
    models = {"built": built, "learned": put_into(*built, albedo)}
    good = usable(faces.level) & (tones.doubt < DOUBT) & held
    lines = []
    for group in np.unique(faces.group[good]):
        which = np.flatnonzero(good & (faces.group == group))
        colours = albedo_colours(faces, tones, which)
        left = {
            name: 255 * unexplained(colours, faces.weight[which], zone, mean, basis, albedo.share)
            for name, (mean, basis) in models.items()
        }
        text = ", ".join(f"{name} {value:.1f}" for name, value in left.items())
        lines.append(f"  held out, {group}, {len(which)} faces: unexplained of 255: {text}")
    return "\n".join(lines)


def report(count: int, identities: np.ndarray, learned: Learned) -> str:
    """Who was used, and what the model explains."""
    tone = learned.tones.tone[learned.used]
    who = len(np.unique(identities[learned.used]))
    lines = [f"  {len(learned.used)} of {count} faces are used, of {who} people"]
    lines.append(
        f"  tone of faces: 1st percentile {np.percentile(tone, 1):+.2f}, median {np.median(tone):+.2f}, "
        f"99th {np.percentile(tone, 99):+.2f}; below −1: {int((tone < -1).sum())}"
    )
    names, mean, direction = ("darkest, −2", "mean", "lightest, +2"), learned.albedo.mean, learned.albedo.directions[0]
    inside = learned.albedo.share > 0.9
    large = direction.repeat(2, axis=0).repeat(2, axis=1)
    for name, sigma in zip(names, (-2.0, 0.0, 2.0), strict=True):
        colour = np.median((mean + sigma * large)[inside], axis=0)
        rgb = np.round(255 * colour).astype(int).tolist()
        lines.append(f"  {name} σ of tone: RGB {rgb}, L* {lightness(colour):.0f}")
    before, after = 255 * learned.spread, 255 * learned.error
    lines.append(f"  root mean square about mean and tone: {before:.1f} of 255; what all directions leave: {after:.1f}")
    return "\n".join(lines)


def lightness(encoded: np.ndarray) -> float:
    """CIELAB L* of an sRGB colour in [0, 1]."""
    y = float(srgb_decoded(encoded.clip(0, 1)) @ np.array(LUMINANCE))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def _compared(faces: Faces, learned: Learned, zone: Zone, shards: Sequence[Shards], asset: HeadAsset) -> np.ndarray:
    """`SAMPLES` photographs over the range of tones, beside what was made of them."""
    order = np.argsort(learned.scores[:, 0])[np.linspace(0, len(learned.used) - 1, SAMPLES).astype(int)]
    which = learned.used[order]
    place = {key: (s, i) for s in shards for i, key in enumerate(s.keys.tolist())}
    found = [place[str(faces.key[k])] for k in which]
    pictures = [decode_image(photographs[row].image) for photographs, row in found]
    unlit = [zone.unfold(c) for c in learned.colours[order]]
    codes = np.zeros((SAMPLES, len(LEARNED_NAMES)))
    codes[:, : learned.scores.shape[1]] = learned.scores[order]
    return photographs_sheet(pictures, unlit, codes, asset, [f"tone {learned.scores[k, 0]:+.1f}" for k in order])


def _tick(bar: Progress, name: str, total: int, done: int) -> None:
    bar(name, done, total)


def _all(shards: Shards) -> Iterator[Sample]:
    return (shards[i] for i in range(len(shards)))


if __name__ == "__main__":
    sys.exit(run("albedo", main))
