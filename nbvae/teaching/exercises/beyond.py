"""Checks for chapter 14, one assumption at a time."""

from collections.abc import Callable

import numpy as np
from scipy import optimize, stats
from scipy.special import logsumexp

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._formula import Formula, as_functions, in_page
from nbvae.teaching.exercises._reading import (
    apart,
    array,
    close,
    number,
    sequence,
    slipped,
)


@exercise("14.1", "no prior does better than the mean of what it is prior to.")
def check_best_prior(best_prior: Callable) -> Diagnosis:
    """Distributions over a few states; the KL that is left comes from the entropies."""
    rng, names = inputs(), ("the prior", "the KL that is left")
    for n, m in ((3, 4), (6, 2), (5, 5)):
        q = rng.dirichlet(np.full(m, 0.7), n)
        prior, left = sequence(best_prior(q.copy()), names)
        prior = array(prior, (m,), "the prior")
        if not close(prior, q.mean(axis=0)):
            return slipped(prior, _prior_slips(q)) or Unexplained(
                f"for {n} distributions over {m} states another prior gives a lower mean KL."
            )
        wanted = stats.entropy(q.mean(axis=0)) - stats.entropy(q, axis=1).mean()
        left = number(left, "the KL that is left")
        if not close(left, wanted, within=1e-5):
            return slipped(left, _left_slips(q), within=1e-5) or Unexplained(
                f"the mean KL to this prior should be {apart(left, wanted)}."
            )
    return None


def _prior_slips(q: np.ndarray) -> dict:
    geometric = np.exp(np.log(q).mean(axis=0))
    most = np.bincount(q.argmax(axis=1), minlength=q.shape[1])
    return {
        "this is the geometric mean, best for the KL in the other direction, from p to q":
        geometric / geometric.sum(),
        "these do not sum to 1: divide": [q.sum(axis=0), geometric],
        "this is uniform and does not look at the q": np.full(q.shape[1], 1 / q.shape[1]),
        "this counts each q's likeliest state; how sure each is has its say, too":
        most / most.sum(),
        "this is one of the q, and gives the others' states too little": list(q),
    }  # fmt: skip


def _left_slips(q: np.ndarray) -> dict:
    p = q.mean(axis=0)
    uniform, own = np.full(len(p), 1 / len(p)), stats.entropy(q.T, p[:, None])
    return {
        "this is a sum over the distributions; the mean is asked for": own.sum(),
        "this is in bits; use the natural logarithm": own.mean() / np.log(2),
        "this is the KL in the other direction, from p to q":
        stats.entropy(np.tile(p, (len(q), 1)).T, q.T).mean(),
        "this is the KL to a uniform prior": stats.entropy(q.T, uniform[:, None]).mean(),
        "this is the entropy of the prior; the mean entropy of the q has to go off":
        stats.entropy(p),
        "the sign: a KL is never negative": -own.mean(),
    }  # fmt: skip


@in_page("14.1")
def _best_for_two() -> list[Formula]:
    """In a page: two cells, two values of z. The truth is searched for, not derived."""
    cases = [tuple(map(float, c)) for c in inputs().uniform([0.55, 0.7], [0.65, 0.95], (2, 2))]
    cases += [(0.9, 0.25)]

    def prior_slips(a: float, b: float) -> dict:
        slips = _prior_slips(_two_cells(a, b)).items()
        return {
            complaint: [one[0] for one in slip] if isinstance(slip, list) else slip[0]
            for complaint, slip in slips
        }

    def left_slips(a: float, b: float) -> dict:
        return _left_slips(_two_cells(a, b))

    two, typed, sample = ("q₁", "q₂"), ("q1", "q2"), (0.9, 0.6)
    return [
        Formula(
            lambda a, b: _searched(a, b)[0],
            cases,
            as_functions(prior_slips, *cases[0]),
            names=two,
            typed=typed,
            what="the prior's part of the first value, of two cells (q₁, 1 − q₁) and (q₂, 1 − q₂)",
            within=1e-5,
            sample=sample,
        ),
        Formula(
            lambda a, b: _searched(a, b)[1],
            cases,
            as_functions(left_slips, *cases[0]),
            names=two,
            typed=typed,
            what="the mean KL to it, in nats",
            within=1e-5,
            sample=sample,
        ),
    ]


def _two_cells(a: float, b: float) -> np.ndarray:
    return np.array([[a, 1 - a], [b, 1 - b]])


def _searched(a: float, b: float) -> tuple[float, float]:
    """The best prior's first entry, and what is left of the mean KL."""
    q = _two_cells(a, b)

    def mean_kl(p: float) -> float:
        return float(stats.entropy(q.T, np.array([[p], [1 - p]])).mean())

    found = optimize.minimize_scalar(
        mean_kl, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x), float(found.fun)


