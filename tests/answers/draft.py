"""Answers to the exercises of nbvae/teaching/exercises/draft.py, right and wrong."""

import torch
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


RIGHT = {
    "5.6": (DoubleKL, MixedMeanings),
    "5.1": (pick_link_by_match, pick_link_by_dictionary),
    "5.2": (
        lambda m, v, e: m + (v / 2).exp() * e,
        lambda m, v, e: torch.addcmul(m, v.exp().sqrt(), e),
    ),
    "5.3": (
        lambda m, v: (m**2 + v.exp() - 1 - v).sum(1) / 2,
        lambda m, v: kl_divergence(Normal(m, (v / 2).exp()), Normal(0.0, 1.0)).sum(-1),
    ),
    "5.4": (
        lambda x, t, e: x * (t + e) / t - e,
        lambda x, t, e: x + e * (x / t - 1),
    ),
    "5.5": (neg_elbo_by_distributions, neg_elbo_by_lgamma),
}

WRONG = [
    ("5.6", NBVAE, "still the negative ELBO"),
    ("5.6", Infinite, "not finite"),
    ("5.6", Unmoved, "gets no gradient"),
    ("5.6", Detached, "has no gradient"),
    ("5.6", Another, "extra"),
    ("5.6", nn.Linear, "subclass of NBVAE"),
    ("5.1", no_refusal, "names that nobody defined"),
    ("5.1", falsy_link, "empty nn.Sequential"),
    ("5.1", lambda link: link, "can't be called"),
    ("5.2", lambda m, v, e: m + v.exp() * e, "variance"),
    ("5.2", lambda m, v, e: m + v * e, "log-variance itself"),
    ("5.2", lambda m, v, e: m, "no effect"),
    ("5.2", lambda m, v, e: (m + (v / 2).exp() * e).detach(), "no gradient"),
    ("5.2", lambda m, v, e: m + (v / 2).exp().detach() * e, "reaches the log-variance"),
    ("5.2", lambda m, v, e: m + v.sqrt() * e, "square root"),
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
    ("5.4", lambda x, t, e: t * (x + e) / (t + e), "scored mean"),
    ("5.4", lambda x, t, e: max(0.0, x * (t + e) / t - e), "at your μ"),
    ("5.4", lambda x, t, e: x - e, "scored mean is"),
    ("5.5", with_constant, "constant in a logarithm"),
    ("5.5", inverted_theta, "swapped"),
    ("5.5", mean_over_genes, "averaged over genes"),
    ("5.5", lambda *a: -neg_elbo_by_distributions(*a), "this is the ELBO"),
    (
        "5.5",
        lambda x, m, v, s, t: (
            neg_elbo_by_distributions(x, m, v, s, t) + torch.where(x.sum(-1) == 0, torch.nan, 0.0)
        ),
        "empty cell",
    ),
]
