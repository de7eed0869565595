"""Answers to the exercises of nbvae/teaching/exercises/using_the_model.py, right and wrong."""

import math

import numpy as np
import torch
from scipy import sparse, stats
from scipy.sparse import csgraph
from sklearn.neighbors import kneighbors_graph

from nbvae.expression import expected_fdr


def called_by_package(probability, fdr):
    return (expected_fdr(np.sort(probability)[::-1]) <= fdr).sum()


def called_by_loop(probability, fdr):
    doubt, n = 0.0, 0
    for p in sorted(probability, reverse=True):
        if (doubt + 1 - p) / (n + 1) > fdr:
            break
        doubt, n = doubt + 1 - p, n + 1
    return n


def called_by_mean(probability, fdr):
    ordered = torch.tensor(probability).sort(descending=True).values
    means = ordered.cumsum(0) / torch.arange(1, len(ordered) + 1)
    return torch.count_nonzero(means >= 1 - fdr)


def called_strictly(probability, fdr):
    doubt = np.sort(1 - probability)
    return (np.cumsum(doubt) / np.arange(1, len(doubt) + 1) < fdr).sum()


def called_by_argmax(probability, fdr):
    doubt = np.sort(1 - probability)
    return np.argmax(np.cumsum(doubt) / np.arange(1, len(doubt) + 1) > fdr)


def called_one_by_one(probability, fdr):
    return (1 - probability <= fdr).sum()


def called_by_sum(probability, fdr):
    return (np.cumsum(np.sort(1 - probability)) <= fdr).sum()


def called_unsorted(probability, fdr):
    return (np.cumsum(1 - probability) / np.arange(1, len(probability) + 1) <= fdr).sum()


def called_from_below(probability, fdr):
    return called_unsorted(np.sort(probability), fdr)


def shrunk(lfc, s, sigma):
    kept = sigma**2 / (sigma**2 + s**2)
    return kept * lfc, np.sqrt(kept) * s


def probability_by_erf(lfc, s, sigma, delta):
    mean, sd = shrunk(lfc, s, sigma)
    return max(0.5 * math.erfc((delta - side * mean) / sd / math.sqrt(2)) for side in (1, -1))


def probability_by_precision(lfc, s, sigma, delta):
    precision = 1 / s**2 + 1 / sigma**2
    known = stats.norm(lfc / s**2 / precision, precision**-0.5)
    return float(np.maximum(known.sf(delta), known.cdf(-delta)))


def probability_on_a_grid(lfc, s, sigma, delta):
    true = np.linspace(-12, 12, 240_001)
    mass = np.exp(-0.5 * (true / sigma) ** 2 - 0.5 * ((lfc - true) / s) ** 2)
    mass /= mass.sum()
    return max(mass[true >= delta].sum(), mass[true <= -delta].sum())


def larger_side(mean, sd, delta):
    return max(stats.norm.sf(delta, mean, sd), stats.norm.cdf(-delta, mean, sd))


def probability_turned_round(lfc, s, sigma, delta):
    kept = s**2 / (sigma**2 + s**2)
    return larger_side(kept * lfc, np.sqrt(kept) * s, delta)


def probability_with_variance(lfc, s, sigma, delta):
    mean, sd = shrunk(lfc, s, sigma)
    return larger_side(mean, sd**2, delta)


def probability_of_both_sides(lfc, s, sigma, delta):
    mean, sd = shrunk(lfc, s, sigma)
    return stats.norm.sf(delta, mean, sd) + stats.norm.cdf(-delta, mean, sd)


def probability_upwards(lfc, s, sigma, delta):
    return stats.norm.sf(delta, *shrunk(lfc, s, sigma))


def weights_by_halves(noise):
    order = np.argsort(noise.sum(axis=1))
    weights = np.zeros((len(noise), len(noise)))
    for part in np.array_split(order, 2):
        weights[np.ix_(part, part)] = 1 / len(part)
    return weights


def weights_by_corners(noise):
    """All cells lean towards the cells that are high in both genes, by how high they are."""
    rank = noise.sum(axis=1).argsort().argsort() / (len(noise) - 1)
    top, bottom = rank > 0.7, rank < 0.3
    return rank[:, None] * top / top.sum() + (1 - rank[:, None]) * bottom / bottom.sum()


