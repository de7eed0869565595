"""The rule of groups: the LFC of two groups' mean shares, and how wrong it may be.

Two witnesses know the mean share of a gene in a group: the model, by the mean of ρ over cells and
states, and the counts, by the group's counts of the gene ÷ all its counts. The LFC is that of
the mean of both. It errs for two reasons. Which cells were drawn: the spread of ρ over cells and
states, divided by n − 1. And what the counts of those cells left to chance: the variance that the
likelihood gives them, τ². How far apart the witnesses are shows how much of τ² the mean keeps.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from nbvae.data.covariates import Way
from nbvae.data.minibatches import CellTable
from nbvae.module.decoding import px_scale_as
from nbvae.module.evaluating import minibatches_of
from nbvae.module.protocol import LatentModule

MOST_FREEDOM = 1e6  # degrees of freedom; more are as good as infinitely many
SMALLEST_P = 1e-290  # below it a quantile of the normal distribution is no longer a number


class Moments(NamedTuple):
    """Sums over some cells and over draws of their z; all but the first two are per gene, (G,)."""

    n_cells: int
    library: float  # of these cells together: all counts, or their size factors
    share: np.ndarray  # mean of ρ, decoded as asked
    variance: np.ndarray  # of ρ, over cells and states
    counts: np.ndarray  # sum of the counts
    expected: np.ndarray  # what the model expects it to be, in the cells' own batches
    noise: np.ndarray  # the variance of that sum, by the likelihood


class Side(NamedTuple):
    """What the comparison needs of one group: shares, and variances of shares, (G,)."""

    scale: np.ndarray  # mean of ρ
    raw: np.ndarray  # share of the counts
    expected: np.ndarray  # the share that the model expects them to be
    cells: np.ndarray  # variance: which cells were drawn
    noise: np.ndarray  # variance: what their counts left to chance
    moved: np.ndarray  # (n_replicates, G), how far each replicate moves raw
    n_cells: int


class Comparison(NamedTuple):
    """The estimated LFC of each gene, (G,), and its standard deviation."""

    lfc: np.ndarray
    sd: np.ndarray


def moments(
    module: LatentModule, table: CellTable, rows: np.ndarray, covariates: Way, n_samples: int
) -> Moments:
    """Decode some cells and sum what the comparison needs; no table of all cells is kept.

    Args:
        module: an ``NBVAE``, in evaluation mode.
        table: the counts.
        rows: (n,), the cells.
        covariates: with which level to decode, as in ``px_scale_as``.
        n_samples: draws of z, spread over the cells; at least one of each.

    """
    n_draws = -(-n_samples // len(rows))
    sums, counts = np.zeros((4, table.counts.shape[1])), np.zeros(table.counts.shape[1])
    for m in minibatches_of(module, table, rows):
        counts += np.asarray(m.counts.sum(axis=0, dtype=float)).ravel()
        for _ in range(n_draws):
            z = module.inference(m.x, covariates=m.covariates).z
            own = module.generative(z, m.library, covariates=m.covariates)
            same = module.covariates is None or covariates == "own"
            share = own.px_scale if same else px_scale_as(module, z, m, covariates)
            terms = (share, share.square(), *module.likelihood.mean_and_variance(own))
            sums += torch.stack([term.sum(dim=0) for term in terms]).cpu().double().numpy()
    share, square = sums[:2] / (n_draws * len(rows))
    variance = (square - share**2).clip(min=0)  # rounding may leave −1e-17
    return Moments(
        len(rows),
        table.library(rows).sum(),
        share,
        variance,
        counts,
        sums[2] / n_draws,
        sums[3] / n_draws,
    )


def side_of(parts: list[Moments]) -> Side:
    """Put a group together from its replicates, which count alike; without any it is one part."""
    n = len(parts)
    scale = np.mean([part.share for part in parts], axis=0)
    raws = np.stack([part.counts / part.library for part in parts])  # (n, G)
    raw = raws.mean(axis=0)
    expected = np.mean([part.expected / part.library for part in parts], axis=0)
    spread = [part.variance / max(part.n_cells - 1, 1) for part in parts]
    cells = np.sum(spread, axis=0) / n**2
    noise = np.sum([part.noise / part.library**2 for part in parts], axis=0) / n**2
    moved = (raws - raw) / np.sqrt(n * max(n - 1, 1))
    return Side(scale, raw, expected, cells, noise, moved, sum(part.n_cells for part in parts))


def compared(
    first: Side, second: Side, pseudocount: float, names: Sequence[Iterable[str]] = ()
) -> Comparison:
    """Estimate the LFC of two groups and its standard deviation.

    Args:
        first: the first group.
        second: the other.
        pseudocount: c.
        names: of the replicates of each group; the replicates were then drawn, else the cells.

    """
    apart = _log(first.raw, first.expected, pseudocount)
    apart = apart - _log(second.raw, second.expected, pseudocount)
    noise = sum(side.noise * _slope(side.expected, pseudocount) ** 2 for side in (first, second))
    weight, kept = weight_and_noise(apart, noise)
    lfc = _met(first, weight, pseudocount) - _met(second, weight, pseudocount)
    spreads = [side.cells * _slope(side.scale, pseudocount) ** 2 for side in (first, second)]
    variance = sum(spreads) + kept * noise
    if names:
        variance, freedom = _of_replicates(first, second, pseudocount, names, variance)
    else:  # Welch & Satterthwaite: τ² is known, each spread is estimated from n cells
        pairs = zip(spreads, (first, second), strict=True)
        uncertain = sum(spread**2 / (side.n_cells - 1) for spread, side in pairs)
        freedom = variance**2 / np.maximum(uncertain, 1e-30)
    return Comparison(lfc, as_normal(lfc, np.sqrt(np.maximum(variance, 1e-24)), freedom))


def weight_and_noise(apart: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """Find the model's weight in the mean of the witnesses, and how much of τ² it keeps.

    Their errors η (counts, variance τ²) and ζ (model) obey ((η + ζ)/2)² = (η² + ζ²)/2 − (η − ζ)²/4,
    and η − ζ is seen. If the model errs no more than the counts, their plain mean keeps at most
    1 − α of τ², α being the mean of (η − ζ)²/4τ² over genes. Both have seen the same counts, so
    that η and ζ do not oppose each other: (η − ζ)² is τ² + ζ² at most. An α above ½ therefore says
    that ζ² is (4α − 1)τ² at least. Then the model gets the weight τ²/(τ² + ζ²) = 1/4α.

    Args:
        apart: (G,), η − ζ, the LFC of the counts less that of the model.
        noise: (G,), τ². Genes on which the witnesses are more than 2τ apart are ones that the
            model has missed. They count in full for its weight, but not for what others keep.

    """
    each = apart**2 / np.maximum(4 * noise, 1e-300)
    usual, alpha = float(np.minimum(each, 1).mean()), max(float(each.mean()), 0.5)
    return 1 / (4 * alpha), max(1 - usual, 1 - 1 / (4 * alpha))


def moderated(variance: np.ndarray, by_cells: np.ndarray, freedom: int) -> tuple[np.ndarray, float]:
    """Moderate variances that were estimated from few replicates, by those of all genes.

    Smyth 2004 (doi:10.2202/1544-6115.1027), on the ratio to the variance by cells: the ratios of
    all genes have a typical value and scatter by more or less than ``freedom`` explains; what is
    left unexplained says how many degrees of freedom the typical value is worth.

    Args:
        variance: (G,), estimated.
        by_cells: (G,), what it would be if replicates did not differ; no result is below it.
        freedom: degrees of freedom of ``variance``.

    Returns:
        (G,), the variance; and its degrees of freedom.

    """
    ratio = variance / by_cells
    logs = np.log(ratio[ratio > 0])
    unexplained = logs.var(ddof=1) - polygamma(1, freedom / 2) if len(logs) > 1 else 0.0
    prior = 2 * _inverse_trigamma(unexplained) if unexplained > 0 else MOST_FREEDOM
    half = freedom / 2, prior / 2
    shift = np.log(half[0]) - digamma(half[0]) + digamma(half[1]) - np.log(half[1])
    typical = np.exp(logs.mean() + shift) if len(logs) else 1.0
    steady = by_cells * (prior * typical + freedom * ratio) / (prior + freedom)
    return np.maximum(steady, by_cells), prior + freedom


def as_normal(estimate: np.ndarray, sd: np.ndarray, freedom: np.ndarray | float) -> np.ndarray:
    """Widen a standard deviation that was itself estimated, as far as Student's t says.

    An estimate t standard deviations from 0 is as surprising under Student's t with these degrees
    of freedom as one that is fewer standard deviations away under the normal; the new sd puts it
    that many away.
    """
    t = np.maximum(abs(estimate) / sd, 1e-3)
    tail = np.maximum(stats.t.sf(t, np.minimum(freedom, MOST_FREEDOM)), SMALLEST_P)
    return sd * np.maximum(t / stats.norm.isf(tail), 1)


def _of_replicates(
    first: Side,
    second: Side,
    pseudocount: float,
    names: Sequence[Iterable[str]],
    by_cells: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Estimate the variance from how far each replicate moves the LFC.

    One with cells in both groups moves both means, so that what it has of its own cancels.
    """
    moved: dict[str, np.ndarray] = {}
    for side, sign, known in zip((first, second), (1, -1), names, strict=True):
        slope = sign * _slope(side.expected, pseudocount)
        for name, by in zip(known, side.moved, strict=True):
            moved[name] = moved.get(name, 0) + slope * by
    variance = np.sum([by**2 for by in moved.values()], axis=0)
    freedom = min(len(first.moved), len(second.moved)) - 1
    return moderated(variance, by_cells, freedom)


def _met(side: Side, weight: float, pseudocount: float) -> np.ndarray:
    """Return the log₂ share on which model and counts agree: at most τ from the counts.

    Shares are averaged, not their logarithms: without counts a logarithm would be far from all
    others. The counts are of the cells' own batches; the factor by which they change the model's
    share there is then applied to the share as asked.
    """
    step = np.sqrt(side.noise)
    met = side.raw + np.clip(weight * (side.expected - side.raw), -step, step)
    return np.log2(side.scale + pseudocount) + _log(met, side.expected, pseudocount)


def _log(share: np.ndarray, other: np.ndarray, pseudocount: float) -> np.ndarray:
    return np.log2(share + pseudocount) - np.log2(other + pseudocount)


def _slope(share: np.ndarray, pseudocount: float) -> np.ndarray:
    """By how much log₂(share + c) changes with the share."""
    return 1 / ((share + pseudocount) * np.log(2))


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value; it falls from ∞ to 0."""
    if value < polygamma(1, MOST_FREEDOM / 2):
        return MOST_FREEDOM / 2
    return float(brentq(lambda x: polygamma(1, x) - value, 1e-6, MOST_FREEDOM / 2))
