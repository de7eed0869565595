"""What an epoch costs on a GPU, against scvi-tools in the same run.

    python -m benchmarks.gpu FOLDER               everything: some five minutes; nothing is averaged
    python -m benchmarks.gpu FOLDER epochs        one part, of those below
    python -m benchmarks.gpu FOLDER --data 3000x2000 epochs steps

Each result is a line of JSON in FOLDER/gpu.jsonl as soon as it is there; copied to results/, it is
what `python -m benchmarks.run report` takes its section on the GPU from. An epoch's seconds are the
median from the second epoch on, which for nbvae includes the evaluation of its held-out cells. The
ways of nbvae differ in one thing each:

    recorded     as the trainer does it: cells on the device, the step recorded once and replayed
    eager        the same step, launched kernel by kernel
    in pieces    as where the cells don't fit: 64 minibatches at a time are sent
    loop         minibatches made on the host, a question to the device in each step
    sparse loop  the same with the form of the step that a CPU runs
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch.profiler import ProfilerActivity, profile

from benchmarks import data, results
from benchmarks.experiment import command_line, named
from benchmarks.one import machine
from benchmarks.plan import LARGE, SAMPLE, Spec
from benchmarks.rivals import WARM_UP_CELLS, Watch, Watched, fit_scvi, trained
from nbvae import NBVAE, CellTable, Trainer, evaluation, write_store
from nbvae.data import resident
from nbvae.module.fast import fast_forward
from nbvae.train import device, graph, trainer
from nbvae.train.device import DeviceEpochs
from nbvae.train.state import TrainingState

BATCH_SIZES = (128, 1024)
NEVER = 10**9
WAYS: dict[str, list[tuple[Any, str, Any]]] = {
    "recorded": [],
    "eager": [(graph, "RUNS_BEFORE", NEVER)],
    "in pieces": [(resident, "free_memory", lambda _: 0)],
    "loop": [(device, "DEVICES", ())],
    "sparse loop": [(device, "DEVICES", ()), (trainer, "loss_of", fast_forward)],
}
EPOCHS = {"recorded": 8, "scvi": 4, "eager": 4, "in pieces": 4, "sparse loop": 3, "loop": 3}
COPIES, N_EPOCHS = 15, 3
PROFILED_STEPS, LISTED = 4, 20
Result = dict[str, Any]


def main() -> None:
    """Run the parts that the command line names."""
    options = parsed()
    warnings.simplefilter("ignore")  # of other packages; what is wrong raises
    adata, where = data.load(options.data), machine()
    fit_ours(adata[:WARM_UP_CELLS].copy(), 128, 1)  # what happens once per process
    for part in options.parts or PARTS:
        for result in PARTS[part](adata):
            name = SAMPLE if part == "sample" else named(options.data)
            line = {"part": part, "data": name, **result, "machine": where}
            results.keep(options.folder / "gpu.jsonl", line)
            print(part, json.dumps(result), flush=True)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; parts may come before and after options."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path, help="where results go")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--data", default=LARGE, help="as in benchmarks.run")
    options = parser.parse_intermixed_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


@contextmanager
def way(name: str) -> Iterator[None]:
    """Let the trainer go one of its ways."""
    with ExitStack() as stack:
        for place, attribute, value in WAYS[name]:
            stack.enter_context(mock.patch.object(place, attribute, value))
        yield


def fit_ours(adata: AnnData, batch_size: int, epochs: int | None) -> tuple[NBVAE, Watch]:
    """Train a module under a watch."""
    module, watch = Watched.for_counts(adata, seed=0), Watch()
    module.watch = watch
    trained(adata, 0, module, max_epochs=epochs, batch_size=batch_size, device="cuda")
    module.watch = None
    return module, watch


def watch_theirs(adata: AnnData, batch_size: int, epochs: int) -> Watch:
    """Train scvi-tools' model under a watch."""
    watch = Watch()
    fit_scvi(adata, Spec("speed", "", "scvi", 0, epochs, "cuda", 1), watch, batch_size)
    return watch


