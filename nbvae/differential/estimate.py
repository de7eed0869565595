"""The rule of groups: the LFC of two groups' mean shares, and how wrong it may be.

Two witnesses know the mean share of a gene in a group: the model, by the mean of ρ over cells and
states, and the counts, by the group's counts of the gene ÷ all its counts. The LFC is that of
the mean of both. It errs for two reasons. Which cells were drawn: the spread of ρ over cells and
states, divided by n − 1. And what the counts of those cells left to chance: the variance that the
likelihood gives them, v. How much of v the mean keeps is seen by how far the witnesses are apart.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from nbvae.data.minibatches import CellTable
from nbvae.decoding import px_scale_as
from nbvae.evaluation import BATCH_SIZE, device_of
from nbvae.module.nbvae import GenerativeOutput
from nbvae.module.protocol import LatentModule

SMALLEST_P = 1e-290  # below it a quantile of the normal distribution is no longer a number


class Moments(NamedTuple):
    """Sums over some cells and over draws of their z; genes, (G,), but for the first two."""

    n_cells: int
    library: float  # all counts of these cells
    share: np.ndarray  # mean of ρ, decoded as asked
    variance: np.ndarray  # of ρ, over cells and states
    counts: np.ndarray  # sum of the counts
    expected: np.ndarray  # what the model expects it to be, in the cells' own batches
    noise: np.ndarray  # the variance of that sum, by the likelihood


class Side(NamedTuple):
    """One group, as far as the comparison needs it. Variances are those of log₂ shares."""

    scale: np.ndarray  # mean of ρ
    log_scale: np.ndarray  # log₂(mean of ρ + c)
    log_met: np.ndarray  # the same where model and counts meet
    apart: np.ndarray  # log₂ share of the counts − that of the model, in the cells' own batches
    log_raw: np.ndarray  # log₂(share of the counts + c)
    cells: np.ndarray  # variance: which cells were drawn
    noise: np.ndarray  # variance: what their counts left to chance
    replicates: np.ndarray  # (n_replicates, G), by how much each moves log_raw
    n_cells: int


class Comparison(NamedTuple):
    """The estimated LFC of each gene, (G,), and its standard deviation."""

    lfc: np.ndarray
    sd: np.ndarray
    lfc_model: np.ndarray
    lfc_raw: np.ndarray


def moments(
    module: LatentModule, table: CellTable, rows: np.ndarray, covariates: str, n_samples: int
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
    sums = np.zeros((4, table.counts.shape[1]))
    for m in table.minibatches(rows, BATCH_SIZE, device_of(module)):
        for _ in range(n_draws):
            z = module.inference(m.x, covariates=m.covariates).z
            own = module.generative(z, m.library, covariates=m.covariates)
            same = module.covariates is None or covariates == "own"
            share = own.px_scale if same else px_scale_as(module, z, m, covariates)
            terms = (share, share.square(), *mean_and_variance(own))
            sums += torch.stack([term.sum(dim=0) for term in terms]).cpu().double().numpy()
    share, square = sums[:2] / (n_draws * len(rows))
    counts = np.asarray(table.counts[rows].sum(axis=0, dtype=float)).ravel()
    variance = (square - share**2).clip(min=0)  # rounding may leave −1e-17
    return Moments(
        len(rows), counts.sum(), share, variance, counts, sums[2] / n_draws, sums[3] / n_draws
    )


def mean_and_variance(p: GenerativeOutput) -> tuple[Tensor, Tensor]:
    """Compute the mean and the variance of each count under the likelihood. (N, G) each.

    NB: μ and μ + μ²/θ; Poisson: μ and μ. Of counts that are lost with probability π: by the law of
    total variance, over lost and not lost.
    """
    mean = p.px_mean
    variance = mean if p.log_theta is None else mean + mean.square() / p.theta
    if p.dropout_logits is None:
        return mean, variance
    kept = torch.sigmoid(-p.dropout_logits)  # 1 − π
    return kept * mean, kept * (variance + (1 - kept) * mean.square())


def side_of(parts: list[Moments], pseudocount: float) -> Side:
    """Put a group together from its replicates, which count alike; without any it is one part."""
    n = len(parts)
    scale = np.mean([part.share for part in parts], axis=0)
    raws = np.stack([part.counts / part.library for part in parts])  # (n, G)
    raw = raws.mean(axis=0)
    expected = np.mean([part.expected / part.library for part in parts], axis=0)
    cells = sum(part.variance / max(part.n_cells - 1, 1) for part in parts) / n**2
    noise = sum(part.noise / part.library**2 for part in parts) / n**2
    log = partial(_log_share, pseudocount=pseudocount)
    slope, own_slope = (1 / ((share + pseudocount) * np.log(2)) for share in (scale, expected))
    return Side(
        scale=scale,
        log_scale=log(scale),
        # the counts are of the cells' own batches: what they make of the model's share there
        log_met=log(scale) + log(_met(raw, expected, noise)) - log(expected),
        apart=log(raw) - log(expected),
        log_raw=log(raw),
        cells=slope**2 * cells,
        noise=own_slope**2 * noise,
        replicates=own_slope * (raws - raw) / np.sqrt(n * max(n - 1, 1)),
        n_cells=sum(part.n_cells for part in parts),
    )


def _log_share(share: np.ndarray, pseudocount: float) -> np.ndarray:
    return np.log2(share + pseudocount)


def compared(first: Side, second: Side) -> Comparison:
    """Estimate the LFC of two groups, cells being what was drawn."""
    lfc, noise = _estimate(first, second)
    variance = first.cells + second.cells + noise
    # Welch & Satterthwaite: the noise is known, each spread is estimated from n cells
    uncertain = sum(side.cells**2 / (side.n_cells - 1) for side in (first, second))
    freedom = variance**2 / np.maximum(uncertain, 1e-300)
    return _comparison(first, second, lfc, variance, freedom)


def compared_by_replicates(
    first: Side, second: Side, names1: list[str], names2: list[str]
) -> Comparison:
    """Estimate the LFC of two groups, replicates being what was drawn.

    A replicate with cells in both groups moves both means at once, so that what is its own in both
    cancels. No width is below that of its cells.
    """
    lfc, noise = _estimate(first, second)
    by_cells = first.cells + second.cells + noise
    moved = dict(zip(names1, first.replicates, strict=True))
    for name, by in zip(names2, second.replicates, strict=True):
        moved[name] = moved.get(name, 0) - by
    by_replicates = np.sum([by**2 for by in moved.values()], axis=0)
    freedom = np.full(len(lfc), min(len(names1), len(names2)) - 1.0)
    return _comparison(first, second, lfc, np.maximum(by_cells, by_replicates), freedom)


def kept_noise(apart: np.ndarray, noise: np.ndarray) -> float:
    """Estimate which part of the counts' variance v is left in the mean of the two witnesses.

    Their errors a (counts, variance v) and b (model) obey |(a + b)/2|² = (|a|² + |b|²)/2 −
    |a − b|²/4, and a − b is seen. If the model errs no more than the counts, |b|² ≤ v, the mean
    keeps at most 1 − d of v, d being the mean of (a − b)²/4v. Both have seen the same counts, so
    that a and b do not oppose each other; then the mean keeps at least d, too.

    Args:
        apart: (G,), a − b, the LFC of the counts less that of the model.
        noise: (G,), v. A gene of which the witnesses are more than 2√v apart counts as one that
            has them so far apart: its model does err more, and ``_met`` leaves it to the counts.

    """
    d = float(np.minimum(apart**2 / np.maximum(4 * noise, 1e-300), 1).mean())
    return max(1 - d, d)


def _met(raw: np.ndarray, expected: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Meet half of the way from the counts' share to the model's, one standard deviation at most.

    Shares are averaged, not their logarithms: the one of no counts would be far from all others.
    """
    step = np.sqrt(noise)
    return raw + np.clip((expected - raw) / 2, -step, step)


def _estimate(first: Side, second: Side) -> tuple[np.ndarray, np.ndarray]:
    """Return the LFC by both witnesses and the noise that is left in it."""
    noise = first.noise + second.noise
    kept = kept_noise(first.apart - second.apart, noise)
    return first.log_met - second.log_met, kept * noise


def _comparison(
    first: Side, second: Side, lfc: np.ndarray, variance: np.ndarray, freedom: np.ndarray
) -> Comparison:
    sd = as_normal(lfc, np.sqrt(np.maximum(variance, 1e-24)), freedom)
    lfc_model = first.log_scale - second.log_scale
    return Comparison(lfc, sd, lfc_model, first.log_raw - second.log_raw)


def as_normal(estimate: np.ndarray, sd: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Widen a standard deviation that was itself estimated, as far as Student's t says.

    An estimate t standard deviations from 0 is as surprising under t with these degrees of freedom
    as one fewer normal standard deviations away; the new sd makes it so many.
    """
    t = np.maximum(abs(estimate) / sd, 1e-3)
    tail = np.maximum(stats.t.sf(t, np.minimum(freedom, 1e9)), SMALLEST_P)
    return sd * np.maximum(t / stats.norm.isf(tail), 1)
