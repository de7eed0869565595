"""Which distribution the counts have, given what the decoder says: NB and its two rivals.

Each is a log-probability, a sampler, a mean and a variance; the counts, checked when they came in,
are not checked again. The parameters come as a ``GenerativeOutput``; a likelihood reads those that
it has.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nbvae.module.distributions import nb_log_prob, nb_sample, poisson_log_prob, zinb_log_prob
from nbvae.module.outputs import GenerativeOutput


class Likelihood(NamedTuple):
    """A distribution of counts."""

    log_prob: Callable[[Tensor, GenerativeOutput], Tensor]  # (N, G) counts → (N, G)
    sample: Callable[[GenerativeOutput], Tensor]  # → (N, G) counts
    mean_and_variance: Callable[[GenerativeOutput], tuple[Tensor, Tensor]]  # → (N, G) each
    has_theta: bool  # variance μ + μ²/θ instead of μ
    has_dropout: bool  # zeros of a second kind


def _given(parameter: Tensor | None) -> Tensor:
    """Stop where a decoder does not say what the likelihood needs."""
    if parameter is None:
        raise ValueError("The decoder lacks a parameter of this likelihood.")
    return parameter


def _nb_log_prob(x: Tensor, p: GenerativeOutput) -> Tensor:
    return nb_log_prob(x, p.log_px_mean, _given(p.log_theta), validate_args=False)


def _nb_sample(p: GenerativeOutput) -> Tensor:
    return nb_sample(p.log_px_mean, _given(p.log_theta), validate_args=False)


def _nb_mean_and_variance(p: GenerativeOutput) -> tuple[Tensor, Tensor]:
    mean = p.px_mean
    return mean, mean + mean.square() / p.theta


def _poisson_log_prob(x: Tensor, p: GenerativeOutput) -> Tensor:
    return poisson_log_prob(x, p.log_px_mean, validate_args=False)


def _poisson_sample(p: GenerativeOutput) -> Tensor:
    return torch.poisson(p.log_px_mean.exp())


def _poisson_mean_and_variance(p: GenerativeOutput) -> tuple[Tensor, Tensor]:
    return p.px_mean, p.px_mean


def _zinb_log_prob(x: Tensor, p: GenerativeOutput) -> Tensor:
    log_theta, dropout_logits = _given(p.log_theta), _given(p.dropout_logits)
    return zinb_log_prob(x, p.log_px_mean, log_theta, dropout_logits, validate_args=False)


def _zinb_sample(p: GenerativeOutput) -> Tensor:
    kept = torch.bernoulli(torch.sigmoid(-_given(p.dropout_logits)))
    return kept * _nb_sample(p)


def _zinb_mean_and_variance(p: GenerativeOutput) -> tuple[Tensor, Tensor]:
    """By the law of total variance, over counts that are lost and counts that are not."""
    mean, variance = _nb_mean_and_variance(p)
    kept = torch.sigmoid(-_given(p.dropout_logits))  # 1 − π
    return kept * mean, kept * (variance + (1 - kept) * mean.square())


# Functions with a name, so that a module can be pickled.
LIKELIHOODS = {
    "nb": Likelihood(
        _nb_log_prob, _nb_sample, _nb_mean_and_variance, has_theta=True, has_dropout=False
    ),
    "poisson": Likelihood(
        _poisson_log_prob,
        _poisson_sample,
        _poisson_mean_and_variance,
        has_theta=False,
        has_dropout=False,
    ),
    "zinb": Likelihood(
        _zinb_log_prob, _zinb_sample, _zinb_mean_and_variance, has_theta=True, has_dropout=True
    ),
}
