"""The page: what is drawn and the controls, with viser. Nothing here knows of tracks.

Vertices are updated in place (viser's cheapest path: one message, ``bufferSubData`` in the browser). viser draws
pictures on meshes from glTF only, which it builds anew for every frame; so there are two such meshes, one shown and one
loading.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from tracker.view.panel import copying
from tracker.view.scene import BESIDE, FIELD, OVER, Home
from tracker.view.surfaces import Part

if TYPE_CHECKING:
    import viser

Surface = Literal["coarse", "detail", "texture"]

_BESIDE, _OVER = "Beside the picture", "Over the picture"
_SPEEDS = MappingProxyType({"¼": 0.25, "½": 0.5, "1": 1.0})
_SETTLE = 0.12
"""Seconds after which a glTF mesh is taken to be loaded."""
_QUALITY = 78
"""Of the JPEGs of the video."""


@dataclass(frozen=True)
class Wanted:
    """What the user asks for.

    Attributes:
        frame: position on the slider.
        faces: names in the drop-down that are chosen.
        over: whether the heads lie over the picture.
        opacity: of the heads over the picture.
        tall: height of the picture under them, units, so that it fits into the browser's window.
        changes: counts up with every change by the user.
    """

    frame: int = 0
    playing: bool = False
    speed: float = 1.0
    face: str = ""
    surface: Surface = "coarse"
    over: bool = False
    opacity: float = 1.0
    tall: float = 1.0
    changes: int = 0


@dataclass(frozen=True)
class Solid:
    """A head in parts: all its vertices, in the page's space."""

    vertices: Float[np.ndarray, "V 3"]
    parts: Sequence[Part] = field(repr=False)


@dataclass(frozen=True)
class Shown:
    """Everything that a moment shows.

    Attributes:
        heads: of every face a solid, or a glTF with its picture.
        bars, status: HTML and Markdown of the panels.
        picture: the video's frame; None where there is none.
    """

    heads: Sequence[Solid | bytes]
    bars: str
    status: str
    picture: UInt8[np.ndarray, "h w 3"] | None = None


