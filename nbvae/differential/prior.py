"""What all genes say about one: a prior for differences, fitted to them (adaptive shrinkage).

Of each gene an LFC is estimated, with an error that is normal with a known standard deviation.
Before we look at a gene, how large is its true LFC? The other genes say: the spread of the
estimates, less what their errors explain, is the spread of the true values. Stephens 2017
(doi:10.1093/biostatistics/kxw041) fits it as a mixture of normal distributions around 0, of a few
given widths, 0 among them; only the weights are unknown.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

WIDTHS = np.concatenate([[0.0], 2.0 ** np.arange(-4, 4.5, 0.5)])  # log₂ units; 0: no difference
ROUNDS = 200  # of expectation and maximisation
CHUNK = 4096  # genes at a time


class Posterior(NamedTuple):
    """What is known of each gene's LFC after the prior: (n_genes,) each."""

    mean: np.ndarray
    sd: np.ndarray
    up: np.ndarray  # P(LFC ≥ δ)
    down: np.ndarray  # P(LFC ≤ −δ)


def fitted_weights(estimate: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Fit the weights of the prior's widths by maximum likelihood.

    An estimate has the density Σ_k w_k N(0; width_k² + error²). The steps of the EM algorithm:
    share each gene among the widths by how well they explain it, then take the mean share.

    Args:
        estimate: (n_genes,), LFC.
        error: (n_genes,), its standard deviation, above 0.

    Returns:
        (n_widths,), summing to 1.

    """
    density = _density(estimate, error)
    weights = np.full(len(WIDTHS), 1 / len(WIDTHS))
    for _ in range(ROUNDS):
        shared = density * weights
        weights = (shared / shared.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def posterior(
    estimate: np.ndarray, error: np.ndarray, weights: np.ndarray, delta: float
) -> Posterior:
    """Combine each gene's estimate with the prior.

    For one width that is the product of two normal distributions; over the widths, their mean by
    how probable each is for this gene. The width 0 has no difference beyond δ, not even for δ = 0.

    Args:
        estimate: (n_genes,), LFC.
        error: (n_genes,), its standard deviation.
        weights: (n_widths,), from ``fitted_weights``.
        delta: δ, at least 0.

    """
    chunks = [
        _posterior(estimate[i : i + CHUNK], error[i : i + CHUNK], weights, delta)
        for i in range(0, len(estimate), CHUNK)
    ]
    return Posterior(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def expected_fdr(probability: np.ndarray) -> np.ndarray:
    """Compute the share of false calls to expect if genes are called down to each.

    Args:
        probability: (n_genes,), that a call is right, in falling order.

    Returns:
        (n_genes,): the mean of 1 − p over a gene and those before it. It never falls.

    """
    return np.cumsum(1 - probability) / np.arange(1, len(probability) + 1)


def _posterior(
    estimate: np.ndarray, error: np.ndarray, weights: np.ndarray, delta: float
) -> tuple[np.ndarray, ...]:
    shared = _density(estimate, error) * weights
    shared /= shared.sum(axis=1, keepdims=True)  # (n_genes, n_widths), P(width | estimate)
    kept = WIDTHS**2 / (WIDTHS**2 + error[:, None] ** 2)  # 0: all is error; 1: nothing is
    mean, sd = kept * estimate[:, None], np.sqrt(kept) * error[:, None]
    some, spread = shared[:, 1:], sd[:, 1:]  # without the width 0
    up = (some * norm.sf((delta - mean[:, 1:]) / spread)).sum(axis=1).clip(max=1)
    down = (some * norm.cdf((-delta - mean[:, 1:]) / spread)).sum(axis=1).clip(max=1)
    overall = (shared * mean).sum(axis=1)
    square = (shared * (sd**2 + mean**2)).sum(axis=1)
    return overall, np.sqrt((square - overall**2).clip(min=0)), up, down


def _density(estimate: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Compute how likely an estimate is under each width; a gene's largest is 1."""
    variance = WIDTHS**2 + error[:, None] ** 2
    log_density = -0.5 * (np.log(variance) + estimate[:, None] ** 2 / variance)
    return np.exp(log_density - log_density.max(axis=1, keepdims=True))
