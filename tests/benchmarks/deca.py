"""How fast DECA's parts are, side by side in one run.

    .venv/bin/python tests/benchmarks/deca.py               # CPU, and CUDA where there is a device
    .venv-pytorch3d/bin/python tests/benchmarks/deca.py     # also against PyTorch3D's rasteriser (make test-pytorch3d)

Times are the best of several runs, by the clock, with two threads on the CPU; ``--busy`` counts processor time on one
thread instead, for machines that do other things meanwhile. Weights are random: they do not matter here.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import time
from collections.abc import Callable

import torch

from model.camera import lift, project_with_depth
from model.crop import Crop
from model.deca import DECA, DECAConfig
from model.head import HeadModel
from model.io.assets import load_head
from model.io.checkpoints import load_deca, shipped_weights
from model.mesh import Mesh
from model.params import Camera
from model.raster import cpu
from model.raster import pytorch3d as backend
from model.raster import torch as vectorised
from model.speed import accelerate
from model.views import look, shape_view

FACES, SIZE, BATCH = 9270, 224, 64
PAPER_FPS = 120  # on a Quadro RTX 5000


CLOCK = time.process_time if "--busy" in sys.argv else time.perf_counter


def best(run: Callable[[], object], repeats: int = 7, synchronise: bool = False) -> float:
    """Seconds of the fastest run, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        start = CLOCK()
        run()
        if synchronise:
            torch.cuda.synchronize()
        times.append(CLOCK() - start)
    return min(times[2:])


def rasterisers() -> None:
    """Ours against PyTorch3D's on one core each, the same head in the same picture."""
    head = HeadModel(load_head())
    mesh = Mesh(head(head.neutral(1)), head.faces[:FACES])
    camera = Camera(torch.tensor([900.0]), torch.tensor([[SIZE / 2, SIZE / 2 - 25]]))
    points = project_with_depth(camera, mesh.vertices)
    ours = best(lambda: cpu.rasterise(points, mesh.faces, SIZE, SIZE))
    dense = best(lambda: vectorised.rasterise(points, mesh.faces, SIZE, SIZE), 3)
    covered = float((cpu.rasterise(points, mesh.faces, SIZE, SIZE).face >= 0).float().mean())
    print(f"rasterise {FACES} faces at {SIZE}² ({covered:.0%} covered)")
    print(f"  cpu.py   {ours * 1e3:8.2f} ms")
    print(f"  torch.py {dense * 1e3:8.2f} ms")
    if importlib.util.find_spec("pytorch3d") is None:
        print("  PyTorch3D is not installed here; run this with .venv-pytorch3d/bin/python")
        return
    theirs = best(lambda: backend.rasterise(points, mesh.faces, SIZE, SIZE), 2)
    verdict = "reached" if theirs / ours >= 300 else "missed"
    print(f"  PyTorch3D {theirs * 1e3:7.1f} ms; cpu.py is {theirs / ours:.0f} times as fast (goal 300: {verdict})")


def crop_of(batch: int, device: str) -> Crop:
    half = SIZE / 2
    return Crop(torch.full((batch, 2), half, device=device), torch.full((batch,), float(SIZE), device=device))


def whole(deca: DECA, images: torch.Tensor, detail: bool, render: bool = True) -> Callable[[], object]:
    """Encode, decode and the (detailed) shape view; codes of random weights are put where a face would be."""
    crop = crop_of(len(images), images.device.type)

    @torch.inference_mode()
    def run() -> object:
        face, appearance, camera = deca.encode(images)
        camera = dataclasses.replace(camera, s=camera.s * 0 + 8)
        result = deca.decode(face, appearance, camera)
        if not render:
            return result
        seen_from = lift(camera, crop)
        if detail:
            return deca.detail_shape(result, seen_from, SIZE, SIZE)
        return shape_view(look(result.mesh, seen_from, SIZE, SIZE, result.normals))

    return run


