"""How far a training step is from what the machine's arithmetic and memory allow.

The floor of a step of 128 cells has two parts, each at a rate that is measured here and now:

    arithmetic  seven matrix products between cells, genes and hidden units: the two encoders'
                first layers and the decoder's last one forward; a gradient by the weights of each;
                and the decoder's gradient by its input. The others are a hundredth of these.
    memory      Adam reads weights, gradients and two moments and writes weights and moments; the
                gradients are written once. Of matrices of cells × genes, x, the decoder's output
                and its gradient are each written once and read once at the least.

It knows nothing of exponentials and logarithms, so that no program can reach it, and it counts the
encoder's products as dense. A step that makes use of the zeros can do with less than that.
"""

import statistics
from collections.abc import Callable
from time import perf_counter

import torch
from anndata import AnnData

from benchmarks import data
from nbvae import NBVAE, Trainer

BATCH, HIDDEN = 128, 128
FLOAT = 4  # bytes
CELLS, EPOCHS, STEP_REPEATS = 4096, 4, 5
REPEATS = 200


def floor(name: str) -> dict[str, float]:
    """Measure the floor of a step on a data set, and the step itself, in milliseconds."""
    adata = data.load(name)
    n_genes = adata.n_vars
    n_weights = sum(weights.numel() for weights in NBVAE(n_genes).parameters())
    gflops, products = products_ms(n_genes)
    gigabytes, transfers = transfers_ms(n_genes, n_weights)
    step = step_ms(adata)
    return {
        **data.facts(adata),
        "gflops": gflops,
        "gigabytes_per_second": gigabytes,
        "products_ms": products,
        "transfers_ms": transfers,
        "floor_ms": products + transfers,
        "step_ms": step,
        "step_over_floor": step / (products + transfers),
    }


def products_ms(n_genes: int) -> tuple[float, float]:
    """Time the seven products, each kind at its shape. Returns Gflop/s and milliseconds."""
    genes = torch.randn(BATCH, n_genes)  # like x, or the decoder's output
    hidden = torch.randn(BATCH, HIDDEN)
    weight = torch.randn(HIDDEN, n_genes)
    encode = seconds(lambda: genes @ weight.T)  # to hidden units: 2 forward, 1 backward
    decode = seconds(lambda: hidden @ weight)  # to genes: 1 forward
    by_weight = seconds(lambda: hidden.T @ genes)  # 3 backward
    total = 3 * encode + decode + 3 * by_weight
    return 7 * 2 * BATCH * HIDDEN * n_genes / total / 1e9, 1e3 * total


def transfers_ms(n_genes: int, n_weights: int) -> tuple[float, float]:
    """Time a copy of as many bytes as a step moves. Returns GB/s and milliseconds."""
    adam, matrices = 8 * n_weights, 6 * BATCH * n_genes
    n_bytes = FLOAT * (adam + matrices)
    source = torch.randn(n_bytes // (2 * FLOAT))  # a copy reads half of the bytes, writes half
    target = torch.empty_like(source)
    duration = seconds(lambda: target.copy_(source))
    return n_bytes / duration / 1e9, 1e3 * duration


def step_ms(adata: AnnData) -> float:
    """Time a step of the trainer with all that belongs to it: a longer run less a shorter one."""
    few = adata[:CELLS].copy()
    steps = -(-few.n_obs // BATCH) * EPOCHS
    fit_seconds(few, EPOCHS)  # what happens once a process is not counted
    rises = [fit_seconds(few, 2 * EPOCHS) - fit_seconds(few, EPOCHS) for _ in range(STEP_REPEATS)]
    return 1e3 * statistics.median(rises) / steps


def fit_seconds(adata: AnnData, epochs: int) -> float:
    """Train by the trainer's defaults, without held-out cells."""
    module = NBVAE.for_counts(adata)
    trainer = Trainer(max_epochs=epochs, holdout_fraction=0, device="cpu", progress=False)
    start = perf_counter()
    trainer.fit(module, adata)
    return perf_counter() - start


def seconds(work: Callable[[], object]) -> float:
    """Time something often and take the median."""
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return statistics.median(times)
