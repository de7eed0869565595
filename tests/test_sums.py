"""The sums that a module starts from: the same in one piece as in many."""

import tracemalloc

import numpy as np
from scipy import sparse

from nbvae.data import sums as module
from nbvae.data.sums import GeneSums


def counts(seed, n_cells=200):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(0.7, (n_cells, 9)).astype(np.float32) * 4001)


def test_they_are_what_a_dense_table_gives(seed):
    """Else a module would start elsewhere than the formula says."""
    matrix = counts(seed)
    x = matrix.toarray().astype(float)
    library = x.sum(axis=1)
    sums = GeneSums.of(matrix)
    assert sums.n_cells == 200
    np.testing.assert_array_equal(sums.totals, x.sum(axis=0))
    np.testing.assert_array_equal(sums.squares, (x**2).sum(axis=0))
    np.testing.assert_array_equal(sums.with_library, (x * library[:, None]).sum(axis=0))
    assert (sums.library, sums.library_squares) == (library.sum(), (library**2).sum())


def test_pieces_add_up_to_the_whole_without_rounding(seed):
    """Else a module for a store would not be the one for the same cells in memory."""
    matrix = counts(seed)
    pieces = [GeneSums.of(matrix[rows]) for rows in (slice(0, 1), slice(1, 77), slice(77, 200))]
    whole, added = GeneSums.of(matrix), pieces[2].plus(pieces[0]).plus(pieces[1])
    for one, other in zip(whole, added, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_long_table_is_summed_in_parts(seed, monkeypatch):
    matrix, library = counts(seed), np.arange(1.0, 201.0)
    whole = GeneSums.of(matrix), GeneSums.of(matrix, library)
    monkeypatch.setattr(module, "AT_ONCE", 64)
    for one, other in zip(whole, (GeneSums.of(matrix), GeneSums.of(matrix, library)), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_summing_takes_little_memory(monkeypatch):
    """Else a table that fits into memory would not fit beside its sums."""
    matrix = sparse.random(40_000, 50, density=0.5, format="csr", dtype=np.float32)
    monkeypatch.setattr(module, "AT_ONCE", 1000)
    tracemalloc.start()
    GeneSums.of(matrix)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < matrix.data.nbytes / 2
