"""Files of weights: whole or not there, what was written or refused, and never executed."""

import collections
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from nbvae import files
from nbvae.files import CheckpointError

FORM = "nbvae test 2"


def content():
    """Of each kind of thing that is kept, one."""
    generator = torch.Generator().manual_seed(0)
    return {
        "format": FORM,
        "weights": {
            "by_row": torch.randn(40, 30, generator=generator),
            "by_column": torch.randn(30, 40, generator=generator).T,
            "whole": torch.arange(9),
            "one": torch.tensor(2.5, dtype=torch.float64),
            "none": torch.zeros(0, 3),
            "mask": torch.tensor([True, False]),
        },
        "rows": [(1, 0.1, float("inf")), (2, 1e-300, -0.0)],
        "settings": {"name": "é", "fraction": 0.1, "steps": 10**15, "bar": None, "fast": True},
        "state": {0: {"step": torch.tensor(3.0)}, 1: []},
    }


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and all(map(same, one, other)) and len(one) == len(other)
    return type(one) is type(other) and repr(one) == repr(other)


def read(path):
    return files.read(path, FORM, "the test")


@pytest.fixture
def path(tmp_path):
    files.write_atomically(tmp_path / "model.pt", content())
    return tmp_path / "model.pt"


# ---------------------------------------------------------------- what comes back


def test_what_is_read_is_what_was_written(path):
    """Else a model would come back as another one."""
    assert same(read(path), content())


def test_pytorch_reads_the_files_too(path):
    """Else weights could only be had through this package."""
    assert same(torch.load(path, weights_only=True), content())


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (np.float64(0.01), 0.01),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.str_("donor 1"), "donor 1"),
        ([np.int64(1), (np.str_("a"), np.float64(2))], [1, ("a", 2.0)]),
        ({np.str_("a"): {np.int64(1): np.bool_(False)}}, {"a": {1: False}}),
        (collections.OrderedDict(a=1), {"a": 1}),
    ],
)
def test_values_of_numpy_come_back_as_python_s(tmp_path, value, back):
    """Else a file would be written without a word, and be "damaged" when it is needed."""
    files.write_atomically(tmp_path / "model.pt", {"format": FORM, "value": value})
    assert same(read(tmp_path / "model.pt")["value"], back)


def test_parameters_and_views_come_back_as_tensors(tmp_path):
    """Else a view of one row would bring the whole matrix, and a parameter its gradient."""
    matrix = torch.nn.Parameter(torch.ones(1000, 1000))
    files.write_atomically(tmp_path / "a.pt", {"format": FORM, "row": matrix[0], "all": matrix[:2]})
    back = read(tmp_path / "a.pt")
    assert type(back["row"]) is torch.Tensor and not back["row"].requires_grad
    assert (tmp_path / "a.pt").stat().st_size < 20_000


@pytest.mark.parametrize(
    "value", [np.ones(3), {1, 2}, object(), b"bytes", 1j, Path("a"), torch.ones(2).to_sparse()]
)
def test_what_could_not_be_read_is_not_written(path, value):
    """Else the file would replace a good one and be of no use."""
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"content\['settings'\]\['x'\]\[1\] is a \w+: a file of"):
        files.write_atomically(path, {"format": FORM, "settings": {"x": [1, value]}})
    assert path.read_bytes() == before


# ---------------------------------------------------------------- damage


def test_any_flipped_byte_is_noticed(path, seed):
    """Else a bad disk or a bad copy would change a weight, and nobody would know."""
    data = path.read_bytes()
    rng = np.random.default_rng(seed)
    first = data.index(content()["weights"]["by_row"].numpy().tobytes())
    places = [*rng.integers(len(data), size=50), *(first + rng.integers(4800, size=20))]
    for place in [*places, 0, len(data) - 1, len(data) - 33, len(data) - 34]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"model\.pt' is damaged"):
            read(path)


def test_any_cut_or_added_byte_is_noticed(path, seed):
    """Else half a file, or two in one, would be taken for one."""
    data = path.read_bytes()
    rng = np.random.default_rng(seed)
    for length in [0, 1, 31, 32, 33, len(data) - 1, *rng.integers(len(data), size=20)]:
        for wrong in (data[:length], data + data[:length], data[:length] + b"\0" + data[length:]):
            if wrong != data:
                path.write_bytes(wrong)
                with pytest.raises(CheckpointError, match="damaged"):
                    read(path)


