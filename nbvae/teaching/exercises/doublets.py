"""The check of exercise 3.5, two cells in a droplet, whichever cells a reader pairs."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nbvae.teaching.exercises._check import Diagnosis, exercise, inputs
from nbvae.teaching.exercises._drawing import SIGMAS, generator_slip
from nbvae.teaching.exercises._reading import array

N_CELLS, N_COMMON = 200, 4
N_TABLES = 8


class _Case(NamedTuple):
    """Each cell has a gene that no other has, its mark, so that the two of a droplet are known."""

    shares: np.ndarray  # (N, N + common): the marks, then the common genes
    library: np.ndarray  # (N,)
    theta: np.ndarray  # (N + common,): marks hardly scatter


class _Pairs(NamedTuple):
    """What the marks say: who is in each droplet of many tables, and with how much."""

    x: np.ndarray  # (droplets, N + common)
    first: np.ndarray  # (droplets,), a cell
    second: np.ndarray


@exercise("3.5", "detectors of doublets do the same with pairs of real cells (chapter 12).")
def check_doublets(doublets: Callable) -> Diagnosis:
    """Read off the marks who was paired with whom; then compare with what each cell brings."""
    case = _case(inputs())

    def draw(rng: np.random.Generator) -> object:
        return doublets(case.shares.copy(), case.library.copy(), case.theta.copy(), rng)

    tables = [
        array(draw(np.random.default_rng(seed)), case.shares.shape, "the table of counts")
        for seed in range(N_TABLES)
    ]
    x = np.concatenate(tables)
    if (x < 0).any() or (x != np.round(x)).any():
        return "counts are whole numbers from 0 up."
    if x[:, :N_CELLS].max() > 3 * 0.4 * case.library.max():
        return "counts many times their mean where θ is large: are θ and 1/θ swapped?"
    depth = x.sum(1).mean() / case.library.mean()
    inside = (x[:, :N_CELLS] > 0).sum(1)
    if complaint := _wrong_company(inside, depth):
        return complaint
    two = np.argsort(-x[:, :N_CELLS], axis=1)[:, :2].T
    pairs = _Pairs(x, *two)
    return _wrong_libraries(pairs, case) or _wrong_scatter(pairs, case) or generator_slip(draw)


def _case(rng: np.random.Generator) -> _Case:
    common = rng.dirichlet(np.full(N_COMMON, 20.0), N_CELLS) * 0.6
    shares = np.concatenate([0.4 * np.eye(N_CELLS), common], axis=1)
    library = rng.permutation(np.repeat([100.0, 300.0], N_CELLS // 2))
    theta = np.concatenate([np.full(N_CELLS, 200.0), rng.permutation([0.7, 1.0, 1.5, 2.0])])
    return _Case(shares, library, theta)


def _wrong_company(inside: np.ndarray, depth: float) -> Diagnosis:
    """Count the cells of a droplet, and its molecules."""
    if depth < 1.3:
        return "a droplet has the counts of one cell; two cells bring twice as many."
    if (inside == 1).mean() > 0.5:
        return "a cell was paired with itself; a droplet holds two different cells."
    if (inside == 1).any():
        return f"{(inside == 1).mean():.1%} of the droplets hold the same cell twice."
    if (inside > 2).any():
        return "some droplets hold molecules of more than two cells."
    if depth > 2.7:
        return f"a droplet has {depth:.1f} times the counts of a cell; two cells bring twice."
    return None


def _wrong_libraries(pairs: _Pairs, case: _Case) -> Diagnosis:
    """Ask by its mark whether each cell came with its own library."""
    rows = np.arange(len(pairs.x))
    slopes = []
    for cell, other in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
        mixed = case.library[cell] != case.library[other]
        if mixed.any():
            own = pairs.x[rows, cell] / (0.4 * case.library[cell])
            slopes.append(own[mixed])
    mark = np.concatenate(slopes) if slopes else np.ones(1)
    if abs(mark.mean() - 1) > 0.25 or mark.std() > 0.5:
        return "the two came with one library; each cell has its own."
    return None


def _wrong_scatter(pairs: _Pairs, case: _Case) -> Diagnosis:
    """Compare the scatter of the common genes with that of two counts, each with its own factor."""
    theta = case.theta[N_CELLS:]
    of_two = [case.library[c][:, None] * case.shares[c, N_CELLS:] for c in pairs[1:]]
    mean, x = sum(of_two), pairs.x[:, N_CELLS:]
    by_table = x.reshape(N_TABLES, N_CELLS, -1).mean(1) / mean.reshape(N_TABLES, N_CELLS, -1).mean(
        1
    )
    if by_table.std() > 0.25:
        return "all cells share a gene's gamma factor: give rng.gamma the size of the table."
    if abs(by_table.mean() - 1) > 0.1:
        return "the common genes of the two do not add up to the means of both."
    if complaint := _shared_factors(x, mean):
        return complaint
    extra = ((x - mean) ** 2 - mean).sum(0)
    rivals = {
        "right": (sum(m**2 for m in of_two) / theta).sum(0),
        "the counts are Poisson: θ is not used": 0 * theta,
        "the means were added before drawing: each cell has a gamma factor of its own, so draw "
        "its counts and add those": (mean**2 / theta).sum(0),
        "θ and 1/θ are swapped": (sum(m**2 for m in of_two) * theta).sum(0),
        "all genes have the same θ": (sum(m**2 for m in of_two)).sum(0) * (1 / theta).mean(),
    }
    off = {name: np.abs((extra - r) / rivals["right"]).mean() for name, r in rivals.items()}
    nearest = min(off, key=lambda name: off[name])
    if nearest != "right":
        return f"{nearest}."
    if off["right"] > 0.35:
        return "the counts of a cell do not scatter like μ + μ²/θ."
    return None


def _shared_factors(x: np.ndarray, mean: np.ndarray) -> Diagnosis:
    residuals = (x - mean) / mean
    tied = np.corrcoef(residuals, rowvar=False)[np.triu_indices(N_COMMON, k=1)]
    if tied.min() > SIGMAS / np.sqrt(len(x)) + 0.1:
        return "the genes of a droplet share one gamma factor; each count has its own."
    return None
