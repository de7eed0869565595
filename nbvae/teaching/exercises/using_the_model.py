"""Checks for chapter 9, using the model."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved

WEIGHT_LIMIT = 0.1  # of one cell in an average, exercise 9.3


@exercise("9.1", "and the mean decides: the last genes called are less sure than 1 − fdr.")
def check_genes_called(genes_called: Callable) -> Diagnosis:
    """Try every length of the list, longest first; then the usual slips."""
    rng = np.random.default_rng(0)
    for fdr in (0.05, 0.2):
        probability = rng.beta(2, 1, 60) ** 0.2
        doubt = sorted(1 - probability)
        right = max((k for k in range(1, 61) if sum(doubt[:k]) / k <= fdr), default=0)
        value = float(solved(genes_called(probability.copy(), fdr)))
        if value == right:
            continue
        rising = np.cumsum(doubt[::-1]) / np.arange(1, 61)
        unsorted = np.cumsum(1 - probability) / np.arange(1, 61)
        slips = {
            "this asks each gene to be surer than 1 − fdr; the mean over the list is what counts":
            sum(d <= fdr for d in doubt),
            "the sum of 1 − p is compared with fdr; take the mean over the list":
            int((np.cumsum(doubt) <= fdr).sum()),
            "the genes are taken in the order in which they come; the surest go first":
            int((unsorted <= fdr).sum()),
            "the least sure genes go first; begin with the largest p": int((rising <= fdr).sum()),
            "this is how many genes are not called": 60 - right,
            "this is one less than can be called; the last gene may still come in": right - 1,
        }  # fmt: skip
        for complaint, slip in slips.items():
            if value == slip:
                return f"{complaint}."
        return f"of the check's 60 genes {right} can be called at fdr = {fdr}, not {value:g}."
    if genes_called(np.array([0.2, 0.3]), 0.05) != 0:
        return "no gene can be called if even the surest is too unsure; then return 0."
    return None


@exercise("9.2", "the same estimate, and the other genes decide how far it is believed.")
def check_probability(probability: Callable) -> Diagnosis:
    """Shrink four estimates; then the usual slips."""
    for lfc, s, sigma, delta in (
        (2.0, 1.0, 0.6, 0.25), (-1.4, 0.5, 2.0, 0.3), (0.9, 1.5, 1.0, 0.1), (-0.2, 0.4, 0.7, 0.5)
    ):  # fmt: skip
        value, kept = float(solved(probability(lfc, s, sigma, delta))), sigma**2 / (sigma**2 + s**2)
        mean, sd = kept * lfc, np.sqrt(kept) * s
        right = _larger(mean, sd, delta)
        if close(value, right, within=1e-4):
            continue
        up, down = norm.sf(delta, mean, sd), norm.cdf(-delta, mean, sd)
        slips = {
            "nothing is shrunk here: this is the normal distribution around L, without the prior":
            (_larger(lfc, s, delta),),
            "κ is turned round: σ² stands above, so that a wide prior leaves the estimate alone":
            (_larger((1 - kept) * lfc, np.sqrt(1 - kept) * s, delta),),
            "κs² is the variance; its square root is the standard deviation":
            (_larger(mean, kept * s**2, delta),),
            "the mean is shrunk, but s is not: what the prior adds makes T surer, κs²":
            (_larger(mean, s, delta),),
            "this is P(|T| ≥ δ), the sum of both sides; the larger of them was asked for":
            (up + down,),
            "only one side is looked at; a gene may be lower in group 1": (up, down),
            "this is the chance that the call is wrong; take 1 − that": (1 - right,),
        }  # fmt: skip
        for complaint, values in slips.items():
            if any(close(value, v, within=1e-4) for v in values):
                return f"{complaint}."
        return (
            f"for L = {lfc}, s = {s}, σ = {sigma} and δ = {delta} the probability is {right:.3f}, "
            f"not {value:.3f}."
        )
    return None


def _larger(mean: float, sd: float, delta: float) -> float:
    return float(max(norm.sf(delta, mean, sd), norm.cdf(-delta, mean, sd)))


@exercise("9.3", "two independent genes, honest averages, and a correlation out of nothing.")
def check_averaging_weights(averaging_weights: Callable) -> Diagnosis:
    """Look at the rules first, then at the correlation, on noise of three kinds."""
    rng = np.random.default_rng(0)
    tables = (
        rng.standard_normal((60, 2)), rng.poisson(3.0, (101, 2)).astype(float), rng.random((40, 2))
    )  # fmt: skip
    for noise in tables:
        weights = np.asarray(solved(averaging_weights(noise.copy())), dtype=float)
        if complaint := _weights_flaw(weights, noise):
            return complaint
    return None


def _weights_flaw(weights: np.ndarray, noise: np.ndarray) -> Diagnosis:
    n = len(noise)
    if weights.shape != (n, n):
        return f"the weights should have shape ({n}, {n}), one row per cell, not {weights.shape}."
    if (weights < -1e-12).any():
        return "some weights are negative; that is no average."
    if not np.allclose(weights.sum(axis=1), 1):
        columns = np.allclose(weights.sum(axis=0), 1)
        return f"the {'columns sum to 1, but the ' if columns else ''}rows do not sum to 1."
    if weights.max() > WEIGHT_LIMIT + 1e-12:
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


@exercise("9.4", "near cells all the way. Whether any cell has ever gone it is another question.")
def check_path(path: Callable) -> Diagnosis:
    """Half a ring of cells and a spiral: the straight line leaves both."""
    rng = np.random.default_rng(0)
    angle = np.sort(rng.uniform(0, np.pi, 150))
    radius = np.linspace(3, 5, 150)
    ring = np.c_[3 * np.cos(angle), 3 * np.sin(angle), np.zeros(150)]
    bent = np.c_[radius * np.cos(1.5 * angle), radius * np.sin(1.5 * angle), angle]
    for curve in (ring, bent):
        latent, order = curve + 0.15 * rng.standard_normal(curve.shape), rng.permutation(150)
        latent = latent[order]
        start, end = (int(np.flatnonzero(order == i)[0]) for i in (2, 147))
        points = np.asarray(solved(path(latent.copy(), start, end)), dtype=float)
        if complaint := _path_flaw(points, latent, start, end):
            return complaint
    return None


def _path_flaw(points: np.ndarray, latent: np.ndarray, start: int, end: int) -> Diagnosis:
    if points.ndim == 1 and len(points) > 1 and np.allclose(points, points.round()):
        return "these look like row numbers; return the points, latent[rows]."
    if points.ndim != 2 or points.shape[1] != latent.shape[1]:
        return f"points of shape (steps, {latent.shape[1]}) were asked for, not {points.shape}."
    if np.allclose(points[0], latent[end]) and np.allclose(points[-1], latent[start]):
        return "the path runs backwards, from the end to the start."
    if not (np.allclose(points[0], latent[start]) and np.allclose(points[-1], latent[end])):
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
