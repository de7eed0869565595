"""Checks for chapter 3, the generative model."""

from collections.abc import Callable

import numpy as np

from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved


@exercise("3.1", "four lines, and a cell. Most of what is left of the book runs them backwards.")
def check_tell(tell: Callable) -> Diagnosis:
    """Many cells from a decoder that ignores all but one bit of z; compare moments."""
    n_cells, theta = 20_000, np.array([2.0, 0.5, 8.0])
    library = np.where(np.arange(n_cells) % 2, 20.0, 60.0)
    seen = []

    def decode(z: np.ndarray) -> np.ndarray:
        seen.append(np.array(z))
        return np.where(z[:, :1] > 0, [[2.0, 1.0, 0.0]], [[0.0, 1.0, 2.5]])

    x = np.asarray(solved(tell(decode, library.copy(), theta.copy(), 2, np.random.default_rng(0))))
    if x.shape != (n_cells, 3):
        return f"the counts should have shape {(n_cells, 3)}, not {x.shape}."
    if not seen or seen[0].shape != (n_cells, 2):
        return "decode should be given one state for each cell, (N, K)."
    z = seen[0]
    if abs(z.mean()) > 0.05 or abs(z.std() - 1) > 0.05:
        return "the states are not standard normal."
    if (x < 0).any() or (x != np.round(x)).any():
        return "counts are whole numbers from 0 up; draw them."
    logits = decode(z)
    right = library[:, None] * _softmax(logits)
    return _wrong_mean(x, right, logits, library) or _wrong_scatter(x, right, theta)


def _wrong_mean(
    x: np.ndarray, right: np.ndarray, logits: np.ndarray, library: np.ndarray
) -> Diagnosis:
    if _same_mean(x, right):
        return None
    slips = {
        "softmax ran over the cells; the shares of one cell sum to 1":
        library[:, None] * np.exp(logits) / np.exp(logits).sum(0),
        "the expected counts are ℓ e^f: they are not divided by their sum":
        library[:, None] * np.exp(logits),
        "the library is missing": _softmax(logits),
        "all cells have the same library": library.mean() * _softmax(logits),
    }  # fmt: skip
    for complaint, mean in slips.items():
        if _same_mean(x, mean):
            return f"{complaint}."
    return "the mean counts are not ℓρ."


def _same_mean(x: np.ndarray, mean: np.ndarray) -> bool:
    """Totals by library, and gene means, within four percent and a bit."""
    odd = np.arange(len(x)) % 2 == 1
    drawn, expected = ([table[odd].mean(0), table[~odd].mean(0)] for table in (x, mean))
    return np.allclose(drawn, expected, rtol=0.08, atol=0.02)


def _wrong_scatter(x: np.ndarray, mean: np.ndarray, theta: np.ndarray) -> Diagnosis:
    """Compare the squared deviations from μ with μ + μ²/θ."""
    extra = ((x - mean) ** 2 - mean).mean(0) / (mean**2).mean(0)  # 1/θ of each gene
    if np.allclose(extra, 1 / theta, rtol=0.25):
        return None
    if np.abs(extra).max() < 0.05:
        return "the counts are Poisson: the gamma factor of chapter 2 is missing."
    if np.allclose(extra, theta, rtol=0.25):
        return "θ and 1/θ are swapped: the gamma factor has variance 1/θ."
    spread = extra.std() / extra.mean()
    if spread < 0.1:
        return "all genes have the same θ."
    return "the counts do not scatter like μ + μ²/θ."


@exercise("3.2", "so much of what looks like scatter is a mixture of kinds (Figure 2.4).")
def check_apparent_theta(apparent_theta: Callable) -> Diagnosis:
    """Simulate two kinds, and take moments."""
    cases = [(2.0, 8.0, 3.0), (1.0, 4.0, 0.7), (5.0, 5.0, 2.0)]
    answers = [float(solved(apparent_theta(*case))) for case in cases]
    truth = [_simulated_theta(*case) for case in cases]
    if all(close(a, t, within=0.05) for a, t in zip(answers, truth, strict=True)):
        return None
    slips = {
        "the variance between the kinds is missing; (3.6) has two terms":
        lambda a, b, t: _from_moments((a + b) / 2, ((a + a * a / t) + (b + b * b / t)) / 2),
        "this takes the variance at the mean of both: average μ² instead of squaring the average":
        lambda a, b, t: _from_moments(
            (a + b) / 2, (a + b) / 2 + ((a + b) / 2) ** 2 / t + (a - b) ** 2 / 4
        ),
        "the variance of two values that lie a − b apart is (a − b)²/4":
        lambda a, b, t: _from_moments(
            (a + b) / 2, ((a + a * a / t) + (b + b * b / t)) / 2 + (a - b) ** 2
        ),
        "this is 1/θ': the inverse dispersion was asked for":
        lambda a, b, t: 1 / _simulated_theta(a, b, t),
        "this is the variance; solve it for θ', as the hint says":
        lambda a, b, t: _total_variance(a, b, t),
        "kinds do not matter in it; they should": lambda a, b, t: t,
    }  # fmt: skip
    for complaint, slip in slips.items():
        wrong = [slip(*case) for case in cases]
        if all(close(a, w, within=0.05) for a, w in zip(answers, wrong, strict=True)):
            return f"{complaint}."
    return f"for a = 2, b = 8, θ = 3 it should be ≈ {truth[0]:.2f}, not {answers[0]:.3g}."


