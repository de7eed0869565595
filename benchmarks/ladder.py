"""What else would make a training step faster: python -m benchmarks.ladder.

Each rung is one change, measured against the package as it is: steps with it and steps without it
take turns within one process, on one thread, and a ratio is that of two neighbours: the median, and
the middle half of all rounds in brackets. Time is the processor's, which other programs disturb
less than the clock's; that of a rung with two threads is the clock's. Where only the loading of
minibatches changes, only loading is timed. Above 1 is faster. None is in the package: what gains
is within the noise, or changes the last digits of all results. Writes results/ladder.csv and
results/ladder.md.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter, process_time
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from benchmarks import compiled, data, results
from nbvae import NBVAE, CellTable, Minibatch, SparseBatch, evaluation, loss_of
from nbvae.module import fast, kernels
from nbvae.module.distributions import digamma_rise, stirling_remainder
from nbvae.threads import use_threads
from nbvae.train.settings import TrainerSettings
from nbvae.train.state import TrainingState

BATCH_SIZE = 128
ROUNDS = {"sample": 30, "3000x2000": 10}
FILE = results.FOLDER / "ladder.csv"
Change = Callable[["Run"], AbstractContextManager[Any]]


def whole(minibatch: Minibatch) -> Minibatch:
    """Let a minibatch make its dense and its sparse form."""
    _ = minibatch.x, minibatch.sparse
    return minibatch


class Run:
    """A module, its cells and its optimizer, so far that the first steps are behind it."""

    def __init__(self, name: str) -> None:
        adata = data.load(name)
        self.table, self.n_cells = CellTable.of(adata), adata.n_obs
        self.module = NBVAE.for_counts(adata, seed=0)
        self.state = TrainingState(self.module, TrainerSettings(), {}, 1)
        for _ in range(3):
            self.epoch()

    def minibatches(self) -> Iterator[Minibatch]:
        """Load all cells, with all that a step needs of them."""
        order = np.random.default_rng(0).permutation(self.n_cells)
        yield from map(whole, self.table.minibatches(order, BATCH_SIZE))

    def loading(self) -> None:
        """Do nothing else."""
        deque(self.minibatches(), maxlen=0)

    def epoch(self) -> None:
        """Do what the trainer does with each minibatch, without evaluation."""
        for minibatch in self.minibatches():
            output = loss_of(self.module, minibatch)
            self.module.zero_grad()
            output.loss.backward()
            self.state.update_weights(1e-3)


class Rung(NamedTuple):
    """One change."""

    name: str
    change: Change
    clock: Callable[[], float] = process_time
    loads: bool = False  # it changes the loading alone: only this is timed, it is so short


def as_it_is(_: Run) -> AbstractContextManager[Any]:
    return nullcontext()


def rows_at_once(_: Run) -> AbstractContextManager[Any]:
    """An epoch's rows are taken out together; a minibatch is a view of them."""

    def minibatches(table: CellTable, indices: np.ndarray, batch_size: int) -> Iterator[Minibatch]:
        counts = table.counts[indices]
        for start in range(0, len(indices), batch_size):
            starts = counts.indptr[start : start + batch_size + 1]
            inside = slice(starts[0], starts[-1])
            parts = counts.data[inside], counts.indices[inside], starts - starts[0]
            yield Minibatch(sparse.csr_matrix(parts, (len(starts) - 1, counts.shape[1])))

    return mock.patch.object(CellTable, "minibatches", minibatches)


def logarithms_once(_: Run) -> AbstractContextManager[Any]:
    """The list gene by gene is made of the logarithms that the list cell by cell has."""

    def of(matrix: sparse.csr_matrix, device: Any) -> SparseBatch:
        logs = matrix.log1p()
        by_gene = logs.tocsc()
        cells = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        arrays = (
            *(matrix.data, cells, matrix.indices, matrix.indptr[:-1], logs.data),
            *(by_gene.data, by_gene.indices, by_gene.indptr[:-1]),
        )
        return SparseBatch(*map(torch.from_numpy, arrays))

    return mock.patch.object(SparseBatch, "of", of)


