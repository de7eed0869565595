"""Answers to the exercises of chapter 5, right and wrong."""

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.distributions import NegativeBinomial, Normal, kl_divergence

from nbvae import NBVAE


def pick_link_by_match(link):
    match link:
        case None:
            return nn.Identity()
        case "exp":
            return torch.exp
        case "softmax":
            return nn.Softmax(dim=-1)
        case _ if callable(link):
            return link
    raise ValueError("known links: exp, softmax")


def pick_link_by_dictionary(link):
    if link is not None and callable(link):
        return link
    known = {None: lambda y: y, "exp": torch.exp, "softmax": lambda y: y.softmax(-1)}
    if link not in known:
        raise ValueError(f"{link!r} is none of exp, softmax")
    return known[link]


def pick_link_by_attribute(link):
    if callable(link):
        return link
    if link is None:
        return nn.Identity()
    if link == "exp" or link == "softmax":
        return lambda y: torch.exp(y) / (torch.exp(y).sum(-1, keepdim=True) if link != "exp" else 1)
    raise ValueError(f"no link {link!r}; there are 'exp' and 'softmax'")


def picked(refusal="exp, softmax", error=ValueError, **changed):
    """The dictionary, with a slip."""

    def pick_link(link):
        if link is None:
            return lambda y: y
        if callable(link):
            return link
        known = {"exp": torch.exp, "softmax": nn.Softmax(-1)} | changed
        if link not in known:
            raise error(refusal)
        return known[link]

    return pick_link


def neg_elbo_by_lgamma(x, qz_mean, qz_logvar, log_px_scale, log_theta):
    library, theta = x.sum(-1, keepdim=True), log_theta.exp()
    mean = library * log_px_scale.exp()
    total = (theta + mean).log()
    log_prob = (x + theta).lgamma() - theta.lgamma() - (x + 1).lgamma()
    log_prob = log_prob + torch.special.xlogy(x, mean) - x * total + theta * (log_theta - total)
    return 0.5 * (qz_mean**2 + qz_logvar.expm1() - qz_logvar).sum(-1) - log_prob.sum(-1)


def neg_elbo_by_distributions(x, qz_mean, qz_logvar, log_px_scale, log_theta):
    library = x.sum(-1, keepdim=True)
    safe = torch.where(library > 0, library, 1.0)
    likelihood = NegativeBinomial(log_theta.exp(), logits=safe.log() + log_px_scale - log_theta)
    log_prob = torch.where(library > 0, likelihood.log_prob(x), 0.0).sum(-1)
    posterior = Normal(qz_mean, (qz_logvar / 2).exp())
    return kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1) - log_prob


def no_refusal(link):
    return link if callable(link) else {"exp": torch.exp, "softmax": nn.Softmax(-1)}.get(
        link, lambda y: y
    )  # fmt: skip


def falsy_link(link):
    if not link:
        return lambda y: y
    return pick_link_by_dictionary(link)


def with_constant(x, m, v, s, t):
    logits = (x.sum(-1, keepdim=True) * s.exp() + 1e-4).log() - (t.exp() + 1e-4).log()
    log_prob = NegativeBinomial(t.exp(), logits=logits).log_prob(x).sum(-1)
    return 0.5 * (m**2 + v.exp() - 1 - v).sum(-1) - log_prob


def inverted_theta(x, m, v, s, t):
    return neg_elbo_by_distributions(x, m, v, s, -t)


def mean_over_genes(x, m, v, s, t):
    kl = 0.5 * (m**2 + v.exp() - 1 - v).sum(-1)
    return (neg_elbo_by_distributions(x, m, v, s, t) - kl) / x.shape[1] + kl


def neg_elbo_by_scipy(x, qz_mean, qz_logvar, log_px_scale, log_theta):
    values = []
    theta = log_theta.exp().numpy()
    for row, m, v, scale in zip(x.numpy(), qz_mean, qz_logvar, log_px_scale, strict=True):
        mean = row.sum() * scale.exp().numpy()
        kl = 0.5 * float((m**2 + v.exp() - 1 - v).sum())
        log_prob = stats.nbinom.logpmf(row, theta, theta / (theta + mean))
        tiny = row > 0  # where θ/(θ + μ) rounds to 1 scipy has log 0
        theta_t, mean_t = theta[tiny], mean[tiny]
        log_prob[tiny] = -row[tiny] * np.log1p(theta_t / mean_t) - theta_t * np.log1p(
            mean_t / theta_t
        ) + [np.log1p((t - 1) / np.arange(1, c + 1)).sum() for c, t in zip(
            row[tiny], theta[tiny], strict=True)]  # fmt: skip
        values.append(kl - log_prob.sum())
    return values


