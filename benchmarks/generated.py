"""Count matrices of any size that look like blood cells, and are made by a model.

They are generated: good for measuring time, and for asking which rival fits a known kind of data
better; no claim about biology rests on them. The model is an NBVAE that was trained on the 700
real cells of the sample, which says how cell types differ. It knows 765 genes. Each generated gene
is a weighted mean of two of them (their log-shares, as they vary from cell to cell, and their θ),
at a mean level that is drawn anew, so that one can have as many genes as one likes:

    levels    normal on the log scale with standard deviation 2.2, which makes about 89 % of the
              entries zero (PBMC 3k with its 2,000 most variable genes: 93 %)
    cells     a real cell's posterior draw of z and library, drawn with replacement; the library
              grows with the number of genes
    counts    negative binomial, given the shares and the library

Both rivals in the benchmark are models of this very form, so neither has an advantage.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor

from nbvae import NBVAE, Trainer, datasets, evaluation
from nbvae.distributions import nb_sample

LEVEL_SD = 2.2
GENES_AT_REAL_LIBRARY = 2000  # so many genes have the real cells' libraries, half as many half
CHUNK = 2048  # cells at a time


class Genes(NamedTuple):
    """How the generated genes come from the 765 real ones."""

    parents: Tensor  # (2, G), columns of the trained decoder
    weight: Tensor  # (G,), of the first parent
    level: Tensor  # (G,), mean log-share before normalisation


def blood(n_cells: int, n_genes: int, seed: int = 0) -> AnnData:
    """Generate counts, n_cells × n_genes, with ``obs["cell_type"]`` of the real cell behind each.

    The same numbers give the same counts; fewer cells are the first ones of more cells.
    """
    torch.manual_seed(seed)
    sample = datasets.pbmc68k_sample()
    module = NBVAE.for_counts(sample)
    Trainer(holdout_fraction=0, device="cpu", progress=False, seed=seed).fit(module, sample)
    rng = np.random.default_rng(seed)
    genes = _genes(rng, n_genes, module.n_genes)
    posterior = evaluation.encode(module, sample)
    library = np.asarray(sample.X.sum(axis=1)) * n_genes / GENES_AT_REAL_LIBRARY

    blocks, sources = [], []
    for start in range(0, n_cells, CHUNK):
        rng = np.random.default_rng([seed, start])
        source = rng.integers(sample.n_obs, size=CHUNK)
        z = rng.normal(posterior.mean[source], posterior.sd[source]).astype(np.float32)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        size = torch.from_numpy(library[source].astype(np.float32))
        block = _counts(module, genes, torch.from_numpy(z), size, generator)
        blocks.append(block[: n_cells - start])
        sources.append(source[: n_cells - start])
    return _annotated(sparse.vstack(blocks, format="csr"), sample, np.concatenate(sources))


def _genes(rng: np.random.Generator, n_genes: int, n_real: int) -> Genes:
    return Genes(
        torch.from_numpy(rng.integers(n_real, size=(2, n_genes))),
        torch.from_numpy(rng.uniform(size=n_genes).astype(np.float32)),
        torch.from_numpy(rng.normal(0, LEVEL_SD, size=n_genes).astype(np.float32)),
    )


def _mixed(values: Tensor, genes: Genes) -> Tensor:
    """Mix columns of ``values`` as the genes say."""
    first, second = (values[..., parent] for parent in genes.parents)
    return genes.weight * first + (1 - genes.weight) * second


@torch.no_grad()
def _counts(
    module: NBVAE, genes: Genes, z: Tensor, library: Tensor, generator: torch.Generator
) -> sparse.csr_matrix:
    """Draw the counts of some cells; a cell that came out empty gets one count."""
    log_share = module.decoder(z)
    varying = log_share - module.decoder(torch.zeros(1, z.shape[1]))  # against the cell at z = 0
    logits = _mixed(varying, genes) + genes.level
    log_mean = library.log() + torch.log_softmax(logits, dim=-1)
    counts = nb_sample(log_mean, _mixed(module.log_theta, genes), generator=generator)
    empty = (counts.sum(dim=-1) == 0).nonzero().squeeze(1)
    counts[empty, logits[empty].argmax(dim=-1)] = 1
    return sparse.csr_matrix(counts.numpy())


def _annotated(counts: sparse.csr_matrix, sample: AnnData, source: np.ndarray) -> AnnData:
    n_cells, n_genes = counts.shape
    cell_type = sample.obs["cell_type"].to_numpy()[source]
    names = pd.Index([f"generated-{i}" for i in range(n_cells)])
    return AnnData(
        X=counts,
        obs=pd.DataFrame({"cell_type": pd.Categorical(cell_type)}, index=names),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)]),
    )
