"""Genes of several sources are found by name. Which names may mean another gene in each of them?

Some genes share a name: a reference of Cell Ranger has a dozen or more, TBCE and MATR3 among them.
A table tells them apart by their order, "TBCE" and "TBCE-1", and another table may have the other
order: under one name there would be counts of two genes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbvae.data.store.sources import Source

IDS = "gene_ids"  # the column of var with Ensembl's identifiers, as scanpy and this package name it
NUMBERED = r"^(.+)[-.]\d+$"  # how Python's and R's tools name the second of two genes


def doubtful_genes(sources: list[Source], known: pd.Index) -> pd.Index:
    """Find the names that may be another gene in each source.

    With identifiers in all sources: those whose identifiers differ, versions (".7") aside. Without:
    those that a source had twice, unless all sources name the same genes in the same order.

    Args:
        sources: one or more; each gene of a source has a name of its own.
        known: the names that all have.

    """
    if all(IDS in source.var for source in sources):
        first, *others = (_ids(source, known) for source in sources)
        differ = np.zeros(len(known), dtype=bool)
        for other in others:
            differ |= other != first
        return known[differ]
    if all(source.var.index.equals(sources[0].var.index) for source in sources):
        return known[:0]
    doubtful: set[str] = set()
    for source in sources:
        doubtful |= _twice(source.var.index)
    return known[known.isin(doubtful)]


def _ids(source: Source, known: pd.Index) -> np.ndarray:
    """Read the identifiers of some genes, without their versions."""
    ids = source.var.loc[known, IDS].astype(str)
    return ids.str.replace(r"\.\d+$", "", regex=True).to_numpy()


def _twice(names: pd.Index) -> set[str]:
    """Find the names that a table had twice before the second got a number: both of them."""
    first = names.to_series().str.extract(NUMBERED)[0]
    second = names[first.isin(names).to_numpy()]
    return {*second, *first[second]}
