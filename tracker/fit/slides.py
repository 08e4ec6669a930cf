"""How MediaPipe's points slide over the face when the head turns.

The detector's points are no fixed places of the skin: on a head turned to a side the nose, the brows and the chin are
put further round than they are, and the outline less far. A fit that takes them for fixed places turns heads too far
(by a sixth in yaw) and nods them too little. `python -m training.landmarks.slides` measures the slide on renders, whose
turn is known; residuals of photographs and of filmed people follow the same pattern. The file holds metres per unit of
the sines of yaw and pitch, in the picture, upright; a fit takes them off what it is shown.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SLIDES_PATH = Path(__file__).parent / "slides.npz"


@cache
def read_slides(path: Path = SLIDES_PATH) -> Float[np.ndarray, "478 2 2"]:
    """Slides of MediaPipe's points: (point; sine of yaw, of pitch; image x to the right, y up), metres."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["slides"].astype(np.float32)


def turn_features(rotation: Float[Tensor, "N 3 3"]) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2 2"]]:
    """Sines of yaw and pitch of a head-to-camera rotation, and the rotation within the picture that is left."""
    sines = torch.stack([-rotation[:, 2, 0], rotation[:, 2, 1]], 1)
    across = torch.nn.functional.normalize(rotation[:, :2, 0], dim=1, eps=1e-6)
    upright = torch.stack([across, torch.stack([-across[:, 1], across[:, 0]], 1)], 2)
    return sines, upright


def slide(slides: Float[Tensor, "K 2 2"], rotation: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 2 K"]:
    """Where points are seen less where they are, on heads turned so: metres on the head, image axes with y up."""
    sines, upright = turn_features(rotation)
    return torch.einsum("nij,nf,kfj->nik", upright, sines, slides)
