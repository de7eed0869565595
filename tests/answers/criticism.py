"""Answers to the exercises of nbvae/teaching/exercises/criticism.py, right and wrong."""

import math

import numpy as np
from scipy import stats


def p_by_loop(observed, replicated):
    total = 0.0
    for value in replicated:
        total += 1.0 if value < observed else 0.5 if value == observed else 0.0
    return total / len(replicated)


def cells_by_counting(s, r, delta, k):
    n = 2
    while k * math.sqrt((2 * s**2 - 2 * r * s**2) / n) > delta:
        n += 1
    return n


def law(mu, theta):
    return stats.nbinom(theta, theta / (theta + mu))


def pit_by_uniform(x, mu, theta, rng):
    return rng.uniform(law(mu, theta).cdf(x - 1), law(mu, theta).cdf(x))


def pit_by_pmf(x, mu, theta, rng):
    return law(mu, theta).cdf(x) - (1 - rng.random(x.shape)) * law(mu, theta).pmf(x)


def fool_by_columns(x, rng):
    return np.column_stack([rng.permutation(column) for column in x.T])


def fool_by_order(x, rng):
    return np.take_along_axis(x, rng.random(x.shape).argsort(axis=0), axis=0)


def correlated(x):
    return np.abs(np.corrcoef(x, rowvar=False)).mean()


RIGHT = {
    "8.1": (
        p_by_loop,
        lambda o, r: 0.5 * (np.mean(r < o) + np.mean(r <= o)),
    ),
    "8.2": (
        lambda s, r, delta, k: math.ceil(2 * (1 - r) * (k * s / delta) ** 2),
        cells_by_counting,
    ),
    "8.3": (pit_by_uniform, pit_by_pmf),
    "8.4": (fool_by_columns, fool_by_order),
    "8.5": (lambda x: x.sum(axis=1).var(), correlated),
}

WRONG = [
    ("8.1", lambda o, r: np.mean(r < o), "ties are left out"),
    ("8.1", lambda o, r: np.mean(r <= o), "all ties count"),
    ("8.1", lambda o, r: np.mean(r > o) + 0.5 * np.mean(r == o), "share above"),
    ("8.1", lambda o, r: np.sum(r < o) + 0.5 * np.sum(r == o), "divide"),
    ("8.1", lambda o, r: r < o, "one number"),
    ("8.2", lambda s, r, d, k: math.ceil(2 * (k * s / d) ** 2), "unpaired"),
    ("8.2", lambda s, r, d, k: math.ceil((1 - r) * (k * s / d) ** 2), "of both"),
    ("8.2", lambda s, r, d, k: k * s * math.sqrt(2 - 2 * r) / d, "square it"),
    ("8.2", lambda s, r, d, k: math.ceil(2 * (1 + r) * (k * s / d) ** 2), "wrong sign"),
    ("8.2", lambda s, r, d, k: 2 * (1 - r) * (k * s / d) ** 2, "round up"),
    ("8.3", lambda x, m, t, rng: law(m, t).cdf(x), "the end of the step"),
    ("8.3", lambda x, m, t, rng: law(m, t).cdf(x) - 0.5 * law(m, t).pmf(x), "the middle"),
    ("8.3", lambda x, m, t, rng: pit_by_uniform(x, m, 1 / t, rng), "swapped: n of"),
    (
        "8.3",
        lambda x, m, t, rng: rng.uniform(
            stats.nbinom(t, m / (t + m)).cdf(x - 1), stats.nbinom(t, m / (t + m)).cdf(x)
        ),
        "p and 1 − p",
    ),
    ("8.3", lambda x, m, t, rng: pit_by_uniform(x + 1, m, t, rng), "x + 1"),
    ("8.3", lambda x, m, t, rng: 1 - pit_by_uniform(x, m, t, rng), "1 − φ"),
    ("8.4", lambda x, rng: x, "nothing has changed"),
    ("8.4", lambda x, rng: rng.permutation(x), "whole cells were moved"),
    ("8.4", lambda x, rng: rng.permuted(x, axis=1), "within their cell"),
    ("8.4", lambda x, rng: rng.poisson(x.mean(axis=0), x.shape), "not exact"),
    ("8.5", lambda x: x.var(axis=0).mean(), "one by one"),
    ("8.5", lambda x: x.sum(axis=1), "one number"),
    ("8.5", lambda x: 3.0, "can't fail"),
    ("8.5", lambda x: (x[0] * x[1]).sum(), "within the honest"),
]
