"""Answers to the exercises of nbvae/teaching/exercises/beyond.py, right and wrong."""

import numpy as np
import torch
from scipy import optimize, stats
from scipy.special import logsumexp, rel_entr
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

# ---------------------------------------------------------------- 14.1


def prior_by_mean(q):
    p = q.mean(axis=0)
    return p, rel_entr(q, p).sum(axis=1).mean()


def prior_by_search(q):
    """Minimise over a softmax, without having derived anything."""

    def left(y):
        p = np.exp(y - logsumexp(y))
        return rel_entr(q, p).sum(axis=1).mean()

    found = optimize.minimize(left, np.zeros(q.shape[1]), tol=1e-14)
    return list(np.exp(found.x - logsumexp(found.x))), found.fun


def prior_in_torch(q):
    q = torch.as_tensor(q)
    p = q.mean(0)
    return p, Categorical(p).entropy() - Categorical(q).entropy().mean()


def with_prior(prior):
    """A prior of one's own, and the KL that is left with it."""

    def answer(q):
        p = prior(q)
        return p, rel_entr(q, p).sum(axis=1).mean()

    return answer


def with_left(left):
    return lambda q: (q.mean(axis=0), left(q, q.mean(axis=0)))


def geometric(q):
    p = np.exp(np.log(q).mean(axis=0))
    return p / p.sum()


def votes(q):
    return np.bincount(q.argmax(axis=1), minlength=q.shape[1]) / len(q)


# ---------------------------------------------------------------- 14.2


def kl_in_numpy(z, m, logvar, centres, logvars):
    def log_normal(z, m, v):
        return -0.5 * (np.log(2 * np.pi) + v + (z - m) ** 2 / np.exp(v)).sum(-1)

    log_p = logsumexp(log_normal(z[:, None], centres, logvars), axis=1) - np.log(len(centres))
    return log_normal(z, m, logvar) - log_p


def kl_by_torch(z, m, logvar, centres, logvars):
    z, m, logvar, centres, logvars = map(torch.as_tensor, (z, m, logvar, centres, logvars))
    parts = Independent(Normal(centres, (logvars / 2).exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(len(centres))), parts)
    return Normal(m, (logvar / 2).exp()).log_prob(z).sum(-1) - mixture.log_prob(z)


def kl_by_densities(z, m, logvar, centres, logvars):
    """Right on paper; far from all components a density is 0."""
    found = []
    for row, own, v in zip(z, m, logvar, strict=True):
        density = np.mean(
            [
                stats.multivariate_normal.pdf(row, c, np.diag(np.exp(s)))
                for c, s in zip(centres, logvars, strict=True)
            ]
        )
        found.append(
            stats.multivariate_normal.logpdf(row, own, np.diag(np.exp(v))) - np.log(density)
        )
    return found


def kl_by_loop(z, m, logvar, centres, logvars):
    found = []
    for row, own, v in zip(z, m, logvar, strict=True):
        log_p = -np.inf
        for c, s in zip(centres, logvars, strict=True):
            log_p = np.logaddexp(
                log_p, stats.multivariate_normal.logpdf(row, c, np.diag(np.exp(s)))
            )
        log_q = stats.multivariate_normal.logpdf(row, own, np.diag(np.exp(v)))
        found.append(log_q - log_p + np.log(len(centres)))
    return found


def kl_with(log_p, sd=lambda v: np.exp(v / 2), sign=1):
    """log q less what is made of the components' log densities, (N, C, K)."""

    def answer(z, m, logvar, centres, logvars):
        log_q = stats.norm.logpdf(z, m, sd(logvar)).sum(1)
        return sign * (log_q - log_p(stats.norm.logpdf(z[:, None], centres, sd(logvars))))

    return answer


def mixture(parts):
    return logsumexp(parts.sum(2), axis=1) - np.log(parts.shape[1])


def kl_to_standard(z, m, logvar, centres, logvars):
    return kl_with(lambda parts: stats.norm.logpdf(z).sum(1))(z, m, logvar, centres, logvars)


# ---------------------------------------------------------------- 14.3


