"""Answers to the exercises of chapter 3, right and wrong."""

import numpy as np
import torch
from scipy import sparse, special, stats


def nb(mean, theta, rng):
    return rng.poisson(mean * rng.gamma(theta, 1 / theta, mean.shape))


def tell(decode, library, theta, n_latent, rng):
    y = decode(rng.standard_normal((len(library), n_latent)))
    y = np.exp(y - y.max(1, keepdims=True))
    return nb(library[:, None] * y / y.sum(1, keepdims=True), theta, rng)


def tell_by_nbinom(decode, library, theta, n_latent, rng):
    z = rng.normal(size=(len(library), n_latent))
    mean = (library * special.softmax(decode(z), axis=1).T).T
    return rng.negative_binomial(theta, theta / (theta + mean))


def tell_cell_by_cell(decode, library, theta, n_latent, rng):
    z = rng.standard_normal((len(library), n_latent))
    rows = []
    for n, size in enumerate(library):
        y = decode(z[[n]])[0]
        y = np.exp(y - y.max())
        rows.append(rng.poisson(size * y / y.sum() * rng.gamma(theta, 1 / theta)))
    return sparse.csr_matrix(rows)


def tell_with_two_calls(decode, library, theta, n_latent, rng):
    z = rng.standard_normal((len(library), n_latent))
    logits = np.logaddexp.reduce(decode(z), axis=1, keepdims=True)
    shares = np.exp(decode(z) - logits)
    return torch.tensor(nb(library[:, None] * shares, theta, rng))


def told(change, states="standard_normal"):
    """The story with another way from logits and library to counts."""

    def wrong(decode, library, theta, n_latent, rng):
        y = decode(getattr(rng, states)((len(library), n_latent)))
        return change(y, library[:, None], theta, rng)

    return wrong


def without_largest(taken):
    """Right, while e^f can be stored."""

    def change(y, n, t, rng):
        y = np.exp(y - taken(y))
        return nb(n * y / y.sum(1, keepdims=True), t, rng)

    return change


def in_torch_without_largest(decode, library, theta, n_latent, rng):
    y = torch.from_numpy(decode(rng.standard_normal((len(library), n_latent)))).exp()
    mean = torch.from_numpy(library)[:, None] * y / y.sum(1, keepdim=True)
    torch.manual_seed(int(rng.integers(2**31)))
    gamma = torch.from_numpy(rng.gamma(theta, 1 / theta, mean.shape))
    return torch.poisson(mean * gamma)


def by_variance(a, b, theta):
    mean = (a + b) / 2
    return mean**2 / (mean_square(a, b, theta) - mean**2 - mean)


def mean_square(a, b, theta):
    return sum(m + m**2 / theta + m**2 for m in (a, b)) / 2


def by_adding_up(a, b, theta):
    x = np.arange(5000)
    p = sum(stats.nbinom.pmf(x, theta, theta / (theta + m)) / 2 for m in (a, b))
    mean = p @ x
    return np.float32(mean**2 / (p @ x**2 - mean**2 - mean))


def without_between(a, b, theta):
    return ((a + b) / 2) ** 2 / ((a**2 + b**2) / (2 * theta))


def pairs(shares, library, theta, rng, first, second):
    return sum(nb(library[n][:, None] * shares[n], theta, rng) for n in (first, second))


def doublets(shares, library, theta, rng):
    order = rng.permutation(len(shares))
    return pairs(shares, library, theta, rng, order, np.roll(order, 1))


def doublets_by_cell(shares, library, theta, rng):
    rows = []
    for _ in range(len(shares)):
        pair = rng.choice(len(shares), 2, replace=False)
        rows.append(nb(library[pair, None] * shares[pair], theta, rng).sum(0))
    return np.array(rows)


def doublets_of_neighbours(shares, library, theta, rng):
    mean = library[:, None] * shares
    return nb(mean, theta, rng) + nb(np.roll(mean, 1, axis=0), theta, rng)


def doublets_mirrored(shares, library, theta, rng):
    mean = library[:, None] * shares
    return sparse.csr_matrix(nb(mean, theta, rng) + nb(mean[::-1], theta, rng))


def with_itself(shares, library, theta, rng):
    same = np.arange(len(shares))
    return pairs(shares, library, theta, rng, same, same)


