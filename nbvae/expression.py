"""What a trained module says about genes: shares without noise, replicated counts, differences."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from nbvae._arguments import whole_number
from nbvae.data.covariates import Way
from nbvae.data.minibatches import CellTable
from nbvae.data.results import Results, refuse_in_memory
from nbvae.differential import differential_expression, expected_fdr
from nbvae.module.decoding import decoded_as, known_decoding, px_scale_as
from nbvae.module.evaluating import evaluating, minibatches_of
from nbvae.module.protocol import LatentModule

__all__ = [
    "LikelihoodParameters",
    "denoised",
    "differential_expression",
    "expected_fdr",
    "gene_correlation",
    "likelihood_parameters",
    "posterior_predictive",
]


class LikelihoodParameters(NamedTuple):
    """The likelihood of each count, with the genes in the order of the AnnData.

    ``theta`` is None for the Poisson distribution.
    """

    mean: np.ndarray  # (n_cells, n_genes), μ, before any loss of counts
    theta: np.ndarray | None  # (n_genes,), θ, or (n_cells, n_genes) if batches have their own
    dropout: np.ndarray | None  # (n_cells, n_genes), π; None without zero inflation


def denoised(
    module: LatentModule,
    adata: AnnData,
    *,
    layer: str | None = None,
    genes: Any = None,
    covariates: Way = "own",
    n_samples: int = 25,
    seed: int = 0,
    out: str | Path | None = None,
) -> np.ndarray:
    """Estimate the expected share of each gene in each cell: ρ, averaged over q(z | x).

    With size factors ρ is not a share but the expected count per unit of them.

    Zero inflation is left out: ρ is what a gene's share would be if no count were lost.

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        layer: the layer that holds the counts; the module's own when left out.
        genes: the genes to return, in this order: names, column numbers of ``adata`` or a mask of
            them; all that the module models when left out, in the order of ``adata``.
        covariates: "own" decodes each cell with its own; a level, or {"donor": "d1",
            "percent_mito": 5.0}, as if all cells had that, with the rest as it is; "all" with each
            combination of levels in turn (numbers at their means) and averages, so that cells of
            two batches can be compared; {"batch": "all"} with each level of one. Without
            covariates both are the same.
        n_samples: draws of z for each cell, averaged.
        seed: seed of these draws.
        out: a file, "denoised.npy", that takes the result while it is made, and appears when it is
            complete; memory when left out.

    Returns:
        (n_cells, n_genes), float32. With all genes, and without size factors, the rows sum to 1.

    Raises:
        CountsError, TypeError: as in ``CellTable.of``.
        KeyError: a gene, or the layer, is not there.
        ValueError: as in ``CellTable.of``; ``n_samples`` is below 1, ``covariates`` is none of
            these, or ``genes`` chooses none or a name that occurs twice; all genes of a store were
            asked for without ``out``.
        OSError: the file can't be written; its folder is missing, or the disk is full.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    covariates = known_decoding(module, covariates)
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(genes)
    if genes is None and out is None:
        refuse_in_memory(adata, table.n_cells, len(columns))
    with Results(table.n_cells, out) as shares, evaluating(module, seed=seed):
        for m in minibatches_of(module, table):
            total = torch.zeros(())
            for _ in range(n_samples):
                z = module.inference(m.x, covariates=m.covariates).z
                total = total + px_scale_as(module, z, m, covariates)[:, columns]
            shares.add((total / n_samples).cpu().float().numpy())
    return shares.numbers


