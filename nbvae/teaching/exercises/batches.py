"""Checks for chapter 10, two experiments."""

from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved

N_NEIGHBOURS = 15


@exercise("10.1", "so thinning leaves a negative binomial, with a smaller mean and the same θ.")
def check_thinned_moments(thinned_moments: Callable) -> Diagnosis:
    """Sum over all counts and over all ways to lose molecules; then the usual slips."""
    for px_mean, theta, kappa in ((4.0, 1.5, 0.4), (0.7, 3.0, 0.25), (9.0, 0.8, 0.6)):
        answer = np.asarray(solved(thinned_moments(px_mean, theta, kappa)), dtype=float).ravel()
        if answer.shape != (3,):
            return f"three numbers were asked for (mean, variance, zeros), not {answer.size}."
        right = _moments_by_summing(px_mean, theta, kappa)
        var, left = px_mean + px_mean**2 / theta, kappa * px_mean
        slips = (
            {"the mean is not that of what is left; one molecule in κ stays": (px_mean,)},
            {
                "this variance is κ² times the old one, that of κx; but κx is no count":
                (kappa**2 * var,),
                "this variance is κ times the old one; only its Poisson part shrinks so":
                (kappa * var,),
                "the variance is that of a Poisson count; the gamma factor is still there":
                (left,),
                "this variance has θ multiplied by κ as well; the gamma factor stays as it was":
                (left + left**2 / (kappa * theta),),
                "this is the standard deviation; the variance is asked for":
                (np.sqrt(left + left**2 / theta),),
            },
            {
                "this is the probability of 0 before thinning":
                ((theta / (theta + px_mean)) ** theta,),
                "this is the probability of 0 of a Poisson count": (np.exp(-left),),
                "this is κ times the old probability of 0, but thinning makes more zeros":
                (kappa * (theta / (theta + px_mean)) ** theta,),
            },
        )  # fmt: skip
        for name, value, truth, known in zip(
            ("mean", "variance", "probability of 0"), answer, right, slips, strict=True
        ):
            if close(value, truth, within=1e-3):
                continue
            for complaint, several in known.items():
                if any(close(value, slip, within=1e-3) for slip in several):
                    return f"{complaint}."
            return (
                f"for μ = {px_mean}, θ = {theta}, κ = {kappa} the {name} is {truth:.4f}, "
                f"not {value:.4f}."
            )
    return None


def _moments_by_summing(px_mean: float, theta: float, kappa: float) -> tuple[float, float, float]:
    before, after = np.arange(400)[:, None], np.arange(400)[None, :]
    joint = stats.nbinom.pmf(before, theta, theta / (theta + px_mean)) * stats.binom.pmf(
        after, before, kappa
    )
    left, count = joint.sum(axis=0), after[0]
    mean = (left * count).sum()
    return mean, (left * count**2).sum() - mean**2, left[0]


@exercise("10.2", "so 0.15 against 0.85 is far beyond what centring stands.")
def check_partner_is_right(partner_is_right: Callable) -> Diagnosis:
    """Centre two small tables and look for the nearest point, over many pairs of shares."""
    grid = np.arange(1, 20) / 20
    pairs = [(a, b) for a in grid for b in grid if abs(abs(a - b) - 0.5) > 1e-9]
    truth = np.array([_nearest_is_own(a, b) for a, b in pairs])
    values = np.array([bool(solved(partner_is_right(a, b))) for a, b in pairs])
    if (values == truth).all():
        if partner_is_right(0.25, 0.75) or partner_is_right(0.75, 0.25):
            return "at 0.25 and 0.75 both places are equally near; then the partner is not right."
        return None
    a, b = np.array(pairs).T
    slips = {
        "this says where the partner is wrong": ~truth,
        "one sign only: p_B may be the larger share, or p_A": (b - a < 0.5, a - b < 0.5),
        "this compares the shares with ½ one by one; only their difference moves the places":
        ((a < 0.5) == (b < 0.5), (a > 0.5) == (b > 0.5), (a <= 0.5) == (b <= 0.5)),
        "after centring both kinds have moved; the other one has come nearer, so 1 is too far":
        abs(a - b) < 1,
    }  # fmt: skip
    for complaint, several in slips.items():
        if any((values == slip).all() for slip in np.atleast_2d(several)):
            return f"{complaint}."
    first = int((values != truth).argmax())
    verdict = "right" if truth[first] else "wrong"
    return f"for shares {a[first]:.2f} and {b[first]:.2f} the partner is {verdict}."


def _nearest_is_own(p_a: float, p_b: float) -> bool:
    """Twenty cells an experiment, centred; the nearest in the other one has the own kind."""
    kinds = [np.arange(20) < round(20 * p) for p in (p_a, p_b)]
    places = [kind - kind.mean() for kind in kinds]
    distance = abs(places[0][:, None] - places[1][None])
    of_a = kinds[1][distance.argmin(axis=1)] == kinds[0]
    of_b = kinds[0][distance.argmin(axis=0)] == kinds[1]
    return bool(of_a.all() and of_b.all())


