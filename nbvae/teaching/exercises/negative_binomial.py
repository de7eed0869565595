"""Checks for chapter 2, the negative binomial."""

from collections.abc import Callable

import numpy as np
from scipy import integrate, special, stats

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved

LARGEST = 10_000
CERTAIN = -20  # nats


@exercise("2.1", "and for θ → ∞ it is e^(−μ), the Poisson's.")
def check_zero_probability(zero_probability: Callable) -> Diagnosis:
    """Compare with the integral over the gamma distribution, done numerically."""
    for mean, theta in [(2.0, 3.0), (0.5, 0.8), (10.0, 1.5)]:
        value = float(solved(zero_probability(mean, theta)))
        gamma = stats.gamma(theta, scale=1 / theta)
        right = integrate.quad(_no_count, 0, np.inf, (mean, gamma))[0]
        if close(value, right):
            continue
        slips = {
            "this is the Poisson's, without the scatter between cells": np.exp(-mean),
            "the probabilities are swapped: with a larger mean a zero gets rarer": (
                mean / (theta + mean)
            )
            ** theta,
            "the power θ is missing": theta / (theta + mean),
            "θ and 1/θ are swapped": (1 / (1 + mean * theta)) ** (1 / theta),
            "this is the probability to see the gene": 1 - right,
        }
        for complaint, slip in slips.items():
            if close(value, slip):
                return f"{complaint}."
        return f"for μ = {mean:g}, θ = {theta:g} the integral is {right:.4f}, not {value:.4f}."
    return None


@exercise("2.2", "the mean and the variance are the right ones.")
def check_for_scipy(for_scipy: Callable) -> Diagnosis:
    """Build the distribution and look at its moments."""
    for mean, theta in [(4.0, 2.0), (0.3, 7.0)]:
        n, p = (float(number) for number in solved(for_scipy(mean, theta)))
        if not (n > 0 and 0 < p <= 1):
            return f"scipy needs n > 0 and 0 < p ≤ 1, not n = {n:g}, p = {p:g}."
        found = stats.nbinom(n, p)
        if close(found.mean(), mean) and close(found.var(), mean + mean**2 / theta):
            continue
        if close(n, theta) and close(p, mean / (theta + mean)):
            return "this is torch's probs; scipy's p is one minus that."
        if close(found.var(), mean + mean**2 * theta):
            return "θ and 1/θ are swapped: the variance should be μ + μ²/θ."
        if close(found.mean(), mean):
            return (
                f"the mean is right, the variance is {found.var():.3g} instead of "
                f"{mean + mean**2 / theta:.3g}."
            )
        return f"the mean is {found.mean():.3g} instead of {mean:g}."
    return None


@exercise("2.3", "two steps, one distribution.")
def check_draw_counts(draw: Callable) -> Diagnosis:
    """Compare the moments of many draws with the distribution's."""
    mean, theta, size = 3.0, 0.8, 200_000
    draws = np.asarray(solved(draw(mean, theta, size, np.random.default_rng(0))))
    if draws.shape != (size,):
        return f"the shape should be ({size},), not {draws.shape}."
    if (draws != np.rint(draws)).any() or (draws < 0).any():
        return "these are not counts: the second step is missing."
    if not close(draws.mean(), mean, within=0.03):
        if close(draws.mean(), mean * theta**2, within=0.03):
            return "the mean of the factor u is θ²: NumPy's scale is one over the rate."
        if close(draws.mean(), mean * theta, within=0.03):
            return "the mean of the factor u is θ: divide by θ, so that it is 1."
        return f"the mean is {draws.mean():.2f} instead of {mean:g}."
    variance = draws.var()
    if close(variance, mean, within=0.05):
        return "these are Poisson counts: every draw has the same rate. Give each its own u."
    if variance > 100 * mean or len(np.unique(draws)) < 4:
        return "all draws share one u; each should have its own."
    if close(variance, mean + mean**2 * theta, within=0.05):
        return "θ and 1/θ are swapped: the variance of u should be 1/θ."
    if not close(variance, mean + mean**2 / theta, within=0.05):
        return f"the variance is {variance:.1f} instead of {mean + mean**2 / theta:.1f}."
    if np.array_equal(draws, draw(mean, theta, size, np.random.default_rng(1))):
        return "every generator gives the same: draw with rng."
    return None


@exercise("2.4", "the formula is right, and useless there: take logarithms on paper first.")
def check_breaking_point(breaking_point: Callable) -> Diagnosis:
    """Put the numbers into the plain formula and into scipy's."""
    x, mean, theta = (float(number) for number in solved(breaking_point()))
    if max(x, mean, theta) > LARGEST or x < 0 or mean <= 0 or theta <= 0 or x != round(x):
        return f"a whole count ≥ 0, a mean and a θ above 0, none above {LARGEST:,}, please."
    if (exact := stats.nbinom.logpmf(x, theta, theta / (theta + mean))) < CERTAIN:
        return f"the true log-probability is {exact:.0f}: so rare that 0 is no great error."
    with np.errstate(all="ignore"):
        gammas = special.gamma(x + theta) / (special.gamma(x + 1) * special.gamma(theta))
        plain = gammas * (theta / (theta + mean)) ** theta * (mean / (theta + mean)) ** x
    if np.isfinite(plain) and plain > 0:
        return f"the plain formula gives {plain:.3g} there, which is right."
    return None


@exercise("2.5", "close to the truth, whatever the libraries.")
def check_estimate(estimate: Callable) -> Diagnosis:
    """Simulate genes with known θ in cells of very different size; take the median of some."""
    rng = np.random.default_rng(0)
    library = np.exp(rng.normal(6.5, 0.6, 500))
    for theta in (1.0, 4.0):
        values = []
        for _ in range(9):
            rates = 0.01 * library * rng.gamma(theta, 1 / theta, len(library))
            counts = rng.poisson(rates).astype(float)
            values.append(float(solved(estimate(counts, library.copy()))))
        value = float(np.median(values))
        if not np.isfinite(value) or value <= 0:
            return f"the estimate is {value:g}; θ is a number above 0."
        if abs(value / theta - 1) < 1 / 3:
            continue
        if abs(value * theta - 1) < 0.25:
            return "this is the dispersion 1/θ; θ is its inverse."
        spread = (library.mean() / library.std()) ** 2
        if abs(value / (1 / (1 / theta + 1 / spread + 1 / (theta * spread))) - 1) < 0.3:
            return "the scatter of the libraries is taken for scatter of the gene: use each ℓρ."
        return f"for θ = {theta:g} the estimates have the median {value:.2f}."
    return None


def _no_count(u: float, mean: float, gamma: stats.rv_continuous) -> float:
    """The probability of a factor u, and of a Poisson count of 0 at the mean that it gives."""
    return np.exp(-mean * u) * gamma.pdf(u)
