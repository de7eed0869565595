"""θ, the inverse dispersion: one per gene, or one per gene and batch.

With one per gene, all batches scatter alike around their means. Another chemistry may not: then
each level of the batch, the first category among the covariates, has its own θ for each gene. The
shortcut of ``fast.py`` does not cover that.
"""

import torch
from torch import Tensor, nn

from nbvae._arguments import one_of
from nbvae.data.covariates import Covariates
from nbvae.module.likelihoods import Likelihood

DISPERSIONS = ("gene", "gene-batch")


def known_dispersion(dispersion: str, likelihood: Likelihood, covariates: Covariates | None) -> str:
    """Take ``dispersion``; one per batch needs a likelihood with θ, and batches."""
    dispersion = one_of("dispersion", dispersion, DISPERSIONS)
    if dispersion == "gene":
        return dispersion
    if not likelihood.has_theta:
        raise ValueError("The Poisson distribution has no θ: leave dispersion='gene-batch' out.")
    if covariates is None or not covariates.categories:
        raise ValueError(
            "dispersion='gene-batch' needs batches: pass covariates=Covariates.of(adata, key) "
            "with a column of names; the first such column is the batch."
        )
    return dispersion


def first_log_theta(
    n_genes: int, dispersion: str, likelihood: Likelihood, covariates: Covariates | None
) -> nn.Parameter | None:
    """Draw where log θ starts: (G,), or (G, L) for L batches; None for a likelihood without θ."""
    if not likelihood.has_theta:
        return None
    if dispersion == "gene" or covariates is None:
        return nn.Parameter(torch.randn(n_genes))
    return nn.Parameter(torch.randn(n_genes, covariates.categories[0].n_columns))


def log_theta_of_cells(
    log_theta: Tensor | None, design: Tensor | None, covariates: Covariates | None
) -> Tensor | None:
    """Choose for each cell the θ of its batch.

    Args:
        log_theta: (G,), which is the same for all cells; (G, L), a column for each batch; or None.
        design: (N, C), the cells' covariates.
        covariates: of the module.

    Returns:
        (G,), (N, G) or None.

    """
    if log_theta is None or log_theta.ndim == 1 or design is None or covariates is None:
        return log_theta
    return design[:, covariates.batch_columns].to(log_theta.dtype) @ log_theta.T