def timed(adata: AnnData, name: str, batch_size: int, epochs: int) -> Result:
    """Time epochs of a way, and find how much of the GPU's memory they took."""
    torch.cuda.reset_peak_memory_stats()
    if name == "scvi":
        watch = watch_theirs(adata.copy(), batch_size, epochs)
    else:
        with way(name):
            watch = fit_ours(adata, batch_size, epochs)[1]  # the module's memory comes back
    epoch_s = float(np.median(np.diff(watch.laps)))
    return {
        "way": name,
        "batch_size": batch_size,
        "epoch_s": epoch_s,
        "first_epoch_s": watch.laps[0],
        "cells_per_s": 0.9 * adata.n_obs / epoch_s,  # both train on nine tenths
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
        "epochs": len(watch.laps),
    }


def epochs(adata: AnnData) -> Iterator[Result]:
    """Time epochs of each way, and of scvi-tools, at two sizes of minibatches."""
    for batch_size, (name, number) in product(BATCH_SIZES, EPOCHS.items()):
        yield timed(adata, name, batch_size, number)


def steps(adata: AnnData) -> Iterator[Result]:
    """Time a step without anything around it, and list its kernels."""
    for batch_size in BATCH_SIZES:
        ready, order = prepared(adata, batch_size)
        recorded = step_ms(ready, order)
        with way("eager"):
            ready, order = prepared(adata, batch_size)
            eager = step_ms(ready, order)
            kernels = kernels_of(ready, order[: PROFILED_STEPS * batch_size])
        result = {"batch_size": batch_size, "recorded_ms": recorded, "eager_ms": eager}
        yield {**result, "cells_per_s": 1e3 * batch_size / recorded, **kernels}


