"""Minibatches: the right cells in the right order, with what a module is called with."""

import numpy as np
import pytest
import torch
from scipy import sparse

from nbvae.cells import Cells

COUNTS = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 7], [0, 0, 4]], dtype=np.float32)
CELLS = Cells(sparse.csr_matrix(COUNTS), np.array([0, 1, 1, 0]))


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 4), (3, [3, 1]), (4, [4]), (9, [4])])
def test_minibatches_cover_the_cells_once_in_order(batch_size, sizes):
    """Else an epoch would skip cells, repeat some, or drop the last incomplete minibatch."""
    order = np.array([3, 1, 0, 2])
    for walk in (CELLS.minibatches, CELLS.minibatches_with_entries):
        walked = list(walk(order, batch_size))
        assert [len(x) for x, *_ in walked] == sizes
        x = torch.cat([x for x, *_ in walked])
        assert x.dtype == torch.float32
        np.testing.assert_array_equal(x.numpy(), COUNTS[order])
        batch = torch.cat([others["batch"] for *_, others in walked])
        assert batch.tolist() == [0, 1, 0, 1]


def test_cells_may_come_twice():
    """Else groups of cells could not be drawn with replacement."""
    ((x, others),) = CELLS.minibatches(np.array([2, 0, 2]), 5)
    np.testing.assert_array_equal(x.numpy(), COUNTS[[2, 0, 2]])
    assert others["batch"].tolist() == [1, 0, 1]


def test_without_batches_a_module_is_called_with_x_alone():
    """Else modules without a covariate would be called with one."""
    ((_, others),) = Cells(CELLS.counts, None).minibatches(np.arange(4), 4)
    assert others == {}


def test_entries_belong_to_x():
    """Else the fast step would train on other counts than x."""
    for x, entries, _ in CELLS.minibatches_with_entries(np.array([2, 3, 1]), 2):
        rebuilt = torch.zeros_like(x)
        rebuilt[entries.cells.long(), entries.genes.long()] = entries.counts
        assert torch.equal(rebuilt, x)


def test_minibatches_go_to_the_device():
    """Else the module and its data would lie on two devices."""
    x, entries, others = next(CELLS.minibatches_with_entries(np.arange(4), 2, "meta"))
    assert {value.device.type for value in (x, others["batch"], *entries)} == {"meta"}
    x, others = next(CELLS.minibatches(np.arange(4), 2, "meta"))
    assert {value.device.type for value in (x, others["batch"])} == {"meta"}
