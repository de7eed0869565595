"""Checks for chapter 4, inference."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize, special, stats
from torch.distributions import Normal, kl_divergence

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved


@exercise("4.1", "and the two directions differ, unless the widths agree.")
def check_kl_normals(kl_normals: Callable) -> Diagnosis:
    """Compare with torch.distributions, then with the usual slips."""
    cases = [(0.3, -0.7, -1.1, 0.4), (2.0, 1.0, 0.5, -1.0), (0.0, 0.2, 0.0, 0.9)]
    answers = [float(solved(kl_normals(*case))) for case in cases]
    if _all_close(answers, [_kl(*case) for case in cases]):
        return None
    slips = {
        "this is KL(2 ‖ 1): the expectation is over the first distribution":
        lambda m1, v1, m2, v2: _kl(m2, v2, m1, v1),
        "this is the KL to N(0, 1), (4.7); the second distribution has its own mean and variance":
        lambda m1, v1, m2, v2: _kl(m1, v1, 0, 0),
        "the log-variances are taken for logarithms of standard deviations":
        lambda m1, v1, m2, v2: _kl(m1, 2 * v1, m2, 2 * v2),
        "the factor ½ is missing": lambda *case: 2 * _kl(*case),
        "the sign is wrong: a KL is never negative": lambda *case: -_kl(*case),
        "the means do not enter": lambda m1, v1, m2, v2: _kl(0, v1, 0, v2),
        "the squared distance of the means is not divided by s₂²":
        lambda m1, v1, m2, v2: _kl(0, v1, 0, v2) + 0.5 * (m1 - m2) ** 2,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if _all_close(answers, [slip(*case) for case in cases]):
            return f"{complaint}."
    if close(answers[2], _kl(*cases[2])):
        return "it is right when the means agree; look at the term with m₁ − m₂."
    return f"the check's first case should be {_kl(*cases[0]):.4f}, not {answers[0]:.4f}."


def _kl(m1: float, v1: float, m2: float, v2: float) -> float:
    mean1, logvar1, mean2, logvar2 = torch.tensor([m1, v1, m2, v2], dtype=torch.float64)
    q, p = Normal(mean1, (logvar1 / 2).exp()), Normal(mean2, (logvar2 / 2).exp())
    return kl_divergence(q, p).item()


def _all_close(a: list[float], b: list[float]) -> bool:
    return all(close(x, y) for x, y in zip(a, b, strict=True))


@exercise("4.2", "values alone, no slope of h. And now you know what that costs.")
def check_score_gradient(score_gradient: Callable) -> Diagnosis:
    """E z² = m² + s² and E z⁴ by hand: their slopes are known. Then compare draw by draw."""
    noise = np.random.default_rng(0).standard_normal(200_000)
    mean, logvar = 0.7, -0.5
    s2 = np.exp(logvar)
    answer = np.asarray(solved(score_gradient(np.square, mean, logvar, noise.copy())))
    if answer.shape != noise.shape:
        return f"one estimate a draw was asked for, shape {noise.shape}, not {answer.shape}."
    fourth = np.asarray(score_gradient(lambda z: z**4, mean, logvar, noise.copy()))
    right = s2, 6 * mean**2 * s2 + 6 * s2**2  # of E z² and of E z⁴, in log s²
    means = answer.mean(), fourth.mean()
    if np.allclose(means, right, rtol=0.04):
        return _by_slope(answer, noise, mean, logvar)
    slips = {
        "this is the slope in m, (4.9)": (2 * mean, 4 * mean**3 + 12 * mean * s2),
        "this is the slope in s², not in its logarithm": (1, 6 * mean**2 + 6 * s2),
        "this is the slope in s, not in log s²":
        (2 * s2**0.5, 2 * s2**0.5 * (6 * mean**2 + 6 * s2)),
        "this is twice the slope: log s², not log s": tuple(2 * value for value in right),
        "−1 is missing: ∇ log q has two terms, and its mean must be 0":
        (right[0] + (mean**2 + s2) / 2, right[1] + (mean**4 + 6 * mean**2 * s2 + 3 * s2**2) / 2),
    }  # fmt: skip
    for complaint, slip in slips.items():
        if np.allclose(means, slip, rtol=0.04):
            return f"{complaint}."
    if np.isclose(means[0], right[0], rtol=0.04):
        return "it is right for h = z² and wrong for h = z⁴: does it call h?"
    return f"for h = z² it should average {right[0]:.3f}, not {means[0]:.3f}."


def _by_slope(answer: np.ndarray, noise: np.ndarray, mean: float, logvar: float) -> Diagnosis:
    """Reparametrised draws average to the same, but use the slope of h."""
    z = mean + np.exp(0.5 * logvar) * noise
    if np.allclose(answer, 2 * z * 0.5 * np.exp(0.5 * logvar) * noise):
        return "this is the reparametrised gradient, (4.10); here h may only be called."
    return None


@exercise("4.3", "S = 1 gives the ELBO's draws, and no number was too small.")
def check_bound(bound: Callable) -> Diagnosis:
    """Moderate weights against plain arithmetic, then tiny ones."""
    log_weights = np.random.default_rng(0).normal(0, 2, (50, 4))
    answer = np.asarray(solved(bound(log_weights.copy())), dtype=float)
    right = np.log(np.exp(log_weights).mean(0))
    if answer.shape != (4,):
        if answer.shape == (50,):
            return "the average ran over the cells; it is over the draws, the first axis."
        return f"one bound for each of 4 cells was asked for, not shape {answer.shape}."
    slips = {
        "this is the mean of the logarithms, the ELBO: take the logarithm of the mean":
        log_weights.mean(0),
        "this is the logarithm of the sum: divide by S": np.log(np.exp(log_weights).sum(0)),
        "the sign is wrong: the bound on log p(x) was asked for, not on −log p(x)": -right,
        "the logarithm is missing": np.exp(log_weights).mean(0),
        "this is the best draw, not their average": log_weights.max(0),
    }  # fmt: skip
    for complaint, slip in slips.items():
        if np.allclose(answer, slip):
            return f"{complaint}."
    if not np.allclose(answer, right):
        return f"the check's first cell should have {right[0]:.3f}, not {answer[0]:.3f}."
    with np.errstate(divide="ignore"):
        far = np.asarray(bound(log_weights - 2000), dtype=float)
    if not np.allclose(far, right - 2000):
        return "right for large weights; near e^−2000 exp gives 0. Subtract the largest first."
    return None


@exercise("4.4", "draws from q never visit the tails, so that the average stays too low.")
def check_too_sure(too_sure: Callable) -> Diagnosis:
    """Run the bound with a thousand draws, a hundred times."""
    logvar = float(solved(too_sure()))
    noise = np.random.default_rng(0).standard_normal((1000, 100))
    z = np.exp(0.5 * logvar) * noise
    log_weights = stats.norm.logpdf(z) - stats.norm.logpdf(z, scale=np.exp(0.5 * logvar))
    missing = np.log(1000) - special.logsumexp(log_weights, axis=0).mean()  # log p(x) is 0 here
    if missing > 0.5:
        return None if logvar < 0 else f"this q is absurdly wide, s = {np.exp(logvar / 2):.3g}."
    if logvar >= 0:
        return f"this q is too wide, not too sure: the bound is off by {missing:.2f} nats only."
    return f"a thousand draws repair this q: the bound is off by {missing:.2f} nats. Be surer."


@exercise("4.5", "within 0.05 nats of the best, on posteriors that you had not seen.")
def check_fit_q(fit_q: Callable) -> Diagnosis:
    """Three posteriors, one skewed; the best q by quadrature."""
    targets = {
        "a narrow one": lambda z: stats.norm.logpdf(z, 1.5, 0.2) - 3,
        "a wide one": lambda z: stats.norm.logpdf(z, -1, 2.0),
        "a skewed one": lambda z: 3 * z - np.exp(z) - 0.5 * z**2,
    }
    for name, log_joint in targets.items():
        found = solved(fit_q(log_joint, np.random.default_rng(0)))
        mean, logvar = (float(value) for value in found)
        best = optimize.minimize(lambda q, f=log_joint: -_elbo(f, *q), [1.0, -1.0]).x
        if _elbo(log_joint, *best) - _elbo(log_joint, mean, logvar) > 0.05:
            return _off(name, mean, logvar, best)
    return None


def _off(name: str, mean: float, logvar: float, best: np.ndarray) -> str:
    sd, right = np.exp(0.5 * logvar), np.exp(0.5 * best[1])
    if abs(mean - best[0]) < 0.3 * right:
        if np.isclose(logvar, right, rtol=0.1) or np.isclose(logvar, right**2, rtol=0.1):
            return "return log s², not s or s²."
        if sd < 0.5 * right:
            return f"for {name} q is far too narrow: without its log s a q shrinks to the best z."
        return f"for {name} the mean is right, but s should be {right:.2f}, not {sd:.2f}."
    return f"for {name} the mean should be {best[0]:.2f}, not {mean:.2f}."


def _elbo(log_joint: Callable, mean: float, logvar: float) -> float:
    """E log p(x, z) + entropy of q, without its constant; Gauss–Hermite with 40 nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z = mean + np.exp(0.5 * logvar) * nodes
    return float(weights @ log_joint(z) / weights.sum() + 0.5 * logvar)
