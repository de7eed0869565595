"""Writing a store: from every kind of file, in pieces, whole or not at all."""

import importlib
import logging
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from nbvae import CountsError, datasets, open_store, write_store
from nbvae.data.store import engine, shuffle, sources, write


@pytest.fixture(params=["whole", "in pieces"])
def size(request, monkeypatch):
    """Once as it is, once so small that each step has several turns."""
    if request.param == "in pieces":
        monkeypatch.setattr(sources, "ENTRIES_AT_A_TIME", 60)
        monkeypatch.setattr(shuffle, "ENTRIES_IN_A_BOX", 100)
        monkeypatch.setattr(engine, "CHUNK", 16)
        monkeypatch.setattr(engine, "SHARD", 64)


def sparse_h5ad(adata, folder):
    adata.write_h5ad(folder / "a.h5ad")
    return folder / "a.h5ad"


def dense_h5ad(adata, folder):
    AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var).write_h5ad(folder / "a.h5ad")
    return folder / "a.h5ad"


def zarr(adata, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a later default
        anndata.io.write_zarr(folder / "a.zarr", adata)
    return folder / "a.zarr"


def cell_ranger(adata, folder, kinds=None, genomes=None):
    n_genes = adata.n_vars
    with h5py.File(folder / "a.h5", "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"] = adata.X.data.astype("i4"), adata.X.indices.astype("i8")
        group["indptr"] = adata.X.indptr.astype("i8")
        group["shape"] = np.array(adata.shape[::-1], dtype="i4")
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        group["features/id"] = np.array([f"ENSG{i}" for i in range(n_genes)], dtype="S")
        group["features/name"] = np.array(adata.var_names, dtype="S")
        kinds = kinds or ["Gene Expression"] * n_genes
        group["features/feature_type"] = np.array(kinds, dtype="S")
        group["features/genome"] = np.array(genomes or ["hg19"] * n_genes, dtype="S")
    return folder / "a.h5"


def older_cell_ranger(adata, folder):
    with h5py.File(folder / "old.h5", "w") as file:
        group = file.create_group("hg19")
        group["data"], group["indices"] = adata.X.data.astype("i4"), adata.X.indices.astype("i8")
        group["indptr"] = adata.X.indptr.astype("i8")
        group["shape"] = np.array(adata.shape[::-1], dtype="i4")
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        group["genes"] = group["gene_names"] = np.array(adata.var_names, dtype="S")
    return folder / "old.h5"


KINDS = [sparse_h5ad, dense_h5ad, zarr, cell_ranger, older_cell_ranger, lambda adata, _: adata]


@pytest.mark.parametrize("kind", KINDS, ids=lambda f: f.__name__)
def test_every_kind_of_source_gives_what_read_counts_gives(small, tmp_path, kind, size):
    """Else a store would hold other counts than a table in memory."""
    source = kind(small, tmp_path)
    store, expected = write_store(tmp_path / "s.zarr", source), datasets.read_counts(source)
    ours = store[:][expected.obs_names]
    np.testing.assert_array_equal(ours.X.toarray(), expected.X.toarray())
    assert list(ours.var_names) == list(expected.var_names)
    assert list(ours.obs.columns) == list(expected.obs.columns)
    assert set(expected.var.columns) == set(ours.var.columns)
    for column in expected.obs:
        assert list(ours.obs[column]) == list(expected.obs[column])


def test_the_order_is_the_permutation_of_the_seed(small, tmp_path, size):
    """Else two machines would write two stores, or cells would stay beside their neighbours."""
    for seed in (0, 3):
        store = write_store(tmp_path / f"{seed}.zarr", small, seed=seed)
        order = np.random.default_rng(seed).permutation(53)
        assert list(store.obs_names) == list(small.obs_names[order])
        np.testing.assert_array_equal(store[:].X.toarray(), small.X.toarray()[order])


def test_the_same_counts_have_the_same_fingerprint(small, tmp_path, monkeypatch):
    """Else a run could not be resumed on another machine's copy; and other counts have another."""
    one = write_store(tmp_path / "1.zarr", small).counts.fingerprint
    monkeypatch.setattr(shuffle, "ENTRIES_IN_A_BOX", 100)
    again = write_store(tmp_path / "2.zarr", sparse_h5ad(small, tmp_path)).counts.fingerprint
    small.X.data[3] += 1
    other = write_store(tmp_path / "3.zarr", small).counts.fingerprint
    assert one == again != other


@pytest.mark.parametrize("largest", [255, 256, 65_535, 65_536, 2**24 - 1])
def test_large_counts_are_kept(small, tmp_path, largest):
    """Else a count would be cut to the bits of a smaller type."""
    small.X.data[7] = largest
    store = write_store(tmp_path / "s.zarr", small)
    assert store[:].X.max() == largest == store.counts.largest


def test_a_layer_is_taken(small, tmp_path, size):
    """Else the values in X would be taken for counts."""
    small.layers["counts"] = small.X.copy()
    small.X = small.X.copy()
    small.X.data = np.log1p(small.X.data)
    for source in (small, sparse_h5ad(small, tmp_path)):
        path = tmp_path / f"{type(source).__name__}.zarr"
        store = write_store(path, source, layer="counts")
        ours = store[:][small.obs_names].X.toarray()
        np.testing.assert_array_equal(ours, small.layers["counts"].toarray())


def test_antibodies_are_left_out_and_a_genome_is_chosen(small, tmp_path, caplog):
    """Else proteins, or the other species, would be modelled as genes."""
    kinds = ["Gene Expression"] * 10 + ["Antibody Capture"] * 2
    genomes = ["hg19"] * 6 + ["mm10"] * 4 + [""] * 2
    path = cell_ranger(small, tmp_path, kinds, genomes)
    assert list(write_store(tmp_path / "1.zarr", path).var_names) == list(small.var_names[:10])
    assert "2 'Antibody Capture'" in caplog.text
    store = write_store(tmp_path / "2.zarr", path, genome="hg19")
    assert list(store.var_names) == list(small.var_names[:6])
    with pytest.raises(CountsError, match="hg19', 'mm10"):
        write_store(tmp_path / "3.zarr", path, genome="hg38")


# ---------------------------------------------------------------- several sources


def test_genes_are_found_by_name_and_those_of_all_sources_are_kept(small, tmp_path, caplog, size):
    """Else counts of one gene would be added under the name of another."""
    first = small[:30].copy()
    second = small[30:, [5, 3, 11, 0, 7]].copy()
    second.obs["day"] = 2
    second.obs["group"] = second.obs["group"].astype(str)
    store = write_store(tmp_path / "s.zarr", [first, sparse_h5ad(second, tmp_path)])
    genes = ["GENE0", "GENE3", "GENE5", "GENE7", "GENE11"]
    assert list(store.var_names) == genes
    np.testing.assert_array_equal(
        store[:][small.obs_names].X.toarray(), small[:, genes].X.toarray()
    )
    assert list(store.obs.loc[small.obs_names, "group"]) == list(small.obs["group"])
    assert dict(store.obs["source"].value_counts()) == {"sources[0]": 30, "a.h5ad": 23}
    notes = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "Kept: the 5 genes of all sources; left out: 7 of sources[0], 0 of a.h5ad." in notes
    assert "Columns of obs that not all sources have are left out: 'day'." in notes


def test_genes_can_be_chosen(small, tmp_path):
    """Else a store would hold ten times the counts that the model is for."""
    store = write_store(tmp_path / "s.zarr", [small[:20], small[20:]], genes=["GENE4", "GENE0"])
    expected = small[:, ["GENE4", "GENE0"]].X.toarray()
    np.testing.assert_array_equal(store[:][small.obs_names].X.toarray(), expected)
    with pytest.raises(CountsError, match=r"sources\[1\] lacks 1 of genes: 'GENE4'"):
        write_store(tmp_path / "t.zarr", [small, small[:, :3]], genes=["GENE4", "GENE0"])


def test_sources_without_a_gene_in_common_are_refused(small, tmp_path):
    """Else a store without genes, or with the wrong ones, would be written."""
    other = small.copy()
    other.var_names = [f"ENSG{i}" for i in range(12)]
    with pytest.raises(CountsError, match=r"No gene is in all sources.*'GENE0'.*'ENSG0'"):
        write_store(tmp_path / "s.zarr", [small, other])


def test_names_of_cells_that_occur_twice_are_told_apart(small, tmp_path):
    """Else the cells of two runs with one barcode could not be named."""
    store = write_store(tmp_path / "s.zarr", [small, small])
    assert store.obs_names.is_unique and store.n_obs == 106
    assert (store["cell-4"].X != store["cell-4-1"].X).nnz == 0


# ---------------------------------------------------------------- what can go wrong


@pytest.mark.parametrize(
    ("value", "words"),
    [(-1, "negative"), (0.5, "not a whole"), (np.nan, "finite"), (2**24, "many")],
)
def test_what_is_no_count_is_named_and_nothing_is_left(small, tmp_path, value, words, size):
    """Else the fault would be found after hours of training, or never."""
    small.X.data[-1] = value  # in the last piece
    path = sparse_h5ad(small, tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CountsError, match=rf"In a\.h5ad, rows from.*cell 'cell-52'.*{words}"):
        write_store(tmp_path / "s.zarr", path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_cell_without_counts_is_named(small, tmp_path):
    """Else its library would be 0. Also where it has counts of genes that are left out only."""
    matrix = small.X.tolil()
    matrix[41, :] = 0
    empty = AnnData(matrix.tocsr(), obs=small.obs, var=small.var)
    with pytest.raises(CountsError, match="'cell-41'"):
        write_store(tmp_path / "s.zarr", sparse_h5ad(empty, tmp_path))
    matrix[41, 11] = 3
    nearly = AnnData(matrix.tocsr(), obs=small.obs, var=small.var)
    with pytest.raises(CountsError, match=r"kept of a\.h5ad, rows from 0 on.*'cell-41'"):
        write_store(tmp_path / "s.zarr", [sparse_h5ad(nearly, tmp_path), small[:, :5].copy()])


def test_the_layer_that_could_be_meant_is_named(small, tmp_path):
    """Else a reader would not know the way out."""
    small.layers["counts"] = small.X.copy()
    small.X = small.X.copy()
    small.X.data = np.log1p(small.X.data)
    path = sparse_h5ad(small, tmp_path)
    with pytest.raises(CountsError, match="The layers are: 'counts'; layer= names one"):
        write_store(tmp_path / "s.zarr", path)
    with pytest.raises(KeyError, match="no layer 'raw'; its layers are: 'counts'"):
        write_store(tmp_path / "s.zarr", path, layer="raw")


def test_a_table_stored_by_genes_is_refused_with_a_way_out(small, tmp_path):
    """Else each piece would read the whole file."""
    small.X = small.X.tocsc()
    with pytest.raises(CountsError, match=r"gene by gene.*tocsr\(\)"):
        write_store(tmp_path / "s.zarr", sparse_h5ad(small, tmp_path))


@pytest.mark.parametrize("at", ["_scatter", "_gather"])
def test_an_interrupted_write_leaves_nothing(small, tmp_path, monkeypatch, at):
    """Else half a store would be trained on."""
    whole = getattr(write, at)

    def interrupted(*arguments):
        whole(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(write, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "s.zarr", small)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_leaves_is_no_store(small, tmp_path, monkeypatch):
    """Else a store without its last cells would be opened."""
    monkeypatch.setattr(write.shutil, "rmtree", lambda *_, **__: None)  # nobody cleans up
    monkeypatch.setattr(write.os, "rename", lambda *_: (_ for _ in ()).throw(SystemExit))
    monkeypatch.setattr(write, "write_table", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        write_store(tmp_path / "s.zarr", small)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    with pytest.raises(CountsError, match="not a store"):
        open_store(left)


def test_what_is_there_is_not_overwritten(small, tmp_path):
    """Else a slip would delete an atlas."""
    write_store(tmp_path / "s.zarr", small)
    with pytest.raises(FileExistsError, match="name another path"):
        write_store(tmp_path / "s.zarr", small)
    with pytest.raises(FileNotFoundError, match="make it first"):
        write_store(tmp_path / "none" / "s.zarr", small)


@pytest.mark.parametrize("source", ["none.h5ad", 3, []])
def test_what_is_no_source_is_refused(tmp_path, source):
    """Else an error of another package would come from deep inside."""
    with pytest.raises((FileNotFoundError, TypeError, CountsError)):
        write_store(tmp_path / "s.zarr", tmp_path / source if source == "none.h5ad" else source)


def test_a_damaged_file_is_named(small, tmp_path):
    """Else its missing counts would be zeros."""
    path = sparse_h5ad(small, tmp_path)
    with h5py.File(path, "r+") as file:
        values = file["X/data"][:-1]
        del file["X/data"]
        file["X/data"] = values
    with pytest.raises(CountsError, match=r"a\.h5ad.*could not be read"):
        write_store(tmp_path / "s.zarr", path)


def test_a_store_is_no_source(small, tmp_path):
    """Else it would be shuffled again, from a table without counts."""
    store = write_store(tmp_path / "s.zarr", small)
    with pytest.raises(CountsError, match="is a store already"):
        write_store(tmp_path / "t.zarr", store)


@pytest.mark.parametrize("version", [None, "2.18.7"])
def test_without_zarr_the_way_out_is_said(small, tmp_path, monkeypatch, version):
    """Else a reader without the extra would see an error of imports."""

    def instead(name):
        if version is None:
            raise ImportError(name)
        return type("zarr", (), {"__version__": version})

    monkeypatch.setattr(engine, "import_module", instead)
    with pytest.raises(ImportError, match=r"pip install 'nbvae\[scale\]'"):
        write_store(tmp_path / "s.zarr", small)
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(ImportError, match=r"pip install 'nbvae\[scale\]'"):
        open_store(tmp_path / "there.zarr")


def test_mixed_columns_of_obs_become_words(small, tmp_path):
    """Else AnnData could not write a column with numbers and words, or with gaps."""
    small.obs["mixed"] = [1, "a", None] + [2.5] * 50
    small.obs["number"] = np.arange(53.0)
    store = write_store(tmp_path / "s.zarr", small)
    ours = store.obs.loc[small.obs_names]
    assert list(ours["mixed"][:2]) == ["1", "a"] and pd.isna(ours["mixed"].iloc[2])
    assert list(ours["number"]) == list(small.obs["number"])


def test_importing_the_package_does_not_need_zarr():
    """Else a reader with 700 cells would have to install it."""
    for name in ("nbvae.data.store.cells", "nbvae.data.store.write", "nbvae.data.store.engine"):
        assert not hasattr(importlib.import_module(name), "zarr")


def test_sparse_indices_are_sorted(small, tmp_path):
    """Else the gradient by genes would be added up wrongly."""
    store = write_store(tmp_path / "s.zarr", small[:, ::-1].copy())
    assert store[:].X.has_canonical_format
    assert sparse.issparse(store[:2].X)
