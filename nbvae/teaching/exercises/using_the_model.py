"""Checks for chapter 9, using the model."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from nbvae.teaching.exercises._check import Diagnosis, exercise, inputs
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import array, close, compare

WEIGHT_LIMIT = 0.1  # of one cell in an average, exercise 9.3


@exercise("9.1", "and the mean decides: the last genes called are less sure than 1 − fdr.")
def check_genes_called(genes_called: Callable) -> Diagnosis:
    """Try every length of the list, longest first; then the usual slips."""
    rng = inputs()
    cases = [(rng.beta(2, 1, 60) ** 0.2, fdr) for fdr in (0.05, 0.2)]
    cases += [
        (rng.permutation([1.0, 0.8125, 0.8125, 0.25]), 0.125),  # the mean of three is fdr
        (rng.uniform(0.97, 1, 12), 0.05),
        (np.array([0.2, 0.3]), 0.05),
    ]
    slips = {
        "no gene can be called if even the surest is too unsure; then return 0":
        lambda p, fdr: max(1, _called(p, fdr)),
        "a mean of exactly fdr is allowed: at or below, not below":
        lambda p, fdr: (_means(np.sort(1 - p)) < fdr).sum(),
        "this asks each gene to be surer than 1 − fdr; the mean over the list is what counts":
        (lambda p, fdr: sum(1 - p <= fdr), lambda p, fdr: sum(1 - p < fdr)),
        "the sum of 1 − p is compared with fdr; take the mean over the list":
        lambda p, fdr: (np.cumsum(np.sort(1 - p)) <= fdr).sum(),
        "the genes are taken in the order in which they come; the surest go first":
        lambda p, fdr: (_means(1 - p) <= fdr).sum(),
        "the least sure genes go first; begin with the largest p":
        lambda p, fdr: (_means(np.sort(1 - p)[::-1]) <= fdr).sum(),
        "argmax gives 0 where every gene can be called: it finds no mean above fdr":
        lambda p, fdr: int(np.argmax(_means(np.sort(1 - p)) > fdr)),
        "this is how many genes are not called": lambda p, fdr: len(p) - _called(p, fdr),
        "this is one less than can be called; the last gene may still come in":
        lambda p, fdr: _called(p, fdr) - 1,
        "this is one more than can be called": lambda p, fdr: _called(p, fdr) + 1,
        "p is taken for 1 − p": lambda p, fdr: (_means(np.sort(p)) <= fdr).sum(),
    }  # fmt: skip
    return compare(lambda p, fdr: genes_called(p.copy(), fdr), _called, cases, slips)


def _means(doubt: np.ndarray) -> np.ndarray:
    return np.cumsum(doubt) / np.arange(1, len(doubt) + 1)


def _called(probability: np.ndarray, fdr: float) -> int:
    doubt, n = sorted(1 - probability), len(probability)
    return max((k for k in range(1, n + 1) if sum(doubt[:k]) / k <= fdr), default=0)


@formula("9.2", "the same estimate, and the other genes decide how far it is believed.")
def _believed() -> Formula:
    """Shrink estimates of both signs, some more, some less; then the usual slips."""
    rng = inputs()
    cases = [(2.0, 1.0, 0.6, 0.25), (-1.4, 0.5, 2.0, 0.3)]
    cases += [
        (
            sign * rng.uniform(0.5, 2),
            rng.uniform(0.4, 0.9),
            rng.uniform(1, 2),
            rng.uniform(0.2, 0.4),
        )
        for sign in (1, -1, 1, -1)
    ]
    slips = {
        "nothing is shrunk here: this is the normal distribution around the estimate alone":
        lambda lfc, psi, sigma, delta: _larger(lfc, psi, delta),
        "ν is turned round: σ² stands above, so that a wide prior leaves the estimate alone":
        lambda lfc, psi, sigma, delta: _larger(*_shrunk(lfc, sigma, psi, sd=psi), delta),
        "νψ² is the variance; its square root is the standard deviation":
        lambda lfc, psi, sigma, delta: _larger(
            _shrunk(lfc, psi, sigma)[0], _shrunk(lfc, psi, sigma)[1] ** 2, delta
        ),
        "the mean is shrunk, but ψ is not: with the prior more is known, νψ²":
        lambda lfc, psi, sigma, delta: _larger(_shrunk(lfc, psi, sigma)[0], psi, delta),
        "ν is a ratio of variances, σ² and ψ², not of standard deviations":
        lambda lfc, psi, sigma, delta: _larger(
            *_shrunk(lfc, psi**0.5, sigma**0.5, sd=psi), delta
        ),
        "this is P(|LFC| ≥ δ), the sum of both sides; the larger of them was asked for":
        lambda lfc, psi, sigma, delta: sum(_sides(*_shrunk(lfc, psi, sigma), delta)),
        "only one side is looked at; a gene may be lower in group 1":
        (lambda lfc, psi, sigma, delta: _sides(*_shrunk(lfc, psi, sigma), delta)[0],
         lambda lfc, psi, sigma, delta: _sides(*_shrunk(lfc, psi, sigma), delta)[1]),
        "this is the chance that the call is wrong; take 1 − that":
        lambda lfc, psi, sigma, delta: 1 - _larger(*_shrunk(lfc, psi, sigma), delta),
    }  # fmt: skip
    names = ("lfc", "psi", "sigma", "delta")
    # the probability may also be summed on a grid
    return Formula(_probability, cases, slips, names=names, within=1e-3)


def _probability(lfc: float, psi: float, sigma: float, delta: float) -> float:
    return _larger(*_shrunk(lfc, psi, sigma), delta)


def _shrunk(lfc: float, psi: float, sigma: float, sd: float | None = None) -> tuple[float, float]:
    """The mean and the standard deviation that (9.10) gives; ``sd``: of the estimate, if not ψ."""
    kept = sigma**2 / (sigma**2 + psi**2)
    return kept * lfc, kept**0.5 * (psi if sd is None else sd)


def _sides(mean: float, sd: float, delta: float) -> tuple[float, float]:
    return float(norm.sf(delta, mean, sd)), float(norm.cdf(-delta, mean, sd))


def _larger(mean: float, sd: float, delta: float) -> float:
    return max(_sides(mean, sd, delta))


@exercise("9.3", "two independent genes, honest averages, and a correlation out of nothing.")
def check_averaging_weights(averaging_weights: Callable) -> Diagnosis:
    """Look at the rules first, then at the correlation, on noise of three kinds."""
    rng = inputs()
    tables = (
        rng.standard_normal((60, 2)), rng.poisson(3.0, (101, 2)).astype(float), rng.random((40, 2))
    )  # fmt: skip
    for noise in tables:
        weights = array(averaging_weights(noise.copy()))
        if complaint := _weights_flaw(weights, noise):
            return complaint
    return None


def _weights_flaw(weights: np.ndarray, noise: np.ndarray) -> Diagnosis:
    n = len(noise)
    if weights.shape != (n, n):
        return f"the weights should have shape ({n}, {n}), one row per cell, not {weights.shape}."
    if not np.isfinite(weights).all():
        return "some weights are not finite."
    slack = 16 * float(np.finfo(weights.dtype).eps)
    weights = weights.astype(float)
    if (weights < -slack).any():
        return "some weights are negative; that is not an average."
    if not np.allclose(weights.sum(axis=1), 1, atol=max(1e-8, n * slack)):
        columns = np.allclose(weights.sum(axis=0), 1)
        return f"the {'columns sum to 1, but the ' if columns else ''}rows do not sum to 1."
    if weights.max() > WEIGHT_LIMIT + slack:
        return f"one cell has a weight of {weights.max():.2f}; {WEIGHT_LIMIT} is the limit."
    averages = weights @ noise
    if (averages.std(axis=0) < 1e-9).any():
        return "all cells get the same average, so there is no correlation; make two groups."
    r = np.corrcoef(averages.T)[0, 1]
    if r < -0.9:
        return f"the correlation is {r:.2f}: an invention, but of the opposite. Group by the sum."
    if r <= 0.9:
        return f"the correlation is {r:.2f}; choose the groups so that both means go up together."
    return None


@exercise("9.4", "near cells all the way. Whether any cell has ever taken it is another question.")
def check_path(path: Callable) -> Diagnosis:
    """Half a ring of cells and a spiral: the straight line leaves both."""
    rng = inputs()
    angle = np.sort(rng.uniform(0, np.pi, 150))
    radius = np.linspace(3, 5, 150)
    ring = np.c_[3 * np.cos(angle), 3 * np.sin(angle), np.zeros(150)]
    bent = np.c_[radius * np.cos(1.5 * angle), radius * np.sin(1.5 * angle), angle]
    for curve in (ring, bent):
        latent, order = curve + 0.15 * rng.standard_normal(curve.shape), rng.permutation(150)
        latent = latent[order]
        start, end = (int(np.flatnonzero(order == i)[0]) for i in (2, 147))
        points = array(path(latent.copy(), start, end))
        if complaint := _path_flaw(points, latent, start, end):
            return complaint
    return None


def _path_flaw(points: np.ndarray, latent: np.ndarray, start: int, end: int) -> Diagnosis:
    if points.ndim == 1 and len(points) > 1 and np.allclose(points, points.round()):
        return "these look like row numbers; return the points, latent[rows]."
    if points.ndim != 2 or points.shape[1] != latent.shape[1]:
        return f"points of shape (steps, {latent.shape[1]}) were asked for, not {points.shape}."
    if not np.isfinite(points).all() or len(points) < 2:
        return "a path has at least two points, all of them finite."
    if _at(points[0], latent[end]) and _at(points[-1], latent[start]):
        return "the path runs backwards, from the end to the start."
    if not (_at(points[0], latent[start]) and _at(points[-1], latent[end])):
        return "the path should begin at latent[start] and end at latent[end]."
    straight = _farthest(latent[[start, end]], latent).max()
    far = _farthest(points, latent)
    if close(far.max(), straight, within=0.02) and _length(points) < 1.01 * _length(
        points[[0, -1]]
    ):
        return "this is the straight line; go around where no cells are."
    if far.max() > 0.5 * straight:
        step = int(far.argmax())
        return (
            f"between its points {step} and {step + 1} the path crosses empty space: it gets "
            f"{far.max():.1f} away from all cells, the straight line {straight:.1f}."
        )
    return None


def _at(point: np.ndarray, cell: np.ndarray) -> bool:
    return close(point, cell, within=1e-5)


def _farthest(points: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """How far each stretch of a path gets from the nearest cell."""
    share = np.linspace(0, 1, 30)[:, None]
    stretches = [(1 - share) * a + share * b for a, b in pairwise(points)]
    return np.array(
        [
            np.linalg.norm(stretch[:, None] - latent[None], axis=-1).min(axis=1).max()
            for stretch in stretches
        ]
    )


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
