"""Counts of all sizes, and the reconstruction term of them by the plain formula."""

import torch

from nbvae.module.distributions import nb_log_prob
from nbvae.module.kernels import TABLED


def counts_and_parameters(dtype=torch.float64, *, theta=(-4.0, 4.0), n_cells=40, n_genes=30):
    """Counts of all sizes, an empty cell, a gene that is never seen."""
    generator = torch.Generator().manual_seed(1)
    sizes = 10 ** (4 * torch.rand(n_cells, n_genes, generator=generator, dtype=torch.float64))
    x = (sizes * torch.rand(n_cells, n_genes, generator=generator, dtype=torch.float64)).floor()
    x *= torch.rand(n_cells, n_genes, generator=generator) < 0.5
    x[:6, 0] = torch.tensor([0, 1, 2, TABLED - 1, TABLED, TABLED + 1])
    x[7], x[:, 3] = 0, 0
    logits = 4 * torch.randn(n_cells, n_genes, generator=generator, dtype=torch.float64)
    low, high = theta
    log_theta = 2.302585 * torch.linspace(low, high, n_genes, dtype=torch.float64)
    return x.to(dtype), logits.to(dtype).requires_grad_(), log_theta.to(dtype).requires_grad_()


def plain(x, logits, log_theta):
    log_mean = x.sum(-1, keepdim=True).log() + torch.log_softmax(logits, -1)
    return -nb_log_prob(x, log_mean, log_theta).sum(-1)
