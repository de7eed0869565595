"""What read_counts takes along, and what it leaves behind and says so."""

import logging

import h5py
import numpy as np
import pytest
from scipy import sparse

from nbvae import CountsError, datasets


@pytest.fixture
def annotated(small):
    """Counts with all that scanpy puts beside them."""
    n_cells, n_genes = small.shape
    small.obs["n_counts"] = 5.0
    small.obsm["X_pca"], small.varm["PCs"] = np.ones((n_cells, 2)), np.ones((n_genes, 2))
    small.obsp["connectivities"] = sparse.identity(n_cells, format="csr")
    small.varp["correlation"] = np.ones((n_genes, n_genes))
    small.uns["neighbors"] = {"connectivities_key": "connectivities", "params": {"method": "umap"}}
    small.uns["title"] = "mine"
    return small


def processed(annotated):
    """The same with other values of the table: layers, raw, and what uns says of them."""
    annotated.raw = annotated.copy()
    annotated.layers["log"], annotated.layers["scaled"] = annotated.X.log1p(), annotated.X * 0.5
    annotated.uns["log1p"] = {"base": None}
    annotated.uns["rank_genes_groups"] = {"params": {"use_raw": True}}
    annotated.uns["by_layer"] = {"params": {"layer": "log", "use_raw": False}}
    annotated.uns["of_x"] = {"params": {"layer": None, "use_raw": False}}
    return annotated


def test_all_that_is_said_about_cells_and_genes_is_kept(annotated, tmp_path, caplog):
    """Else scanpy would look for neighbours or loadings that are not there any more."""
    annotated.write_h5ad(tmp_path / "a.h5ad")
    for source in (annotated, tmp_path / "a.h5ad"):
        adata = datasets.read_counts(source)
        np.testing.assert_array_equal(adata.varm["PCs"], annotated.varm["PCs"])
        np.testing.assert_array_equal(adata.varp["correlation"], annotated.varp["correlation"])
        assert (adata.obsp["connectivities"] != annotated.obsp["connectivities"]).nnz == 0
        assert set(adata.uns) == {"neighbors", "title"}
        assert set(adata.obs["n_counts"]) == {5.0}
    assert caplog.text == ""


@pytest.mark.slow
def test_scanpys_neighbours_still_work(annotated, sc):
    """Else an embedding of what was read would fail on 'connectivities'."""
    del annotated.uns["neighbors"]
    annotated.obsm["X_pca"] = np.random.default_rng(0).normal(size=(annotated.n_obs, 2))
    sc.pp.neighbors(annotated, use_rep="X_pca", n_neighbors=4, method="gauss")
    adata = datasets.read_counts(annotated)
    sc.tl.diffmap(adata, n_comps=3)
    assert "X_diffmap" in adata.obsm


def test_other_values_are_left_behind_and_named(annotated, caplog):
    """Else a user would look for a layer that was dropped without a word."""
    adata = datasets.read_counts(processed(annotated))
    assert not adata.layers and adata.raw is None
    assert set(adata.uns) == {"neighbors", "title", "of_x"}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "layers 'log', 'scaled', raw, uns 'log1p', 'rank_genes_groups', 'by_layer'" in line
    assert caplog.records[0].levelno == logging.WARNING  # that Python shows without any setting


def test_the_layer_that_is_asked_for_is_not_called_left_behind(small, caplog):
    """Else the commonest call of all would always be followed by a line."""
    small.layers["counts"] = small.X.copy()
    small.X, small.uns["log1p"] = small.X.log1p(), {"base": None}
    adata = datasets.read_counts(small, layer="counts")
    assert not adata.uns and caplog.text == ""


@pytest.mark.slow
def test_counts_that_were_log_transformed_before(annotated, sc):
    """Else scanpy would warn of counts that they are logarithms, and then take them as such."""
    sc.pp.log1p(datasets.read_counts(processed(annotated)))  # warnings are errors here


def test_features_left_out_are_named(tmp_path, caplog):
    """Else antibodies would vanish without a word."""
    with h5py.File(tmp_path / "c.h5", "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"] = [1, 2, 3], [0, 1, 0]
        group["indptr"], group["shape"] = [0, 2, 3], [3, 2]
        group["barcodes"], group["features/id"] = [b"a", b"b"], [b"1", b"2", b"3"]
        group["features/name"] = [b"LYZ", b"CD3", b"CD4"]
        group["features/feature_type"] = [b"Gene Expression", *2 * [b"Antibody Capture"]]
    datasets.read_counts(tmp_path / "c.h5")
    assert "not genes: 2 'Antibody Capture'" in caplog.text


# ---------------------------------------------------------------- no permission, a lock


@pytest.mark.parametrize("name", ["a.h5ad", "a.h5", "a.csv", "folder"])
def test_no_permission_is_not_called_damage(small, tmp_path, monkeypatch, name):
    """Else the user would download a file again that is fine.

    These tests may run as root, who may read everything: so the call that opens is replaced.
    """

    def forbidden(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    path = tmp_path / name
    path.mkdir() if name == "folder" else small.write_h5ad(path)
    monkeypatch.setattr("pathlib.Path.open", forbidden)
    monkeypatch.setattr("pathlib.Path.is_file", forbidden)
    with pytest.raises(PermissionError, match=f"no permission to read '{path}'"):
        datasets.read_counts(path)


def test_no_permission_for_the_folder_above(tmp_path, monkeypatch):
    """Else a file that is there would be called missing."""

    def forbidden(self, **_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.exists", forbidden)
    with pytest.raises(PermissionError, match="no permission to read"):
        datasets.read_counts(tmp_path / "a.h5ad")


def test_a_file_that_another_program_writes(small, tmp_path, monkeypatch):
    """Else a file that is fine would be called damaged."""

    def locked(*_, **__):
        raise BlockingIOError(11, "unable to lock file")

    small.write_h5ad(tmp_path / "a.h5ad")
    monkeypatch.setattr("nbvae.data.readers.h5py.File", locked)
    with pytest.raises(CountsError, match="open for writing in another program"):
        datasets.read_counts(tmp_path / "a.h5ad")


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_is_not_the_files_fault_passes(small, tmp_path, monkeypatch, error):
    """Else an interruption, or too little memory, would be called a damaged file."""

    def stopped(_):
        raise error

    small.write_h5ad(tmp_path / "a.h5ad")
    monkeypatch.setattr("anndata.read_h5ad", stopped)
    with pytest.raises(error):
        datasets.read_counts(tmp_path / "a.h5ad")


def test_the_table_that_a_message_speaks_of_can_be_had(small, tmp_path):
    """Else a message about a file would advise on an `adata` that nobody has."""
    small.X = small.X * 0
    small.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(CountsError, match=r"Here adata = anndata\.read_h5ad\('.*a\.h5ad'\)"):
        datasets.read_counts(tmp_path / "a.h5ad")
