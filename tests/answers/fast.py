"""Answers to the exercises of nbvae/teaching/exercises/fast.py, right and wrong."""

import math
from collections import Counter
from math import lgamma

import numpy as np
import torch
from scipy import sparse, special, stats
from scipy.special import gammaln
from torch.distributions import NegativeBinomial

from nbvae.module.distributions import nb_log_prob


def sum_by_loop(x, theta):
    total, k = 0.0, 0
    while (above := (x > k).sum()) > 0:
        total, k = total + above * torch.log1p(k / theta), k + 1
    return total


def sum_by_table(x, theta):
    k = torch.arange(int(x.max()) + 1, dtype=x.dtype)
    table = torch.cat([torch.zeros(1), torch.log1p(k / theta).cumsum(0)])
    return table[x.long()].sum()


def smells_by_relative_sum(gradient):
    return bool((gradient.double().sum(1).abs() / gradient.abs().max(1).values).max() > 0.05)


def smells_by_cell(gradient):
    for cell in gradient:
        if not torch.isclose(cell.clamp(min=0).sum(), (-cell).clamp(min=0).sum(), rtol=1e-2):
            return True
    return False


def bag_by_loop(counts, genes, starts, weights):
    ends = [*starts[1:], len(counts)]
    return np.stack(
        [np.log1p(counts[a:b]) @ weights[genes[a:b]] for a, b in zip(starts, ends, strict=True)]
    )


def bag_by_scipy(counts, genes, starts, weights):
    indptr = np.append(starts, len(counts))
    used, place = np.unique(genes, return_inverse=True)
    return sparse.csr_matrix((np.log1p(counts), place, indptr)) @ weights[used]


def bag_of_zeros(counts, genes, starts, weights):
    cells = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(counts))))
    x = np.zeros((len(starts), len(weights)))
    x[cells, genes] = np.log1p(counts)
    return x @ weights


def log_prob_at_zeros(x, log_mean, log_theta):
    theta, some = log_theta.exp(), x > 0
    log_theta = log_theta.expand_as(x)
    total = torch.logaddexp(log_mean, log_theta)
    result = theta * (log_theta - total)
    c, t = x[some], log_theta[some].exp()
    gammas = torch.lgamma(c + t) - torch.lgamma(t) - torch.lgamma(c + 1)
    result[some] += gammas + c * (log_mean - total)[some]
    return result


def log_prob_by_sum(x, log_mean, log_theta):
    theta = log_theta.exp()
    result = x * log_mean - (x + theta) * torch.log1p(log_mean.exp() / theta)
    for k in range(int(x.max())):
        result += torch.where(k < x, torch.log1p(k / theta) - np.log1p(k), 0.0)
    return result


def log_prob_of_torch(x, log_mean, log_theta):
    return NegativeBinomial(log_theta.exp(), logits=log_mean - log_theta).log_prob(x)


def sum_by_histogram(x, theta):
    """NumPy only: np.max of a tensor fails."""
    histogram = np.bincount(np.asarray(x, dtype=int))
    above = histogram.sum() - np.cumsum(histogram)
    return float(above[:-1] @ np.log1p(np.arange(int(np.max(x))) / theta))


def sum_by_counter(x, theta):
    cells, total = Counter(int(c) for c in x), 0.0
    for k in range(max(cells)):
        total += sum(n for c, n in cells.items() if c > k) * math.log((float(theta) + k) / theta)
    return total


def sum_per_cell(x, theta):
    return sum(math.log1p(k / float(theta)) for c in x for k in range(int(c)))


def sum_per_cell_of_numpy(x, theta):
    return sum(np.log1p(np.arange(int(c)) / float(theta)).sum() for c in x)


def sum_by_lgamma(x, theta):
    t = float(theta)
    return sum(lgamma(float(c) + t) - lgamma(t) - float(c) * math.log(t) for c in x)


def sum_by_scipy(x, theta):
    x, t = np.asarray(x), float(theta)
    return (gammaln(x + t) - gammaln(t) - x * np.log(t)).sum()


def sum_by_beta(x, theta):
    x, t = np.asarray(x, dtype=float), float(theta)
    some = x[x > 0]
    return (special.gammaln(some) - special.betaln(some, t) - some * np.log(t)).sum()


def sum_by_stirling(x, theta):
    """A log-gamma of one's own, by its asymptotic series."""

    def log_gamma(z):
        shift = sum(math.log(z + k) for k in range(12))
        z += 12
        series = 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)
        return (z - 0.5) * math.log(z) - z + 0.5 * math.log(2 * math.pi) + series - shift

    t = float(theta)
    return sum(log_gamma(float(c) + t) - log_gamma(t) - float(c) * math.log(t) for c in x)


def smells_by_numpy(gradient):
    table = gradient.numpy().astype(float)
    return np.any(abs(table.sum(axis=1)) > 1e-3 * abs(table).sum(axis=1))


def bag_by_embedding(counts, genes, starts, weights):
    parts = (torch.as_tensor(part) for part in (genes, weights, starts, np.log1p(counts)))
    genes, weights, starts, logs = parts
    return torch.nn.functional.embedding_bag(
        genes, weights.float(), starts, mode="sum", per_sample_weights=logs.float()
    )


def log_prob_of_scipy(x, log_mean, log_theta):
    theta = log_theta.exp().numpy()
    return stats.nbinom.logpmf(x.numpy(), theta, theta / (theta + log_mean.exp().numpy()))


