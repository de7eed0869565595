"""ℓ from a column of ``obs``: an offset that is known beforehand, instead of a cell's own total."""

import numpy as np
from anndata import AnnData

from nbvae._messages import cell_name
from nbvae.data.covariate import numbers_of


def size_factor_key_of(module: object) -> str | None:
    """Return the column of ``obs`` that holds a module's size factors; None: cells' own totals."""
    key = getattr(module, "size_factor_key", None)
    return key if isinstance(key, str) else None


def size_factors_of(adata: AnnData, key: str) -> np.ndarray:
    """Read the size factors.

    Returns:
        (n_cells,), float64, finite and above 0.

    Raises:
        KeyError: there is no such column.
        TypeError: ``adata`` is no AnnData.
        ValueError: a cell has none, or one that is no number above 0.

    """
    factors = numbers_of(adata, key)
    if (factors <= 0).any():
        row = int((factors <= 0).argmax())
        raise ValueError(
            f"obs[{key!r}] of {cell_name(adata, row)} is {factors[row]:g}, but a size factor is "
            "above 0: its counts are expected in proportion to it. Remove such cells, or take "
            "another column (scanpy's sc.pp.calculate_qc_metrics writes total_counts)."
        )
    return factors
