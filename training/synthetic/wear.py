"""Glasses and shoulders."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from model.asset import HeadAsset
from training.synthetic.hair import PosedHead, step
from training.synthetic.noise import GRAIN, PLAIN
from training.synthetic.style import Glasses, Style
from training.synthetic.things import Thing, grid_faces, grid_normals


class Wardrobe:
    """Puts glasses and clothes on a head."""

    def __init__(self, asset: HeadAsset) -> None:
        region, template = asset.regions, asset.template
        self.eyes = [np.flatnonzero(region[name] > 0.5) for name in ("left_eye", "right_eye")]
        near = (np.abs(template[:, 0]) < 0.004) & (np.abs(template[:, 1] - 0.003) < 0.008) & (template[:, 2] > 0.05)
        self.bridge = np.flatnonzero(near & (region["skin"] > 0.5))
        level = (np.abs(template[:, 1] - 0.008) < 0.014) & (template[:, 2] > -0.02) & (template[:, 2] < 0.06)
        ears = region["left_ear"] + region["right_ear"]
        self.temple = np.flatnonzero(level & (region["skin"] > 0.5) & (ears < 0.2))
        self.rim = np.flatnonzero(template[:, 1] < template[:, 1].min() + 0.006)
        neck = (region["neck"] > 0.5) & (np.abs(template[:, 1] + 0.135) < 0.012)
        self.collar = np.flatnonzero(neck)

    def glasses(self, head: PosedHead, style: Glasses) -> tuple[list[Thing], Thing]:
        """The frame; and the lenses, whose cover is full (what shows through them is up to the picture)."""
        rest = head.rest
        eyes = [rest[index].mean(0) for index in self.eyes]
        cornea = max(rest[index][:, 2].max() for index in self.eyes)
        plane = max(rest[self.bridge][:, 2].max() + 0.003, cornea + 0.009)
        width, height = style.half
        centre_x = max((eyes[0][0] - eyes[1][0]) / 2 + 0.001, width + 0.007)
        level = (eyes[0][1] + eyes[1][1]) / 2 - style.lower
        side = np.abs(rest[self.temple][:, 0]).max() + 0.0015

        def bent(x: np.ndarray) -> np.ndarray:
            return plane - 2.2 * np.maximum(np.abs(x) - 0.02, 0) ** 2  # frames follow the face

        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        power = 2 / style.roundness
        ring_x = width * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        ring_y = height * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
        frames, lens_points, lens_faces = [], [], []
        for sign in (1.0, -1.0):
            x, y = sign * centre_x + ring_x, level + ring_y
            path = np.stack([x, y, bent(x)], -1)
            outwards = np.stack([ring_x / width**2, ring_y / height**2, 0 * x], -1)
            outwards /= np.linalg.norm(outwards, axis=-1, keepdims=True)
            frames.append(self._tube(head, path, outwards, style, closed=True))
            points = np.concatenate([[[sign * centre_x, level, float(path[:, 2].mean())]], path])
            start = 49 * len(lens_points)
            index = np.arange(48)
            lens_faces.append(start + np.stack([0 * index, 1 + index, 1 + (index + 1) % 48], -1))
            lens_points.append(points)
            arm_x = np.linspace(sign * (centre_x + width * 0.97), sign * side, 8)
            t = np.linspace(0, 1, 8)
            arm = np.stack([arm_x, level + 0.45 * height * (1 - t) + 0.006 * t, bent(arm_x) * (1 - t) - 0.012 * t], -1)
            arm[:, 0] = np.sign(sign) * (np.abs(arm_x[0]) + (side - np.abs(arm_x[0])) * np.minimum(1, 2.5 * t))
            frames.append(self._tube(head, arm, np.tile([0.0, 1.0, 0.0], (8, 1)), style, closed=False))
        t = np.linspace(-1, 1, 9)
        reach = centre_x - width
        bridge = np.stack([t * reach, level + 0.25 * height + 0.003 * (1 - t**2), plane + 0.001 * (1 - t**2)], -1)
        frames.append(self._tube(head, bridge, np.tile([0.0, 1.0, 0.0], (9, 1)), style, closed=False))
        points = np.concatenate(lens_points)
        normals = np.tile(head.rotation @ np.array([0.0, 0.0, 1.0]), (len(points), 1))
        faces = np.concatenate(lens_faces)
        where = np.column_stack([points[:, :2] * 10, np.full(len(points), 2.0)])
        lens = Thing(head.placed(points), normals, faces, where, PLAIN, np.tile(style.tint, (len(faces), 1)))
        return frames, lens

    @staticmethod
    def _tube(head: PosedHead, path: np.ndarray, across: np.ndarray, style: Glasses, closed: bool) -> Thing:
        """A rod of rectangular section along a path; `across` is the direction of its width."""
        half, depth = 0.5 * style.rim, 0.5 * style.depth
        forward = np.array([0.0, 0.0, 1.0]) if closed else np.cross(across, np.gradient(path, axis=0))
        forward = np.broadcast_to(forward, path.shape)
        forward = forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
        corners = [(-1, 1), (1, 1), (1, -1), (-1, -1)]
        rows = np.stack([path + a * half * across + b * depth * forward for a, b in corners])
        tilt = np.stack([0.5 * a * across + b * forward for a, b in corners])
        tilt /= np.linalg.norm(tilt, axis=-1, keepdims=True)
        rows, tilt = np.concatenate([rows, rows[:1]]), np.concatenate([tilt, tilt[:1]])
        faces = grid_faces(5, path.shape[0], closed)
        count = rows.shape[0] * rows.shape[1]
        where = np.column_stack([np.zeros((count, 2)), np.full(count, 2.0)])
        normals = (tilt @ head.rotation.T).reshape(-1, 3)
        colour = np.tile(style.colour, (len(faces), 1))
        return Thing(head.placed(rows).reshape(-1, 3), normals, faces, where, PLAIN, colour, gloss=0.25)

    def torso(
        self,
        head: PosedHead,
        style: Style,
        skin: Float[np.ndarray, "3"],
        turn: Float[np.ndarray, "3 3"],
        rng: np.random.Generator,
    ) -> list[Thing]:
        """Neck base, shoulders and chest, and the clothes on them.

        Args:
            skin: its colour where it is bare.
            turn: rotation of the body, camera axes.
            rng: of the person: the build.
        """
        neck = head.rest[self.collar]
        wide, deep = np.ptp(neck[:, 0]) / 2, np.ptp(neck[:, 2]) / 2
        base = head.placed(neck.mean(0))
        build = rng.uniform(0.85, 1.15)
        level = np.array(
            [0.012, 0.006, -0.002, -0.012, -0.022, -0.032, -0.042, -0.054, -0.07, -0.095, -0.14, -0.23, -0.4]
        )
        half = np.array([0.0, 0.9, 1.06, 1.3, 1.65, 2.1, 2.55, 2.95, 3.2, 3.35, 3.4, 3.3, 3.2]) * wide * build
        half[:3] = np.array([0.0, 0.9, 1.06]) * wide
        thick = np.array([0.0, 0.9, 1.08, 1.2, 1.3, 1.4, 1.5, 1.57, 1.62, 1.7, 1.8, 1.85, 1.85]) * deep
        fine = np.interp(np.linspace(0, 12, 37), np.arange(13), np.arange(13))
        level, half, thick = (np.interp(fine, np.arange(13), values)[:, None] for values in (level, half, thick))
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[None]
        x = half * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.85
        z = thick * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.85 - 0.02 * np.clip(-level, 0, 0.1) / 0.1
        points = np.stack([x, level + 0 * x, z], -1)
        folds = 0.004 * np.sin(11 * angle + 50 * level + rng.uniform(0, 6)) * np.clip(-level / 0.08, 0, 1)
        points[..., 2] += folds
        faces = grid_faces(*points.shape[:2], closed=True)
        width = 0.14 * (0.4 + 0.6 * rng.random())
        depth = style.neckline * np.clip(1 - np.abs(x) / width, 0, 1) * step(0.0, 0.3 * deep, z)
        cover = 0.5 + (-0.012 - depth - level) / 0.004  # the edge of the cloth is rough over some millimetres
        if style.neckline == 0:
            cover = cover + 10
        seen = points @ turn.T + base
        normals = grid_normals(seen, closed=True)
        place = np.stack([x / 0.12, 0 * x + level / 0.12], -1).reshape(-1, 2)

        def sheet(lift: float, cover: np.ndarray, colour: np.ndarray, pattern: int, contrast: float) -> Thing:
            where = np.column_stack([place, cover.reshape(-1)])
            return Thing(
                seen.reshape(-1, 3) + lift * normals,
                normals,
                faces,
                where,
                pattern,
                np.tile(colour, (len(faces), 1)),
                contrast=contrast,
            )

        contrast = 0.08 if style.cloth_pattern == GRAIN else 0.15
        body = sheet(0.0, np.full_like(x, 2.0), 0.85 * skin, PLAIN, 0.0)  # as the neck, below the chin
        return [body, sheet(0.002, cover, style.cloth, style.cloth_pattern, contrast)]
