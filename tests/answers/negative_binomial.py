"""Answers to the exercises of nbvae/exercises/negative_binomial.py, right and wrong."""

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
    "zero_probability": (
        lambda m, t: (1 + m / t) ** -t,
        lambda m, t: np.exp(t * (np.log(t) - np.log(t + m))),
    ),
    "for_scipy": (
        lambda m, t: (t, t / (t + m)),
        lambda m, t: (t, 1 - m / (m + t)),
    ),
    "draw_counts": (
        lambda m, t, n, r: r.poisson(m / t * r.gamma(t, size=n)),
        lambda m, t, n, r: r.poisson(r.gamma(t, m / t, n)),
    ),
    "breaking_point": (lambda: (180, 150.0, 3.0), lambda: (0, 0.001, 500.0)),
    "estimate": (estimate_by_moments, estimate_by_optimiser),
}

WRONG = [
    ("zero_probability", lambda m, t: np.exp(-m), "Poisson's, without"),
    ("zero_probability", lambda m, t: (m / (t + m)) ** t, "gets rarer"),
    ("zero_probability", lambda m, t: t / (t + m), "power"),
    ("zero_probability", lambda m, t: 1 - (t / (t + m)) ** t, "to see the gene"),
    ("for_scipy", lambda m, t: (t, m / (t + m)), "one minus"),
    ("for_scipy", lambda m, t: (1 / t, 1 / (1 + m * t)), "1/θ are swapped"),
    ("for_scipy", lambda m, t: (m, 0.5), "variance is"),
    ("for_scipy", lambda m, t: (t, 1 + m), "scipy needs"),
    ("draw_counts", lambda m, t, n, r: m * r.gamma(t, 1 / t, n), "second step"),
    ("draw_counts", lambda m, t, n, r: r.poisson(m * r.gamma(t, t, n)), "one over the rate"),
    ("draw_counts", lambda m, t, n, r: r.poisson(m * r.gamma(1 / t, t, n)), "swapped"),
    ("draw_counts", lambda m, t, n, r: r.poisson(m, n), "same rate"),
    ("draw_counts", lambda m, t, n, r: r.poisson(m * r.gamma(t, 1.0, n)), "divide by θ"),
    ("breaking_point", lambda: (3, 2.0, 2.0), "which is right"),
    ("breaking_point", lambda: (5000, 1.0, 2.0), "so rare"),
    ("breaking_point", lambda: (10**6, 10.0**6, 2.0), "none above"),
    ("estimate", lambda c, s: c.mean() ** 2 / (c.var() - c.mean()), "libraries"),
    ("estimate", lambda c, s: 1 / estimate_by_moments(c, s), "inverse"),
    ("estimate", lambda c, s: 100.0, "have the median"),
]
