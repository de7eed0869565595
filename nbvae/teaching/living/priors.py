"""The living figure of chapter 14: cells that are drawn from one prior or another."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.living.counts import whole
from nbvae.teaching.living.figure import LivingFigure

DECADES = 3  # below one expected count; rarer is drawn at the edge


class Drawn(NamedTuple):
    """Cells, each with what is expected of some genes and what was drawn."""

    means: np.ndarray  # (n_cells, n_genes), expected counts
    counts: np.ndarray  # (n_cells, n_genes), whole numbers
    test: float = 0.0  # the model's bound on test cells, nats
    train: float = 0.0  # and on training cells


def prior_draws(
    genes: Sequence[str],
    cells: Drawn,
    priors: Mapping[str, Drawn],
    *,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader change the prior and see where the drawn cells go.

    Args:
        genes: the first is the marker of one kind, the others of kinds that exclude it.
        cells: the real ones, with the means that a model gives them.
        priors: draws from each, by name, in the order of the slider.
        still: the picture for where scripts do not run.

    """
    trained = {
        "cells": _embedded(cells),
        "priors": [
            {"name": name, "test": drawn.test, "train": drawn.train, **_embedded(drawn)}
            for name, drawn in priors.items()
        ],
    }
    return LivingFigure(
        "prior_draws",
        "Cells drawn from a prior",
        {"genes": list(genes), "decades": DECADES},
        trained=trained,
        still=still,
    )


def _embedded(drawn: Drawn) -> dict[str, Any]:
    logs = np.log10(np.maximum(drawn.means, 10.0**-DECADES)) + DECADES
    return {"means": whole(np.rint(1000 * logs)), "counts": whole(drawn.counts)}
