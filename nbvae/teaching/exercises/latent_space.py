"""Checks for chapter 7, the latent space."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist

from nbvae import evaluation
from nbvae.teaching.exercises._check import Diagnosis, exercise, inputs
from nbvae.teaching.exercises._formula import Formula, in_page
from nbvae.teaching.exercises._reading import array, close, compare, fresh


@exercise("7.1", "and clusters of one cell each would have purity 1: it rewards splitting.")
def check_purity(purity: Callable) -> Diagnosis:
    """Clusters of different size, so that means of means show."""
    rng = inputs()
    cases = []
    for _ in range(3):
        clusters = np.repeat(np.arange(4), [9, 5, 2, 1])
        labels = np.where(rng.random(17) < 0.7, np.array(list("abca"))[clusters], "d")
        order = rng.permutation(17)
        cases.append((clusters[order], labels[order]))
    slips = {
        "this is the mean of the clusters' purities; a small cluster counts as much as a large one":
        lambda c, k: np.mean([_commonest(k[c == i]) / (c == i).sum() for i in set(c)]),
        "this looks for the commonest cluster of each label; look for the commonest label of each "
        "cluster": lambda c, k: sum(_commonest(c[k == i]) for i in set(k)) / len(k),
        "this is the number of cells; divide by how many there are":
        lambda c, k: len(k) * _purity(c, k),
        "this is the share of cells that are not of the commonest label of their cluster":
        lambda c, k: 1 - _purity(c, k),
        "it is divided by the number of clusters; the number of cells was asked for":
        lambda c, k: len(k) * _purity(c, k) / len(set(c)),
        "this is the share of the commonest label of all; look into each cluster":
        lambda c, k: _commonest(k) / len(k),
    }  # fmt: skip
    return compare(lambda c, k: purity(c.copy(), k.copy()), _purity, cases, slips)


def _commonest(values: np.ndarray) -> int:
    return Counter(values.tolist()).most_common(1)[0][1]


def _purity(clusters: np.ndarray, labels: np.ndarray) -> float:
    together = zip(clusters.tolist(), labels.tolist(), strict=True)
    best: dict[int, int] = {}
    for (cluster, _), n in Counter(together).items():
        best[cluster] = max(best.get(cluster, 0), n)
    return sum(best.values()) / len(labels)


@exercise("7.2", "now two trainings can be laid upon each other.")
def check_turned(turned: Callable) -> Diagnosis:
    """Compare with SciPy's rotation; here it takes a mirror, and noise is left over."""
    rng = inputs()
    z = rng.standard_normal((30, 5)) * [2.0, 1.5, 1.2, 0.9, 0.7] + 1.0
    rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    rotation[:, 0] *= -np.sign(np.linalg.det(rotation))
    target = z @ rotation + 0.2 * rng.standard_normal(z.shape)
    answer = array(turned(z.copy(), target.copy()), z.shape, "the table of states")
    best, _ = orthogonal_procrustes(z, target)
    if close(answer, z @ best, within=1e-5):
        return None
    slips = {
        "nothing has turned": z,
        "this is the target; z was to be turned": target,
        "this turns the target towards z; z was to be turned": target @ best.T,
        "this turns the wrong way: the matrix is transposed": z @ best.T,
        "this is the best linear map: it stretches, and a rotation may not":
        z @ np.linalg.lstsq(z, target, rcond=None)[0],
        "a mirror is allowed, and here it is needed": z @ _without_mirror(z, target),
    }  # fmt: skip
    for complaint, slip in slips.items():
        if close(answer, slip, within=1e-5):
            return f"{complaint}."
    if not close(pdist(answer.astype(float)), pdist(z), within=1e-5):
        return "distances between cells have changed: the matrix is not orthogonal."
    if not close(np.linalg.norm(answer, axis=1), np.linalg.norm(z, axis=1), within=1e-5):
        return "the cells were moved, too; a rotation leaves the origin where it is."
    return "it is turned, and no distance has changed, but another rotation comes closer to target."


