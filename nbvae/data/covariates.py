"""What a model is told of a cell beside its counts: the batch (donor, run, …) that it is from.

This file is the only one that knows how a column of ``obs`` becomes numbers. All others pass on
the design matrix, (n_cells, n_columns), which is what the networks get.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from nbvae._arguments import an_anndata, kind_of
from nbvae._messages import cell_name, shown


class Covariates(NamedTuple):
    """A column of ``obs`` and its levels. Each level has a column of the design matrix.

    A column of the design belongs to a level's name, not to a table: a subset of the cells, or a
    column of ``obs`` with its categories in another order, gives each cell the same row.
    """

    key: str  # the column of adata.obs
    levels: tuple[str, ...]  # sorted as strings: "10" comes before "2"

    @classmethod
    def of(cls, adata: AnnData, key: str) -> Covariates:
        """Take the levels that occur in ``adata.obs[key]``; categories without cells don't count.

        Raises:
            KeyError: there is no such column.
            TypeError: ``adata`` is no AnnData.
            ValueError: a cell has no value, or there are no cells.

        """
        levels = tuple(sorted(set(_names(adata, key))))
        if not levels:
            raise ValueError(f"obs[{key!r}] is empty: there are no cells to take levels from.")
        return cls(str(key), levels)

    @property
    def n_columns(self) -> int:
        """Width of the design matrix."""
        return len(self.levels)

    def design(self, adata: AnnData) -> np.ndarray:
        """Encode the cells: a one in the column of the cell's level, else zeros.

        Returns:
            (n_cells, n_columns), float32.

        Raises:
            KeyError: there is no column ``key``.
            ValueError: a cell has no value, or one that is none of the levels.

        """
        names = _names(adata, self.key)
        codes = pd.Index(self.levels, dtype=object).get_indexer(names)  # −1: none of the levels
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise ValueError(
                f"{names[row]!r} of {cell_name(adata, row)} in obs[{self.key!r}] is unknown; "
                f"the known levels are: {shown(self.levels)}."
            )
        return np.eye(self.n_columns, dtype=np.float32)[codes]

    def as_if(self, level: str, n_cells: int) -> Tensor:
        """Encode so many cells as if all had this level. Returns (n_cells, n_columns), float32.

        Raises:
            ValueError: there is no such level.

        """
        if level not in self.levels:
            raise ValueError(f"{level!r} is none of the levels: {shown(self.levels)}.")
        row = torch.eye(self.n_columns)[self.levels.index(level)]
        return row.repeat(n_cells, 1)

    def random(self, n_cells: int) -> Tensor:
        """Draw a level for each of so many cells. Returns (n_cells, n_columns), float32."""
        return torch.eye(self.n_columns)[torch.randint(self.n_columns, (n_cells,))]


def as_covariates(value: Any) -> Covariates | None:
    """Take covariates, with key and levels as plain strings, which a file can hold.

    Raises:
        TypeError: it is something else, such as the name of a column.
        ValueError: there are no levels, or one occurs twice.

    """
    if value is None:
        return None
    if not isinstance(value, Covariates):
        key = value if isinstance(value, str) else "donor"
        raise TypeError(
            f"covariates must be Covariates, not {value!r} ({kind_of(value)}): pass "
            f"covariates=Covariates.of(adata, {key!r}), which reads the levels of a column of obs."
        )
    levels = tuple(map(str, value.levels))
    if not levels or len(set(levels)) < len(levels):
        raise ValueError(f"Covariates need levels, each once, not {shown(levels) or 'none'}.")
    return Covariates(str(value.key), levels)


def covariates_of(module: object) -> Covariates | None:
    """Return the covariates that a module wants, if it wants any."""
    return getattr(module, "covariates", None)


def _names(adata: AnnData, key: str) -> np.ndarray:
    """Read a column of ``obs`` as strings, (n_cells,); stop at a cell without a value."""
    if key not in an_anndata(adata).obs:
        have = shown(adata.obs.columns) or "none"
        raise KeyError(f"There is no column {key!r} in obs; the columns are: {have}.")
    column = adata.obs[key]
    if column.ndim > 1:
        raise ValueError(f"obs has several columns {key!r}: rename all but one.")
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"obs[{key!r}] has no value for {cell_name(adata, int(missing.argmax()))}: give each "
            "cell a value, or remove the cells without one."
        )
    return np.array([str(value) for value in column.astype(str)], dtype=object)