def drawn_with_replacement(shares, library, theta, rng):
    return pairs(shares, library, theta, rng, *rng.integers(len(shares), size=(2, len(shares))))


def merged(shares, library, theta, rng):
    order = rng.permutation(len(shares))
    return nb(library[:, None] * (shares[order] + shares) / 2, theta, rng)


def means_added(shares, library, theta, rng):
    mean = library[:, None] * shares
    return nb(mean + np.roll(mean, 1, axis=0), theta, rng)


def one_library(shares, library, theta, rng):
    j = np.roll(np.arange(len(shares)), 1)
    return nb(library[:, None] * shares, theta, rng) + nb(library[:, None] * shares[j], theta, rng)


def of_three(shares, library, theta, rng):
    mean = library[:, None] * shares
    return sum(nb(np.roll(mean, n, axis=0), theta, rng) for n in range(3))


def poisson_pair(shares, library, theta, rng):
    mean = library[:, None] * shares
    return rng.poisson(mean + np.roll(mean, 1, axis=0))


def factors_of_genes(shares, library, theta, rng):
    mean = library[:, None] * shares
    return sum(rng.poisson(m * rng.gamma(theta, 1 / theta)) for m in (mean, mean[::-1]))


def factors_of_droplets(shares, library, theta, rng):
    mean = library[:, None] * shares
    u = rng.gamma(20.0, 1 / 20, (len(mean), 1))  # an experiment's, instead of the genes'
    return sum(rng.poisson(m * u) for m in (mean, mean[::-1]))


RIGHT = {
    "3.1": (tell, tell_by_nbinom, tell_cell_by_cell, tell_with_two_calls),
    "3.2": (
        by_variance,
        lambda a, b, t: (a + b) ** 2 / ((a - b) ** 2 + 2 * (a * a + b * b) / t),
        by_adding_up,
    ),
    "3.3": (
        lambda: (np.array([1.0, 2, 3]), np.array([1.0, 5, 1])),
        lambda: ([0, 1, 2, 3], [4.0, 1, 1, 4]),
        lambda: torch.tensor([[0.1, 0.2, 0.3], [0.7, 0.1, 0.7]]),
        lambda: (part for part in (np.linspace(0, 2, 41), (np.linspace(0, 2, 41) - 1) ** 2)),
    ),
    "3.4": (
        lambda w, a: w @ np.linalg.inv(a),
        lambda w, a: np.linalg.solve(a.T, w.T).T,
        lambda w, a: torch.from_numpy(w).float() @ torch.from_numpy(a).float().inverse(),
        lambda w, a: np.linalg.lstsq(a.T, w.T, rcond=None)[0].T,
    ),
    "3.5": (doublets, doublets_by_cell, doublets_of_neighbours, doublets_mirrored),
}

