"""Checks for chapter 8, criticism."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved


@exercise("8.1", "and a tie counts half, so that a table of zeros is neither low nor high.")
def check_p_value(p_value: Callable) -> Diagnosis:
    """Three replicates below, two ties, five above."""
    replicated = np.array([1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    answer = np.asarray(solved(p_value(4.0, replicated.copy())))
    if answer.ndim != 0:
        return "it should be one number, a share of the replicates."
    value = float(answer)
    if close(value, 0.4):
        return None
    slips = {
        "ties are left out; half of them count": 0.3,
        "all ties count; only half should": 0.5,
        "this is the share above; the share below was asked for": 0.6,
        "this is the share above or equal; the share below was asked for, and half of the ties":
        0.7,
        "this is a count; divide by the number of replicates": 4.0,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if close(value, slip):
            return f"{complaint}."
    return f"it should be 0.4 for the check's ten replicates, not {value:g}."


@exercise("8.2", "pairing is worth as many cells as 1 / (1 − r) says.")
def check_cells_needed(cells_needed: Callable) -> Diagnosis:
    """Find N by its definition, with a covariance matrix; then by the usual slips."""
    cases = [(100.0, 0.95, 14.0, 3.0), (40.0, 0.2, 5.0, 2.0), (7.0, 0.5, 3.0, 2.5)]
    answers = [float(solved(cells_needed(*case))) for case in cases]
    truth = [_first_n(*case) for case in cases]
    if all(close(a, t) for a, t in zip(answers, truth, strict=True)):
        return None
    slips = {
        "this is the unpaired answer: the correlation is missing":
        lambda s, r, delta, k: 2 * (k * s / delta) ** 2,
        "one model's variance is missing: a difference has that of both":
        lambda s, r, delta, k: (1 - r) * (k * s / delta) ** 2,
        "the standard error falls with √N: square it":
        lambda s, r, delta, k: k * s * np.sqrt(2 * (1 - r)) / delta,
        "k is not squared": lambda s, r, delta, k: k * 2 * (1 - r) * (s / delta) ** 2,
        "the correlation has the wrong sign: what the models share cancels in a difference":
        lambda s, r, delta, k: 2 * (1 + r) * (k * s / delta) ** 2,
        "r stands alone: Var(a − b) has 1 − r": lambda s, r, delta, k: 2 * r * (k * s / delta) ** 2,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if all(abs(a - slip(*case)) <= 1 for a, case in zip(answers, cases, strict=True)):
            return f"{complaint}."
    if all(0 <= t - a < 1 + 1e-9 for a, t in zip(answers, truth, strict=True)):
        return "the formula is right; round up to a whole number of cells."
    return f"{cases[1]} needs {truth[1]} cells, not {answers[1]:g}."


def _first_n(s: float, r: float, delta: float, k: float) -> int:
    """Count up until the standard error is small enough."""
    contrast, covariance = np.array([1.0, -1.0]), s**2 * np.array([[1, r], [r, 1]])
    n = 1
    while k * np.sqrt(contrast @ covariance @ contrast / n) > delta * (1 + 1e-12):
        n += 1
    return n


@exercise("8.3", "uniform where the model is right, and each φ inside its own step.")
def check_pit(pit: Callable) -> Diagnosis:
    """Draw counts as a gamma–Poisson mixture; compare with sums of probabilities."""
    rng = np.random.default_rng(0)
    mu, theta = rng.uniform(0.3, 6, 20_000), rng.uniform(0.4, 5, 20_000)
    x = rng.poisson(mu * rng.gamma(theta) / theta).astype(float)
    u = np.asarray(solved(pit(x, mu, theta, np.random.default_rng(1))), dtype=float)
    if u.shape != x.shape:
        return f"there should be one φ for each count, shape {x.shape}, not {u.shape}."
    if not np.isfinite(u).all():
        return "some values are not finite."
    if (u < 0).any() or (u > 1).any():
        return "φ is a probability, between 0 and 1; some values are not."
    below, upto = _cumulated(x, mu, theta)
    if (u >= below - 1e-9).all() and (u <= upto + 1e-9).all():
        if np.allclose(u, upto) or np.allclose(u, below):
            return "this is the end of the step, F itself; draw uniformly inside it."
        if np.allclose(u, (below + upto) / 2):
            return "this is the middle of the step: not random, so not uniform."
        again = np.asarray(pit(x, mu, theta, np.random.default_rng(2)), dtype=float)
        if np.allclose(u, again):
            return "every generator gives the same φ: draw v with rng."
        place = (u - below) / np.maximum(upto - below, 1e-12)
        if np.unique(place.round(6)).size < 10:
            return "all counts share one v; each needs its own."
        if stats.kstest(place, "uniform").statistic > 0.03:
            return "inside a step φ is not uniform."
        return None
    return _wrong_steps(u, x, mu, theta)


def _wrong_steps(u: np.ndarray, x: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> str:
    swapped = _cumulated(x, mu, 1 / theta)
    if (u >= swapped[0] - 1e-9).all() and (u <= swapped[1] + 1e-9).all():
        return "θ and 1/θ are swapped: n of scipy's nbinom is θ."
    tail = stats.nbinom(theta, mu / (theta + mu))
    if (u >= tail.cdf(x - 1) - 1e-9).all() and (u <= tail.cdf(x) + 1e-9).all():
        return "p and 1 − p are swapped: the mean n (1 − p) / p must be μ."
    below, upto = _cumulated(x, mu, theta)
    above = _cumulated(x + 1, mu, theta)[1]
    if (u >= upto - 1e-9).all() and (u <= above + 1e-9).all():
        return "this is the step of x + 1; that of x goes from F(x − 1) to F(x)."
    flipped = 1 - u
    if (flipped >= below - 1e-9).all() and (flipped <= upto + 1e-9).all():
        return "this is 1 − φ, the probability of more."
    return "some φ lie outside their step from F(x − 1) to F(x)."


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
    """Columns must hold the same counts; rows must be strangers."""
    x = _cells(np.random.default_rng(0))
    given = x.copy()
    made = np.asarray(solved(fool(given, np.random.default_rng(1))))
    if made.shape != x.shape:
        return f"the table should have shape {x.shape}, not {made.shape}."
    if np.array_equal(made, x):
        return "nothing has changed: cells still have their types."
    if not np.array_equal(np.sort(made, axis=0), np.sort(x, axis=0)):
        if np.array_equal(np.sort(made, axis=1), np.sort(x, axis=1)):
            return (
                "the counts moved within their cell, to other genes; each gene must keep its own."
            )
        if np.allclose(made.mean(axis=0), x.mean(axis=0), rtol=0.2, atol=0.2):
            return "the means are about right, but zeros, variance or largest count are not exact."
        return "genes have lost their own counts."
    if _relation(made) > 0.5 * _relation(x):
        return "genes are still related: whole cells were moved. Shuffle each gene by itself."
    if np.array_equal(np.asarray(fool(x.copy(), np.random.default_rng(2))), made):
        return "every generator gives the same table: shuffle with rng."
    return None


@exercise("8.5", "caught. Every statistic is blind to something: which model would pass yours?")
def check_statistic(statistic: Callable) -> Diagnosis:
    """Honest tables for the scale, honest and shuffled ones to judge."""
    rng = np.random.default_rng(0)
    tables = [_cells(rng) for _ in range(49)]
    first = np.asarray(solved(statistic(tables[0].copy())))
    if first.size != 1:
        return f"a statistic is one number, not an array of shape {first.shape}."
    values = np.array([float(np.squeeze(statistic(table.copy()))) for table in tables])
    if not np.isfinite(values).all():
        return "the statistic is not always finite."
    if np.ptp(values) == 0:
        return "it is the same number for every table, so it can't fail."
    shuffled = [rng.permuted(table, axis=0) for table in tables[:10]]
    of_shuffled = np.array([float(np.squeeze(statistic(table))) for table in shuffled])
    if np.allclose(of_shuffled, values[:10], rtol=1e-5):
        return "a shuffled table has the same value: it looks at genes one by one. Look at cells."
    low, high = np.sort(values[10:])[[0, -1]]  # 39 honest tables
    caught = ((of_shuffled < low) | (of_shuffled > high)).mean()
    alarms = ((values[:10] < low) | (values[:10] > high)).mean()
    if alarms > 0.5:
        return "it cries wolf: it calls honest tables shuffled. Does it depend on something else?"
    if caught < 0.9:
        return f"it catches {caught:.0%} of the shuffled tables: they are within the honest ones."
    return None


def _cells(rng: np.random.Generator) -> np.ndarray:
    """120 cells of two types with libraries that differ, 12 genes: counts, (120, 12)."""
    shares = np.full((2, 12), 1 / 12)
    shares[0, :4] *= 4
    shares[1, 4:8] *= 4
    shares /= shares.sum(axis=1, keepdims=True)
    library = 60 * np.exp(0.5 * rng.standard_normal((120, 1)))
    mu = library * shares[rng.integers(2, size=120)]
    return rng.poisson(mu * rng.gamma(3.0, size=mu.shape) / 3.0).astype(float)


def _relation(x: np.ndarray) -> float:
    """Mean absolute correlation of two genes."""
    correlation = np.corrcoef(x, rowvar=False)
    return float(np.abs(correlation[np.triu_indices(len(correlation), k=1)]).mean())
