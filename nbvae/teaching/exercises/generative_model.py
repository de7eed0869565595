"""Checks for chapter 3, the generative model; the fifth is in `doublets`."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, exercise, inputs
from nbvae.teaching.exercises._drawing import SIGMAS, fits, generator_slip
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import apart, array, close, sequence

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.5]])  # of exercise 3.1's two kinds of cells
FAR = LOGITS + np.array([[1000.0], [-1000.0]])  # the same shares, with outputs that exp cannot take


@exercise("3.1", "four lines, and a cell. Most of the rest of the book runs them backwards.")
def check_tell(tell: Callable) -> Diagnosis:
    """Many cells from a decoder that ignores all but one bit of z; compare each kind's counts."""
    rng, n_cells = inputs(), 4000
    theta = rng.permutation([2.0, 0.5, 8.0]) * rng.uniform(0.9, 1.1, 3)
    library = np.where(np.arange(n_cells) % 2, 20.0, 60.0)
    story = _Story(tell, library, theta)
    x = array(story.told(np.random.default_rng(0)), (n_cells, 3), "the table of counts")
    z = story.states()
    if isinstance(z, str):
        return z
    if (x < 0).any() or (x != np.round(x)).any():
        return "counts are whole numbers from 0 up; draw them."
    logits = LOGITS[story.kinds(z)]
    return (
        _wrong_mean(x, logits, library)
        or _wrong_scatter(x, library[:, None] * _softmax(logits), theta)
        or _tied_genes(x, library[:, None] * _softmax(logits))
        or generator_slip(lambda r: _Story(tell, library[:30], theta).told(r))
        or _overflow(_Story(tell, library, theta, FAR))
    )


class _Story:
    """Calls the answer, and remembers the states that it decoded."""

    def __init__(
        self, tell: Callable, library: np.ndarray, theta: np.ndarray, logits: np.ndarray = LOGITS
    ) -> None:
        self.tell, self.library, self.theta, self.logits = tell, library, theta, logits
        self.seen: list[np.ndarray] = []

    def told(self, rng: np.random.Generator) -> object:
        return self.tell(self.decode, self.library.copy(), self.theta.copy(), 2, rng)

    def decode(self, z: object) -> np.ndarray:
        self.seen.append(array(z, what="what decode is given"))
        return self.logits[self.kinds(self.seen[-1])]

    def kinds(self, z: np.ndarray) -> np.ndarray:
        """Which of the two kinds each state is of."""
        return (np.atleast_2d(z)[:, 0] > 0).astype(int)

    def states(self) -> np.ndarray | str:
        """The states, one per cell, however many calls they came in; or what is wrong with them."""
        if not self.seen or any(z.ndim != 2 or z.shape[1] != 2 for z in self.seen):
            return "decode takes states, one row for each cell, (N, K)."
        seen = [z for z, before in zip(self.seen, [None, *self.seen], strict=False)
                if before is None or not np.array_equal(z, before)]  # fmt: skip
        z = np.concatenate(seen)
        if len(z) != len(self.library):
            return f"decode was given {len(z)} states for {len(self.library)} cells."
        if min(stats.kstest(column, "norm").pvalue for column in z.T) < 1e-9:
            return "the states are not standard normal."
        return z


def _overflow(story: _Story) -> Diagnosis:
    """Tell the story once more, with outputs of any size."""
    complaint = (
        "the outputs of decode may be of any size, and e^1000 is too large for a computer as "
        "e^−1000 is too small: subtract each cell's largest output first. No share changes by it."
    )
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            x = array(story.told(np.random.default_rng(0)))
    except (ValueError, RuntimeError):  # NumPy and PyTorch: the mean is not a number
        return complaint
    z = story.states()
    if isinstance(z, str):
        return z
    logits = LOGITS[story.kinds(z)]
    same = np.isfinite(x).all() and not _wrong_mean(x, logits, story.library)
    return None if same else complaint