def turned_by_reflection(loadings, gene):
    """Householder: mirror the gene's row onto the first axis."""
    row = loadings[gene]
    v = row / np.linalg.norm(row) - np.eye(len(row))[0]
    return loadings - 2 * np.outer(loadings @ v, v) / (v @ v)


def turned_by_qr(loadings, gene):
    start = np.column_stack([loadings[gene], np.eye(loadings.shape[1])])
    return loadings @ np.linalg.qr(start)[0]


def turned_by_svd(loadings, gene):
    _, _, axes = np.linalg.svd(loadings[[gene]])
    return loadings @ axes.T


def turned_in_torch(loadings, gene):
    start = torch.as_tensor(loadings)
    return start @ torch.linalg.svd(start[[gene]])[2].T


def turned_alone(loadings, gene):
    new = loadings.copy()
    new[gene] = 0
    new[gene, 0] = np.linalg.norm(loadings[gene])
    return new


def turned_by_swap(loadings, gene):
    """Another order of the factors."""
    return loadings[:, ::-1]


def turned_by_stretch(loadings, gene):
    return loadings * np.r_[100, np.ones(loadings.shape[1] - 1)]


def turned_by_projection(loadings, gene):
    row = loadings[gene] / np.linalg.norm(loadings[gene])
    new = np.zeros_like(loadings)
    new[:, 0] = loadings @ row
    return new


def turned_by_shear(loadings, gene):
    """Each other factor less what makes the gene load on it."""
    new = loadings.copy()
    new[:, 1:] -= np.outer(loadings[:, 0], loadings[gene, 1:] / loadings[gene, 0])
    return new


# ---------------------------------------------------------------- 14.4


def label_by_matrix(p, y, e):
    c = len(p)
    seen = np.full((c, c), e / (c - 1))
    np.fill_diagonal(seen, 1 - e)
    return (p @ seen)[y]


def label_by_two_cases(p, y, e):
    return (1 - e) * p[y] + e / (len(p) - 1) * (1 - p[y])


def label_in_torch(p, y, e):
    p = torch.as_tensor(p, dtype=torch.float32)
    return p[y] * (1 - e) + sum(p[t] for t in range(len(p)) if t != y) * e / (len(p) - 1)


# ---------------------------------------------------------------- 14.5


def shrunk_by_likelihood(estimates, errors):
    """σ on a grid, by the normal likelihood of the estimates."""
    sigmas = np.linspace(0, 6, 241)[:, None]
    total = sigmas**2 + errors**2
    best = (-0.5 * (np.log(total) + estimates**2 / total)).sum(axis=1).argmax()
    return estimates * sigmas[best] ** 2 / (sigmas[best] ** 2 + errors**2)


def shrunk_by_em(estimates, errors):
    sigma2 = estimates.var() + 0.01
    for _ in range(100):
        nu = sigma2 / (sigma2 + errors**2)
        sigma2 = ((nu * estimates) ** 2 + sigma2 * (1 - nu)).mean()
    return nu * estimates


def shrunk_by_moments(estimates, errors):
    """The spread that errors do not explain, each estimate weighted by its precision."""
    weights, sigma2 = 1 / errors**2, 0.0
    for _ in range(50):
        sigma2 = max(0.0, (weights**2 * (estimates**2 - errors**2)).sum() / (weights**2).sum())
        weights = 1 / (sigma2 + errors**2)
    return torch.as_tensor(estimates * sigma2 / (sigma2 + errors**2))


def shrunk_by_plain_moments(estimates, errors):
    """Each square counts as much as any other when σ² is estimated."""
    sigma2 = max(np.var(estimates) - np.mean(errors**2), 0)
    return estimates * sigma2 / (sigma2 + errors**2)


def shrunk_to(sigma):
    return lambda estimates, errors: estimates * sigma**2 / (sigma**2 + errors**2)


def shrunk_wrong_way(estimates, errors):
    """The weight of the error instead of that of the effect."""
    sigma2 = max(0.0, np.mean(estimates**2 - errors**2))
    return estimates * errors**2 / (sigma2 + errors**2)


def shrunk_without_errors(estimates, errors):
    """The spread of the estimates, errors and all, taken for that of the effects."""
    sigma2 = np.mean(estimates**2)
    return estimates * sigma2 / (sigma2 + errors**2)


