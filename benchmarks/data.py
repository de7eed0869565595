"""The data sets, and the cells that no rival ever sees.

Generated counts look like blood cells: good for measuring time, and for asking which rival fits a
known kind of data better; no claim about biology rests on them. They are made by an NBVAE that was
trained on the 700 cells and 765 genes of the sample, of the very form of both rivals. A cell has
the posterior draw of z and the library of a real cell. A gene is a weighted mean of two real ones
(their log-shares, as they vary from cell to cell, and their θ), at a level that is normal on the
log scale, with a standard deviation of 2.2: about 89 % of the entries are zero (PBMC 3k with its
2,000 most variable genes: 93 %). The library grows with the genes: with 2,000 it is the real one.
"""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData, read_h5ad
from scipy import sparse
from torch import Tensor

import nbvae
from benchmarks.rivals import trained
from nbvae import NBVAE, datasets, evaluation, nb_sample, split_cells

KEPT = Path(__file__).parents[1] / "_build" / "benchmarks"
TEST_FRACTION = 0.1
MOST_TEST_CELLS = 2000  # so that evaluating the largest set does not take longer than training
LEVEL_SD, GENES_AT_REAL_LIBRARY = 2.2, 2000
CHUNK = 2048  # cells at a time


def load(name: str) -> AnnData:
    """Load counts: "sample", "3000x2000" (generated, cells × genes) or the path of a file."""
    if name == "sample":
        return datasets.pbmc68k_sample()
    if not re.fullmatch(r"\d+x\d+", name):
        return datasets.read_counts(name)
    # the file's name tells a changed generator, or model, from an older one
    sources = [Path(__file__), *sorted(Path(nbvae.__file__).parent.rglob("*.py"))]
    recipe = zlib.crc32(b"".join(source.read_bytes() for source in sources))
    path = KEPT / f"{name}-{recipe:08x}.h5ad"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        generated(*map(int, name.split("x"))).write_h5ad(path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    return read_h5ad(path)


def split(adata: AnnData, seed: int) -> tuple[AnnData, AnnData]:
    """Put a tenth of the cells aside, at most 2,000, of each cell type its share."""
    fraction = min(TEST_FRACTION, MOST_TEST_CELLS / adata.n_obs)
    by = "cell_type" if "cell_type" in adata.obs else None
    train, test = split_cells(adata, fraction, seed, by)
    return adata[train].copy(), adata[test].copy()


def facts(adata: AnnData) -> dict[str, float]:
    """Say what was measured on: size, share of zeros, a checksum of the counts."""
    zeros = round(1 - adata.X.nnz / (adata.n_obs * adata.n_vars), 4)
    checksum = zlib.crc32(adata.X.data.astype(np.float32).tobytes())
    return {"n_cells": adata.n_obs, "n_genes": adata.n_vars, "zeros": zeros, "checksum": checksum}


def generated(n_cells: int, n_genes: int) -> AnnData:
    """Generate counts, with ``obs["cell_type"]`` of the real cell behind each.

    The same numbers give the same counts; fewer cells are the first ones of more cells.
    """
    sample = datasets.pbmc68k_sample()
    module = trained(sample, 0, holdout_fraction=0)
    genes, latent = Genes(n_genes, module), evaluation.encode(module, sample)
    library = np.asarray(sample.X.sum(axis=1)) * n_genes / GENES_AT_REAL_LIBRARY
    blocks, sources = [], []
    for start in range(0, n_cells, CHUNK):
        rng = np.random.default_rng([0, start])
        source = rng.integers(sample.n_obs, size=CHUNK)
        z = torch.from_numpy(rng.normal(latent.mean[source], latent.sd[source])).float()
        noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
        blocks.append(genes.counts(z, torch.from_numpy(library[source]).float(), noise))
        sources.append(source)
    cells = sample.obs[["cell_type"]].iloc[np.concatenate(sources)[:n_cells]]
    obs = cells.set_axis([f"generated-{i}" for i in range(n_cells)])
    return table_of(sparse.vstack(blocks, format="csr")[:n_cells], obs)


def table_of(counts: Any, obs: pd.DataFrame | None = None, var: Any = None) -> AnnData:
    """Make an AnnData of a matrix of counts; cells and genes without names get some."""
    n_cells, n_genes = counts.shape
    if obs is None:
        obs = pd.DataFrame(index=[f"cell-{i}" for i in range(n_cells)])
    if var is None:
        var = pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)])
    return AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs.copy(), var.copy())


def logged(counts: np.ndarray, target: float | None = None) -> np.ndarray:
    """Take log(1 + x) of counts that are scaled to a library, the median one by default."""
    library = counts.sum(axis=1, keepdims=True)
    return np.log1p(counts / library * (target or np.median(library)))


class Genes:
    """So many generated genes, made of the real ones that a module knows."""

    def __init__(self, n_genes: int, module: NBVAE) -> None:
        rng = np.random.default_rng(0)
        self.module = module
        self.parents = torch.from_numpy(rng.integers(module.n_genes, size=(2, n_genes)))
        self.weight = torch.from_numpy(rng.uniform(size=n_genes)).float()  # of the first parent
        self.level = torch.from_numpy(rng.normal(0, LEVEL_SD, size=n_genes)).float()

    def mixed(self, values: Tensor) -> Tensor:
        first, second = (values[..., parent] for parent in self.parents)
        return self.weight * first + (1 - self.weight) * second

    @torch.no_grad()
    def counts(self, z: Tensor, library: Tensor, noise: torch.Generator) -> sparse.csr_matrix:
        """Draw the counts of some cells; a cell that came out empty gets one count."""
        decoder, log_theta = self.module.decoder, self.module.log_theta
        assert log_theta is not None
        varying = decoder(z) - decoder(torch.zeros(1, z.shape[1]))  # against the cell at z = 0
        logits = self.mixed(varying) + self.level
        log_mean = library.log() + torch.log_softmax(logits, dim=-1)
        counts = nb_sample(log_mean, self.mixed(log_theta), generator=noise)
        empty = (counts.sum(dim=-1) == 0).nonzero().squeeze(1)
        counts[empty, logits[empty].argmax(dim=-1)] = 1
        return sparse.csr_matrix(counts.numpy())
