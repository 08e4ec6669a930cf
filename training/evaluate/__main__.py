"""Judge networks, the fit and predictions: ``python -m training.evaluate PROTOCOL …``.

  landmarks     68 points on photographs against annotations
  now           neutral heads against scans, NoW challenge (Sanyal et al. 2019)
  stirling      the same, challenge of Feng et al. 2018 (Stirling/ESRC 3D)
  consistency   one person's codes over photographs; what swapping them costs
  detail        wrinkles: where they move with the expression, and whether they explain pictures
  pictures      photographs beside what the networks make of them, to be looked at
  codes         rendered faces with exact codes
  errors        the same by yaw, as the tracker's fit wants to know it
  skin          landmarks by skin tone, or by groups that you name

``python -m training.evaluate PROTOCOL --help`` says more of each; docs/evaluation.md says exactly what is computed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

os.environ.setdefault("GLOG_minloglevel", "3")

from model.io.configs import nearest
from tracker.command import run

PROTOCOLS = ("landmarks", "now", "stirling", "consistency", "detail", "pictures", "codes", "errors", "skin")


def main(argv: Sequence[str]) -> int:
    """Hands over to the protocol's own command line."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if argv[0] not in PROTOCOLS:
        raise ValueError(f"unknown protocol '{argv[0]}'{nearest(argv[0], list(PROTOCOLS))}")
    return import_module(f"training.evaluate.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    sys.exit(run("python -m training.evaluate", main))
