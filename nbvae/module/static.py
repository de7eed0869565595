"""The same loss in a form whose every shape is known beforehand: what a GPU runs.

A CPU gains by looking for the few counts that need expensive functions. A GPU loses: to know how
many there are, the program must wait for the device, and a step with such a wait can't be recorded
once and replayed. Here each function is applied to every entry. For a count of 0 the two sums of
``kernels.py`` are exactly 0, so nothing has to be left out.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nbvae.module.distributions import digamma_remainder, stirling_remainder
from nbvae.module.kernels import dense_gradients, dense_terms
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.nbvae import NBVAE, kl_to_standard_normal
from nbvae.module.outputs import LossOutput


def static_loss(
    module: NBVAE,
    x: Tensor,
    *,
    covariates: Tensor | None = None,
    library: Tensor | None = None,
    kl_weight: float | Tensor = 1.0,
    noise: Tensor | None = None,
) -> LossOutput:
    """Compute what ``module.forward`` does, for a module that nobody has changed.

    Where ``has_kernels`` does not hold, ``forward`` is static itself.

    Args:
        module: an ``NBVAE`` for which ``is_unchanged`` holds.
        x: (N, G), raw counts.
        covariates: (N, C), for a module that has covariates.
        library: (N, 1), for a module with size factors.
        kl_weight: weight of the KL term; a tensor on the device may change between replays.
        noise: (N, K), to fix the draw of z.

    """
    options = {"covariates": covariates, "kl_weight": kl_weight, "noise": noise}
    if has_kernels(module):
        return _static_forward(module, x, **options)  # type: ignore[arg-type]  # a tensor of one number
    return type(module).forward(module, x, library=library, **options)  # type: ignore[arg-type]


def has_kernels(module: NBVAE) -> bool:
    """Whether ``kernels.py`` has a module's loss: NB, one θ per gene, a cell's own total as ℓ."""
    return (
        module.likelihood == LIKELIHOODS["nb"]
        and module.dispersion == "gene"
        and module.size_factor_key is None
    )


def _static_forward(
    module: NBVAE,
    x: Tensor,
    *,
    covariates: Tensor | None,
    kl_weight: float | Tensor,
    noise: Tensor | None,
) -> LossOutput:
    x = x.to(module.dtype)
    q = module.inference(x, covariates=covariates, noise=noise)
    logits = module.decoder.layers(module.with_covariates(q.z, covariates))  # (N, G)
    log_theta = cast(Tensor, module.log_theta)  # a negative binomial has one
    reconstruction = static_nb_reconstruction(x, logits, log_theta)
    kl = kl_to_standard_normal(q.qz_mean, q.qz_logvar)  # (N,)
    return LossOutput((reconstruction + kl_weight * kl).mean(), reconstruction, kl)


def static_nb_reconstruction(x: Tensor, logits: Tensor, log_theta: Tensor) -> Tensor:
    """Compute what ``nb_reconstruction`` does, without a list of the counts above zero.

    Args:
        x: (N, G), raw counts; ℓ is their sum over a row.
        logits: (N, G), the decoder's output before the softmax.
        log_theta: (G,), log θ.

    Returns:
        (N,), nats.

    """
    return _StaticNBReconstruction.apply(x, logits, log_theta)


class _StaticNBReconstruction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor, log_theta: Tensor) -> Tensor:
        theta = log_theta.exp()  # (G,)
        log_prob, px_scale, log_ratio, pull = dense_terms(x, logits, theta)
        log_sum, slope = sums_below(x, theta)
        log_prob += (log_sum - torch.lgamma(x + 1)).sum(dim=-1)
        ctx.save_for_backward(x, px_scale, log_ratio, pull, theta, slope)
        return -log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, Tensor]:
        *terms, slope = ctx.saved_tensors
        grad_logits, grad_log_theta = dense_gradients(grad_output, *terms)
        return None, grad_logits, grad_log_theta + grad_output @ slope


def sums_below(x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_{k<x} log(1 + k/θ) and Σ_{k<x} k/(θ + k) of each entry; (N, G), x of any size.

    They are log Γ(x + θ) − log Γ(θ) − x log θ and x − θ (ψ(x + θ) − ψ(θ)); what is large and the
    same in both terms has been cancelled on paper (``distributions.py``).
    """
    ends = torch.cat([x + theta, theta[None]])  # (N + 1, G): one call for the upper and lower ends
    stirling, digamma = stirling_remainder(ends), digamma_remainder(ends)
    log_rise = torch.log1p(x / theta)
    log_sum = (ends[:-1] - 0.5) * log_rise - x + stirling[:-1] - stirling[-1]
    slope = x - theta * (log_rise + digamma[:-1] - digamma[-1])
    return log_sum, slope
