"""Answers to the exercises of nbvae/teaching/exercises/scale.py, right and wrong."""

import numpy as np
import torch

from nbvae import block_shuffle


def seconds_by_sums(n_cells, read, step, ranks):
    reading = n_cells * read
    computing = n_cells * step / ranks
    return (reading + computing) * 1e-6


def moved(n, g, h, above):
    """Bytes: the table by its counts above zero, the weights, the result."""
    return (above + n) * 8 + (g + n) * h * 4


def joining(mean):
    """A pair from two, whose gradient is a function of both gradients and sizes."""
    return lambda one, other: (mean(*one, *other), one[1] + other[1])


def joined_in_torch(one, other):
    gradients, sizes = zip(one, other, strict=True)
    weights = torch.tensor(sizes).double() / max(sum(sizes), 1)
    return weights @ torch.tensor(np.array(gradients)), torch.tensor(sum(sizes))


def joined_with_one_size(one, other):
    (g, n), (h, m) = one, other
    return (n * g + m * h) / (n + m), max(n, m)


def order_by_keys(n_cells, seed, epoch):
    return np.argsort(np.random.default_rng([epoch, seed]).random(n_cells))


def order_by_torch(n_cells, seed, epoch):
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(n_cells, generator=generator)


def order_by_spawning(n_cells, seed, epoch):
    child = np.random.SeedSequence(seed, spawn_key=(epoch,))
    return list(np.random.default_rng(child).permutation(n_cells))


def order_of_state(n_cells, seed, epoch):
    return np.random.permutation(n_cells)


def order_seeded_once(n_cells, seed, epoch):
    if epoch == 0:
        np.random.seed(seed)
    return np.random.permutation(n_cells)


def with_seed(make):
    """Permute with a generator that is seeded by a function of seed and epoch."""
    return lambda n, seed, epoch: np.random.default_rng(make(seed, epoch)).permutation(n)