class Page:
    """The page and its server; close it in the end.

    Args:
        title: above the controls.
        frames: positions of the slider; 0 for a live page, which has none.
        faces: names for the drop-down.
        detail: whether detail and texture can be chosen.
        aspect: width over height of the video.
        pictures: whether there is a video.
        copied: gives what the copy button shows: pairs of a title and a text.

    Raises:
        ValueError: viser is not installed, or the port cannot be had.
    """

    def __init__(
        self,
        title: str,
        *,
        host: str,
        port: int,
        frames: int,
        faces: Sequence[str],
        detail: bool,
        aspect: float,
        pictures: bool,
        dark: bool = True,
        copied: Callable[[], Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        self._viser = _import_viser()
        _check_port(host, port)
        with redirect_stdout(io.StringIO()):  # a banner that `verbose` does not know of
            self._server = self._viser.ViserServer(host=host, port=port, label=title, verbose=False)
        self._changed = threading.Condition()
        self._wanted = Wanted(face=faces[0])
        self._aspect, self._pictures, self._copied = aspect, pictures, copied
        self._solids: dict[tuple[int, str, int], viser.MeshHandle] = {}
        self._textured: dict[int, _Alternating] = {}
        self._plane: viser.ImageHandle | None = None
        self._drawing = threading.Lock()
        self._set_stage(dark)
        self._build(frames, faces, detail, dark)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = self._server.get_host()
        return f"http://{'localhost' if host in ('0.0.0.0', '127.0.0.1') else host}:{self._server.get_port()}"

    @property
    def clients(self) -> int:
        """Browsers that look at it."""
        return len(self._server.get_clients())

    @property
    def wanted(self) -> Wanted:
        """What the user asks for now."""
        return self._wanted

    def wait(self, seen: int, seconds: float | None) -> Wanted:
        """What the user asks for, once it has changed since `seen` (`Wanted.changes`) or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted.changes != seen, seconds)
            return self._wanted

    def move(self, frame: int) -> None:
        """Set the slider, as playing does; no change by the user."""
        with self._changed:
            self._wanted = replace(self._wanted, frame=frame)
        if self._slider is not None:
            self._slider.value = frame

    def draw(self, shown: Shown, wanted: Wanted) -> None:
        """Show a moment; `wanted` is what it was made for."""
        with self._drawing, self._server.atomic():
            self._draw_picture(shown.picture, wanted)
            used = set()
            for number, head in enumerate(shown.heads):
                if isinstance(head, bytes):
                    self._textured.setdefault(number, _Alternating(self._server, f"/textured/{number}")).show(head)
                else:
                    used |= self._draw_solid(number, head, wanted)
            for key, handle in self._solids.items():
                handle.visible = key in used
            for number, alternating in self._textured.items():
                if number >= len(shown.heads) or not isinstance(shown.heads[number], bytes):
                    alternating.hide()
            self._bars.content = shown.bars
            self._status.content = shown.status
        self._server.flush()

    def say(self, status: str) -> None:
        """Change the line of text alone."""
        self._status.content = status

    def close(self) -> None:
        """Stop serving."""
        for alternating in self._textured.values():
            alternating.close()
        with redirect_stdout(io.StringIO()):  # it says so
            self._server.stop()

    def _draw_picture(self, picture: np.ndarray | None, wanted: Wanted) -> None:
        if picture is None:
            if self._plane is not None:
                self._plane.visible = False
            return
        if wanted.over:
            if self._plane is None:
                self._plane = self._server.scene.add_image(
                    "/picture", picture, self._aspect, 1.0, format="jpeg", jpeg_quality=_QUALITY,
                    scale=wanted.tall, wxyz=(0.0, 1.0, 0.0, 0.0), cast_shadow=False, receive_shadow=False,
                )  # fmt: skip
            else:
                self._plane.image, self._plane.scale = picture, wanted.tall
                self._plane.visible = True
            return
        if self._plane is not None:
            self._plane.visible = False
        if self._image is not None:
            self._image.image = picture

    def _draw_solid(self, number: int, head: Solid, wanted: Wanted) -> set:
        opacity = wanted.opacity if wanted.over and wanted.opacity < 1 else None
        used = set()
        for part in head.parts:
            key = (number, part.name, len(part.vertices))
            used.add(key)
            vertices = head.vertices[part.vertices]
            handle = self._solids.get(key)
            if handle is None:
                self._solids[key] = self._server.scene.add_mesh_simple(
                    f"/head/{number}/{part.name}-{len(part.vertices)}", vertices, part.faces, color=part.colour,
                    opacity=opacity, cast_shadow=False, receive_shadow=False,
                )  # fmt: skip
            else:
                handle.vertices = vertices
                handle.opacity = opacity
        return used

    def _set_stage(self, dark: bool) -> None:
        scene = self._server.scene
        scene.set_up_direction("+y")
        scene.configure_default_lights(False)
        scene.configure_environment_map(None)
        # A key from above left, the viewer's side and a faint rim, fixed to the page: shape shows while it turns.
        scene.add_light_hemisphere("/light/sky", sky_color=(255, 255, 255), ground_color=(70, 72, 84), intensity=0.5)
        for name, where, strength in (("key", (-0.8, 0.8, 0.7), 2.1), ("front", (0.5, 0.0, 1.0), 0.45)):
            # viser's directional light shines from its position to the origin of the scene.
            scene.add_light_directional(f"/light/{name}", intensity=strength, position=where, cast_shadow=False)
        self._server.gui.configure_theme(
            dark_mode=dark, show_logo=False, show_share_button=False, brand_color=(59, 130, 214)
        )
        camera = self._server.initial_camera
        camera.up, camera.fov, camera.look_at = np.array([0.0, 1.0, 0.0]), FIELD, np.zeros(3)
        camera.position = np.array([0.0, 0.0, BESIDE.distance])
        camera.near, camera.far = 0.05, 100.0

    def _tall(self) -> float:
        """Height of the picture, units, at which it fits into every window."""
        windows = [client.camera.aspect for client in self._server.get_clients().values()]
        return min(1.0, 0.97 * min(windows, default=1.0) / self._aspect)

    def _front(self) -> None:
        """Look from the front; the window may have changed."""
        self._go_home(OVER if self._wanted.over else BESIDE)
        self._change({"tall": self._tall()})

    def _go_home(self, home: Home) -> None:
        position = np.array([0.0, 0.0, home.distance])
        self._server.initial_camera.position = position
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = (0.0, 1.0, 0.0)
                client.camera.position = position
                client.camera.look_at = np.zeros(3)
                client.camera.fov = FIELD

    def _build(self, frames: int, faces: Sequence[str], detail: bool, dark: bool) -> None:
        gui = self._server.gui
        gui.main_panel.dock_right()
        gui.main_panel.set_width(330)
        self._slider: Any = None
        if frames:
            self._play = gui.add_button("Play", icon=self._viser.Icon.PLAYER_PLAY_FILLED, hint="key: P")
            self._slider = gui.add_slider("Frame", 0, max(frames - 1, 1), 1, 0)
            speed = gui.add_button_group("Speed", tuple(_SPEEDS))
            steps = gui.add_button_group("Step", ("−10", "−1", "+1", "+10"))
            self._on(self._slider, lambda value: {"frame": int(value), "playing": False})
            self._on(speed, lambda value: {"speed": _SPEEDS[value]})
            self._on(
                steps, lambda value: {"frame": self._stepped(int(value.replace("−", "-")), frames), "playing": False}
            )
            self._play.on_click(lambda _: self.toggle())
            gui.add_command("Play or pause", hotkey="P").on_trigger(lambda _: self.toggle())
        self._status = gui.add_markdown("")
        choice = gui.add_dropdown("Face", tuple(faces), initial_value=faces[0], visible=len(faces) > 1)
        self._on(choice, lambda value: {"face": value})
        surface = gui.add_dropdown(
            "Surface", ("coarse", "detail", "texture") if detail else ("coarse",), initial_value="coarse"
        )
        self._on(surface, lambda value: {"surface": value})
        if self._pictures:
            where = gui.add_dropdown("Head", (_BESIDE, _OVER), initial_value=_BESIDE)
            opacity = gui.add_slider("Opacity", 0.1, 1.0, 0.05, 1.0, visible=False)
            self._on(opacity, lambda value: {"opacity": float(value)})

            def placed(value: str) -> dict:
                over = value == _OVER
                opacity.visible = over
                self._image.visible = not over
                self._go_home(OVER if over else BESIDE)
                return {"over": over, "tall": self._tall()}

            self._on(where, placed)
        gui.add_button("Camera to the front").on_click(lambda _: self._front())
        if self._copied is not None:
            gui.add_button("Copy parameters", icon=self._viser.Icon.COPY).on_click(lambda _: self._copy())
        shade = gui.add_checkbox("Dark", dark)
        shade.on_update(
            lambda _: gui.configure_theme(
                dark_mode=shade.value, show_logo=False, show_share_button=False, brand_color=(59, 130, 214)
            )
        )
        side = gui.add_panel()
        side.dock_left()
        side.set_width(400)
        self._image: Any = None
        with side.add_tab("Video and expression" if self._pictures else "Expression"):
            if self._pictures:
                blank = np.full((max(2, round(360 / self._aspect)), 360, 3), 40, np.uint8)
                self._image = gui.add_image(blank, format="jpeg", jpeg_quality=_QUALITY)
            self._bars = gui.add_html("")

    def toggle(self) -> None:
        """Play, or pause."""
        self._change({"playing": not self._wanted.playing})

    def _stepped(self, by: int, frames: int) -> int:
        return min(max(self._wanted.frame + by, 0), frames - 1)

    def _copy(self) -> None:
        assert self._copied is not None
        self._change({"playing": False})
        gui = self._server.gui
        with gui.add_modal("Parameters of this frame") as modal:
            gui.add_html("".join(copying(title, text) for title, text in self._copied()))
            gui.add_button("Close").on_click(lambda _: modal.close())

    def _on(self, handle: Any, changes: Callable[[Any], dict]) -> None:
        def changed(event: Any) -> None:
            if event.client_id is not None:  # else we have set it ourselves
                self._change(changes(handle.value))

        (handle.on_click if hasattr(handle, "on_click") else handle.on_update)(changed)

    def _change(self, changes: dict) -> None:
        with self._changed:
            self._wanted = replace(self._wanted, changes=self._wanted.changes + 1, **changes)
            if "frame" in changes and self._slider is not None:
                self._slider.value = changes["frame"]
            if "playing" in changes and self._slider is not None:
                icons = self._viser.Icon
                playing = changes["playing"]
                self._play.label = "Pause" if playing else "Play"
                self._play.icon = icons.PLAYER_PAUSE_FILLED if playing else icons.PLAYER_PLAY_FILLED
            self._changed.notify_all()


class _Alternating:
    """A glTF mesh that changes without blinking: the new one loads unseen, then the two change places."""

    def __init__(self, server: Any, name: str) -> None:
        self._server, self._name = server, name
        self._nodes: list[Any] = [None, None]
        self._loading: int | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def show(self, glb: bytes) -> None:
        """Show it soon: with the next one, or after `_SETTLE` seconds."""
        with self._lock:
            first = self._nodes[0] is None
            self._swap()
            number = 0 if first or (self._nodes[0] is not None and not self._nodes[0].visible) else 1
            node = self._nodes[number]
            if node is None:
                self._nodes[number] = self._server.scene.add_glb(
                    f"{self._name}/{number}", glb, visible=first, cast_shadow=False, receive_shadow=False
                )
            else:
                node.glb_data = glb
            self._loading = number
            self._later()

    def hide(self) -> None:
        """Show none."""
        with self._lock:
            self._loading = None
            for node in self._nodes:
                if node is not None:
                    node.visible = False

    def close(self) -> None:
        """No more changes."""
        with self._lock:
            self._loading = None
            if self._timer is not None:
                self._timer.cancel()

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(_SETTLE, self._settle)
        self._timer.daemon = True
        self._timer.start()

    def _settle(self) -> None:
        with self._lock:
            self._swap()
        self._server.flush()

    def _swap(self) -> None:
        if self._loading is None:
            return
        for number, node in enumerate(self._nodes):
            if node is not None:
                node.visible = number == self._loading
        self._loading = None


def _import_viser() -> Any:
    try:
        import viser
    except ImportError:
        raise ValueError("the viewer needs viser, which is not installed; pip install 'decatrack[view]'") from None
    return viser


def _check_port(host: str, port: int) -> None:
    """viser would take another port without a word."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"--port {port}: cannot be used ({reason}); choose another") from None
