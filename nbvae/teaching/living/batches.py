"""The living figure of chapter 10: what telling a model the experiment does to its latent space."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import orthogonal_procrustes

from nbvae.teaching.living.counts import LARGEST, whole
from nbvae.teaching.living.figure import LivingFigure


def two_experiments(
    maps: Mapping[float, Mapping[str, Sequence[np.ndarray]]],
    batch: Mapping[float, np.ndarray],
    lineage: np.ndarray,
    epochs: Sequence[int],
    *,
    lineages: tuple[str, str],
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader make two experiments less alike, and watch two models train.

    Args:
        maps: for each share of the second lineage that is in experiment A, and for each model by
            the name that the reader sees, the cells' places after some epochs, (n_cells, 2) each.
            The page turns and shrinks them to fit each other, and counts neighbours on them.
        batch: for each share, 0 for the cells of A and 1 for those of B, (n_cells,).
        lineage: 0 or 1, (n_cells,).
        epochs: after how many epochs.
        lineages: the names of both.
        still: the picture for where scripts do not run.

    """
    maps = dict(sorted(maps.items()))
    models = list(next(iter(maps.values())))
    values = {
        "shares": list(maps),
        "epochs": list(epochs),
        "models": models,
        "lineages": lineages,
        "lineage": _digits(lineage),
        "batch": [_digits(batch[share]) for share in maps],
    }
    last: dict[str, np.ndarray] = {}  # of each model, the map that the next one is turned onto
    places = []
    for of in maps.values():
        row = []
        for name in models:
            row.append(_turned(of[name], last.get(name)))
            last[name] = row[-1][-1]
        places.append(row)
    return LivingFigure(
        "two_experiments",
        "Two experiments, and two models of them",
        values,
        trained={"maps": [[[_packed(p) for p in of] for of in row] for row in places]},
        still=still,
    )


def _turned(places: Sequence[np.ndarray], onto: np.ndarray | None) -> list[np.ndarray]:
    """Turn each map so that it lies best on the one of the next snapshot: directions are free."""
    turned: list[np.ndarray] = []
    for place in reversed(places):
        centred = place - place.mean(axis=0)
        target = turned[0] if turned else onto
        if target is not None:
            centred = centred @ orthogonal_procrustes(centred, target)[0]
        turned.insert(0, centred)
    return turned


def _packed(place: np.ndarray) -> str:
    """Put a map into the unit square, without stretching it."""
    low, size = place.min(axis=0), np.ptp(place, axis=0).max()
    margin = (size - np.ptp(place, axis=0)) / 2
    return whole(np.rint(LARGEST * (place - low + margin) / size))


def _digits(labels: np.ndarray) -> str:
    return "".join(str(int(label)) for label in labels)
