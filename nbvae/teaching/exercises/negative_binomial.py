"""Checks for chapter 2, the negative binomial."""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special, stats

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._drawing import SIGMAS, Watched, fits, generator_slip, off_by
from nbvae.teaching.exercises._formula import Formula, formula, in_page
from nbvae.teaching.exercises._reading import apart, array, close, number, numbers

LARGEST = 10_000
CERTAIN = -20  # nats
ORDER = "the two are in the wrong order: n comes first"
PROBS = "this is torch's probs; scipy's p is one minus that"
SWAPPED = "θ and 1/θ are swapped: the variance should be μ + μ²/θ"
STORY = {"gamma", "standard_gamma", "poisson"}  # what exercise 2.3 may draw from


@formula("2.1", "and for θ → ∞ it is e^(−μ), the Poisson's.")
def _zero_probability() -> Formula:
    """Compare with the integral over the gamma distribution, done numerically."""
    cases = [tuple(map(float, case)) for case in inputs().uniform([1, 0.5], [4, 3], (3, 2))]
    slips = {
        "this is the Poisson's, without the scatter between cells": lambda m, t: np.exp(-m),
        "the probabilities are swapped: with a larger mean a zero gets rarer":
        lambda m, t: (m / (t + m)) ** t,
        "the power θ is missing": lambda m, t: t / (t + m),
        "θ and 1/θ are swapped": lambda m, t: (1 + m * t) ** (-1 / t),
        "this is the probability to see the gene": lambda m, t: 1 - _zeros(m, t),
        "this is the logarithm of the probability": lambda m, t: np.log(_zeros(m, t)),
        "this is the negative logarithm of the probability": lambda m, t: -np.log(_zeros(m, t)),
        "this is one over the probability: the sign of the power": lambda m, t: 1 / _zeros(m, t),
        "the power is θ, not μ": lambda m, t: (t / (t + m)) ** m,
        "Γ(θ) cancels: the gamma's density has it below the line, its integral above":
        (lambda m, t: _zeros(m, t) / special.gamma(t),
         lambda m, t: _zeros(m, t) * special.gamma(t)),
        "θ^θ is missing, from the gamma's density": lambda m, t: (t + m) ** -t,
    }  # fmt: skip
    return Formula(_zeros, cases, slips, names=("μ", "θ"), typed=("mean", "theta"))


def _zeros(mean: float, theta: float) -> float:
    """The integral of e^(−μu) over the gamma density, by Gauss's quadrature for its weight."""
    nodes, weights = special.roots_genlaguerre(120, theta - 1)  # of q = θu: q^(θ−1) e^(−q)
    return float(weights @ np.exp(-mean * nodes / theta) / weights.sum())


@exercise("2.2", "the mean and the variance are the right ones.")
def check_for_scipy(for_scipy: Callable) -> Diagnosis:
    """Build the distribution and look at its moments."""
    for mean, theta in inputs().uniform([2.0, 1.5], [6.0, 4.0], (3, 2)).tolist():
        n, p = numbers(for_scipy(mean, theta), ("n", "p"))
        right = theta / (theta + mean)
        if close(n, theta) and close(p, right):
            continue
        if close(p, theta) and close(n, right):
            return f"{ORDER}."
        if close(n, theta) and close(p, 1 - right):
            return f"{PROBS}."
        if not (n > 0 and 0 < p <= 1):
            return f"scipy needs n > 0 and 0 < p ≤ 1, not n = {n:g}, p = {p:g}."
        found = stats.nbinom(float(n), float(p))
        if close(found.var(), mean + mean**2 * theta):
            return f"{SWAPPED}."
        if close(found.mean(), mean):
            return f"the mean is right; the variance should be {apart(found.var(), mean / right)}."
        return f"the mean should be {apart(found.mean(), mean)}."
    return None


@in_page("2.2")
def _for_scipy() -> list[Formula]:
    """Both numbers; scipy's own mean says which p goes with n = θ."""
    cases = [tuple(map(float, case)) for case in inputs().uniform([2.0, 1.5], [6.0, 4.0], (3, 2))]

    def p(mean: float, theta: float) -> float:
        return optimize.brentq(lambda p: stats.nbinom(theta, p).mean() - mean, 1e-6, 1 - 1e-6)

    slips_of_n = {ORDER: lambda m, t: t / (t + m), SWAPPED: lambda m, t: 1 / t}
    slips_of_p = {
        ORDER: lambda m, t: t,
        PROBS: lambda m, t: m / (t + m),
        SWAPPED: lambda m, t: 1 / (1 + m * t),
    }
    names, typed = ("μ", "θ"), ("mean", "theta")
    return [
        Formula(lambda m, t: t, cases, slips_of_n, names, typed=typed, what="n"),
        Formula(p, cases, slips_of_p, names, typed=typed, what="p"),
    ]


@exercise("2.3", "two steps, one distribution.")
def check_draw_counts(draw: Callable) -> Diagnosis:
    """Watch the generator, then compare many draws with the distribution."""
    rng, size = inputs(), 12_000
    mean, theta = float(rng.uniform(2, 4)), float(rng.uniform(0.6, 0.9))
    watched = Watched(int(rng.integers(2**31)))
    draws = array(draw(mean, theta, size, watched), (size,), "the counts")
    others = sorted(watched.drawn.keys() - STORY)
    if others:
        return f"the task is the story, rng.gamma and then rng.poisson; rng.{others[0]} is neither."
    if (draws != np.rint(draws)).any() or (draws < 0).any():
        return "these are not counts: the second step, the Poisson's, is missing."
    gammas = watched.drawn["gamma"] + watched.drawn["standard_gamma"]
    if gammas == 1:
        return "all draws share one u: give rng.gamma the size, so that each has its own."
    if gammas == 0 and watched.drawn:
        return "these are Poisson counts: every draw has the same rate. Give each its own u."
    return _wrong_moments(draws, mean, theta) or generator_slip(lambda r: draw(mean, theta, 50, r))


