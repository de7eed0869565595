"""Answers to the exercises of nbvae/teaching/exercises/counts.py, right and wrong."""

import numpy as np
import torch
from scipy import sparse

from nbvae import datasets


def thin_by_coins(counts, p, rng):
    return np.array([[(rng.random(int(c)) < p).sum() for c in row] for row in counts])


def thin_one_by_one(counts, p, rng):
    return sparse.csr_matrix([[rng.binomial(c, p) for c in row] for row in counts])


def thin_to_total(counts, p, rng):
    """The share p of all molecules, drawn without replacement: their number is fixed."""
    molecules = np.repeat(np.arange(counts.size), counts.ravel())
    kept = rng.choice(molecules, round(p * len(molecules)), replace=False)
    return np.bincount(kept, minlength=counts.size).reshape(counts.shape)


def thin_cells_to_total(counts, p, rng):
    return np.array([rng.multivariate_hypergeometric(row, round(p * row.sum())) for row in counts])


def thin_by_shared_coins(counts, p, rng):
    """Every gene of a cell tosses the same coins."""
    coins = rng.random((len(counts), counts.max())) < p
    return np.take_along_axis(np.c_[np.zeros(len(counts)), coins.cumsum(1)], counts, axis=1)


def clipped_normal(counts, p, rng):
    draw = rng.normal(p * counts, np.sqrt(counts * p * (1 - p)))
    return np.clip(np.rint(draw), 0, counts)


def index_by_dot(counts, library):
    share = counts.sum() / library.sum()
    rest = counts - share * library
    return rest @ rest / counts.sum()


def index_by_loop(counts, library):
    share, total = sum(counts) / sum(library), 0.0
    for c, size in zip(counts, library, strict=True):
        total += (c - share * size) ** 2
    return total / (share * sum(library))


def index_in_float32(counts, library):
    c, s = (torch.tensor(a, dtype=torch.float32) for a in (counts, library))
    mean = s * c.sum() / s.sum()
    return (c - mean).square().mean() / mean.mean()


def expected(counts, library):
    return library * counts.sum() / library.sum()


def shallow_and_deep(rng):
    shares = rng.dirichlet(np.full(50, 5.0))
    return rng.multinomial(30, shares, 200), rng.multinomial(500, shares, 200)


def of_the_same_depth(rng):
    first, second = rng.dirichlet(np.full(50, 5.0), 2)
    return rng.multinomial(300, first, 200), rng.multinomial(300, second, 200)


def all_b_cells():
    adata = datasets.pbmc68k_sample()
    return adata, adata.X[(adata.obs["cell_type"] == "CD19+ B").to_numpy()].toarray()


def index_of_columns(x):
    library = x.sum(1)
    mean = np.outer(library, x.sum(0) / library.sum())
    return ((x - mean) ** 2).sum(0) / np.maximum(mean.sum(0), 1e-12)


def one_odd_cell():
    """A gene of the B cells that is above the line because of a single cell."""
    adata, x = all_b_cells()
    whole = index_of_columns(x)
    for g in np.argsort(-whole):
        without = np.delete(x[:, [g]], x[:, g].argmax(), axis=0)
        library = np.delete(x.sum(1), x[:, g].argmax())
        mean = library * without.sum() / library.sum()
        if whole[g] > 2 and ((without[:, 0] - mean) ** 2).sum() / max(mean.sum(), 1e-12) < 2:
            return adata.var_names[g]
    raise AssertionError("there is no such gene")


def noisy_elsewhere():
    """A gene that is above the line among all cells, not among the B cells."""
    adata, x = all_b_cells()
    here, everywhere = index_of_columns(x), index_of_columns(adata.X.toarray())
    return adata.var_names[np.where(here < 1.5, everywhere, 0).argmax()]


RIGHT = {
    "1.1": (lambda c, p, r: r.binomial(c, p), thin_by_coins, thin_one_by_one),
    "1.2": (
        lambda z, f: z**f,
        lambda z, f: np.exp(f * np.log(z)),
        lambda z, f: torch.tensor(z, requires_grad=True) ** f,
        lambda z, f: np.float16(z**f),
    ),
    "1.3": (
        index_by_dot,
        index_by_loop,
        index_in_float32,
        lambda c, s: np.float32(index_by_dot(c, s)),
    ),
    "1.4": (
        shallow_and_deep,
        lambda r: (r.poisson(0.5, (200, 50)), r.poisson(8.0, (200, 50))),
        lambda r: [sparse.csr_matrix(r.poisson(m, (200, 50))) for m in (5.0, 0.3)],
        lambda r: (r.poisson(m, (200, 50)) for m in (0.5, 9.0)),
    ),
    "1.5": (lambda: "IGJ", lambda: np.array(["MZB1"]), lambda: np.str_("IGLL5")),
}