WRONG = [
    (
        "3.1",
        told(lambda y, n, t, rng: nb(n * special.softmax(y, axis=0), t, rng)),
        "over the cells",
    ),
    ("3.1", told(lambda y, n, t, rng: nb(n * np.exp(y), t, rng)), "not divided"),
    ("3.1", told(lambda y, n, t, rng: nb(special.softmax(y, axis=1), t, rng)), "missing"),
    (
        "3.1",
        told(lambda y, n, t, rng: nb(n.mean() * special.softmax(y, axis=1), t, rng)),
        "same library",
    ),
    ("3.1", told(lambda y, n, t, rng: rng.poisson(n * special.softmax(y, axis=1))), "Poisson"),
    ("3.1", told(lambda y, n, t, rng: nb(n * special.softmax(y, axis=1), 1 / t, rng)), "swapped"),
    ("3.1", told(lambda y, n, t, rng: n * special.softmax(y, axis=1)), "whole numbers"),
    ("3.1", told(lambda y, n, t, rng: nb(n * special.softmax(y, axis=1), 2.0, rng)), "same θ"),
    (
        "3.1",
        told(
            lambda y, n, t, rng: rng.poisson(n * special.softmax(y, axis=1) * rng.gamma(t, 1 / t))
        ),
        "share a gene's gamma factor",
    ),
    (
        "3.1",
        told(
            lambda y, n, t, rng: rng.poisson(
                n * special.softmax(y, axis=1) * rng.gamma(t, t, y.shape)
            )
        ),
        "does the gamma factor have mean 1",
    ),
    (
        "3.1",
        told(lambda y, n, t, rng: nb(n * special.softmax(y, axis=1), t, rng), "random"),
        "not standard normal",
    ),
    (
        "3.1",
        told(lambda y, n, t, rng: nb(n * special.softmax(y, axis=1), t, np.random)),
        "with the same seed",
    ),
    ("3.1", told(without_largest(lambda y: 0)), "subtract each cell's largest"),
    ("3.1", told(without_largest(np.max)), "subtract each cell's largest"),
    ("3.1", told(without_largest(np.mean)), "subtract each cell's largest"),
    (
        "3.1",
        told(lambda y, n, t, rng: nb(n * special.softmax(y.clip(-50, 50), axis=1), t, rng)),
        "subtract each cell's largest",
    ),
    ("3.1", in_torch_without_largest, "subtract each cell's largest"),
    ("3.1", lambda f, n, t, k, rng: nb(n[:, None] * f(rng.normal(size=k)), t, rng), "one row"),
    ("3.2", without_between, "between the kinds is missing"),
    ("3.2", lambda a, b, t: 1 / by_variance(a, b, t), "this is 1/θ'"),
    ("3.2", lambda a, b, t: t, "kinds do not matter"),
    (
        "3.2",
        lambda a, b, t: mean_square(a, b, t) - ((a + b) / 2) ** 2,
        "this is the variance",
    ),
    (
        "3.2",
        lambda a, b, t: ((a + b) / 2) ** 2 / (((a + b) / 2) ** 2 / t + (a - b) ** 2 / 4),
        "average μ²",
    ),
    (
        "3.2",
        lambda a, b, t: ((a + b) / 2) ** 2 / (mean_square(a, b, t) - ((a + b) / 2) ** 2),
        "was not subtracted",
    ),
    (
        "3.2",
        lambda a, b, t: ((a + b) / 2) ** 2 / ((a * a + b * b) / 2 / t + (a - b) ** 2),
        "is (a − b)²/4",
    ),
    ("3.3", lambda: ([1, 2, 3], [2, 4, 6]), "correlation is 1"),
    ("3.3", lambda: ([1, 2, 3], [1, 5, 1.001]), "the map would show it"),
    ("3.3", lambda: ([1, 2, 3], [2, 2, 2]), "the same in all kinds"),
    ("3.3", lambda: ([1, 2], [1, 2]), "at least three"),
    ("3.3", lambda: ([1, 1, 2, 2], [1, 2, 1, 2]), "can't be computed"),
    ("3.3", lambda: ([1, np.nan, 3], [1, 5, 1]), "not finite"),
    ("3.3", lambda: ([-1, 0, 1], [1, 0, 1]), "negative"),
    ("3.3", lambda: ([1, 2, 3], [1, 5]), "the same length"),
    ("3.4", lambda w, a: w @ a, "the same way"),
    ("3.4", lambda w, a: w @ a.T, "right for a rotation"),
    ("3.4", lambda w, a: w, "nothing was turned"),
    ("3.4", lambda w, a: w @ np.linalg.inv(a).T, "transposed"),
    ("3.4", lambda w, a: (w @ np.linalg.inv(a)).T, "the weights are transposed"),
    ("3.4", lambda w, a: w @ (1 / a), "each entry of A"),
    ("3.5", means_added, "added before drawing"),
    ("3.5", one_library, "came with one library"),
    ("3.5", with_itself, "paired with itself"),
    ("3.5", drawn_with_replacement, "the same cell twice"),
    ("3.5", merged, "counts of one cell"),
    ("3.5", poisson_pair, "θ is not used"),
    ("3.5", lambda s, n, t, rng: doublets_mirrored(s, n, 1 / t, rng), "swapped"),
    ("3.5", lambda s, n, t, rng: n[:, None] * (s + rng.permutation(s)) + 0.5, "whole numbers"),
    ("3.5", of_three, "more than two cells"),
    ("3.5", factors_of_genes, "share a gene's gamma factor"),
    ("3.5", factors_of_droplets, "share one gamma factor"),
    ("3.5", lambda s, n, t, rng: doublets(s, n, t, np.random), "with the same seed"),
]
