"""Checks for chapter 8, criticism."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._drawing import IMPOSSIBLE, SIGMAS, generator_slip
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import array, close, compare, number


@exercise("8.1", "and a tie counts half, so that a table of zeros is neither low nor high.")
def check_p_value(p_value: Callable) -> Diagnosis:
    """Replicates below, ties and more above; then nothing but ties."""
    rng = inputs()
    cases: list[tuple] = []
    for below, ties, above in ((3, 2, 5), (6, 4, 3), (0, 7, 2)):
        values = np.r_[rng.uniform(0, 3, below), np.full(ties, 4.0), rng.uniform(5, 9, above)]
        cases.append((4.0, rng.permutation(values)))
    cases.append((0.0, np.zeros(10)))
    if array(p_value(4.0, cases[0][1].copy())).size > 1:
        return "it should be one number, a share of the replicates."
    slips = {
        "ties are left out; half of them count": lambda o, r: (r < o).mean(),
        "all ties count; only half should": lambda o, r: (r <= o).mean(),
        "this is the share above; the share below was asked for":
        lambda o, r: (r > o).mean() + 0.5 * (r == o).mean(),
        "this is the share above or equal; the share below was asked for, and half of the ties":
        (lambda o, r: (r >= o).mean(), lambda o, r: (r > o).mean()),
        "this is a count; divide by the number of replicates":
        lambda o, r: (r < o).sum() + 0.5 * (r == o).sum(),
        "ties are left out of the number of replicates, too; half of them count":
        lambda o, r: (r < o).sum() / max((r != o).sum(), 1),
        "this adds ½ for the ties however many there are; add half of their share":
        (lambda o, r: (r < o).mean() + 0.5, lambda o, r: (r < o).mean() + 0.5 * (r == o).any()),
        "this is two-sided; the share below was asked for": lambda o, r: 2 * min(
            _share_below(o, r), 1 - _share_below(o, r)
        ),
    }  # fmt: skip
    return compare(lambda o, r: p_value(o, r.copy()), _share_below, cases, slips)


def _share_below(observed: float, replicated: np.ndarray) -> float:
    """The mean of the shares below and at most, which differ by the ties."""
    ordered = np.sort(replicated)
    ends = [np.searchsorted(ordered, observed, side=side) for side in ("left", "right")]
    return float(np.mean(ends) / len(ordered))


@formula("8.2", "pairing is worth as many cells as 1 / (1 − r) says.")
def _cells_needed() -> Formula:
    """Find N by its definition, with a covariance matrix; then by the usual slips."""
    rng = inputs()
    cases = [(10.0, 0.5, 2.0, 2.0), (16.0, 0.75, 4.0, 3.0)]  # whole numbers: 100 and 72
    for r, k in ((0.95, 3.0), (0.2, 2.0), (0.6, 2.5)):
        sd, part = float(rng.uniform(20, 60)), float(rng.uniform(0.15, 0.45))
        gain = k * sd * math.sqrt(2 * (1 - r) / (int(rng.integers(25, 90)) + part))
        cases.append((sd, r, gain, k))
    slips = {
        "this is the unpaired answer: the correlation is missing":
        _rounded(lambda s, r, d, k: 2 * (k * s / d) ** 2),
        "one model's variance is missing: a difference has that of both":
        _rounded(lambda s, r, d, k: (1 - r) * (k * s / d) ** 2),
        "the standard error falls with √N: square it":
        _rounded(lambda s, r, d, k: k * s * math.sqrt(2 * (1 - r)) / d),
        "k is not squared": _rounded(lambda s, r, d, k: k * 2 * (1 - r) * (s / d) ** 2),
        "k is missing": _rounded(lambda s, r, d, k: 2 * (1 - r) * (s / d) ** 2),
        "the gain is not squared": _rounded(lambda s, r, d, k: k**2 * 2 * (1 - r) * s**2 / d),
        "the correlation has the wrong sign: what the models share cancels in a difference":
        _rounded(lambda s, r, d, k: 2 * (1 + r) * (k * s / d) ** 2),
        "r stands alone: Var(a − b) has 1 − r":
        _rounded(lambda s, r, d, k: 2 * r * (k * s / d) ** 2),
        "r is squared; a covariance is r s²":
        _rounded(lambda s, r, d, k: 2 * (1 - r**2) * (k * s / d) ** 2),
        "the formula is right; round up to a whole number of cells": (
            _needed, lambda *case: math.floor(_needed(*case)), lambda *case: round(_needed(*case))
        ),
        "where the formula gives a whole number, that many cells are enough: round up, don't add 1":
        lambda *case: math.floor(_needed(*case) + 1e-9) + 1,
    }  # fmt: skip
    return Formula(_first_n, cases, slips, names=("sd", "r", "gain", "k"))


def _needed(s: float, r: float, delta: float, k: float) -> float:
    return 2 * (1 - r) * (k * s / delta) ** 2


def _rounded(formula: Callable[..., float]) -> tuple[Callable[..., float], ...]:
    """A wrong formula, however its result is rounded."""
    return (
        formula,
        lambda *case: math.ceil(formula(*case) - 1e-9),
        lambda *case: math.floor(formula(*case)),
        lambda *case: math.floor(formula(*case)) + 1,
    )


def _first_n(s: float, r: float, delta: float, k: float) -> int:
    """Count up until the standard error is small enough."""
    contrast, covariance = np.array([1.0, -1.0]), s**2 * np.array([[1, r], [r, 1]])
    variance, n = contrast @ covariance @ contrast, 1
    while k * np.sqrt(variance / n) > delta * (1 + 1e-12):
        n += 1
    return n


@exercise("8.3", "uniform where the model is right, and each φ inside its own step.")
def check_pit(pit: Callable) -> Diagnosis:
    """Draw counts as a gamma–Poisson mixture; compare with sums of probabilities."""
    rng = inputs()
    mu, theta = rng.uniform(0.3, 6, (50, 100)), rng.uniform(0.4, 5, (50, 100))
    x = rng.poisson(mu * rng.gamma(theta) / theta).astype(float)

    def answer(generator: np.random.Generator) -> object:
        return pit(x.copy(), mu.copy(), theta.copy(), generator)

    u = array(answer(np.random.default_rng(1)), x.shape, "φ")
    if not np.isfinite(u).all():
        return "some values are not finite."
    if (u < 0).any() or (u > 1).any():
        return "φ is a probability, between 0 and 1; some values are not."
    below, upto = _cumulated(x, mu, theta)
    if not _inside(u, below, upto):
        return _wrong_steps(u, x, mu, theta)
    if close(u, upto, within=1e-5) or close(u, below, within=1e-5):
        return "this is the end of the step, F itself; draw uniformly inside it."
    if close(u, (below + upto) / 2, within=1e-5):
        return "this is the middle of the step: not random, so not uniform."
    place = ((u - below) / np.maximum(upto - below, 1e-12)).ravel()
    if np.unique(place.round(3)).size < 10:
        return "all counts share one v; each needs its own."
    if any(np.ptp(place.reshape(x.shape), axis=axis).mean() < 0.1 for axis in (0, 1)):
        return "the counts of a row or a column share one v; each needs its own."
    if stats.kstest(place, "uniform").pvalue < IMPOSSIBLE:
        return "inside a step φ is not uniform."
    return generator_slip(answer)


def _inside(u: np.ndarray, below: np.ndarray, upto: np.ndarray) -> bool:
    slack = 1e-9 + 16 * float(np.finfo(u.dtype).eps)
    return bool((u >= below - slack).all() and (u <= upto + slack).all())


def _wrong_steps(u: np.ndarray, x: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> str:
    if _inside(u, *_cumulated(x, mu, 1 / theta)):
        return "θ and 1/θ are swapped: n of scipy's nbinom is θ."
    tail = stats.nbinom(theta, mu / (theta + mu))
    if _inside(u, tail.cdf(x - 1), tail.cdf(x)):
        return "p and 1 − p are swapped: the mean n (1 − p) / p must be μ."
    below, upto = _cumulated(x, mu, theta)
    if _inside(u, upto, _cumulated(x + 1, mu, theta)[1]):
        return "this is the step of x + 1; that of x goes from F(x − 1) to F(x)."
    if _inside(1 - u, below, upto):
        return "this is 1 − φ, the probability of more."
    if _inside(u, np.zeros_like(upto), upto):
        return "this is drawn between 0 and F(x); the step begins at F(x − 1)."
    poisson = stats.poisson(mu)
    if _inside(u, poisson.cdf(x - 1), poisson.cdf(x)):
        return "these are the steps of the Poisson distribution: θ is not used."
    return Unexplained("some φ lie outside their step from F(x − 1) to F(x).")


def _cumulated(x: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F(x − 1) and F(x), by adding up probabilities, each from the one before."""
    term = (theta / (theta + mu)) ** theta
    below, upto = np.zeros_like(mu), term.copy()
    for k in range(int(x.max())):
        term = term * (k + theta) / (k + 1) * mu / (theta + mu)
        below, upto = np.where(k < x, upto, below), np.where(k < x, upto + term, upto)
    return below, upto