WRONG = [
    ("1.1", lambda c, p, r: r.poisson(p * c), "have grown"),
    ("1.1", lambda c, p, r: np.minimum(r.poisson(c * p), c), "is no toss of x coins"),
    ("1.1", clipped_normal, "is no toss of x coins"),
    ("1.1", lambda c, p, r: np.random.binomial(c, p), "with the same seed"),
    ("1.1", lambda c, p, r: np.random.default_rng(0).binomial(c, p), "every generator"),
    ("1.1", lambda c, p, r: np.rint(p * c), "where is the chance"),
    ("1.1", lambda c, p, r: p * c * r.random(c.shape), "whole numbers"),
    ("1.1", lambda c, p, r: c * (r.random(c.shape) < p), "together"),
    ("1.1", lambda c, p, r: r.binomial(c, 1 - p), "to be lost"),
    ("1.1", thin_to_total, "exactly the share p of all"),
    ("1.1", thin_cells_to_total, "keeps the share p of its total"),
    ("1.1", thin_by_shared_coins, "share their coins"),
    ("1.1", lambda c, p, r: r.integers(0, c + 1), "on average"),
    ("1.1", lambda c, p, r: r.binomial(c, p).sum(axis=1), "should have shape"),
    ("1.2", lambda z, f: z / f, "halve"),
    ("1.2", lambda z, f: 1 - z**f, "not 0"),
    ("1.2", lambda z, f: 1 - f * (1 - z), "more than all"),
    ("1.2", lambda z, f: max(0, 1 - f * (1 - z)), "more than all"),
    ("1.2", lambda z, f: z ** (1 / f), "less deep"),
    ("1.2", lambda z, f: -f * np.log(z), "this is the mean"),
    ("1.2", lambda z, f: np.exp(-f * z), "is taken for the mean"),
    ("1.2", lambda z, f: np.array([z, z]) ** f, "one number"),
    ("1.3", lambda c, s: c.var() / c.mean(), "left out"),
    (
        "1.3",
        lambda c, s: np.mean((c - expected(c, s)) ** 2 / expected(c, s)),
        "its own expectation",
    ),
    ("1.3", lambda c, s: c.sum() * index_by_dot(c, s), "sum of squares"),
    ("1.3", lambda c, s: (c - expected(c, s)) ** 2, "one for each cell"),
    ("1.3", lambda c, s: (c / s).var() / (c / s).mean() * s.mean(), "divided out before"),
    ("1.3", lambda c, s: 1 / index_by_dot(c, s), "the inverse"),
    (
        "1.3",
        lambda c, s: ((c - s * (c / s).mean()) ** 2).sum() / (s * (c / s).mean()).sum(),
        "small cells count too much",
    ),
    ("1.4", lambda r: (r.poisson(4, (200, 50)), r.poisson(4, (200, 50))), "only"),
    ("1.4", of_the_same_depth, "the shares differ"),
    (
        "1.4",
        lambda r: (r.poisson(4, (200, 50)), r.poisson(np.linspace(1, 9, 50), (200, 50))),
        "the shares differ",
    ),
    ("1.4", lambda r: (r.random((200, 50)), r.random((200, 50))), "not counts"),
    ("1.4", lambda r: (r.poisson(1, (20, 50)), r.poisson(9, (20, 50))), "shape"),
    ("1.4", lambda r: (r.poisson(0.005, (200, 50)), r.poisson(9, (200, 50))), "empty"),
    ("1.4", lambda r: r.poisson(1, (200, 50)), "two groups"),
    ("1.5", one_odd_cell, "one cell"),
    ("1.5", lambda: "PARK7", "the index of"),
    ("1.5", noisy_elsewhere, "the index of"),
    ("1.5", lambda: "CD45", "not among"),
    ("1.5", lambda: 17, "the name of a gene"),
    ("1.5", lambda: ["IGJ", "MZB1"], "one name"),
]
