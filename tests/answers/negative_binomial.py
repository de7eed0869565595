"""Answers to the exercises of nbvae/teaching/exercises/negative_binomial.py, right and wrong."""

import numpy as np
from scipy import optimize, stats


def estimate_by_moments(counts, library):
    mean = library * counts.sum() / library.sum()
    return (mean**2).sum() / ((counts - mean) ** 2 - mean).sum()


def estimate_by_optimiser(counts, library):
    mean = library * counts.sum() / library.sum()

    def loss(log_theta):
        theta = np.exp(log_theta)
        return -stats.nbinom.logpmf(counts, theta, theta / (theta + mean)).sum()

    return np.exp(optimize.minimize_scalar(loss, bounds=(-5, 8), method="bounded").x)


RIGHT = {
    "2.1": (
        lambda m, t: (1 + m / t) ** -t,
        lambda m, t: np.exp(t * (np.log(t) - np.log(t + m))),
    ),
    "2.2": (
        lambda m, t: (t, t / (t + m)),
        lambda m, t: (t, 1 - m / (m + t)),
    ),
    "2.3": (
        lambda m, t, n, r: r.poisson(m / t * r.gamma(t, size=n)),
        lambda m, t, n, r: r.poisson(r.gamma(t, m / t, n)),
    ),
    "2.4": (lambda: (180, 150.0, 3.0), lambda: (0, 0.001, 500.0)),
    "2.5": (estimate_by_moments, estimate_by_optimiser),
}

WRONG = [
    ("2.1", lambda m, t: np.exp(-m), "Poisson's, without"),
    ("2.1", lambda m, t: (m / (t + m)) ** t, "gets rarer"),
    ("2.1", lambda m, t: t / (t + m), "power"),
    ("2.1", lambda m, t: 1 - (t / (t + m)) ** t, "to see the gene"),
    ("2.2", lambda m, t: (t, m / (t + m)), "one minus"),
    ("2.2", lambda m, t: (1 / t, 1 / (1 + m * t)), "1/θ are swapped"),
    ("2.2", lambda m, t: (m, 0.5), "variance is"),
    ("2.2", lambda m, t: (t, 1 + m), "scipy needs"),
    ("2.3", lambda m, t, n, r: m * r.gamma(t, 1 / t, n), "second step"),
    ("2.3", lambda m, t, n, r: r.poisson(m * r.gamma(t, t, n)), "one over the rate"),
    ("2.3", lambda m, t, n, r: r.poisson(m * r.gamma(1 / t, t, n)), "swapped"),
    ("2.3", lambda m, t, n, r: r.poisson(m, n), "same rate"),
    ("2.3", lambda m, t, n, r: r.poisson(m * r.gamma(t, 1.0, n)), "divide by θ"),
    ("2.4", lambda: (3, 2.0, 2.0), "which is right"),
    ("2.4", lambda: (5000, 1.0, 2.0), "so rare"),
    ("2.4", lambda: (10**6, 10.0**6, 2.0), "none above"),
    ("2.5", lambda c, s: c.mean() ** 2 / (c.var() - c.mean()), "libraries"),
    ("2.5", lambda c, s: 1 / estimate_by_moments(c, s), "inverse"),
    ("2.5", lambda c, s: 100.0, "have the median"),
]
