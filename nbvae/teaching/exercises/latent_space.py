"""Checks for chapter 7, the latent space."""

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import pdist

from nbvae import evaluation
from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved


@exercise("7.1", "and clusters of one cell each would have purity 1: it rewards splitting.")
def check_purity(purity: Callable) -> Diagnosis:
    """Three clusters of different size, so that means of means show."""
    clusters = np.array([0] * 6 + [1] * 3 + [2])
    labels = np.array(list("aaaaab" + "aab" + "a"))
    value = float(solved(purity(clusters, labels)))
    if close(value, 8 / 10):
        return None
    slips = {
        "this is the mean of the clusters' purities; a small cluster counts as much as a large one":
        (5 / 6 + 2 / 3 + 1) / 3,
        "this looks for the commonest cluster of each label; look for the commonest label of each "
        "cluster": (5 + 1) / 10,
        "this is the number of cells; divide by how many there are": 8.0,
    }  # fmt: skip
    for complaint, slip in slips.items():
        if close(value, slip):
            return f"{complaint}."
    if value > 1:
        return "a purity is at most 1."
    return f"it should be 0.8 for the check's ten cells, not {value:g}."


@exercise("7.2", "turned, and no distance has changed.")
def check_rotate(rotate: Callable) -> Diagnosis:
    """Compare the distances between all pairs of cells before and after."""
    z = np.random.default_rng(0).standard_normal((30, 5)) + 1.0
    turned = [np.asarray(solved(rotate(z.copy(), np.random.default_rng(seed)))) for seed in (1, 2)]
    if turned[0].shape != z.shape:
        return f"the shape should stay {z.shape}, not become {turned[0].shape}."
    if np.allclose(turned[0], z):
        return "nothing has turned."
    if not np.allclose(pdist(turned[0]), pdist(z)):
        if np.allclose(pdist(turned[0]) / pdist(z), (pdist(turned[0]) / pdist(z))[0]):
            return "all distances are scaled by one factor; a rotation changes none."
        return "distances between cells have changed: the matrix is not orthogonal."
    if not np.allclose(np.linalg.norm(turned[0], axis=1), np.linalg.norm(z, axis=1)):
        return "the cells were moved, too; a rotation leaves the origin where it is."
    if np.allclose(np.sort(np.abs(turned[0]), axis=1), np.sort(np.abs(z), axis=1)):
        return "this only swaps or flips coordinates; a rotation mixes them."
    if np.allclose(turned[0], turned[1]):
        return "every generator gives the same rotation: draw it with rng."
    return None


@exercise("7.3", "and a cell is not its own neighbour.")
def check_neighbours_agree(neighbours_agree: Callable) -> Diagnosis:
    """Compare with counting, cell by cell; then with counting the cell itself."""
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((40, 3)), rng.choice(list("abc"), 40)
    order = [sorted(range(40), key=lambda j: ((z[i] - z[j]) ** 2).sum()) for i in range(40)]

    def agreement(first: int, last: int) -> float:
        return float(
            np.mean([np.mean(labels[order[i][first:last]] == labels[i]) for i in range(40)])
        )

    k = 5
    value = float(solved(neighbours_agree(z, labels, k)))
    if close(value, agreement(1, k + 1), within=1e-9):
        return None
    if close(value, agreement(0, k), within=1e-9):
        return "each cell is counted among its own neighbours: it is always at distance 0."
    if close(value, agreement(0, k + 1), within=1e-9):
        return "k + 1 cells are averaged, and one of them is the cell itself: drop it."
    if close(value, agreement(1, k), within=1e-9):
        return "one neighbour is missing: after dropping the cell itself, k should be left."
    if close(
        value, float(np.mean([np.mean(labels[o[-k:]] == labels[i]) for i, o in enumerate(order)]))
    ):
        return "these are the farthest cells, not the nearest."
    return f"it should be {agreement(1, k + 1):.3f} for the check's cells, not {value:.3f}."


@exercise("7.5", "perfect scores, and it has never seen a count.")
def check_beautiful(beautiful: Callable) -> Diagnosis:
    """Score it as the chapter scores embeddings, with labels of the check's own."""
    rng = np.random.default_rng(0)
    labels = rng.choice(list("abcdefghij"), 200)
    z = np.asarray(solved(beautiful(labels.copy(), np.random.default_rng(1))), dtype=float)
    if z.shape != (200, 2):
        return f"the coordinates should have shape (200, 2), not {z.shape}."
    if not np.isfinite(z).all():
        return "some coordinates are not finite."
    agreement = evaluation.cluster_agreement(z, labels)
    if agreement.ari < 0.1:
        return f"the ARI is {agreement.ari:.2f}: the labels have not been used."
    if agreement.ari < 0.9:
        return f"the ARI is {agreement.ari:.2f}: k-means does not find every label apart."
    if agreement.silhouette < 0.9:
        return (
            f"the silhouette is {agreement.silhouette:.2f}: the groups scatter too much for their "
            "distance."
        )
    return None


@exercise("7.4", "two cells that are uncertain are expected to lie further apart than their means.")
def check_expected_squared_distance(expected_squared_distance: Callable) -> Diagnosis:
    """Compare with the mean over many draws, then with the usual slips."""
    rng = np.random.default_rng(0)
    mean_a, mean_b = rng.standard_normal((2, 4))
    sd_a, sd_b = rng.uniform(0.3, 1.5, (2, 4))
    answer = np.asarray(solved(expected_squared_distance(mean_a, sd_a, mean_b, sd_b)))
    if answer.ndim != 0:
        return "it is one number for each coordinate; add them up."
    value, means = float(answer), float(((mean_a - mean_b) ** 2).sum())
    draws_a = mean_a + sd_a * rng.standard_normal((400_000, 4))
    draws_b = mean_b + sd_b * rng.standard_normal((400_000, 4))
    simulated = ((draws_a - draws_b) ** 2).sum(axis=1)
    slips = {
        "this is the squared distance of the means; the spreads are missing": means,
        "the standard deviations are added; variances add": means + (sd_a + sd_b).sum(),
        "the spread of a difference is not a difference: variances add": means
        + (sd_a**2 - sd_b**2).sum(),
        "the standard deviations are added before squaring; for independent draws variances add":
        means + ((sd_a + sd_b) ** 2).sum(),
        "this is averaged over the coordinates; add them up": simulated.mean() / 4,
        "this is a distance; the squared one was asked for": np.sqrt(simulated.mean()),
    }  # fmt: skip
    error = 4 * simulated.std() / np.sqrt(len(simulated))
    if abs(value - simulated.mean()) < error:
        return None
    for complaint, slip in slips.items():
        if abs(value - slip) < error:
            return f"{complaint}."
    return f"400,000 draws give {simulated.mean():.2f} for the check's cells, not {value:.2f}."
