"""The negative binomial in (mean μ, inverse dispersion θ) and its two neighbours, in log space.

    x ~ NB(μ, θ),   E x = μ,   Var x = μ + μ² / θ

θ → ∞ gives the Poisson distribution; with extra zeros it is the zero-inflated negative binomial.
All parameters come in as logarithms, so that no constant has to be added anywhere to keep a
logarithm finite.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid, softplus

from nbvae.module.support import check_counts, check_logs

SEARCHED_ON = ("cpu",)  # where looking for the counts above zero costs less than it saves
STIRLING_FROM = 16.0  # above it, five terms of the series below are exact to float64's last digits


def nb_log_prob(
    x: Tensor, log_mean: Tensor, log_theta: Tensor, *, validate_args: bool = True
) -> Tensor:
    """Log-probability of counts under NB(μ, θ), elementwise.

    The textbook form subtracts log-gammas of nearly the same size: at θ = 1e8 or x = 1e6 it loses
    most of its digits. With Stirling's formula in each log-gamma the large parts cancel on paper
    instead of in the computer. What is left, for x > 0, is

        −D/2 − ½ log(2π x (1 + x/θ)) + δ(x + θ) − δ(x) − δ(θ)

    where D is the unit deviance of the negative binomial (McCullagh & Nelder 1989, §11.2, and its
    computation after Loader 2000) and δ is the remainder of Stirling's formula. For x = 0 it is
    −θ log(1 + μ/θ).

    Args:
        x: counts, integers ≥ 0 stored as floats; any shape.
        log_mean: log μ, broadcastable to ``x``; −inf (an empty cell) puts all mass on zero.
        log_theta: log θ, broadcastable to ``x``.
        validate_args: look at every number first, as ``torch.distributions`` does; training, whose
            counts were checked once, leaves that out.

    Returns:
        log NB(x; μ, θ), natural logarithm, in the shape that the arguments broadcast to and the
        widest of their types.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: ``x`` holds what is not a count, or a parameter is not a number.

    """
    if validate_args:
        check_counts(x)
        check_logs(log_mean=log_mean, log_theta=log_theta)
    alike = torch.broadcast_tensors(x, log_mean, log_theta)
    dtype = reduce(torch.promote_types, (values.dtype for values in alike))
    return _NBLogProb.apply(*(values.to(dtype) for values in alike))


def poisson_log_prob(x: Tensor, log_mean: Tensor, *, validate_args: bool = True) -> Tensor:
    """Log-probability of counts under Poisson(μ), elementwise.

    With t = log(x/μ) it is −x (t + e⁻ᵗ − 1) − ½ log(2π x) − δ(x) for x > 0, where δ is the
    remainder of Stirling's formula, and −μ for x = 0: ``nb_log_prob`` with one parameter less.

    Args:
        x: counts, integers ≥ 0 stored as floats; any shape.
        log_mean: log μ, broadcastable to ``x``; −inf puts all mass on zero.
        validate_args: as in ``nb_log_prob``.

    Raises:
        TypeError, ValueError: as in ``nb_log_prob``.

    """
    if validate_args:
        check_counts(x)
        check_logs(log_mean=log_mean)
    alike = torch.broadcast_tensors(x, log_mean)
    dtype = torch.promote_types(x.dtype, log_mean.dtype)
    return _PoissonLogProb.apply(*(values.to(dtype) for values in alike))


def zinb_log_prob(
    x: Tensor,
    log_mean: Tensor,
    log_theta: Tensor,
    dropout_logits: Tensor,
    *,
    validate_args: bool = True,
) -> Tensor:
    """Log-probability under a negative binomial that is replaced by 0 with probability π.

    Zero-inflated, as in Lopez et al. 2018: π + (1 − π) NB(0) for x = 0, (1 − π) NB(x) above.

    Args:
        x: counts, integers ≥ 0 stored as floats; any shape.
        log_mean: log μ of the negative binomial, broadcastable to ``x``.
        log_theta: log θ, broadcastable to ``x``.
        dropout_logits: log π − log(1 − π), broadcastable to ``x``; ±inf is certainty.
        validate_args: as in ``nb_log_prob``.

    Raises:
        TypeError, ValueError: as in ``nb_log_prob``.

    """
    if validate_args:
        check_counts(x)
        check_logs(log_mean=log_mean, log_theta=log_theta, dropout_logits=dropout_logits)
    kept = nb_log_prob(x, log_mean, log_theta, validate_args=False) + logsigmoid(-dropout_logits)
    return torch.where(x > 0, kept, torch.logaddexp(logsigmoid(dropout_logits), kept))


def nb_sample(
    log_mean: Tensor,
    log_theta: Tensor,
    *,
    generator: torch.Generator | None = None,
    validate_args: bool = True,
) -> Tensor:
    """Draw counts as a gamma–Poisson mixture: λ ~ Gamma(θ, rate θ/μ), then x ~ Poisson(λ).

    Args:
        log_mean: log μ, any shape.
        log_theta: log θ, broadcastable to ``log_mean``.
        generator: source of randomness; PyTorch's global one when left out.
        validate_args: as in ``nb_log_prob``.

    Returns:
        Counts stored as floats, in the shape that the arguments broadcast to.

    Raises:
        TypeError, ValueError: as in ``nb_log_prob``.

    """
    if validate_args:
        check_logs(log_mean=log_mean, log_theta=log_theta)
    log_mean, log_theta = torch.broadcast_tensors(log_mean, log_theta)
    theta = log_theta.exp()
    # shape θ and mean 1; this is what torch.distributions.Gamma calls, which takes no generator
    unit = torch._standard_gamma(theta, generator=generator) / theta
    return torch.poisson(log_mean.exp() * unit, generator=generator)


class _NBLogProb(torch.autograd.Function):
    """The log-probability and its two derivatives, each in closed form.

    With w = μ/(μ+θ):

        ∂/∂ log μ = x (1−w) − θ w
        ∂/∂ log θ = −θ log(1 + μ/θ) − ∂/∂ log μ + θ (ψ(x+θ) − ψ(θ))

    Log-gammas and digammas take most of the time, and only counts above zero need them: a third of
    the sample's entries, a tenth of a whole transcriptome's. On a GPU all are computed: to look for
    those few, the program would have to wait for the device.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
        at_zero = -log_theta.exp() * softplus(log_mean - log_theta, threshold=40)  # log(1 + eʸ)
        remainder = _of_each(stirling_remainder, log_theta)
        if x.device.type not in SEARCHED_ON:
            ctx.save_for_backward(x, log_mean, log_theta, at_zero, None)
            above_zero = _log_prob_above_zero(_some(x), log_mean, log_theta, remainder)
            return torch.where(x > 0, above_zero, at_zero)
        above = places(x > 0)
        above_zero = _log_prob_above_zero(
            *(_pick(values, above) for values in (x, log_mean, log_theta, remainder))
        )
        ctx.save_for_backward(x, log_mean, log_theta, at_zero, above)
        return at_zero.flatten().index_copy(0, above, above_zero).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, Tensor | None]:
        x, log_mean, log_theta, at_zero, above = ctx.saved_tensors
        weight = torch.sigmoid(log_mean - log_theta)  # μ/(μ+θ)
        grad_log_mean = x - (x + log_theta.exp()) * weight
        if not ctx.needs_input_grad[2]:  # θ is given: no digammas
            return None, grad_output * grad_log_mean, None
        remainder = _of_each(digamma_remainder, log_theta)
        if above is None:
            theta = log_theta.exp()
            rise = torch.where(x > 0, theta * _digamma_rise(_some(x), theta, remainder), 0.0)
            grad_log_theta = at_zero - grad_log_mean + rise
            return None, grad_output * grad_log_mean, grad_output * grad_log_theta
        grad_log_theta = (at_zero - grad_log_mean).flatten()
        theta = _pick(log_theta, above).exp()
        rise = theta * _digamma_rise(_pick(x, above), theta, _pick(remainder, above))
        grad_log_theta.index_add_(0, above, rise)
        return None, grad_output * grad_log_mean, grad_output * grad_log_theta.view(x.shape)


