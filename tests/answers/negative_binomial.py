"""Answers to the exercises of nbvae/teaching/exercises/negative_binomial.py, right and wrong."""

import numpy as np
import torch
from scipy import integrate, optimize, special, stats


def zeros_by_integral(mean, theta):
    def each(u):
        return np.exp(-mean * u) * stats.gamma.pdf(u, theta, scale=1 / theta)

    parts = [(0, 1e-6), (1e-6, 1e-2), (1e-2, 1), (1, 60)]
    return sum(integrate.quad(each, *part, epsabs=1e-10)[0] for part in parts)


def drawn_one_by_one(mean, theta, size, rng):
    return [rng.poisson(mean * rng.gamma(theta, 1 / theta)) for _ in range(size)]


def drawn_with_one_u(mean, theta, size, rng):
    return rng.poisson(mean * rng.gamma(theta, 1 / theta), size)


def estimate_by_moments(counts, library):
    mean = library * counts.sum() / library.sum()
    return (mean**2).sum() / ((counts - mean) ** 2 - mean).sum()


def estimate_by_optimiser(counts, library):
    mean = library * counts.sum() / library.sum()

    def loss(log_theta):
        theta = np.exp(log_theta)
        return -stats.nbinom.logpmf(counts, theta, theta / (theta + mean)).sum()

    return np.exp(optimize.minimize_scalar(loss, bounds=(-5, 8), method="bounded").x)


def estimate_by_pearson(counts, library):
    """The θ at which the squared Pearson residuals add up to the number of cells."""
    mean = library * counts.sum() / library.sum()

    def excess(log_theta):
        return ((counts - mean) ** 2 / (mean + mean**2 / np.exp(log_theta))).mean() - 1

    return np.float32(np.exp(optimize.brentq(excess, -6, 9)))


def estimate_without_poisson(counts, library):
    mean = library * counts.sum() / library.sum()
    return (mean**2).sum() / ((counts - mean) ** 2).sum()


def estimate_of_normalised(counts, library):
    counts = counts / library * library.mean()
    return counts.mean() ** 2 / (counts.var() - counts.mean())


RIGHT = {
    "2.1": (
        lambda m, t: (1 + m / t) ** -t,
        lambda m, t: np.exp(t * (np.log(t) - np.log(t + m))),
        lambda m, t: stats.nbinom.pmf(0, t, t / (t + m)),
        zeros_by_integral,
        lambda m, t: np.float16((1 + m / t) ** -t),
    ),
    "2.2": (
        lambda m, t: (t, t / (t + m)),
        lambda m, t: [np.float32(t), np.float32(1 - m / (m + t))],
        lambda m, t: torch.tensor([t, 1 / (1 + m / t)], requires_grad=True),
        lambda m, t: (value for value in (t, t / (t + m))),
    ),
    "2.3": (
        lambda m, t, n, r: r.poisson(m / t * r.gamma(t, size=n)),
        lambda m, t, n, r: r.poisson(r.gamma(t, m / t, n)),
        lambda m, t, n, r: r.poisson(m * r.standard_gamma(t, n) / t),
        drawn_one_by_one,
    ),
    "2.4": (
        lambda: (180, 150.0, 3.0),
        lambda: (0, 0.001, 500.0),
        lambda: torch.tensor([171, 171, 100]),
        lambda: np.array([300, 290, 1.0], dtype=np.float16),
    ),
    "2.5": (estimate_by_moments, estimate_by_optimiser, estimate_by_pearson),
}

WRONG = [
    ("2.1", lambda m, t: np.exp(-m), "Poisson's, without"),
    ("2.1", lambda m, t: (m / (t + m)) ** t, "gets rarer"),
    ("2.1", lambda m, t: t / (t + m), "power"),
    ("2.1", lambda m, t: 1 - (t / (t + m)) ** t, "to see the gene"),
    ("2.1", lambda m, t: t * np.log(t / (t + m)), "the logarithm of the probability"),
    ("2.1", lambda m, t: (1 + m / t) ** t, "the sign of the power"),
    ("2.1", lambda m, t: (1 / (1 + m * t)) ** (1 / t), "swapped"),
    ("2.1", lambda m, t: (t / (t + m)) ** m, "the power is θ"),
    ("2.1", lambda m, t: (t / (t + m)) ** t / special.gamma(t), "cancels"),
    ("2.2", lambda m, t: (t, m / (t + m)), "one minus"),
    ("2.2", lambda m, t: (1 / t, 1 / (1 + m * t)), "1/θ are swapped"),
    ("2.2", lambda m, t: (t / (t + m), t), "wrong order"),
    ("2.2", lambda m, t: (m, 0.5), "the mean is right"),
    ("2.2", lambda m, t: (t, 1 + m), "scipy needs"),
    ("2.2", lambda m, t: t / (t + m), "n and p were asked for"),
    ("2.3", lambda m, t, n, r: r.negative_binomial(t, t / (t + m), n), "rng.negative_binomial"),
    ("2.3", lambda m, t, n, r: r.poisson(m * r.gamma(t, t, n)), "one over the rate"),
    ("2.3", drawn_with_one_u, "share one u"),
    ("2.3", lambda m, t, n, r: m * r.gamma(t, 1 / t, n), "second step"),
    ("2.3", lambda m, t, n, r: r.poisson(m * r.gamma(1 / t, t, n)), "swapped"),
    ("2.3", lambda m, t, n, r: r.poisson(m, n), "same rate"),
    ("2.3", lambda m, t, n, r: r.poisson(m * r.gamma(t, 1.0, n)), "divide by θ"),
    ("2.3", lambda m, t, n, r: r.poisson(m * np.random.gamma(t, 1 / t, n)), "its own u"),
    (
        "2.3",
        lambda m, t, n, r: np.random.poisson(m * np.random.gamma(t, 1 / t, n)),
        "with the same seed",
    ),
    ("2.4", lambda: (3, 2.0, 2.0), "which is right"),
    ("2.4", lambda: (5000, 1.0, 2.0), "so rare"),
    ("2.4", lambda: (10**6, 10.0**6, 2.0), "none above"),
    ("2.4", lambda: (200.5, 200.0, 5.0), "whole number"),
    ("2.4", lambda: (200, 0.0, 5.0), "above 0"),
    ("2.4", lambda: (200, float("nan"), 5.0), "none above"),
    ("2.4", lambda: (200, 200.0), "a θ were asked for"),
    ("2.5", lambda c, s: c.mean() ** 2 / (c.var() - c.mean()), "scatter of the libraries"),
    ("2.5", estimate_without_poisson, "subtract ℓρ"),
    ("2.5", estimate_of_normalised, "divided by their libraries"),
    ("2.5", lambda c, s: 1 / estimate_by_moments(c, s), "inverse"),
    ("2.5", lambda c, s: -1.0, "above 0"),
    ("2.5", lambda c, s: (c - c.mean()) ** 2, "one number"),
]
