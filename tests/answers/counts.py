"""Answers to the exercises of nbvae/teaching/exercises/counts.py, right and wrong."""

import numpy as np

from nbvae import datasets


def thin_by_coins(counts, p, rng):
    return np.array([[(rng.random(int(c)) < p).sum() for c in row] for row in counts])


def index_by_dot(counts, library):
    share = counts.sum() / library.sum()
    rest = counts - share * library
    return rest @ rest / counts.sum()


def index_by_loop(counts, library):
    share, total = sum(counts) / sum(library), 0.0
    for c, size in zip(counts, library, strict=True):
        total += (c - share * size) ** 2
    return total / (share * sum(library))


def shallow_and_deep(rng):
    shares = rng.dirichlet(np.full(50, 5.0))
    return rng.multinomial(30, shares, 200), rng.multinomial(500, shares, 200)


RIGHT = {
    "1.1": (lambda c, p, r: r.binomial(c, p), thin_by_coins),
    "1.2": (lambda z, f: z**f, lambda z, f: np.exp(f * np.log(z))),
    "1.3": (index_by_dot, index_by_loop),
    "1.4": (
        shallow_and_deep,
        lambda r: (r.poisson(0.5, (200, 50)), r.poisson(8.0, (200, 50))),
    ),
    "1.5": (lambda: "IGJ", lambda: "MZB1"),
}


def one_odd_cell():
    """A gene of the B cells that is above the line because of a single cell."""
    adata = datasets.pbmc68k_sample()
    x = adata.X[(adata.obs["cell_type"] == "CD19+ B").to_numpy()].toarray()
    library = x.sum(1)

    def index(rows):
        mean = np.outer(library[rows], x[rows].sum(0) / library[rows].sum())
        return ((x[rows] - mean) ** 2).sum(0) / np.maximum(mean.sum(0), 1e-12)

    whole = index(np.arange(len(x)))
    for g in np.argsort(-whole):
        without = np.delete(np.arange(len(x)), x[:, g].argmax())
        if whole[g] > 2 and x[without, g].sum() > 0 and index(without)[g] < 2:
            return adata.var_names[g]
    raise AssertionError("there is no such gene")


WRONG = [
    ("1.1", lambda c, p, r: np.rint(p * c), "where is the chance"),
    ("1.1", lambda c, p, r: r.poisson(p * c), "have grown"),
    ("1.1", lambda c, p, r: p * c * r.random(c.shape), "whole numbers"),
    ("1.1", lambda c, p, r: c * (r.random(c.shape) < p), "together"),
    ("1.1", lambda c, p, r: r.binomial(c, 1 - p), "to be lost"),
    ("1.2", lambda z, f: z / f, "halve"),
    ("1.2", lambda z, f: 1 - z**f, "not 0"),
    ("1.2", lambda z, f: 1 - f * (1 - z), "more than all"),
    ("1.2", lambda z, f: z ** (1 / f), "less deep"),
    ("1.3", lambda c, s: c.var() / c.mean(), "left out"),
    (
        "1.3",
        lambda c, s: np.mean((c - s * c.sum() / s.sum()) ** 2 / (s * c.sum() / s.sum())),
        "its own expectation",
    ),
    ("1.3", lambda c, s: c.sum() * index_by_dot(c, s), "sum of squares"),
    ("1.3", lambda c, s: (c - s * c.sum() / s.sum()) ** 2, "one for each cell"),
    ("1.4", lambda r: (r.poisson(4, (200, 50)), r.poisson(4, (200, 50))), "only"),
    (
        "1.4",
        lambda r: (r.poisson(4, (200, 50)), r.poisson(np.linspace(1, 9, 50), (200, 50))),
        "the shares differ",
    ),
    ("1.4", lambda r: (r.random((200, 50)), r.random((200, 50))), "not counts"),
    ("1.4", lambda r: (r.poisson(1, (20, 50)), r.poisson(9, (20, 50))), "shape"),
    ("1.5", lambda: "CD45", "not among"),
    ("1.5", lambda: "PARK7", "the index of"),
    ("1.5", one_odd_cell, "one cell"),
]
