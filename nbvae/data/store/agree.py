"""Several sources, one table: which genes they all have, and what is known of all cells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from nbvae._messages import note, shown
from nbvae.data.counts import CountsError
from nbvae.data.store.sources import Source

SOURCE = "source"  # the column of obs that says which file a cell is from


def common_genes(sources: list[Source], genes: Sequence[str] | None) -> pd.DataFrame:
    """Find the genes that every source has, by name, or those that are asked for.

    Returns:
        ``var`` of the first source, for these genes, in its order or the one asked for.

    Raises:
        CountsError: there are none, or one that is asked for is missing.

    """
    known = reduce(pd.Index.intersection, [source.var.index for source in sources])
    first = sources[0].var
    if genes is not None:
        wanted = pd.Index([str(gene) for gene in genes])
        _refuse_missing(wanted, sources)
        return first.loc[wanted]
    if not len(known):
        called = "; ".join(f"{s.name}: {shown(s.var.index, most=3)}" for s in sources)
        raise CountsError(f"No gene is in all sources, by its name. They are called: {called}.")
    left_out = [f"{len(s.var) - len(known):,} of {s.name}" for s in sources]
    if any(len(source.var) > len(known) for source in sources):
        note(f"Kept: the {len(known):,} genes of all sources; left out: {', '.join(left_out)}.")
    return first[first.index.isin(known)]


def _refuse_missing(wanted: pd.Index, sources: list[Source]) -> None:
    if not len(wanted) or not wanted.is_unique:
        raise CountsError("genes names none, or one twice.")
    for source in sources:
        missing = wanted[~wanted.isin(source.var.index)]
        if len(missing):
            raise CountsError(f"{source.name} lacks {len(missing)} of genes: {shown(missing)}.")


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
    obs[SOURCE] = np.repeat([source.name for source in sources], lengths)
    return _storable(obs)


def _storable(obs: pd.DataFrame) -> pd.DataFrame:
    """Turn strings and mixed types into categories of strings; a missing value stays missing."""
    obs = obs.copy()
    for name in obs.columns:
        column = obs[name]
        if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
            obs[name] = pd.Categorical(column.astype(str).where(column.notna()))
    return obs.set_axis(obs.index.astype(str), axis="index")
