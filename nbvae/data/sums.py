"""What has to be known of all counts before training starts: a few sums over the cells.

Sums of whole numbers are exact in float64, in whatever order the cells come. So those that are
added up piece by piece, while a file is read, are the very numbers that a table in memory gives.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy import sparse

AT_ONCE = 2**13  # cells: float64 and 64-bit positions of all counts would need thrice their memory


class GeneSums(NamedTuple):
    """Sums over cells, of counts x and libraries ℓ; float64."""

    n_cells: int
    totals: np.ndarray  # (G,), Σ x
    squares: np.ndarray  # (G,), Σ x²
    with_library: np.ndarray  # (G,), Σ xℓ
    library: float  # Σ ℓ
    library_squares: float  # Σ ℓ²

    @classmethod
    def of(cls, counts: sparse.csr_matrix, library: np.ndarray | None = None) -> GeneSums:
        """Sum the counts of a table, (N, G); the library, (N,), is their total when left out."""
        starts = range(0, max(counts.shape[0], 1), AT_ONCE)
        parts = [slice(start, start + AT_ONCE) for start in starts]
        given = (None if library is None else library[part] for part in parts)
        return reduce(cls.plus, map(cls._of, (counts[part] for part in parts), given))

    @classmethod
    def _of(cls, counts: sparse.csr_matrix, library: np.ndarray | None) -> GeneSums:
        n_cells, n_genes = counts.shape
        library = counts @ np.ones(n_genes) if library is None else library
        squares = np.bincount(counts.indices, np.square(counts.data, dtype=float), n_genes)
        return cls(
            n_cells,
            counts.T @ np.ones(n_cells),
            squares,
            counts.T @ library,
            float(library.sum()),
            float(library @ library),
        )

    def plus(self, other: GeneSums) -> GeneSums:
        """Add the sums of other cells."""
        return GeneSums(*map(operator.add, self, other))
