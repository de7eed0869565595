"""What a trained module says about genes: shares without noise, replicated counts, differences."""

from typing import Any

import numpy as np
import torch
from anndata import AnnData

from nbvae.data.indices import positions_of
from nbvae.data.minibatches import CellTable
from nbvae.decoding import check_decoding, px_scale_as
from nbvae.differential import differential_expression, expected_fdr
from nbvae.evaluation import BATCH_SIZE, check_samples, device_of, evaluating
from nbvae.module.protocol import LatentModule

__all__ = ["denoised", "differential_expression", "expected_fdr", "posterior_predictive"]


def denoised(
    module: LatentModule,
    adata: AnnData,
    *,
    genes: Any = None,
    covariates: str = "own",
    n_samples: int = 25,
    seed: int = 0,
) -> np.ndarray:
    """Estimate the expected share of each gene in each cell: ρ, averaged over q(z | x).

    Zero inflation is left out: ρ is what a gene's share would be if no count were lost.

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for.
        genes: the genes to return, in this order: names, column numbers or a mask; all when left
            out.
        covariates: "own" decodes each cell with its own level, a level's name all cells with that
            one, and "all" with each level in turn and averages, so that cells of two batches can
            be compared. Without covariates both are the same.
        n_samples: draws of z for each cell, averaged.
        seed: seed of these draws.

    Returns:
        (n_cells, n_genes), float32. With all genes the rows sum to 1.

    Raises:
        KeyError: a gene is not there.
        ValueError: ``n_samples`` is below 1, ``covariates`` is none of these, or ``genes`` chooses
            none or a name that occurs twice.

    """
    check_samples(n_samples)
    check_decoding(module, covariates)
    genes = [genes] if isinstance(genes, str) else genes
    columns = positions_of(genes, adata.var_names, what="genes", argument="genes")
    table = CellTable.of(adata, module.covariates)
    shares = []
    with evaluating(module, seed=seed):
        for m in table.minibatches(np.arange(adata.n_obs), BATCH_SIZE, device_of(module)):
            total = torch.zeros(())
            for _ in range(n_samples):
                z = module.inference(m.x, covariates=m.covariates).z
                total = total + px_scale_as(module, z, m, covariates)[:, columns]
            shares.append((total / n_samples).cpu().numpy())
    return np.concatenate(shares)


def posterior_predictive(
    module: LatentModule, adata: AnnData, *, n_samples: int = 1, seed: int = 0
) -> np.ndarray:
    """Draw replicated counts of each cell: z from q(z | x), then x from p(x | z, ℓ).

    Each replicate has the cell's own library ℓ as its expected total, and its own covariates.
    What the replicates do as the data do, the model has understood (Gelman, Meng & Stern 1996).

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for.
        n_samples: replicates of the whole table.
        seed: seed of the draws.

    Returns:
        (n_samples, n_cells, n_genes), float32. That is dense: 4 bytes per entry, so that one
        replicate of 10,000 cells and 2,000 genes takes 80 MB. Draw a few, or a subset of cells.

    Raises:
        ValueError: ``n_samples`` is below 1.

    """
    check_samples(n_samples)
    table = CellTable.of(adata, module.covariates)
    replicates = np.empty((n_samples, adata.n_obs, adata.n_vars), dtype=np.float32)
    start = 0
    with evaluating(module, seed=seed):
        for m in table.minibatches(np.arange(adata.n_obs), BATCH_SIZE, device_of(module)):
            cells = slice(start, start + len(m))
            for replicate in replicates:
                z = module.inference(m.x, covariates=m.covariates).z
                p = module.generative(z, m.library, covariates=m.covariates)
                replicate[cells] = module.likelihood.sample(p).cpu().numpy()
            start += len(m)
    return replicates
