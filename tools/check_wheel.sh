#!/usr/bin/env bash
# The wheel in an empty environment outside the checkout: does what it brings suffice? Minutes, and some 2 GB on disk,
# which go away afterwards (KEEP=1 keeps them). WHERE=DIR says where.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
place=$(mktemp -d "${WHERE:-${TMPDIR:-/tmp}}/decatrack-wheel.XXXXXX")
[ -n "${KEEP:-}" ] || trap 'rm -rf "$place"' EXIT
cd "$place"
unset PYTHONPATH

"$python" -m venv venv
venv/bin/python -m pip --disable-pip-version-check install -q 'setuptools>=77'
venv/bin/python "$root/tools/build_wheel.py" "$place"
# CPU torch, as tools/setup.sh gets it.
venv/bin/python -m pip --disable-pip-version-check install -q "torch==2.13.0+cpu" 2>/dev/null \
    || venv/bin/python -m pip --disable-pip-version-check install -q "torch==2.13.0" --index-url https://download.pytorch.org/whl/cpu
venv/bin/python -m pip --disable-pip-version-check install -q ./decatrack-*.whl
venv/bin/python -m pip --disable-pip-version-check check || true

mkdir desk && cd desk && PATH="$place/venv/bin:$PATH"
python - "$root" <<'PY'
import sys
from importlib.metadata import files, version
from pathlib import Path
import model, reenact, tracker, training
for package in (model, reenact, tracker, training):
    place = Path(package.__file__).resolve()
    assert Path(sys.argv[1]) not in place.parents, place
    assert (place.parent / "py.typed").is_file(), place
size = sum(Path(f.locate()).stat().st_size for f in files("decatrack"))
print(f"decatrack {version('decatrack')}: {size / 1e6:.1f} MB installed, in {place.parents[1]}")
PY
python -m training.clips openhead --out clip.mp4 --seconds 1
python - <<'PY'
from tracker.image import write_image
from tracker.video import open_video
with open_video("clip.mp4") as video:
    write_image("face.png", next(iter(video)).image)
PY
track clip.mp4 --out clip.npz --preview preview.mp4
reenact --target face.png --driver clip.npz --out moved.mp4 --label
decatrack convert clip.npz --out same.npz
commands=$(decatrack --help)
case $commands in *" export "*) decatrack export clip.npz --to clip.glb && decatrack export clip.npz --to clip.csv ;; esac
case $commands in *" view "*) decatrack view --help >view.txt && head -1 view.txt ;; esac
ls -l
echo "check_wheel: all of it works outside the checkout"