@exercise("10.3", "which is the aim: not one half, and not the same for every table.")
def check_perfect_mixing(perfect_mixing: Callable) -> Diagnosis:
    """List the cells one by one and look at all others of the type."""
    tables = ([[4, 6], [5, 0], [1, 3]], [[10, 2, 3], [0, 4, 4]], [[3, 3], [1, 0], [0, 7]])
    for table in tables:
        value, right = float(solved(perfect_mixing(np.array(table)))), _mixing_by_listing(table)
        if close(value, right):
            continue
        n = np.array(table, dtype=float)
        n_many = n[n.sum(axis=1) > 1]
        size, many = n.sum(axis=1, keepdims=True), n_many.sum(axis=1, keepdims=True)
        share = n.sum(axis=0) / n.sum()
        rate = (n_many * (n_many - 1) / (many - 1)).sum(axis=1) / many[:, 0]
        slips = {
            "a cell is no neighbour of its own: n − 1 others, m − 1 of them of its experiment":
            ((n**2 / size).sum() / n.sum(), (n_many**2 / many).sum() / n_many.sum()),
            "one half, or one over the number of experiments, does not look at the table":
            (0.5, 1 / n.shape[1]),
            "this mixes all types with each other; a cell's neighbours are of its own type":
            ((share**2).sum(), (n.sum(0) * (n.sum(0) - 1)).sum() / n.sum() / (n.sum() - 1)),
            "each type counts alike here; the mean is over cells": (rate.mean(),),
            "a type with one cell has no neighbours; leave it out of the number of cells, too":
            ((n_many * (n_many - 1) / (many - 1)).sum() / n.sum(),),
            "this is the share from the other experiments": (1 - right,),
        }  # fmt: skip
        for complaint, several in slips.items():
            if any(close(value, slip) for slip in several):
                return f"{complaint}."
        if np.isnan(value):
            return f"the table {table} gives nan: a type with one cell has no neighbours."
        return f"for the table {table} it is {right:.4f}, not {value:.4f}."
    return None


def _mixing_by_listing(table: list[list[int]]) -> float:
    cells = [(t, j) for t, row in enumerate(table) for j, m in enumerate(row) for _ in range(m)]
    scores = []
    for i, (t, j) in enumerate(cells):
        others = [b for k, (a, b) in enumerate(cells) if a == t and k != i]
        if others:
            scores.append(np.mean([b == j for b in others]))
    return float(np.mean(scores))


@exercise("10.4", "the same cloud, perfectly mixed, and worth nothing. Ask for a second number.")
def check_mixed(mixed: Callable) -> Diagnosis:
    """The cloud first, then the mixing, then what is left of the kinds."""
    rng = np.random.default_rng(0)
    kinds, batch = np.repeat(np.arange(4), 60), np.tile([0, 1], 120)
    latent = np.eye(4)[kinds] * 8 + rng.standard_normal((240, 4))
    latent[:, 0] += 6 * batch
    order = np.lexsort([kinds, batch])  # all of one experiment, then all of the other
    latent, batch, kinds = latent[order], batch[order], kinds[order]
    points = np.asarray(solved(mixed(latent.copy(), batch.copy())), dtype=float)
    if points.shape != latent.shape:
        return f"the shape should stay {latent.shape}, not {points.shape}."
    if not np.allclose(np.sort(points, axis=0), np.sort(latent, axis=0)):
        return "the cloud has changed: give the same points to other cells."
    if not {tuple(p) for p in points.round(9)} <= {tuple(p) for p in latent.round(9)}:
        return "the columns went separate ways: a point must stay whole."
    if np.allclose(points, latent):
        return "nothing has moved."
    mixing, agreement = _alike(points, batch), _alike(points, kinds)
    if mixing > 0.56:
        return f"the experiments are still apart: {mixing:.2f} of the neighbours are a cell's own."
    if agreement > 0.35:
        return (
            f"too good: {agreement:.2f} of the neighbours have a cell's own kind. "
            "Give the points to cells of any kind."
        )
    return None


@exercise("10.5", "all three kinds of failure score less than success. Now try it without labels.")
def check_integration_score(integration_score: Callable) -> Diagnosis:
    """Four embeddings of cells with known kinds, with and without a kind that B lacks."""
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0]])
    for lacks in (False, True):
        kinds = np.repeat(np.arange(3), 80)
        batch = rng.permutation(240) % 2
        if lacks:
            batch[kinds == 2] = 0
        noise = rng.standard_normal((240, 3))
        good = centres[kinds] + noise
        pulled = centres[np.where(kinds == 2, 1, kinds)] + noise
        rivals = {
            "one in which the experiments stay apart": good
            + np.c_[batch * 0, batch * 0, 9 * batch],
            "one that mixes everything, kinds and experiments": noise,
        }
        if lacks:
            rivals["one that pulls the kind that experiment 1 lacks onto another"] = pulled
        names = np.array(["B", "NK", "T"])[kinds]
        score = float(solved(integration_score(good.copy(), batch.copy(), names.copy())))
        if not np.isfinite(score):
            return f"the score of a good integration is {score}; return a finite number."
        lost = []
        for name, points in rivals.items():
            rival = float(integration_score(points.copy(), batch.copy(), names.copy()))
            if not rival < score - 1e-3:
                lost.append(name)
        if len(lost) == len(rivals):
            return "a good integration beats none of the bad ones: is higher better?"
        if lost:
            where = ", where experiment 1 lacks a kind" if lacks else ""
            return f"a good integration should beat {lost[0]}{where}."
    return None


def _alike(points: np.ndarray, labels: np.ndarray) -> float:
    found = NearestNeighbors(n_neighbors=N_NEIGHBOURS + 1).fit(points)
    nearest = found.kneighbors(points, return_distance=False)[:, 1:]
    return float((labels[nearest] == labels[:, None]).mean())
