"""What a table of fractions looks like, so that a message can call it by its name.

Each guess rests on something that can be seen in the numbers and hardly comes about by chance.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

BEFORE_NORMALISATION = "Pass the raw counts, as they were before normalisation."
ESTIMATES_FROM = 20  # no usual logarithm of a count reaches it
LARGEST_LOGARITHM = 50  # beyond it, the inverse is no plausible count
ROWS_TRIED = 100


class Looks(NamedTuple):
    """What the values seem to be, and the way to counts."""

    words: str
    way_out: str = BEFORE_NORMALISATION


class _Inverse(NamedTuple):
    name: str  # of the step that is undone
    call: str  # what undoes it, as a user would write it
    undo: Callable[[np.ndarray], np.ndarray]


INVERSES = (
    _Inverse("log", "expm1", np.expm1),
    _Inverse("log2", "exp2(x) - 1", lambda x: np.exp2(x) - 1),
    _Inverse("log10", "10**x - 1", lambda x: 10**x - 1),
)


def looks(matrix: sparse.csr_matrix) -> Looks:
    """Recognise the usual tables that are not counts.

    Args:
        matrix: cells × genes, finite, ≥ 0, no zeros stored, with fractions.

    """
    matrix = matrix.astype(np.float64)
    for guess in (_of_equal_totals, _logarithms, _multiples, _estimates):
        if found := guess(matrix):
            return found
    return Looks("These look like normalised values or estimates.")


def _of_equal_totals(matrix: sparse.csr_matrix) -> Looks | None:
    if not _equal_totals(matrix):
        return None
    total = matrix.sum() / matrix.shape[0]
    names = {1: ": shares", 100: ": per cent", 1e6: ", a million: CPM or TPM"}
    name = next((names[n] for n in names if abs(total / n - 1) < 0.01), "")
    return Looks(f"These look like normalised values: each row has the same sum{name}.")


def _logarithms(matrix: sparse.csr_matrix) -> Looks | None:
    """Undo a logarithm, and see whether counts, or normalised counts, come out."""
    if matrix.data.max() >= LARGEST_LOGARITHM:
        return None
    for inverse, undone in _undone(matrix):
        if np.abs(undone.data - np.rint(undone.data)).max() < 0.01 and undone.data.max() > 1.5:
            by_hand = " Or undo it: adata.X = np.expm1(adata.X)." if inverse.name == "log" else ""
            return Looks(
                f"These look like {inverse.name}(1 + x) of counts: {inverse.call} of each value "
                "is whole.",
                f"Pass the raw counts, before the logarithm.{by_hand}",
            )
        if _equal_totals(undone):
            return Looks(
                f"These look like {inverse.name}-normalised values: {inverse.call} of each row "
                "has the same sum."
            )
    for inverse, undone in _undone(matrix):
        if _units(undone) is not None:
            return Looks(
                f"These look like {inverse.name}-normalised values of some of the genes: "
                f"{inverse.call} of each cell's values are whole multiples of one number."
            )
    return None


def _undone(matrix: sparse.csr_matrix) -> Iterator[tuple[_Inverse, sparse.csr_matrix]]:
    for inverse in INVERSES:
        undone = matrix.copy()
        undone.data = inverse.undo(undone.data)
        yield inverse, undone


def _multiples(matrix: sparse.csr_matrix) -> Looks | None:
    """Counts that were divided by a number per cell: all are multiples of what was a 1."""
    units = _units(matrix)
    if units is None:
        return None
    if np.ptp(units) < 1e-3 * units.mean():
        return Looks(
            "These look like normalised values or estimates: all are whole multiples of "
            f"{units.mean():.4g}."
        )
    return Looks(
        "These look like normalised values: each cell's are whole multiples of its smallest."
    )


def _units(matrix: sparse.csr_matrix) -> np.ndarray | None:
    """Find each cell's smallest value, if (nearly) all its others are multiples of it.

    By chance one value in 25 is that close to a multiple, so cells with few different values say
    nothing.
    """
    units, agree = [], []
    for row in range(min(matrix.shape[0], ROWS_TRIED)):
        values = np.unique(matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]])
        ratios = values / values[0] if len(values) else values
        ratios = ratios[(ratios > 1.01) & (ratios < ESTIMATES_FROM)]
        if len(ratios) >= 3:
            units.append(values[0])
            agree.append(bool((np.abs(ratios - np.rint(ratios)) < 0.02).all()))
    return np.array(units) if units and np.mean(agree) > 0.9 else None


def _estimates(matrix: sparse.csr_matrix) -> Looks | None:
    """Fractions on the scale of counts, not normalised: what programs that correct counts leave."""
    whole = (matrix.data == np.rint(matrix.data)).mean()
    if matrix.data.max() < ESTIMATES_FROM and whole < 0.1:
        return None
    return Looks(
        "These look like estimated or corrected counts, as programs leave them that take away "
        "ambient RNA (SoupX, decontX, CellBender) or share reads out among genes (RSEM, salmon, "
        "alevin); or like normalised values or estimates of another kind.",
        "Pass the raw counts from before that step. Without them, round: roundToInt=TRUE in "
        "SoupX's adjustCounts, else adata.X = np.rint(adata.X).",
    )


def _equal_totals(matrix: sparse.csr_matrix) -> bool:
    """Whether all rows sum to nearly one number, as after normalisation."""
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    return len(totals) > 1 and bool(np.ptp(totals) < 0.01 * totals.mean())
