"""The living figure of chapter 8: what a factor on θ does to replicates and to calibration."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.living.counts import whole
from nbvae.teaching.living.figure import LivingFigure, packed

ENTRIES = 2000  # of the table, at most: the page recomputes φ of each
AT_LEAST = 1.0  # expected counts


def calibration(
    counts: np.ndarray,
    mean: np.ndarray,
    theta: np.ndarray,
    genes: Mapping[str, int],
    *,
    seed: int = 0,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader multiply all θ by a factor, and choose a gene to replicate.

    Args:
        counts: of the cells, (n_cells, n_genes).
        mean: what the model expects of each after some draws of z, (draws, n_cells, n_genes).
        theta: of each gene, (n_genes,).
        genes: which can be chosen, by name: their columns.
        seed: of the choice among the counts with an expectation of at least 1.
        still: the picture for where scripts do not run.

    """
    rows, columns = np.nonzero(mean.mean(axis=0) > AT_LEAST)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(rows))[:ENTRIES])
    rows, columns = rows[some], columns[some]
    trained = {
        "genes": [
            [name, float(theta[g]), whole(counts[:, g]), packed(mean[:, :, g], "<f2")]
            for name, g in genes.items()
        ],
        "x": whole(counts[rows, columns]),
        "mu": packed(mean[:, rows, columns], "<f2"),
        "theta": packed(theta[columns], "<f2"),
    }
    label = "One factor on all θ: a gene's replicates, and the calibration of all genes"
    return LivingFigure("calibration", label, {}, trained=trained, still=still)
