"""What a matrix of raw counts is, how it is checked; cells' batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from nbvae._messages import shown

TOO_MANY = 2**24  # float32 holds each integer below; 2²⁴ itself may be a rounded 2²⁴ + 1


class CountsError(ValueError):
    """The matrix is not one of raw counts; the message names the place and the way out."""


def count_matrix(adata: AnnData, *, layer: str | None = None) -> sparse.csr_matrix:
    """Take the raw counts out of an AnnData, checked.

    Args:
        adata: cells × genes.
        layer: the layer that holds the counts; ``X`` when left out.

    Returns:
        (n_cells, n_genes), CSR, float32, integers ≥ 0, with at least one count in each cell.
        A gene may be without counts. Entries that are stored twice are added up, as in scipy.

    Raises:
        KeyError: there is no such layer.
        CountsError: no cells or genes, NaN or infinite values, negative values, fractions, counts
            from 2²⁴ on, a cell without counts, or positions outside the matrix.

    """
    place = "X" if layer is None else f"layers[{layer!r}]"
    matrix = _stored(adata, layer, place)
    if 0 in matrix.shape:
        raise CountsError(
            f"{place} has {matrix.shape[0]} cells and {matrix.shape[1]} genes: "
            "there is nothing to model. Was everything filtered out?"
        )
    _check_values(adata, matrix, place)
    _check_cells(adata, matrix, place)
    return matrix.astype(np.float32)


class Batches(NamedTuple):
    """The batches (donors, runs, …) that cells come from, each with a fixed code: its place.

    A code belongs to a level's name, not to a table: a subset of the cells, or a column with its
    categories in another order, gives each cell the same code.
    """

    key: str  # the column of adata.obs
    levels: tuple[str, ...]  # sorted as strings: "10" comes before "2"

    @classmethod
    def of(cls, adata: AnnData, key: str) -> Batches:
        """Take the levels that occur in ``adata.obs[key]``; categories without cells don't count.

        Raises:
            KeyError: there is no such column.
            ValueError: a cell has no value, or there are no cells.

        """
        levels = tuple(sorted(set(_batch_names(adata, key))))
        if not levels:
            raise ValueError(f"obs[{key!r}] is empty: there are no cells to take batches from.")
        return cls(key, levels)

    def codes(self, adata: AnnData) -> np.ndarray:
        """Number the batch of each cell. Returns (n_cells,), int64, 0 … len(levels) - 1.

        Raises:
            KeyError: there is no column ``key``.
            ValueError: a cell has no value, or one that is none of the levels.

        """
        names = _batch_names(adata, self.key)
        codes = pd.Index(self.levels, dtype=object).get_indexer(names)  # -1: none of the levels
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise ValueError(
                f"Batch {names[row]!r} of {_cell(adata, row)} in obs[{self.key!r}] is unknown; "
                f"the known ones are: {shown(self.levels)}."
            )
        return codes.astype(np.int64)


def _batch_names(adata: AnnData, key: str) -> np.ndarray:
    """Read a column of ``obs`` as strings, (n_cells,); stop at a cell without a value."""
    if key not in adata.obs:
        have = shown(adata.obs.columns) or "none"
        raise KeyError(f"There is no column {key!r} in obs; the columns are: {have}.")
    column = adata.obs[key]
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"obs[{key!r}] has no value for {_cell(adata, int(missing.argmax()))}: give each "
            "cell a batch, or remove the cells without one."
        )
    return column.astype(str).to_numpy(dtype=object)


def _cell(adata: AnnData, row: int) -> str:
    """Name a cell for a message; the row, too, since names may occur twice."""
    return f"cell {adata.obs_names[row]!r} (row {row})"


def _stored(adata: AnnData, layer: str | None, place: str) -> sparse.csr_matrix:
    """Fetch the matrix as CSR, from memory or from an opened file."""
    if layer is not None and layer not in adata.layers:
        have = shown(adata.layers) or "none"
        raise KeyError(f"There is no layer {layer!r}; the layers are: {have}.")
    stored = adata.X if layer is None else adata.layers[layer]
    if stored is None:
        raise CountsError("X is empty. Name the layer that holds the counts: layer='…'.")
    return _as_csr(stored, place)


def _as_csr(stored: Any, place: str) -> sparse.csr_matrix:
    """Bring a stored matrix into the one form that is checked; ``stored`` is not changed.

    Afterwards each row is sorted, each entry is there once, and no zeros are stored.
    """
    if not sparse.issparse(stored):
        stored = stored[:]  # reads it, if it is in an opened file
    if stored.dtype.kind not in "buif":
        raise CountsError(f"{place} holds values of type {stored.dtype}; counts are numbers.")
    if stored.dtype == np.float16:  # which scipy does not know
        stored = stored.astype(np.float32)
    matrix = _sound(stored, place).tocsr()
    if not matrix.has_canonical_format:
        matrix = matrix.astype(np.float64)  # a copy, in which the sum of two uint8 has room
        matrix.sum_duplicates()
    if not matrix.data.all():
        matrix = matrix.copy()  # until here it may share its arrays with the AnnData
        matrix.eliminate_zeros()
    return matrix


def _sound(stored: Any, place: str) -> sparse.csr_matrix | sparse.csc_matrix:
    """Refuse a sparse matrix with positions outside of it: scipy would write over other memory."""
    by_column = sparse.issparse(stored) and stored.format == "csc"
    matrix = (sparse.csc_matrix if by_column else sparse.csr_matrix)(stored)
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise CountsError(f"{place} is damaged: {error}. Read or make it again.") from error
    return matrix


def _check_values(adata: AnnData, matrix: sparse.csr_matrix, place: str) -> None:
    """Stop at the first entry that can't be a count."""
    wrong = _first_wrong(matrix.data)
    if wrong:
        advice = wrong.advice or _what_fractions_mean(matrix)
        raise CountsError(
            f"{place} does not hold raw counts: {_entry(adata, matrix, wrong.entry)}, "
            f"{wrong.complaint}. {advice} {_way_out(adata)}"
        )


