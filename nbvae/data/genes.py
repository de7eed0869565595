"""Which column is which gene: a module knows its genes by name, not by place.

A weight belongs to a gene. In a table with the genes in another order it would be applied to the
counts of another gene, and nothing in the numbers would say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from nbvae._arguments import an_anndata
from nbvae._messages import shown
from nbvae.data.counts import count_matrix, refuse_empty_cells


def genes_of(module: object) -> tuple[str, ...] | None:
    """Return the names of the ``n_genes`` genes of a module, in its order; None: it has none.

    Raises:
        ValueError: it has not as many names as genes.

    """
    genes, n_genes = getattr(module, "genes", None), getattr(module, "n_genes", None)
    if not isinstance(n_genes, int) or isinstance(genes, str) or not isinstance(genes, Iterable):
        return None  # another kind of module: its attributes mean something else
    names = tuple(map(str, genes))
    if len(names) != n_genes:
        raise ValueError(f"module.genes has {len(names)} names, but it models {n_genes} genes.")
    return names


def layer_of(module: object) -> str | None:
    """Return the layer in which a module expects counts; None: in ``X``."""
    layer = getattr(module, "layer", None)
    return layer if isinstance(layer, str) else None  # another kind of module: its own part


def columns_of(genes: Sequence[str], adata: AnnData) -> np.ndarray | None:
    """Find the column of each of a module's genes; columns of other genes are left out.

    They can be: the library is the total over the genes that are modelled, and nothing else of a
    cell depends on the others.

    Returns:
        (n_genes,), positions in ``adata.var_names``; None if those are just these genes.

    Raises:
        ValueError: a gene is missing, or a name occurs twice and so doesn't identify one.

    """
    wanted, have = pd.Index(genes, dtype=object), adata.var_names
    if wanted.equals(have):
        return None
    missing = wanted[~wanted.isin(have)]
    if len(missing):
        raise ValueError(f"{_complaint(wanted, missing, adata)} {_way_out(wanted, adata)}")
    twice = wanted[wanted.isin(have[have.duplicated()]) | wanted.duplicated()].unique()
    if len(twice):
        raise ValueError(
            f"Genes are found by name, but these names occur twice: {shown(twice)}. Run "
            "adata.var_names_make_unique(), here and before the module is made."
        )
    first = ~have.duplicated()  # other genes' names may occur twice
    return np.flatnonzero(first)[have[first].get_indexer(wanted)]


def with_genes(
    adata: AnnData, genes: Sequence[str], *, layer: str | None = None
) -> tuple[AnnData, tuple[str, ...]]:
    """Copy the counts of these genes, in this order, and 0 for those that are not there.

    Returns:
        The table, its counts in ``X``, with the same ``obs``; and the genes that it lacked.

    Raises:
        CountsError, KeyError, TypeError: as in ``count_matrix``.
        ValueError: it has none of the genes, or a name occurs twice.

    """
    wanted = pd.Index(genes, dtype=object)
    there = wanted.isin(an_anndata(adata).var_names)
    found = list(wanted[there]) or genes  # none of these is there, as columns_of will say
    columns = columns_of(found, adata)
    counts = count_matrix(adata, layer=layer)
    counts = counts if columns is None else counts[:, columns].sorted_indices()
    refuse_empty_cells(adata, counts, "In the genes of the module")
    places = np.flatnonzero(there)
    parts = (counts.data, places[counts.indices], counts.indptr)
    whole = sparse.csr_matrix(parts, shape=(adata.n_obs, len(wanted)))
    return AnnData(whole, obs=adata.obs, var=pd.DataFrame(index=wanted)), tuple(wanted[~there])


def _complaint(wanted: pd.Index, missing: pd.Index, adata: AnnData) -> str:
    if len(missing) == len(wanted):
        return (
            f"This table has none of the {len(wanted)} genes that the module models: its genes are "
            f"called {shown(adata.var_names, most=3) or 'nothing'}, the module's "
            f"{shown(wanted, most=3)}."
        )
    return (
        f"{len(missing)} of the {len(wanted)} genes that the module models are missing from this "
        f"table: {shown(missing)}. A gene that was not measured is not one without counts."
    )


def _way_out(wanted: pd.Index, adata: AnnData) -> str:
    """Say where the genes are, if they are anywhere; else what else can be done."""
    for column in adata.var.columns:
        if wanted.isin(adata.var[column].astype(str)).all():
            return f"var[{column!r}] has them all: adata.var_names = adata.var[{column!r}]."
    if adata.raw is not None and wanted.isin(adata.raw.var_names).all():
        return "adata.raw has them all: pass adata.raw.to_adata(), if it holds counts."
    if not wanted.isin(adata.var_names).any() and len(wanted) == adata.n_vars:
        return (
            "If these are the module's genes, in its order, say so: "
            "adata.var_names = list(module.genes)."
        )
    return (
        "Pass the table as it was before genes were chosen, or build a module for the genes that "
        "are there: NBVAE.for_counts(adata)."
    )
