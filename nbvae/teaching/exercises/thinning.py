"""Checks for chapter 10 whose answers are formulas: a thinned count, and centring."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._formula import Formula, as_functions, in_page
from nbvae.teaching.exercises._reading import apart, close, numbers, slipped, truth


@exercise("10.1", "so thinning leaves a negative binomial, with a smaller mean and the same θ.")
def check_thinned_moments(thinned_moments: Callable) -> Diagnosis:
    """Sum over all counts and over all ways to lose molecules; then the usual slips."""
    names = ("the mean", "the variance", "the probability of 0")
    for px_mean, theta, kappa in inputs().uniform([2, 1, 0.2], [5, 3, 0.6], (3, 3)).tolist():
        answer = numbers(thinned_moments(px_mean, theta, kappa), names)
        right = _moments_by_summing(px_mean, theta, kappa)
        for name, value, wanted, slips in zip(
            names, answer, right, _moment_slips(px_mean, theta, kappa), strict=True
        ):
            if not close(value, wanted, within=1e-5):
                return slipped(value, slips, within=1e-5) or Unexplained(
                    f"for μ = {px_mean:.3g}, θ = {theta:.3g}, κ = {kappa:.3g} {name} should be "
                    f"{apart(value, wanted)}."
                )
    return None


@in_page("10.1")
def _thinned_moments() -> list[Formula]:
    """The three of them, each by itself."""
    cases = inputs().uniform([2, 1, 0.2], [5, 3, 0.6], (3, 3)).tolist()

    def one(place: int, what: str) -> Formula:
        return Formula(
            lambda *case: _moments_by_summing(*case)[place],
            [tuple(case) for case in cases],
            as_functions(lambda *case: _moment_slips(*case)[place], *cases[0]),
            names=("μ", "θ", "κ"),
            typed=("px_mean", "theta", "kappa"),
            within=1e-5,
            what=what,
        )

    names = ("the mean", "the variance", "the probability of 0")
    return [one(place, what) for place, what in enumerate(names)]


def _moment_slips(px_mean: float, theta: float, kappa: float) -> tuple[dict, dict, dict]:
    """What is known to go wrong with the mean, the variance and the probability of 0."""
    var, left = px_mean + px_mean**2 / theta, kappa * px_mean
    lost = (1 - kappa) * px_mean
    return (
        {
            "the mean is not that of what is left; one molecule in κ stays": px_mean,
            "κ is the probability to be kept, not to be lost": lost,
        },
        {
            "this variance is κ² times the old one, that of κx, not of a count": kappa**2 * var,
            "this variance is κ times the old one; only its Poisson part shrinks so": kappa * var,
            "the variance is that of a Poisson count; the gamma factor is still there": left,
            "this variance has θ multiplied by κ as well; the gamma factor stays as it was":
            left + left**2 / (kappa * theta),
            "this variance has θ divided by κ; the gamma factor stays as it was":
            left + left**2 * kappa / theta,
            "this is the standard deviation; the variance is asked for":
            np.sqrt(left + left**2 / theta),
            "this is the variance for κ and θ swapped with 1 − κ and 1/θ": [
                lost + lost**2 / theta, left + left**2 * theta
            ],
            "this is the old variance": var,
            "the coins' own scatter is missing: κ(1 − κ)μ": kappa**2 * var,
        },
        {
            "this is the probability of 0 before thinning": (theta / (theta + px_mean)) ** theta,
            "this is the probability of 0 of a Poisson count": np.exp(-left),
            "this is κ times the old probability of 0, but thinning makes more zeros":
            kappa * (theta / (theta + px_mean)) ** theta,
            "θ is multiplied by κ here; the gamma factor stays as it was":
            (kappa * theta / (kappa * theta + left)) ** (kappa * theta),
            "this is the probability of more than 0": 1 - (theta / (theta + left)) ** theta,
            "the power θ is missing": theta / (theta + left),
        },
    )  # fmt: skip


def _moments_by_summing(px_mean: float, theta: float, kappa: float) -> tuple[float, float, float]:
    before, after = np.arange(400)[:, None], np.arange(400)[None, :]
    joint = stats.nbinom.pmf(before, theta, theta / (theta + px_mean)) * stats.binom.pmf(
        after, before, kappa
    )
    left, count = joint.sum(axis=0), after[0]
    mean = (left * count).sum()
    return mean, (left * count**2).sum() - mean**2, left[0]


@exercise("10.2", "so 0.15 against 0.85 is far beyond what centring can stand.")
def check_partner_is_right(partner_is_right: Callable) -> Diagnosis:
    """Centre two small tables and look for the nearest point, over many pairs of shares."""
    grid = np.arange(1, 40) / 40
    pairs = [(a, b) for a in grid for b in grid if abs(abs(a - b) - 0.5) > 1e-9]
    pairs = [pairs[i] for i in inputs().choice(len(pairs), 400, replace=False)]
    right = np.array([_nearest_is_own(a, b) for a, b in pairs])
    values = np.array([truth(partner_is_right(float(a), float(b))) for a, b in pairs])
    if (values == right).all():
        if any(truth(partner_is_right(*tie)) for tie in ((0.25, 0.75), (0.75, 0.25), (0.0, 0.5))):
            return "at 0.25 and 0.75 both places are equally near; then the partner is not right."
        return None
    a, b = np.array(pairs).T
    for complaint, several in _partner_slips(a, b).items():
        if any((values == slip).all() for slip in several):
            return f"{complaint}."
    first = int((values != right).argmax())
    verdict = "right" if right[first] else "wrong"
    return Unexplained(f"for shares {a[first]:g} and {b[first]:g} the partner is {verdict}.")


@in_page("10.2")
def _partner_is_right() -> Formula:
    """The same as a condition, 1 where it holds; at a tie it does not."""
    shares = inputs().integers(1, 40, (60, 2)) / 40
    pairs = [tuple(map(float, pair)) for pair in shares if abs(abs(pair[0] - pair[1]) - 0.5) > 1e-9]
    return Formula(
        lambda a, b: abs(a - b) != 0.5 and _nearest_is_own(a, b),
        [*pairs, (0.25, 0.75), (0.75, 0.25)],
        {
            **as_functions(lambda a, b: _partner_slips(np.array([a]), np.array([b])), 0.1, 0.2),
            "at 0.25 and 0.75 both places are equally near; then the partner is not right":
            lambda a, b: abs(a - b) <= 0.5,
        },
        names=("p_A", "p_B"),
        typed=("p_a", "p_b"),
        what="the condition, such as p_A < p_B",
        everywhere=True,
        sample=(),
    )  # fmt: skip


def _partner_slips(a: np.ndarray, b: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    """What the usual slips say of pairs of shares."""
    return {
        "this says where the partner is wrong": (abs(a - b) >= 0.5,),
        "one sign only: p_B may be the larger share, or p_A": (b - a < 0.5, a - b < 0.5),
        "this compares the shares with ½ one by one; only their difference moves the places":
        ((a < 0.5) == (b < 0.5), (a > 0.5) == (b > 0.5), (a <= 0.5) == (b <= 0.5)),
        "after centring both kinds have moved; the other one has come nearer, so 1 is too far":
        (abs(a - b) < 1, abs(a - b) <= 1),
        "this is the answer without centring: then the partner is always right":
        (np.ones(len(a), dtype=bool),),
        "only equal shares are right here; the partner stands more": (a == b, abs(a - b) < 1e-6),
        "the shares are added; it is their difference that moves the places": (
            a + b < 0.5, a + b < 1, abs(a + b - 1) < 0.5
        ),
    }  # fmt: skip


def _nearest_is_own(p_a: float, p_b: float) -> bool:
    """Forty cells an experiment, centred; the nearest in the other one has the own kind."""
    kinds = [np.arange(40) < round(40 * p) for p in (p_a, p_b)]
    places = [kind - kind.mean() for kind in kinds]
    distance = abs(places[0][:, None] - places[1][None])
    of_a = kinds[1][distance.argmin(axis=1)] == kinds[0]
    of_b = kinds[0][distance.argmin(axis=0)] == kinds[1]
    return bool(of_a.all() and of_b.all())