@exercise("8.4", "every gene is as it was, and there are no cells any more.")
def check_fool(fool: Callable) -> Diagnosis:
    """Columns must hold the same counts; no two genes may be related, not even one pair."""
    x = _cells(inputs(), n_cells=600)
    made = array(fool(x.copy(), np.random.default_rng(1)), x.shape, "the table")
    if np.array_equal(made, x):
        return "nothing has changed: cells still have their types."
    if not np.array_equal(np.sort(made, axis=0), np.sort(x, axis=0)):
        if np.array_equal(np.sort(made, axis=1), np.sort(x, axis=1)):
            return (
                "the counts moved within their cell, to other genes; each gene must keep its own."
            )
        if np.array_equal(np.sort(made, axis=None), np.sort(x, axis=None)):
            return "the counts moved to other genes; each gene must keep its own."
        if np.allclose(made.mean(axis=0), x.mean(axis=0), rtol=0.2, atol=0.2):
            return "the means are about right, but zeros, variance or largest count are not exact."
        return "genes have lost their own counts."
    return _still_related(made, x) or generator_slip(lambda rng: fool(x.copy(), rng))


def _still_related(made: np.ndarray, x: np.ndarray) -> Diagnosis:
    """Every pair of genes is looked at: those of x are all related."""
    correlation = abs(_relations(made))
    related = correlation > SIGMAS / np.sqrt(len(x))
    np.fill_diagonal(related, False)
    n_related, n_genes = int(related.any(axis=0).sum()), x.shape[1]
    if n_related == 0:
        return None
    if (np.diff(made, axis=0) >= 0).all():
        return "each gene is sorted, so that a cell that is high in one is high in all."
    if n_related == n_genes and related.mean() > 0.7:
        return "genes are still related: whole cells were moved. Shuffle each gene by itself."
    return (
        f"{n_related} of the {n_genes} genes are still related to others: they stayed, or moved "
        "together. Shuffle each gene by itself."
    )