@exercise("14.2", "a sum inside the logarithm and one outside: they do not change places.")
def check_kl_of_draws(kl_of_draws: Callable) -> Diagnosis:
    """Densities from scipy, added in the logarithm; in the last case they underflow."""
    rng = inputs()
    for n, k, c, far in ((4, 2, 3, 0), (3, 3, 5, 0), (5, 1, 2, 0), (4, 30, 3, 9)):
        m, centres = rng.normal(size=(n, k)), rng.normal(far, 1, (c, k))
        logvar, spreads = rng.normal(-1, 0.5, (n, k)), rng.normal(-1, 0.7, (c, k))
        z = m + np.exp(logvar / 2) * rng.normal(size=(n, k))
        answer = array(
            kl_of_draws(*(part.copy() for part in (z, m, logvar, centres, spreads))),
            (n,),
            "the answer",
        )
        if far and not np.isfinite(answer).all():
            return (
                "far from all components, in 30 coordinates, the densities are too small for a "
                "number, and their logarithm is infinite: use logsumexp."
            )
        own = stats.norm.logpdf(z, m, np.exp(logvar / 2))
        of_each = stats.norm.logpdf(z[:, None], centres, np.exp(spreads / 2))
        wanted = own.sum(1) - np.logaddexp.reduce(of_each.sum(2), axis=1) + np.log(c)
        if not close(answer, wanted, within=1e-5):
            slips = _mixture_slips(z, (m, logvar, own), (centres, spreads, of_each))
            return slipped(answer, slips, within=1e-5) or Unexplained(
                f"for the first draw it should be {apart(answer[0], wanted[0])}."
            )
    return None


def _mixture_slips(z: np.ndarray, q: tuple, p: tuple) -> dict:
    m, logvar, own = q
    centres, spreads, of_each = p
    log_q, c, joint = own.sum(1), len(centres), of_each.sum(2)
    log_p = logsumexp(joint, axis=1) - np.log(c)
    doubled = stats.norm.logpdf(z[:, None], centres, np.exp(spreads)).sum(2)
    q_doubled = stats.norm.logpdf(z, m, np.exp(logvar)).sum(1)
    normal = stats.norm.logpdf(z).sum(1)
    half = 0.5 * z.shape[1] * np.log(2 * np.pi)
    return {
        "each component has a weight of 1/C; without it p is no density": log_q - log_p - np.log(c),
        "this is the mean of the logarithms; the density is a mean, and then comes the logarithm":
        log_q - joint.mean(1),
        "this mixes each coordinate by itself; a component is chosen once for all coordinates": [
            log_q - (logsumexp(of_each, axis=1) - np.log(c)).sum(1),
            log_q - logsumexp(of_each, axis=1).sum(1),
        ],
        "this takes the nearest component alone": [
            log_q - joint.max(1), log_q - joint.max(1) + np.log(c)
        ],
        "the sign: log q comes first": log_p - log_q,
        "a log-variance is not a log of a standard deviation: halve it": [
            q_doubled - logsumexp(doubled, axis=1) + np.log(c),
            log_q - logsumexp(doubled, axis=1) + np.log(c), q_doubled - log_p,
        ],
        "this is the KL to N(0, I); the prior is the mixture": log_q - normal,
        "½ log 2π is in one of the two densities only": [
            log_q - log_p + half, log_q - log_p - half
        ],
    }  # fmt: skip


@exercise("14.3", "so “the gene at the top of factor 1” is a choice, not a finding.")
def check_turned(turned: Callable) -> Diagnosis:
    """The same products of loadings, and one gene on the first factor alone."""
    rng = inputs()
    for g_genes, k in ((8, 3), (12, 5), (6, 2)):
        loadings = rng.normal(size=(g_genes, k))
        for gene in rng.choice(g_genes, 3, replace=False).tolist():
            new = array(turned(loadings.copy(), gene), loadings.shape, "the new loadings")
            if complaint := _another_model(new, loadings, gene):
                return complaint
            if not close(np.abs(new[gene, 1:]).sum(), 0, within=1e-5):
                if close(new, loadings):
                    return "nothing is turned."
                return f"gene {gene} loads on other factors than the first as well."
    return None


def _another_model(new: np.ndarray, loadings: np.ndarray, gene: int) -> Diagnosis:
    wanted = loadings @ loadings.T
    if close(new @ new.T, wanted, within=1e-5):
        return None
    others = np.delete(np.arange(len(loadings)), gene)
    kept = new[others] @ new[others].T
    if close(kept, wanted[np.ix_(others, others)], within=1e-5):
        return "only the gene's own row is changed: turn all rows alike, else it is another model."
    found = np.linalg.lstsq(loadings, new, rcond=None)[0]
    lengths = np.linalg.norm(found, axis=1)
    if close(loadings @ found, new, within=1e-5):
        if np.linalg.matrix_rank(found) < len(found):
            return "a factor is lost: z has fewer numbers now, and the model is another one."
        if close(found @ found.T, np.diag(lengths**2), within=1e-5):
            return "factors are stretched: that needs another prior than N(0, I)."
        return "the matrix that turns is not orthogonal: that needs another prior than N(0, I)."
    return Unexplained("this is another model: L Lᵀ, which decides p(x), is not what it was.")


