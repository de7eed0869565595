"""Checks for chapter 5, the draft; the last two are in `elbo`."""

import re
from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize
from torch import Tensor, nn
from torch.distributions import NegativeBinomial, Normal, kl_divergence

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs, solved
from nbvae.teaching.exercises._formula import Formula, as_functions, in_page
from nbvae.teaching.exercises._reading import apart, array, close, number


@exercise("5.1", "every link is resolved, and a wrong name stops where it is written.")
def check_pick_link(pick_link: Callable) -> Diagnosis:
    """Try names, None, callables and mistakes."""
    y = torch.from_numpy(inputs().normal(0, 1, (2, 3, 4)))  # the last axis is not the second
    expected = {"exp": y.exp(), "softmax": torch.softmax(y, dim=-1), None: y}
    for link, value in expected.items():
        function = solved(pick_link(link))
        if not callable(function):
            return f"for {link!r} it returns {function!r}, which can't be called: is there an else?"
        found = function(y.clone())
        if not isinstance(found, Tensor):
            return f"the function for {link!r} should return a tensor, not {found!r}."
        if not close(found, value):
            return _wrong_link(link, array(found), y)
    if pick_link(torch.tanh) is not torch.tanh:
        return "a callable should come back as it is."
    empty = nn.Sequential()
    if pick_link(empty) is not empty:
        return "an empty nn.Sequential() is a callable too, though bool() of it is False."
    return _refusal(pick_link)


def _wrong_link(link: str | None, found: np.ndarray, y: Tensor) -> str:
    slips = {
        "this softmax runs over the first axis; it should be the last, dim=-1": y.softmax(0),
        "this softmax runs over the second axis; it should be the last, dim=-1": y.softmax(1),
        "this softmax runs over the whole tensor; it should run over the last axis, dim=-1":
        y.flatten().softmax(0).reshape(y.shape),
        "this is the logarithm of the softmax": y.log_softmax(-1),
        "this is a softmax": y.softmax(-1),
        "this is exp": y.exp(),
        "this is exp − 1": y.expm1(),
        "this changes nothing": y,
        "these are all 1: the softmax of a single number is 1": torch.ones_like(y),
        "exp is not divided by its sum": y.exp(),
    }  # fmt: skip
    if link == "softmax" and close(found, y.exp()):
        return "for 'softmax': exp is not divided by its sum over the last axis."
    for complaint, slip in slips.items():
        if close(found, slip):
            return f"for {link!r}: {complaint}."
    return Unexplained(f"the function for {link!r} gives other values than it should.")


def _refusal(pick_link: Callable) -> Diagnosis:
    for name in ("none", "", "Exp", "softplus", 3):
        try:
            pick_link(name)
        except ValueError as error:
            if not all(re.search(rf"\b{known}\b", str(error)) for known in ("exp", "softmax")):
                return "the ValueError should list the names that are known, exp and softmax."
        except Exception as error:
            return f"for {name!r} it should raise ValueError, not {type(error).__name__}."
        else:
            return f"it accepts {name!r}, which nobody defined."
    return None


@exercise("5.2", "a draw from q(z | x), and gradients reach both parameters.")
def check_draw(draw: Callable) -> Diagnosis:
    """Compare with m + s ε, then with what the usual slips give."""
    rng = inputs()
    mean, logvar, noise = (torch.from_numpy(rng.standard_normal((6, 4))) for _ in range(3))
    mean.requires_grad_()
    logvar.requires_grad_()
    answer = solved(draw(mean, logvar, noise.clone()))
    z = array(answer, (6, 4), "z")
    right = mean + (0.5 * logvar).exp() * noise
    if not close(z, right):
        return _wrong_draw(z, mean.detach(), logvar.detach(), noise)
    if not isinstance(answer, Tensor) or not answer.requires_grad:
        return "the values are right, but no gradient can get back to the encoders."
    found = torch.autograd.grad(answer.sum(), (mean, logvar), allow_unused=True)
    wanted = torch.autograd.grad(right.sum(), (mean, logvar))
    for name, gradient, truth in zip(("mean", "log-variance"), found, wanted, strict=True):
        if gradient is None:
            return f"the values are right, but no gradient reaches the {name}."
        if not close(gradient, truth):
            return f"the values are right, but the gradient by the {name} is not that of m + s ε."
    return None