def _wrong_moments(draws: np.ndarray, mean: float, theta: float) -> Diagnosis:
    x = np.arange(2000)
    if fits(draws, stats.nbinom.pmf(x, theta, theta / (theta + mean))):
        return None
    factors = {
        "the mean of the factor u is θ²: NumPy's scale is one over the rate": theta**2,
        "the mean of the factor u is θ: divide by θ, so that it is 1": theta,
        "the mean of the factor u is 1/θ²: its shape is θ, its scale 1/θ": theta**-2,
    }
    for complaint, factor in factors.items():
        if abs(off_by(draws, mean * factor)) < SIGMAS:
            return f"{complaint}."
    if fits(draws, stats.nbinom.pmf(x, 1 / theta, 1 / (1 + mean * theta))):
        return "θ and 1/θ are swapped: the variance of u should be 1/θ."
    if fits(draws, stats.poisson.pmf(x, mean)):
        return "these are Poisson counts: every draw has the same rate. Give each its own u."
    if abs(off_by(draws, mean)) > SIGMAS:
        return Unexplained(f"the mean should be {apart(draws.mean(), mean)}.")
    variance = mean + mean**2 / theta
    return Unexplained(f"the mean is right; the variance should be {apart(draws.var(), variance)}.")


@exercise("2.4", "the formula is right, and useless there: take logarithms on paper first.")
def check_breaking_point(breaking_point: Callable) -> Diagnosis:
    """Put the numbers into the plain formula and into scipy's."""
    x, mean, theta = map(float, numbers(breaking_point(), ("a count", "a mean", "a θ")))
    if not np.isfinite([x, mean, theta]).all() or max(x, mean, theta) > LARGEST:
        return f"three numbers were asked for, none above {LARGEST:,}."
    if not (x >= 0 and x == round(x)):
        return f"the first is a count, a whole number from 0 up, not {x:g}."
    if not (mean > 0 and theta > 0):
        return "the mean and θ are above 0."
    if (exact := stats.nbinom.logpmf(x, theta, theta / (theta + mean))) < CERTAIN:
        return f"the true log-probability is {exact:.0f}: so rare that 0 is no great error."
    gammas = special.gamma(x + theta) / (special.gamma(x + 1) * special.gamma(theta))
    plain = gammas * (theta / (theta + mean)) ** theta * (mean / (theta + mean)) ** x
    if np.isfinite(plain) and plain > 0:
        return f"the plain formula gives {plain:.3g} there, which is right."
    return None


@exercise("2.5", "close to the truth, whatever the libraries.")
def check_estimate(estimate: Callable) -> Diagnosis:
    """Simulate genes with known θ in cells of very different size; take the median of some."""
    rng = inputs()
    for theta, share, n_cells in ((1.0, 5e-3, 500), (2.5, 1e-3, 2500)):
        library = np.exp(rng.normal(6.5, 0.6, n_cells))
        genes = [_gene(theta, share * library, rng) for _ in range(7)]
        values = [float(number(estimate(counts.copy(), library.copy()))) for counts in genes]
        if not all(np.isfinite(values)) or min(values) <= 0:
            return f"an estimate is {min(values):g}; θ is a number above 0."
        if abs(np.median(values) / theta - 1) < 1 / 3:
            continue
        off = {}
        for complaint, other in _ESTIMATES.items():
            ratios = [v / other(c, library) for v, c in zip(values, genes, strict=True)]
            off[complaint] = abs(np.median(ratios) - 1)
        nearest = min(off, key=lambda complaint: off[complaint])
        if off[nearest] < 0.15:
            return f"{nearest}."
        median = float(np.median(values))
        return Unexplained(f"for θ = {theta:g} the estimates have the median {median:.2g}.")
    return None


def _gene(theta: float, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(mean * rng.gamma(theta, 1 / theta, len(mean))).astype(float)


def _moments(counts: np.ndarray, mean: np.ndarray, noise: np.ndarray | float) -> float:
    """θ from squares around a mean, where some of the noise is not the gamma's."""
    return float((mean**2).sum() / ((counts - mean) ** 2 - noise).sum())


def _cell_means(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return library * counts.sum() / library.sum()


def _normalised(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return counts / library * library.mean()


def _one_mean(counts: np.ndarray) -> np.ndarray:
    return np.full(len(counts), counts.mean())


_ESTIMATES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "this is the dispersion 1/θ; θ is its inverse":
    lambda c, s: 1 / _moments(c, _cell_means(c, s), _cell_means(c, s)),
    "the Poisson's part of the scatter is still in it: subtract ℓρ from each square":
    lambda c, s: _moments(c, _cell_means(c, s), 0.0),
    "the scatter of the libraries is taken for scatter of the gene: use each cell's ℓρ":
    lambda c, s: _moments(c, _one_mean(c), _one_mean(c)),
    "the counts were divided by their libraries; the Poisson's part of their variance is not μ":
    lambda c, s: _moments(
        _normalised(c, s), _one_mean(_normalised(c, s)), _one_mean(_normalised(c, s))
    ),
}  # fmt: skip
