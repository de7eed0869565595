"""Would annbatch, scverse's own loader, read a store sooner? python -m benchmarks.with_annbatch.

It needs annbatch, and so Python 3.12. 60,000 random cells × 2,000 genes, 9 % of the counts above
zero, are written as a store and read in the order of four epochs, by the package (zarr alone) and
by annbatch, in turns. The minibatches are the same: tests/test_store_annbatch.py. It writes
results/annbatch.csv: microseconds per cell, of one thread's processor time and of the clock. The
file is in the page cache. What is left for both to do, dense and sparse forms, is not counted.
"""

import platform
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import sparse_dataset
from scipy import sparse

from benchmarks import results
from nbvae import CellTable, write_store
from nbvae.data.order import BLOCK, window_size

FILE = results.FOLDER / "annbatch.csv"
N_CELLS, N_GENES, BATCH_SIZE, EPOCHS = 60_000, 2000, 128, 4


def requests(order: np.ndarray, window: int, batch_size: int, n_cells: int) -> Iterator[dict]:
    """Say an order in annbatch's words: the blocks of a window, and who of them goes together.

    Asked for single rows, it reads them one by one, 300 times as slowly.
    """
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        blocks, place = np.unique(rows // BLOCK, return_inverse=True)
        slices = [slice(b * BLOCK, min((b + 1) * BLOCK, n_cells)) for b in map(int, blocks)]
        at = place * BLOCK + rows % BLOCK
        splits = np.split(at, range(batch_size, len(rows), batch_size))
        yield {"requests": slices, "splits": splits}


def by_annbatch(path: Path, order: np.ndarray, batch_size: int) -> Iterator[sparse.csr_matrix]:
    """Read the counts of a store, minibatch by minibatch, in a given order."""
    from annbatch import Loader
    from annbatch.abc import Sampler

    class Given(Sampler):
        batch_size = property(lambda self: batch_size)
        shuffle = property(lambda self: False)

        def n_batches(self, n_obs: int) -> int:
            return -(-len(order) // batch_size)

        def validate(self, n_obs: int) -> None:
            assert order.max() < n_obs

        def _sample(self, n_obs: int) -> Iterator[dict]:
            return requests(order, window_size(batch_size), batch_size, n_obs)

    dataset = sparse_dataset(zarr.open_group(path, mode="r")["X"])
    loader = Loader(batch_sampler=Given(), preload_to_gpu=False, to=None).add_dataset(dataset)
    for minibatch in loader:
        yield minibatch["X"]


def by_zarr(table: CellTable, order: np.ndarray, batch_size: int) -> Iterator[sparse.csr_matrix]:
    """Read them as the package does."""
    for minibatch in table.minibatches(order, batch_size):
        yield minibatch.counts


def random_cells(n_cells: int, n_genes: int) -> AnnData:
    """Counts of genes whose means differ a thousandfold; each cell has one of the first gene."""
    rng = np.random.default_rng(0)
    means = np.exp(rng.normal(-4, 2.2, n_genes)).clip(0, 30)
    parts = []
    for _ in range(30):
        counts = rng.poisson(means, (n_cells // 30, n_genes)).astype(np.float32)
        counts[:, 0] += 1
        parts.append(sparse.csr_matrix(counts))
    return AnnData(sparse.vstack(parts, format="csr"))


def main() -> None:
    """Write the store, take turns, write the table."""
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "cells.zarr", random_cells(N_CELLS, N_GENES))
        table = CellTable.of(store)
        engines: dict[str, Callable[[np.ndarray], Iterator[Any]]] = {
            "zarr": lambda order: by_zarr(table, order, BATCH_SIZE),
            "annbatch": lambda order: by_annbatch(store.path, order, BATCH_SIZE),
        }
        rows = []
        for epoch in range(EPOCHS):
            order = table.shuffled(np.arange(N_CELLS), BATCH_SIZE, np.random.default_rng(epoch))
            for name, walk in engines.items():
                clock, cpu = perf_counter(), process_time()
                assert sum(counts.shape[0] for counts in walk(order)) == N_CELLS
                spent = process_time() - cpu, perf_counter() - clock
                rows.append([name, epoch, *(1e6 * seconds / N_CELLS for seconds in spent)])
    found = pd.DataFrame(rows, columns=["engine", "epoch", "cpu_us_per_cell", "us_per_cell"])
    versions = {name: metadata.version(name) for name in ("annbatch", "zarr", "anndata")}
    found = found.assign(python=platform.python_version(), **versions)
    results.write(FILE, found, digits=2)
    print(found.to_string())


if __name__ == "__main__":
    main()