RIGHT = {
    "14.1": (prior_by_mean, prior_by_search, prior_in_torch),
    "14.2": (kl_in_numpy, kl_by_torch, kl_by_loop),
    "14.3": (turned_by_reflection, turned_by_qr, turned_by_svd, turned_in_torch),
    "14.4": (label_by_matrix, label_by_two_cases, label_in_torch),
    "14.5": (shrunk_by_likelihood, shrunk_by_em, shrunk_by_moments, shrunk_by_plain_moments),
}

WRONG = [
    ("14.1", with_prior(geometric), "geometric mean"),
    ("14.1", with_prior(votes), "likeliest state"),
    ("14.1", with_prior(lambda q: np.full(q.shape[1], 1 / q.shape[1])), "uniform"),
    ("14.1", with_prior(lambda q: q.sum(axis=0)), "do not sum to 1"),
    ("14.1", with_prior(lambda q: q[0]), "one of the q"),
    ("14.1", with_left(lambda q, p: rel_entr(q, p).sum()), "the mean is asked for"),
    ("14.1", with_left(lambda q, p: rel_entr(p, q).sum(axis=1).mean()), "other direction"),
    ("14.1", with_left(lambda q, p: rel_entr(q, p).sum(1).mean() / np.log(2)), "in bits"),
    ("14.1", with_left(lambda q, p: stats.entropy(p)), "entropy of the prior"),
    ("14.1", with_left(lambda q, p: -rel_entr(q, p).sum(1).mean()), "never negative"),
    ("14.2", kl_with(lambda parts: logsumexp(parts.sum(2), axis=1)), "weight of 1/C"),
    ("14.2", kl_with(lambda parts: parts.sum(2).mean(1)), "mean of the logarithms"),
    (
        "14.2",
        kl_with(lambda parts: (logsumexp(parts, axis=1) - np.log(parts.shape[1])).sum(1)),
        "each coordinate by itself",
    ),
    ("14.2", kl_with(lambda parts: parts.sum(2).max(1)), "nearest component alone"),
    ("14.2", kl_with(mixture, sign=-1), "log q comes first"),
    ("14.2", kl_with(mixture, sd=np.exp), "halve it"),
    ("14.2", kl_to_standard, "N(0, I)"),
    ("14.2", kl_by_densities, "logsumexp"),
    ("14.3", turned_alone, "the gene's own row"),
    ("14.3", turned_by_swap, "loads on other factors"),
    ("14.3", turned_by_stretch, "stretched"),
    ("14.3", turned_by_projection, "a factor is lost"),
    ("14.3", turned_by_shear, "not orthogonal"),
    ("14.3", lambda loadings, gene: loadings, "nothing is turned"),
    ("14.4", lambda p, y, e: (1 - e) * p[y], "also seen by mistake"),
    ("14.4", lambda p, y, e: (1 - e) * p[y] + e / len(p), "not of C"),
    ("14.4", lambda p, y, e: (1 - e) * p[y] + e / (len(p) - 1), "by chance is not the true one"),
    ("14.4", lambda p, y, e: (1 - e) * p[y] + e * (1 - p[y]), "its part of ε"),
    ("14.4", lambda p, y, e: e * p[y] + (1 - e) / (len(p) - 1) * (1 - p[y]), "not of right ones"),
    ("14.4", lambda p, y, e: p[y], "does not know of ε"),
    ("14.4", lambda p, y, e: np.log(label_by_matrix(p, y, e)), "a logarithm"),
    ("14.5", lambda estimates, errors: estimates, "nothing is shrunk"),
    ("14.5", lambda estimates, errors: 0 * estimates, "shrunk to 0"),
    ("14.5", shrunk_to(0.1), "shrinks too much"),
    ("14.5", shrunk_to(3.0), "estimated badly"),
    ("14.5", shrunk_without_errors, "estimated badly"),
    ("14.5", shrunk_wrong_way, "weigh each by its own"),
    ("14.5", lambda estimates, errors: 0.5 * estimates, "weigh each by its own"),
]  # fmt: skip
