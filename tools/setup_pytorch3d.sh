#!/usr/bin/env bash
# Makes $VENV (default .venv-pytorch3d, about 5 GB) to compare with PyTorch3D; apart from .venv, for its torch is older.
# Only what the raster and render tests and tests/benchmarks/deca.py import.
set -euo pipefail
python=${PYTHON:-python3} venv=${VENV:-.venv-pytorch3d}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip --disable-pip-version-check install -q \
    "torch==2.12.*" "easypytorch3d==0.7.9.post1" "numpy>=1.26,<2" "scipy>=1.11" "numba>=0.60" "roma>=1.5" \
    "safetensors>=0.4.3" "pillow>=10" "pyyaml>=6" "jaxtyping>=0.2.34" "beartype>=0.20" "pytest>=8.3"
"$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps -e .
"$venv/bin/python" -c 'import pytorch3d._C'
echo "setup: $venv is ready"
