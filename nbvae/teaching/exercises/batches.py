"""Checks for chapter 10, two experiments; those with a pencil are in `thinning`."""

from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from nbvae.teaching.exercises._check import Diagnosis, exercise, inputs
from nbvae.teaching.exercises._integrations import embeddings, with_a_small_experiment
from nbvae.teaching.exercises._reading import array, close, compare, number

N_NEIGHBOURS = 15


@exercise("10.3", "which is the aim: not one half, and not the same for every table.")
def check_perfect_mixing(perfect_mixing: Callable) -> Diagnosis:
    """List the cells one by one and look at all others of the type."""
    rng = inputs()
    tables = [rng.integers(0, 9, shape) + 1 for shape in ((3, 2), (2, 3), (4, 4))]
    tables.append(np.concatenate([tables[0], [[1, 0], [7, 0]]]))  # one cell; one experiment
    slips = {
        "a cell is no neighbour of its own: n − 1 others, m − 1 of them of its experiment": (
            lambda t: (t**2 / t.sum(1, keepdims=True)).sum() / t.sum(),
            lambda t: (_many(t) ** 2 / _many(t).sum(1, keepdims=True)).sum() / _many(t).sum(),
        ),
        "m − 1 of the n − 1 others are of a cell's experiment, not m": lambda t: (
            (_many(t) ** 2 / (_many(t).sum(1, keepdims=True) - 1)).sum() / _many(t).sum()
        ),
        "one half, or one over the number of experiments, does not look at the table":
        (lambda t: 0.5, lambda t: 1 / t.shape[1]),
        "this mixes all types with each other; a cell's neighbours are of its own type": (
            lambda t: ((t.sum(0) / t.sum()) ** 2).sum(),
            lambda t: (t.sum(0) * (t.sum(0) - 1)).sum() / t.sum() / (t.sum() - 1),
        ),
        "each type counts alike here; the mean is over cells": lambda t: _rates(t).mean(),
        "each type and experiment counts alike here; the mean is over cells": lambda t: np.mean(
            (_many(t) - 1) / (_many(t).sum(1, keepdims=True) - 1)
        ),
        "a type with one cell has no neighbours; leave it out of the number of cells, too":
        lambda t: (_rates(t) * _many(t).sum(1)).sum() / t.sum(),
        "this is the share from the other experiments": lambda t: 1 - _mixing_by_listing(t),
        "rows are types, columns experiments; here they are swapped":
        lambda t: _mixing_by_listing(t.T),
        "a type with one cell has no neighbours: leave it out": lambda t: (
            np.nan if (t.sum(1) < 2).any() else _mixing_by_listing(t)
        ),
    }  # fmt: skip
    if np.isnan(number(perfect_mixing(tables[-1].copy()))):
        return "a table with a type of one cell gives NaN: it has no neighbours, leave it out."
    floats = {key: tuple(map(_of_floats, value if isinstance(value, tuple) else (value,)))
              for key, value in slips.items()}  # fmt: skip
    return compare(
        lambda t: perfect_mixing(t.copy()), _mixing_by_listing, [(t,) for t in tables], floats
    )


def _of_floats(slip: Callable) -> Callable:
    return lambda table: slip(np.asarray(table, dtype=float))


def _many(table: np.ndarray) -> np.ndarray:
    """The rows of types with more than one cell."""
    return table[table.sum(axis=1) > 1]


def _rates(table: np.ndarray) -> np.ndarray:
    many = _many(table)
    n = many.sum(axis=1, keepdims=True)
    return (many * (many - 1) / (n - 1)).sum(axis=1) / n[:, 0]


def _mixing_by_listing(table: np.ndarray) -> float:
    rows = np.asarray(table).astype(int).tolist()
    cells = [(t, j) for t, row in enumerate(rows) for j, m in enumerate(row) for _ in range(m)]
    scores = []
    for i, (t, j) in enumerate(cells):
        others = [b for k, (a, b) in enumerate(cells) if a == t and k != i]
        if others:
            scores.append(sum(b == j for b in others) / len(others))
    return float(np.mean(scores))