def _simulated_theta(a: float, b: float, theta: float) -> float:
    """Apparent θ of a million counts; the mean is exact, the variance is simulated."""
    return _from_moments((a + b) / 2, _total_variance(a, b, theta))


def _total_variance(a: float, b: float, theta: float) -> float:
    rng = np.random.default_rng(0)
    mean = np.repeat([a, b], 500_000)
    x = rng.poisson(mean * rng.gamma(theta, 1 / theta, len(mean)))
    return float(((x - (a + b) / 2) ** 2).mean())


def _from_moments(mean: float, variance: float) -> float:
    return mean**2 / (variance - mean)


@exercise("3.3", "dependent, and pale on the map. A correlation sees straight lines only.")
def check_fooled(fooled: Callable) -> Diagnosis:
    """Covariance 0, and gene 2 a function of gene 1."""
    first, second = (np.asarray(solved(a), dtype=float) for a in solved(fooled()))
    if first.ndim != 1 or first.shape != second.shape:
        return f"two arrays of the same length were asked for, not {first.shape}, {second.shape}."
    if len(first) < 3:
        return "with two kinds a covariance of 0 means a constant gene; take at least three."
    if (first < 0).any() or (second < 0).any():
        return "a mean count is negative."
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return "one gene is the same in all kinds, so nothing depends on anything."
    if any(np.ptp(second[first == value]) > 0 for value in first):
        return "kinds with the same gene 1 differ in gene 2, which then can't be computed from it."
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    if abs(covariance) > 1e-9 * first.std() * second.std():
        correlation = covariance / (first.std() * second.std())
        return f"the map would show it: their correlation is {correlation:.2f}."
    return None


@exercise("3.4", "any invertible A leaves p(x | z) alone; only a rotation leaves p(z) alone, too.")
def check_turn_decoder(turn_decoder: Callable) -> Diagnosis:
    """Compare what the layer computes, for a matrix that is no rotation."""
    rng = np.random.default_rng(0)
    weight, matrix, z = rng.normal(size=(7, 3)), rng.normal(size=(3, 3)), rng.normal(size=(5, 3))
    answer = np.asarray(solved(turn_decoder(weight.copy(), matrix.copy())), dtype=float)
    if answer.shape != weight.shape:
        return f"the weights should have shape {weight.shape}, not {answer.shape}."
    wanted = z @ weight.T
    if np.allclose((z @ matrix.T) @ answer.T, wanted):
        return None
    if np.allclose(answer, weight @ matrix.T):
        return "this is right for a rotation, whose inverse is its transpose; A need not be one."
    if np.allclose(answer, weight @ matrix):
        return "this turns z' once more, the same way. It should undo A."
    if np.allclose(answer, weight @ np.linalg.inv(matrix).T):
        return "the inverse is transposed."
    if np.allclose(answer, weight):
        return "nothing was turned."
    return "the new layer does not compute for z' what the old one does for z."


@exercise("3.5", "and this is how detectors of doublets get their training data (chapter 12).")
def check_doublets(doublets: Callable) -> Diagnosis:
    """Cells of two kinds without a gene in common: a mixed pair shows both."""
    shares, library, theta = _two_kinds()
    answer = doublets(shares.copy(), library.copy(), theta.copy(), np.random.default_rng(0))
    x = np.asarray(solved(answer))
    if x.shape != shares.shape:
        return f"the counts should have shape {shares.shape}, not {x.shape}."
    if (x < 0).any() or (x != np.round(x)).any():
        return "counts are whole numbers from 0 up."
    depth = x.sum(1).mean() / library.mean()
    if abs(depth - 1) < 0.1:
        return "a droplet has the counts of one cell; two cells bring twice as many."
    if abs(depth - 2) > 0.1:
        return f"a droplet has {depth:.1f} times the counts of a cell; two cells bring twice."
    both = ((x[:, :4].sum(1) > 0) & (x[:, 4:].sum(1) > 0)).mean()
    if both < 0.05:
        return "no droplet mixes two kinds: a cell was paired with itself, or only with its kind."
    if both > 0.95:
        return "all droplets mix both kinds; some pairs are of one kind when pairs are random."
    if np.array_equal(doublets(shares, library, theta, np.random.default_rng(1)), answer):
        return "every generator gives the same droplets: draw with rng."
    return _doublet_scatter(x, library, theta)


def _two_kinds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shares = np.zeros((4000, 8))
    shares[:2000, :4] = 0.25
    shares[2000:, 4:] = 0.25
    return shares, np.full(4000, 80.0), np.full(8, 1.0)


def _doublet_scatter(x: np.ndarray, library: np.ndarray, theta: np.ndarray) -> Diagnosis:
    """In a mixed droplet each gene is from one cell: mean ℓ/4 and variance μ + μ²/θ."""
    mixed = (x[:, :4].sum(1) > 0) & (x[:, 4:].sum(1) > 0)
    mean = library[0] / 4
    extra = (x[mixed].var() - mean) / mean**2  # 1/θ
    if extra < 0.3 / theta[0]:
        return "the counts are Poisson: θ is not used."
    if abs(extra * theta[0] - 1) > 0.3:
        return "the counts of a cell do not scatter like μ + μ²/θ."
    return None


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
