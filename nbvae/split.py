"""Which cells are held out of training."""

import numpy as np
import pandas as pd
from anndata import AnnData


def split_cells(
    adata: AnnData, fraction: float, seed: int, stratify_by: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split the cells into training and held-out cells.

    The cells are shuffled, sorted by group, and every (1/fraction)-th is held out: each group
    gives its share, up to one cell.

    Args:
        adata: only its length and ``obs`` are looked at.
        fraction: of the cells to hold out; 0 holds out none.
        seed: of the shuffle.
        stratify_by: column of ``obs`` with the groups; one group when left out.

    Returns:
        Row numbers of the training cells and of the held-out cells, each ascending.

    Raises:
        KeyError: ``obs`` has no such column.
        ValueError: a side would be empty.

    """
    if stratify_by is not None and stratify_by not in adata.obs:
        raise KeyError(f"obs has no column {stratify_by!r} to stratify by.")
    shuffled = np.random.default_rng(seed).permutation(adata.n_obs)
    if stratify_by is not None:
        groups = pd.factorize(adata.obs[stratify_by].astype(str), sort=True)[0]
        shuffled = shuffled[np.argsort(groups[shuffled], kind="stable")]
    steps = np.floor(fraction * np.arange(adata.n_obs + 1) + 0.5)
    held_out = np.diff(steps) > 0
    if fraction > 0 and (held_out.all() or not held_out.any()):
        raise ValueError(
            f"{adata.n_obs} cells can't be split with holdout_fraction={fraction}: one side would "
            "be empty. Set holdout_fraction=0 to train on all of them."
        )
    return np.sort(shuffled[~held_out]), np.sort(shuffled[held_out])