@exercise("10.4", "the same cloud, perfectly mixed, and worth nothing. Ask for a second number.")
def check_mixed(mixed: Callable) -> Diagnosis:
    """The cloud first, then the mixing, then what is left of the kinds."""
    rng = inputs()
    kinds, batch = np.repeat(np.arange(4), 60), np.tile([0, 1], 120)
    latent = np.eye(4)[kinds] * 8 + rng.standard_normal((240, 4))
    latent[:, 0] += 6 * batch
    order = np.lexsort([kinds, batch])  # all of one experiment, then all of the other
    latent, batch, kinds = latent[order], batch[order], kinds[order]
    points = array(mixed(latent.copy(), batch.copy()), latent.shape, "the table of places")
    if complaint := _changed_cloud(points, latent):
        return complaint
    mixing, agreement = _alike(points, batch), _alike(points, kinds)
    if mixing > 0.56:
        return f"the experiments are still apart: {mixing:.2f} of the neighbours are a cell's own."
    if agreement > 0.35:
        return (
            f"too good: {agreement:.2f} of the neighbours have a cell's own kind. "
            "Give the points to cells of any kind."
        )
    return None


def _changed_cloud(points: np.ndarray, latent: np.ndarray) -> Diagnosis:
    if close(points, latent, within=1e-5):
        return "nothing has moved."
    if not close(np.sort(points, axis=0), np.sort(latent, axis=0), within=1e-5):
        return "the cloud has changed: give the same points to other cells, each point once."
    found = NearestNeighbors(n_neighbors=1).fit(latent).kneighbors(points)
    if found[0].max() > 1e-4:
        return "the columns went separate ways: a point must stay whole."
    if len(np.unique(found[1])) < len(latent):
        return "some points are given to several cells and others to none."
    return None


@exercise("10.5", "all four kinds of failure score less than success. Now try it without labels.")
def check_integration_score(integration_score: Callable) -> Diagnosis:
    """Embeddings of cells with known kinds: like experiments, one lacks a kind, one is small."""
    rng = inputs()
    centres = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0]])
    for lacks in (False, True, True, True):
        kinds = np.repeat(np.arange(3), 80)
        batch = rng.permutation(240) % 2
        if lacks:
            batch[kinds == 2] = 0
        names = np.array(["B", "NK", "T"])[kinds]
        good, rivals = embeddings(centres, kinds, batch, lacks, rng)

        def score_of(
            points: np.ndarray, batch: np.ndarray = batch, names: np.ndarray = names
        ) -> float:
            return float(number(integration_score(points.copy(), batch.copy(), names.copy())))

        if not np.isfinite(score := score_of(good)):
            return f"the score of a good integration is {score}; return a finite number."
        lost = [name for name, points in rivals.items() if not score_of(points) < score - 1e-3]
        if len(lost) == len(rivals):
            return "a good integration beats none of the bad ones: is higher better?"
        if lost:
            where = ", where experiment 1 lacks a kind" if lacks else ""
            return f"a good integration should beat {lost[0]}{where}."
    return _more_than_chance(integration_score, rng)


def _more_than_chance(integration_score: Callable, rng: np.random.Generator) -> Diagnosis:
    good, bad, batch, names = with_a_small_experiment(rng)
    good_score, bad_score = (
        float(number(integration_score(points, batch.copy(), names.copy())))
        for points in (good, bad)
    )
    if bad_score < good_score - 1e-3:
        return None
    return (
        "where experiment 1 is small, a good integration should beat one that draws its cells to "
        "the middle of their kind. To mix more than chance is a fault, too, and ½ is not the aim: "
        "compare with perfect_mixing."
    )


def _alike(points: np.ndarray, labels: np.ndarray) -> float:
    found = NearestNeighbors(n_neighbors=N_NEIGHBOURS + 1).fit(points)
    nearest = found.kneighbors(points, return_distance=False)[:, 1:]
    return float((labels[nearest] == labels[:, None]).mean())