def without_empty(x, m, v, s, t):
    library = x.sum(-1, keepdim=True)
    log_prob = NegativeBinomial(t.exp(), logits=library.log() + s - t, validate_args=False)
    return 0.5 * (m**2 + v.exp() - 1 - v).sum(-1) - log_prob.log_prob(x).sum(-1)


def with_tiny_constant(x, m, v, s, t, constant=1e-8):
    library = x.sum(-1, keepdim=True)
    logits = (library + constant).log() + s - t
    log_prob = NegativeBinomial(t.exp(), logits=logits).log_prob(x).sum(-1)
    return 0.5 * (m**2 + v.exp() - 1 - v).sum(-1) - torch.where(library[:, 0] > 0, log_prob, 0.0)


def with_constant_beside_share(x, m, v, s, t):
    return neg_elbo_by_distributions(x, m, v, (s.exp() + 1e-10).log(), t)


def without_library(x, m, v, s, t):
    return neg_elbo_by_distributions(x, m, v, s - x.sum(-1, keepdim=True).clamp(min=1).log(), t)


class DoubleKL(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        return super().loss(x, inference, generative, kl_weight=2 * kl_weight)


class MixedMeanings(NBVAE):
    def inference(self, x, *, covariates=None, noise=None):
        q = super().inference(x, covariates=covariates, noise=noise)
        return q._replace(z=q.qz_mean + q.qz_logvar.exp() * noise)


class Infinite(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        right = super().loss(x, inference, generative, kl_weight=kl_weight)
        return right._replace(loss=right.loss / 0)


class Unmoved(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        right = super().loss(x, inference, generative, kl_weight=kl_weight)
        return right._replace(loss=right.kl.mean())


class Detached(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        right = super().loss(x, inference, generative, kl_weight=kl_weight)
        return right._replace(loss=2 * right.loss.detach())


class Another(NBVAE):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.extra = nn.Parameter(torch.zeros(3))


class ConstantInLogarithm(NBVAE):
    def generative(self, z, library, *, covariates=None):
        right = super().generative(z, library, covariates=covariates)
        return right._replace(log_px_mean=(right.log_px_mean.exp() + 1e-4).log())


class MeanForSum(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        right = super().loss(x, inference, generative, kl_weight=kl_weight)
        return right._replace(loss=right.reconstruction.mean() / x.shape[1] + right.kl.mean())


class AnotherQ(NBVAE):
    def inference(self, x, *, covariates=None, noise=None):
        return super().inference(torch.log1p(x), covariates=covariates, noise=noise)


class WiderQ(NBVAE):
    def inference(self, x, *, covariates=None, noise=None):
        q = super().inference(x, covariates=covariates, noise=noise)
        logvar = q.qz_logvar + 1
        return q._replace(qz_logvar=logvar, z=q.qz_mean + (logvar / 2).exp() * noise)


class SameByAnotherWay(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        right = super().loss(x, inference, generative, kl_weight=kl_weight)
        return right._replace(loss=(right.reconstruction + right.kl).sum() / len(x))


class PerCell(NBVAE):
    def loss(self, x, inference, generative, *, kl_weight=1.0):
        right = super().loss(x, inference, generative, kl_weight=kl_weight)
        return right._replace(loss=right.reconstruction + 2 * right.kl)


RIGHT = {
    "5.6": (DoubleKL, MixedMeanings, ConstantInLogarithm, MeanForSum),
    "5.1": (pick_link_by_match, pick_link_by_dictionary, pick_link_by_attribute),
    "5.2": (
        lambda m, v, e: m + (v / 2).exp() * e,
        lambda m, v, e: torch.addcmul(m, v.exp().sqrt(), e),
        lambda m, v, e: (Normal(m, 1.0).mean + torch.exp(v) ** 0.5 * e).float(),
    ),
    "5.3": (
        lambda m, v: (m**2 + v.exp() - 1 - v).sum(1) / 2,
        lambda m, v: kl_divergence(Normal(m, (v / 2).exp()), Normal(0.0, 1.0)).sum(-1),
        lambda m, v: [
            0.5 * float((a * a + b.expm1() - b).sum()) for a, b in zip(m, v, strict=True)
        ],
        lambda m, v: -0.5 * torch.einsum("nk->n", 1 + v - m.pow(2) - v.exp()).float(),
    ),
    "5.4": (
        lambda x, t, e: x * (t + e) / t - e,
        lambda x, t, e: x + e * (x / t - 1),
        lambda x, t, e: np.float32(x * (1 + e / t) - e),
        lambda x, t, e: torch.tensor(x, dtype=torch.float64) / t * (t + e) - e,
    ),
    "5.5": (neg_elbo_by_distributions, neg_elbo_by_lgamma, neg_elbo_by_scipy),
}

WRONG = [
    ("5.6", AnotherQ, "of another q"),
    ("5.6", WiderQ, "of another q"),
    ("5.6", SameByAnotherWay, "still the negative ELBO"),
    ("5.6", NBVAE, "still the negative ELBO"),
    ("5.6", PerCell, "one number"),
    ("5.6", Infinite, "not finite"),
    ("5.6", Unmoved, "gets no gradient"),
    ("5.6", Detached, "has no gradient"),
    ("5.6", Another, "extra"),
    ("5.6", nn.Linear, "subclass of NBVAE"),
    ("5.1", no_refusal, "which nobody defined"),
    ("5.1", falsy_link, "empty nn.Sequential"),
    ("5.1", lambda link: link, "can't be called"),
    ("5.1", picked(softmax=lambda y: y.softmax(1)), "over the second axis"),
    ("5.1", picked(softmax=lambda y: y.softmax(0)), "over the first axis"),
    ("5.1", picked(softmax=lambda y: y.log_softmax(-1)), "logarithm of the softmax"),
    ("5.1", picked(softmax=torch.exp), "not divided by its sum"),
    ("5.1", picked(refusal="unexpected softmax"), "should list the names"),
    ("5.1", picked(error=KeyError), "not KeyError"),
    ("5.1", lambda link: lambda y: y, "changes nothing"),
    ("5.2", lambda m, v, e: m + v.exp() * e, "variance"),
    ("5.2", lambda m, v, e: m + v * e, "log-variance itself"),
    ("5.2", lambda m, v, e: m + 0.5 * v * e, "exp is missing"),
    ("5.2", lambda m, v, e: m, "no effect"),
    ("5.2", lambda m, v, e: (m + (v / 2).exp() * e).detach(), "no gradient"),
    ("5.2", lambda m, v, e: m + (v / 2).exp().detach() * e, "reaches the log-variance"),
    ("5.2", lambda m, v, e: m + v.sqrt() * e, "square root"),
    ("5.2", lambda m, v, e: m + (v / 2).exp() * torch.randn_like(m), "drawn afresh"),
    ("5.2", lambda m, v, e: Normal(m, (v / 2).exp()).rsample(), "drawn afresh"),
    ("5.3", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(0), "over the cells"),
    ("5.3", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(), "one number for all"),
    ("5.3", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v), "each coordinate"),
    ("5.3", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).mean(1), "averaged"),
    ("5.3", lambda m, v: (m**2 + v.exp() - 1 - v).sum(1), "½ is missing"),
    ("5.3", lambda m, v: -0.5 * (m**2 + v.exp() - 1 - v).sum(1), "sign"),
    (
        "5.3",
        lambda m, v: 0.5 * (m**2 + v - 1 - v.abs().log()).sum(1),
        "as if it were the variance",
    ),
    ("5.3", lambda m, v: 0.5 * (m**2 + v - 1 - v.log()).sum(1), "NaN"),
    ("5.3", lambda m, v: 0.5 * (m**2 + v.exp() - 1 + v).sum(1), "log s² has the wrong sign"),
    ("5.3", lambda m, v: 0.5 * ((m**2 + v.exp() - v).sum(1) - 1), "for each coordinate"),
    ("5.4", lambda x, t, e: t * (x + e) / (t + e), "scored mean for a given"),
    ("5.4", lambda x, t, e: (x - e) * (t + e) / t, "comes off last"),
    ("5.4", lambda x, t, e: max(0.0, x * (t + e) / t - e), "cut off"),
    ("5.4", lambda x, t, e: x - e, "follow both constants"),
    ("5.4", lambda x, t, e: x * (t + e) / t, "beside μ is missing"),
    ("5.4", lambda x, t, e: x * t / (t + e) - e, "upside down"),
    ("5.4", lambda x, t, e: -1.0, "no logarithm"),
    ("5.5", with_constant, "constant in a logarithm"),
    ("5.5", with_tiny_constant, "constant in a logarithm"),
    ("5.5", lambda *a: with_tiny_constant(*a, constant=1e-12), "constant in a logarithm"),
    ("5.5", with_constant_beside_share, "where a gene is very rare"),
    ("5.5", inverted_theta, "swapped"),
    ("5.5", mean_over_genes, "averaged over genes"),
    ("5.5", lambda *a: -neg_elbo_by_distributions(*a), "this is the ELBO"),
    ("5.5", without_empty, "empty cell"),
    ("5.5", without_library, "lack the library"),
    ("5.5", lambda *a: neg_elbo_by_distributions(*a).mean(), "one number per cell"),
]