class _PoissonLogProb(torch.autograd.Function):
    """The log-probability and its derivative ∂/∂ log μ = x − μ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_mean: Tensor) -> Tensor:
        mean = log_mean.exp()
        ctx.save_for_backward(x, mean)
        if x.device.type not in SEARCHED_ON:
            return torch.where(x > 0, _poisson_above_zero(_some(x), log_mean), -mean)
        above = places(x > 0)
        above_zero = _poisson_above_zero(_pick(x, above), _pick(log_mean, above))
        return (-mean).flatten().index_copy(0, above, above_zero).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor]:
        x, mean = ctx.saved_tensors
        return None, grad_output * (x - mean)


def _poisson_above_zero(x: Tensor, log_mean: Tensor) -> Tensor:
    """The formula of ``poisson_log_prob`` for counts x > 0; both of one shape."""
    t = x.log() - log_mean
    return -x * (t + torch.expm1(-t)) - 0.5 * (2 * math.pi * x).log() - stirling_remainder(x)


def _some(x: Tensor) -> Tensor:
    """Put a 1 in place of each 0: what a branch that is not taken may compute with."""
    return x.clamp(min=1)


def places(mask: Tensor) -> Tensor:
    """Where a mask is true, counted through all its axes.

    NumPy finds that in a quarter of the time that PyTorch's ``nonzero`` takes on a CPU.
    """
    if mask.device.type != "cpu":
        return mask.flatten().nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def _pick(values: Tensor, chosen: Tensor) -> Tensor:
    """Take some values of a tensor, counted through all its axes."""
    return values.flatten().index_select(0, chosen)


def _of_each(function: Callable[[Tensor], Tensor], log_theta: Tensor) -> Tensor:
    """Compute a function of θ in the shape of log θ, once for all cells that share a θ."""
    once = log_theta
    for axis, step in enumerate(log_theta.stride()):
        if step == 0:  # along this axis it was broadcast
            once = once[(slice(None),) * axis + (slice(1),)]
    return function(once.exp()).expand_as(log_theta)


def _log_prob_above_zero(
    x: Tensor, log_mean: Tensor, log_theta: Tensor, remainder_of_theta: Tensor
) -> Tensor:
    """The formula of ``nb_log_prob`` for counts x > 0; all four of one shape."""
    theta = log_theta.exp()
    remainder = stirling_remainder(x + theta) - stirling_remainder(x) - remainder_of_theta
    spread = (2 * math.pi * x).log() + torch.log1p(x / theta)
    return remainder - 0.5 * spread - _half_deviance(x, log_mean, log_theta)


def _half_deviance(x: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Half the unit deviance, x log(x/μ) − (x+θ) log((x+θ)/(μ+θ)), for x > 0.

    Written with t = log(x/μ) as

        x log(1 + θ/(x+θ) (eᵗ − 1)) + θ log(1 + x/(x+θ) (e⁻ᵗ − 1)),

    which is the same and keeps its digits where x is near μ and where θ is huge: what still
    cancels is of the size min(x, θ) t. The two ``where`` take the logarithm of the plain ratio
    where eᵗ would overflow and where 1 + (…) would lose its digits.
    """
    theta = log_theta.exp()
    log_sum = (x + theta).log()
    t = x.log() - log_mean
    log_first = torch.where(
        t < 40,
        torch.log1p(theta / (x + theta) * torch.expm1(t.clamp(max=40))),
        torch.logaddexp(x.log(), log_theta + t) - log_sum,
    )
    shift = x / (x + theta) * torch.expm1(-t)
    log_second = torch.where(
        shift > -0.5,
        torch.log1p(shift.clamp(min=-0.5)),
        torch.logaddexp(log_mean, log_theta) - log_sum,
    )
    return x * log_first + theta * log_second