def prepared_beside(_: Run) -> AbstractContextManager[Any]:
    """The next minibatch is made in a second thread while this one is computed."""
    plain = CellTable.minibatches

    def minibatches(table: CellTable, *given: Any) -> Iterator[Minibatch]:
        walk = map(whole, plain(table, *given))
        with ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(next, walk, None)
            while (minibatch := waiting.result()) is not None:
                waiting = beside.submit(next, walk, None)
                yield minibatch

    return mock.patch.object(CellTable, "minibatches", minibatches)


def compiled_loader(_: Run) -> AbstractContextManager[Any]:
    """Rows to dense matrix and both lists by loops that numba compiles."""
    return mock.patch.object(CellTable, "minibatches", compiled.minibatches)


def encoders_at_once(_: Run) -> AbstractContextManager[Any]:
    """One sparse product for the first layers of both encoders."""
    kept: list[Tensor] = []

    def encode(module: NBVAE, encoder: Any, minibatch: Minibatch) -> Tensor:
        if encoder is module.mean_encoder:
            both = [e.input_layer.weight.T for e in (encoder, module.logvar_encoder)]
            product = kernels.log_counts_product(minibatch.sparse, torch.cat(both, dim=1).T)
            kept[:] = product.split(module.n_hidden, dim=1)
        return encoder.layers[1:](kept.pop(0) + encoder.input_layer.bias)

    return mock.patch.object(fast, "_encode", encode)


def stirling_alone(_: Run) -> AbstractContextManager[Any]:
    """The static form for all counts above 1: no table, no second choice."""

    def sums_below(count: Tensor, genes: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        at = theta[genes]
        upper, lower = stirling_remainder(torch.stack([count + at, at]))
        log_sum = (count + at - 0.5) * torch.log1p(count / at) - count + upper - lower
        return log_sum, count - at * digamma_rise(count, at)

    return mock.patch.object(kernels, "_sums_below", sums_below)


def series_after_table(_: Run) -> AbstractContextManager[Any]:
    """Above 16 only the series: both of its ends are large when the table has the rest."""

    def sums_below(count: Tensor, genes: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        k = torch.arange(1, kernels.TABLED, dtype=theta.dtype)[:, None]
        ratio = k / theta
        place = (count.long().clamp(max=kernels.TABLED) - 2) * len(theta) + genes
        log_sum = ratio.log1p().cumsum(0).flatten().index_select(0, place)
        slope = (ratio / (ratio + 1)).cumsum(0).flatten().index_select(0, place)
        large = (count > kernels.TABLED).nonzero().squeeze(1)
        n, at = count[large] - kernels.TABLED, theta[genes[large]]
        ends = torch.stack([count[large] + at, at + kernels.TABLED])
        inverse = ends.reciprocal()
        square = inverse.square()
        upper, lower = inverse * (1 / 12 - square * (1 / 360 - square / 1260))
        rise = torch.log1p(n / ends[1])
        log_sum[large] += (ends[0] - 0.5) * rise - n + upper - lower
        log_sum[large] += n * torch.log1p(kernels.TABLED / at)
        upper, lower = -0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square / 252))
        slope[large] += n - at * (rise + upper - lower)
        return log_sum, slope

    return mock.patch.object(kernels, "_sums_below", sums_below)


def adam_in_loops(run: Run) -> AbstractContextManager[Any]:
    """PyTorch's own default, operator by operator over lists of tensors."""
    optimizer = torch.optim.Adam(run.state._stored, foreach=True)
    return mock.patch.object(run.state, "optimizer", optimizer)


def adam_on_one_vector(run: Run) -> AbstractContextManager[Any]:
    """All weights in one piece of memory; the gradients are copied together."""
    stored = run.state._stored
    flat = torch.cat([weights.flatten() for weights in stored])
    optimizer = torch.optim.Adam([flat], fused=True)

    def step() -> None:
        flat.grad = torch.cat([weights.grad.flatten() for weights in stored])  # type: ignore[union-attr]
        optimizer.step()

    facade = mock.Mock(param_groups=optimizer.param_groups, step=step)
    return mock.patch.object(run.state, "optimizer", facade)


def asked_once(_: Run) -> AbstractContextManager[Any]:
    """Whether a module has the shortcut is not asked again at every step."""
    return mock.patch.object(fast, "has_shortcut", lambda _: True)


