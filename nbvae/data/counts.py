"""What a matrix of raw counts is, and how it is checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse

from nbvae._arguments import an_anndata
from nbvae._messages import cell_name, shown

TOO_MANY = 2**24  # float32 holds each integer below; 2²⁴ itself may be a rounded 2²⁴ + 1


class CountsError(ValueError):
    """The matrix is not one of raw counts; the message names the place and the way out."""


def count_matrix(adata: AnnData, *, layer: str | None = None) -> sparse.csr_matrix:
    """Take the raw counts out of an AnnData, checked.

    Args:
        adata: cells × genes.
        layer: the layer that holds the counts; ``X`` when left out, or by the name "X".

    Returns:
        (n_cells, n_genes), CSR, float32, integers ≥ 0, with at least one count in each cell.
        A gene may be without counts. Entries that are stored twice are added up, as in scipy.

    Raises:
        TypeError: ``adata`` is no AnnData, or ``layer`` no string.
        KeyError: there is no such layer.
        CountsError: no cells or genes, NaN or infinite values, negative values, fractions, counts
            from 2²⁴ on, a cell without counts, or positions outside the matrix.

    """
    an_anndata(adata)
    if not (layer is None or isinstance(layer, str)):
        raise TypeError(f"layer must be the name of a layer, not {layer!r}.")
    layer = None if layer == "X" and "X" not in adata.layers else layer  # a name for the matrix X
    place = "X" if layer is None else f"layers[{layer!r}]"
    matrix = _stored(adata, layer, place)
    if 0 in matrix.shape:
        raise CountsError(
            f"{place} has {matrix.shape[0]} cells and {matrix.shape[1]} genes: "
            "there is nothing to model. Was everything filtered out?"
        )
    _check_values(adata, matrix, place)
    refuse_empty_cells(adata, matrix, place)
    return matrix.astype(np.float32)


def _stored(adata: AnnData, layer: str | None, place: str) -> sparse.csr_matrix:
    """Fetch the matrix as CSR, from memory or from an opened file."""
    if layer is not None and layer not in adata.layers:
        have = shown(adata.layers) or "none"
        raise KeyError(
            f"There is no layer {layer!r}; the layers are: {have}. For counts in X pass layer='X'."
        )
    stored = adata.X if layer is None else adata.layers[layer]
    if stored is None:
        raise CountsError(f"X is empty. {_way_out(adata)}")
    return _as_csr(stored, place)


def _as_csr(stored: Any, place: str) -> sparse.csr_matrix:
    """Bring a stored matrix into the one form that is checked; ``stored`` is not changed.

    Afterwards each row is sorted, each entry is there once, and no zeros are stored.
    """
    if hasattr(stored, "compute"):  # dask: a matrix that is still to be read
        stored = stored.compute()
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


def refuse_empty_cells(adata: AnnData, matrix: sparse.csr_matrix, place: str) -> None:
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
        f"{cell_name(adata, row)}, gene {adata.var_names[column]!r} (column {column}) is "
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
        return "X holds whole numbers: pass layer='X'."
    for name in adata.layers:
        if _looks_like_counts(adata.layers[name]):
            return f"layers[{name!r}] holds whole numbers: pass layer={name!r}."
    if adata.raw is not None and _looks_like_counts(adata.raw.X):
        return f"adata.raw holds whole numbers: pass {_from_raw(adata)}."
    return "Pass the raw counts, as they were before normalisation."


def _from_raw(adata: AnnData) -> str:
    """Spell how to get the counts of the same genes out of ``adata.raw``, which may have more."""
    more = not adata.var_names.equals(adata.raw.var_names)
    same = more and bool(adata.var_names.isin(adata.raw.var_names).all())
    return "adata.raw.to_adata()" + ("[:, adata.var_names].copy()" if same else "")


def _looks_like_counts(stored: Any) -> bool:
    """Whether all values are integers ≥ 0, and not all are 0."""
    try:
        values = _as_csr(stored, "").data
    except CountsError:
        return False
    return len(values) > 0 and _first_wrong(values) is None