class _Wrong(NamedTuple):
    entry: int  # which of the stored values
    complaint: str
    advice: str


def _first_wrong(values: np.ndarray) -> _Wrong | None:
    """Find the first value that can't be a count, if there is one."""
    for wrong, complaint, advice in (
        (~np.isfinite(values), "not a finite number", "Remove or repair such cells first."),
        (values < 0, "negative", "Scaled or batch-corrected values are not counts."),
        (values != np.rint(values), "not a whole number", ""),
        (
            values >= TOO_MANY,
            f"too many: from {TOO_MANY:,} on, float32 skips whole numbers",
            "No cell has so many molecules of a gene.",
        ),
    ):
        if wrong.any():
            return _Wrong(int(wrong.argmax()), complaint, advice)
    return None


def _check_cells(adata: AnnData, matrix: sparse.csr_matrix, place: str) -> None:
    """Refuse empty cells: their library is 0, and no share of nothing can be learned."""
    empty = np.flatnonzero(np.diff(matrix.indptr) == 0)
    if len(empty):
        raise CountsError(
            f"{place}: {len(empty)} of {matrix.shape[0]} cells have no counts at all in these "
            f"genes, the first is {adata.obs_names[empty[0]]!r} (row {empty[0]}). "
            "Remove them: sc.pp.filter_cells(adata, min_counts=1)."
        )


def _entry(adata: AnnData, matrix: sparse.csr_matrix, entry: int) -> str:
    """Name one of the stored values for a message: its cell, its gene, what it is."""
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    column = int(matrix.indices[entry])
    value = float(matrix.data[entry])
    return (
        f"{_cell(adata, row)}, gene {adata.var_names[column]!r} (column {column}) is "
        f"{value:.{12 if value.is_integer() else 6}g}"
    )


def _what_fractions_mean(matrix: sparse.csr_matrix) -> str:
    """Recognise the usual normalised values, so that the message can name them."""
    if matrix.data.max() < 50:  # beyond, expm1 is no number of counts; all are finite and ≥ 0 here
        undone = matrix.copy()
        undone.data = np.expm1(undone.data)
        if _equal_totals(undone):
            return "These look like log-normalised values: expm1 of each row has the same sum."
    if _equal_totals(matrix):
        return "These look like normalised values: each row has the same sum."
    return "These look like normalised values or estimates."


def _equal_totals(matrix: sparse.csr_matrix) -> bool:
    """Whether all rows sum to nearly one number, as after normalisation."""
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    return len(totals) > 1 and bool(np.ptp(totals) < 0.01 * totals.mean())


def _way_out(adata: AnnData) -> str:
    """Name the place in the AnnData that does hold counts, if one does."""
    if adata.X is not None and _looks_like_counts(adata.X):
        return "X holds whole numbers: leave layer out."
    for name in adata.layers:
        if _looks_like_counts(adata.layers[name]):
            return f"layers[{name!r}] holds whole numbers: pass layer={name!r}."
    if adata.raw is not None and _looks_like_counts(adata.raw.X):
        return "adata.raw holds whole numbers: pass adata.raw.to_adata()."
    return "Pass the raw counts, as they were before normalisation."


def _looks_like_counts(stored: Any) -> bool:
    """Whether all values are integers ≥ 0, and not all are 0."""
    try:
        values = _as_csr(stored, "").data
    except CountsError:
        return False
    return len(values) > 0 and _first_wrong(values) is None
