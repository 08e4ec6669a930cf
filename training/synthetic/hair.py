"""Hair, beards, caps and scarves: layers lifted off the head, and curtains that hang around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from model.asset import HeadAsset
from training.synthetic.noise import GRAIN
from training.synthetic.style import Hair, Style
from training.synthetic.things import Thing, grid_faces, grid_normals


def step(low: float | int, high: float | int, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high` (which may be the smaller one), smooth between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class PosedHead:
    """A head as it stands in the picture.

    Attributes:
        vertices, normals: camera axes.
        rest: vertices before posing, without expression, head space.
        rotation, offset: a place of the skull in head space is seen at ``rotation x + offset``.
    """

    vertices: Float[np.ndarray, "V 3"]
    normals: Float[np.ndarray, "V 3"]
    rest: Float[np.ndarray, "V 3"]
    rotation: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]

    def placed(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Points of the skull, head space, in camera axes."""
        return points @ self.rotation.T + self.offset


class Scalp:
    """Where hair grows on a head, in the coordinates of its template."""

    def __init__(self, asset: HeadAsset) -> None:
        self.template = asset.template.astype(np.float64)
        self.region = {name: mask.astype(np.float64) for name, mask in asset.regions.items()}
        skin = self.region["skin"] > 0.5
        self.faces = asset.faces[skin[asset.faces].all(1)].astype(np.int64)
        self.ears = self.region["left_ear"] + self.region["right_ear"]

    def worn(self, head: PosedHead, style: Style, rng: np.random.Generator) -> list[Thing]:
        """Hair or hat, and beard.

        Args:
            rng: of the person: lumps of the hair.
        """
        hair = style.hair
        lumps = self._lumps(rng)
        things = self._beard(head, style, lumps)
        if hair.kind in ("short", "long", "curly", "updo"):
            things += self._shell(head, hair, lumps)
        if hair.kind in ("beanie", "cap", "scarf"):
            things += self._hat(head, hair, lumps)
        if hair.kind in ("long", "scarf"):
            things.append(self._curtain(head, hair, rng))
        if hair.kind == "updo":
            things.append(self._bun(head, hair, rng))
        return things

    def _shell(self, head: PosedHead, hair: Hair, lumps: np.ndarray) -> list[Thing]:
        x, y, z = self.template.T
        cover = 1.25 * self.region["scalp"]
        low, slope = hair.fringe
        fringe = self.region["forehead"] * step(low - 0.006, low + 0.010, y + slope * x * 0.25 + 0.004 * lumps)
        cover = np.maximum(cover, 1.15 * fringe * step(0.01, 0.04, z)) * (1 - self.ears)
        top = 0.35 + 0.65 * step(0.0, 0.085, y)
        thick = hair.thickness * top * step(0.0, 0.75, cover) * (1 + 0.22 * lumps)
        if hair.kind == "curly":
            thick = hair.thickness * step(0.0, 0.6, cover) * (0.75 + 0.25 * step(-0.02, 0.06, y)) * (1 + 0.15 * lumps)
        return [
            self._layer(head, hair, cover * density, share * thick, hair.colour * tone)
            for share, density, tone in ((0.35, 1.3, 0.75), (0.7, 1.0, 0.9), (1.0, 0.62, 1.0))
        ]

    def _layer(
        self,
        head: PosedHead,
        hair: Hair,
        cover: Float[np.ndarray, " V"],
        thick: Float[np.ndarray, " V"],
        colour: Float[np.ndarray, "3"],
        scale: float = 1.0,
    ) -> Thing:
        x, y, z = self.template.T
        if hair.combed:
            u, v = z / 0.16, np.arctan2(np.abs(x - hair.parting), y + 0.02) * 0.5
        else:
            u, v = np.arctan2(x, z + 0.02) * 0.55, np.arctan2(np.hypot(x, z + 0.02), y + 0.02) * 0.5
        faces = self.faces[(cover[self.faces] > 0.02).any(1)]
        return Thing(
            head.vertices + head.normals * np.maximum(thick, 0.0008)[:, None],
            head.normals,
            faces,
            np.column_stack([scale * u, scale * v, cover]),
            hair.pattern,
            np.tile(colour, (len(faces), 1)),
            contrast=0.32,
            gloss=0.3,
            flat=0.3,
        )

    def _beard(self, head: PosedHead, style: Style, lumps: np.ndarray) -> list[Thing]:
        if style.beard in ("none", "stubble"):
            return []
        cover = self.beard_mask(self.template, style.beard) * self.region["skin"] * (1 - self.region["lips"]) ** 3
        cover = cover * (1 - self.ears)
        hair, length = style.hair, style.beard_length
        hatted = hair.kind in ("beanie", "cap", "scarf")  # their colour is not the hair's
        colour = np.array([0.13, 0.1, 0.08]) if hatted else hair.colour * 0.9
        y = self.template[:, 1]
        thick = length * step(0.0, 0.8, cover) * (0.45 + 0.55 * step(-0.06, -0.1, y)) * (1 + 0.25 * lumps)
        return [
            self._layer(head, hair, cover * density, share * thick, colour * tone, scale=2.6)
            for share, density, tone in ((0.25, 1.0, 0.8), (0.6, 0.8, 0.9), (1.0, 0.55, 1.0))
        ]

    @staticmethod
    def beard_mask(points: Float[np.ndarray, "*n 3"], kind: str) -> Float[np.ndarray, "*n"]:
        """Density of a beard at places of the template."""
        x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
        jaw = step(-0.058, -0.080, y + 0.22 * np.maximum(0.05 - x, 0) - 0.004) * step(-0.16, -0.125, y)
        jaw = jaw * step(-0.01, 0.015, z)
        side = step(0.050, 0.060, x) * step(0.005, -0.03, y) * step(0.0, 0.012, z)
        lip = np.exp(-0.5 * ((x / 0.026) ** 2 + ((y + 0.0555) / 0.0055) ** 2)) * step(0.05, 0.07, z)
        chin = step(0.034, 0.024, x) * jaw
        around = np.exp(-0.5 * (((x - 0.029) / 0.006) ** 2 + ((y + 0.068) / 0.014) ** 2)) * step(0.05, 0.07, z)
        kinds = {"moustache": lip, "goatee": np.maximum(np.maximum(chin, lip), around)}
        return np.clip(kinds.get(kind, np.maximum(np.maximum(jaw, lip), np.maximum(side, around))), 0, 1)

    def _hat(self, head: PosedHead, hair: Hair, lumps: np.ndarray) -> list[Thing]:
        x, y, z = self.template.T
        low = {"beanie": 0.036, "cap": 0.048, "scarf": 0.052}[hair.kind] + 0.2 * (hair.thickness - 0.01)
        line = low - 0.45 * (0.08 - z) * (1 if hair.kind != "scarf" else 1.6)
        line = np.maximum(line, 0.012 if hair.kind != "scarf" else -0.2)
        cover = 2.0 * step(-0.002, 0.002, y - line) * (1 - self.ears * (hair.kind != "scarf"))
        cover = cover * (self.region["neck"] < 0.5)
        thick = hair.thickness * (0.6 + 0.5 * step(0.05, 0.1, y)) * (1 + 0.12 * lumps)
        faces = self.faces[(cover[self.faces] > 0.02).any(1)]
        where = np.column_stack([np.arctan2(x, z) * 1.5, y / 0.06, cover])
        shell = Thing(
            head.vertices + head.normals * thick[:, None],
            head.normals,
            faces,
            where,
            GRAIN,
            np.tile(hair.colour, (len(faces), 1)),
            contrast=0.25,
        )
        return [shell, self._brim(head, hair, low)] if hair.kind == "cap" else [shell]

    def _brim(self, head: PosedHead, hair: Hair, low: float) -> Thing:
        a, t = np.meshgrid(np.linspace(-1, 1, 25), np.linspace(0, 1, 6))
        front = head.rest[self.region["forehead"] > 0.5][:, 2].max() + hair.thickness
        x = 0.066 * np.sin(a * 1.35)
        z = front - 0.045 * (1 - np.cos(a * 1.35)) + 0.068 * t * np.cos(a * 1.2)
        y = low + 0.006 - 0.012 * t - 0.018 * np.sin(a * 1.35) ** 2
        points = head.placed(np.stack([x, y, z], -1))
        faces = grid_faces(6, 25)
        where = np.column_stack([a.ravel(), t.ravel(), np.full(a.size, 2.0)])
        colour = np.tile(hair.colour * 0.9, (len(faces), 1))
        return Thing(points.reshape(-1, 3), grid_normals(points), faces, where, GRAIN, colour, contrast=0.2)

    def _curtain(self, head: PosedHead, hair: Hair, rng: np.random.Generator) -> Thing:
        """A sheet around the head from the crown down, open at the face."""
        rest, cloth = head.rest, hair.kind == "scarf"
        outer = self.region["skin"] > 0.5
        ear = np.abs(rest[self.ears > 0.5][:, 0]).max()
        back, crown = rest[outer][:, 2].min(), rest[outer][:, 1].max()
        lift = 0.6 * hair.thickness
        middle, waist = -0.012, 0.015
        rows, columns = 40, 72
        end = min(hair.end, -0.17) if cloth else hair.end
        t = np.linspace(0, 1, rows)[:, None]
        y = (crown + hair.thickness) * (1 - t) + end * t + 0 * np.zeros((1, columns))
        above = np.clip((y - waist) / (crown + hair.thickness - waist), 0, 1)
        dome = np.sqrt(np.clip(1 - above**2, 0.0, 1))
        below = np.clip(waist - y, 0, None)
        flare = 1 + rng.uniform(-0.6, 0.9) * below
        # the front edge: near the parting at the crown, beside the face below
        left, right = hair.opening
        if cloth:
            left = right = np.deg2rad(58) + 0.2 * rng.standard_normal()
        fall = step(0.95, 0.45, above)
        share = np.linspace(-1, 1, columns)[None]
        # columns run from the left edge around the back to the right edge
        edge_left, edge_right = left * (0.12 + 0.88 * fall), right * (0.12 + 0.88 * fall)
        middle_angle = np.pi
        angle = np.where(
            share < 0,
            edge_left + (middle_angle - edge_left) * (1 + share),
            -edge_right - (middle_angle - edge_right) * (1 - share),
        )
        phase = rng.uniform(0, 2 * np.pi, 6)
        wave = np.sin(9 * share + 14 * y / 0.1 * 0.35 + phase[0]) + 0.6 * np.sin(23 * share - 28 * y + phase[1])
        wave = wave + 0.5 * np.sin(5 * share + phase[2]) + 0.4 * np.sin(47 * share + 9 * y + phase[3])
        bulge = 1 + hair.wave / 0.09 * wave * step(0.9, 0.5, above)
        half = (ear + 0.5 * lift) * dome * flare * bulge
        deep = (middle - back + lift) * dome * flare * bulge
        front = (0.088 + 0.3 * lift) * dome
        near = step(np.deg2rad(115), np.deg2rad(60), np.abs(angle))  # strands beside the face lie closer to it
        x = half * np.sin(angle) * (1 - 0.14 * near * step(0.03, -0.05, y)) + hair.parting * above
        z = middle + np.where(np.cos(angle) > 0, front, deep) * np.cos(angle) + 0.012 * near * below / 0.1
        points = head.placed(np.stack([x, y + 0 * x, z], -1))
        arc = 0.095 * np.cumsum(np.abs(np.diff(angle, axis=1, prepend=angle[:, :1])), axis=1)
        ragged = np.minimum(1.3 * step(1.0, 0.93, t) * step(1.0, 0.95, np.abs(share)) + 0.1, 6.0 * (1 - t))
        cover = np.full_like(ragged, 2.0) if cloth else ragged
        faces = grid_faces(rows, columns)
        where = np.stack([arc / 0.16, -y / 0.2 + 0.3 * wave * hair.wave / 0.01 * 0.1, cover + 0 * arc], -1)
        return Thing(
            points.reshape(-1, 3),
            grid_normals(points),
            faces,
            where.reshape(-1, 3),
            GRAIN if cloth else hair.pattern,
            np.tile(hair.colour * (1.0 if cloth else 0.9), (len(faces), 1)),
            contrast=0.2 if cloth else 0.38,
            gloss=0.0 if cloth else 0.3,
            flat=0.1 if cloth else 0.2,
        )

    def _bun(self, head: PosedHead, hair: Hair, rng: np.random.Generator) -> Thing:
        radius = rng.uniform(0.028, 0.05)
        crown = head.rest[self.region["skin"] > 0.5][:, 1].max()
        tilt = rng.uniform(0.0, 2.0)  # from the crown to the nape
        centre = np.array([0, crown * np.cos(0.7 * tilt) + 0.6 * radius, -0.02 - 0.09 * np.sin(0.75 * tilt)])
        a, b = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0.02, np.pi - 0.02, 13))
        ball = np.stack([np.sin(b) * np.cos(a), np.cos(b), np.sin(b) * np.sin(a)], -1)
        points = head.placed(centre + radius * ball * (1 + 0.08 * np.sin(5 * a)[..., None]))
        faces = grid_faces(13, 25)
        where = np.column_stack([a.ravel() * 0.2, b.ravel() * 0.3, np.full(a.size, 1.05)])
        return Thing(
            points.reshape(-1, 3),
            (ball @ head.rotation.T).reshape(-1, 3),
            faces,
            where,
            hair.pattern,
            np.tile(hair.colour, (len(faces), 1)),
            contrast=0.5,
            gloss=0.3,
        )

    def _lumps(self, rng: np.random.Generator) -> Float[np.ndarray, " V"]:
        """Smooth unevenness of about unit size over the template."""
        waves = rng.standard_normal((8, 3)) * 70.0
        return np.sin(self.template @ waves.T + rng.uniform(0, 2 * np.pi, 8)).sum(1) / 2.0