def _wrong_draw(z: np.ndarray, mean: Tensor, logvar: Tensor, noise: Tensor) -> str:
    slips = {
        "the noise has no effect: is z the mean?": mean,
        "the noise is scaled by the variance; its scale is the standard deviation":
        mean + logvar.exp() * noise,
        "the noise is scaled by the log-variance itself": mean + logvar * noise,
        "exp(2 log s²) is s⁴; half the log-variance is the logarithm of s":
        mean + (2 * logvar).exp() * noise,
        "the noise is scaled by half the log-variance; exp is missing": mean + 0.5 * logvar * noise,
        "exp(−½ log s²) is 1/s; the sign is wrong": mean + (-0.5 * logvar).exp() * noise,
        "s has no sign and is not scaled: the noise is added as it is": mean + noise,
        "the standard deviation multiplies the mean, too": (mean + noise) * (0.5 * logvar).exp(),
        "the mean is missing": (0.5 * logvar).exp() * noise,
        "the draw is m − s ε; the noise is added": mean - (0.5 * logvar).exp() * noise,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if close(z, slip):
            return f"{complaint}."
    root = (mean + logvar.sqrt() * noise).numpy()
    if np.allclose(z, root, equal_nan=True):
        return (
            "the noise is scaled by the square root of the log-variance, which is not defined "
            "below 0."
        )
    implied = ((array(z) - mean.numpy()) / np.exp(0.5 * logvar.numpy())).ravel()
    if np.isfinite(implied).all() and abs(np.corrcoef(implied, noise.numpy().ravel())[0, 1]) < 0.7:
        return "this z does not follow the noise that was given: is it drawn afresh?"
    return Unexplained("other values than m + s ε.")


@exercise("5.3", "equal to the divergence of two distribution objects.")
def check_kl_to_prior(kl_to_prior: Callable) -> Diagnosis:
    """Compare with torch.distributions, then with what the usual slips give."""
    rng = inputs()
    mean, logvar = (torch.from_numpy(rng.standard_normal((5, 3))) for _ in range(2))
    sd = (0.5 * logvar).exp()
    each = kl_divergence(Normal(mean, sd), Normal(0.0, 1.0))  # (5, 3)
    value = array(kl_to_prior(mean, logvar))
    if value.shape == (3,):
        return "it is summed over the cells; sum over the coordinates of each cell."
    if value.ndim == 0:
        return "it is one number for all cells; sum over the coordinates only."
    if value.shape == (5, 3):
        return "it is one number for each coordinate; add them up for each cell."
    value = array(value, (5,), "the KL")
    if close(value, each.sum(-1)):
        return None
    for complaint, slip in _kl_slips(mean, logvar).items():
        if np.allclose(value, slip, equal_nan=True):
            return f"{complaint}."
    if np.isnan(value).any():
        return "it is NaN: is there a logarithm of a negative number?"
    return Unexplained(f"for a cell of the check it should be {apart(value[0], each.sum(-1)[0])}.")


@in_page("5.3")
def _kl_to_prior() -> Formula:
    """In a page a cell has one coordinate."""

    def right(mean: float, logvar: float) -> float:
        q = Normal(torch.tensor(mean).double(), torch.tensor(logvar / 2).double().exp())
        return kl_divergence(q, Normal(0.0, 1.0)).item()

    def slips(mean: float, logvar: float) -> dict[str, torch.Tensor]:
        return _kl_slips(*torch.tensor([[[mean]], [[logvar]]], dtype=torch.float64))

    cases = [(float(m), float(v)) for m, v in inputs().uniform([0.3, -1.5], [1.5, 1.2], (4, 2))]
    return Formula(
        right,
        cases,
        as_functions(slips, *cases[0]),
        names=("m", "log s²"),
        typed=("mean", "logvar"),
        what="for one coordinate",
    )


def _kl_slips(mean: torch.Tensor, logvar: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the usual slips give for each cell, from (n_cells, n_latent)."""
    sd = (0.5 * logvar).exp()
    each = kl_divergence(Normal(mean, sd), Normal(0.0, 1.0))
    terms = mean**2, logvar.exp(), logvar
    reverse = kl_divergence(Normal(0.0, 1.0), Normal(mean, sd)).sum(-1)
    return {
        "it is averaged over the coordinates; the KL of independent coordinates is their sum":
        each.mean(-1),
        "the factor ½ is missing": 2 * each.sum(-1),
        "the sign is the wrong way round: a KL is never negative": -each.sum(-1),
        "the log-variance is used as if it were the variance":
        0.5 * (terms[0] + logvar - 1 - logvar.abs().log()).sum(-1),
        "the log-variance is used as if it were the logarithm of the standard deviation":
        0.5 * (terms[0] + (2 * logvar).exp() - 1 - 2 * logvar).sum(-1),
        "exp(½ log s²) is s; the variance belongs there, exp(log s²)":
        0.5 * (terms[0] + sd - 1 - logvar).sum(-1),
        "this is the KL from the prior to q; it goes from q to the prior": reverse,
        "log s² has the wrong sign": 0.5 * (terms[0] + terms[1] - 1 + logvar).sum(-1),
        "the 1 has the wrong sign: the KL of N(0, 1) to itself is 0":
        0.5 * (terms[0] + terms[1] + 1 - logvar).sum(-1),
        "the 1 is missing, once for each coordinate: the KL of N(0, 1) to itself is 0":
        0.5 * (terms[0] + terms[1] - logvar).sum(-1),
        "the 1 is subtracted once for each cell; it is there for each coordinate":
        0.5 * ((terms[0] + terms[1] - logvar).sum(-1) - 1),
        "the mean is not squared": 0.5 * (mean + terms[1] - 1 - logvar).sum(-1),
        "m² is missing": 0.5 * (terms[1] - 1 - logvar).sum(-1),
    }  # fmt: skip


@exercise("5.4", "at a true mean of 1e-4 the model learns to expect almost nothing.")
def check_learned_mean(learned_mean: Callable) -> Diagnosis:
    """Put the answer back into the likelihood and ask PyTorch for its mean."""
    rng, epsilon = inputs(), 1e-4
    spread = rng.uniform(0.8, 1.25, 5)
    cases = [(0.01, 1.0), (1e-3, 0.2), (5.0, 0.01), (1e-4, 1.0), (5e-5, 1.0)]
    for factor, (mean, theta) in zip(spread, cases, strict=True):
        true_mean = float(mean if mean == 1e-4 else mean * factor)
        answer = number(learned_mean(true_mean, theta, epsilon))
        # two numbers of the size of ε or of the mean are subtracted: so exact can the result be
        within = max(1e-9, 16 * float(np.finfo(answer.dtype).eps)) * max(true_mean, epsilon)
        if abs(_scored(float(answer), theta, epsilon) - true_mean) <= within:
            continue
        for complaint, slip in _MEANS.items():
            if abs(float(answer) - slip(true_mean, theta, epsilon)) <= within:
                return f"{complaint}."
        if float(answer) + epsilon <= 0:
            return "this μ is so far below zero that the logits have no logarithm."
        scored = _scored(float(answer), theta, epsilon)
        return Unexplained(f"at your μ the scored mean should be {apart(scored, true_mean)}.")
    return None


@in_page("5.4")
def _learned_mean() -> Formula:
    """The μ whose scored mean is the true one, found by search."""

    def right(true_mean: float, theta: float, epsilon: float) -> float:
        def off(mean: float) -> float:
            return _scored(mean, theta, epsilon) - true_mean

        return optimize.brentq(off, -0.999 * epsilon, 2 * true_mean + 1, xtol=1e-17, rtol=1e-14)

    cases = [(0.01, 1.0, 1e-4), (1e-3, 0.2, 1e-4), (5.0, 0.01, 1e-4), (5e-5, 1.0, 1e-4)]
    return Formula(
        right,
        cases,
        _MEANS,
        names=("x̄", "θ", "ε"),
        typed=("true_mean", "theta", "epsilon"),
        within=1e-8,
        smallest=1e-4,
        sample=(1e-3, 0.2, 1e-4),
    )


def _scored(mean: float, theta: float, epsilon: float) -> float:
    """The mean of PyTorch's distribution with the draft's logits; NaN where they have none."""
    logits = torch.tensor((mean + epsilon) / (theta + epsilon), dtype=torch.float64).log()
    if logits.isnan() or mean + epsilon <= 0:
        return float("nan")
    total = torch.tensor(theta, dtype=torch.float64)
    return float(NegativeBinomial(total_count=total, logits=logits).mean)


_MEANS: dict[str, Callable[[float, float, float], float]] = {
    "this is the scored mean for a given μ; solve it for μ": lambda x, t, e: t * (x + e) / (t + e),
    "θ is shifted, too: follow both constants": lambda x, t, e: x - e,
    "ε is subtracted before the factor (θ + ε)/θ; it was added inside the bracket, so it comes off "
    "last": lambda x, t, e: (x - e) * (t + e) / t,
    "the factor is upside down: (θ + ε)/θ": lambda x, t, e: x * t / (t + e) - e,
    "the ε beside μ is missing": lambda x, t, e: x * (t + e) / t,
    "ε is added; it has to come off μ": lambda x, t, e: x * (t + e) / t + e,
    "a negative result was cut off; the task asks for it": lambda x, t, e: max(
        0.0, x * (t + e) / t - e
    ),
    "this is the true mean: the constants move it": lambda x, t, e: x,
}