def posterior_predictive(
    module: LatentModule,
    adata: AnnData,
    *,
    layer: str | None = None,
    n_samples: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Draw replicated counts of each cell: z from q(z | x), then x from p(x | z, ℓ).

    Each replicate has the cell's own library ℓ, its expected total (or its size factor), and its
    own covariates. Where the replicates behave as the data do, the model has understood the data
    (Gelman, Meng & Stern 1996).

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        layer: the layer that holds the counts; the module's own when left out.
        n_samples: replicates of the whole table.
        seed: seed of the draws.

    Returns:
        (n_samples, n_cells, n_genes), float32, the genes in the order of ``adata``; those that the
        module does not model are left out. They are dense, 4 bytes per entry: one replicate of
        10,000 cells and 2,000 genes takes 80 MB. Draw a few, or a subset of cells.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as there, or ``n_samples`` is below 1.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(None)
    refuse_in_memory(adata, n_samples, table.n_cells, len(columns))
    replicates = np.empty((n_samples, table.n_cells, len(columns)), dtype=np.float32)
    start = 0
    with evaluating(module, seed=seed):
        for m in minibatches_of(module, table):
            cells = slice(start, start + len(m))
            for replicate in replicates:
                z = module.inference(m.x, covariates=m.covariates).z
                p = module.generative(z, m.library, covariates=m.covariates)
                replicate[cells] = module.likelihood.sample(p).cpu().numpy()[:, columns]
            start += len(m)
    return replicates


def likelihood_parameters(
    module: LatentModule, adata: AnnData, *, layer: str | None = None, indices: Any = None
) -> LikelihoodParameters:
    """Say which distribution each count of some cells has, given the mean of q(z | x).

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        layer: the layer that holds the counts; the module's own when left out.
        indices: the cells: row numbers, a mask or names; all when left out.

    Raises:
        CountsError, KeyError, TypeError, ValueError: as in ``CellTable.of``, and for ``indices``;
            all cells of a store were asked for.

    """
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(None)
    if indices is None:
        refuse_in_memory(adata, table.n_cells, len(columns))
    means, thetas, dropouts = [], [], []
    with evaluating(module):
        for m in minibatches_of(module, table, table.positions(indices)):
            z = module.inference(m.x, covariates=m.covariates).qz_mean
            p = module.generative(z, m.library, covariates=m.covariates)
            means.append(p.px_mean.cpu().numpy()[:, columns])
            if p.log_theta is not None:
                thetas.append(p.theta.cpu().numpy()[..., columns])
            if p.dropout_logits is not None:
                dropouts.append(torch.sigmoid(p.dropout_logits).cpu().numpy()[:, columns])
    dropout = np.concatenate(dropouts) if dropouts else None
    theta = thetas[0] if thetas else None
    if theta is not None and theta.ndim == 2:
        theta = np.concatenate(thetas)
    return LikelihoodParameters(np.concatenate(means), theta, dropout)


def gene_correlation(
    module: LatentModule,
    adata: AnnData,
    genes: Any,
    *,
    layer: str | None = None,
    covariates: Way = "own",
    library: float | None = None,
    n_samples: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate genes over cells as the module draws them, z from q(z | x).

    Given z, the counts of two genes are independent, so that all of their covariance is that of
    their ρ over cells and draws. What a gene varies on its own adds to its variance: ρ²/θ on
    average and, with a library ℓ, ρ/ℓ more, the noise of counting. No counts have to be drawn.
    Pearson's correlation; zero inflation is left out.

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        genes: which: names, column numbers of ``adata`` or a mask of them.
        layer: the layer that holds the counts; the module's own when left out.
        covariates: what to decode as; see ``denoised``. "all" takes batches out.
        library: of replicated counts, the same for all cells; None: of expression before counting.
        n_samples: draws of z for each cell.
        seed: seed of these draws.

    Returns:
        A row and a column for each gene, by name.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as in ``denoised``; or ``library`` is not above 0.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    covariates = known_decoding(module, covariates)
    if library is not None and not library > 0:
        raise ValueError(f"library must be above 0, not {library}.")
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(genes)
    total, products = np.zeros(len(columns)), np.zeros((len(columns), len(columns)))
    own = np.zeros(len(columns))  # Σ ρ²/θ, what each gene varies on its own
    with evaluating(module, seed=seed):
        for m in minibatches_of(module, table):
            for _ in range(n_samples):
                q = module.inference(m.x, covariates=m.covariates)
                scale, by_theta = decoded_as(module, q.z, m, covariates)
                share = scale[:, columns].cpu().double().numpy()
                total, products = total + share.sum(axis=0), products + share.T @ share
                if by_theta is not None:
                    scatter = by_theta[..., columns].cpu().double().numpy()
                    own += (share**2 * scatter).sum(axis=0)
    n = n_samples * table.n_cells
    mean, square, own = total / n, products / n, own / n
    covariance = square - np.multiply.outer(mean, mean)
    noise = own + (0 if library is None else mean / library)
    sd = np.sqrt(np.diag(covariance).clip(min=0) + noise)
    correlation = covariance / np.multiply.outer(sd, sd)
    np.fill_diagonal(correlation, 1)
    names = table.genes[columns]
    return pd.DataFrame(correlation, index=names, columns=names)
