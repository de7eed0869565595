"""Checks for chapter 4, inference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import optimize, special
from torch.distributions import Normal, kl_divergence

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._drawing import SIGMAS, off_by
from nbvae.teaching.exercises._formula import Formula, formula, in_page
from nbvae.teaching.exercises._reading import apart, array, close, number, numbers


@formula("4.1", "and the two directions differ, unless the widths agree.")
def _kl_normals() -> Formula:
    """Compare with torch.distributions, then with the usual slips."""
    rng = inputs()
    cases = [
        tuple(map(float, case)) for case in rng.uniform([1, -1, -1, 0.3], [2, -0.3, 0, 1], (3, 4))
    ]
    cases += [(1.3, 0.8, 1.3, -0.9)]
    slips = {
        "this is KL(2 ‖ 1): the expectation is over the first distribution":
        lambda m1, v1, m2, v2: _kl(m2, v2, m1, v1),
        "this is the KL to N(0, 1), (4.7); the second distribution has its own mean and variance":
        lambda m1, v1, m2, v2: _kl(m1, v1, 0, 0),
        "the log-variances are taken for logarithms of standard deviations":
        lambda m1, v1, m2, v2: _kl(m1, 2 * v1, m2, 2 * v2),
        "the log-variances are taken for variances": lambda m1, v1, m2, v2: (
            _kl(m1, np.log(v1), m2, np.log(v2)) if min(v1, v2) > 0 else np.inf
        ),
        "the factor ½ is missing": lambda *case: 2 * _kl(*case),
        "the sign is wrong: a KL is never negative": lambda *case: -_kl(*case),
        "the means do not enter": lambda m1, v1, m2, v2: _kl(0, v1, 0, v2),
        "the squared distance of the means is not divided by s₂²":
        lambda m1, v1, m2, v2: _kl(0, v1, 0, v2) + 0.5 * (m1 - m2) ** 2,
        "the squared distance of the means is divided by s₁², it should be by s₂²":
        lambda m1, v1, m2, v2: _kl(0, v1, 0, v2) + 0.5 * (m1 - m2) ** 2 / np.exp(v1),
        "the distance of the means is not squared":
        (lambda m1, v1, m2, v2: _kl(0, v1, 0, v2) + 0.5 * (m1 - m2) / np.exp(v2),
         lambda m1, v1, m2, v2: _kl(0, v1, 0, v2) + 0.5 * abs(m1 - m2) / np.exp(v2)),
        "the means have the wrong sign: their distance adds to a KL":
        lambda m1, v1, m2, v2: _kl(0, v1, 0, v2) - 0.5 * (m1 - m2) ** 2 / np.exp(v2),
        "log s₂² − log s₁² has the wrong sign":
        lambda m1, v1, m2, v2: _kl(m1, v1, m2, v2) + v1 - v2,
        "log s₂² − log s₁² lacks its half": lambda m1, v1, m2, v2: (
            _kl(m1, v1, m2, v2) + 0.5 * (v2 - v1)
        ),
        "log s₂² − log s₁² is missing":
        lambda m1, v1, m2, v2: _kl(m1, v1, m2, v2) - 0.5 * (v2 - v1),
        "the −1 is missing: the KL of two equal distributions is 0":
        (lambda *case: _kl(*case) + 0.5, lambda *case: _kl(*case) + 1),
        "the quotient of the variances is upside down: s₁² over s₂²": lambda m1, v1, m2, v2: (
            _kl(m1, v1, m2, v2) + 0.5 * (np.exp(v2 - v1) - np.exp(v1 - v2))
        ),
    }  # fmt: skip
    return Formula(
        _kl,
        cases,
        slips,
        names=("m₁", "log s₁²", "m₂", "log s₂²"),
        typed=("m1", "logvar1", "m2", "logvar2"),
    )


def _kl(m1: float, v1: float, m2: float, v2: float) -> float:
    mean1, logvar1, mean2, logvar2 = torch.tensor([m1, v1, m2, v2], dtype=torch.float64)
    q, p = Normal(mean1, (logvar1 / 2).exp()), Normal(mean2, (logvar2 / 2).exp())
    return kl_divergence(q, p).item()


@exercise("4.2", "values alone, no slope of h. And now you know what that costs.")
def check_score_gradient(score_gradient: Callable) -> Diagnosis:
    """E z² = m² + s² and E z⁴ by hand: their slopes are known. Watch what h is asked for."""
    rng = inputs()
    noise = rng.standard_normal(60_000)
    mean, logvar = float(rng.uniform(0.6, 1)), float(rng.uniform(0.6, 0.9))
    s2, z = np.exp(logvar), mean + np.exp(0.5 * logvar) * noise
    asked: list[np.ndarray] = []
    found = []
    for power in (2, 4):

        def h(at: Any, power: int = power) -> Any:
            asked.append(array(at, what="what h is given"))
            return at**power

        answer = array(score_gradient(h, mean, logvar, noise.copy()))
        if answer.shape != noise.shape:
            return f"one estimate per draw was asked for, shape {noise.shape}, not {answer.shape}."
        found.append(answer)
    right = s2, 6 * mean**2 * s2 + 6 * s2**2  # of E z² and of E z⁴, in log s²
    return (
        _wrong_draws(asked, z, noise, mean, s2)
        or _wrong_average(found, right, mean, s2)
        or _by_slope(found[0], z, noise, s2)
    )


def _wrong_draws(
    asked: list[np.ndarray], z: np.ndarray, noise: np.ndarray, mean: float, s2: float
) -> Diagnosis:
    """Look at the values of z at which h was evaluated."""
    arrays = [at for at in asked if at.size == z.size]
    if not arrays:
        return "h was never asked for the draws: the score function weighs the values h(z)."
    slips = {
        "z has the variance in place of the standard deviation: s = exp(½ log s²)": mean
        + s2 * noise,
        "z is the noise: the draws are m + s ε": noise,
        "z has log s² in place of s": mean + np.log(s2) * noise,
    }
    for at in arrays:
        if close(at, z, within=1e-5):
            continue
        for complaint, slip in slips.items():
            if close(at, slip, within=1e-5):
                return f"{complaint}."
        return (
            "this takes h next to the draws, for its slope; here only h at z = m + s ε may be used."
        )
    return None


def _wrong_average(
    found: list[np.ndarray], right: tuple[float, float], mean: float, s2: float
) -> Diagnosis:
    if _averages(found, right):
        return None
    averages = (
        (2 * mean, 4 * mean**3 + 12 * mean * s2),
        (1, 6 * mean**2 + 6 * s2),
        (2 * s2**0.5, 2 * s2**0.5 * (6 * mean**2 + 6 * s2)),
        tuple(2 * value for value in right),
        tuple(-value for value in right),
        (right[0] + (mean**2 + s2) / 2, right[1] + (mean**4 + 6 * mean**2 * s2 + 3 * s2**2) / 2),
    )
    slips = dict(zip(_SCORES, averages, strict=True))
    nearest = min(slips, key=lambda complaint: _sigmas(found, slips[complaint]))
    if _averages(found, slips[nearest]):
        return f"{nearest}."
    if _averages(found[:1], right[:1]):
        return "it is right for h = z² and wrong for h = z⁴: does it call h?"
    return Unexplained(f"for h = z² it should average {apart(found[0].mean(), right[0])}.")


_SCORES: dict[str, Callable] = {  # and what the slip makes of a draw, from h(z), ε and s
    "this is the slope in m, (4.9)": lambda h, e, s: h * e / s,
    "this is the slope in s², not in its logarithm": lambda h, e, s: h * (e**2 - 1) / (2 * s**2),
    "this is the slope in s, not in log s²": lambda h, e, s: h * (e**2 - 1) / s,
    "this is twice the slope: log s², not log s": lambda h, e, s: h * (e**2 - 1),
    "the sign is wrong": lambda h, e, s: h * (1 - e**2) / 2,
    "−1 is missing: ∇ log q has two terms, and its mean must be 0": lambda h, e, s: h * e**2 / 2,
}


@in_page("4.2")
def _score_of_a_draw() -> Formula:
    """In a page: of one draw, from the value h(z). The score is the slope of q's density."""

    def right(h: float, noise: float, s: float) -> float:
        mean, z, logvar = 0.0, torch.tensor(s * noise), torch.tensor(2 * np.log(s))
        logvar.requires_grad_()
        log_q = Normal(mean, (logvar / 2).exp()).log_prob(z)
        return h * torch.autograd.grad(log_q, logvar)[0].item()

    rows = inputs().uniform([0.5, 0.3, 0.6], [3, 2.5, 1.8], (4, 3))
    return Formula(
        right,
        [tuple(map(float, row)) for row in rows],
        _SCORES,
        names=("h", "ε", "s"),
        typed=("h", "noise", "s"),
        what="of one draw, with h for h(z)",
        within=1e-5,
    )


