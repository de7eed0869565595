"""Raw counts to learn from: always an AnnData of integers ≥ 0, checked."""

import importlib.util
import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from nbvae._messages import note, shown
from nbvae.data.counts import CountsError, count_matrix, layers_of
from nbvae.data.downloads import REMOTES, download
from nbvae.data.readers import read_file
from nbvae.data.tenx import read_10x_archive

LICENCE = "CC BY 4.0, 10x Genomics"
ZHENG = "Zheng et al. 2017, Nature Communications 8, 14049, doi:10.1038/ncomms14049"


def read_counts(
    source: str | Path | AnnData, *, layer: str | None = None, genome: str | None = None
) -> AnnData:
    """Read raw counts and check that they are.

    Args:
        source: an ``.h5ad`` file or ``.zarr`` folder, a ``.h5`` file or a folder with
            ``matrix.mtx`` from 10x Genomics' Cell Ranger, or an AnnData in memory; the latter is
            not changed.
        layer: the layer that holds the counts; ``X`` when left out, or by the name "X".
        genome: for a 10x ``.h5`` file with several: the one to read.

    Returns:
        A new AnnData with the counts in ``X`` (CSR, float32) and all that the source says about
        cells, genes and pairs of them (``obs``, ``var``, ``obsm``, ``varm``, ``obsp``, ``varp``,
        ``uns``). Other values of the same table (layers, ``raw``, with a layer also ``X``) are not
        taken along, nor what ``uns`` says about these; one line names them.
        A cell's or gene's name that is there already gets "-1", "-2", … appended.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        TypeError: the source is neither a path nor an AnnData.
        KeyError: there is no such layer.
        CountsError: the file can't be read, the values are not raw counts, or a cell has none.

    """
    if isinstance(source, AnnData):
        return _with_counts(source, count_matrix(source, layer=layer).copy(), layer)
    if not isinstance(source, str | Path):
        raise TypeError(
            "read_counts takes a path or an AnnData (cells × genes), not "
            f"{type(source).__name__}. anndata.AnnData(table) makes one of an array or a DataFrame."
        )
    adata, call = read_file(Path(source).expanduser(), genome)
    try:
        counts = count_matrix(adata, layer=layer)
    except CountsError as error:
        raise CountsError(f"{error} (Here adata = {call}.)") from error
    return _with_counts(adata, counts, layer)


def _with_counts(adata: AnnData, counts: sparse.csr_matrix, layer: str | None) -> AnnData:
    """Join counts with what is known about their cells and genes; say what is left behind."""
    _warn_of_binary(counts)
    layers = sorted(set(layers_of(adata)) - {layer})
    others = [f"layers {shown(layers)}"] if layers else []
    others += ["raw"] if adata.raw is not None else []
    of_others = [key for key, value in adata.uns.items() if _is_about_others(key, value)]
    if others or (of_others and layer in (None, "X")):
        others += [f"uns {shown(of_others)}"] if of_others else []
        left = ", ".join(others)
        note(f"read_counts takes the counts; left behind, since of other values: {left}.")
    return AnnData(
        X=counts,
        obs=adata.obs.set_axis(make_index_unique(adata.obs_names), axis="index"),
        var=adata.var.set_axis(make_index_unique(adata.var_names), axis="index"),
        uns=deepcopy({key: value for key, value in adata.uns.items() if key not in of_others}),
        obsm=_copied(adata.obsm),
        varm=_copied(adata.varm),
        obsp=_copied(adata.obsp),
        varp=_copied(adata.varp),
    )


def _is_about_others(key: str, value: Any) -> bool:
    """Tell whether an entry of ``uns`` belongs to values that are left behind.

    "log1p" says that X is log-transformed, and scanpy warns of it. Results with ``use_raw`` or a
    layer among their parameters send scanpy's plots there.
    """
    parameters = value.get("params") if isinstance(value, Mapping) else None
    if not isinstance(parameters, Mapping):
        return key == "log1p"
    return parameters.get("layer") is not None or parameters.get("use_raw") in (True, np.True_)


def _copied(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.copy() for key, value in tables.items()}


def _warn_of_binary(counts: sparse.csr_matrix) -> None:
    """Warn of a table in which only 1 occurs, although that many counts can't all be at most 1.

    If a share d of values is above 0, there are at least d counts per value on average, and about a
    share d/2 of those above 0 is above 1, more if cells or genes differ: to see none where 20 are
    expected is absurd.
    """
    if counts.data.max() == 1 and counts.nnz**2 / (2 * counts.shape[0] * counts.shape[1]) > 20:
        warnings.warn(
            f"All {counts.nnz:,} values above 0 are 1: this looks like a table that tells only "
            "whether a gene was seen, not how often. Pass the counts that it was made from.",
            stacklevel=3,
        )


def pbmc68k_sample() -> AnnData:
    """700 cells × 765 genes of a healthy donor's blood, from a file inside scanpy: no download.

    Scanpy ships these cells as log(1 + 10,000 · count / total of the cell), rounded to three
    decimals, along with each cell's total. That can be undone without loss: the numbers come out
    within 0.1 of integers, and the function stops if they do not.

    Returns:
        Raw counts, 700 × 765. ``obs["cell_type"]`` is 10x Genomics' label, given by comparison
        with purified populations. These 765 genes have about a fifth of a cell's whole count.
        Source: Zheng et al. 2017; licence CC BY 4.0, 10x Genomics.

    Raises:
        CountsError: scanpy's file is not the one that this function knows.

    """
    packaged = _packaged_with_scanpy("10x_pbmc68k_reduced.h5ad")
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


def _packaged_with_scanpy(name: str) -> AnnData:
    """Read a file inside scanpy without importing it, which takes seconds."""
    scanpy = importlib.util.find_spec("scanpy")
    if scanpy is None or scanpy.origin is None:
        raise ModuleNotFoundError("The sample is a file inside scanpy: pip install scanpy.")
    with warnings.catch_warnings():  # the file is older than the format that anndata now writes
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(Path(scanpy.origin).parent / "datasets" / name)


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
    """Keep the genes that vary most for their mean (scanpy's default ranking), in their order."""
    import scanpy as sc  # here only: importing it takes seconds

    sc.pp.filter_genes(adata, min_cells=1)
    if n_genes is not None and n_genes < adata.n_vars:
        logged = sc.pp.log1p(sc.pp.normalize_total(adata, target_sum=1e4, copy=True), copy=True)
        table = sc.pp.highly_variable_genes(logged, inplace=False)
        variable = table["dispersions_norm"].fillna(-np.inf).to_numpy()
        best = np.argsort(-variable, kind="stable")[:n_genes]  # exactly this many, even with ties
        adata = adata[:, np.sort(best)].copy()
    filled, _ = sc.pp.filter_cells(adata, min_counts=1, inplace=False)
    return adata[filled].copy()  # without a column n_counts, which may be there and mean all genes
