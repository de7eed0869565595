"""Raw counts to learn from: always an AnnData of integers ≥ 0, checked."""

import tarfile
import warnings
from pathlib import Path
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import pooch
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from nbvae.counts import CountsError, count_matrix

LICENCE = "CC BY 4.0, 10x Genomics"
ZHENG = "Zheng et al. 2017, Nature Communications 8, 14049, doi:10.1038/ncomms14049"


class Remote(NamedTuple):
    """A file to download, and the checksum that proves that it is the right one."""

    url: str
    sha256: str


REMOTES = {
    "pbmc3k": Remote(
        "https://exampledata.scverse.org/scanpy/pbmc3k_raw.h5ad",
        "89a96f1beaa2dd83a687666d3f19a4513ac27a2a2d12581fcd77afed7ea653a1",
    ),
    "pbmc68k": Remote(
        "https://cf.10xgenomics.com/samples/cell-exp/1.1.0/fresh_68k_pbmc_donor_a/"
        "fresh_68k_pbmc_donor_a_filtered_gene_bc_matrices.tar.gz",
        "3f35f37ff344bc9b32f97cd003ac986ebb9b5d7f31006c53dff4cb38da267931",
    ),
    "pbmc68k_labels": Remote(
        "https://raw.githubusercontent.com/10XGenomics/single-cell-3prime-paper/master/"
        "pbmc68k_analysis/68k_pbmc_barcodes_annotation.tsv",
        "98dc85c047b56cb209ece200b7bebeb2ad53634ff3d5f42143987f59510624b3",
    ),
}


def read_counts(source: str | Path | AnnData, *, layer: str | None = None) -> AnnData:
    """Read raw counts and check that they are.

    Args:
        source: an ``.h5ad`` file, or an AnnData in memory; the latter is not changed.
        layer: the layer that holds the counts; ``X`` when left out.

    Returns:
        A new AnnData with the counts in ``X`` (CSR, float32) and the annotation of the source.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: there is no such layer.
        CountsError: the values are not raw counts, or a cell has none.

    """
    adata = source if isinstance(source, AnnData) else _read_file(Path(source))
    return AnnData(
        X=count_matrix(adata, layer=layer),
        obs=adata.obs.copy(),
        var=adata.var.copy(),
        uns=dict(adata.uns),
        obsm=dict(adata.obsm),
    )


def pbmc68k_sample() -> AnnData:
    """700 cells × 765 genes of a healthy donor's blood, from a file inside scanpy: no download.

    Scanpy ships these cells as log(1 + 10,000 · count / total of the cell), rounded to three
    decimals, beside each cell's total. That can be undone without loss: the numbers come out
    within 0.1 of integers, and the function stops if they do not.

    Returns:
        Raw counts, 700 × 765. ``obs["cell_type"]`` is 10x Genomics' label, given by comparison
        with purified populations. The totals of these 765 genes are about half of a cell's whole
        count. Source: Zheng et al. 2017; licence CC BY 4.0, 10x Genomics.

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
    adata = read_counts(_download("pbmc3k"))
    return _finished(_most_variable(adata, n_genes), f"10x Genomics PBMC 3k, {_url('pbmc3k')}")


def pbmc68k(n_genes: int | None = 2000) -> AnnData:
    """68,579 cells of a healthy donor's blood, with cell types. Downloads 124 MB, once.

    Args:
        n_genes: how many of the most variable genes to keep; ``None`` keeps all that occur.

    Returns:
        Raw counts, 68,579 × ``n_genes``, with ``obs["cell_type"]`` as in the sample.
        Source: Zheng et al. 2017; licence CC BY 4.0, 10x Genomics.

    """
    adata = _read_10x_archive(_download("pbmc68k"))
    labels = pd.read_csv(_download("pbmc68k_labels"), sep="\t", index_col="barcodes")["celltype"]
    adata.obs["cell_type"] = labels.reindex(adata.obs_names).astype("category")
    if adata.obs["cell_type"].isna().any():
        raise CountsError("Some barcodes have no label: the two files do not belong together.")
    return _finished(_most_variable(adata, n_genes), f"{ZHENG}, {_url('pbmc68k')}")


def _read_file(path: Path) -> AnnData:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    return anndata.read_h5ad(path)


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


def _url(name: str) -> str:
    return REMOTES[name].url


def _download(name: str) -> Path:
    """Fetch a file into the user's cache, or find it there; the checksum decides."""
    remote, cache = REMOTES[name], pooch.os_cache("nbvae")
    try:
        path = pooch.retrieve(
            remote.url,
            known_hash=f"sha256:{remote.sha256}",
            fname=Path(remote.url).name,
            path=cache,
            progressbar=True,
        )
    except OSError as error:  # no connection, no such page, no space: requests' errors are OSErrors
        raise OSError(
            f"Could not download {remote.url} into {str(cache)!r}: {error}. Try again with a "
            "connection to the internet; datasets.pbmc68k_sample() needs no download."
        ) from error
    return Path(path)


def _read_10x_archive(archive: Path) -> AnnData:
    """Read the folder with matrix.mtx out of a 10x archive, unpacked once beside it."""
    folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    if not folder.exists():
        part = folder.with_suffix(".part")  # renamed when complete, so that a cut leaves no half
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        part.rename(folder)
    matrix = next(folder.rglob("matrix.mtx"))
    adata = sc.read_10x_mtx(matrix.parent, var_names="gene_symbols")
    adata.var_names_make_unique()
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
