"""Arrays of foreign files: npz and mat, never pickles."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import scipy.io


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of numbers or text by their names.

    Raises:
        ValueError: no such file, another format, damaged, or it holds pickled objects; one line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.suffix == ".mat":
        try:
            content = scipy.io.loadmat(path)
        except Exception as error:  # scipy raises almost anything for a damaged file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path}: cannot be read as .mat ({reason}); save it as version 7 or as .npz") from None
        return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}
    if path.suffix != ".npz":
        raise ValueError(f"{path}: must be .npz or .mat; pickles are not read, since they can run code")
    try:
        with open(path, "rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a bare array")
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise ValueError(f"{path}: holds pickled objects, which can run code; save plain arrays") from None
        raise ValueError(f"{path}: not an npz, or damaged") from None
