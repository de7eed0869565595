"""In which order an epoch reads cells that lie on a disk.

A disk gives a thousand neighbours in the time of one. So cells come from it block by block, the
blocks in a random order; those of a window, some blocks, are shuffled in memory. Where the cells
were shuffled once when they were written, each block is a random sample, and such an order is as
good as any; where they lie sorted, by donor, say, each window holds a few donors only (chapter 13).
"""

import numpy as np

BLOCK = 1024  # cells that are read together
WINDOW = 8 * BLOCK  # cells that are in memory together, about


def window_size(batch_size: int) -> int:
    """How many cells are in memory at a time: whole minibatches."""
    return max(1, WINDOW // batch_size) * batch_size


def block_shuffle(
    cells: np.ndarray, window: int, rng: np.random.Generator, *, block: int = BLOCK
) -> np.ndarray:
    """Shuffle the blocks, then the cells of each window.

    Args:
        cells: (n,), row numbers, ascending.
        window: how many cells are shuffled together.
        rng: where the random numbers come from.
        block: how many rows make a block.

    Returns:
        (n,), the same row numbers.

    """
    numbers = cells // block
    n_blocks = int(numbers[-1]) + 1 if len(cells) else 0
    place = rng.permutation(n_blocks)  # of each block
    order = cells[np.argsort(place[numbers], kind="stable")]
    for start in range(0, len(order), window):
        rng.shuffle(order[start : start + window])
    return order
