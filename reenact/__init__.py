"""A photograph's face moved by the face in a video: expression, jaw, gaze, blinks and head.

from reenact import Reenactor
for picture in Reenactor("face.jpg").render(load_track("params.npz")):
    ...
"""

from __future__ import annotations

from typing import Any

__all__ = ["Reenactor"]


def __getattr__(name: str) -> Any:
    # At the first use: importing a part of the package is not to wait for torch.
    if name == "Reenactor":
        from reenact.pipeline import Reenactor

        return Reenactor
    raise AttributeError(f"module 'reenact' has no attribute '{name}'")
