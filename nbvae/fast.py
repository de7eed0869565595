"""The reconstruction term of a whole minibatch, with its gradient by hand.

It is −Σ_g log NB(x; μ, θ) with μ = ℓ · softmax(logits), the same number as ``nb_log_prob`` gives.
What makes it fast is where the work is done. With r = μ/θ, one entry is

    log NB(x) = x log μ − (x + θ) log(1 + r) + Σ_{k<x} log(1 + k/θ) − log x!

    ∂/∂ log μ = x − (x + θ) r/(1 + r)
    ∂/∂ log θ = −θ log(1 + r) + (x + θ) r/(1 + r) − Σ_{k<x} k/(θ + k)

Both sums, and log x!, are 0 for counts of 0 and 1. Those are most entries, so that log-gammas are
left for a few. The rest is dense and cheap: one softmax, one log1p, products. Nothing is subtracted
that is large when θ is large, so float32 is enough.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from nbvae.distributions import digamma_rise, stirling_remainder
from nbvae.entries import Entries

TABLED = 16  # up to this count the two sums are read from a table; few counts are larger


def nb_reconstruction(x: Tensor, entries: Entries, logits: Tensor, log_theta: Tensor) -> Tensor:
    """Compute −log p(x | z, ℓ) of each cell from what the decoder's last layer says.

    Args:
        x: (N, G), raw counts; ℓ is their sum over a row.
        entries: of the same counts.
        logits: (N, G), the decoder's output before the softmax.
        log_theta: (G,), log θ.

    Returns:
        (N,), nats.

    """
    return _NBReconstruction.apply(x, entries, logits, log_theta)


class _NBReconstruction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, entries: Entries, logits: Tensor, log_theta: Tensor
    ) -> Tensor:
        theta = log_theta.exp()  # (G,)
        library = x.sum(dim=-1)  # (N,)
        px_scale = torch.softmax(logits, dim=-1)  # (N, G)
        ratio = (px_scale * library[:, None]).div_(theta)  # r = μ/θ
        log_ratio = ratio.log1p()  # log(1 + r)
        weight = ratio.reciprocal_().add_(1).reciprocal_()  # r/(1 + r), in the memory of r
        pull = (x + theta).mul_(weight)
        by_count = torch.sub(logits, log_ratio, out=weight).mul_(x).sum(dim=-1)  # memory again
        log_prob = by_count - log_ratio @ theta
        log_prob += torch.xlogy(library, library) - library * _log_norm(logits, px_scale)

        some = (entries.counts > 1).nonzero().squeeze(1)
        count, cells, genes = (
            values.index_select(0, some)
            for values in (entries.counts, entries.cells, entries.genes)
        )
        log_sum, slope = _sums_below(count, genes, theta)
        log_prob.index_add_(0, cells, log_sum - torch.lgamma(count + 1))
        ctx.save_for_backward(x, px_scale, log_ratio, pull, theta, cells, genes, slope)
        return -log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[None, None, Tensor, Tensor]:
        x, px_scale, log_ratio, pull, theta, cells, genes, slope = ctx.saved_tensors
        by_logits = pull - x  # of the loss, hence minus the derivative by log μ …
        by_logits.addcmul_(px_scale, by_logits.sum(-1, keepdim=True), value=-1)  # … and the softmax
        by_theta = theta * (upstream @ log_ratio) - upstream @ pull
        by_theta.index_add_(0, genes, upstream.index_select(0, cells) * slope)
        return None, None, by_logits.mul_(upstream[:, None]), by_theta


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
    large = (count > TABLED).nonzero().squeeze(1)
    x, at = count[large], theta[genes[large]]
    remainder_above, remainder = stirling_remainder(torch.stack([x + at, at]))
    log_sum[large] = (x + at - 0.5) * torch.log1p(x / at) - x + remainder_above - remainder
    slope[large] = x - at * digamma_rise(x, at)
    return log_sum, slope
