"""Checks for chapter 5, the draft."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import NegativeBinomial, Normal, kl_divergence

from nbvae import NBVAE
from nbvae.teaching.exercises._check import (
    Diagnosis,
    NotSolvedError,
    as_tensor,
    close,
    exercise,
    solved,
)


@exercise("5.1", "every link is resolved, and a wrong name stops where it is written.")
def check_pick_link(pick_link: Callable) -> Diagnosis:
    """Try names, None, callables and mistakes."""
    y = torch.linspace(-1, 2, 24).reshape(2, 3, 4)  # the last axis is not the second
    expected = {"exp": y.exp(), "softmax": torch.softmax(y, dim=-1), None: y}
    for link, value in expected.items():
        function = solved(pick_link(link))
        if not callable(function):
            return f"for {link!r} it returns {function!r}, which can't be called: is there an else?"
        if not close(function(y), value):
            return f"the function for {link!r} gives other values than it should."
    if pick_link(torch.tanh) is not torch.tanh:
        return "a callable should come back as it is."
    empty = nn.Sequential()
    if pick_link(empty) is not empty:
        return "an empty nn.Sequential() is a callable too, though bool() of it is False."
    return _refusal(pick_link)


def _refusal(pick_link: Callable) -> Diagnosis:
    try:
        for name in ("none", ""):
            pick_link(name)
    except ValueError as error:
        if "exp" in str(error) and "softmax" in str(error):
            return None
        return "the ValueError should list the names that are known."
    except Exception as error:
        return f"for 'none' it should raise ValueError, not {type(error).__name__}."
    return "it accepts 'none' or '', names that nobody defined."


@exercise("5.2", "a draw from q(z | x), and gradients reach both parameters.")
def check_draw(draw: Callable) -> Diagnosis:
    """Compare with m + s ε, then with what the usual slips give."""
    torch.manual_seed(0)
    mean, logvar, noise = torch.randn(3, 6, 4, dtype=torch.float64)
    mean.requires_grad_()
    logvar.requires_grad_()
    answer = solved(draw(mean, logvar, noise))
    z = as_tensor(answer, (6, 4), "z")
    slips = {
        "the noise has no effect: is z the mean?": mean,
        "the noise is scaled by the variance; its scale is the standard deviation": mean
        + logvar.exp() * noise,
        "the noise is scaled by the log-variance itself": mean + logvar * noise,
        "the noise is scaled by the square root of the log-variance, which is not defined below 0":
        mean + logvar.sqrt() * noise,
        "exp(2 log s²) is s⁴; half the log-variance is the logarithm of s": mean
        + (2 * logvar).exp() * noise,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if torch.allclose(z, slip.detach(), equal_nan=True):
            return f"{complaint}."
    if not close(z, (mean + (0.5 * logvar).exp() * noise).detach()):
        return "other values than m + s ε; is every draw made from the noise that was given?"
    if not answer.requires_grad:
        return "the values are right, but no gradient can get back to the encoders."
    gradients = torch.autograd.grad(answer.sum(), (mean, logvar), allow_unused=True)
    for name, gradient in zip(("mean", "log-variance"), gradients, strict=True):
        if gradient is None:
            return f"the values are right, but no gradient reaches the {name}."
    return None


@exercise("5.3", "equal to the divergence of two distribution objects.")
def check_kl_to_prior(kl_to_prior: Callable) -> Diagnosis:
    """Compare with torch.distributions, then with what the usual slips give."""
    torch.manual_seed(0)
    mean, logvar = torch.randn(2, 5, 3, dtype=torch.float64)
    sd = (0.5 * logvar).exp()
    each = kl_divergence(Normal(mean, sd), Normal(0.0, 1.0))  # (5, 3)
    answer = solved(kl_to_prior(mean, logvar))
    value = torch.as_tensor(answer).detach().to(torch.float64)
    if value.shape == (3,):
        return "it is summed over the cells; sum over the coordinates of each cell."
    if value.ndim == 0:
        return "it is one number for all cells; sum over the coordinates only."
    if value.shape == (5, 3):
        return "it is one number for each coordinate; add them up for each cell."
    variance = 0.5 * (mean**2 + logvar - 1 - logvar.abs().log()).sum(-1)
    reverse = kl_divergence(Normal(0.0, 1.0), Normal(mean, sd)).sum(-1)
    slips = {
        "it is averaged over the coordinates; the KL of independent coordinates is their sum":
        each.mean(-1),
        "the factor ½ is missing": 2 * each.sum(-1),
        "the sign is the wrong way round: a KL is never negative": -each.sum(-1),
        "the log-variance is used as if it were the variance": variance,
        "this is the KL from the prior to q; it goes from q to the prior": reverse,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if value.shape == slip.shape and torch.allclose(value, slip, equal_nan=True):
            return f"{complaint}."
    if value.isnan().any():
        return "it is NaN: is there a logarithm of a negative number?"
    if not close(as_tensor(answer, (5,), "the KL"), each.sum(-1)):
        return "other values than the KL; check each of the four terms."
    return None


@exercise("5.4", "at a true mean of 1e-4 the model learns to expect almost nothing.")
def check_learned_mean(learned_mean: Callable) -> Diagnosis:
    """Put the answer back into the likelihood and ask PyTorch for its mean."""
    epsilon = 1e-4
    for true_mean, theta in [(0.01, 1.0), (1e-3, 0.2), (5.0, 0.01), (1e-4, 1.0), (5e-5, 1.0)]:
        answer = float(as_tensor(learned_mean(true_mean, theta, epsilon), (), "the mean"))
        if close(answer, theta * (true_mean + epsilon) / (theta + epsilon), within=1e-6):
            return "this is the scored mean for a given μ; solve it for μ."
        if theta < 0.1 and close(answer, true_mean - epsilon, within=1e-6):
            return "right for large θ, but θ is shifted too: follow both constants."
        if answer + epsilon <= 0:
            return "this μ is so far below zero that the logits have no logarithm."
        logits = torch.tensor((answer + epsilon) / (theta + epsilon), dtype=torch.float64).log()
        total = torch.tensor(theta, dtype=torch.float64)
        scored = NegativeBinomial(total_count=total, logits=logits).mean
        if not close(scored, true_mean, within=1e-6):
            return f"at your μ the scored mean is {float(scored):.4g} instead of {true_mean:g}."
    return None


@exercise("5.5", "the negative ELBO of each cell, also of an empty one.")
def check_neg_elbo(neg_elbo: Callable) -> Diagnosis:
    """Compare with torch.distributions, term by term, and then with the usual slips."""
    case = _elbo_case()
    answer = torch.as_tensor(solved(neg_elbo(*case))).detach()
    if answer.ndim != 1 or len(answer) != len(case[0]):
        return (
            f"it should be one number per cell, shape ({len(case[0])},), not {tuple(answer.shape)}."
        )
    x, mean, logvar, log_px_scale, log_theta = case
    reconstruction, kl = _elbo_terms(*case)
    right = reconstruction + kl
    if answer[-1].isnan() or answer[-1].isinf():
        return "the empty cell became NaN or infinite: its library is 0, and log 0 is −∞."
    slips = {
        "this is the ELBO; the loss is its negative": -right,
        "the KL is subtracted; −ELBO = reconstruction + KL": reconstruction - kl,
        "the KL is missing": reconstruction,
        "the likelihood is averaged over genes; sum it": reconstruction / case[0].shape[1] + kl,
        "θ and 1/θ are swapped": _elbo_terms(x, mean, logvar, log_px_scale, -log_theta)[0] + kl,
        "there is a constant in a logarithm, and rare genes are as small as it is": _elbo_terms(
            *case, constant=1e-4
        )[0]
        + kl,
        "the expected counts lack the library": _elbo_terms(*case, with_library=False)[0] + kl,
    }
    for complaint, slip in slips.items():
        if torch.allclose(answer[:-1], slip[:-1], rtol=1e-6):
            return f"{complaint}."
    if not close(answer[:-1], right[:-1], within=1e-7):
        near = close(answer[:-1], right[:-1], within=1e-2)
        return (
            "nearly right: is there a constant in a logarithm?"
            if near
            else ("other values than the negative ELBO; compare its two terms separately.")
        )
    if not close(answer[-1], right[-1]):
        return "the empty cell's reconstruction should be 0, which leaves its KL."
    return None


@exercise("5.6", "it runs, it is finite, it trains, and it is wrong: only an outside view tells.")
def check_sabotaged(sabotaged: type) -> Diagnosis:
    """Run it beside the right module with the same weights and noise."""
    torch.manual_seed(0)
    right, wrong = NBVAE(30, 4), solved(sabotaged(30, 4))
    if not isinstance(wrong, NBVAE):
        return "it should be a subclass of NBVAE."
    if type(wrong) is not NBVAE and not _own_attributes(type(wrong)):
        raise NotSolvedError
    if missing := wrong.load_state_dict(right.state_dict(), strict=False).missing_keys:
        return f"it has weights that NBVAE has not: {', '.join(missing)}. Change what it computes."
    x, noise = torch.poisson(3 * torch.rand(16, 30)), torch.randn(16, 4)
    output, expected = wrong(x, noise=noise), right(x, noise=noise).loss
    if not torch.isfinite(output.loss):
        return "the loss is not finite: the first step would report it."
    if close(output.loss, expected, within=1e-5):
        return "the loss is still the negative ELBO."
    if not output.loss.requires_grad:
        return "the loss has no gradient: backward() would report it."
    output.loss.backward()
    unmoved = [
        name
        for name, weights in wrong.named_parameters()
        if weights.grad is None or not weights.grad.any()
    ]
    if unmoved:
        return f"{unmoved[0]} gets no gradient: whoever looks at the weights would notice."
    return None


def _own_attributes(cls: type[NBVAE]) -> set[str]:
    """Name what a subclass of NBVAE, or a class between the two, defines besides its docstring."""
    classes = cls.__mro__[: cls.__mro__.index(NBVAE)]
    names = {name for each in classes for name in vars(each)}
    return names - {"__module__", "__doc__", "__static_attributes__", "__firstlineno__"}


def _elbo_case() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Four cells, the last one empty; rare genes, so that constants in logarithms show."""
    torch.manual_seed(0)
    log_px_scale = torch.log_softmax(3 * torch.randn(4, 8, dtype=torch.float64), dim=-1)
    log_px_scale[0, 0] = -60.0  # so rare that even 1e-10 would show
    log_theta = torch.randn(8, dtype=torch.float64)
    qz_mean, qz_logvar = torch.randn(2, 4, 3, dtype=torch.float64)
    x = torch.poisson(6 * torch.rand(4, 8)).double()
    x[0, 0], x[-1] = 1, 0
    return x, qz_mean, qz_logvar, log_px_scale, log_theta


def _elbo_terms(
    x: Tensor,
    qz_mean: Tensor,
    qz_logvar: Tensor,
    log_px_scale: Tensor,
    log_theta: Tensor,
    *,
    with_library: bool = True,
    constant: float = 0.0,
) -> tuple[Tensor, Tensor]:
    library = x.sum(-1, keepdim=True).clamp(min=1) if with_library else torch.ones(len(x), 1)
    mean, theta = library * log_px_scale.exp(), log_theta.exp()
    logits = (mean + constant).log() - (theta + constant).log()
    likelihood = NegativeBinomial(total_count=theta, logits=logits)
    reconstruction = -likelihood.log_prob(x).sum(-1)
    reconstruction[x.sum(-1) == 0] = 0
    posterior = Normal(qz_mean, (0.5 * qz_logvar).exp())
    return reconstruction, kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)