def weights_by_difference(noise):
    return weights_by_halves(noise * [1, -1])


def path_by_dense_graph(latent, start, end):
    cost = np.linalg.norm(latent[:, None] - latent[None], axis=-1) ** 4
    _, before = csgraph.dijkstra(cost, indices=start, return_predecessors=True)
    rows = [end]
    while rows[0] != start:
        rows.insert(0, before[rows[0]])
    return latent[rows]


def path_by_spanning_tree(latent, start, end):
    """The tree of least total length has the path whose longest step is as short as can be."""
    graph = kneighbors_graph(latent, 20, mode="distance")
    tree = csgraph.minimum_spanning_tree(graph)
    _, before = csgraph.depth_first_order(tree, start, directed=False)
    rows = [end]
    while rows[-1] != start:
        rows.append(before[rows[-1]])
    return latent[rows][::-1]


def straight_line(latent, start, end):
    share = np.linspace(0, 1, 50)[:, None]
    return (1 - share) * latent[start] + share * latent[end]


def by_random_cells(latent, start, end):
    between = np.random.default_rng(0).choice(len(latent), 8)
    return latent[[start, *between, end]]


def path_of_midpoints(latent, start, end):
    """The path through cells, with a point between each two, in float32."""
    cells = path_by_dense_graph(latent, start, end)
    between = (cells[1:] + cells[:-1]) / 2
    points = np.empty((len(cells) + len(between), latent.shape[1]))
    points[::2], points[1::2] = cells, between
    return torch.tensor(points, dtype=torch.float32)


RIGHT = {
    "9.1": (called_by_package, called_by_loop, called_by_mean),
    "9.2": (probability_by_erf, probability_by_precision, probability_on_a_grid),
    "9.3": (
        weights_by_halves,
        weights_by_corners,
        lambda noise: sparse.csr_matrix(weights_by_halves(noise)),
        lambda noise: torch.tensor(weights_by_halves(noise), dtype=torch.float32),
    ),
    "9.4": (path_by_dense_graph, path_by_spanning_tree, path_of_midpoints),
}

WRONG = [
    ("9.1", called_one_by_one, "asks each gene"),
    ("9.1", called_strictly, "exactly fdr is allowed"),
    ("9.1", called_by_argmax, "argmax gives 0"),
    ("9.1", called_by_sum, "take the mean"),
    ("9.1", called_unsorted, "the surest go first"),
    ("9.1", called_from_below, "begin with the largest"),
    ("9.1", lambda p, fdr: max(called_by_loop(p, fdr), 1), "return 0"),
    ("9.2", lambda lfc, s, sigma, delta: larger_side(lfc, s, delta), "nothing is shrunk"),
    ("9.2", probability_turned_round, "turned round"),
    ("9.2", probability_with_variance, "is the variance"),
    ("9.2", probability_of_both_sides, "sum of both sides"),
    ("9.2", probability_upwards, "only one side"),
    ("9.2", lambda *gene: 1 - probability_by_erf(*gene), "the call is wrong"),
    ("9.2", lambda *gene: larger_side(shrunk(*gene[:3])[0], *gene[1::2]), "ψ is not"),
    ("9.3", lambda noise: np.eye(len(noise)), "is the limit"),
    ("9.3", lambda noise: np.full((len(noise),) * 2, 1 / len(noise)), "same average"),
    ("9.3", lambda noise: weights_by_halves(noise) * len(noise), "do not sum to 1"),
    ("9.3", weights_by_difference, "of the opposite"),
    ("9.3", lambda noise: np.cov(noise), "negative"),
    ("9.4", lambda z, a, b: [a, b], "row numbers"),
    ("9.4", straight_line, "straight line"),
    ("9.4", by_random_cells, "crosses empty space"),
    ("9.4", lambda z, a, b: path_by_dense_graph(z, a, b)[::-1], "backwards"),
    ("9.4", lambda z, a, b: path_by_dense_graph(z, a, b)[1:], "begin at"),
]
