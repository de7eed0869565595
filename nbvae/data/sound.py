"""Sparse matrices are checked before anything is computed from them.

scipy trusts the positions that it is given: one outside the matrix makes it write over other
memory. In memory a matrix may have spare room behind its last entry; in a file such room means that
some of the counts would be lost.
"""

from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

Compressed: TypeAlias = "sparse.csr_matrix | sparse.csc_matrix"


def sound(stored: Any) -> Compressed:
    """Check a matrix that may be damaged. It is not changed, and its arrays are not copied.

    Args:
        stored: dense or sparse, (n, m).

    Returns:
        CSC if it was, else CSR, with all positions inside the matrix.

    Raises:
        ValueError: what is wrong with it.

    """
    if not sparse.issparse(stored) or stored.format not in ("csr", "csc"):
        return sparse.csr_matrix(stored)
    kind = sparse.csc_matrix if stored.format == "csc" else sparse.csr_matrix
    matrix = kind(stored.shape, dtype=stored.dtype)
    matrix.data = stored.data
    matrix.indices, matrix.indptr = _positions(stored.indices), _positions(stored.indptr)
    matrix.check_format(full_check=True)
    return matrix


def from_parts(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Put a CSR matrix of this shape together from the arrays of a file.

    Raises:
        ValueError: they can't be such a matrix.

    """
    if data.dtype == np.float16:  # which scipy does not know
        data = data.astype(np.float32)
    matrix = sparse.csr_matrix(shape, dtype=data.dtype)
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    check_no_spare_room(matrix)
    return sound(matrix)


def check_no_spare_room(stored: Any) -> None:
    """Refuse entries of a file that belong to no row: scipy would leave them out.

    Raises:
        ValueError: there are such entries; how many.

    """
    if not sparse.issparse(stored) or stored.format not in ("csr", "csc"):
        return
    indptr = stored.indptr
    if len(indptr) and not len(stored.data) == len(stored.indices) == int(indptr[-1]):
        raise ValueError(
            f"{len(stored.data)} values and {len(stored.indices)} positions are stored, "
            f"but the rows end at {int(indptr[-1])}"
        )


def _positions(numbers: np.ndarray) -> np.ndarray:
    """Convert positions to a type that scipy has; those of other programs may be unsigned."""
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(f"positions are {numbers.ndim}-dimensional, of type {numbers.dtype}")
    if numbers.dtype in (np.int32, np.int64):
        return numbers
    if len(numbers) and int(numbers.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"there is no position {int(numbers.max())}")
    return numbers.astype(np.int64)
