"""Answers to the exercises of exercises/batches.py and thinning.py, right and wrong."""

import numpy as np
import torch
from scipy import stats
from sklearn.metrics import silhouette_samples, silhouette_score
from sklearn.neighbors import NearestNeighbors


def moments_by_scipy(px_mean, theta, kappa):
    left = stats.nbinom(theta, theta / (theta + kappa * px_mean))
    return left.mean(), left.var(), left.pmf(0)


def moments_by_total_variance(px_mean, theta, kappa):
    """E Var + Var E given x; zeros as the generating function of NB(μ, θ) at 1 − κ."""
    variance = kappa * (1 - kappa) * px_mean + kappa**2 * (px_mean + px_mean**2 / theta)
    return np.array([kappa * px_mean, variance, (1 + kappa * px_mean / theta) ** -theta])


def moments_with_variance(variance):
    def answer(px_mean, theta, kappa):
        mean, _, zeros = moments_by_scipy(px_mean, theta, kappa)
        return mean, variance(px_mean, theta, kappa), zeros

    return answer


def moments_with_poisson_zeros(px_mean, theta, kappa):
    mean, variance, _ = moments_by_scipy(px_mean, theta, kappa)
    return mean, variance, np.exp(-mean)


def right_by_distances(p_a, p_b):
    places_a, places_b = np.array([0, 1]) - p_a, np.array([0, 1]) - p_b
    distance = abs(places_a[:, None] - places_b[None])
    own, other = np.diag(distance), distance[[0, 1], [1, 0]]
    return bool((own < other - 1e-12).all())


def mixing_by_loop(table):
    total, cells = 0.0, 0
    for row in np.asarray(table):
        n = int(row.sum())
        if n > 1:
            total += sum(m * (m - 1) / (n - 1) for m in row)
            cells += n
    return total / cells


def mixing_by_matrix(table):
    kinds = np.concatenate([np.full(row.sum(), t) for t, row in enumerate(np.asarray(table))])
    batch = np.concatenate([np.repeat(np.arange(len(row)), row) for row in np.asarray(table)])
    near = (kinds[:, None] == kinds) & ~np.eye(len(kinds), dtype=bool)
    own = (near & (batch[:, None] == batch)).sum(axis=1)
    some = near.any(axis=1)
    return (own[some] / near.sum(axis=1)[some]).mean()


def mixing_with_oneself(table):
    table = np.asarray(table, dtype=float)
    return (table**2 / table.sum(axis=1, keepdims=True)).sum() / table.sum()


def mixing_of_all(table):
    share = np.asarray(table).sum(axis=0) / np.sum(table)
    return (share**2).sum()


def mixing_by_type(table):
    table = np.asarray([row for row in table if np.sum(row) > 1], dtype=float)
    n = table.sum(axis=1, keepdims=True)
    return ((table * (table - 1) / (n - 1)).sum(axis=1) / n[:, 0]).mean()


def mixed_by_permutation(latent, batch):
    return latent[np.random.default_rng(5).permutation(len(latent))]


def mixed_by_strides(latent, batch):
    """Each row goes to another place by multiplication with a number that shares no factor."""
    n = len(latent)
    stride = next(k for k in range(int(0.381966 * n), n) if np.gcd(k, n) == 1)
    return latent[(np.arange(n) * stride) % n]


def mixed_within(latent, batch):
    moved, rng = latent.copy(), np.random.default_rng(0)
    for j in np.unique(batch):
        rows = np.flatnonzero(batch == j)
        moved[rows] = latent[rng.permutation(rows)]
    return moved


def mixed_in_pairs(latent, batch):
    """Every second cell of one experiment changes places with one of the other, of the same kind:
    as if the experiments were sorted alike."""
    rows = [np.flatnonzero(batch == j) for j in (0, 1)]
    moved = latent.copy()
    moved[rows[0][::2]], moved[rows[1][::2]] = latent[rows[1][::2]], latent[rows[0][::2]]
    return moved


def near(points, labels, k=15):
    found = NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)[1][:, 1:]
    return (labels[found] == labels[:, None]).mean(axis=1)


def score_by_chance(points, batch, kinds):
    """Agreement of the kinds, minus how far mixing is from a permutation within kinds."""
    rng, dealt = np.random.default_rng(0), []
    found = NearestNeighbors(n_neighbors=16).fit(points).kneighbors(points)[1][:, 1:]
    for _ in range(10):
        shuffled = batch.copy()
        for kind in np.unique(kinds):
            rows = np.flatnonzero(kinds == kind)
            shuffled[rows] = batch[rng.permutation(rows)]
        dealt.append((shuffled[found] == shuffled[:, None]).mean())
    return near(points, kinds).mean() - 2 * abs(near(points, batch).mean() - np.mean(dealt))


def score_by_silhouettes(points, batch, kinds):
    """Silhouette of the kinds, minus that of the batch within each kind that both have."""
    apart = silhouette_score(points, kinds)
    within = [
        abs(silhouette_samples(points[kinds == kind], batch[kinds == kind]).mean())
        for kind in np.unique(kinds)
        if len(np.unique(batch[kinds == kind])) > 1
    ]
    return apart - np.mean(within)


