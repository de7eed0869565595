"""Checks for chapter 11, why it is fast."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import gammaln
from scipy.stats import nbinom
from torch import Tensor

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._counting import counted
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import (
    apart,
    array,
    close,
    either,
    number,
    slipped,
    truth,
)
from nbvae.teaching.work import GAMMAS, LOGS

HUGE = 1e13  # a θ at which a difference of log-gammas has no digit left


@formula("11.1", "a Poisson residual x − μ that is shrunk by θ/(μ + θ): noisy genes pull less.")
def _residual() -> Formula:
    """Compare with finite differences of scipy's log-probability, by log μ."""
    rng = inputs()
    mu, theta = rng.uniform(1.5, 4, 4), rng.uniform(0.4, 3, 4)
    cases = [
        (float(x), float(m), float(t)) for x, m, t in zip([5, 0, 2, 9], mu, theta, strict=True)
    ]
    cases.append((40.0, 4.0, 1e5))
    slips = {
        "this is the Poisson's residual, which the formula becomes only for large θ":
        lambda x, m, t: x - m,
        "the sign is turned round: a count above the mean should pull the mean up":
        lambda x, m, t: -t * (x - m) / (m + t),
        "this is the derivative by μ; by log μ it is μ times as large": (
            lambda x, m, t: t * (x - m) / (m + t) / m, lambda x, m, t: (x - m) / (m + m**2 / t)
        ),
        "θ and 1/θ are swapped": lambda x, m, t: (x - m) / (1 + m * t),
        "the mean is shrunk instead of the noise: θ belongs into the numerator, not μ":
        lambda x, m, t: m * (x - m) / (m + t),
        "θ is missing in the numerator": lambda x, m, t: (x - m) / (m + t),
        "this is Pearson's residual: the pull has no root in it":
        lambda x, m, t: (x - m) / np.sqrt(m + m**2 / t),
        "this is the first term alone, x": lambda x, m, t: x,
        "(x + θ) became θ: both multiply r/(1 + r)": lambda x, m, t: x - t * m / (m + t),
        "(x + θ) became x: both multiply r/(1 + r)": lambda x, m, t: x - x * m / (m + t),
        "r/(1 + r) is μ/(μ + θ); here it is θ/(μ + θ)": lambda x, m, t: x - (x + t) * t / (m + t),
    }  # fmt: skip
    return Formula(
        _slope_by_log_mean,
        cases,
        slips,
        names=("x", "μ", "θ"),
        within=1e-4,
        typed=("x", "mean", "theta"),
    )


def _slope_by_log_mean(x: float, mu: float, theta: float, step: float = 1e-4) -> float:
    means = mu * np.exp([step, -step])
    up, down = nbinom.logpmf(x, theta, theta / (theta + means))
    return float((up - down) / (2 * step))


@exercise("11.2", "as many logarithms as the largest count, however many cells there are.")
def check_sum_over_cells(sum_over_cells: Callable) -> Diagnosis:
    """Compare with scipy's log-gammas, count the logarithms, and take a θ that log-gammas fear."""
    rng = inputs()
    x, theta = rng.permutation([0, 0, 0, 1, 1, 2, 3, 4, 5, 17]), float(rng.uniform(0.6, 1.5))
    with counted(sum_over_cells) as numbers:
        value = number(_told(sum_over_cells, x, theta))
    right = float((gammaln(x + theta) - gammaln(theta) - x * np.log(theta)).sum())
    if not close(value, right):
        return _wrong_sum(value, x, theta, right)
    if numbers[GAMMAS]:
        return "the sum is right, but log-gammas were used."
    if numbers[LOGS] > 3 * (x.max() + 1):
        return f"right, but with {numbers[LOGS]} logarithms; each k needs one, up to {x.max()}."
    many = rng.poisson(4.0, 500)
    with counted(sum_over_cells) as numbers:
        _told(sum_over_cells, many, theta)
    if numbers[LOGS] > 3 * (many.max() + 1):
        return (
            f"right, but {numbers[LOGS]} logarithms for 500 cells with counts up to {many.max()}: "
            "take one for each k, and multiply it by the cells that it occurs for."
        )
    value = number(_told(sum_over_cells, x, HUGE))
    slack = 1e4 * float(np.finfo(value.dtype).eps) * x.sum()
    if not abs(value) <= slack:
        return f"at θ = {HUGE:g} it should be almost 0, not {value:.3g}: are log-gammas subtracted?"
    return None


