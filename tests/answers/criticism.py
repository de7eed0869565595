"""Answers to the exercises of nbvae/teaching/exercises/criticism.py, right and wrong."""

import math

import numpy as np
import torch
from scipy import sparse, stats


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


def p_by_ranks(observed, replicated):
    values = torch.tensor(replicated)
    return (torch.sign(observed - values).mean() + 1) / 2


def pit_by_float32(x, mu, theta, rng):
    low, high = (stats.nbinom.cdf(c, theta, 1 / (1 + mu / theta)) for c in (x - 1, x))
    return torch.tensor(low + (high - low) * rng.random(x.shape), dtype=torch.float32)


def pit_with(v):
    def pit(x, mu, theta, rng):
        return law(mu, theta).cdf(x - 1) + v(x, rng) * law(mu, theta).pmf(x)

    return pit


def fool_by_sparse_columns(x, rng):
    return sparse.csr_matrix(rng.permuted(x.T, axis=1).T)


def fool_half(x, rng):
    made = x.copy()
    made[:, ::2] = rng.permuted(x[:, ::2], axis=0)
    return made


def fool_in_pairs(x, rng):
    pairs = [rng.permutation(x[:, g : g + 2]) for g in range(0, x.shape[1], 2)]
    return np.concatenate(pairs, axis=1)


RIGHT = {
    "8.1": (
        p_by_loop,
        lambda o, r: 0.5 * (np.mean(r < o) + np.mean(r <= o)),
        p_by_ranks,
        lambda o, r: stats.percentileofscore(r, o, kind="mean") / 100,
    ),
    "8.2": (
        lambda s, r, delta, k: math.ceil(2 * (1 - r) * (k * s / delta) ** 2),
        cells_by_counting,
        lambda s, r, delta, k: torch.tensor(2 * s**2 * (1 - r) / (delta / k) ** 2).ceil(),
        lambda s, r, delta, k: np.int16(np.ceil(2 * (1 - r) * (k * s / delta) ** 2)),
    ),
    "8.3": (pit_by_uniform, pit_by_pmf, pit_by_float32),
    "8.4": (fool_by_columns, fool_by_order, fool_by_sparse_columns),
    "8.5": (
        lambda x: x.sum(axis=1).var(),
        correlated,
        lambda x: torch.tensor(x).sum(1).log1p().std(),
    ),
}

WRONG = [
    ("8.1", lambda o, r: np.mean(r < o), "ties are left out"),
    ("8.1", lambda o, r: np.mean(r <= o), "all ties count"),
    ("8.1", lambda o, r: np.mean(r > o) + 0.5 * np.mean(r == o), "share above"),
    ("8.1", lambda o, r: np.sum(r < o) + 0.5 * np.sum(r == o), "divide"),
    ("8.1", lambda o, r: r < o, "one number"),
    ("8.1", lambda o, r: np.mean(r < o) + 0.5 * np.any(r == o), "however many"),
    ("8.2", lambda s, r, d, k: int(2 * (1 - r) * (k * s / d) ** 2) + 1, "don't add 1"),
    ("8.2", lambda s, r, d, k: math.ceil(2 * (k * s / d) ** 2), "unpaired"),
    ("8.2", lambda s, r, d, k: math.ceil((1 - r) * (k * s / d) ** 2), "of both"),
    ("8.2", lambda s, r, d, k: k * s * math.sqrt(2 - 2 * r) / d, "square it"),
    ("8.2", lambda s, r, d, k: math.ceil(2 * (1 + r) * (k * s / d) ** 2), "wrong sign"),
    ("8.2", lambda s, r, d, k: 2 * (1 - r) * (k * s / d) ** 2, "round up"),
    ("8.2", lambda s, r, d, k: round(2 * (1 - r) * (k * s / d) ** 2), "round up"),
    ("8.2", lambda s, r, d, k: math.ceil(2 * (1 - r**2) * (k * s / d) ** 2), "r is squared"),
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
    ("8.3", pit_with(lambda x, rng: rng.random()), "share one v"),
    ("8.3", pit_with(lambda x, rng: rng.random(x.shape[1])), "share one v"),
    ("8.3", pit_with(lambda x, rng: np.random.random(x.shape)), "with the same seed"),
    ("8.3", pit_with(lambda x, rng: rng.random(x.shape) ** 2), "not uniform"),
    ("8.3", lambda x, m, t, rng: law(m, t).cdf(x) * rng.random(x.shape), "between 0 and F(x)"),
    ("8.4", lambda x, rng: rng.permutation(x), "whole cells were moved"),
    ("8.4", fool_half, "genes are still related to others"),
    ("8.4", fool_in_pairs, "genes are still related to others"),
    ("8.4", lambda x, rng: x, "nothing has changed"),
    ("8.4", lambda x, rng: rng.permuted(x, axis=1), "within their cell"),
    ("8.4", lambda x, rng: rng.permuted(x), "to other genes"),
    ("8.4", lambda x, rng: rng.poisson(x.mean(axis=0), x.shape), "not exact"),
    ("8.4", lambda x, rng: np.sort(x, axis=0), "each gene is sorted"),
    ("8.4", lambda x, rng: fool_by_columns(x, np.random), "with the same seed"),
    ("8.5", lambda x: x.var(axis=0).mean(), "one by one"),
    ("8.5", lambda x: x.sum(axis=1), "one number"),
    ("8.5", lambda x: 3.0, "can't fail"),
    ("8.5", lambda x: (x[0] * x[1]).sum(), "within the honest"),
    ("8.5", lambda x: np.log(x.sum(axis=1).std() - 1e9), "not always finite"),
    ("8.5", lambda x: x.sum(axis=1).std() + np.random.rand(), "has no chance in it"),
]
