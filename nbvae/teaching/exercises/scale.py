"""Checks for chapter 13, more cells, more machines."""

from collections.abc import Callable

import numpy as np

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import array, close, slipped

N_CELLS = 2000
BLOCK, IN_MEMORY, N_BLOCKS = 32, 8, 64


@formula("13.1", "what every rank does by itself sets the limit: n · read, however many ranks.")
def _seconds() -> Formula:
    """Compare with a rank's day, cell by cell."""
    rng = inputs()
    cases = [
        (int(rng.integers(10_000, 90_000)), *map(float, rng.uniform([2, 40], [9, 80])), int(ranks))
        for ranks in (1, 2, 8, 64)
    ]
    slips = {
        "reading was shared out, too: each rank reads every cell":
        lambda n, read, step, ranks: n * (read + step) / ranks / 1e6,
        "the ranks don't share the step here: each computes for one cell in `ranks`":
        lambda n, read, step, ranks: n * (read + step) / 1e6,
        "read and step are in microseconds, and seconds were asked for":
        lambda n, read, step, ranks: n * (read + step / ranks),
        "reading is left out": lambda n, read, step, ranks: n * step / ranks / 1e6,
        "this is right where reading and computing go on at once; here one waits for the other":
        lambda n, read, step, ranks: n * max(read, step / ranks) / 1e6,
        "with more ranks it takes longer: the step was multiplied, not divided":
        lambda n, read, step, ranks: n * (read + step * ranks) / 1e6,
    }  # fmt: skip
    names = ("n_cells", "read", "step", "ranks")
    return Formula(_day_of_a_rank, cases, slips, names=names)


def _day_of_a_rank(n_cells: int, read: float, step: float, ranks: int) -> float:
    reading, computing = np.full(n_cells, read), np.full(n_cells, step) / ranks
    return float(np.concatenate([reading, computing]).sum() / 1e6)


@formula("13.2", "more rows of one kind, more work per byte: that is what a large minibatch buys.")
def _intensity() -> Formula:
    """Count by going through the product as a program would."""
    rng = inputs()
    cases = [tuple(map(int, rng.integers(3, 40, 3))) for _ in range(4)]
    cases.append((128, 2000, 10))
    slips = {
        "half of it: a multiply-add is two operations, and a float32 has four bytes, not eight":
        lambda n, g, h: n * g * h / (4 * (n * g + g * h + n * h)),
        "bytes were asked for, and each number has four":
        lambda n, g, h: 2 * n * g * h / (n * g + g * h + n * h),
        "the result has to be written, too": lambda n, g, h: 2 * n * g * h / (4 * (n * g + g * h)),
        "only the weights are counted; the counts and the result move as well":
        lambda n, g, h: 2 * n * g * h / (4 * g * h),
        "this is bytes per operation, upside down":
        lambda n, g, h: 4 * (n * g + g * h + n * h) / (2 * n * g * h),
        "these are the operations alone": lambda n, g, h: 2 * n * g * h,
        "these are the bytes alone": lambda n, g, h: 4 * (n * g + g * h + n * h),
    }  # fmt: skip
    return Formula(_counted, cases, slips, names=("n", "g", "h"))


def _counted(n: int, g: int, h: int) -> float:
    left, right = np.ones((n, g), dtype=np.float32), np.ones((g, h), dtype=np.float32)
    product = left @ right
    operations = 2 * product.sum(dtype=float)  # each entry is a sum of g ones
    return float(operations / (left.nbytes + right.nbytes + product.nbytes))


@exercise("13.3", "a rank with more cells has more to say; only sums can be added up.")
def check_together(together: Callable) -> Diagnosis:
    """Give each rank some rows, and ask for the mean of all of them."""
    rng = inputs()
    rows = rng.normal(size=(21, 4)) + rng.normal(size=4)
    sizes = [11, 4, 6]
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    gradients = [part.mean(axis=0) for part in parts]
    value = array(together([g.copy() for g in gradients], list(sizes)), (4,))
    right = rows.mean(axis=0)
    weights = np.array(sizes)
    slips = {
        "this is the mean of the ranks' means: a cell on a small rank counts for more": [
            np.mean(gradients, axis=0)
        ],
        "these are sums; divide by the number of all cells": [weights @ np.array(gradients)],
        "the ranks' means were added up; what each counts is its number of cells": [
            np.sum(gradients, axis=0)
        ],
        "divided by the number of ranks, not of cells": [
            weights @ np.array(gradients) / len(sizes)
        ],
        "the weights are upside down: a rank with more cells counts for more": [
            np.average(gradients, axis=0, weights=1 / weights)
        ],
        "the means were taken for sums over the cells": [np.sum(gradients, axis=0) / 21],
        "the gradient of one rank is not that of all": list(gradients),
    }
    if not close(value, right):
        return slipped(value, slips) or Unexplained("it is not the mean over all cells.")
    idle = array(together([*gradients, np.zeros(4)], [*sizes, 0]), (4,))
    if not close(idle, right):
        return "a rank without cells should count for nothing."
    return None


