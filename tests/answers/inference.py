"""Answers to the exercises of nbvae/teaching/exercises/inference.py, right and wrong."""

import numpy as np
import torch
from scipy import optimize, special, stats
from torch.distributions import Normal, kl_divergence


def kl_by_terms(m1, logvar1, m2, logvar2):
    s1, s2 = np.exp(logvar1 / 2), np.exp(logvar2 / 2)
    return np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5


def kl_by_quadrature(m1, logvar1, m2, logvar2):
    first, second = (stats.norm(m, np.exp(v / 2)) for m, v in ((m1, logvar1), (m2, logvar2)))
    z = first.mean() + first.std() * np.linspace(-10, 10, 20_001)
    return np.trapezoid(first.pdf(z) * (first.logpdf(z) - second.logpdf(z)), z)


def kl_by_torch(m1, logvar1, m2, logvar2):
    m1, v1, m2, v2 = torch.tensor([m1, logvar1, m2, logvar2], requires_grad=True)
    return kl_divergence(Normal(m1, (v1 / 2).exp()), Normal(m2, (v2 / 2).exp()))


def drawn(mean, logvar, noise):
    return mean + np.exp(0.5 * logvar) * noise


def score(h, mean, logvar, noise):
    return 0.5 * h(drawn(mean, logvar, noise)) * (noise**2 - 1)


def score_from_z(h, mean, logvar, noise):
    z = drawn(mean, logvar, noise)
    return h(z) * (0.5 * (z - mean) ** 2 * np.exp(-logvar) - 0.5)


def score_with_baseline(h, mean, logvar, noise):
    """What h is at the mean says nothing about the draw, so that it may be subtracted."""
    return 0.5 * (h(drawn(mean, logvar, noise)) - h(mean)) * (noise**2 - 1)


def score_by_autograd(h, mean, logvar, noise):
    parameter = torch.full((len(noise),), logvar, dtype=torch.float64, requires_grad=True)
    z = torch.from_numpy(drawn(mean, logvar, noise))
    log_q = Normal(mean, (parameter / 2).exp()).log_prob(z)
    return h(z) * torch.autograd.grad(log_q.sum(), parameter)[0]


def by_slope(h, mean, logvar, noise):
    z = drawn(mean, logvar, noise)
    return (h(z + 1e-4) - h(z - 1e-4)) / 2e-4 * 0.5 * np.exp(0.5 * logvar) * noise


def by_known_slope(h, mean, logvar, noise):
    z = drawn(mean, logvar, noise)
    h(z)
    return z * np.exp(0.5 * logvar) * noise


def bound_of_one_maximum(w):
    return w.max() + np.log(np.exp(w - w.max()).mean(0))


def bound_of_what_is_left(w):
    largest = w.max(0)
    some = w > largest - 100
    return largest + np.log(np.where(some, np.exp(w - largest), 0).sum(0) / some.sum(0))


def by_search(log_joint, rng):
    noise = np.sort(rng.standard_normal(4001))
    noise -= noise.mean()
    noise /= noise.std()

    def loss(q):
        return -log_joint(q[0] + np.exp(q[1] / 2) * noise).mean() - q[1] / 2

    return optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead").x


def by_grid(log_joint, rng):
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    weights = weights / weights.sum()
    means, logvars = np.linspace(-4, 4, 161)[:, None, None], np.linspace(-5, 3, 81)[:, None]
    elbo = log_joint(means + np.exp(logvars / 2) * nodes) @ weights + logvars[:, 0] / 2
    i, j = np.unravel_index(elbo.argmax(), elbo.shape)
    return np.float32(means[i, 0, 0]), np.float32(logvars[j, 0])


def by_autograd(log_joint, rng):
    q = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    noise = torch.from_numpy(rng.standard_normal(400))
    noise = torch.cat([noise, -noise])
    noise /= noise.std()
    optimizer = torch.optim.Adam([q], lr=0.05)
    for _ in range(200):
        loss = -log_joint(q[0] + (q[1] / 2).exp() * noise).mean() - q[1] / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return q


def changed(change):
    """The result of a search, as a slip changes it."""

    def wrong(log_joint, rng):
        mean, logvar = by_search(log_joint, rng)
        return change(mean, logvar)

    return wrong


RIGHT = {
    "4.1": (
        kl_by_terms,
        kl_by_quadrature,
        kl_by_torch,
        lambda *case: np.float16(kl_by_terms(*case)),
    ),
    "4.2": (score, score_from_z, score_with_baseline, score_by_autograd),
    "4.3": (
        lambda w: special.logsumexp(w, axis=0) - np.log(len(w)),
        lambda w: special.logsumexp(w - np.log(len(w)), axis=0, keepdims=True),
        lambda w: torch.from_numpy(w).logsumexp(0) - np.log(len(w)),
        lambda w: [c.max() + np.log(np.mean([np.exp(v - c.max()) for v in c])) for c in w.T],
    ),
    "4.4": (lambda: -6.0, lambda: np.log(0.03**2), lambda: torch.tensor([-30.0]), lambda: -2000),
    "4.5": (by_search, by_grid, by_autograd),
}

