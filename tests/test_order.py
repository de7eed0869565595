"""The order in which cells come from a disk."""

import numpy as np
import pytest

from nbvae import block_shuffle
from nbvae.data.order import WINDOW, window_size


def shuffled(cells, window, block, seed=0):
    return block_shuffle(cells, window, np.random.default_rng(seed), block=block)


@pytest.mark.parametrize("n_cells", [0, 1, 7, 8, 100, 1001])
@pytest.mark.parametrize("window", [1, 8, 64, 5000])
def test_each_cell_is_met_once(n_cells, window):
    """Else an epoch would count some cells twice."""
    cells = np.arange(3, 3 + n_cells)
    assert sorted(shuffled(cells, window, 8)) == list(cells)


def test_the_given_cells_are_left_as_they_are():
    """Else the second epoch would start from the order of the first."""
    cells = np.arange(100)
    shuffled(cells, 32, 8)
    np.testing.assert_array_equal(cells, np.arange(100))


def test_a_window_takes_few_blocks():
    """Else each block would be read many times: the reason for windows."""
    order = shuffled(np.delete(np.arange(10_000), np.arange(4321, 5321)), 640, 64)
    for start in range(0, len(order), 640):
        blocks = np.unique(order[start : start + 640] // 64)
        assert len(blocks) <= 640 // 64 + 3  # one is cut at each end, two have a gap


def test_each_place_of_an_epoch_can_have_each_cell():
    """Else some cells would always be met together, or early."""
    places = np.array([np.argsort(shuffled(np.arange(48), 16, 8, seed)) for seed in range(3000)])
    # the mean place of each cell: 23.5 ± 13.9 / √3000, here within five standard errors
    assert abs(places.mean(axis=0) - 23.5).max() < 5 * 13.9 / np.sqrt(3000)
    together = (places[:, 0] // 16 == places[:, 47] // 16).mean()  # two cells in one window
    assert abs(together - 1 / 5) < 5 * 0.4 / np.sqrt(3000)  # 1 of the 5 other blocks


@pytest.mark.parametrize(("batch_size", "size"), [(128, WINDOW), (100, 8100), (20_000, 20_000)])
def test_a_window_has_whole_minibatches(batch_size, size):
    """Else a minibatch would be of two windows, and both be in memory."""
    assert window_size(batch_size) == size