def _without_mirror(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the best rotation of determinant 1."""
    u, _, vt = np.linalg.svd(z.T @ target)
    u[:, -1] *= np.linalg.det(u @ vt)
    return u @ vt


@exercise("7.3", "and a cell is not its own neighbour.")
def check_neighbours_agree(neighbours_agree: Callable) -> Diagnosis:
    """Compare with counting, cell by cell; then with counting the cell itself."""
    rng = inputs()
    cases = []
    for k in (3, 5, 8):
        labels = rng.choice(list("abc"), 40)
        z = rng.standard_normal((40, 3)) + (labels == "a")[:, None]
        cases.append((z * [1.0, 2.0, 0.5], labels, k))
    slips = {
        "each cell is counted among its own neighbours: it is always at distance 0":
        lambda z, y, k: _agreement(z, y, 0, k),
        "k + 1 cells are averaged, and one of them is the cell itself: drop it":
        lambda z, y, k: _agreement(z, y, 0, k + 1),
        "one neighbour is missing: after dropping the cell itself, k should be left":
        lambda z, y, k: _agreement(z, y, 1, k),
        "one neighbour is too many: after dropping the cell itself, k should be left":
        lambda z, y, k: _agreement(z, y, 1, k + 2),
        "these are the farthest cells, not the nearest": lambda z, y, k: _agreement(z, y, -k, None),
        "this is the share of neighbours with another label":
        lambda z, y, k: 1 - _agreement(z, y, 1, k + 1),
        "this takes a vote of the neighbours, as the chapter's score does; average the shares":
        (lambda z, y, k: _votes(z, y, k, half=False), lambda z, y, k: _votes(z, y, k, half=True)),
        "this looks at the k-th neighbour alone": lambda z, y, k: _agreement(z, y, k, k + 1),
        "it is the number of neighbours; divide by k":
        lambda z, y, k: k * _agreement(z, y, 1, k + 1),
        "this is a sum over the cells; take the mean":
        lambda z, y, k: len(z) * _agreement(z, y, 1, k + 1),
    }  # fmt: skip

    def answer(z: np.ndarray, labels: np.ndarray, k: int) -> object:
        return neighbours_agree(z.copy(), labels.copy(), k)

    return compare(answer, lambda z, y, k: _agreement(z, y, 1, k + 1), cases, slips)


def _nearest_first(z: np.ndarray) -> list[list[int]]:
    return np.argsort(((z[:, None] - z) ** 2).sum(axis=-1), axis=1).tolist()


def _agreement(z: np.ndarray, labels: np.ndarray, first: int, last: int | None) -> float:
    """The share of alike cells among those of a cell's list, which begins with itself."""
    each = [np.mean(labels[order[first:last]] == labels[i])
            for i, order in enumerate(_nearest_first(z))]  # fmt: skip
    return float(np.mean(each))


def _votes(z: np.ndarray, labels: np.ndarray, k: int, *, half: bool) -> float:
    """The share of cells whose neighbours elect its label, or give it more than half."""
    won = []
    for i, order in enumerate(_nearest_first(z)):
        near = labels[order[1 : k + 1]]
        names, votes = np.unique(near, return_counts=True)
        won.append((near == labels[i]).mean() > 0.5 if half else names[votes.argmax()] == labels[i])
    return float(np.mean(won))


@exercise("7.4", "two cells that are uncertain are expected to lie further apart than their means.")
def check_expected_squared_distance(expected_squared_distance: Callable) -> Diagnosis:
    """Compare with Gauss's quadrature over both cells' states, exact for a square."""
    asked = _expected_squared_distance(4)
    if array(expected_squared_distance(*map(fresh, asked.cases[0]))).size == 4:
        return "it is one number for each coordinate; add them up."
    return asked.diagnose(expected_squared_distance)


@in_page("7.4")
def _expected_squared_distance(n_latent: int = 1) -> Formula:
    """In a page a cell has one coordinate, so that the answer is a formula of four numbers."""
    rng = inputs()
    cases = []
    for _ in range(3):
        mean_a, mean_b = rng.standard_normal((2, n_latent))
        sd_a, sd_b = rng.uniform(0.3, 1.5, (2, n_latent))
        cases.append((mean_a, sd_a, mean_b, sd_b))
    slips = {
        "this is the squared distance of the means; the spreads are missing":
        lambda a, s, b, t: ((a - b) ** 2).sum(),
        "the standard deviations are added; variances add":
        lambda a, s, b, t: ((a - b) ** 2 + s + t).sum(),
        "the spread of a difference is not a difference: variances add": (
            lambda a, s, b, t: ((a - b) ** 2 + s**2 - t**2).sum(),
            lambda a, s, b, t: ((a - b) ** 2 + abs(s**2 - t**2)).sum(),
            lambda a, s, b, t: ((a - b) ** 2 + (s - t) ** 2).sum(),
        ),
        "the standard deviations are added before squaring; for independent draws variances add":
        lambda a, s, b, t: ((a - b) ** 2 + (s + t) ** 2).sum(),
        "this is averaged over the coordinates; add them up": lambda *c: _squared(*c) / n_latent,
        "this is a distance; the squared one was asked for": lambda *c: np.sqrt(_squared(*c)),
        "the variance of the difference is the sum of both, not their mean":
        lambda a, s, b, t: ((a - b) ** 2 + (s**2 + t**2) / 2).sum(),
        "the variances are subtracted; uncertain cells are further apart":
        lambda a, s, b, t: ((a - b) ** 2 - s**2 - t**2).sum(),
        "this is the variance of the difference; its mean counts as well":
        lambda a, s, b, t: (s**2 + t**2).sum(),
        "the difference is scaled by its spread; that is another distance":
        lambda a, s, b, t: ((a - b) ** 2 / (s**2 + t**2)).sum(),
        "this takes the standard deviations for log-variances":
        lambda a, s, b, t: ((a - b) ** 2 + np.exp(s) + np.exp(t)).sum(),
    }  # fmt: skip
    return Formula(
        _squared,
        cases,
        slips,
        names=("m_a", "s_a", "m_b", "s_b") if n_latent == 1 else (),
        typed=("mean_a", "sd_a", "mean_b", "sd_b"),
        sample=tuple(np.array([[1.0], [0.5], [0.2], [0.8]])),
        values=lambda *case: tuple(map(float, np.concatenate(case))),
        what="for one coordinate" if n_latent == 1 else "",
    )


def _squared(mean_a: np.ndarray, sd_a: np.ndarray, mean_b: np.ndarray, sd_b: np.ndarray) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    weights = weights / weights.sum()
    of_a = mean_a[:, None, None] + sd_a[:, None, None] * nodes[:, None]
    of_b = mean_b[:, None, None] + sd_b[:, None, None] * nodes
    return float(((of_a - of_b) ** 2 * weights[:, None] * weights).sum())


@exercise("7.5", "perfect scores, and it has never seen a count.")
def check_beautiful(beautiful: Callable) -> Diagnosis:
    """Score it as the chapter scores embeddings, with labels of the check's own."""
    labels = inputs().choice(list("abcdefghij"), 200)  # k-means looks for ten groups
    z = array(beautiful(labels.copy(), np.random.default_rng(1)), (200, 2), "the map")
    if not np.isfinite(z).all():
        return "some coordinates are not finite."
    found = evaluation.cluster_agreement(z.astype(float), labels)
    if found.ari < 0.1:
        return f"the ARI is {found.ari:.2f}: the labels have not been used."
    if found.ari < 0.9:
        return f"the ARI is {found.ari:.2f}: k-means does not find every label apart."
    if found.silhouette < 0.9:
        return (
            f"the silhouette is {found.silhouette:.2f}: the groups scatter too much for their "
            "distance."
        )
    return None