@exercise("13.4", "an epoch can be repeated, and a run taken up again, without a word of memory.")
def check_order(order: Callable) -> Diagnosis:
    """Ask for orders again, in another sequence, and with seeds that are easily confused."""

    def drawn(seed: int, epoch: int) -> np.ndarray:
        return array(order(N_CELLS, seed, epoch), (N_CELLS,)).astype(np.int64)

    first = drawn(3, 0)
    if not np.array_equal(np.sort(first), np.arange(N_CELLS)):
        return "it is not an order of 0 … n_cells − 1: some cells come twice, or never."
    if np.array_equal(first, np.arange(N_CELLS)):
        return "the cells come in the order of the table; nothing is shuffled."
    if np.mean(abs(np.diff(first)) == 1) > 0.1:
        return "neighbours in the table stay neighbours: cells of one kind would come together."
    others = {pair: drawn(*pair) for pair in ((3, 1), (3, 2), (4, 0), (0, 3), (4, 2), (2, 4))}
    again = np.array_equal(drawn(3, 2), others[3, 2]) and np.array_equal(drawn(3, 0), first)
    if not again:
        return (
            "asked again for the same epoch, it gives another order: a run that was cut could not "
            "go on. Draw from np.random.default_rng(…) of the arguments alone."
        )
    if np.array_equal(others[3, 1], first) or np.array_equal(others[3, 1], others[3, 2]):
        return "two epochs have the same order."
    if np.array_equal(others[4, 0], first):
        return "two seeds have the same order."
    for one, other in (((3, 1), (4, 0)), ((0, 3), (3, 0)), ((4, 2), (2, 4))):
        if np.array_equal(drawn(*one), drawn(*other)):
            return (
                f"seed {one[0]} in epoch {one[1]} has the order of seed {other[0]} in epoch "
                f"{other[1]}: runs with other seeds would not be independent. "
                "default_rng takes a list: [seed, epoch]."
            )
    return None


@exercise("13.5", "each block read once, few in memory, and no minibatch of one kind.")
def check_shuffle(shuffle: Callable) -> Diagnosis:
    """Watch which blocks are open, and how mixed what comes out is."""
    n_cells, seed = BLOCK * N_BLOCKS, int(inputs().integers(2**31))

    def drawn(seed: int) -> np.ndarray:
        given = shuffle(n_cells, BLOCK, IN_MEMORY, np.random.default_rng(seed))
        return array(given, (n_cells,)).astype(np.int64)

    order = drawn(seed)
    if not np.array_equal(np.sort(order), np.arange(n_cells)):
        return "it is not an order of 0 … n_cells − 1: some cells come twice, or never."
    if np.array_equal(order, np.arange(n_cells)):
        return "the cells come in the order of the table; nothing is shuffled."
    blocks = order // BLOCK
    if (most := _most_open(blocks)) > IN_MEMORY:
        return f"{most} blocks are in use at a time, and {IN_MEMORY} fit into memory."
    apart = abs(np.diff(blocks))
    if np.mean(apart == 0) > 0.5:
        return "the cells of a block stay together: a minibatch would be of few kinds."
    if apart.mean() < N_BLOCKS / 8:  # of random blocks a third, for large numbers
        return "blocks that are neighbours on the disk come together: shuffle the blocks first."
    together = np.mean([len(np.unique(part)) for part in np.split(blocks, n_cells // 128)])
    if together < 0.7 * IN_MEMORY:
        return f"128 cells in a row come from {together:.1f} blocks; {IN_MEMORY} are in memory."
    if np.array_equal(drawn(seed + 1), order):
        return "another rng gives the same order: each epoch would be like the first."
    return None


def _most_open(blocks: np.ndarray) -> int:
    """How many blocks are, at the most, between their first cell and their last one."""
    change = np.zeros(len(blocks) + 1, dtype=int)
    for block in np.unique(blocks):
        (places,) = np.nonzero(blocks == block)
        change[places[0]] += 1
        change[places[-1] + 1] -= 1
    return int(change.cumsum().max())
