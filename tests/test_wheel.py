"""What is in the wheel, and what it says of itself. Whether it runs elsewhere: ``make check-wheel``."""

from __future__ import annotations

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("model", "tracker", "reenact", "training")
LARGEST = 60e6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    pytest.importorskip("setuptools", "77")
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, str(ROOT / "tools" / "build_wheel.py"), str(out)], check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    assert path.stat().st_size < LARGEST, f"{path.stat().st_size / 1e6:.1f} MB"
    return zipfile.ZipFile(path)


def test_all_code_and_assets_are_in_it(wheel):
    inside = {info.filename: info.file_size for info in wheel.infolist()}
    for package in PACKAGES:
        assert f"{package}/py.typed" in inside
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                name = path.relative_to(ROOT).as_posix()
                assert inside.get(name) == path.stat().st_size, f"{name} is not in the wheel as it is here"


def test_nothing_else_is_in_it(wheel):
    roots = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = [name for name in roots if name.endswith(".dist-info")]
    assert roots == {*PACKAGES, info}
    assert not [name for name in wheel.namelist() if name.endswith((".pyc", ".part"))]


def test_what_it_says_of_itself(wheel):
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    about = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert about["Name"] == "decatrack" and about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == "<3.13,>=3.10"
    assert sorted(about.get_all("License-File", [])) == ["LICENSE", "NOTICE"]
    extras = about.get_all("Provides-Extra", [])
    assert {"training", "docs", "cluster"} <= set(extras)
    needed = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {line.split(";")[0].split(">")[0].split("=")[0].split("<")[0].strip().lower() for line in needed}
    assert {"torch", "numpy", "mediapipe", "av", "safetensors"} <= names
    assert not names & {"ray", "anny", "mkdocs-material", "pytest"}
    scripts = wheel.read(f"{info}/entry_points.txt").decode()
    for script in ("track = tracker.cli:main", "reenact = reenact.cli:main", "decatrack = tracker.commands:main"):
        assert script in scripts
