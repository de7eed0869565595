"""The sample: the counts that were measured, recovered from scanpy's file."""

import subprocess
import sys
import warnings

import anndata
import numpy as np
import pytest

from nbvae import datasets
from nbvae.data.counts import CountsError


@pytest.fixture(scope="module")
def packaged(sc):
    """The file inside scanpy that the sample is made from."""
    with warnings.catch_warnings():  # it is older than the format that anndata now writes
        warnings.simplefilter("ignore")
        return sc.datasets.pbmc68k_reduced()


def test_sample_has_the_known_size_and_totals(sample):
    """Else the numbers that the book states about the sample are wrong."""
    counts = sample.X.toarray()
    assert counts.shape == (700, 765)
    assert ((counts >= 0) & (counts == np.rint(counts))).all()
    assert (counts == 0).mean() == pytest.approx(0.67, abs=0.005)
    assert counts.sum(axis=1).min() == 342
    assert np.median(counts.sum(axis=1)) == 653


@pytest.mark.slow
def test_of_each_cell_two_to_nine_thousand_molecules_were_recorded(sample, packaged):
    """Else chapter 1 and the docstring are wrong about what the 765 genes leave out."""
    totals = packaged.obs["n_counts"].to_numpy()
    assert totals.min() == 2141 and totals.max() == 9497
    assert sample.X.sum() / totals.sum() == pytest.approx(0.2, abs=0.01)


def test_sample_has_ten_cell_types(sample):
    """Else labels were lost or shifted against the cells."""
    assert sample.obs["cell_type"].value_counts().to_dict() == {
        "Dendritic": 240,
        "CD14+ Monocyte": 129,
        "CD19+ B": 95,
        "CD4+/CD25 T Reg": 68,
        "CD8+ Cytotoxic T": 54,
        "CD8+/CD45RA+ Naive Cytotoxic": 43,
        "CD56+ NK": 31,
        "CD4+/CD45RO+ Memory": 19,
        "CD34+": 13,
        "CD4+/CD45RA+/CD25- Naive T": 8,
    }


@pytest.mark.slow
def test_sample_gives_back_scanpys_values(sample, packaged):
    """Else the recovered numbers are integers, but not the counts that were measured."""
    totals = packaged.obs["n_counts"].to_numpy()[:, None]
    forward = np.log1p(1e4 * sample.X.toarray().astype(np.float64) / totals)
    assert np.abs(forward - packaged.raw.X.toarray()).max() < 1e-3
    assert list(sample.obs_names) == list(packaged.obs_names)
    assert list(sample.var_names) == list(packaged.raw.var_names)
    assert (sample.obs["cell_type"] == packaged.obs["bulk_labels"]).all()


def test_sample_carries_known_biology(sample):
    """Else genes and cells are shifted against each other: B cells express CD79A, monocytes LYZ."""
    shares = sample.to_df().div(sample.X.sum(axis=1).A1, axis=0)
    by_type = shares.groupby(sample.obs["cell_type"], observed=True).mean()
    assert by_type["CD79A"].idxmax() == "CD19+ B"
    assert by_type["NKG7"].idxmax() == "CD56+ NK"
    assert by_type["LYZ"].idxmax() in ("CD14+ Monocyte", "Dendritic")


def test_sample_names_its_source_and_licence(sample):
    """Else the data would be passed on without what its licence asks for."""
    assert "Zheng et al. 2017" in sample.uns["source"]
    assert sample.uns["licence"] == "CC BY 4.0, 10x Genomics"


def test_each_sample_is_a_new_one():
    """Else a chapter that filters its cells would change those of the next call."""
    datasets.pbmc68k_sample().X.data[:] = 0
    assert datasets.pbmc68k_sample().X.data.min() == 1


@pytest.mark.slow
def test_another_packaged_file_is_noticed(packaged, monkeypatch):
    """Else a new scanpy with other values would silently give rounded nonsense."""
    changed = packaged.copy()
    changed.obs["n_counts"] = changed.obs["n_counts"] * 1.01
    monkeypatch.setattr(anndata, "read_h5ad", lambda _: changed)
    with pytest.raises(CountsError, match=r"another file.*requirements\.txt"):
        datasets.pbmc68k_sample()


@pytest.mark.slow
def test_importing_the_package_and_the_sample_does_not_import_scanpy():
    """Else each script and chapter would wait for scanpy, which takes as long as all the rest."""
    code = (
        "import sys, nbvae; nbvae.datasets.pbmc68k_sample(); "
        "sys.exit('scanpy' in sys.modules or 'numba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