def _wrong_mean(x: np.ndarray, logits: np.ndarray, library: np.ndarray) -> Diagnosis:
    shares = _softmax(logits)
    if _same_mean(x, library[:, None] * shares, logits, library):
        return None
    slips = {
        "softmax ran over the cells; the shares of one cell sum to 1":
        library[:, None] * np.exp(logits) / np.exp(logits).sum(0),
        "the expected counts are ℓ e^f: they are not divided by their sum":
        library[:, None] * np.exp(logits),
        "the shares are f divided by its sum; f is a logarithm, take e^f first":
        library[:, None] * logits / logits.sum(1, keepdims=True),
        "the library is missing": shares,
        "all cells have the same library": library.mean() * shares,
        "all cells have the mean shares of the table; a cell has those of its own z":
        library[:, None] * shares.mean(0),
    }  # fmt: skip
    for complaint, mean in slips.items():
        if _same_mean(x, mean, logits, library):
            return f"{complaint}."
    if all(fits(each - each.min(), _poisson(each)) for each in _groups(x, logits, library)):
        return "all cells share a gene's gamma factor: give rng.gamma the size of the table."
    return "the mean counts are not ℓρ: does the gamma factor have mean 1?"


def _groups(x: np.ndarray, logits: np.ndarray, library: np.ndarray) -> list[np.ndarray]:
    """The counts of each gene in each kind of cells with each library."""
    kind = (logits[:, 0] > 1) * 2 + (library > 40)
    return [x[kind == k, g] for k in range(4) for g in range(x.shape[1])]


def _poisson(counts: np.ndarray) -> np.ndarray:
    """Probabilities of a Poisson count with this mean, above the smallest count."""
    return stats.poisson.pmf(np.arange(counts.min(), counts.max() + 1), counts.mean())


def _same_mean(x: np.ndarray, mean: np.ndarray, logits: np.ndarray, library: np.ndarray) -> bool:
    """Whether the mean of each group of counts is within some standard errors."""
    for counts, expected in zip(
        _groups(x, logits, library), _groups(mean, logits, library), strict=True
    ):
        error = np.sqrt((counts.var() + 0.1 * counts.mean() + 1e-3) / len(counts))
        if abs(counts.mean() - expected.mean()) > SIGMAS * error:
            return False
    return True


def _wrong_scatter(x: np.ndarray, mean: np.ndarray, theta: np.ndarray) -> Diagnosis:
    """Compare the squared deviations from μ with μ + μ²/θ."""
    extra = ((x - mean) ** 2 - mean).mean(0) / (mean**2).mean(0)  # 1/θ of each gene
    if np.allclose(extra, 1 / theta, rtol=0.3, atol=0.02):
        return None
    if np.abs(extra).max() < 0.05:
        return "the counts are Poisson: the gamma factor of chapter 2 is missing."
    if np.allclose(extra, theta, rtol=0.4):
        return "θ and 1/θ are swapped: the gamma factor has variance 1/θ."
    if extra.std() / extra.mean() < 0.15:
        return "all genes have the same θ."
    return "the counts do not scatter like μ + μ²/θ."


def _tied_genes(x: np.ndarray, mean: np.ndarray) -> Diagnosis:
    residuals = (x - mean) / np.sqrt(mean)
    correlation = np.corrcoef(residuals, rowvar=False)[np.triu_indices(x.shape[1], k=1)]
    if abs(correlation).max() > 0.12:
        return "the genes of a cell share one gamma factor; each count has its own."
    return None


@formula("3.2", "much of what looks like scatter can be a mixture of kinds (Figure 2.4).")
def _apparent_theta() -> Formula:
    """Add up the two distributions, count by count, and take moments."""
    rng = inputs()
    cases = [tuple(map(float, c)) for c in rng.uniform([1, 6, 2.0], [3, 9, 4], (2, 3))]
    cases += [(9.0, 2.5, 1.5), (float(m := rng.uniform(3, 6)), float(m), 2.0)]
    slips = {
        "the variance between the kinds is missing; (3.6) has two terms":
        lambda a, b, t: _from_moments((a + b) / 2, _within(a, b, t)),
        "this takes the variance at the mean of both: average μ² instead of squaring the average":
        lambda a, b, t: _from_moments(
            (a + b) / 2, (a + b) / 2 + ((a + b) / 2) ** 2 / t + (a - b) ** 2 / 4
        ),
        "the variance of two values that lie a − b apart is (a − b)²/4": (
            lambda a, b, t: _from_moments((a + b) / 2, _within(a, b, t) + (a - b) ** 2),
            lambda a, b, t: _from_moments((a + b) / 2, _within(a, b, t) + (a - b) ** 2 / 2),
        ),
        "this is 1/θ': the inverse dispersion was asked for": lambda a, b, t: 1 / _mixed(a, b, t),
        "this is the variance; solve it for θ', as the hint says":
        lambda a, b, t: _mixed_moments(a, b, t)[1],
        "μ̄ was not subtracted: solve Var = μ̄ + μ̄²/θ' for θ'":
        lambda a, b, t: ((a + b) / 2) ** 2 / _mixed_moments(a, b, t)[1],
        "kinds do not matter in it; they should": lambda a, b, t: t,
        "the gamma factor does not enter; this is the answer for θ = ∞":
        lambda a, b, t: (a + b) ** 2 / (a - b) ** 2 if a != b else np.inf,
    }  # fmt: skip
    return Formula(_mixed, cases, slips, names=("a", "b", "θ"), typed=("a", "b", "theta"))


