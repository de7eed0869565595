"""Checks for chapter 11, why it is fast."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import gammaln
from scipy.stats import nbinom
from torch import Tensor

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved
from nbvae.teaching.work import GAMMAS, Work


@exercise("11.1", "a Poisson residual x − μ that is shrunk by θ/(μ + θ): noisy genes pull less.")
def check_residual(residual: Callable) -> Diagnosis:
    """Compare with finite differences of scipy's log-probability, by log μ."""
    for x, mu, theta in [(3, 1.5, 0.7), (0, 2.0, 5.0), (40, 4.0, 1e6)]:
        value = float(solved(residual(float(x), mu, theta)))
        right = _slope_by_log_mean(x, mu, theta)
        if close(value, right, within=1e-4):
            continue
        slips = {
            "this is the Poisson's residual, which the formula becomes only for large θ": x - mu,
            "the sign is turned round: a count above the mean should pull the mean up": -right,
            "this is the derivative by μ; by log μ it is μ times as large": right / mu,
            "θ and 1/θ are swapped": (x - mu) / (1 + mu * theta),
            "the mean is shrunk instead of the noise: θ belongs into the numerator, not μ": mu
            * (x - mu)
            / (mu + theta),
        }
        for complaint, slip in slips.items():
            if close(value, slip, within=1e-4):
                return f"{complaint}."
        return f"at x = {x}, μ = {mu:g}, θ = {theta:g} it is {right:.4f}, not {value:.4f}."
    return None


@exercise("11.2", "as many logarithms as the largest count, however many cells there are.")
def check_sum_over_cells(sum_over_cells: Callable) -> Diagnosis:
    """Compare with scipy's log-gammas."""
    x = torch.tensor([0, 0, 1, 0, 2, 5, 0, 1, 3, 17, 0], dtype=torch.float64)
    theta = torch.tensor(0.8, dtype=torch.float64)
    counts, t = x.numpy(), 0.8
    with Work() as work:
        value = float(solved(sum_over_cells(x, theta)))
    right = float((gammaln(counts + t) - gammaln(t) - counts * np.log(t)).sum())
    if close(value, right):
        return "the sum is right, but log-gammas were used." if work.numbers[GAMMAS] else None
    k = np.arange(int(counts.max()) + 1)
    log_terms = np.log1p(k / t)
    slips = {
        "a count of x takes the terms k = 0 … x − 1; yours takes k = x, too": sum(
            log_terms[: int(c) + 1].sum() for c in counts
        ),
        "these are the terms log(θ + k); without x log θ they are log(1 + k/θ)": right
        + counts.sum() * np.log(t),
        "each k is counted once; it occurs once for every cell with a count above it": log_terms[
            :-1
        ].sum(),
        "a k counts for the cells with exactly that count; it should for all above it": sum(
            log_terms[int(c)] for c in counts
        ),
    }
    for complaint, slip in slips.items():
        if close(value, slip):
            return f"{complaint}."
    return f"it should be {right:.4f} for the check's counts and θ = 0.8, not {value:.4f}."


@exercise(
    "11.3", "and a wrong sign or a wrong factor smells of nothing: finite differences see them."
)
def check_smells(smells: Callable) -> Diagnosis:
    """Let it judge right gradients and broken ones."""
    for n_genes in (5, 2000):
        gradient, broken = _gradients(n_genes)
        if solved(smells(gradient)):
            return f"it finds fault with a right gradient of {n_genes} genes: how exact is float32?"
        if not smells(broken):
            return "it does not notice the missing second term of (11.6)."
        if smells(1e-3 * gradient):
            return "it finds fault with small gradients: that is no mistake."
        if not smells(1e-3 * broken):
            return "a broken gradient gets through if it is small: compare with its size."
        one_cell = gradient.clone()
        one_cell[0] = broken[0]
        if not smells(one_cell):
            return "it does not notice one broken cell among right ones: look at each cell."
    return None