def _told(answer: Callable, x: np.ndarray, theta: float) -> object:
    """Ask with tensors, as the chapter has them, or else with arrays."""
    counts, t = x.astype(float), torch.tensor(theta, dtype=torch.float64)
    return either(answer, (torch.from_numpy(counts), t), (counts, theta), (x, theta))


def _wrong_sum(value: np.floating, x: np.ndarray, theta: float, right: float) -> str:
    terms = np.log1p(np.arange(int(x.max()) + 2) / theta)
    slips = {
        "a count of x takes the terms k = 0 … x − 1; yours takes k = x, too":
        sum(terms[: c + 1].sum() for c in x),
        "a count of x takes the terms k = 0 … x − 1; one is missing":
        sum(terms[: max(c - 1, 0)].sum() for c in x),
        "these are the terms log(θ + k); without x log θ they are log(1 + k/θ)":
        right + x.sum() * np.log(theta),
        "x log θ has the wrong sign: it was taken off": right - x.sum() * np.log(theta),
        "each k is counted once; it occurs once for every cell with a count above it": [
            terms[: x.max()].sum(), terms[: x.max() + 1].sum()
        ],
        "a k counts for the cells with exactly that count; it should for all above it":
        sum(terms[c] for c in x),
        "θ and 1/θ are swapped": sum(np.log1p(np.arange(c) * theta).sum() for c in x),
        "this is a mean over the cells; add them up": right / len(x),
        "these are the factorials' terms, without θ": sum(gammaln(c + 1) for c in x),
    }  # fmt: skip
    return slipped(value, slips) or Unexplained(
        f"for the check's counts and θ = {theta:.3g} it should be {apart(value, right)}."
    )


@exercise(
    "11.3", "and a wrong sign or a wrong factor smells of nothing: finite differences see them."
)
def check_smells(smells: Callable) -> Diagnosis:
    """Let it judge right gradients and broken ones, some of which break a single cell."""
    rng = inputs()

    def verdict(gradient: Tensor) -> bool:
        return truth(smells(gradient.clone()))

    for n_genes in (5, 2000):
        gradient, broken = _gradients(n_genes, rng)
        if verdict(gradient):
            return f"it finds fault with a right gradient of {n_genes} genes: how exact is float32?"
        if not verdict(broken):
            return "it does not notice the missing second term of (11.6)."
        if verdict(1e-3 * gradient) or verdict(1e3 * gradient):
            return "it finds fault with small or large gradients: that is not a mistake."
        if not verdict(1e-3 * broken):
            return "a broken gradient gets through if it is small: compare with its size."
        seen = broken.sum(-1).abs() > 0.1 * broken.abs().sum(-1)  # the others cancel by chance
        for cell in seen.nonzero().flatten().tolist():
            one_cell = gradient.clone()
            one_cell[cell] = 0.01 * broken[cell]
            if not verdict(one_cell):
                return "it does not notice one broken cell among right ones: look at each cell."
        opposite = torch.cat([broken, -broken])
        if not verdict(opposite):
            return "cells that are wrong in opposite directions cancel in it: look at each cell."
    return None


@exercise("11.4", "and genes that no cell has were never touched.")
def check_bag(bag: Callable) -> Diagnosis:
    """Compare with the dense product; weights of genes that no cell has are NaN."""
    rng = inputs()
    n_cells, n_genes = 7, 30
    x = rng.poisson(0.5, (n_cells, n_genes)).astype(np.float64)
    x[:, 1] += rng.integers(1, 4, n_cells)  # no cell is empty
    x[:, ::5] = 0  # some genes without counts
    weights = rng.standard_normal((n_genes, 4))
    cells, genes = np.nonzero(x)
    starts, counts = np.searchsorted(cells, np.arange(n_cells)), x[cells, genes]
    marked = np.where(np.any(x > 0, axis=0)[:, None], weights, np.nan)
    value = array(either(bag, *_bags(counts, genes, starts, marked)))
    right = np.log1p(x) @ weights
    if value.shape != right.shape:
        return f"the shape should be {right.shape}, not {value.shape}."
    if close(value, right, within=1e-5):
        return None
    if np.isnan(value).any():
        return "the weights of genes without counts were touched."
    return _wrong_bag(value, x, weights)