WRONG = [
    ("4.1", lambda m1, v1, m2, v2: kl_by_terms(m2, v2, m1, v1), "KL(2 ‖ 1)"),
    ("4.1", lambda m1, v1, m2, v2: kl_by_terms(m1, v1, 0, 0), "to N(0, 1)"),
    ("4.1", lambda *a: kl_by_terms(a[0], 2 * a[1], a[2], 2 * a[3]), "standard deviations"),
    ("4.1", lambda *a: 2 * kl_by_terms(*a), "½ is missing"),
    ("4.1", lambda *a: -kl_by_terms(*a), "never negative"),
    ("4.1", lambda m1, v1, m2, v2: kl_by_terms(0, v1, 0, v2), "do not enter"),
    (
        "4.1",
        lambda m1, v1, m2, v2: kl_by_terms(0, v1, 0, v2) + 0.5 * (m1 - m2) ** 2,
        "not divided",
    ),
    (
        "4.1",
        lambda a, v, b, w: 0.5 * (v - w + np.exp(v - w) + (a - b) ** 2 / np.exp(w) - 1),
        "has the wrong sign",
    ),
    (
        "4.1",
        lambda a, v, b, w: 0.5 * (w - v + np.exp(v - w) - (a - b) ** 2 / np.exp(w) - 1),
        "the means have the wrong sign",
    ),
    (
        "4.1",
        lambda a, v, b, w: 0.5 * (w - v + np.exp(v - w) + (a - b) ** 2 / np.exp(w)),
        "−1 is missing",
    ),
    (
        "4.1",
        lambda a, v, b, w: w - v + 0.5 * (np.exp(v - w) + (a - b) ** 2 / np.exp(w) - 1),
        "lacks its half",
    ),
    (
        "4.1",
        lambda a, v, b, w: 0.5 * (w - v + np.exp(w - v) + (a - b) ** 2 / np.exp(w) - 1),
        "upside down",
    ),
    ("4.2", lambda h, m, v, e: h(drawn(m, v, e)) * e / np.exp(v / 2), "slope in m"),
    ("4.2", lambda h, m, v, e: score(h, m, v, e) / np.exp(v), "slope in s²"),
    ("4.2", lambda h, m, v, e: score(h, m, v, e) * 2, "twice"),
    ("4.2", lambda h, m, v, e: 0.5 * h(drawn(m, v, e)) * e**2, "−1 is missing"),
    ("4.2", lambda h, m, v, e: -score(h, m, v, e), "sign"),
    ("4.2", lambda h, m, v, e: 0.5 * h(m + np.exp(v) * e) * (e**2 - 1), "in place of the standard"),
    ("4.2", lambda h, m, v, e: drawn(m, v, e) * np.exp(v / 2) * e, "never asked"),
    ("4.2", by_slope, "next to the draws"),
    ("4.2", by_known_slope, "does it call h"),
    ("4.2", lambda h, m, v, e: score(h, m, v, e).mean(), "one estimate per draw"),
    ("4.3", lambda w: np.log(np.exp(w).mean(0)), "Subtract the largest"),
    ("4.3", bound_of_one_maximum, "one maximum for all"),
    ("4.3", lambda w: w.mean(0), "the ELBO"),
    ("4.3", lambda w: special.logsumexp(w, axis=0), "divide by S"),
    ("4.3", lambda w: special.logsumexp(w, axis=1) - np.log(w.shape[1]), "over the cells"),
    ("4.3", lambda w: np.log(len(w)) - special.logsumexp(w, axis=0), "sign"),
    ("4.3", lambda w: special.logsumexp(w, axis=0) - np.log(w.shape[1]), "number of cells"),
    ("4.3", lambda w: np.log(np.exp(w - w.max(0)).mean(0)), "not added back"),
    ("4.3", bound_of_what_is_left, "draws of weight 0"),
    ("4.3", lambda w: special.logsumexp(w) - np.log(w.size), "not shape"),
    ("4.4", lambda: 2 * np.log(2.0), "too wide"),
    ("4.4", lambda: 2 * np.log(0.8), "Be surer"),
    ("4.4", lambda: 0.05, "Return log s²"),
    ("4.4", lambda: 0.05**2, "Return log s²"),
    ("4.4", lambda: 60.0, "absurdly"),
    ("4.4", lambda: -np.inf, "finite"),
    ("4.4", lambda: (-6.0, 0.0), "one number"),
    ("4.5", changed(lambda m, v: (m, -12.0)), "too narrow"),
    ("4.5", changed(lambda m, v: (m, np.exp(v / 2))), "return log s², not s"),
    ("4.5", changed(lambda m, v: (m, v / 2)), "not log s."),
    ("4.5", changed(lambda m, v: (0.0, v)), "the mean should be"),
    ("4.5", changed(lambda m, v: (-m, v)), "the mean has the wrong sign"),
    ("4.5", changed(lambda m, v: (m, 3.0)), "too wide"),
    ("4.5", changed(lambda m, v: m), "m and log s² were asked for"),
]