RUNGS = [
    Rung("rows of an epoch taken out at once, not by minibatch", rows_at_once, loads=True),
    Rung("each logarithm of a count taken once, not twice", logarithms_once, loads=True),
    Rung("a loader compiled by numba", compiled_loader, loads=True),
    Rung("the next minibatch made in a second thread", prepared_beside, perf_counter),
    Rung("one product for both encoders' first layers", encoders_at_once),
    Rung("no table: Stirling's formula for all counts above 1", stirling_alone),
    Rung("above 16 the series alone, on top of the table", series_after_table),
    Rung("Adam over lists of tensors, not fused", adam_in_loops),
    Rung("Adam on one vector of all weights", adam_on_one_vector),
    Rung("asked once whether the shortcut holds", asked_once),
]


def measured(rung: Rung, run: Run, rounds: int) -> dict[str, float]:
    """Take turns; the first turn of each is not counted.

    Returns:
        The microseconds that a step takes without the rung, those that are saved, and the ratio of
        the time without it to the time with it: median, and the middle half of the rounds.

    """

    def microseconds(change: Change, work: Callable[[], None]) -> float:
        with change(run):
            start = rung.clock()
            work()
            return 1e6 * (rung.clock() - start) / -(-run.n_cells // BATCH_SIZE)

    step = np.median([microseconds(as_it_is, run.epoch) for _ in range(rounds)])
    work = run.loading if rung.loads else run.epoch
    ways = as_it_is, rung.change
    pairs = np.array([[microseconds(way, work) for way in ways] for _ in range(rounds + 1)])[1:]
    if rung.loads:
        pairs += step - np.median(pairs[:, 0])  # the rest of the step stays as it is
    low, median, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.25, 0.5, 0.75])
    saved = np.median(pairs[:, 0] - pairs[:, 1])
    return {"step_us": step, "saved_us": saved, "gain": median, "low": low, "high": high}


def seconds_to_compile() -> float:
    """The first call of the compiled loader compiles it."""
    table = CellTable(sparse.csr_matrix(np.eye(3, dtype=np.float32)), None)
    start = process_time()
    next(compiled.minibatches(table, np.arange(3), 3))
    return process_time() - start


def share_of_evaluation(run: Run, rounds: int) -> float:
    """The share of an epoch of the trainer that goes to its held-out tenth of the cells."""
    held_out = np.arange(run.n_cells // 10)
    shares = []
    for _ in range(rounds):
        start = process_time()
        run.epoch()
        middle = process_time()
        evaluation.elbo(run.module, run.table, indices=held_out)
        of_all = process_time() - middle
        shares.append(of_all / (of_all + 0.9 * (middle - start)))
    return float(np.median(shares))


def main() -> None:
    """Measure all rungs on both data sets; write the table."""
    rows = []
    with use_threads(None):
        compiling = seconds_to_compile()
        for name, rounds in ROUNDS.items():
            run = Run(name)
            once = {"compile_s": compiling, "evaluation": share_of_evaluation(run, rounds)}
            for rung in RUNGS:
                row = {"data": name, "rung": rung.name}
                rows.append({**row, **measured(rung, run, rounds), "rounds": rounds, **once})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows).round(3)
    results.write(FILE, table, text(table), digits=3)


def text(table: pd.DataFrame) -> str:
    """Compose the report: a line for each rung, the middle half of its ratios in brackets."""
    gains = [f"{r.gain:.2f}× ({r.low:.2f} to {r.high:.2f})" for r in table.itertuples()]
    wide = table.assign(gain=gains).pivot(index="rung", columns="data", values="gain")
    wide = wide.loc[table.rung.unique(), list(ROUNDS)]
    shares = table.groupby("data", sort=False).evaluation.first()
    evaluating = ", ".join(f"{share:.0%} on {name}" for name, share in shares.items())
    end = f"""
The loader that numba compiles takes {table.compile_s.iloc[0]:.1f} s to compile, once per process.
Evaluation of the held-out cells is {evaluating} of an epoch: more than that can't be gained by
evaluating them beside the training.
"""
    lines = results.markdown(wide.reset_index())
    return results.document("# The ladder", inspect.cleandoc(__doc__ or ""), lines, end.strip())


if __name__ == "__main__":
    main()
