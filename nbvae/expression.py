"""What a trained module says about genes: shares without noise, replicated counts, differences."""

from typing import Any

import numpy as np
import torch
from anndata import AnnData

from nbvae._arguments import whole_number
from nbvae.data.covariates import Way
from nbvae.data.minibatches import CellTable
from nbvae.decoding import known_decoding, px_scale_as
from nbvae.differential import differential_expression, expected_fdr
from nbvae.evaluation import BATCH_SIZE, device_of, evaluating
from nbvae.module.protocol import LatentModule

__all__ = ["denoised", "differential_expression", "expected_fdr", "posterior_predictive"]


def denoised(
    module: LatentModule,
    adata: AnnData,
    *,
    layer: str | None = None,
    genes: Any = None,
    covariates: Way = "own",
    n_samples: int = 25,
    seed: int = 0,
) -> np.ndarray:
    """Estimate the expected share of each gene in each cell: ρ, averaged over q(z | x).

    With size factors ρ is no share, but the expected count per unit of them.

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

    Returns:
        (n_cells, n_genes), float32. With all genes, and without size factors, the rows sum to 1.

    Raises:
        CountsError, TypeError: as in ``CellTable.of``.
        KeyError: a gene, or the layer, is not there.
        ValueError: as in ``CellTable.of``; ``n_samples`` is below 1, ``covariates`` is none of
            these, or ``genes`` chooses none or a name that occurs twice.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    covariates = known_decoding(module, covariates)
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(genes)
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
    module: LatentModule,
    adata: AnnData,
    *,
    layer: str | None = None,
    n_samples: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Draw replicated counts of each cell: z from q(z | x), then x from p(x | z, ℓ).

    Each replicate has the cell's own library ℓ, its expected total (or its size factor), and its
    own covariates.
    What the replicates do as the data do, the model has understood (Gelman, Meng & Stern 1996).

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        layer: the layer that holds the counts; the module's own when left out.
        n_samples: replicates of the whole table.
        seed: seed of the draws.

    Returns:
        (n_samples, n_cells, n_genes), float32, the genes in the order of ``adata``; those that the
        module does not model are left out. That is dense: 4 bytes per entry, so that one
        replicate of 10,000 cells and 2,000 genes takes 80 MB. Draw a few, or a subset of cells.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as there, or ``n_samples`` is below 1.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(None)
    replicates = np.empty((n_samples, table.n_cells, len(columns)), dtype=np.float32)
    start = 0
    with evaluating(module, seed=seed):
        for m in table.minibatches(np.arange(adata.n_obs), BATCH_SIZE, device_of(module)):
            cells = slice(start, start + len(m))
            for replicate in replicates:
                z = module.inference(m.x, covariates=m.covariates).z
                p = module.generative(z, m.library, covariates=m.covariates)
                replicate[cells] = module.likelihood.sample(p).cpu().numpy()[:, columns]
            start += len(m)
    return replicates
