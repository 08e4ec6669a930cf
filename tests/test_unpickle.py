"""Pickles of arrays are read, of all ages; whatever else a pickle wants is refused by name and does not run."""

import collections
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from flame_files import chumpy

from model.io.unpickle import read_npy, read_pickle


def written(path: Path, value, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = {
        "a": np.arange(6.0).reshape(2, 3),
        "i": np.arange(3, dtype=np.uint32),
        "scalar": np.float64(2.5),
        "text": "lbs",
        "list": [1, (2, "x")],
        "order": collections.OrderedDict(k=np.ones(2)),
        "empty": b"",
        "bytes": b"\x00\xff",
    }
    if protocol == 5:  # NumPy writes arrays of protocol 5 by functions of its own, which FLAME's files do not need
        del value["a"], value["i"], value["order"]
    read = read_pickle(written(tmp_path / "a.pkl", value, protocol))
    assert list(read) == list(value)
    for key in ("a", "i"):
        if key in value:
            np.testing.assert_array_equal(read[key], value[key])
    assert read["scalar"] == 2.5 and read["list"] == [1, (2, "x")] and read["bytes"] == b"\x00\xff"


@pytest.mark.parametrize("make", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("protocol", [0, 2])
def test_sparse_matrices(tmp_path: Path, make, protocol: int) -> None:
    dense = np.eye(4)[[2, 0, 1]] * 3
    read = read_pickle(written(tmp_path / "s.pkl", make(dense), protocol))
    np.testing.assert_array_equal(read.toarray(), dense)


def test_old_module_names(tmp_path: Path) -> None:
    text = pickle.dumps({"m": scipy.sparse.csc_matrix(np.eye(2)), "a": np.ones(3)}, protocol=0)
    old = text.replace(b"scipy.sparse._csc\n", b"scipy.sparse.csc\n").replace(b"copyreg\n", b"copy_reg\n")
    old = old.replace(b"c__builtin__\n", b"c__builtin__\n").replace(b"numpy._core", b"numpy.core")
    assert old != text
    (tmp_path / "old.pkl").write_bytes(old)
    np.testing.assert_array_equal(read_pickle(tmp_path / "old.pkl")["m"].toarray(), np.eye(2))


@pytest.mark.parametrize("protocol", [0, 2])
def test_chumpy_without_chumpy(tmp_path: Path, protocol: int) -> None:
    with chumpy() as ch:
        path = written(tmp_path / "c.pkl", {"v": ch(np.arange(4.0)), "nested": [ch(ch(np.ones(2)))]}, protocol)
    read = read_pickle(path)
    np.testing.assert_array_equal(read["v"], np.arange(4.0))
    np.testing.assert_array_equal(read["nested"][0], np.ones(2))


def test_object_array_with_tensors(tmp_path: Path) -> None:
    tensor = torch.arange(12).reshape(3, 4)
    np.save(tmp_path / "o.npy", np.array({"t": tensor[:, 1:3], "a": np.ones(2)}, dtype=object), allow_pickle=True)
    read = read_npy(tmp_path / "o.npy")
    np.testing.assert_array_equal(read["t"], tensor[:, 1:3].numpy())
    np.save(tmp_path / "plain.npy", np.ones((2, 2)))
    assert read_npy(tmp_path / "plain.npy").shape == (2, 2)


class Command:
    """What `os.system` looks like in a pickle."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused(tmp_path: Path, protocol: int) -> None:
    import os

    path = written(tmp_path / "evil.pkl", {"v": Command(os.system, f"touch {tmp_path / 'made'}")}, protocol)
    with pytest.raises(ValueError, match=r"evil\.pkl: this pickle wants (posix|nt)\.system") as error:
        read_pickle(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()
    pickle.loads(path.read_bytes())  # the test would notice
    assert (tmp_path / "made").exists()


def test_a_command_inside_an_npy_or_a_tensor_is_refused(tmp_path: Path) -> None:
    import os

    command = Command(os.system, f"touch {tmp_path / 'made'}")
    np.save(tmp_path / "evil.npy", np.array({"a": command}, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="system"):
        read_npy(tmp_path / "evil.npy")
    inner = pickle.dumps(command)
    outer = Command(torch.storage._load_from_bytes, inner)
    with pytest.raises(ValueError, match="damaged pickle"):
        read_pickle(written(tmp_path / "tensor.pkl", outer))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"ctorch\nload\n(S'x'\ntR.",
        b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'x'\ntR.",
        b"ccopyreg\n_reconstructor\n(cnumpy\nndarray\nc__builtin__\nobject\nNtR.",  # only for the stubs
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"P1\n.",  # storage outside of the file
        b"not a pickle",
        b"",
    ],
)
def test_other_programs_are_refused(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "p.pkl").write_bytes(program)
    with pytest.raises(ValueError, match=r"p\.pkl: (this pickle|damaged pickle)"):
        read_pickle(tmp_path / "p.pkl")


def test_what_a_program_sets_on_a_class_does_not_outlive_it(tmp_path: Path) -> None:
    # BUILD on the class itself: class.state = {...}
    (tmp_path / "p.pkl").write_bytes(b"(cchumpy.ch\nCh\n(N(dS'state'\n(dS'x'\nI7\nssttbl.")
    with pytest.raises(ValueError):
        read_pickle(tmp_path / "p.pkl")
    with chumpy() as ch:
        path = written(tmp_path / "c.pkl", ch(np.ones(2)))
    np.testing.assert_array_equal(read_pickle(path), np.ones(2))


def test_not_an_npy(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"x\.npy: not an \.npy file"):
        read_npy(tmp_path / "x.npy")
