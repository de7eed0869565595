"""What a matrix of raw counts is, and how it is checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse

from nbvae._arguments import an_anndata
from nbvae._messages import cell_name, shown
from nbvae.data.looks import Looks, looks
from nbvae.data.sound import Compressed, sound

TOO_MANY = 2**24  # float32 holds each integer below; 2²⁴ itself may be a rounded 2²⁴ + 1
NEARLY_WHOLE = 1e-4  # how far from an integer a computed count may be: at least this …
AT_MOST = 0.1  # … and at most this: beyond, which integer it was is no longer certain
TWO_LAST_PLACES = 2.0**-22  # relative error of a float32 function: rounding, and its own
AT_ONCE = 2**20  # values
MANY_EMPTY = 1000  # cells; this many are more than a few that lost their genes


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
        Where nothing had to be changed, its arrays are those of the AnnData: copy it before you
        write into it.
        Values that are nearly whole, as counts are after a logarithm and its inverse in float32,
        are rounded, with a warning: within 1e-4, or (1 + n) log(1 + n) + n times 2⁻²² near n.

    Raises:
        TypeError: ``adata`` is not an AnnData, or ``layer`` not a string.
        KeyError: there is no such layer.
        CountsError: no cells or genes, NaN or infinite values, negative values, fractions, counts
            of 2²⁴ or more, a cell without counts, or positions outside the matrix.

    """
    an_anndata(adata)
    if not (layer is None or isinstance(layer, str)):
        raise TypeError(f"layer must be the name of a layer, not {layer!r}.")
    layer = None if layer == "X" and "X" not in adata.layers else layer  # a name for the matrix X
    place = "X" if layer is None else f"layers[{layer!r}]"
    matrix = _stored(adata, layer, place)
    if 0 in adata.shape:  # of which scipy may make another shape
        raise CountsError(
            f"{place} has {adata.n_obs} cells and {adata.n_vars} genes: "
            "there is nothing to model. Was everything filtered out?"
        )
    if wrong := _first_wrong(matrix.data):
        raise _no_counts(adata, matrix, place, wrong)
    matrix = _whole(adata, matrix, place)
    refuse_empty_cells(adata, matrix, place)
    return matrix.astype(np.float32, copy=False)


def layers_of(adata: AnnData) -> list[str]:
    """Name the layers. From anndata 0.13 on, X is one of them, under the name None."""
    return [name for name in adata.layers if name is not None]


def _stored(adata: AnnData, layer: str | None, place: str) -> sparse.csr_matrix:
    """Fetch the matrix as CSR, from memory or from an opened file."""
    if layer is not None and layer not in adata.layers:
        have = shown(layers_of(adata)) or "none"
        raise KeyError(
            f"There is no layer {layer!r}; the layers are: {have}. For counts in X pass layer='X'."
        )
    stored = adata.X if layer is None else adata.layers[layer]
    if stored is None:
        if hasattr(adata, "on_disk"):  # a store, which says itself where its counts are
            raise CountsError(adata.on_disk)
        name_it = "Name the layer that holds the counts: layer='…'."
        raise CountsError(f"X is empty. {_way_out(adata, name_it)}")
    return _as_csr(stored, place)


def _as_csr(stored: Any, place: str) -> sparse.csr_matrix:
    """Bring a stored matrix into the one form that is checked; ``stored`` is not changed.

    Afterwards each row is sorted, each entry occurs once, and no zeros are stored.
    """
    stored = _in_memory(stored, place)
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


def _in_memory(stored: Any, place: str) -> Any:
    """Read what is still in a file, or not yet computed; refuse masked values."""
    if sparse.issparse(stored):
        return stored
    if isinstance(stored, np.ma.MaskedArray) and stored.mask.any():
        raise CountsError(f"{place} is masked in places; fill them: adata.X.filled(0).")
    for reads_it in ("to_memory", "compute"):  # AnnData's sparse matrices on disk, dask's arrays
        if hasattr(stored, reads_it):
            return getattr(stored, reads_it)()
    return stored[:]


def _sound(stored: Any, place: str) -> Compressed:
    """Refuse a sparse matrix with positions outside it: scipy would write over other memory."""
    try:
        return sound(stored)
    except ValueError as error:
        raise CountsError(f"{place} is damaged: {error}. Read or make it again.") from error


def _no_counts(adata: AnnData, matrix: sparse.csr_matrix, place: str, wrong: _Wrong) -> CountsError:
    """Name the entry at fault, what the whole table looks like, and where to find counts."""
    table = looks(matrix) if not wrong.advice else Looks(wrong.advice)
    return CountsError(
        f"{place} does not hold raw counts: {_entry(adata, matrix, wrong.entry)}, "
        f"{wrong.complaint}. {table.words} {_way_out(adata, table.way_out)}"
    )


class _Wrong(NamedTuple):
    entry: int  # which of the stored values
    complaint: str
    advice: str


def _first_wrong(values: np.ndarray) -> _Wrong | None:
    """Find the first value that can't be a count, if there is one."""
    for is_wrong, complaint, advice in (
        (_not_finite, "not a finite number", "Remove or repair such cells first."),
        (_negative, "negative", "Scaled or batch-corrected values are not counts."),
        (_fractions, "not a whole number", ""),
        (
            _too_many,
            f"too many: from {TOO_MANY:,} on, float32 skips whole numbers",
            "No cell has that many molecules of a gene.",
        ),
    ):
        for start, some in _in_pieces(values):
            wrong = is_wrong(some)
            if wrong.any():
                return _Wrong(start + int(wrong.argmax()), complaint, advice)
    return None


