"""Build the wheel from a copy of the tree, leaving nothing in the checkout: ``python tools/build_wheel.py DIST``.

Needs setuptools only; nothing is downloaded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("model", "tracker", "reenact", "training")
FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")


def build(out: Path) -> Path:
    """The wheel's path."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        tree.mkdir()
        for name in FILES:
            shutil.copy(ROOT / name, tree)
        for name in PACKAGES:
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        command = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
        built = subprocess.run([sys.executable, "-c", command, str(out)], cwd=tree, capture_output=True, text=True)
        if built.returncode:
            raise RuntimeError(f"the wheel cannot be built:\n{built.stderr}")
    return out / built.stdout.splitlines()[-1]


if __name__ == "__main__":
    wheel = build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
    print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB")
