"""Answers to the exercises of nbvae/teaching/exercises/fast.py, right and wrong."""

import numpy as np
import torch
from scipy import sparse
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


RIGHT = {
    "11.1": (
        lambda x, m, t: t * (x - m) / (m + t),
        lambda x, m, t: (x - m) / (1 + m / t),
    ),
    "11.2": (sum_by_loop, sum_by_table),
    "11.3": (smells_by_relative_sum, smells_by_cell),
    "11.4": (bag_by_loop, bag_by_scipy),
    "11.5": (log_prob_by_sum, log_prob_at_zeros),
}

WRONG = [
    ("11.1", lambda x, m, t: x - m, "Poisson"),
    ("11.1", lambda x, m, t: t * (m - x) / (m + t), "sign"),
    ("11.1", lambda x, m, t: t * (x - m) / (m + t) / m, "derivative by μ"),
    ("11.1", lambda x, m, t: (x - m) / (1 + m * t), "swapped"),
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
    ("11.3", lambda g: bool((g.sum(-1) != 0).any()), "how exact"),
    ("11.3", lambda g: False, "does not notice the missing"),
    ("11.3", lambda g: bool((g.sum(-1).abs() > 1e-2).any()), "if it is small"),
    ("11.3", lambda g: bool(g.sum().abs() > 0.02 * g.abs().sum()), "one broken cell"),
    ("11.4", bag_of_zeros, "were touched"),
    ("11.4", lambda c, g, s, w: bag_by_loop(np.expm1(c), g, s, w), "log(1 + x)"),
    ("11.4", lambda c, g, s, w: bag_by_loop(np.full(len(c), np.e - 1), g, s, w), "counts once"),
    ("11.4", lambda c, g, s, w: bag_by_loop(c, g, s, w).T, "shape"),
    ("11.5", log_prob_of_torch, "log-gammas a count"),
    ("11.5", lambda x, m, t: nb_log_prob(x, m, t) + torch.lgamma(x + 1), "log x!"),
    ("11.5", lambda x, m, t: nb_log_prob(x, m, -t), "wrong for counts of 0"),
]
