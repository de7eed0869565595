"""Checks for the end of chapter 5: the negative ELBO, written and sabotaged."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import NegativeBinomial, Normal, kl_divergence

from nbvae import NBVAE
from nbvae.teaching.exercises._check import (
    Diagnosis,
    NotSolvedError,
    Unexplained,
    exercise,
    inputs,
    solved,
)
from nbvae.teaching.exercises._reading import apart, array

Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@exercise("5.5", "the negative ELBO of each cell, also of an empty one.")
def check_neg_elbo(neg_elbo: Callable) -> Diagnosis:
    """Compare with torch.distributions, term by term, and then with the usual slips."""
    case = _elbo_case(inputs())
    answer = array(neg_elbo(*(part.clone() for part in case)))
    if answer.shape != (len(case[0]),):
        shape = f"shape ({len(case[0])},), not {answer.shape}"
        return f"it should be one number per cell, {shape}."
    reconstruction, kl = _elbo_terms(*case)
    right = (reconstruction + kl).numpy()
    if not np.isfinite(answer[-1]):
        return "the empty cell became NaN or infinite: its library is 0, and log 0 is −∞."
    if not _same(answer[:-1], right[:-1]):
        return _wrong_elbo(answer[:-1], case)
    if not _same(answer[-1:], right[-1:]):
        return "the empty cell's reconstruction should be 0, which leaves its KL."
    return None


def _same(answer: np.ndarray, right: np.ndarray) -> bool:
    """As exactly as numbers of this width allow: a constant of 1e-10 in a logarithm shows."""
    eps = float(np.finfo(answer.dtype).eps)
    return bool(np.all(abs(answer.astype(float) - right) <= 100 * eps * np.maximum(abs(right), 10)))


def _wrong_elbo(answer: np.ndarray, case: Arguments) -> str:
    x, mean, logvar, log_px_scale, log_theta = case
    reconstruction, kl = _elbo_terms(*case)

    def with_other(**changes: Tensor | float | bool) -> Tensor:
        return _elbo_terms(*case, **changes)[0] + kl  # type: ignore[arg-type]

    variance = kl_divergence(Normal(mean, logvar.exp()), Normal(0.0, 1.0)).sum(-1)
    swapped = _elbo_terms(x, mean, logvar, log_px_scale, -log_theta)[0] + kl
    slips = {
        "this is the ELBO; the loss is its negative": -(reconstruction + kl),
        "the KL is subtracted; −ELBO = reconstruction + KL": reconstruction - kl,
        "the log-likelihood is added; −ELBO = KL − log-likelihood": kl - reconstruction,
        "the KL is missing": reconstruction,
        "the reconstruction is missing": kl,
        "the likelihood is averaged over genes; sum it": reconstruction / x.shape[1] + kl,
        "the KL is averaged over the coordinates; sum it": reconstruction + kl / mean.shape[1],
        "the factor ½ of the KL is missing": reconstruction + 2 * kl,
        "the log-variance is used as the logarithm of a standard deviation":
        reconstruction + variance,
        "θ and 1/θ are swapped": swapped,
        "there is a constant in a logarithm, and rare genes are as small as it is":
        with_other(constant=1e-4),
        "the expected counts lack the library": with_other(with_library=False),
    }  # fmt: skip
    for complaint, slip in slips.items():
        if np.allclose(answer, slip[:-1], rtol=1e-6):
            return f"{complaint}."
    right = (reconstruction + kl)[:-1].numpy()
    worst = int(abs(answer - right).argmax())
    if np.allclose(answer, right, rtol=1e-4):
        return "nearly right: is there a constant in a logarithm? Even 1e-10 shows in rare genes."
    if np.allclose(np.delete(answer, worst), np.delete(right, worst), rtol=1e-4):
        return "it is wrong where a gene is very rare: is there a constant in a logarithm?"
    return Unexplained(
        "other values than the negative ELBO; compare its two terms separately: a cell should have "
        f"{apart(answer[worst], right[worst])}."
    )


def _elbo_case(rng: np.random.Generator) -> Arguments:
    """Six cells, the last one empty; a gene is very rare in the first.

    The second has a single molecule, and little else moves its likelihood than its library.
    """
    logits, log_theta = rng.normal(0, 2, (6, 8)), rng.normal(0, 1, 8)
    logits[1] = [0, 0, 0, 0, 0, 5, 0, 0]
    log_theta[[3, 5]] = 2, -1.6
    log_px_scale = torch.log_softmax(torch.from_numpy(logits), dim=-1)
    log_px_scale[0, 0] = -60.0
    qz_mean, qz_logvar = rng.standard_normal((2, 6, 3))
    x = rng.poisson(6 * rng.random((6, 8))).astype(float)
    x[0, 0], x[1], x[-1] = 1, 0, 0
    x[1, 3] = 1
    parts = (torch.from_numpy(part) for part in (x, qz_mean, qz_logvar, log_theta))
    counts, mean, logvar, theta = parts
    return counts, mean, logvar, log_px_scale, theta


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


@exercise("5.6", "it runs, it is finite, it trains, and it is wrong: only an outside view tells.")
def check_sabotaged(sabotaged: type) -> Diagnosis:
    """Run it in double precision next to the right module, with the same weights and noise."""
    right, wrong = NBVAE(30, 4).double(), solved(sabotaged(30, 4))
    if not isinstance(wrong, NBVAE):
        return "it should be a subclass of NBVAE."
    if type(wrong) is not NBVAE and not _own_attributes(type(wrong)):
        raise NotSolvedError
    wrong = wrong.double()
    if missing := wrong.load_state_dict(right.state_dict(), strict=False).missing_keys:
        return f"it has weights that NBVAE has not: {', '.join(missing)}. Change what it computes."
    rng = inputs()
    x = torch.from_numpy(rng.poisson(rng.gamma(0.5, 2, (16, 30))) + np.eye(16, 30))
    noise = torch.from_numpy(rng.standard_normal((16, 4)))
    loss = wrong(x, noise=noise).loss
    if loss.ndim:
        return "the loss should be one number, the mean over the cells."
    if not torch.isfinite(loss):
        return "the loss is not finite: the first step would report it."
    return _still_right(loss, right, wrong, x, noise) or _unmoved(loss, wrong)


def _still_right(loss: Tensor, right: NBVAE, wrong: NBVAE, x: Tensor, noise: Tensor) -> Diagnosis:
    """Compare with the right module's loss, also for the q that the answer says it uses."""
    if _equal(loss, right(x, noise=noise).loss):
        return "the loss is still the negative ELBO."
    q = wrong.inference(x, noise=noise)
    other = q._replace(z=q.qz_mean + (0.5 * q.qz_logvar).exp() * noise)
    decoded = right.generative(other.z, x.sum(dim=-1, keepdim=True))
    if _equal(loss, right.loss(x, other, decoded).loss):
        return "the loss is the negative ELBO of another q, and any q gives a lower bound."
    return None


def _equal(loss: Tensor, other: Tensor) -> bool:
    return bool(torch.isclose(loss.detach().double(), other.detach(), rtol=1e-11, atol=0))


def _unmoved(loss: Tensor, wrong: NBVAE) -> Diagnosis:
    if not loss.requires_grad:
        return "the loss has no gradient: backward() would report it."
    loss.backward()
    for name, weights in wrong.named_parameters():
        if weights.grad is None or not weights.grad.any():
            return f"{name} gets no gradient: anyone who looks at the weights would notice."
    return None


def _own_attributes(cls: type[NBVAE]) -> set[str]:
    """Name what a subclass of NBVAE, or a class between the two, defines besides its docstring."""
    classes = cls.__mro__[: cls.__mro__.index(NBVAE)]
    names = {name for each in classes for name in vars(each)}
    return names - {"__module__", "__doc__", "__static_attributes__", "__firstlineno__"}