def digamma_rise(x: Tensor, theta: Tensor) -> Tensor:
    """ψ(x + θ) − ψ(θ) for x > 0, without subtracting two nearly equal numbers when θ is large."""
    return _digamma_rise(x, theta, digamma_remainder(theta))


def _digamma_rise(x: Tensor, theta: Tensor, remainder_of_theta: Tensor) -> Tensor:
    return torch.log1p(x / theta) + digamma_remainder(x + theta) - remainder_of_theta


def stirling_remainder(a: Tensor) -> Tensor:
    """δ(a) = log Γ(a) − [(a − ½) log a − a + ½ log 2π], which falls like 1/(12 a).

    Abramowitz & Stegun 1964, 6.1.41: the asymptotic series for large a, the definition for small.
    """
    large = a > STIRLING_FROM
    big = torch.where(large, a, STIRLING_FROM)
    inverse_square = big.pow(-2)
    series = 1 / 1260 - inverse_square * (1 / 1680 - inverse_square * (1 / 1188))
    series = (1 / 12 - inverse_square * (1 / 360 - inverse_square * series)) / big
    low = torch.where(large, 1.0, a)
    direct = low.lgamma() - (low - 0.5) * low.log() + low - 0.5 * math.log(2 * math.pi)
    return torch.where(large, series, direct)


def digamma_remainder(a: Tensor) -> Tensor:
    """ψ(a) − log a, which falls like −1/(2 a); Abramowitz & Stegun 1964, 6.3.18."""
    large = a > STIRLING_FROM
    big = torch.where(large, a, STIRLING_FROM)
    inverse_square = big.pow(-2)
    series = 1 / 120 - inverse_square * (1 / 252 - inverse_square * (1 / 240))
    series = -0.5 / big - inverse_square * (1 / 12 - inverse_square * series)
    low = torch.where(large, 1.0, a)
    return torch.where(large, series, low.digamma() - low.log())
