"""Minibatches: the right cells in the right order, with what a module is called with."""

import numpy as np
import pytest
import torch
from scipy import sparse

from nbvae import CellTable

COUNTS = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 7], [0, 0, 4]], dtype=np.float32)
DESIGN = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
TABLE = CellTable(sparse.csr_matrix(COUNTS), DESIGN)


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 4), (3, [3, 1]), (4, [4]), (9, [4])])
def test_minibatches_cover_the_cells_once_in_order(batch_size, sizes):
    """Else an epoch would skip cells, repeat some, or drop the last incomplete minibatch."""
    order = np.array([3, 1, 0, 2])
    walked = list(TABLE.minibatches(order, batch_size))
    assert [len(m) for m in walked] == sizes
    x = torch.cat([m.x for m in walked])
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x.numpy(), COUNTS[order])
    np.testing.assert_array_equal(torch.cat([m.covariates for m in walked]).numpy(), DESIGN[order])
    np.testing.assert_array_equal(
        torch.cat([m.library for m in walked]).numpy(), COUNTS[order].sum(axis=1, keepdims=True)
    )


def test_the_library_of_cells_is_their_total_or_their_size_factor():
    """Else what is computed without a minibatch would scale with something else."""
    rows, sizes = np.array([2, 0, 2]), np.array([[0.5], [2], [8], [1]], dtype=np.float32)
    np.testing.assert_array_equal(TABLE.library(rows), [9, 4, 9])
    np.testing.assert_array_equal(TABLE._replace(size_factors=sizes).library(rows), [8, 0.5, 8])


def test_cells_may_come_twice():
    """Else groups of cells could not be drawn with replacement."""
    (minibatch,) = TABLE.minibatches(np.array([2, 0, 2]), 5)
    np.testing.assert_array_equal(minibatch.x.numpy(), COUNTS[[2, 0, 2]])
    np.testing.assert_array_equal(minibatch.covariates.numpy(), DESIGN[[2, 0, 2]])


def test_without_covariates_there_are_none():
    """Else modules without a covariate would be called with one."""
    (minibatch,) = CellTable(TABLE.counts, None).minibatches(np.arange(4), 4)
    assert minibatch.covariates is None


def test_the_sparse_form_belongs_to_x():
    """Else the fast step would train on other counts than x."""
    for minibatch in TABLE.minibatches(np.array([2, 3, 1]), 2):
        rebuilt = torch.zeros_like(minibatch.x)
        above_zero = minibatch.sparse
        rebuilt[above_zero.cells.long(), above_zero.genes.long()] = above_zero.counts
        assert torch.equal(rebuilt, minibatch.x)


def test_minibatches_go_to_the_device():
    """Else the module and its data would lie on two devices."""
    m = next(TABLE.minibatches(np.arange(4), 2, "meta"))
    assert {v.device.type for v in (m.x, m.library, m.covariates, *m.sparse)} == {"meta"}