def _relations(x: np.ndarray) -> np.ndarray:
    return np.corrcoef(np.log1p(x), rowvar=False)


@exercise("8.5", "caught. Every statistic is blind to something: which model would pass yours?")
def check_statistic(statistic: Callable) -> Diagnosis:
    """Honest tables for the scale, honest and shuffled ones to judge."""
    rng = inputs()

    def of(table: np.ndarray) -> float:
        return float(number(statistic(table.copy()), "a statistic"))

    tables = [_cells(rng) for _ in range(59)]
    values = np.array([of(table) for table in tables])
    if not np.isfinite(values).all():
        return "the statistic is not always finite."
    if np.ptp(values) == 0:
        return "it is the same number for every table, so it can't fail."
    of_shuffled = np.array([of(rng.permuted(table, axis=0)) for table in tables[:20]])
    if np.allclose(of_shuffled, values[:20], rtol=1e-5):
        return "a shuffled table has the same value: it looks at genes one by one. Look at cells."
    low, high = np.sort(values[20:])[[0, -1]]  # 39 honest tables: 95 % lie between
    caught = ((of_shuffled < low) | (of_shuffled > high)).mean()
    alarms = ((values[:20] < low) | (values[:20] > high)).mean()
    if alarms > 0.3:
        return "it cries wolf: it calls honest tables shuffled. Does it depend on something else?"
    if caught < 0.9:
        return f"it catches {caught:.0%} of the shuffled tables: they are within the honest ones."
    if of(tables[0]) != values[0]:
        return "the same table gives another number the next time: a statistic has no chance in it."
    return None


def _cells(rng: np.random.Generator, n_cells: int = 120) -> np.ndarray:
    """Cells of two types with libraries that differ, 12 genes: counts, (N, 12)."""
    shares = np.full((2, 12), 1 / 12)
    shares[0, :4] *= 2
    shares[1, 4:8] *= 2
    shares /= shares.sum(axis=1, keepdims=True)
    library = 90 * np.exp(0.8 * rng.standard_normal((n_cells, 1)))
    mu = library * shares[rng.integers(2, size=n_cells)]
    return rng.poisson(mu * rng.gamma(4.0, size=mu.shape) / 4.0).astype(float)
