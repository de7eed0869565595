"""Several sources, one table: which genes they all have, and what is known of all cells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from nbvae._messages import note, shown
from nbvae.data.counts import CountsError
from nbvae.data.store.same_genes import doubtful_genes
from nbvae.data.store.sources import Source

SOURCE = "source"  # the column of obs that says which file a cell is from
RESERVED = "_index"  # AnnData's name for the names of cells and genes in a file


def common_genes(sources: list[Source], genes: Sequence[str] | None) -> pd.DataFrame:
    """Find the genes that every source has, by name, or those that are asked for.

    Returns:
        ``var`` of the first source, for these genes, in its order or the one asked for.

    Raises:
        CountsError: there are none, or one that is asked for is missing, or is not surely the same
            gene in all sources.

    """
    known = reduce(pd.Index.intersection, [source.var.index for source in sources])
    first = sources[0].var
    doubtful = doubtful_genes(sources, known)
    if genes is not None:
        wanted = pd.Index([str(gene) for gene in genes])
        _refuse_missing(wanted, sources)
        _refuse_doubtful(wanted, doubtful)
        return _storable(first.loc[wanted], of_genes=True)
    if not len(known):
        called = "; ".join(f"{s.name}: {shown(s.var.index, most=3)}" for s in sources)
        raise CountsError(f"No gene is in all sources, by its name. They are called: {called}.")
    left_out = [f"{len(s.var) - len(known):,} of {s.name}" for s in sources]
    if any(len(source.var) > len(known) for source in sources):
        note(f"Kept: the {len(known):,} genes of all sources; left out: {', '.join(left_out)}.")
    if len(doubtful):
        note(
            f"Left out, too: {len(doubtful):,} names that may be another gene in each source, "
            f"since they or their gene_ids differ: {shown(doubtful, most=4)}."
        )
    return _storable(first[first.index.isin(known.difference(doubtful))], of_genes=True)


def _refuse_missing(wanted: pd.Index, sources: list[Source]) -> None:
    if not len(wanted) or not wanted.is_unique:
        raise CountsError("genes names none, or one twice.")
    for source in sources:
        missing = wanted[~wanted.isin(source.var.index)]
        if len(missing):
            raise CountsError(f"{source.name} lacks {len(missing)} of genes: {shown(missing)}.")


def _refuse_doubtful(wanted: pd.Index, doubtful: pd.Index) -> None:
    among = wanted[wanted.isin(doubtful)]
    if len(among):
        raise CountsError(
            f"These names may be another gene in each source, since they occur twice in one or "
            f"their gene_ids differ: {shown(among)}. Name the genes of all sources alike first, by "
            "their gene_ids, say."
        )


def common_obs(sources: list[Source]) -> pd.DataFrame:
    """Stack what is known of the cells, source by source."""
    if len(sources) == 1:
        return _storable(sources[0].obs)
    known = reduce(pd.Index.intersection, [source.obs.columns for source in sources])
    others = sorted({c for source in sources for c in source.obs.columns} - set(known), key=str)
    if others:
        note(f"Columns of obs that not all sources have are left out: {shown(others)}.")
    obs = pd.concat([source.obs[known] for source in sources])
    lengths = [len(source.obs) for source in sources]
    obs[_name_of_source(known)] = np.repeat([source.name for source in sources], lengths)
    return _storable(obs)


def _name_of_source(known: pd.Index) -> str:
    """Name the column that says which file a cell is from; one that is there stays."""
    name = SOURCE
    while name in known:
        name += "_file"
    if name != SOURCE:
        note(f"obs has a column {SOURCE!r}: which file a cell is from stands in {name!r}.")
    return name


def refuse_names(source: Source) -> None:
    """Refuse columns of obs and var that AnnData's files can't hold, before hours of work.

    Raises:
        CountsError: which one, of which source.

    """
    for what, table in (("obs", source.obs), ("var", source.var)):
        names = table.columns
        for name in names:
            if not isinstance(name, str) or "/" in name or name == RESERVED:
                raise _no_name(source, what, name, "is no name for a column of a file")
        if not names.is_unique:
            raise _no_name(source, what, names[names.duplicated()][0], "occurs twice")


def _no_name(source: Source, what: str, name: object, fault: str) -> CountsError:
    return CountsError(
        f"{source.name}: the column {name!r} of {what} {fault}. Rename it or leave it out: "
        f"adata.{what} = adata.{what}.drop(columns=[{name!r}])."
    )


def _storable(table: pd.DataFrame, *, of_genes: bool = False) -> pd.DataFrame:
    """Make categories of words of all columns but numbers; no value stays none.

    Words of genes, such as their identifiers, stay words.
    """
    table = table.copy()
    for name in table.columns:
        if not (of_genes and pd.api.types.infer_dtype(table[name], skipna=True) == "string"):
            table[name] = _storable_column(table[name])
    names = table.index.astype(str)
    return table.set_axis(names.rename(None) if names.name in table else names, axis="index")


def _storable_column(column: pd.Series) -> pd.Series | pd.Categorical:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories
        is_plain = pd.api.types.is_numeric_dtype(levels.dtype) or levels.dtype == object
        return column if is_plain else column.cat.rename_categories(levels.astype(str))
    there = column.notna()
    words = [_word(value) if known else None for value, known in zip(column, there, strict=True)]
    return pd.Categorical(words)


def _word(value: object) -> str:
    """Write a value; a donor 1 that one source stores as 1.0 and another as "1" is one donor."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]
