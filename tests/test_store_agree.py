"""Several sources are one table only where their genes, cells and columns mean the same."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from nbvae import CountsError, write_store
from nbvae.data.store import sources


def parts(small, first=None, second=None):
    """Two tables of other cells and the same genes; each with these columns of var."""
    one, other = small[:30].copy(), small[30:].copy()
    one.var, other.var = one.var.assign(**first or {}), other.var.assign(**second or {})
    return one, other


# ---------------------------------------------------------------- genes


def test_a_name_that_is_two_genes_is_left_out(small, tmp_path, caplog):
    """Else counts of two genes would stand under one name: each table numbers its own second."""
    one, other = parts(small)
    one.var_names = ["TBCE", "TBCE-1", *one.var_names[2:]]
    other = other[:, [1, 0, *range(2, 12)]].copy()
    other.var_names = ["TBCE", "TBCE-1", *other.var_names[2:]]
    other = other[:, [0, *range(2, 12), 1]].copy()  # no longer in the same order
    store = write_store(tmp_path / "s.zarr", [one, other])
    assert list(store.var_names) == list(small.var_names[2:])
    assert "2 names that may be another gene in each source" in caplog.text
    with pytest.raises(CountsError, match=r"another gene in each source.*'TBCE-1'"):
        write_store(tmp_path / "t.zarr", [one, other], genes=["GENE3", "TBCE-1"])


def test_tables_of_one_reference_keep_such_names(small, tmp_path):
    """Else each pair of 10x files would lose a dozen genes."""
    one, other = parts(small)
    one.var_names = other.var_names = ["TBCE", "TBCE.1", *one.var_names[2:]]
    assert write_store(tmp_path / "s.zarr", [one, other]).n_vars == 12


def test_identifiers_decide_where_all_sources_have_them(small, tmp_path, caplog):
    """Else a name that an annotation gave to another gene would be taken for the same."""
    ids = [f"ENSG{i}" for i in range(12)]
    others = [f"{i}.7" for i in ids]  # another version of the same gene
    others[4], others[5] = others[5], others[4]
    one, other = parts(small, {"gene_ids": ids}, {"gene_ids": others})
    store = write_store(tmp_path / "s.zarr", [one, other[:, ::-1].copy()])
    assert list(store.var_names) == [f"GENE{i}" for i in range(12) if i not in (4, 5)]
    assert "'GENE4', 'GENE5'" in caplog.text
    assert list(store.var["gene_ids"]) == [i for i in ids if i not in ("ENSG4", "ENSG5")]


# ---------------------------------------------------------------- what is known of cells


def test_files_of_one_name_are_told_apart(small, tmp_path):
    """Else all runs of Cell Ranger, each in a folder of its own, would be one batch."""
    paths = []
    for run, some in (("a", small[:20]), ("b", small[20:])):
        (tmp_path / run / "outs").mkdir(parents=True)
        paths.append(tmp_path / run / "outs" / "counts.h5ad")
        some.copy().write_h5ad(paths[-1])
    store = write_store(tmp_path / "s.zarr", paths)
    assert dict(store.obs["source"].value_counts()) == {
        "a/outs/counts.h5ad": 20,
        "b/outs/counts.h5ad": 33,
    }


def test_a_file_that_is_named_twice_is_refused(small, tmp_path):
    """Else each of its cells would count twice, held out and trained on."""
    small.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "b.h5ad").symlink_to(tmp_path / "a.h5ad")
    with pytest.raises(CountsError, match=r"b\.h5ad' twice"):
        write_store(tmp_path / "s.zarr", [tmp_path / "a.h5ad", tmp_path / "b.h5ad"])


def test_a_column_called_source_stays(small, tmp_path, caplog):
    """Else the tissue would be replaced by the name of a file."""
    small.obs["source"] = np.where(np.arange(53) < 30, "lung", "liver")
    store = write_store(tmp_path / "s.zarr", [small[:40].copy(), small[40:].copy()])
    assert dict(store.obs["source"].value_counts()) == {"lung": 30, "liver": 23}
    assert dict(store.obs["source_file"].value_counts()) == {"sources[0]": 40, "sources[1]": 13}
    assert "'source_file'" in caplog.text


def test_a_donor_is_one_however_each_source_stores_it(small, tmp_path):
    """Else donor 1 would be three: 1, 1.0 and "1"."""
    tables = [small[:20].copy(), small[20:40].copy(), small[40:].copy()]
    for table, donor in zip(tables, (1, 1.0, "1"), strict=True):
        table.obs["donor"] = donor
    assert list(write_store(tmp_path / "s.zarr", tables).obs["donor"].cat.categories) == ["1"]


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2024-01-31"] * 53),
        pd.to_timedelta(np.arange(53), unit="h"),
        pd.period_range("2024-01", periods=53, freq="D"),
        pd.cut(np.arange(53), 3),
        pd.Categorical(pd.to_datetime(["2024-01-31"] * 53)),
    ],
    ids=["dates", "spans", "periods", "intervals", "categories of dates"],
)
def test_what_no_file_holds_becomes_words(small, tmp_path, values):
    """Else AnnData would refuse the table after all counts were written."""
    small.obs["when"] = values
    store = write_store(tmp_path / "s.zarr", small)
    expected = small.obs["when"].astype(str).str.removesuffix(" 00:00:00")
    ours = store.obs.loc[small.obs_names, "when"].astype(str).str.removesuffix(" 00:00:00")
    assert list(ours) == list(expected)


@pytest.mark.parametrize("name", [0, "a/b", "_index"])
@pytest.mark.parametrize("what", ["obs", "var"])
def test_a_column_that_no_file_can_have_is_named_at_once(small, tmp_path, what, name):
    """Else hours would be lost to the name of a column."""
    setattr(small, what, getattr(small, what).assign(**{"x": 1.5}).rename(columns={"x": name}))
    with pytest.raises(CountsError, match=rf"the column {name!r} of {what} .*drop\(columns="):
        write_store(tmp_path / "s.zarr", small)
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_occurs_twice_is_named(small, tmp_path):
    """Else pandas would fail on two columns in the place of one."""
    small.obs = pd.concat([small.obs, small.obs], axis=1)
    with pytest.raises(CountsError, match="'group' of obs occurs twice"):
        write_store(tmp_path / "s.zarr", small)


def test_names_of_cells_may_be_called_as_a_column(small, tmp_path):
    """Else AnnData would refuse the table at the end."""
    small.obs["barcode"] = np.arange(53)
    small.obs.index.name = "barcode"
    store = write_store(tmp_path / "s.zarr", small)
    assert list(store.obs.loc[small.obs_names, "barcode"]) == list(range(53))


def test_tables_are_written_before_hours_go_into_counts(small, tmp_path, monkeypatch):
    """Else what AnnData can't write would be found at the end."""
    small.obs["odd"] = pd.arrays.SparseArray(np.zeros(53))
    monkeypatch.setattr("nbvae.data.store.write._scatter", None)  # never reached
    with pytest.raises(CountsError, match=r"obs can't be written.*astype\(str\)"):
        write_store(tmp_path / "s.zarr", small)