def _in_pieces(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Go through values that may fill the memory: what is computed of a piece takes little."""
    for start in range(0, len(values), AT_ONCE):
        yield start, values[start : start + AT_ONCE]


def _not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values)


def _negative(values: np.ndarray) -> np.ndarray:
    return values < -NEARLY_WHOLE


def _too_many(values: np.ndarray) -> np.ndarray:
    return values >= TOO_MANY


def _fractions(values: np.ndarray) -> np.ndarray:
    """Tell which values are farther from an integer than computing can have moved a count.

    In float32, y = log1p(n)(1 + a) and v = expm1(y)(1 + b) give v ≈ n + (1 + n) log1p(n) a + n b.
    """
    nearest = np.rint(values)
    apart = values != nearest
    if apart.any():
        n = np.abs(nearest[apart]).astype(np.float64)
        error = TWO_LAST_PLACES * ((1 + n) * np.log1p(n) + n)
        off = np.abs(values[apart].astype(np.float64) - nearest[apart])
        apart[apart] = off > error.clip(NEARLY_WHOLE, AT_MOST)
    return apart


def _whole(adata: AnnData, matrix: sparse.csr_matrix, place: str) -> sparse.csr_matrix:
    """Round what is nearly whole, and say so; ``matrix`` is not changed."""
    if all((np.rint(some) == some).all() for _, some in _in_pieces(matrix.data)):
        return matrix
    nearest = np.rint(matrix.data)
    moved = nearest != matrix.data
    rounded = sparse.csr_matrix((nearest, matrix.indices, matrix.indptr), shape=matrix.shape)
    emptied = np.flatnonzero((rounded.max(axis=1).toarray().ravel() == 0) & _filled(matrix))
    if len(emptied):
        entry = _Wrong(int(matrix.indptr[emptied[0]]), "not a whole number", "")
        raise _no_counts(adata, matrix, place, entry)
    off = np.abs(nearest - matrix.data)
    warnings.warn(
        f"{place}: {moved.sum():,} values are not quite whole, as after a logarithm and its "
        f"inverse; they were rounded. The farthest is off by {off.max():.1g}: "
        f"{_entry(adata, matrix, int(off.argmax()))}.",
        stacklevel=3,
    )
    rounded = rounded.copy()
    rounded.eliminate_zeros()
    return rounded


def _filled(matrix: sparse.csr_matrix) -> np.ndarray:
    """Tell which rows have entries, (n_cells,)."""
    return np.diff(matrix.indptr) > 0


def refuse_empty_cells(adata: AnnData, matrix: sparse.csr_matrix, place: str) -> None:
    """Refuse empty cells: their library is 0, and nothing can be learned from no counts."""
    empty = np.flatnonzero(~_filled(matrix))
    if len(empty):
        droplets = len(empty) > max(MANY_EMPTY, matrix.shape[0] / 2)
        raise CountsError(
            f"{place}: {len(empty)} of {matrix.shape[0]} cells have no counts at all in these "
            f"genes, the first is {adata.obs_names[empty[0]]!r} (row {empty[0]}). "
            f"{RAW_MATRIX if droplets else ''}Remove them{_without_empty(adata, place)}."
        )


RAW_MATRIX = (
    "That many are barcodes without a cell: of Cell Ranger's two tables, this looks like "
    "raw_feature_bc_matrix; take filtered_feature_bc_matrix. "
)


def _without_empty(adata: AnnData, place: str) -> str:
    """Write the call that removes empty cells; scanpy's would look at X, and write ``n_counts``."""
    if place != "X" and not place.startswith("layers"):
        return ""
    if place == "X" and "n_counts" not in adata.obs:
        return ": sc.pp.filter_cells(adata, min_counts=1)"
    return f": adata = adata[np.asarray(adata.{place}.sum(axis=1)).ravel() > 0].copy()"


def _entry(adata: AnnData, matrix: sparse.csr_matrix, entry: int) -> str:
    """Name one of the stored values for a message: its cell, its gene, what it is."""
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    column = int(matrix.indices[entry])
    return (
        f"{cell_name(adata, row)}, gene {adata.var_names[column]!r} (column {column}) is "
        f"{_digits(matrix.data[entry])}"
    )


def _digits(value: np.number) -> str:
    """Write a value with enough digits to tell it from a whole number."""
    if float(value).is_integer():
        return f"{float(value):.12g}"
    short = f"{float(value):.6g}"
    return str(value) if float(short).is_integer() else short


def _way_out(adata: AnnData, otherwise: str) -> str:
    """Name the place in the AnnData that does hold counts, if one does."""
    if adata.X is not None and _looks_like_counts(adata.X):
        return "X holds whole numbers: pass layer='X'."
    for name in layers_of(adata):
        if _looks_like_counts(adata.layers[name]):
            return f"layers[{name!r}] holds whole numbers: pass layer={name!r}."
    if adata.raw is not None and _looks_like_counts(adata.raw.X):
        return f"adata.raw holds whole numbers: pass {_from_raw(adata)}."
    return otherwise


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