def _within(a: float, b: float, theta: float) -> float:
    return ((a + a * a / theta) + (b + b * b / theta)) / 2


def _mixed(a: float, b: float, theta: float) -> float:
    return _from_moments(*_mixed_moments(a, b, theta))


def _mixed_moments(a: float, b: float, theta: float) -> tuple[float, float]:
    """Mean and variance of the mixture, from its probabilities."""
    x = np.arange(3000)
    mixture = np.mean([stats.nbinom.pmf(x, theta, theta / (theta + m)) for m in (a, b)], axis=0)
    mean = (mixture * x).sum()
    return mean, (mixture * (x - mean) ** 2).sum()


def _from_moments(mean: float, variance: float) -> float:
    return mean**2 / (variance - mean)


@exercise("3.3", "dependent, and pale on the map. A correlation sees straight lines only.")
def check_fooled(fooled: Callable) -> Diagnosis:
    """Covariance 0, and gene 2 a function of gene 1."""
    parts = [array(a) for a in sequence(fooled(), ("the means of gene 1", "of gene 2"))]
    first, second = (part.astype(float) for part in parts)
    if first.ndim != 1 or first.shape != second.shape:
        return f"two arrays of the same length were asked for, not {first.shape}, {second.shape}."
    if not np.isfinite([first, second]).all():
        return "a mean count is not finite."
    if len(first) < 3:
        return "with two kinds a covariance of 0 means a constant gene; take at least three."
    if (first < 0).any() or (second < 0).any():
        return "a mean count is negative."
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return "one gene is the same in all kinds, so nothing depends on anything."
    if any(np.ptp(second[first == value]) > 0 for value in first):
        return "kinds with the same gene 1 differ in gene 2, which then can't be computed from it."
    correlation = np.mean((first - first.mean()) * (second - second.mean()))
    correlation /= first.std() * second.std()
    if abs(correlation) > 100 * max(np.finfo(part.dtype).eps for part in parts):
        return f"the map would show it: their correlation is {correlation:.2g}."
    return None


@exercise("3.4", "any invertible A leaves p(x | z) alone; only a rotation leaves p(z) alone, too.")
def check_turn_decoder(turn_decoder: Callable) -> Diagnosis:
    """Compare what the layer computes, for a matrix that is not a rotation."""
    rng = inputs()
    weight, z = rng.normal(size=(128, 4)), rng.normal(size=(5, 4))
    matrix = rng.normal(size=(4, 4)) + np.diag([3.0, -3, 3, 4])
    answer = array(turn_decoder(weight.copy(), matrix.copy()))
    if answer.shape == weight.T.shape:
        return f"the weights are transposed: {weight.shape} was asked for."
    answer = array(answer, weight.shape, "the table of weights")
    if close(np.asarray((z @ matrix.T) @ answer.T, answer.dtype), z @ weight.T, within=1e-5):
        return None
    slips = {
        "this is right for a rotation, whose inverse is its transpose; A need not be one":
        weight @ matrix.T,
        "this turns z' once more, the same way. It should undo A": weight @ matrix,
        "the inverse is transposed": weight @ np.linalg.inv(matrix).T,
        "each entry of A was inverted; the inverse of a matrix is another thing":
        weight @ (1 / matrix),
        "nothing was turned": weight,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if close(answer, slip, within=1e-5):
            return f"{complaint}."
    value, wanted = (z @ matrix.T @ answer.T)[0, 0], (z @ weight.T)[0, 0]
    return Unexplained(
        "the new layer does not compute for z' what the old one does for z: its first output "
        f"should be {apart(value, wanted)}."
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