def test_a_file_that_was_changed_and_saved_again_is_refused(path):
    """Else weights that nobody trained would pass for trained ones."""
    changed = torch.load(path, weights_only=True)
    changed["weights"]["by_row"][0, 0] += 1
    torch.save(changed, path)
    with pytest.raises(CheckpointError, match="damaged"):
        read(path)


class Payload:
    """Unpickling it creates a file: what a malicious file could do, but harmless."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def with_digest(stored):
    """What the package itself would write, if it wrote such a thing."""
    archive = stored[:-2] + files.COMMENT
    return archive + files.hashlib.sha256(archive).digest()


def test_no_code_in_a_file_is_executed(path, tmp_path):
    """Else opening a stranger's file would run the stranger's program."""
    proof = tmp_path / "executed"
    bomb = content() | {"stopped": Payload(proof)}
    stored = io.BytesIO()
    torch.save(bomb, stored)
    legacy = io.BytesIO()
    torch.save(bomb, legacy, _use_new_zipfile_serialization=False)
    for data in (stored.getvalue(), legacy.getvalue(), pickle.dumps(bomb)):
        for file in (data, with_digest(data)):
            path.write_bytes(file)
            with pytest.raises(CheckpointError, match="damaged"):
                read(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists(), "the payload is harmless, so this test proves nothing"


# ---------------------------------------------------------------- other files, other places


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("nbvae test 1", "not written by the test of this version: it has format 1, .* reads 2"),
        ("nbvae test 3", "not written by the test of this version: it has format 3, .* reads 2"),
        ("nbvae other 2", r"not written by the test of this version\."),
        (2, r"not written by the test of this version\."),
    ],
)
@pytest.mark.parametrize("write", [files.write_atomically, lambda path, c: torch.save(c, path)])
def test_a_file_of_another_kind_or_version_is_named(tmp_path, form, words, write):
    """Else a file of last year would be "damaged", and its owner would look for a bad disk."""
    write(tmp_path / "a.pt", {"format": form})
    with pytest.raises(CheckpointError, match=words):
        read(tmp_path / "a.pt")


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    """Else a slip in the path would be called a damaged file."""
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.pt"):
        read(tmp_path / "nowhere.pt")
    with pytest.raises(TypeError, match="a string or a Path, not 3"):
        read(3)


def denied(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_a_file_without_permission_is_not_damaged(path, monkeypatch):
    """Else somebody would delete a good file that only the colleague may read."""
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(PermissionError, match=r"model\.pt' can't be read: you lack"):
        read(path)


@pytest.mark.parametrize("check", [files.check_writable, lambda p: files.write_atomically(p, {})])
def test_a_place_that_cannot_be_written_is_named(tmp_path, path, monkeypatch, check):
    """Else the first epoch's weights would be lost to a slip in the path."""
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing"):
        check(tmp_path / "missing" / "run.pt")
    with pytest.raises(FileNotFoundError, match=r"no folder .*model\.pt"):
        check(path / "run.pt")
    for wrong in (None, 3, True, b"run.pt"):
        with pytest.raises(TypeError, match="a string or a Path"):
            check(wrong)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(PermissionError, match=r"can't be written"):
        patch.setattr(Path, "write_bytes", denied)
        check(path)
    with monkeypatch.context() as patch, pytest.raises(PermissionError, match=r"can't be written"):
        patch.setattr(os, "access", lambda *_: False)
        check(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_checking_leaves_no_trace(tmp_path, path):
    """Else the check would do what it is there to prevent."""
    before = path.read_bytes()
    files.check_writable(path)
    files.check_writable(str(tmp_path / "new.pt"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path, path):
    """Else a file on a larger disk would be replaced by one on this disk."""
    link = tmp_path / "link.pt"
    link.symlink_to(path)
    files.write_atomically(link, content() | {"new": 1})
    assert link.is_symlink() and read(path)["new"] == 1
