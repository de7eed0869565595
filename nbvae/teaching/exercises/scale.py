"""Checks for chapter 13, more cells, more machines."""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import array, close, number, sequence, slipped

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


@formula(
    "13.2", "skipping zeros saves more operations than bytes: the weights travel all the same."
)
def _intensity() -> Formula:
    """Count by going through the product as a program would."""
    rng = inputs()
    sizes = [*rng.integers(3, 40, (4, 3)).tolist(), [128, 2000, 10]]
    cases = [
        (n, g, h, int(n * g * part))
        for (n, g, h), part in zip(sizes, rng.uniform(0.1, 0.7, len(sizes)), strict=True)
    ]
    slips = {
        "half of it: a multiply-add is two operations":
        lambda n, g, h, above: above * h / _bytes(n, g, h, above),
        "zeros are multiplied, too: each count above zero meets h weights, no other does":
        lambda n, g, h, above: 2 * n * g * h / _bytes(n, g, h, above),
        "this is the full product of the text, zeros and all":
        lambda n, g, h, above: n * g * h / (2 * (n * g + g * h + n * h)),
        "the table is stored by its counts above zero, as in (13.1)":
        lambda n, g, h, above: above * h / (2 * (n * g + g * h + n * h)),
        "a count above zero needs eight bytes: four are its column's":
        lambda n, g, h, above: 2 * above * h / (_bytes(n, g, h, above) - 4 * above),
        "eight bytes for each cell are missing: where its row begins":
        lambda n, g, h, above: 2 * above * h / (_bytes(n, g, h, above) - 8 * n),
        "the result has to be written, too":
        lambda n, g, h, above: 2 * above * h / (_bytes(n, g, h, above) - 4 * n * h),
        "the weights have to be read, too":
        lambda n, g, h, above: 2 * above * h / (_bytes(n, g, h, above) - 4 * g * h),
        "this is bytes per operation, upside down":
        lambda n, g, h, above: _bytes(n, g, h, above) / (2 * above * h),
        "these are the operations alone": lambda n, g, h, above: 2 * above * h,
        "these are the bytes alone": _bytes,
    }  # fmt: skip
    return Formula(_counted, cases, slips, names=("n", "g", "h", "above"))


def _bytes(n: int, g: int, h: int, above: int) -> int:
    return 8 * above + 8 * n + 4 * (g * h + n * h)


def _counted(n: int, g: int, h: int, above: int) -> float:
    flat = np.arange(above)
    table = sparse.csr_matrix((np.ones(above, np.float32), (flat // g, flat % g)), (n, g))
    weights = np.ones((g, h), np.float32)
    product = table @ weights
    operations = 2 * product.sum(dtype=float)  # each entry is a sum of ones
    of_table = table.data.nbytes + table.indices.nbytes + 8 * n
    return float(operations / (of_table + weights.nbytes + product.nbytes))


@exercise("13.3", "a rank with more cells has more to say; only sums can be added up.")
def check_joined(joined: Callable) -> Diagnosis:
    """Join the parts of some rows in several orders, and ask for the mean of all of them."""
    rng = inputs()
    rows = rng.normal(size=(21, 4)) + rng.normal(size=4)
    sizes = [11, 4, 6]
    means = [part.mean(axis=0) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    parts = list(zip(means, sizes, strict=True))

    def join(one: tuple, other: tuple) -> tuple[np.ndarray, float]:
        pair = joined(*((gradient.copy(), n) for gradient, n in (one, other)))
        gradient, n = sequence(pair, ("the gradient", "the number of cells"))
        return array(gradient, (4,), "the gradient"), float(number(n, "the number of cells"))

    first, second, third = parts
    value, n = join(first, second)
    if not close(value, rows[:15].mean(axis=0)):
        return slipped(value, _joined_slips(first, second)) or Unexplained(
            "it is not the mean over the cells of both."
        )
    if not close(n, 15):
        return f"of {sizes[0]} and {sizes[1]} cells it makes {n:g}: the next to join has to know."
    for last in (join((value, n), third), join(first, join(second, third))):
        if not close(last[0], rows.mean(axis=0)):
            return "joined with a third, it is not the mean over all cells."
    idle = np.zeros(4), 0
    for pair in ((first, idle), (idle, first)):
        if not close(join(*pair)[0], means[0]):
            return "a rank without cells should count for nothing."
    if not np.isfinite(join(idle, idle)[0]).all():
        return "two ranks without cells have no gradient to give, but they may be joined: return 0."
    return None


def _joined_slips(first: tuple, second: tuple) -> dict:
    (g, n), (h, m) = first, second
    return {
        "this is the mean of the ranks' means: a cell on a small rank counts for more": (g + h) / 2,
        "these are sums; divide by the number of all cells": n * g + m * h,
        "the ranks' means were added up; what each counts is its number of cells": g + h,
        "divided by the number of ranks, not of cells": (n * g + m * h) / 2,
        "the weights are upside down: a rank with more cells counts for more":
        (m * g + n * h) / (n + m),
        "the means were taken for sums over the cells": (g + h) / (n + m),
        "the gradient of one rank is not that of both": [g, h],
    }  # fmt: skip


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
