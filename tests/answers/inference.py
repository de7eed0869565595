"""Answers to the exercises of nbvae/teaching/exercises/inference.py, right and wrong."""

import numpy as np
from scipy import optimize, special, stats


def kl_by_terms(m1, logvar1, m2, logvar2):
    s1, s2 = np.exp(logvar1 / 2), np.exp(logvar2 / 2)
    return np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5


def kl_by_quadrature(m1, logvar1, m2, logvar2):
    first, second = (stats.norm(m, np.exp(v / 2)) for m, v in ((m1, logvar1), (m2, logvar2)))
    z = first.mean() + first.std() * np.linspace(-10, 10, 20_001)
    return np.trapezoid(first.pdf(z) * (first.logpdf(z) - second.logpdf(z)), z)


def drawn(mean, logvar, noise):
    return mean + np.exp(0.5 * logvar) * noise


def score(h, mean, logvar, noise):
    return 0.5 * h(drawn(mean, logvar, noise)) * (noise**2 - 1)


def score_from_z(h, mean, logvar, noise):
    z = drawn(mean, logvar, noise)
    return h(z) * (0.5 * (z - mean) ** 2 * np.exp(-logvar) - 0.5)


def by_slope(h, mean, logvar, noise):
    z = drawn(mean, logvar, noise)
    return (h(z + 1e-4) - h(z - 1e-4)) / 2e-4 * 0.5 * np.exp(0.5 * logvar) * noise


def by_search(log_joint, rng):
    noise = np.sort(rng.standard_normal(4001))
    noise -= noise.mean()
    noise /= noise.std()

    def loss(q):
        return -log_joint(q[0] + np.exp(q[1] / 2) * noise).mean() - q[1] / 2

    return optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead").x


def by_steps(log_joint, rng):
    """Reparametrised gradient ascent; the slope of log_joint by a difference."""
    mean, logvar = 0.0, 0.0
    for step in range(2000):
        noise = rng.standard_normal(64)
        s = np.exp(logvar / 2)
        z = mean + s * noise
        slope = (log_joint(z + 1e-4) - log_joint(z - 1e-4)) / 2e-4
        rate = 0.3 / (1 + step / 100) * min(1.0, s**2)
        mean += rate * np.clip(slope.mean(), -5 / s, 5 / s)
        by_width = (slope * 0.5 * s * noise).mean() + 0.5
        logvar += 0.3 / (1 + step / 100) * np.clip(by_width, -1, 1)
    return mean, logvar


def shrunk(log_joint, rng):
    mean, _ = by_search(log_joint, rng)
    return mean, -12.0


def as_sd(log_joint, rng):
    mean, logvar = by_search(log_joint, rng)
    return mean, np.exp(logvar / 2)


RIGHT = {
    "4.1": (kl_by_terms, kl_by_quadrature),
    "4.2": (score, score_from_z),
    "4.3": (
        lambda w: special.logsumexp(w, axis=0) - np.log(len(w)),
        lambda w: special.logsumexp(w - np.log(len(w)), axis=0),
    ),
    "4.4": (lambda: -6.0, lambda: np.log(0.03**2)),
    "4.5": (by_search, by_steps),
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
        "4.2",
        lambda h, m, v, e: h(drawn(m, v, e)) * e / np.exp(v / 2),
        "slope in m",
    ),
    (
        "4.2",
        lambda h, m, v, e: score(h, m, v, e) / np.exp(v),
        "slope in s²",
    ),
    ("4.2", lambda h, m, v, e: score(h, m, v, e) * 2, "twice"),
    (
        "4.2",
        lambda h, m, v, e: 0.5 * h(drawn(m, v, e)) * e**2,
        "−1 is missing",
    ),
    (
        "4.2",
        lambda h, m, v, e: drawn(m, v, e) * np.exp(v / 2) * e,
        "does it call h",
    ),
    ("4.2", by_slope, "reparametrised"),
    ("4.2", lambda h, m, v, e: score(h, m, v, e).mean(), "one estimate a draw"),
    ("4.3", lambda w: w.mean(0), "the ELBO"),
    ("4.3", lambda w: special.logsumexp(w, axis=0), "divide by S"),
    ("4.3", lambda w: special.logsumexp(w, axis=1) - np.log(w.shape[1]), "over the cells"),
    ("4.3", lambda w: np.log(np.exp(w).mean(0)), "Subtract the largest"),
    ("4.3", lambda w: np.log(len(w)) - special.logsumexp(w, axis=0), "sign"),
    ("4.4", lambda: 2 * np.log(2.0), "too wide"),
    ("4.4", lambda: 2 * np.log(0.8), "Be surer"),
    ("4.4", lambda: 60.0, "absurdly"),
    ("4.5", shrunk, "too narrow"),
    ("4.5", as_sd, "return log s²"),
    ("4.5", lambda f, rng: (0.0, by_search(f, rng)[1]), "the mean should be"),
]