def _averages(found: list[np.ndarray], truth: tuple) -> bool:
    return _sigmas(found, truth) < SIGMAS


def _sigmas(found: list[np.ndarray], truth: tuple) -> float:
    return max(float(abs(off_by(f, t))) for f, t in zip(found, truth, strict=True))


def _by_slope(answer: np.ndarray, z: np.ndarray, noise: np.ndarray, s2: float) -> Diagnosis:
    """Reparametrised draws average to the same, but use the slope of h."""
    if close(answer, z * np.sqrt(s2) * noise, within=1e-3):
        return "this is the reparametrised gradient, (4.10); here h may only be called."
    return None


@exercise("4.3", "S = 1 gives the ELBO's draws, and no number was too small.")
def check_bound(bound: Callable) -> Diagnosis:
    """Moderate weights against plain arithmetic, then tiny and huge ones side by side."""
    log_weights = inputs().normal(0, 2, (50, 4))
    right = np.log(np.exp(log_weights).mean(0))
    answer = array(bound(log_weights.copy()))
    if answer.shape == (50,):
        return "the average ran over the cells; it is over the draws, the first axis."
    if answer.size != 4 or answer.ndim > 2:
        return f"one bound for each of 4 cells was asked for, not shape {answer.shape}."
    answer = answer.ravel()
    slips = {
        "this is the mean of the logarithms, the ELBO: take the logarithm of the mean":
        log_weights.mean(0),
        "this is the logarithm of the sum: divide by S": np.log(np.exp(log_weights).sum(0)),
        "it is divided by S twice, or by S outside the logarithm": [
            right - np.log(50), np.log(np.exp(log_weights).sum(0)) / 50
        ],
        "the sum is divided by the number of cells; average over the S draws":
        np.log(np.exp(log_weights).sum(0) / 4),
        "the sign is wrong: the bound on log p(x) was asked for, not on −log p(x)": -right,
        "the logarithm is missing": np.exp(log_weights).mean(0),
        "this is the best draw, not their average": log_weights.max(0),
        "the largest was subtracted and not added back":
        right - log_weights.max(0),
    }  # fmt: skip
    if not close(answer, right):
        first = int(abs(answer - right).argmax())
        return slipped_array(answer, slips) or Unexplained(
            f"a cell of the check should have {apart(answer[first], right[first])}."
        )
    return _far_away(bound, log_weights, right)


