"""What training from a disk costs, and how much memory it takes, against training from memory.

    python -m benchmarks.scale                    500,000 × 2,000 generated cells
    python -m benchmarks.scale --cells 100000     fewer; each line says how many it was
    python -m benchmarks.scale show               the table of what is stored

Each part runs in a process of its own, so that its peak memory is its own (that of a parent would
be handed down):

    cells        generates them
    nothing      imports the package: what all others have in common
    write        h5ad → store
    memory       one epoch, counts in memory
    disk         one epoch, counts on the disk, the same batch size; both with three seeds
    loading      only the minibatches of that epoch, sparse and dense, without a step

A line of JSON for each goes to results/scale.jsonl. Seconds of the processor are to be trusted
more than those of the clock, on a machine with other work. The files are in the page cache.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd

import nbvae
from benchmarks import data, results
from benchmarks.experiment import command_line, in_a_process, machine, peak_mb
from nbvae import NBVAE, CellTable, Trainer, datasets, open_store, write_store

FILE = results.FOLDER / "scale.jsonl"
SEEDS = {"memory": (0, 1, 2), "disk": (0, 1, 2)}  # of weights, split, order and draws of z
N_GENES, BATCH_SIZE = 2000, 128
SHOWN = ["seed", "peak_mb", "seconds", "cpu_us_per_cell", "held_out", "disk_mb"]


def main() -> None:
    """Run all parts, each in its own process, or one of them in this one."""
    parser = command_line(__doc__)
    parser.add_argument("part", nargs="?", choices=[*PARTS, "show"])
    parser.add_argument("--cells", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="of the files; by default one that is removed")
    options = parser.parse_args()
    if options.part == "show":
        lines = pd.DataFrame(results.stored(FILE.parent, FILE.name))
        print(lines.set_index(["n_cells", "part"])[SHOWN].round(1).to_string())
    elif options.part:
        print(json.dumps(measured(options)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            run_all(options.cells, options.folder or Path(folder))


def run_all(n_cells: int, folder: Path) -> None:
    """Measure part by part."""
    where = machine("torch", "anndata", "zarr")
    runs = [(part, seed) for part in PARTS for seed in SEEDS.get(part, (0,))]
    for part, seed in runs:
        given = f"{part} --cells {n_cells} --seed {seed} --folder".split()
        found = in_a_process("scale", *given, str(folder))
        line = {"part": part, "n_cells": n_cells, "seed": seed, **found}
        print(line, flush=True)
        results.keep(FILE, {**line, "machine": where})


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run one part, and say what it took."""
    start, cpu_start = perf_counter(), process_time()
    result = PARTS[options.part](options)
    n_cells = result.pop("met", None)  # by this part
    cpu = process_time() - cpu_start
    result |= {"peak_mb": peak_mb(), "seconds": perf_counter() - start, "cpu_s": cpu}
    return result | ({"cpu_us_per_cell": 1e6 * cpu / n_cells} if n_cells else {})


def cells(options: argparse.Namespace) -> dict[str, Any]:
    file = options.folder / "cells.h5ad"
    if not file.exists():
        data.generated(options.cells, N_GENES).write_h5ad(file)
    return {}


def nothing(_: argparse.Namespace) -> dict[str, Any]:
    return {"version": nbvae.__version__}


def write(options: argparse.Namespace) -> dict[str, Any]:
    store = write_store(options.folder / "cells.zarr", options.folder / "cells.h5ad")
    size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    return {"met": store.n_obs, "disk_mb": size / 1e6}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    return epoch(datasets.read_counts(options.folder / "cells.h5ad"), options.seed)


def disk(options: argparse.Namespace) -> dict[str, Any]:
    return epoch(open_store(options.folder / "cells.zarr"), options.seed)


def epoch(cells: Any, seed: int) -> dict[str, Any]:
    """Train for an epoch, at a rate that stays."""
    trainer = Trainer(
        max_epochs=1,
        batch_size=BATCH_SIZE,
        schedule="constant",
        learning_rate=3e-3,
        holdout_fraction=0.02,
        seed=seed,
        device="cpu",
    )
    history = trainer.fit(NBVAE.for_counts(cells, seed=seed), cells)
    return {"met": cells.n_obs, "held_out": float(history.held_out_neg_elbo.iloc[-1])}


def loading(options: argparse.Namespace) -> dict[str, Any]:
    store = open_store(options.folder / "cells.zarr")
    table, rng = CellTable.of(store), np.random.default_rng(options.seed)
    order = table.shuffled(np.arange(store.n_obs), BATCH_SIZE, rng)
    for minibatch in table.minibatches(order, BATCH_SIZE):
        assert len(minibatch.x) == len(minibatch.sparse.cell_starts)
    return {"met": store.n_obs}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    part.__name__: part for part in (cells, nothing, write, memory, disk, loading)
}

if __name__ == "__main__":
    main()
