"""The tests' way to node and a real Chromium; what `tools/setup_web.sh` installs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).parent / "web"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def require_node() -> None:
    """Skips the test where node or its packages are missing."""
    if shutil.which("node") is None or not (WEB / "node_modules").is_dir():
        pytest.skip("needs node and its packages: bash tools/setup_web.sh")


def require_browser() -> None:
    """Skips the test where node, its packages or Chromium are missing."""
    require_node()
    if not any(shutil.which(name) for name in NAMES):
        pytest.skip("needs Chromium: bash tools/setup_web.sh")


def node(script: str, *arguments: object) -> Any:
    """Runs a script of `tests/web` and reads the JSON that it prints."""
    command = ["node", str(WEB / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