def slipped_array(answer: np.ndarray, slips: dict[str, Any]) -> Diagnosis:
    """Return the complaint whose array, or one of whose arrays in a list, the answer is."""
    for complaint, several in slips.items():
        for slip in several if isinstance(several, list) else [several]:
            if close(answer, slip):
                return f"{complaint}."
    return None


def _far_away(bound: Callable, log_weights: np.ndarray, right: np.ndarray) -> Diagnosis:
    """Cells whose weights are of another order of magnitude, first alike, then side by side."""
    for shift, what in ((-2000.0, "e^−2000 exp gives 0"), (1500.0, "e^1500 exp gives infinity")):
        if not close(array(bound(log_weights + shift)).ravel() - shift, right, within=1e-6):
            return f"right for moderate weights; near {what}. Subtract the largest first."
    shifts = np.array([-580.0, -2000.0, 900.0, -40.0])
    if not close(array(bound(log_weights + shifts)).ravel() - shifts, right, within=1e-6):
        return (
            "one maximum for all cells: next to a cell at −580, one at −2000 becomes −∞. Subtract "
            "the largest of each cell."
        )
    lost = log_weights.copy()
    lost[::2] = -3000.0  # draws of no weight
    if not close(array(bound(lost.copy())).ravel(), np.log(np.exp(lost).mean(0))):
        return "draws of weight 0 count as well: they belong to the S that the sum is divided by."
    if not close(array(bound(log_weights[:1].copy())).ravel(), log_weights[0]):
        return "with one draw the bound is that draw's log ω."
    return None


