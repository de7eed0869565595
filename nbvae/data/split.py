"""Which cells are held out of training."""

import numpy as np
import pandas as pd
from anndata import AnnData

from nbvae.data.store.cells import CellStore


def split_cells(
    adata: AnnData, fraction: float, seed: int, stratify_by: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split the cells into training and held-out cells.

    Each group gives its share of the held-out cells, rounded down or up. It is rounded up where
    the most would be lost by rounding down, until the total is right (Hamilton's method of
    largest remainders). Which cells of a group are held out is random.

    Args:
        adata: only its length and ``obs`` are looked at.
        fraction: of the cells to hold out; 0 holds out none.
        seed: of the draw.
        stratify_by: column of ``obs`` with the groups; one group when left out.

    Returns:
        Row numbers of the training cells and of the held-out cells, each ascending.

    Raises:
        KeyError: ``obs`` has no such column.
        ValueError: a side would be empty.

    """
    if stratify_by is not None and stratify_by not in adata.obs:
        raise KeyError(f"obs has no column {stratify_by!r} to stratify by.")
    rng = np.random.default_rng(seed)
    groups = np.zeros(adata.n_obs, dtype=int)
    if stratify_by is not None:
        groups = pd.factorize(strata(adata, stratify_by), sort=True)[0]
    shuffled = _drawn(adata, rng)
    shuffled = shuffled[np.argsort(groups[shuffled], kind="stable")]  # group by group
    sizes = np.bincount(groups)
    rank = np.arange(adata.n_obs) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # in its group
    held_out = rank < np.repeat(_shares(fraction, sizes, rng), sizes)
    if fraction > 0 and (held_out.all() or not held_out.any()):
        raise ValueError(
            f"{adata.n_obs} cells can't be split with holdout_fraction={fraction}: one side would "
            "be empty. Set holdout_fraction=0 to train on all of them."
        )
    return np.sort(shuffled[~held_out]), np.sort(shuffled[held_out])


def strata(adata: AnnData, column: str) -> pd.Series:
    """Return the groups of a column of ``obs`` as words; cells without a value form one, too."""
    return adata.obs[column].astype(str).fillna("nan")  # before pandas 3, astype says it


def _drawn(adata: AnnData, rng: np.random.Generator) -> np.ndarray:
    """Put the cells in a random order; a store's, already in one, start from a random cell."""
    if isinstance(adata, CellStore):  # so that those held out are neighbours, and read together
        return np.roll(np.arange(adata.n_obs), -rng.integers(adata.n_obs))
    return rng.permutation(adata.n_obs)


def _shares(fraction: float, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Say how many cells each group holds out; equal remainders are ordered at random."""
    quota = fraction * sizes
    shares = np.floor(quota).astype(int)
    missing = int(np.floor(fraction * sizes.sum() + 0.5)) - shares.sum()
    by_remainder = np.lexsort([rng.random(len(sizes)), shares - quota])  # the largest first
    shares[by_remainder[:missing]] += 1
    return shares