@exercise("11.4", "and genes that no cell has were never touched.")
def check_bag(bag: Callable) -> Diagnosis:
    """Compare with the dense product; weights of genes that no cell has are NaN."""
    rng = np.random.default_rng(0)
    x = rng.poisson(0.4, (7, 30)).astype(np.float64)
    x[:, 0] += 1
    x[:, ::5] *= np.arange(0, 30, 5) == 0  # some genes without counts
    weights = rng.standard_normal((30, 4))
    cells, genes = np.nonzero(x)
    starts = np.searchsorted(cells, np.arange(7))
    counts = x[cells, genes]
    right = np.log1p(x) @ weights
    marked = np.where(np.any(x > 0, axis=0)[:, None], weights, np.nan)
    value = np.asarray(solved(bag(counts, genes, starts, marked)), dtype=float)
    if value.shape != right.shape:
        return f"the shape should be {right.shape}, not {value.shape}."
    if np.isnan(value).any():
        return "the weights of genes without counts were touched."
    if np.allclose(value, right):
        return None
    if np.allclose(value, x @ weights):
        return "the counts themselves are the weights here; the encoders see log(1 + x)."
    if np.allclose(value, (x > 0) @ weights):
        return "every gene that is there counts once; it should count log(1 + x) times."
    if np.allclose(value, np.cumsum(right, axis=0)):
        return "each cell includes the cells before it."
    return "the sums differ from the dense product log1p(x) @ weights."


@exercise("11.5", "the same numbers with less work.")
def check_log_prob(log_prob: Callable) -> Diagnosis:
    """Compare with scipy, and count the log-gammas."""
    rng = np.random.default_rng(0)
    theta = np.exp(rng.uniform(-1, 3, 50))
    mean = np.exp(rng.uniform(-4, 0.5, (40, 50)))
    x = rng.negative_binomial(theta, theta / (theta + mean))
    x[0, 0] = 200
    right = torch.from_numpy(nbinom.logpmf(x, theta, theta / (theta + mean)))
    arguments = [torch.from_numpy(a).float() for a in (x, np.log(mean), np.log(theta))]
    with Work() as work:
        value = solved(log_prob(*arguments)).double()
    if value.shape != right.shape:
        return f"the shape should be {tuple(right.shape)}, one number a count."
    off = (value - right).abs() > 1e-4 * (1 + right.abs())
    if off.any():
        return _where_wrong(value, right, torch.from_numpy(x), off)
    each = work.numbers[GAMMAS] / x.size
    if each >= 1:
        return f"right, but with {each:.1f} log-gammas a count: which counts need one?"
    return None


def _where_wrong(value: Tensor, right: Tensor, x: Tensor, off: Tensor) -> str:
    """Say at which counts a log-probability is wrong."""
    factorial = torch.lgamma(x.double() + 1)
    if close(value - factorial, right):
        return "log x! is missing: it moves no weight, but it belongs to the probability."
    if not torch.isfinite(value).all():
        return f"it is not finite at a count of {int(x[~torch.isfinite(value)][0])}."
    kinds = {"0": x == 0, "1": x == 1, "2 and more": x > 1}
    wrong = [name for name, inside in kinds.items() if (off & inside).any()]
    return f"it is wrong for counts of {', '.join(wrong)}."


def _slope_by_log_mean(x: int, mu: float, theta: float, step: float = 1e-5) -> float:
    means = mu * np.exp([step, -step])
    up, down = nbinom.logpmf(x, theta, theta / (theta + means))
    return float((up - down) / (2 * step))


def _gradients(n_genes: int) -> tuple[Tensor, Tensor]:
    """Return a right gradient by the decoder's outputs, (N, G), and one without its second term."""
    noise = torch.Generator().manual_seed(n_genes)
    logits = torch.randn(6, n_genes, generator=noise, requires_grad=True)
    x = torch.poisson(torch.full((6, n_genes), 0.5), generator=noise)
    log_px_scale = torch.log_softmax(logits, -1)
    mean = x.sum(-1, keepdim=True) * log_px_scale.exp()
    log_prob = x * mean.log() - (x + 2) * torch.log1p(mean / 2)  # θ = 2, what depends on the mean
    (gradient,) = torch.autograd.grad(log_prob.sum(), logits)
    broken = x - (x + 2) * mean / (mean + 2)
    return gradient, broken.detach()