def log_prob_by_gammaln(x, log_mean, log_theta):
    x, m, t = (part.numpy().astype(float) for part in (x, log_mean.exp(), log_theta.exp()))
    gammas = gammaln(x + t) - gammaln(t) - gammaln(x + 1)
    return gammas + t * np.log(t / (t + m)) + x * np.log(m / (t + m))


def log_prob_by_table(x, log_mean, log_theta):
    """Running sums for each gene in NumPy, in double precision."""
    x, m, t = x.numpy().astype(int), log_mean.exp().numpy(), log_theta.exp().numpy()
    k = np.arange(x.max())[:, None]
    table = np.vstack([np.zeros(len(t)), np.cumsum(np.log((t + k) / (k + 1)), axis=0)])
    dense = t * np.log(t / (t + m)) + x * np.log(m / (t + m))
    return dense + table[x, np.arange(x.shape[1])]


RIGHT = {
    "11.1": (
        lambda x, m, t: t * (x - m) / (m + t),
        lambda x, m, t: (x - m) / (1 + m / t),
        lambda x, m, t: x - (x + t) * torch.tensor(m / t, requires_grad=True) / (1 + m / t),
    ),
    "11.2": (sum_by_loop, sum_by_table, sum_by_histogram, sum_by_counter),
    "11.3": (smells_by_relative_sum, smells_by_cell, smells_by_numpy),
    "11.4": (bag_by_loop, bag_by_scipy, bag_by_embedding),
    "11.5": (log_prob_by_sum, log_prob_at_zeros, log_prob_by_table),
}

WRONG = [
    ("11.1", lambda x, m, t: x - m, "Poisson"),
    ("11.1", lambda x, m, t: t * (m - x) / (m + t), "sign"),
    ("11.1", lambda x, m, t: t * (x - m) / (m + t) / m, "derivative by μ"),
    ("11.1", lambda x, m, t: (x - m) / (1 + m * t), "swapped"),
    ("11.1", lambda x, m, t: (x - m) / (m + t), "θ is missing"),
    ("11.1", lambda x, m, t: x - t * m / (m + t), "became θ"),
    (
        "11.2",
        lambda x, t: sum(torch.log1p(torch.arange(int(c) + 1) / t).sum() for c in x),
        "k = x, too",
    ),
    (
        "11.2",
        lambda x, t: sum(torch.log(t + torch.arange(int(c))).sum() for c in x),
        "log(θ + k)",
    ),
    (
        "11.2",
        lambda x, t: torch.log1p(torch.arange(int(x.max())) / t).sum(),
        "counted once",
    ),
    (
        "11.2",
        lambda x, t: ((x + t).lgamma() - t.lgamma() - x * t.log()).sum(),
        "log-gammas were used",
    ),
    ("11.2", sum_by_lgamma, "log-gammas were used"),
    ("11.2", sum_by_scipy, "log-gammas were used"),
    ("11.2", sum_by_beta, "log-gammas were used"),
    ("11.2", sum_by_stirling, "logarithms"),
    ("11.2", sum_per_cell, "logarithms for 500 cells"),
    ("11.2", sum_per_cell_of_numpy, "logarithms for 500 cells"),
    ("11.3", lambda g: bool(g[0].sum().abs() > 1e-3 * g[0].abs().sum()), "look at each cell"),
    ("11.3", lambda g: bool(g.sum().abs() > 1e-3 * g.abs().sum()), "look at each cell"),
    ("11.3", lambda g: bool((g.sum(-1) != 0).any()), "how exact"),
    ("11.3", lambda g: bool((g.sum(0).abs() > 1e-3 * g.abs().sum(0)).any()), "how exact"),
    ("11.3", lambda g: False, "does not notice the missing"),
    ("11.3", lambda g: bool((g.sum(-1).abs() > 1e-2).any()), "small"),
    ("11.3", lambda g: g.sum(-1), "True or False"),
    ("11.4", bag_of_zeros, "were touched"),
    ("11.4", lambda c, g, s, w: bag_by_loop(np.expm1(c), g, s, w), "log(1 + x)"),
    ("11.4", lambda c, g, s, w: bag_by_loop(np.full(len(c), np.e - 1), g, s, w), "counts once"),
    ("11.4", lambda c, g, s, w: bag_by_loop(c, g, s, w).T, "shape"),
    ("11.4", lambda c, g, s, w: bag_by_loop(c, g, s, w).cumsum(axis=0), "the cells before"),
    ("11.4", lambda c, g, s, w: bag_by_loop(c - 1, g, s, w), "lacks its 1"),
    (
        "11.4",
        lambda c, g, s, w: bag_by_loop(c, g, s, w) / np.diff([*s, len(c)])[:, None],
        "these are means",
    ),
    ("11.5", log_prob_of_torch, "log-gammas per count"),
    ("11.5", log_prob_of_scipy, "log-gammas per count"),
    ("11.5", log_prob_by_gammaln, "log-gammas per count"),
    ("11.5", lambda x, m, t: nb_log_prob(x, m, t) + torch.lgamma(x + 1), "log x!"),
    ("11.5", lambda x, m, t: nb_log_prob(x, m, -t), "swapped"),
    ("11.5", lambda x, m, t: -nb_log_prob(x, m, t), "negative log"),
    ("11.5", lambda x, m, t: nb_log_prob(x, m, t).exp(), "these are the probabilities"),
    ("11.5", lambda x, m, t: nb_log_prob(x.clamp(max=1), m, t), "2 and more"),
    ("11.5", lambda x, m, t: nb_log_prob(x, m, t).sum(), "shape"),
]