# ---------------------------------------------------------------- files


def test_a_source_in_memory_is_named(small, tmp_path):
    """Else a reader with twenty tables would have to look for the one at fault."""
    other = small.copy()
    other.X.data[4] = -1
    with pytest.raises(CountsError, match=r"In sources\[1\]: X does not hold raw counts"):
        write_store(tmp_path / "s.zarr", [small, other])
    with pytest.raises(CountsError, match=r"In sources\[1\]: X has 0 cells"):
        write_store(tmp_path / "s.zarr", [small, small[:0]])
    small.layers["counts"] = small.X.copy()
    with pytest.raises(KeyError, match=r"In sources\[1\]: There is no layer 'counts'"):
        write_store(tmp_path / "s.zarr", [small, other], layer="counts")


def test_a_file_without_cells_is_named(small, tmp_path):
    """Else a filter that left nothing would go unnoticed."""
    small[:0].copy().write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(CountsError, match=r"none\.h5ad has no cells"):
        write_store(tmp_path / "s.zarr", [small, tmp_path / "none.h5ad"])


@pytest.mark.parametrize("form", ["sparse", "dense"])
@pytest.mark.parametrize("shape", ["one cell more", "one gene more"])
def test_counts_of_cells_that_have_no_name_are_refused(small, tmp_path, form, shape):
    """Else the last cells, or genes, of a damaged file would be left out without a word."""
    ones = np.ones((54, 12) if shape == "one cell more" else (53, 13), np.float32)
    small.write_h5ad(tmp_path / "a.h5ad")
    AnnData(sparse.csr_matrix(ones) if form == "sparse" else ones).write_h5ad(tmp_path / "b.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as a, h5py.File(tmp_path / "b.h5ad") as b:
        del a["X"]
        b.copy("X", a)
    with pytest.raises(CountsError, match=r"a\.h5ad' could not be read"):
        write_store(tmp_path / "s.zarr", tmp_path / "a.h5ad")


def test_a_position_beyond_all_genes_is_not_another_gene(small, tmp_path):
    """Else 2³² + 3 would be cut to 3."""
    small.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        positions = file["X/indices"][:].astype(np.int64)
        positions[2] += 2**32
        del file["X/indices"]
        file["X/indices"] = positions
    with pytest.raises(CountsError, match=r"a\.h5ad' could not be read"):
        write_store(tmp_path / "s.zarr", tmp_path / "a.h5ad")


def test_a_file_that_was_refused_can_be_written_again(small, tmp_path):
    """Else the way out of the error would fail: HDF5 does not write a file that is open."""
    path = tmp_path / "a.h5ad"
    AnnData(small.X.tocsc(), obs=small.obs, var=small.var).write_h5ad(path)
    with pytest.raises(CountsError, match=r"tocsr\(\)") as error:
        write_store(tmp_path / "s.zarr", path)
    small.write_h5ad(path)
    assert write_store(tmp_path / "s.zarr", path).n_obs == 53
    assert error.traceback  # what a notebook keeps, with all that was open


def test_many_files_are_not_open_together(small, tmp_path):
    """Else a thousand files would be more than a process may open."""
    resource = pytest.importorskip("resource")
    paths = [tmp_path / f"{i}.h5ad" for i in range(5)]
    for i, path in enumerate(paths):
        small[i * 10 : i * 10 + 10].copy().write_h5ad(path)
    opened = [sources.open_source(p, p.name, layer=None, genome=None) for p in paths]
    assert len(opened) == 5
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = len(list(Path("/dev/fd").iterdir())) + 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        cells = sum(counts.shape[0] for s in opened for _, counts in s.pieces())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert cells == 50


def test_values_that_are_nearly_whole_are_told_once(small, tmp_path, monkeypatch):
    """Else an atlas would warn ten thousand times."""
    monkeypatch.setattr(sources, "ENTRIES_AT_A_TIME", 60)
    small.X = small.X.astype(np.float64)
    small.X.data += 1e-5
    small.write_h5ad(tmp_path / "a.h5ad")
    with pytest.warns(UserWarning, match="not quite whole") as said:
        write_store(tmp_path / "s.zarr", tmp_path / "a.h5ad")
    told = [str(one.message) for one in said if "not quite whole" in str(one.message)]
    assert len(told) == 1 and "In a.h5ad, rows from 0 on" in told[0]