@exercise("4.4", "draws from q never visit the tails, so the average stays too low.")
def check_too_sure(too_sure: Callable) -> Diagnosis:
    """Run the bound with a thousand draws, a hundred times."""
    logvar = float(number(too_sure(), "log s²"))
    if not np.isfinite(logvar):
        return f"log s² is a finite number, not {logvar}."
    noise = inputs().standard_normal((1000, 100))
    log_weights = 0.5 * (noise**2 + logvar - (np.exp(0.5 * logvar) * noise) ** 2)
    missing = np.log(1000) - special.logsumexp(log_weights, axis=0).mean()  # log p(x) is 0 here
    s = np.exp(0.5 * logvar)
    if 0 < logvar < 0.5 and missing < 0.5:
        return f"this is s or s² itself? Return log s²; {logvar:g} means s = {s:.2f}."
    if logvar >= 0 and missing > 0.5:
        return f"this q is absurdly wide, s = {s:.3g}, and not too sure."
    if logvar >= 0:
        return f"this q is too wide, not too sure: the bound is off by {missing:.2f} nats only."
    if missing > 0.5:
        return None
    return f"a thousand draws repair this q: the bound is off by {missing:.2f} nats. Be surer."


@exercise("4.5", "within 0.05 nats of the best, on posteriors that you had not seen.")
def check_fit_q(fit_q: Callable) -> Diagnosis:
    """Three posteriors, one skewed; the best q by quadrature."""
    rng = inputs()
    m, s, wide, tilt = rng.uniform([1.2, 0.18, 1.7, 2.6], [1.7, 0.25, 2.2, 3.2]).tolist()
    e = float(np.e)  # e**z is right for arrays and tensors alike
    targets = {
        "a narrow one": lambda z: -0.5 * ((z - m) / s) ** 2 - 3,
        "a wide one": lambda z: -0.5 * ((z + 1) / wide) ** 2 - 2,
        "a skewed one": lambda z: tilt * z - e**z - 0.5 * z**2,
    }
    for name, log_joint in targets.items():
        found = numbers(fit_q(log_joint, np.random.default_rng(0)), ("m", "log s²"))
        mean, logvar = (float(value) for value in found)
        best = optimize.minimize(lambda q, f=log_joint: -_elbo(f, *q), [1.0, -1.0]).x
        if not _elbo(log_joint, *best) - _elbo(log_joint, mean, logvar) <= 0.05:
            return _off(name, mean, logvar, best)
    return None


def _off(name: str, mean: float, logvar: float, best: np.ndarray) -> str:
    sd, right = np.exp(0.5 * logvar), np.exp(0.5 * best[1])
    if not np.isfinite([mean, logvar]).all():
        return f"for {name} m or log s² is not finite."
    if abs(mean - best[0]) < 0.3 * right:
        if np.isclose(logvar, right, rtol=0.1) or np.isclose(logvar, right**2, rtol=0.1):
            return "return log s², not s or s²."
        if np.isclose(logvar, 0.5 * best[1], atol=0.1):
            return "return log s², not log s."
        if sd < 0.5 * right:
            return f"for {name} q is far too narrow: without its log s a q shrinks to the best z."
        if sd > 2 * right:
            return f"for {name} q is too wide: s should be {right:.2f}, not {sd:.2f}."
        return f"for {name} the mean is right; s should be {apart(sd, right)}."
    if abs(mean + best[0]) < 0.3 * right:
        return f"for {name} the mean has the wrong sign."
    return f"for {name} the mean should be {apart(mean, best[0])}."


def _elbo(log_joint: Callable, mean: float, logvar: float) -> float:
    """E log p(x, z) + entropy of q, without its constant; Gauss–Hermite with 40 nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z = mean + np.exp(0.5 * logvar) * nodes
    return float(weights @ log_joint(z) / weights.sum() + 0.5 * logvar)