def _bags(*parts: np.ndarray) -> tuple[tuple, tuple]:
    """The arguments as arrays, and as tensors for an answer that can't work with those."""
    copies = tuple(part.copy() for part in parts)
    return copies, tuple(torch.from_numpy(part.copy()) for part in parts)


def _wrong_bag(value: np.ndarray, x: np.ndarray, weights: np.ndarray) -> str:
    right, some = np.log1p(x) @ weights, x > 0
    one_short = right.copy()
    one_short[-1] = value[-1]
    slips = {
        "the counts themselves are the weights here; the encoders see log(1 + x)": x @ weights,
        "every gene that is there counts once; it should count log(1 + x) times": some @ weights,
        "each cell includes the cells before it": np.cumsum(right, axis=0),
        "these are means over a cell's genes; add them up": right / some.sum(1, keepdims=True),
        "this is log(1 + the sum); each count has its own logarithm": np.log1p(x @ weights),
        "log(1 + x) lacks its 1: a count of 1 is 0 then":
        np.where(some, np.log(np.maximum(x, 1)), 0) @ weights,
        "the last cell is cut short: its entries go to the end of the list": one_short,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if np.allclose(value, slip, equal_nan=True):
            return f"{complaint}."
    first = tuple(np.argwhere(~np.isclose(value, right))[0])
    result = apart(value[first], right[first])
    return Unexplained(f"for cell {first[0]} a sum differs from log1p(x) @ weights: {result}.")


@exercise("11.5", "the same numbers with less work.")
def check_log_prob(log_prob: Callable) -> Diagnosis:
    """Compare with scipy, and count the log-gammas, of whatever library."""
    rng = inputs()
    theta = np.exp(rng.uniform(-1, 3, 50))
    mean = np.exp(rng.uniform(-4, 0.5, (40, 50)))
    x = rng.negative_binomial(theta, theta / (theta + mean))
    x[rng.integers(40), rng.integers(50)] = 200
    right = nbinom.logpmf(x, theta, theta / (theta + mean))
    arguments = [torch.from_numpy(a).float() for a in (x, np.log(mean), np.log(theta))]
    with counted(log_prob) as numbers:
        answer = log_prob(*arguments)
    value = array(answer, right.shape, "the table of log-probabilities").astype(float)
    off = ~(abs(value - right) <= 1e-4 * (1 + abs(right)))
    if off.any():
        return _where_wrong(value, right, x, off)
    each = numbers[GAMMAS] / x.size
    if each >= 1:
        return f"right, but with {each:.1f} log-gammas per count: which counts need one?"
    return None


def _where_wrong(value: np.ndarray, right: np.ndarray, x: np.ndarray, off: np.ndarray) -> str:
    """Say at which counts a log-probability is wrong."""
    if np.allclose(value - gammaln(x + 1), right, atol=1e-3, rtol=1e-4):
        return "log x! is missing: it moves no weight, but it belongs to the probability."
    if np.allclose(-value, right, atol=1e-3, rtol=1e-4):
        return "these are negative log-probabilities."
    likely = right > -50  # smaller probabilities are no float32 numbers
    if np.allclose(np.log(value)[likely], right[likely], atol=1e-3, rtol=1e-3):
        return "these are the probabilities; their logarithms were asked for."
    if not np.isfinite(value).all():
        return f"it is not finite at a count of {int(x[~np.isfinite(value)][0])}."
    kinds = {"0": x == 0, "1": x == 1, "2 and more": x > 1}
    wrong = [name for name, inside in kinds.items() if (off & inside).any()]
    if len(wrong) == 3:
        return "it is wrong for all counts: are θ and 1/θ swapped, or a mean and its logarithm?"
    return f"it is wrong for counts of {' and of '.join(wrong)}."


def _gradients(n_genes: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a right gradient by the decoder's outputs, (N, G), and one without its second term."""
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    logits = torch.randn(6, n_genes, generator=noise, requires_grad=True)
    x = torch.poisson(torch.full((6, n_genes), 0.5), generator=noise)
    x[:, 0] += 3  # no cell is empty
    log_px_scale = torch.log_softmax(logits, -1)
    mean = x.sum(-1, keepdim=True) * log_px_scale.exp()
    log_prob = x * mean.log() - (x + 2) * torch.log1p(mean / 2)  # θ = 2, what depends on the mean
    (gradient,) = torch.autograd.grad(log_prob.sum(), logits)
    broken = x - (x + 2) * mean / (mean + 2)
    return gradient, broken.detach()
