"""What an epoch costs, what a step costs against what the machine allows, and an operator.

The floor of a step of 128 cells has two parts, each at a rate that is measured here and now:

    products    seven matrix products between cells, genes and hidden units: the two encoders'
                first layers and the decoder's last one forward; a gradient by the weights of each;
                and the decoder's gradient by its input. The others are a hundredth of these.
    transfers   Adam reads weights, gradients and two moments and writes weights and moments; the
                gradients are written once. Of matrices of cells × genes, x, the decoder's output
                and its gradient are each written once and read once at the least.

No program can reach it: it knows no exponentials and logarithms. But it counts the encoder's
products as dense; a step that makes use of the zeros can do with less than that.
"""

import math
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.experiment import peak_mb
from benchmarks.plan import Spec
from benchmarks.rivals import Watch, fit, timed_fit
from nbvae import NBVAE, Trainer

BATCH, HIDDEN = 128, 128
EPOCHS = 4
# Of Adam, what little else calls; its multiplications can't be told from others, and Lightning runs
# the whole step inside the optimizer's, so that its total can't be taken either.
CALLS = {
    "log-gammas and digammas": "aten::lgamma|aten::digamma",
    "matrix products": "aten::mm|aten::addmm|aten::_embedding_bag",
    "Adam, at least": "_fused_adam|aten::lerp_|aten::addcdiv_|aten::sqrt|aten::_foreach",
}


def speed(adata: AnnData, spec: Spec) -> dict[str, float]:
    """Measure seconds per epoch and memory: few epochs, no evaluation but the rival's own."""
    before = round(peak_mb())
    _, _, times = timed_fit(adata, spec)
    return {**times, "memory_before_mb": before, "memory_mb": round(peak_mb())}


def floor(adata: AnnData, spec: Spec) -> dict[str, float]:
    """Measure the floor of a step of nbvae, and the step itself, in milliseconds."""
    n_genes, n_weights = adata.n_vars, sum(w.numel() for w in NBVAE(adata.n_vars).parameters())
    flop, n_bytes = 7 * 2 * BATCH * HIDDEN * n_genes, 4 * (8 * n_weights + 6 * BATCH * n_genes)
    products, transfers, step = products_ms(n_genes), copy_ms(n_bytes), step_ms(adata)
    return {
        "gflops": flop / products / 1e6,
        "gigabytes_per_second": n_bytes / transfers / 1e6,
        "products_ms": products,
        "transfers_ms": transfers,
        "floor_ms": products + transfers,
        "step_ms": step,
        "step_over_floor": step / (products + transfers),
    }


def products_ms(n_genes: int) -> float:
    """Time the seven products, each kind at its shape."""
    genes = torch.randn(BATCH, n_genes)  # like x, or the decoder's output
    hidden, weight = torch.randn(BATCH, HIDDEN), torch.randn(HIDDEN, n_genes)
    encode = milliseconds(lambda: genes @ weight.T)  # to hidden units: 2 forward, 1 backward
    decode = milliseconds(lambda: hidden @ weight)  # to genes: 1 forward
    by_weight = milliseconds(lambda: hidden.T @ genes)  # 3 backward
    return 3 * encode + decode + 3 * by_weight


def copy_ms(n_bytes: int) -> float:
    """Time a copy that reads half of the bytes and writes half."""
    source = torch.randn(n_bytes // 8)
    target = torch.empty_like(source)
    return milliseconds(lambda: target.copy_(source))


def step_ms(adata: AnnData) -> float:
    """Time a step of the trainer with all that belongs to it: a longer run less a shorter one."""
    few = adata[:4096].copy()

    def fit_ms(epochs: int) -> float:
        module = NBVAE.for_counts(few)
        trainer = Trainer(max_epochs=epochs, holdout_fraction=0, device="cpu", progress=False)
        return milliseconds(lambda: trainer.fit(module, few), times=1)

    fit_ms(EPOCHS)  # what happens once per process is not counted
    rises = [fit_ms(2 * EPOCHS) - fit_ms(EPOCHS) for _ in range(5)]
    return float(np.median(rises)) / (EPOCHS * math.ceil(few.n_obs / BATCH))


def milliseconds(work: Callable[[], Tensor | pd.DataFrame], times: int = 200) -> float:
    """Time something often and take the median."""
    stamps = [perf_counter()]
    for _ in range(times):
        work()
        stamps.append(perf_counter())
    return 1e3 * float(np.median(np.diff(stamps)))


def operators(adata: AnnData, spec: Spec) -> dict[str, dict[str, float]]:
    """Time operators on 128 cells × 2,000 genes; the cost of a multiplication is 1."""
    torch.manual_seed(0)
    x = torch.rand(BATCH, 2000) * 20 + 0.1
    cost = {"multiplication": milliseconds(lambda: x * x)}
    for operator in (torch.exp, torch.log1p, torch.lgamma, torch.digamma):
        cost[operator.__name__] = milliseconds(partial(operator, x))
    return {"operators": {name: ms / cost["multiplication"] for name, ms in cost.items()}}


def shares(adata: AnnData, spec: Spec) -> dict[str, dict[str, float]]:
    """Profile some epochs of a rival: the share of each kind of operator; they add up to 1."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        fit(adata, spec._replace(max_epochs=EPOCHS), Watch())
    events = profiler.key_averages()
    own = pd.Series([e.self_cpu_time_total for e in events], index=[e.key for e in events])
    own /= own.sum()
    share = {kind: own[own.index.str.contains(calls)].sum() for kind, calls in CALLS.items()}
    return {"shares": {**share, "everything else": 1 - sum(share.values())}}
