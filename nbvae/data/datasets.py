"""Raw counts to learn from: always an AnnData of integers ≥ 0, checked."""

import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from nbvae.data.counts import CountsError, count_matrix
from nbvae.data.downloads import REMOTES, download
from nbvae.data.readers import read_10x_archive, read_file

LICENCE = "CC BY 4.0, 10x Genomics"
ZHENG = "Zheng et al. 2017, Nature Communications 8, 14049, doi:10.1038/ncomms14049"


def read_counts(source: str | Path | AnnData, *, layer: str | None = None) -> AnnData:
    """Read raw counts and check that they are.

    Args:
        source: an ``.h5ad`` file, a ``.h5`` file or a folder with ``matrix.mtx`` from 10x
            Genomics' Cell Ranger, or an AnnData in memory; the latter is not changed.
        layer: the layer that holds the counts; ``X`` when left out.

    Returns:
        A new AnnData with the counts in ``X`` (CSR, float32) and the annotation of the source.
        A cell's or gene's name that is there already gets "-1", "-2", … appended.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: there is no such layer.
        CountsError: the file can't be read, the values are not raw counts, or a cell has none.

    """
    adata = source if isinstance(source, AnnData) else read_file(Path(source))
    return AnnData(
        X=count_matrix(adata, layer=layer),
        obs=adata.obs.set_axis(make_index_unique(adata.obs_names), axis="index"),
        var=adata.var.set_axis(make_index_unique(adata.var_names), axis="index"),
        uns=deepcopy(dict(adata.uns)),
        obsm={key: value.copy() for key, value in adata.obsm.items()},
    )


def pbmc68k_sample() -> AnnData:
    """700 cells × 765 genes of a healthy donor's blood, from a file inside scanpy: no download.

    Scanpy ships these cells as log(1 + 10,000 · count / total of the cell), rounded to three
    decimals, beside each cell's total. That can be undone without loss: the numbers come out
    within 0.1 of integers, and the function stops if they do not.

    Returns:
        Raw counts, 700 × 765. ``obs["cell_type"]`` is 10x Genomics' label, given by comparison
        with purified populations. These 765 genes have about a fifth of a cell's whole count.
        Source: Zheng et al. 2017; licence CC BY 4.0, 10x Genomics.

    Raises:
        CountsError: scanpy's file is another one than this function knows.

    """
    with warnings.catch_warnings():  # the file is older than the format that anndata now writes
        warnings.simplefilter("ignore")
        packaged = sc.datasets.pbmc68k_reduced()
    shares = packaged.raw.X.tocsr().astype(np.float64)
    totals = packaged.obs["n_counts"].to_numpy(dtype=np.float64)
    counts = sparse.diags(totals / 1e4) @ shares.expm1()
    _assert_nearly_integers(counts)
    cell_type = packaged.obs["bulk_labels"].rename("cell_type")
    return _finished(
        AnnData(
            X=counts.rint().tocsr(),
            obs=pd.DataFrame({"cell_type": cell_type}, index=packaged.obs_names.astype(str)),
            var=pd.DataFrame(index=packaged.raw.var_names.astype(str)),
        ),
        f"scanpy.datasets.pbmc68k_reduced, from {ZHENG}",
    )


def pbmc3k(n_genes: int | None = 2000) -> AnnData:
    """2,700 cells of a healthy donor's blood. Downloads 6 MB, once.

    Args:
        n_genes: how many of the most variable genes to keep; ``None`` keeps all that occur.

    Returns:
        Raw counts, 2,700 × ``n_genes``; no cell types are known. Licence CC BY 4.0, 10x Genomics.

    """
    adata = read_counts(download("pbmc3k"))
    source = f"10x Genomics PBMC 3k, {REMOTES['pbmc3k'].url}"
    return _finished(_most_variable(adata, n_genes), source)


def pbmc68k(n_genes: int | None = 2000) -> AnnData:
    """68,579 cells of a healthy donor's blood, with cell types. Downloads 124 MB, once.

    Args:
        n_genes: how many of the most variable genes to keep; ``None`` keeps all that occur.

    Returns:
        Raw counts, 68,579 × ``n_genes``, with ``obs["cell_type"]`` as in the sample.
        Source: Zheng et al. 2017; licence CC BY 4.0, 10x Genomics.

    """
    adata = read_counts(read_10x_archive(download("pbmc68k")))
    labels = pd.read_csv(download("pbmc68k_labels"), sep="\t", index_col="barcodes")["celltype"]
    adata.obs["cell_type"] = labels.reindex(adata.obs_names).astype("category")
    if adata.obs["cell_type"].isna().any():
        raise CountsError("Some barcodes have no label: the two files do not belong together.")
    return _finished(_most_variable(adata, n_genes), f"{ZHENG}, {REMOTES['pbmc68k'].url}")


def _assert_nearly_integers(counts: sparse.csr_matrix) -> None:
    residual = np.abs(counts.data - np.rint(counts.data)).max()
    if residual > 0.1:
        raise CountsError(
            f"The packaged values do not give back integers (off by {residual:.2f}): this scanpy "
            "ships another file. Use the version in requirements.txt."
        )


def _finished(adata: AnnData, source: str) -> AnnData:
    """Check the counts once more and note where they come from."""
    adata.X = count_matrix(adata)
    adata.uns["source"] = source
    adata.uns["licence"] = LICENCE
    return adata


def _most_variable(adata: AnnData, n_genes: int | None) -> AnnData:
    """Keep the genes that vary most for their mean (scanpy's default ranking), and their order."""
    sc.pp.filter_genes(adata, min_cells=1)
    if n_genes is not None and n_genes < adata.n_vars:
        logged = sc.pp.log1p(sc.pp.normalize_total(adata, target_sum=1e4, copy=True), copy=True)
        table = sc.pp.highly_variable_genes(logged, inplace=False)
        variable = table["dispersions_norm"].fillna(-np.inf).to_numpy()
        best = np.argsort(-variable, kind="stable")[:n_genes]  # exactly so many, even with ties
        adata = adata[:, np.sort(best)].copy()
    sc.pp.filter_cells(adata, min_counts=1)
    return adata