def one_image() -> None:
    """A picture after the other on the CPU."""
    torch.manual_seed(0)
    asset = load_head()
    images = torch.rand(1, 3, SIZE, SIZE)
    engines = [("torch", False), ("torch", True)]
    if importlib.util.find_spec("openvino") is not None:
        engines += [("openvino", False), ("openvino", True)]
    print(f"\nencode + decode + shape view, one image, {torch.get_num_threads()} threads, ms (images/s)")
    for backbone in ("resnet50", "mobilenetv2"):
        deca = DECA(asset, DECAConfig(backbone)).eval()
        runs = [("plain", deca)]
        runs += [
            (f"{engine}{', bfloat16' if half else ''}", accelerate(deca, engine, half)) for engine, half in engines
        ]
        for name, candidate in runs:
            seconds = best(whole(candidate, images, detail=False))
            print(f"  {backbone:12} {name:20} {seconds * 1e3:7.1f}  ({1 / seconds:.1f})")
        print(f"    {runs[0][0]}: {', '.join(parts(deca, images))}")
        print(f"    {runs[-1][0]}: {', '.join(parts(runs[-1][1], images))}")


@torch.inference_mode()
def parts(deca: DECA, images: torch.Tensor) -> list[str]:
    """What each step takes, ms."""
    face, appearance, camera = deca.encode(images)
    camera = dataclasses.replace(camera, s=camera.s * 0 + 8)
    result = deca.decode(face, appearance, camera)
    seen_from = lift(camera, crop_of(len(images), "cpu"))
    steps: dict[str, Callable[[], object]] = {
        "E_c": lambda: deca.coarse_encoder(images),
        "E_d": lambda: deca.detail_encoder(images),
        "F_d": lambda: deca.detail_decoder(face.jaw, face.expression, appearance.detail),
        "mesh": lambda: deca.head.mesh(face),
        "landmarks": lambda: deca.points.ibug68(face),
        "detail maps": lambda: deca.surface(result.mesh, result.displacement, result.normals),
        "albedo": lambda: deca.albedo(appearance.albedo),
        "shape view": lambda: shape_view(look(result.mesh, seen_from, SIZE, SIZE, result.normals)),
    }
    return [f"{name} {best(run) * 1e3:.1f}" for name, run in steps.items()]


@torch.inference_mode()
def shipped() -> None:
    """E_c of the shipped weights in batches as the tracker makes them, at the resolution that it was trained at."""
    asset = load_head()
    path = shipped_weights(asset)
    if path is None:
        print("\nno weights are shipped for this head")
        return
    deca = load_deca(path, asset)
    images = torch.rand(16, 3, deca.coarse_resolution, deca.coarse_resolution)
    print(f"\nE_c of {path.stem}, {deca.config.backbone} at {deca.coarse_resolution}², batches of 16, ms an image")
    for engine in ("torch", "openvino"):
        for half in (False, True):
            encoder = accelerate(deca, engine, half).coarse_encoder
            seconds = best(lambda encoder=encoder: encoder(images)) / len(images)
            print(f"  {engine:9}{' bfloat16' if half else '':10} {seconds * 1e3:6.1f}")


def on_cuda() -> None:
    """Batches on a GPU: full precision and bfloat16, with and without rendering."""
    if not torch.cuda.is_available():
        print("\nno CUDA device here")
        return
    torch.backends.cudnn.benchmark = True
    asset, images = load_head(), torch.rand(BATCH, 3, SIZE, SIZE, device="cuda")
    print(f"\n{torch.cuda.get_device_name()}, batch {BATCH}, images/s (goal: {10 * PAPER_FPS}, ten times the paper's)")
    for backbone in ("resnet50", "mobilenetv2"):
        deca = DECA(asset, DECAConfig(backbone)).eval().cuda()
        for half in (False, True):
            fast = accelerate(deca, "torch", half)
            rates = [BATCH / best(whole(fast, images, True, render), synchronise=True) for render in (True, False)]
            name = "bfloat16" if half else "float32"
            print(f"  {backbone:12} {name:9} {rates[0]:8.0f} with the detailed shape view, {rates[1]:8.0f} without")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", action="store_true", help="count processor time on one thread")
    torch.set_num_threads(1 if parser.parse_args().busy else 2)
    rasterisers()
    one_image()
    shipped()
    on_cuda()


if __name__ == "__main__":
    main()
