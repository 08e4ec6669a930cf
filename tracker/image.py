"""Photographs in and out, and the resampling of pictures: with `tracker.video` the only user of cv2 here."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_SUFFIXES = {".png": [], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95]}


def read_image(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Read a photograph as RGB, upright (its EXIF orientation applied), transparency dropped.

    Raises:
        ValueError: there is no such file, or it is not a picture.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError(f"{path}: not a picture that can be read; give a JPEG or PNG file")
    return np.ascontiguousarray(image[..., ::-1])


def decode_image(data: bytes, *, grey: bool = False) -> UInt8[np.ndarray, "H W *C"]:
    """Decode a picture that lies in memory: RGB (H, W, 3), upright; `grey` gives its brightness (H, W).

    Raises:
        ValueError: damaged, or no picture.
    """
    flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if image is None:
        raise ValueError("damaged, or not a picture that can be read")
    return image if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_image(path: str | Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture as PNG or JPEG (quality 95), by the suffix; a failure leaves no half file behind.

    Raises:
        ValueError: unknown suffix, or the folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{path}: cannot write a picture as '{path.suffix}'; use .png or .jpg")
    data = encode_image(image, path.suffix.lower())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ValueError(f"{path}: cannot be written ({error.strerror})") from None


def encode_image(image: UInt8[np.ndarray, "H W *C"], suffix: str = ".png") -> bytes:
    """An RGB or grey picture as the bytes of a ``.png`` or ``.jpg`` file."""
    ok, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, _SUFFIXES[suffix])
    assert ok
    return data.tobytes()


def warp(
    image: UInt8[np.ndarray, "H W *C"],
    T_out_from_image: Float[np.ndarray, "2 3"],
    size: tuple[int, int],
    *,
    border: str = "zero",
    smooth: bool = True,
    cubic: bool = False,
) -> UInt8[np.ndarray, "h w *C"]:
    """Resample a picture by an affine map.

    Args:
        image: the picture, any number of channels.
        T_out_from_image: image pixels to output pixels; both have their origin at the *corner* of the first pixel.
        size: width, height of the output, px.
        border: what lies outside the picture: ``zero``, ``edge`` (nearest pixel) or ``reflect``.
        smooth: halve the part of the picture that is shown (box filter) as long as the map shrinks it by more than
            two, so that nothing aliases; False is plain bilinear sampling.
        cubic: interpolate with cubics, not linearly: for pictures that are enlarged and looked at.
    """
    modes = {"zero": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101}
    T = np.vstack([np.asarray(T_out_from_image, np.float64), [0.0, 0.0, 1.0]])
    scale = np.sqrt(abs(np.linalg.det(T[:2, :2])))
    if smooth and scale <= 0.5:
        image, T = _shrink(image, T, size, scale)
    # cv2 counts from pixel centres: (0, 0) is the centre of the first pixel, which is (0.5, 0.5) here.
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    M = (np.linalg.inv(half) @ T @ half)[:2]
    flags = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    return cv2.warpAffine(image, M, size, flags=flags, borderMode=modes[border])


def _shrink(image: np.ndarray, T: np.ndarray, size: tuple[int, int], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut out what the map shows and shrink it by a whole factor, and change the map accordingly."""
    factor = int(1.0 / scale)
    height, width = image.shape[:2]
    corners = np.array([[0, 0, 1], [size[0], 0, 1], [0, size[1], 1], [size[0], size[1], 1]], np.float64)
    shown = corners @ np.linalg.inv(T).T
    low = np.floor(shown[:, :2].min(axis=0) / factor).astype(int) * factor - factor
    high = np.ceil(shown[:, :2].max(axis=0) / factor).astype(int) * factor + factor
    x0, y0 = max(low[0], 0), max(low[1], 0)
    x1, y1 = min(high[0], width), min(high[1], height)
    w, h = (x1 - x0) // factor, (y1 - y0) // factor
    if w < 2 or h < 2:
        return image, T
    part = image[y0 : y0 + h * factor, x0 : x0 + w * factor]
    part = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA)
    T_image_from_part = np.array([[factor, 0.0, x0], [0.0, factor, y0], [0.0, 0.0, 1.0]])
    return part, T @ T_image_from_part


def resize(image: UInt8[np.ndarray, "H W *C"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w *C"]:
    """Resize to (width, height): by pixel area where it shrinks, bilinear where it grows."""
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
