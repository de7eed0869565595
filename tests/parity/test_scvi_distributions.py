"""The log-probabilities against those of scvi-tools, in float64.

scvi-tools adds 1e-8 to μ and to θ inside its logarithms, and subtracts log-gammas. The grid
stays where the first moves a log-probability by less than the tolerance and the second keeps its
digits; beyond, tests/test_distributions.py has exact values.
"""

import pytest
import torch
from scvi.distributions import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial

from nbvae.module.distributions import nb_log_prob, poisson_log_prob, zinb_log_prob

COUNTS = [0.0, 1.0, 2.0, 3.0, 10.0, 100.0, 2000.0]
LOG_MEANS = [-4.0, -1.0, 0.0, 2.0, 6.0]
LOG_THETAS = [-4.0, -1.0, 0.0, 2.0, 6.0]
DROPOUT_LOGITS = [-6.0, -1.0, 0.0, 3.0]


def grid(*axes):
    points = [torch.tensor(axis, dtype=torch.float64) for axis in axes]
    return torch.meshgrid(*points, indexing="ij")


def assert_equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_negative_binomial():
    x, log_mean, log_theta = grid(COUNTS, LOG_MEANS, LOG_THETAS)
    theirs = NegativeBinomial(mu=log_mean.exp(), theta=log_theta.exp()).log_prob(x)
    assert_equal(nb_log_prob(x, log_mean, log_theta), theirs)


def test_poisson():
    x, log_mean = grid(COUNTS, LOG_MEANS)
    assert_equal(poisson_log_prob(x, log_mean), Poisson(rate=log_mean.exp()).log_prob(x))


def test_zero_inflated_negative_binomial():
    x, log_mean, log_theta, logits = grid(COUNTS, LOG_MEANS, LOG_THETAS, DROPOUT_LOGITS)
    theirs = ZeroInflatedNegativeBinomial(
        mu=log_mean.exp(), theta=log_theta.exp(), zi_logits=logits
    ).log_prob(x)
    assert_equal(zinb_log_prob(x, log_mean, log_theta, logits), theirs)


@pytest.mark.parametrize("log_theta", LOG_THETAS)
def test_variance_is_the_same_function_of_theta(log_theta):
    """θ is the inverse dispersion in both: not its inverse, not its logarithm."""
    x = torch.arange(20_000, dtype=torch.float64)
    log_mean, log_theta = torch.tensor([[2.0], [log_theta]], dtype=torch.float64)
    theirs = NegativeBinomial(mu=log_mean.exp(), theta=log_theta.exp())
    prob = nb_log_prob(x, log_mean, log_theta).exp()
    mean = (prob * x).sum()
    variance = (prob * (x - mean) ** 2).sum()
    torch.testing.assert_close(mean, theirs.mean[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(variance, theirs.variance[0], rtol=1e-4, atol=0)
