"""A face of the population as a photograph with its labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from threadpoolctl import ThreadpoolController

from model.asset import HeadAsset
from model.camera import project_with_depth
from model.head import HeadModel
from model.landmarks import HeadLandmarks
from model.mesh import Mesh, vertex_normals
from model.params import Camera
from model.raster import rasterise
from training.data.encode import jpeg, png
from training.data.sample import Labels, Sample
from training.synthetic.draw import draw_over, shade_things
from training.synthetic.hair import PosedHead, Scalp
from training.synthetic.light import draw_light
from training.synthetic.lit import LitHead, cast_shadow, through_lens
from training.synthetic.noise import patterns
from training.synthetic.photograph import as_stored, draw_background, draw_cover
from training.synthetic.population import Face, Population
from training.synthetic.skin import Skin
from training.synthetic.style import Style, draw_style
from training.synthetic.things import Thing, Things, join
from training.synthetic.wear import Wardrobe

SAMPLES = 2  # per pixel and axis
_BEFORE = 0.008  # metres that something must be before a landmark to hide it: a beard or a strand is no harm
_DARK = 0.3  # darkness of a lens that hides the eye


@dataclass(frozen=True)
class Additions:
    """What makes a render look like a photograph and is not in the codes.

    Attributes:
        skin: relief, folds, spots, stubble, make-up, highlights.
        worn: hair, hats, beards, glasses, shoulders.
        shadows: of hair and of things outside the picture; dark mouths and necks.
        covers: hands and things before the face.
        camera: blur, noise, tone, compression.
    """

    skin: bool = True
    worn: bool = True
    shadows: bool = True
    covers: bool = True
    camera: bool = True


PLAIN = Additions(False, False, False, False, False)
"""Nothing: the picture is what DECA's renderer makes of the labels, over a background."""


@dataclass(frozen=True)
class Picture:
    """A rendered face before it is stored.

    Attributes:
        image: RGB, about [0, 1].
        mask: 1 on visible skin (lips and eyes included, hair and the inside of the mouth not).
        alpha: 1 where the head is seen.
        landmarks: iBUG-68, px.
        visible: which of them nothing hides.
        labels: of the face.
    """

    image: Float[np.ndarray, "n n 3"]
    mask: Bool[np.ndarray, "n n"]
    alpha: Float[np.ndarray, "n n"]
    landmarks: Float[np.ndarray, "68 2"]
    visible: Bool[np.ndarray, "68"]
    labels: Labels


