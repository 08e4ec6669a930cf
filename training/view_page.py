"""The pictures of docs/view.md: the viewer and the report of the demo's rendered head, in a real Chromium.

make demo; bash tools/setup_web.sh; python -m training.view_page [--demo out] [--out docs/images]
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tracker.command import Parser, run
from tracker.report.make import make_report
from tracker.track import load_track

_WEB = Path(__file__).parent.parent / "tests" / "web"
_FRAME, _SURFACE = "163", "detail"
_SECONDS = 180


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    return run("view_page", _pictures, argv)


def _pictures(argv: Sequence[str]) -> int:
    parser = Parser(prog="view_page", description="Make the pictures of docs/view.md.")
    parser.add_argument("--demo", default="out", metavar="DIR", help="where `make demo` wrote (default: out)")
    parser.add_argument("--out", default="docs/images", metavar="DIR", help="where the pictures go")
    options = parser.parse(argv)
    clip, params = (Path(options.demo) / f"openhead.{end}" for end in ("mp4", "params.npz"))
    for path in (clip, params):
        if not path.is_file():
            raise ValueError(f"{path}: is not there; run make demo first")
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found or not (_WEB / "node_modules").is_dir():
        raise ValueError("needs node, Chromium and playwright-core; run tools/setup_web.sh")
    out = Path(options.out)
    _view(found[0], clip, params, out / "view.png")
    with tempfile.TemporaryDirectory() as folder:
        page = make_report(Path(folder), "openhead", load_track(params), video=clip, source=clip.name)
        _shot(found[0], page.as_uri(), out / "report.png", "report")
    return 0


def _view(chromium: str, clip: Path, params: Path, out: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = ["view", str(params), "--video", str(clip), "--port", port, "--no-browser"]
    with subprocess.Popen(
        [sys.executable, "-m", "tracker.commands", *words], stdout=subprocess.PIPE, text=True
    ) as viewer:
        assert viewer.stdout is not None
        viewer.stdout.readline()  # the address: it is there
        try:
            _shot(chromium, f"http://localhost:{port}", out, "view", _FRAME, _SURFACE)
        finally:
            viewer.send_signal(signal.SIGINT)
            print(viewer.communicate(timeout=30)[0].strip())


def _shot(chromium: str, url: str, out: Path, *words: str) -> None:
    script = str(_WEB / "picture.mjs")
    made = subprocess.run(
        ["node", script, chromium, url, str(out.absolute()), *words], capture_output=True, text=True, timeout=_SECONDS
    )
    if made.returncode:
        raise RuntimeError(f"{out}: {made.stderr.strip()}")
    Image.open(out).quantize(256).save(out, optimize=True)
    print(f"{out}: made")


if __name__ == "__main__":
    sys.exit(main())
