"""Run chapters on another data set than the sample, as a reader does who changes their one line.

    python tests/book/other_data.py book/06_training.ipynb …

The data set has another size, other genes and barcodes, and no labels; its cells are of four kinds.
"""

import gc
import importlib
import multiprocessing
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

SIZE = 200, 90  # cells × genes: an epoch has two minibatches, the last one smaller
LINES = (  # by which a chapter says what its data set is
    "adata = datasets.pbmc68k_sample()",
    'adata = datasets.read_counts(here / "blood.h5ad")',
)


def other_data() -> AnnData:
    """Counts of four kinds of cells; some genes are silent in most cells, as in real tables."""
    rng = np.random.default_rng(1)
    n_cells, n_genes = SIZE
    kind = rng.integers(4, size=n_cells)
    shares = rng.gamma(0.4, size=n_genes) * rng.gamma(1.5, size=(4, n_genes))
    shares /= shares.sum(axis=1, keepdims=True)
    library = rng.lognormal(5.5, 0.4, size=(n_cells, 1))
    counts = rng.poisson(rng.gamma(3, library * shares[kind] / 3))
    counts[:, -1] += counts.sum(axis=1) == 0
    return AnnData(
        X=sparse.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(index=[f"well-{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"gene-{i}" for i in range(n_genes)]),
    )


def train_briefly() -> None:
    """Let the default number of epochs be that of a large data set: the fewest."""
    settings = importlib.import_module("nbvae.train.settings")
    trainer = importlib.import_module("nbvae").Trainer
    fit = trainer.fit

    def briefly(self: Any, *cells: Any, **options: Any) -> Any:
        with mock.patch.object(settings, "ENOUGH_STEPS", 0):
            return fit(self, *cells, **options)

    trainer.fit = briefly


def map_without_umap() -> None:
    """Put two of the latent dimensions where UMAP would: to compile it takes longer than the rest.

    Each chapter has its maps by UMAP under nbval.
    """
    scanpy = importlib.import_module("scanpy")
    scanpy.pp.neighbors = partial(scanpy.pp.neighbors, method="gauss")

    def two_dimensions(adata: AnnData, **_: Any) -> None:
        adata.obsm["X_umap"] = adata.obsm["X_nbvae"][:, :2]

    scanpy.tl.umap = two_dimensions


def failures(path: Path) -> dict[str, str]:
    """Run a chapter's cells on the other data; what fails, by the cell's identifier."""
    from notebooks import code_cells, read, tags

    failed, namespace = {}, {"__name__": "__main__", "other_data": other_data}
    cells = code_cells(read(path))
    if not any(line in cell.source for cell in cells for line in LINES):
        return {"none": f"has a line that begins {LINES}: on what is the chapter run?"}
    for cell in cells:
        source = cell.source
        for line in LINES:
            source = source.replace(line, "adata = other_data()")
        try:
            exec(compile(source, cell.id, "exec"), namespace)
        except Exception as error:
            if "raises-exception" not in tags(cell):
                failed[cell.id] = f"{type(error).__name__}: {error}"
    return failed


def each_in_a_fork(paths: list[str]) -> dict[str, dict[str, str]]:
    """Run each chapter from the same start, a process that has imported what chapters import."""
    import torch

    for name in ("nbvae.teaching", "scanpy"):
        importlib.import_module(name)
    train_briefly()
    map_without_umap()
    torch.optim.Adam([torch.zeros(1)])  # the first one imports as much again
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return dict(zip(paths, pool.map(failures, map(Path, paths), chunksize=1), strict=True))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
    found = each_in_a_fork(sys.argv[1:])
    for path, failed in found.items():
        print(path, "ran" if not failed else "")
        for name, error in failed.items():
            print(f"  {name} {error}", flush=True)
    sys.exit(any(found.values()))
