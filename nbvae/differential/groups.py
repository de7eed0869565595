"""Who is compared with whom: two groups of cells, their replicates, and when to be wary of them."""

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData

from nbvae._arguments import an_anndata
from nbvae._messages import cell_name, shown
from nbvae.data.covariate import Category
from nbvae.data.indices import positions_of

LEAST_SHARED = 0.1  # of two groups' cells that have a counterpart, by batch, in the other group


class Groups(NamedTuple):
    """The rows of the cells of two groups, each row once and in one of them at most."""

    first: np.ndarray
    second: np.ndarray


def chosen_groups(adata: AnnData, group1: Any, group2: Any, groupby: str | None) -> Groups:
    """Find the cells of two groups.

    Args:
        adata: the cells.
        group1: a mask, row numbers or names of cells; with ``groupby``, a value of that column, or
            several.
        group2: the same; all other cells when None.
        groupby: a column of ``obs``.

    Raises:
        KeyError: a cell, a column or a value is not there.
        ValueError: a group is empty, or a cell is in both.

    """
    an_anndata(adata)
    if groupby is None:
        rows1 = _rows(adata, group1, "group1")
        rest = np.setdiff1d(np.arange(adata.n_obs), rows1)
        rows2 = rest if group2 is None else _rows(adata, group2, "group2")
    else:
        labels = labels_of(adata, groupby)
        rows1 = _labelled(labels, group1, "group1", groupby)
        others = [label for label in sorted(set(labels) - {""}) if label not in set(labels[rows1])]
        rows2 = _labelled(labels, others if group2 is None else group2, "group2", groupby)
    if len(rows2) == 0:
        raise ValueError("group1 has all cells, so there is none left to compare them with.")
    _refuse_overlap(adata, rows1, rows2)
    return Groups(rows1, rows2)


def labels_of(adata: AnnData, key: str) -> np.ndarray:
    """Read a column of ``obs`` as strings, (n_cells,); "" for a cell without a value.

    Raises:
        KeyError: there is no such column.

    """
    if key not in adata.obs:
        have = shown(adata.obs.columns) or "none"
        raise KeyError(f"There is no column {key!r} in obs; the columns are: {have}.")
    column = adata.obs[key]
    return np.where(column.isna(), "", column.astype(str)).astype(object)


def replicates_of(adata: AnnData, rows: np.ndarray, key: str, argument: str) -> np.ndarray:
    """Read which replicate each cell of a group is from, (n,).

    Raises:
        KeyError: there is no such column.
        ValueError: a cell has no value, or the group has one replicate only.

    """
    labels = labels_of(adata, key)[rows]
    if (labels == "").any():
        row = int(rows[(labels == "").argmax()])
        raise ValueError(
            f"replicates: obs[{key!r}] has no value for {cell_name(adata, row)}. Give it one, or "
            "leave the cell out of the groups."
        )
    if len(set(labels)) < 2:
        raise ValueError(
            f"replicates: all cells of {argument} are of {labels[0]!r} in obs[{key!r}], and one "
            "replicate does not show how replicates differ. Without replicates=, p speaks of cells."
        )
    return labels


def refuse_single(adata: AnnData, groups: Groups) -> None:
    """Refuse a group of one cell, whose mean says nothing of how far other cells are from it.

    Raises:
        ValueError: a group has one cell.

    """
    for argument, rows in zip(("group1", "group2"), groups, strict=True):
        if len(rows) == 1:
            raise ValueError(
                f"{argument} has one cell, {cell_name(adata, int(rows[0]))}, and one cell does not "
                "show how cells of its group differ. rule='pairs' compares cells, not groups."
            )


def warn_if_batches(adata: AnnData, groups: Groups, taken_out: Iterable[Category]) -> None:
    """Warn where the groups hardly share a level: decoding as if removes that difference."""
    for category in taken_out:
        design = category.design(adata)
        shares = [design[rows].mean(axis=0) for rows in groups]
        shared = float(np.minimum(*shares).sum())
        if shared < LEAST_SHARED:
            warnings.warn(
                f"The two groups are of different levels of obs[{category.key!r}] ({shared:.0%} of "
                "their cells have their like in the other group). What the model was told of "
                "these levels is taken out of the comparison, and the difference between the "
                "groups with it. covariates='own' keeps it; what is then the groups' and what the "
                "levels' own, these cells can't tell.",
                stacklevel=3,
            )


def _rows(adata: AnnData, group: Any, argument: str) -> np.ndarray:
    if group is None or (isinstance(group, str) and group not in adata.obs_names):
        columns = [key for key in adata.obs if (adata.obs[key].astype(str) == group).any()]
        way = f"pass groupby={columns[0]!r}" if columns else "pass groupby=, a column of obs"
        raise ValueError(
            f"{argument}={group!r} names no cells. A mask, row numbers or names of cells were "
            f"expected; to name a group, {way}."
        )
    cells = [group] if isinstance(group, str) else group
    return np.unique(positions_of(cells, adata.obs_names, what="cells", argument=argument))


def _labelled(labels: np.ndarray, group: Any, argument: str, groupby: str) -> np.ndarray:
    """Find the cells that have one of some values in a column."""
    single = isinstance(group, str) or not np.iterable(group)
    wanted = [str(value) for value in ([group] if single else group)]
    known = sorted(set(labels) - {""})
    unknown = [value for value in wanted if value not in known]
    if unknown:
        raise KeyError(
            f"{argument}: {shown(unknown)} is not in obs[{groupby!r}], which has {shown(known)}."
        )
    return np.flatnonzero(np.isin(labels.astype(str), wanted)) if wanted else np.array([], int)


def _refuse_overlap(adata: AnnData, rows1: np.ndarray, rows2: np.ndarray) -> None:
    both = np.intersect1d(rows1, rows2)
    if len(both):
        raise ValueError(
            f"The groups overlap: {len(both)} cells are in both, the first is "
            f"{cell_name(adata, int(both[0]))}."
        )