def windows(n_cells, block, in_memory, rng):
    blocks = rng.permutation(n_cells // block)
    parts = []
    for start in range(0, len(blocks), in_memory):
        some = blocks[start : start + in_memory]
        parts.append(rng.permutation((some[:, None] * block + np.arange(block)).ravel()))
    return np.concatenate(parts)


def reservoir(n_cells, block, in_memory, rng):
    """Draw from the blocks in memory; an empty one makes room for the next."""
    waiting = [list(rng.permutation(block) + b * block) for b in rng.permutation(n_cells // block)]
    there, waiting = waiting[:in_memory], waiting[in_memory:]
    order = []
    while there:
        i = rng.integers(len(there))
        order.append(there[i].pop())
        if not there[i]:
            there.pop(i)
            if waiting:
                there.append(waiting.pop())
    return order


def blocks_in_order(n_cells, block, in_memory, rng):
    order = np.arange(n_cells)
    for start in range(0, n_cells, block * in_memory):
        rng.shuffle(order[start : start + block * in_memory])
    return order


def whole_blocks(n_cells, block, in_memory, rng):
    return (rng.permutation(n_cells // block)[:, None] * block + np.arange(block)).ravel()


def pairs_of_blocks(n_cells, block, in_memory, rng):
    return block_shuffle(np.arange(n_cells), 2 * block, rng, block=block)


RIGHT = {
    "13.1": [
        lambda n_cells, read, step, ranks: n_cells * (read + step / ranks) / 1e6,
        seconds_by_sums,
        lambda n, read, step, ranks: torch.tensor([n * (read * ranks + step) / ranks / 1e6]),
    ],
    "13.2": [
        lambda n, g, h, above: 2 * above * h / (8 * above + 8 * n + 4 * (g * h + n * h)),
        lambda n, g, h, above: above * h / (4 * (above + n) + 2 * h * (g + n)),
        lambda n, g, h, above: torch.tensor(1 / (4 / h + 4 * n / above / h + 2 * (g + n) / above)),
    ],
    "13.3": [
        joining(lambda g, n, h, m: (n * g + m * h) / max(n + m, 1)),
        joining(lambda g, n, h, m: g + (h - g) * m / (n + m) if m else g),
        joined_in_torch,
    ],
    "13.4": [
        with_seed(lambda seed, epoch: [seed, epoch]),
        order_by_keys,
        order_by_torch,
        order_by_spawning,
    ],
    "13.5": [
        lambda n, block, in_memory, rng: block_shuffle(
            np.arange(n), block * in_memory, rng, block=block
        ),
        windows,
        reservoir,
    ],
}

WRONG = [
    ("13.1", lambda n, read, step, ranks: n * (read + step) / ranks / 1e6, "reading was shared"),
    ("13.1", lambda n, read, step, ranks: n * (read + step) / 1e6, "don't share the step"),
    ("13.1", lambda n, read, step, ranks: n * (read + step / ranks), "microseconds"),
    ("13.1", lambda n, read, step, ranks: n * step / ranks / 1e6, "reading is left out"),
    ("13.1", lambda n, read, step, ranks: n * max(read, step / ranks) / 1e6, "at once"),
    ("13.1", lambda n, read, step, ranks: n * (read + step * ranks) / 1e6, "multiplied"),
    ("13.2", lambda n, g, h, a: a * h / moved(n, g, h, a), "two operations"),
    ("13.2", lambda n, g, h, a: 2 * n * g * h / moved(n, g, h, a), "zeros are multiplied"),
    ("13.2", lambda n, g, h, a: n * g * h / 2 / (n * g + g * h + n * h), "full product"),
    ("13.2", lambda n, g, h, a: a * h / 2 / (n * g + g * h + n * h), "as in (13.1)"),
    ("13.2", lambda n, g, h, a: 2 * a * h / (moved(n, g, h, a) - 4 * a), "its column's"),
    ("13.2", lambda n, g, h, a: 2 * a * h / (moved(n, g, h, a) - 8 * n), "row begins"),
    ("13.2", lambda n, g, h, a: 2 * a * h / (moved(n, g, h, a) - 4 * n * h), "be written"),
    ("13.2", lambda n, g, h, a: 2 * a * h / (moved(n, g, h, a) - 4 * g * h), "be read"),
    ("13.2", lambda n, g, h, a: moved(n, g, h, a) / (2 * a * h), "upside down"),
    ("13.2", lambda n, g, h, a: 2 * a * h, "operations alone"),
    ("13.2", lambda n, g, h, a: moved(n, g, h, a), "bytes alone"),
    ("13.3", joining(lambda g, n, h, m: (g + h) / 2), "mean of the ranks' means"),
    ("13.3", joining(lambda g, n, h, m: g + h), "added up"),
    ("13.3", joining(lambda g, n, h, m: n * g + m * h), "these are sums"),
    ("13.3", joining(lambda g, n, h, m: (n * g + m * h) / 2), "number of ranks"),
    ("13.3", joining(lambda g, n, h, m: (m * g + n * h) / (n + m)), "upside down"),
    ("13.3", joining(lambda g, n, h, m: g if n > m else h), "of one rank"),
    ("13.3", joining(lambda g, n, h, m: (g + h) / (n + m)), "taken for sums"),
    ("13.3", joined_with_one_size, "the next to join"),
    ("13.3", joining(lambda g, n, h, m: np.divide(n * g + m * h, n + m)), "may be joined"),
    ("13.4", order_of_state, "asked again"),
    ("13.4", order_seeded_once, "asked again"),
    ("13.4", with_seed(lambda seed, epoch: seed), "two epochs"),
    ("13.4", with_seed(lambda seed, epoch: epoch), "two seeds"),
    ("13.4", with_seed(lambda seed, epoch: seed + epoch), "[seed, epoch]"),
    ("13.4", with_seed(lambda seed, epoch: [max(seed, epoch), min(seed, epoch)]), "[seed, epoch]"),
    ("13.4", lambda n, seed, epoch: np.arange(n), "order of the table"),
    ("13.4", lambda n, seed, epoch: np.roll(np.arange(n), 7 * seed + epoch + 1), "neighbours"),
    (
        "13.4",
        lambda n, seed, epoch: np.random.default_rng([seed, epoch]).integers(n, size=n),
        "come twice",
    ),
    ("13.5", lambda n, block, in_memory, rng: rng.permutation(n), "are in use at a time"),
    ("13.5", whole_blocks, "stay together"),
    ("13.5", blocks_in_order, "neighbours on the disk"),
    ("13.5", pairs_of_blocks, "in a row come from"),
    ("13.5", lambda n, block, in_memory, rng: np.arange(n), "nothing is shuffled"),
    ("13.5", lambda n, block, in_memory, rng: rng.integers(n, size=n), "come twice"),
    (
        "13.5",
        lambda n, block, in_memory, rng: windows(n, block, in_memory, np.random.default_rng(0)),
        "same order",
    ),
]