def prepared(adata: AnnData, batch_size: int) -> tuple[DeviceEpochs, np.ndarray]:
    """Build what the trainer builds, and run an epoch."""
    module = Watched.for_counts(adata).to("cuda")
    settings = Trainer(batch_size=batch_size, device="cuda").settings
    table = CellTable.of(adata)
    state = TrainingState(module, settings, {}, 1)
    n_train = adata.n_obs // batch_size * batch_size  # full minibatches alone
    ready = DeviceEpochs(state, table, n_train, np.arange(1))
    order = np.random.default_rng(0).permutation(adata.n_obs)[:n_train]
    ready.train(order, [(1.0, 1e-3)] * (n_train // batch_size), 0)
    return ready, order


def step_ms(ready: DeviceEpochs, order: np.ndarray) -> float:
    """Time the steps of an epoch; the median of three epochs."""
    times = []
    with torch.cuda.stream(ready.stream):
        for _ in range(3):
            ready.steps_done.zero_()
            times.append(device_ms(lambda: ready.run_steps(order)))
    return float(np.median(times)) / (len(order) // ready.batch_size)


def device_ms(work: Callable[[], Any], times: int = 1) -> float:
    """Time something by the device's own clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(times):
        work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / times


def kernels_of(ready: DeviceEpochs, order: np.ndarray) -> Result:
    """Profile some steps: how many kernels one has, and which take the longest, in µs."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        with torch.cuda.stream(ready.stream):
            ready.steps_done.zero_()
            ready.run_steps(order)
        torch.cuda.synchronize()
    events = [e for e in profiler.key_averages() if e.device_type.name == "CUDA"]
    rows = [(e.key, e.count, e.self_device_time_total) for e in events]
    found = pd.DataFrame(rows, columns=["kernel", "count", "us"]).set_index("kernel")
    found = found[~found.index.str.startswith("Optimizer")] / PROFILED_STEPS
    longest = found.sort_values("us", ascending=False, kind="stable")[:LISTED]
    names = [f"{count:g} × {kernel[:90]}" for kernel, count in longest["count"].items()]
    return {
        "kernels": found["count"].sum(),
        "busy_us": found.us.sum(),
        "longest": dict(zip(names, longest.us, strict=True)),
    }


def floor(_: AnnData) -> Iterator[Result]:
    """Measure what the device allows: a copy, a product, and the least that a kernel takes."""
    x = torch.rand(2**28, device="cuda")
    copy = gpu_ms(lambda: x.clone())
    yield {"what": "copy", "gigabytes_per_second": 2 * x.nbytes / copy / 1e6}
    a, b = torch.rand(1024, 2000, device="cuda"), torch.rand(2000, 128, device="cuda")
    yield {"what": "1024 × 2000 × 128", "tflops": 2e-9 * 1024 * 2000 * 128 / gpu_ms(lambda: a @ b)}
    for n_cells in BATCH_SIZES:
        small = torch.rand(n_cells, 2000, device="cuda")
        yield {"what": f"kernel on {n_cells} × 2000", "us": 10 * recorded_ms(small.log1p_)}


def gpu_ms(work: Callable[[], Any]) -> float:
    """Time something twenty times, after one run that isn't counted."""
    work()
    return device_ms(work, times=20)


def recorded_ms(work: Callable[[], Any], times: int = 100) -> float:
    """Time a recording of the same piece of work, so many times one after the other."""
    recording = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recording):
        for _ in range(times):
            work()
    return gpu_ms(recording.replay)


def sample(_: AnnData) -> Iterator[Result]:
    """Time the README's example, on this machine's CPU with one thread and on its GPU."""
    adata = data.load(SAMPLE)
    torch.set_num_threads(1)
    for seed, place in product(range(3), ("cpu", "cuda")):
        start = perf_counter()
        module = NBVAE.for_counts(adata, seed=seed)
        trainer = Trainer(stratify_by="cell_type", device=place, progress=False)
        history = trainer.fit(module, adata)
        result = {"device": place, "seed": seed, "fit_s": perf_counter() - start}
        yield {**result, "held_out": history.held_out_neg_elbo.min(), "epochs": len(history)}


def whole(adata: AnnData) -> Iterator[Result]:
    """Time a whole run by default, and evaluate cells that it never sees."""
    train, test = data.split(adata, 0)
    for batch_size in BATCH_SIZES:
        start = perf_counter()
        module, watch = fit_ours(train, batch_size, None)
        fit_s = perf_counter() - start
        test_elbo = evaluation.elbo(module, test).neg_elbo
        result = {"batch_size": batch_size, "fit_s": fit_s, "test_neg_elbo": test_elbo}
        yield {**result, "epochs": len(watch.laps)}


def million(adata: AnnData) -> Iterator[Result]:
    """Time epochs of fifteen times as many cells: a million, if --data is the default."""
    many = data.table_of(sparse.vstack([adata.X] * COPIES, format="csr"))
    for name, batch_size in product(("recorded", "in pieces"), BATCH_SIZES):
        yield {"n_cells": many.n_obs, **timed(many, name, batch_size, N_EPOCHS)}


def store(adata: AnnData) -> Iterator[Result]:
    """Time some epochs of cells in memory, and of the same cells in a store on the disk."""
    with TemporaryDirectory() as folder:
        places = {"memory": adata, "store": write_store(Path(folder) / "cells.zarr", adata)}
        for batch_size, (place, cells) in product(BATCH_SIZES, places.items()):
            module = NBVAE.for_counts(cells, seed=0)
            trainer = Trainer(
                max_epochs=N_EPOCHS,
                batch_size=batch_size,
                schedule="constant",
                learning_rate=3e-3,
                holdout_fraction=0.02,
                seed=0,
                device="cuda",
                progress=False,
            )
            start = perf_counter()
            trainer.fit(module, cells)
            result = {"place": place, "batch_size": batch_size, "n_cells": cells.n_obs}
            yield {**result, "epochs": N_EPOCHS, "fit_s": perf_counter() - start}


PARTS: dict[str, Callable[[AnnData], Iterator[Result]]] = {
    part.__name__: part for part in (floor, epochs, steps, sample, whole, million, store)
}

if __name__ == "__main__":
    main()