class Renderer:
    """Photographs of a population; sample k is a pure function of the population's seed and k.

    Args:
        population: who is photographed.
        size: side of the pictures, px.
        backgrounds: photographs to put behind the faces; painted ones where there are none.
        additions: which to make.

    Raises:
        ValueError: the head has no albedo or no landmarks, or the size is less than 32.
    """

    def __init__(
        self,
        population: Population,
        size: int = 256,
        backgrounds: Sequence[Path] = (),
        additions: Additions | None = None,
    ) -> None:
        if size < 32:
            raise ValueError(f"size is {size} px, expected 32 or more")
        self.population = population
        self.size = size
        self.backgrounds = tuple(backgrounds)
        self.additions = Additions() if additions is None else additions
        asset = population.asset
        self.asset = asset
        self.head = HeadModel(asset)
        self.points = HeadLandmarks(self.head)
        self.skin = Skin(asset)
        self.scalp = Scalp(asset)
        self.wardrobe = Wardrobe(asset)
        self.noise = patterns()
        self.lit = LitHead(asset, self.skin)
        self._threads = ThreadpoolController()
        self._person = lru_cache(maxsize=4)(self._draw_person)

    def sample(self, k: int) -> Sample:
        """Face k as it lies in a shard."""
        with self._one_thread():
            picture = self.picture(k)
            rng = self.population.rng(9, k)
            if self.additions.camera:
                image = as_stored(rng, picture.image)
            else:
                image = jpeg((255 * picture.image.clip(0, 1)).round().astype(np.uint8), 97)
            number = k // self.population.per_identity
            return Sample(
                key=self.key(k),
                identity=f"synthetic/{self.population.seed}/{number:07}",
                image=image,
                landmarks=picture.landmarks.astype(np.float32),
                visible=picture.visible,
                mask=png(picture.mask.astype(np.uint8) * 255),
                labels=picture.labels,
            )

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Sums come out the same, bit for bit, only when the same number of threads adds them: here one."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with self._threads.limit(limits=1):
                yield
        finally:
            torch.set_num_threads(before)

    def key(self, k: int) -> str:
        """Name of face k."""
        return f"synthetic/{self.population.seed}/{k:07}"

    def picture(self, k: int) -> Picture:
        """Face k before it is stored."""
        with torch.no_grad():
            return self._picture(self.population.face(k), k)

    def _picture(self, face: Face, k: int) -> Picture:
        size, extra, rng = self.size, self.additions, self.population.rng(2, k)
        style, albedo, painted, skin_colour = self._person(face.number, tuple(face.albedo.tolist()))
        light = draw_light(self.population.rng(3, k), skin_colour)
        mesh = self.head.mesh(face.params)
        normals = vertex_normals(mesh)
        points = self.points.ibug68(face.params)
        camera = self._camera(points, rng)
        posed = self._posed(face, mesh, normals)

        worn, lens = self._worn(face, style, posed, skin_colour, k) if extra.worn else ([], None)
        things = join(worn)
        fine = Camera(camera.s * SAMPLES, camera.t * SAMPLES)
        fragments = rasterise(project_with_depth(fine, mesh.vertices), mesh.faces, size * SAMPLES, size * SAMPLES)
        buffers = (fragments.face.numpy(), fragments.barycentric.numpy(), fragments.depth.double().numpy())
        count = len(mesh.faces)
        self._draw(things, fine, buffers, count)
        body = sum(len(thing.faces) for thing in worn[:2])
        hidden = self._pooled(buffers[0] >= count + body)

        shadow = cast_shadow(rng, light, hidden, float(camera.s)) if extra.shadows else np.ones_like(hidden)
        if extra.skin:
            texture, half = self.lit.made_up(painted, style, face.params, posed.rotation, light)
        else:
            texture, half = self.lit.bare(albedo)
        lit_head = self.lit(buffers, normals.numpy(), texture, half, light, shadow, SAMPLES, extra.shadows)
        lit_things = np.zeros((size, size, 4), np.float32)
        shade_things(
            buffers[0], buffers[1], count, things.faces, things.normals, things.where, things.pattern,
            self.noise, things.look, light.factors, SAMPLES, lit_things,
        )  # fmt: skip
        alpha, skin = lit_head[..., 3], lit_head[..., 4]
        behind = draw_background(self.population.rng(4, k), size, self.backgrounds)
        rest = np.clip(1 - alpha - lit_things[..., 3], 0, 1)[..., None]
        image = lit_head[..., :3] + lit_things[..., :3] + rest * behind

        pixels = project_with_depth(camera, points).numpy()
        visible = self._visible(pixels, buffers[2] / SAMPLES, float(camera.s))
        if lens is not None and style.glasses is not None:
            glass = self._glass(lens, fine, buffers)
            image = through_lens(rng, image, glass, lens.normals[0], light, style.glasses)
            if style.glasses.darkness > _DARK:
                skin = skin * (1 - glass)
                visible &= _at(glass, pixels) < 0.5
        if extra.covers and rng.random() < 0.22:
            side = float(np.ptp(pixels[:, :2], axis=0).mean())
            lit_skin = skin_colour * np.clip(light.on(np.array([0.0, 0.0, 1.0])), 0.1, 1.3)
            cover = draw_cover(rng, size, pixels[:, :2].mean(0), side, lit_skin)
            image = image + cover.alpha[..., None] * (cover.colour - image)
            skin, alpha = skin * (1 - cover.alpha), alpha * (1 - cover.alpha)
            visible &= _at(cover.alpha, pixels) < 0.5
        labels = Labels(
            face=face.params,
            albedo=face.albedo,
            light=torch.from_numpy(light.harmonics.astype(np.float32)),
            camera=camera,
            known=torch.tensor(True),
            lit=torch.tensor(True),
        )
        return Picture(image, skin > 0.5, alpha, pixels[:, :2], visible, labels)

    def _draw_person(self, number: int, codes: tuple[float, ...]) -> tuple[Style, np.ndarray, np.ndarray, np.ndarray]:
        """Style, albedo as the codes say, the same with all that is painted on it, and the skin's mean colour."""
        albedo = self.skin.albedo(torch.tensor(codes))
        rng = self.population.rng(5, number)
        style = draw_style(rng, self.skin.colour_of(albedo, self.skin.brow**2).clip(0.02, 1))
        painted = self.skin.painted(albedo, style, rng) if self.additions.skin else albedo
        return style, albedo, painted, self.skin.colour_of(albedo, self.skin.face).clip(0.02, 1)

    def _camera(self, points: Float[torch.Tensor, "68 3"], rng: np.random.Generator) -> Camera:
        """The face about in the middle, with room for the crops of training around it."""
        low, high = points[:, :2].amin(0), points[:, :2].amax(0)
        side = float((high - low).mean())
        s = self.size / (side * rng.uniform(1.9, 2.3))
        centre = (low + high) / 2
        x, y = self.size * (0.5 + np.clip(0.025 * rng.standard_normal(2), -0.05, 0.05))
        t = torch.stack([x - s * centre[0], y + s * centre[1]])
        return Camera(torch.tensor(s, dtype=torch.float32), t.float())

    def _posed(self, face: Face, mesh: Mesh, normals: torch.Tensor) -> PosedHead:
        rest = self.head.template + (face.params.shape @ self.head.basis[: face.params.shape.shape[-1]]).unflatten(
            -1, (-1, 3)
        )
        skeleton = self.head.skeleton(face.params)
        return PosedHead(
            mesh.vertices.double().numpy(),
            normals.double().numpy(),
            rest.double().numpy(),
            skeleton.rotation[1].double().numpy(),
            skeleton.offset[1].double().numpy(),
        )

    def _worn(
        self, face: Face, style: Style, posed: PosedHead, skin: np.ndarray, k: int
    ) -> tuple[list[Thing], Thing | None]:
        """Shoulders first, then everything that throws a shadow on the face; and the lenses."""
        rng = self.population.rng(6, k)
        share = rng.uniform(0.0, 0.9)
        yaw = share * np.arctan2(posed.rotation[0, 2], posed.rotation[2, 2])
        roll = 0.3 * share * np.arctan2(posed.rotation[1, 0], posed.rotation[1, 1]) + 0.05 * rng.standard_normal()
        turn = _turn(2, roll) @ _turn(1, yaw) @ _turn(0, 0.06 * rng.standard_normal())
        person = self.population.rng(7, face.number)
        worn = self.wardrobe.torso(posed, style, skin, turn, person)
        worn += self.scalp.worn(posed, style, self.population.rng(8, face.number))
        if style.glasses is None:
            return worn, None
        frames, lens = self.wardrobe.glasses(posed, style.glasses)
        return worn + frames, lens

    def _draw(self, things: Things, camera: Camera, buffers: tuple[np.ndarray, ...], first: int) -> None:
        vertices = torch.from_numpy(things.vertices)
        points = project_with_depth(Camera(camera.s.double(), camera.t.double()), vertices).numpy()
        face, barycentric, depth = buffers
        draw_over(points, things.faces, first, things.where, things.pattern, self.noise, face, barycentric, depth)

    def _glass(self, lens: Thing, camera: Camera, buffers: tuple[np.ndarray, ...]) -> Float[np.ndarray, "n n"]:
        """Where lenses are before everything else."""
        face = np.full_like(buffers[0], -1)
        self._draw(join([lens]), camera, (face, buffers[1].copy(), buffers[2].copy()), 0)
        return self._pooled(face >= 0)

    def _visible(
        self, pixels: Float[np.ndarray, "68 3"], depth: Float[np.ndarray, "m m"], s: float
    ) -> Bool[np.ndarray, "68"]:
        """Whether nothing that was drawn lies clearly before a point, which is inside the picture."""
        side = depth.shape[0]
        column, row = (np.floor(pixels[:, axis] * SAMPLES).astype(int) for axis in (0, 1))
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        nearest = np.full(len(pixels), np.inf)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                at = depth[np.clip(row + down, 0, side - 1), np.clip(column + right, 0, side - 1)]
                nearest = np.minimum(nearest, at)
        return inside & (nearest - pixels[:, 2] < _BEFORE * s)

    def _pooled(self, fine: Bool[np.ndarray, "m m"]) -> Float[np.ndarray, "n n"]:
        parts = [fine[row::SAMPLES, column::SAMPLES] for row in range(SAMPLES) for column in range(SAMPLES)]
        return np.stack(parts).mean(0, dtype=np.float32)


def _at(picture: Float[np.ndarray, "n n"], pixels: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "68"]:
    limit = picture.shape[0] - 1
    return picture[np.clip(pixels[:, 1].astype(int), 0, limit), np.clip(pixels[:, 0].astype(int), 0, limit)]


def _turn(axis: int, angle: float) -> Float[np.ndarray, "3 3"]:
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[i, i] = R[j, j] = c
    R[i, j], R[j, i] = -s, s
    return R


def renderer(
    asset: HeadAsset, seed: int = 0, size: int = 256, per_identity: int = 1, backgrounds: Sequence[Path] = ()
) -> Renderer:
    """A renderer of a new population."""
    return Renderer(Population(asset, seed, per_identity), size, backgrounds)
