"""Answers to the exercises of nbvae/teaching/exercises/generative_model.py, right and wrong."""

import numpy as np
from scipy import special


def nb(mean, theta, rng):
    return rng.poisson(mean * rng.gamma(theta, 1 / theta, mean.shape))


def tell(decode, library, theta, n_latent, rng):
    y = np.exp(decode(rng.standard_normal((len(library), n_latent))))
    return nb(library[:, None] * y / y.sum(1, keepdims=True), theta, rng)


def tell_by_nbinom(decode, library, theta, n_latent, rng):
    z = rng.normal(size=(len(library), n_latent))
    mean = (library * special.softmax(decode(z), axis=1).T).T
    return rng.negative_binomial(theta, theta / (theta + mean))


def told(change):
    """The story with another way from logits and library to counts."""

    def wrong(decode, library, theta, n_latent, rng):
        y = decode(rng.standard_normal((len(library), n_latent)))
        return change(y, library[:, None], theta, rng)

    return wrong


def by_variance(a, b, theta):
    mean = (a + b) / 2
    return mean**2 / (mean_square(a, b, theta) - mean**2 - mean)


def mean_square(a, b, theta):
    return sum(m + m**2 / theta + m**2 for m in (a, b)) / 2


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


def with_itself(shares, library, theta, rng):
    same = np.arange(len(shares))
    return pairs(shares, library, theta, rng, same, same)


def merged(shares, library, theta, rng):
    order = rng.permutation(len(shares))
    return nb(library[:, None] * (shares[order] + shares) / 2, theta, rng)


RIGHT = {
    "3.1": (tell, tell_by_nbinom),
    "3.2": (
        by_variance,
        lambda a, b, t: (a + b) ** 2 / ((a - b) ** 2 + 2 * (a * a + b * b) / t),
    ),
    "3.3": (
        lambda: (np.array([1.0, 2, 3]), np.array([1.0, 5, 1])),
        lambda: ([0, 1, 2, 3], [4.0, 1, 1, 4]),
    ),
    "3.4": (
        lambda w, a: w @ np.linalg.inv(a),
        lambda w, a: np.linalg.solve(a.T, w.T).T,
    ),
    "3.5": (doublets, doublets_by_cell),
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
    ("3.3", lambda: ([1, 2, 3], [2, 4, 6]), "correlation is 1.00"),
    ("3.3", lambda: ([1, 2, 3], [2, 2, 2]), "the same in all kinds"),
    ("3.3", lambda: ([1, 2], [1, 2]), "at least three"),
    ("3.3", lambda: ([1, 1, 2, 2], [1, 2, 1, 2]), "can't be computed"),
    ("3.4", lambda w, a: w @ a, "the same way"),
    ("3.4", lambda w, a: w @ a.T, "right for a rotation"),
    ("3.4", lambda w, a: w, "nothing was turned"),
    ("3.4", lambda w, a: w @ np.linalg.inv(a).T, "transposed"),
    ("3.5", with_itself, "paired with itself"),
    ("3.5", merged, "counts of one cell"),
    (
        "3.5",
        lambda s, n, t, rng: rng.poisson(n[:, None] * (s + rng.permutation(s))),
        "θ is not used",
    ),
    ("3.5", lambda s, n, t, rng: n[:, None] * (s + rng.permutation(s)) + 0.5, "whole numbers"),
]
