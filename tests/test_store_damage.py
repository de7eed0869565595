"""A store that is not what was written is refused, whichever of its files is at fault."""

import copy
import errno
import os
import pickle
import shutil

import numpy as np
import pytest
import zarr

from nbvae import (
    NBVAE,
    CountsError,
    Trainer,
    evaluation,
    expression,
    open_store,
    write_store,
)
from nbvae.data.store import write
from nbvae.data.store.cells import ABOUT, StoredCounts
from nbvae.module import evaluating


@pytest.fixture
def store(small, tmp_path):
    small.obs["depth"] = np.arange(53.0)
    return write_store(tmp_path / "cells.zarr", small)


def model(adata):
    return NBVAE.for_counts(adata, 2, n_hidden=16, seed=0)


# ---------------------------------------------------------------- damage


def files_of(store):
    """One of each kind: the numbers, codes and words of tables, sums, and what describes them."""
    names = {file.relative_to(store.path) for file in store.path.rglob("*") if file.is_file()}
    assert len(names) > 30
    return sorted(store.path / name for name in names if len(name.parts) > 1)


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_each_file_of_a_store_counts(store, fault):
    """Else all cells would be of the first group, or θ start elsewhere: zarr reads zeros."""
    for file in files_of(store):
        content = file.read_bytes()
        file.unlink()
        if fault == "changed":
            other = bytearray(content)
            other[len(other) // 2] ^= 1
            file.write_bytes(other)
        with pytest.raises(CountsError, match="damaged"):
            open_store(store.path)[:]
        file.write_bytes(content)
    assert open_store(store.path)[:].n_obs == 53


def test_what_others_leave_in_the_folder_is_no_damage(store):
    """Else a file manager would break a store by looking at it."""
    (store.path / "obs" / ".DS_Store").write_bytes(b"icons")
    assert open_store(store.path).n_obs == 53


def test_a_store_of_another_version_says_so(store):
    """Else it would seem to be damaged, and be written again for nothing."""
    group = zarr.open_group(store.path, mode="r+")
    group.attrs[ABOUT] = {**group.attrs[ABOUT], "format": "nbvae store 9"}
    shutil.rmtree(store.path / "uns")  # it may be another layout, too
    with pytest.raises(CountsError, match=r"'nbvae store 9'.*with the version that wrote it"):
        open_store(store.path)


def test_a_store_may_be_opened_from_a_folder_that_is_left(store, monkeypatch):
    """Else its counts would be sought in another place after os.chdir."""
    monkeypatch.chdir(store.path.parent)
    opened = open_store("cells.zarr")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(opened[:].X.toarray(), store[:].X.toarray())


def test_a_store_that_was_moved_is_named_as_such(store):
    """Else a reader would write it again, for hours."""
    store.path.rename(store.path.with_name("other.zarr"))
    with pytest.raises(CountsError, match="no longer where it was opened"):
        store[:]


def test_a_store_that_was_replaced_while_it_is_open_is_noticed(small, store, tmp_path):
    """Else a cell would get half of its counts from another: as many are stored, elsewhere."""
    other = write_store(tmp_path / "other.zarr", small, seed=1)
    shutil.rmtree(store.path)
    other.path.rename(store.path)
    with pytest.raises(CountsError, match="cells begin in other places"):
        store[:]


# ---------------------------------------------------------------- as an AnnData


def test_a_store_is_not_cut_in_place(store):
    """Else cells would get the counts of others: those on the disk stay."""
    for cut in (store._inplace_subset_obs, store._inplace_subset_var):
        with pytest.raises(CountsError, match="write another store"):
            cut(np.array([4, 2, 0]))
    with pytest.raises(CountsError, match="stay there"):
        store.X = np.ones((53, 12))
    assert store.shape == (53, 12)


def test_it_is_not_written_without_its_counts(store, tmp_path):
    """Else a file would be kept in which the counts are missing, and the store deleted."""
    for written in (store.write_h5ad, store.write, store.write_zarr):
        with pytest.raises(CountsError, match=r"store\[:\]"):
            written(tmp_path / "x")
    with pytest.raises(CountsError, match=r"store\[:\]"):
        _ = store.T
    assert not (tmp_path / "x").exists()


def test_copies_are_stores_and_memory_has_the_counts(store):
    """Else a habit, adata.copy() or to_memory(), would leave cells without counts."""
    expected = evaluation.elbo(model(store), store)
    for same in (store.copy(), copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert evaluation.elbo(model(same), same) == expected
    one = store.copy()
    one.obs["depth"] = 0
    assert store.obs["depth"].sum() > 0
    np.testing.assert_array_equal(store.to_memory().X.toarray(), store[:].X.toarray())


def test_parameters_of_all_cells_are_not_made_in_memory(store):
    """Else a machine would run out of memory; some cells are what is asked for."""
    with pytest.raises(ValueError, match=r"53 × 12 numbers"):
        expression.likelihood_parameters(model(store), store)
    some = expression.likelihood_parameters(model(store), store, indices=[4, 0])
    assert some.mean.shape == (2, 12)


# ---------------------------------------------------------------- writing


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_and_nothing_is_left(small, tmp_path, monkeypatch):
    """Else a reader would not know which disk, nor that there is nothing to remove."""
    monkeypatch.setattr(write, "_gather", full)
    with pytest.raises(OSError, match=r"The disk is full.*s\.zarr"):
        write_store(tmp_path / "s.zarr", small)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_left_is_pointed_at(small, tmp_path, caplog):
    """Else half an atlas would take room on the disk for ever."""
    (tmp_path / "s.zarr.123.part").mkdir()
    write_store(tmp_path / "s.zarr", small)
    assert "'s.zarr.123.part' is what an interrupted write left" in caplog.text


def test_two_writers_of_one_store_do_not_mix(small, tmp_path, monkeypatch):
    """Else the slower one would fail in words of the operating system."""
    scatter = write._scatter

    def overtaken(*arguments):
        (tmp_path / "s.zarr").mkdir()
        return scatter(*arguments)

    monkeypatch.setattr(write, "_scatter", overtaken)
    with pytest.raises(FileExistsError, match="There is already"):
        write_store(tmp_path / "s.zarr", small)
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize("path", [3, None])
def test_what_is_no_path_is_refused(small, path):
    """Else pathlib's own error would come."""
    with pytest.raises(TypeError, match="path is that of a new folder"):
        write_store(path, small)


# ---------------------------------------------------------------- results in a file


def test_an_interrupted_result_is_not_there(store, tmp_path, monkeypatch):
    """Else zeros would be taken for the latent state of the cells that are missing."""
    monkeypatch.setattr(evaluating, "BATCH_SIZE", 16)
    read = StoredCounts.__getitem__

    def interrupted(self, rows):
        if 40 in rows:
            raise KeyboardInterrupt
        return read(self, rows)

    monkeypatch.setattr("nbvae.data.order.WINDOW", 16)
    monkeypatch.setattr(StoredCounts, "__getitem__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluation.encode(model(store), store, out=tmp_path / "latent.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.zarr"]


def test_a_result_does_not_change_with_the_file(store, tmp_path):
    """Else what an earlier model said would be overwritten in memory by a later one."""
    file = tmp_path / "latent.npy"
    module = model(store)
    first = evaluation.encode(module, store, out=file)
    before = np.array(first.mean)
    Trainer(max_epochs=1, device="cpu").fit(module, store)
    assert not np.array_equal(evaluation.encode(module, store, out=file).mean, before)
    np.testing.assert_array_equal(first.mean, before)
    first.mean[:] = 0  # may be changed, in memory
    assert np.load(file).any()


def test_a_result_has_its_rows_in_place_whatever_the_pieces(store, tmp_path, monkeypatch):
    """Else the second table of a file, the standard deviations, would begin within the first."""
    module, expected = model(store), evaluation.encode(model(store), store)
    monkeypatch.setattr(evaluating, "BATCH_SIZE", 7)
    evaluation.encode(module, store, out=tmp_path / "latent.npy")
    np.testing.assert_allclose(np.load(tmp_path / "latent.npy"), np.stack(expected), rtol=1e-5)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux that is always full")
def test_a_full_disk_ends_a_result_with_an_error(store, tmp_path, monkeypatch):
    """Else Python would end without a word: memory that is mapped to a file can't be written."""
    monkeypatch.setattr("os.getpid", lambda: "full")
    (tmp_path / "latent.npy.full.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"The disk is full.*latent\.npy"):
        evaluation.encode(model(store), store, out=tmp_path / "latent.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.zarr"]


@pytest.mark.parametrize(
    ("out", "error"), [(3, TypeError), (".", IsADirectoryError), ("no/z.npy", FileNotFoundError)]
)
def test_where_no_result_can_go_is_said_before_it_is_computed(store, monkeypatch, out, error):
    """Else hours would go into what can't be written."""
    monkeypatch.setattr(StoredCounts, "__getitem__", None)  # never reached
    with pytest.raises(error):
        evaluation.encode(model(store), store, out=out)
