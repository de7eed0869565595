"""Which distribution the counts have, given what the decoder says: NB, and two rivals of it.

Each is a log-probability and a sampler. The parameters come as the ``GenerativeOutput`` of
``module.py``; a likelihood reads those that it has.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nbvae.distributions import nb_log_prob, nb_sample, poisson_log_prob, zinb_log_prob


class Parameters(Protocol):
    """What a likelihood may read."""

    log_px_mean: Tensor  # (N, G), log μ
    log_theta: Tensor | None  # (G,), log θ; the Poisson distribution has none
    dropout_logits: Tensor | None  # (N, G), log π − log(1 − π); only with zero inflation


class Likelihood(NamedTuple):
    """A distribution of counts."""

    log_prob: Callable[[Tensor, Parameters], Tensor]  # (N, G) counts → (N, G)
    sample: Callable[[Parameters], Tensor]  # → (N, G) counts
    has_theta: bool  # variance μ + μ²/θ instead of μ
    has_dropout: bool  # zeros of a second kind


def _zinb_sample(p: Parameters) -> Tensor:
    kept = torch.bernoulli(torch.sigmoid(-p.dropout_logits))
    return kept * nb_sample(p.log_px_mean, p.log_theta)


LIKELIHOODS = {
    "nb": Likelihood(
        lambda x, p: nb_log_prob(x, p.log_px_mean, p.log_theta),
        lambda p: nb_sample(p.log_px_mean, p.log_theta),
        has_theta=True,
        has_dropout=False,
    ),
    "poisson": Likelihood(
        lambda x, p: poisson_log_prob(x, p.log_px_mean),
        lambda p: torch.poisson(p.log_px_mean.exp()),
        has_theta=False,
        has_dropout=False,
    ),
    "zinb": Likelihood(
        lambda x, p: zinb_log_prob(x, p.log_px_mean, p.log_theta, p.dropout_logits),
        _zinb_sample,
        has_theta=True,
        has_dropout=True,
    ),
}
