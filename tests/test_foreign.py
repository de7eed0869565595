"""The ways out that messages about other kinds of files name exist, and lead to the counts."""

import gzip
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io  # noqa: F401 named in a message
from anndata import AnnData
from scipy import sparse
from scipy.io import mmwrite

from nbvae import CountsError, datasets

COUNTS = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 7], [0, 0, 4]])  # cells × genes


def advice(path):
    """What a message says is to be executed, with its names."""
    with pytest.raises(CountsError) as caught:
        datasets.read_counts(path)
    call = re.search(r"adata = (\w+\..*?\))(?: reads| ?;|\.$|, then)", str(caught.value))[1]
    return str(caught.value), call


def write_table(path, separator):
    frame = pd.DataFrame(COUNTS, index=[f"c{i}" for i in range(4)], columns=["LYZ", "CD3D", "NKG7"])
    frame.to_csv(path, sep=separator)


@pytest.mark.parametrize(
    ("name", "separator"), [("c.csv", ","), ("c.csv.gz", ","), ("c.tsv", "\t"), ("c.tsv.gz", "\t")]
)
def test_a_table_of_text(tmp_path, name, separator):
    """Else the message would send the user to a function that does not read the file."""
    write_table(tmp_path / name, separator)
    _, call = advice(tmp_path / name)
    adata = datasets.read_counts(eval(call))
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert list(adata.var_names) == ["LYZ", "CD3D", "NKG7"]


def test_a_matrix_without_names(tmp_path):
    """Else a lone .mtx file could not be used."""
    mmwrite(tmp_path / "counts.mtx", sparse.coo_matrix(COUNTS.T))
    message, call = advice(tmp_path / "counts.mtx")
    assert "adata.T if its rows are genes" in message
    adata = datasets.read_counts(eval(call).T)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)


@pytest.mark.slow
def test_three_files_with_a_prefix(tmp_path, sc):
    """Else the commonest form in GEO could not be used."""
    mmwrite(tmp_path / "GSM1_matrix.mtx", sparse.coo_matrix(COUNTS.T))
    packed = gzip.compress((tmp_path / "GSM1_matrix.mtx").read_bytes())
    (tmp_path / "GSM1_matrix.mtx").unlink()
    (tmp_path / "GSM1_matrix.mtx.gz").write_bytes(packed)
    rows = "".join(f"E{i}\tG{i}\tGene Expression\n" for i in range(3))
    (tmp_path / "GSM1_features.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "GSM1_barcodes.tsv.gz").write_bytes(gzip.compress(b"a\nb\nc\nd\n"))
    for path in (tmp_path, tmp_path / "GSM1_matrix.mtx.gz"):
        _, call = advice(path)
        adata = datasets.read_counts(eval(call))
        np.testing.assert_array_equal(adata.X.toarray(), COUNTS)


def test_the_functions_that_are_named_exist():
    """Else a message would name what another version has."""
    for name in ("read_loom", "read_excel", "read_text", "read_csv"):
        assert callable(getattr(anndata.io, name))
    assert callable(AnnData)
