"""The two expensive pieces of a training step, each with its gradient written by hand.

The product of the log-counts with the first layer of an encoder: most counts are zero, and a sum
over those that are not is what PyTorch calls an embedding bag, forward (cell by cell) and backward
(gene by gene).

The reconstruction term is −Σ_g log NB(x; μ, θ) with μ = ℓ · softmax(logits), the number that
``nb_log_prob`` gives. What makes it fast is where the work is done. With r = μ/θ, one entry is

    log NB(x) = x log μ − (x + θ) log(1 + r) + Σ_{k<x} log(1 + k/θ) − log x!

    ∂/∂ log μ = x − (x + θ) r/(1 + r)
    ∂/∂ log θ = −θ log(1 + r) + (x + θ) r/(1 + r) − Σ_{k<x} k/(θ + k)

Both sums, and log x!, are 0 for counts of 0 and 1. Most entries are such counts, so that only a few
need log-gammas. The rest is dense and cheap: one softmax, one log1p, products. Nothing that is
subtracted is large when θ is large, so float32 is enough.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from nbvae.data.minibatches import SparseBatch
from nbvae.module.distributions import digamma_rise, places, stirling_remainder

TABLED = 16  # up to this count the two sums are read from a table; few counts are larger


def log_counts_product(sparse: SparseBatch, weights: Tensor) -> Tensor:
    """Compute log1p(x) @ weightsᵀ from the counts above zero.

    Args:
        sparse: of x, (N, G).
        weights: (H, G); fastest where the H weights of a gene lie side by side in memory.

    Returns:
        (N, H), with a gradient for ``weights``.

    """
    return _LogCountsProduct.apply(weights, sparse)


class _LogCountsProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, sparse: SparseBatch) -> Tensor:
        ctx.sparse = sparse
        return _weighted_sums(weights.T, sparse.genes, sparse.cell_starts, sparse.log_counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        s = ctx.sparse
        grad = _weighted_sums(grad_output, s.cells_by_gene, s.gene_starts, s.log_counts_by_gene)
        return grad.T, None


def _weighted_sums(rows: Tensor, which: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """For each bag, Σ weight · rows[which]. (n_bags, H)."""
    return embedding_bag(which, rows.contiguous(), starts, mode="sum", per_sample_weights=weights)


def nb_reconstruction(x: Tensor, sparse: SparseBatch, logits: Tensor, log_theta: Tensor) -> Tensor:
    """Compute −log p(x | z, ℓ) of each cell from what the decoder's last layer says.

    Args:
        x: (N, G), raw counts; ℓ is their sum over a row.
        sparse: the same counts.
        logits: (N, G), the decoder's output before the softmax.
        log_theta: (G,), log θ.

    Returns:
        (N,), nats.

    """
    return _NBReconstruction.apply(x, sparse, logits, log_theta)


class _NBReconstruction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, sparse: SparseBatch, logits: Tensor, log_theta: Tensor
    ) -> Tensor:
        theta = log_theta.exp()  # (G,)
        log_prob, px_scale, log_ratio, pull = dense_terms(x, logits, theta)
        some = places(sparse.counts > 1)
        count, cells, genes = (
            values.index_select(0, some) for values in (sparse.counts, sparse.cells, sparse.genes)
        )
        log_sum, slope = _sums_below(count, genes, theta)
        log_prob.index_add_(0, cells, log_sum - torch.lgamma(count + 1))
        ctx.save_for_backward(x, px_scale, log_ratio, pull, theta, cells, genes, slope)
        return -log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, None, Tensor, Tensor]:
        *terms, cells, genes, slope = ctx.saved_tensors
        grad_logits, grad_log_theta = dense_gradients(grad_output, *terms)
        grad_log_theta.index_add_(0, genes, grad_output.index_select(0, cells) * slope)
        return None, None, grad_logits, grad_log_theta


def dense_terms(x: Tensor, logits: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute all but the sums over k and log x!: what every entry needs, whatever its count.

    Returns:
        Their part of the log-probability, (N,), and what the gradients need: ρ,
        log(1 + r) and (x + θ) r/(1 + r), each (N, G).

    """
    library = x.sum(dim=-1)  # (N,)
    px_scale = torch.softmax(logits, dim=-1)  # (N, G)
    ratio = (px_scale * library[:, None]).div_(theta)  # r = μ/θ
    log_ratio = ratio.log1p()  # log(1 + r)
    weight = ratio.reciprocal_().add_(1).reciprocal_()  # r/(1 + r), in the memory of r
    pull = (x + theta).mul_(weight)
    by_count = torch.sub(logits, log_ratio, out=weight).mul_(x).sum(dim=-1)  # memory again
    log_prob = by_count - log_ratio @ theta
    log_prob += torch.xlogy(library, library) - library * _log_norm(logits, px_scale)
    return log_prob, px_scale, log_ratio, pull


def dense_gradients(
    grad_output: Tensor,
    x: Tensor,
    px_scale: Tensor,
    log_ratio: Tensor,
    pull: Tensor,
    theta: Tensor,
) -> tuple[Tensor, Tensor]:
    """Pull a gradient, (N,), back to logits, (N, G), and to log θ, (G,), without the sums there."""
    grad_logits = pull - x  # of the loss, hence minus the derivative by log μ …
    grad_logits.addcmul_(px_scale, grad_logits.sum(-1, keepdim=True), value=-1)  # … and softmax
    grad_log_theta = theta * (grad_output @ log_ratio) - grad_output @ pull
    return grad_logits.mul_(grad_output[:, None]), grad_log_theta


def _log_norm(logits: Tensor, px_scale: Tensor) -> Tensor:
    """Log Σ_g exp(logits), read off the largest entry: log ρ = logit − log_norm. (N,)."""
    return logits.amax(dim=-1) - px_scale.amax(dim=-1).log()


def _sums_below(count: Tensor, genes: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_{k<x} log(1 + k/θ) and Σ_{k<x} k/(θ + k) for counts x > 1 of the given genes."""
    k = torch.arange(1, TABLED, dtype=theta.dtype, device=theta.device)[:, None]
    ratio = k / theta  # (TABLED − 1, G), row x − 2 becomes the sum below x
    place = (count.long().clamp(max=TABLED) - 2) * len(theta) + genes
    log_sum = ratio.log1p().cumsum(0).flatten().index_select(0, place)
    slope = (ratio / (ratio + 1)).cumsum(0).flatten().index_select(0, place)
    large = places(count > TABLED)
    x, at = count[large], theta[genes[large]]
    remainder_above, remainder = stirling_remainder(torch.stack([x + at, at]))
    log_sum[large] = (x + at - 0.5) * torch.log1p(x / at) - x + remainder_above - remainder
    slope[large] = x - at * digamma_rise(x, at)
    return log_sum, slope