@exercise("14.4", "and where all labels of a kind are wrong in the same way, no ε can say so.")
def check_label_seen(label_seen: Callable) -> Diagnosis:
    """Pass copies: an answer may change them."""
    return _label_seen().diagnose(lambda p, y, e: label_seen(p.copy(), y, e))


@in_page("14.4")
def _label_seen() -> Formula:
    """Go through all true labels, one by one."""
    rng, cases = inputs(), []
    for c in (2, 3, 7):
        p = rng.dirichlet(np.ones(c))
        cases += [(p, int(rng.integers(c)), float(rng.uniform(0.05, 0.4)))]
    cases += [(rng.dirichlet(np.ones(4)), 2, 0.0)]
    slips = {
        "a label is also seen by mistake, when another one is true": lambda p, y, e: (1 - e) * p[y],
        "a wrong label is one of C − 1, not of C": (
            lambda p, y, e: (1 - e) * p[y] + e / len(p) * (1 - p[y]),
            lambda p, y, e: (1 - e) * p[y] + e / len(p),
        ),
        "a label that is wrong by chance is not the true one: only 1 − p_y can become y by mistake":
        lambda p, y, e: (1 - e) * p[y] + e / (len(p) - 1),
        "each of the C − 1 wrong labels has its part of ε":
        lambda p, y, e: (1 - e) * p[y] + e * (1 - p[y]),
        "ε is the share of wrong labels, not of right ones":
        lambda p, y, e: e * p[y] + (1 - e) / (len(p) - 1) * (1 - p[y]),
        "this does not know of ε": lambda p, y, e: p[y],
        "this is a logarithm; the probability is asked for":
        lambda p, y, e: np.log(_label_by_listing(p, y, e)),
    }  # fmt: skip
    return Formula(
        _label_by_listing,
        cases,
        slips,
        names=("p_y", "ε", "C"),
        typed=("p", "epsilon", "C"),
        within=1e-5,
        sample=(np.array([0.7, 0.2, 0.1]), 0, 0.1),
        values=lambda p, y, e: (p[y], e, len(p)),
    )


def _label_by_listing(p: np.ndarray, y: int, e: float) -> float:
    return float(sum(p[t] * ((1 - e) if t == y else e / (len(p) - 1)) for t in range(len(p))))


WORLDS = {"hardly differ": 0.05, "differ as much as their errors": 0.5, "differ a lot": 3.0}


@exercise("14.5", "nobody told it how much the donors differ: the donors did.")
def check_shrunk(shrunk: Callable) -> Diagnosis:
    """Donors that hardly differ, differ somewhat, differ a lot; the truth is known here."""
    rng = inputs()
    for world, sigma in WORLDS.items():
        losses, overlap, by_errors = [], np.zeros(2), True
        for _ in range(60):
            errors = rng.uniform(0.3, 1.0, 30)
            effects = rng.normal(0, sigma, 30)
            estimates = effects + errors * rng.normal(size=30)
            answer = array(shrunk(estimates.copy(), errors.copy()), (30,), "the answer")
            if not np.isfinite(answer).all():
                return "some of the answers are not finite."
            best = estimates * sigma**2 / (sigma**2 + errors**2)
            rivals = (answer, estimates, np.zeros(30), best)
            losses.append([np.mean((rival - effects) ** 2) for rival in rivals])
            overlap += answer @ best, best @ best
            by_errors &= _weighs_by_errors(answer, estimates, errors)
        loss, raw, none, best_loss = np.mean(losses, axis=0)
        # where donors hardly differ, 30 of them leave σ² open by as much: estimators of many
        # kinds lose up to 0.02 there, wrong answers 0.1 and more
        if loss > 1.2 * best_loss + 0.03:
            return f"where donors {world} {_shrink_fault(loss, raw, none, overlap, by_errors)}."
    return None


def _weighs_by_errors(answer: np.ndarray, estimates: np.ndarray, errors: np.ndarray) -> bool:
    """Whether one σ² explains all the answer: error² (estimate / answer − 1) is constant."""
    if np.any(answer == 0):
        return bool(np.all(answer == 0))
    inverse = (estimates / answer - 1) / errors**2  # 1/σ²
    return close(inverse, np.full(len(inverse), inverse.mean()), within=1e-4)


def _shrink_fault(
    loss: float, raw: float, none: float, overlap: np.ndarray, by_errors: bool
) -> str:
    if close(loss, raw, within=1e-3):
        return "these are the raw estimates: nothing is shrunk"
    if close(loss, none, within=1e-3):
        return "everything is shrunk to 0"
    much = "too much" if overlap[0] < overlap[1] else "too little"
    if by_errors:
        return (
            f"it shrinks {much}: each is weighed by its own error, as it should be, but how much "
            "all of them differ is estimated badly; there, too, those with small errors say more"
        )
    return f"it shrinks {much}: weigh each by its own error and by how much all of them differ"
