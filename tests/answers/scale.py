"""Answers to the exercises of nbvae/teaching/exercises/scale.py, right and wrong."""

import numpy as np
import torch

from nbvae import block_shuffle


def seconds_by_sums(n_cells, read, step, ranks):
    reading = n_cells * read
    computing = n_cells * step / ranks
    return (reading + computing) * 1e-6


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
        lambda n, g, h: 2 * n * g * h / (4 * (n * g + g * h + n * h)),
        lambda n, g, h: 1 / (2 / n + 2 / g + 2 / h),
        lambda n, g, h: np.prod([n, g, h]) / 2 / sum(np.prod([n, g, h]) / k for k in (n, g, h)),
    ],
    "13.3": [
        lambda gradients, sizes: np.average(gradients, axis=0, weights=sizes),
        lambda gradients, sizes: (
            sum(n * g for n, g in zip(sizes, gradients, strict=True)) / sum(sizes)
        ),
        lambda gradients, sizes: (
            torch.tensor(sizes).double() @ torch.tensor(np.array(gradients)) / sum(sizes)
        ),
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
    ("13.2", lambda n, g, h: n * g * h / (4 * (n * g + g * h + n * h)), "two operations"),
    ("13.2", lambda n, g, h: 2 * n * g * h / (8 * (n * g + g * h + n * h)), "four bytes"),
    ("13.2", lambda n, g, h: 2 * n * g * h / (n * g + g * h + n * h), "bytes were asked for"),
    ("13.2", lambda n, g, h: 2 * n * g * h / (4 * (n * g + g * h)), "has to be written"),
    ("13.2", lambda n, g, h: n / 2, "only the weights"),
    ("13.2", lambda n, g, h: 2 / n + 2 / g + 2 / h, "upside down"),
    ("13.2", lambda n, g, h: 2 * n * g * h, "operations alone"),
    ("13.3", lambda gradients, sizes: np.mean(gradients, axis=0), "mean of the ranks' means"),
    ("13.3", lambda gradients, sizes: np.sum(gradients, axis=0), "added up"),
    ("13.3", lambda gradients, sizes: np.array(sizes) @ np.array(gradients), "these are sums"),
    (
        "13.3",
        lambda gradients, sizes: np.array(sizes) @ np.array(gradients) / len(sizes),
        "number of ranks",
    ),
    (
        "13.3",
        lambda gradients, sizes: np.average(gradients, axis=0, weights=1 / np.array(sizes)),
        "upside down",
    ),
    ("13.3", lambda gradients, sizes: gradients[int(np.argmax(sizes))], "of one rank"),
    ("13.3", lambda gradients, sizes: np.sum(gradients, axis=0) / sum(sizes), "taken for sums"),
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