def moments_by_summing(px_mean, theta, kappa):
    x = np.arange(600)
    p = stats.nbinom.pmf(x, theta, theta / (theta + px_mean))
    first, second = kappa * (p @ x), kappa**2 * (p @ (x * (x - 1)))
    return (torch.tensor(m) for m in (first, second + first - first**2, p @ (1 - kappa) ** x))


def mixed_by_shifting(latent, batch):
    """A random shift of a random order: the same points, in float32."""
    order = np.random.default_rng(3).permutation(len(latent))
    return torch.tensor(np.roll(latent[order], 7, axis=0), dtype=torch.float32)


def score_of_two(points, batch, kinds):
    """The kinds' agreement, times how near mixing comes to what a table allows."""
    table = [[np.sum((kinds == k) & (batch == j)) for j in (0, 1)] for k in np.unique(kinds)]
    off = abs(near(points, batch).mean() - mixing_by_loop(table))
    return torch.tensor(near(points, kinds).mean() * np.exp(-5 * off))


RIGHT = {
    "10.1": (moments_by_scipy, moments_by_total_variance, moments_by_summing),
    "10.2": (
        right_by_distances,
        lambda a, b: -0.5 < b - a < 0.5,
        lambda a, b: torch.tensor(a - b).abs() < 0.5,
        lambda a, b: np.int8((a - b) ** 2 < 0.25),
    ),
    "10.3": (mixing_by_loop, mixing_by_matrix, lambda table: np.float32(mixing_by_loop(table))),
    "10.4": (mixed_by_permutation, mixed_by_strides, mixed_by_shifting),
    "10.5": (score_by_chance, score_by_silhouettes, score_of_two),
}

WRONG = [
    ("10.1", moments_with_variance(lambda m, t, k: k**2 * (m + m**2 / t)), "not of a count"),
    ("10.1", moments_with_variance(lambda m, t, k: k * (m + m**2 / t)), "Poisson part"),
    ("10.1", moments_with_variance(lambda m, t, k: k * m), "gamma factor is still"),
    ("10.1", moments_with_poisson_zeros, "0 of a Poisson"),
    ("10.1", lambda m, t, k: moments_by_scipy(m, t, 1), "what is left"),
    ("10.1", lambda m, t, k: (k * m, k * m + (k * m) ** 2 / t), "were asked for"),
    ("10.2", lambda a, b: b - a < 0.5, "one sign"),
    ("10.2", lambda a, b: abs(a - b) > 0.5, "is wrong"),
    ("10.2", lambda a, b: (a < 0.5) == (b < 0.5), "with ½ one by one"),
    ("10.2", lambda a, b: abs(a - b) < 1, "1 is too far"),
    ("10.2", lambda a, b: abs(a - b) <= 0.5, "equally near"),
    ("10.2", lambda a, b: a - b, "True or False"),
    ("10.2", lambda a, b: abs(a + b - 1) < 0.5, "are added"),
    ("10.3", lambda table: mixing_by_loop(np.asarray(table).T), "swapped"),
    ("10.3", mixing_with_oneself, "no neighbour of its own"),
    ("10.3", lambda table: 0.5, "does not look"),
    ("10.3", mixing_of_all, "mixes all types"),
    ("10.3", mixing_by_type, "over cells"),
    ("10.3", lambda table: 1 - mixing_by_loop(table), "other experiments"),
    ("10.4", lambda latent, batch: latent, "nothing has moved"),
    ("10.4", lambda latent, batch: np.zeros_like(latent), "cloud has changed"),
    ("10.4", mixed_within, "still apart"),
    ("10.4", mixed_in_pairs, "too good"),
    ("10.4", lambda z, b: np.random.default_rng(0).permuted(z, axis=0), "separate ways"),
    (
        "10.4",
        lambda z, b: z[np.random.default_rng(0).integers(len(z), size=len(z))],
        "each point once",
    ),
    ("10.5", lambda z, b, k: near(z, k), "one number"),
    ("10.5", lambda z, b, k: near(z, k).mean(), "stay apart"),
    ("10.5", lambda z, b, k: -near(z, b).mean(), "mixes everything"),
    (
        "10.5",
        lambda z, b, k: near(z, b).mean() - near(z, k).mean(),
        "is higher better",
    ),
    (
        "10.5",
        lambda z, b, k: near(z, k).mean() - 6 * abs(near(z, b).mean() - 0.5),
        "lacks a kind",
    ),
    (
        "10.5",
        lambda z, b, k: near(z, k).mean() - abs(near(z, b).mean() - 0.5),
        "½ is not the aim",
    ),
    ("10.5", lambda z, b, k: near(z, k).mean() - near(z, b).mean() / 2, "more than chance"),
    ("10.5", lambda z, b, k: 2 * near(z, k).mean() - near(z, b).mean(), "more than chance"),
]
