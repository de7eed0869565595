"""The living figures of chapters 1 and 2: counts."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.living.figure import LivingFigure, packed
from nbvae.teaching.living.stills import caught_again

LARGEST = 2**16 - 1  # what two bytes hold


def catch_rate(counts: np.ndarray, genes: Mapping[str, int]) -> LivingFigure:
    """Let the reader catch fewer of one cell's molecules.

    Args:
        counts: of the cell, (n_genes,).
        genes: which to show, by name: their places in ``counts``.

    """
    values = {"counts": whole(counts), "genes": list(genes.items())}
    still = caught_again(counts, genes)
    return LivingFigure("catch_rate", "A cell, caught again", values, still=still)


def negative_binomial(
    library: np.ndarray,
    genes: Mapping[str, np.ndarray],
    kind: str,
    *,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader choose a mean and a θ, and see the counts and what they say about θ.

    Args:
        library: of some real cells, (n_cells,).
        genes: for each, by name, its counts in these cells, (n_cells,).
        kind: what these cells are, in a few words.
        still: the picture for where scripts do not run.

    """
    values = {
        "library": whole(library),
        "kind": kind,
        "genes": [[name, whole(counts)] for name, counts in genes.items()],
    }
    return LivingFigure(
        "negative_binomial", "The negative binomial, its counts and its θ", values, still=still
    )


def whole(numbers: np.ndarray) -> str:
    """Return whole numbers as text, two bytes each.

    Raises:
        ValueError: one is negative, no whole number or above 65,535.

    """
    numbers = np.asarray(numbers)
    wrong = (numbers < 0) | (numbers > LARGEST) | (numbers != np.rint(numbers))
    if wrong.any():
        raise ValueError(
            f"{numbers[wrong].flat[0]} is not a whole number from 0 to {LARGEST:,}, which is what "
            "the page can hold. Give raw counts."
        )
    return packed(np.rint(numbers), "<u2")
