"""One column of ``obs`` as numbers: a 0 or 1 for each of its levels, or a standardised number."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from nbvae._arguments import an_anndata
from nbvae._messages import cell_name, shown

MOST_NUMBERS = 50  # different whole numbers that are still taken for names, as of donors 1 to 12
FEW_NUMBERS = 10  # different whole numbers, stored as floats, that may be such names


class Category(NamedTuple):
    """A column of ``obs`` with names in it: batch, donor, chemistry.

    A column of the design belongs to a level's name, not to a table: a subset of the cells, or a
    column of ``obs`` with its categories in another order, gives each cell the same row.
    """

    key: str  # the column of adata.obs
    levels: tuple[str, ...]  # sorted as strings: "10" comes before "2"

    @property
    def n_columns(self) -> int:
        """How many columns of the design it takes."""
        return len(self.levels)

    def design(self, adata: AnnData) -> np.ndarray:
        """Encode the cells: a one in the column of the cell's level, else zeros. (n_cells, C)."""
        names = _names(adata, self.key)
        codes = pd.Index(self.levels, dtype=object).get_indexer(names)  # −1: none of the levels
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise ValueError(
                f"{names[row]!r} of {cell_name(adata, row)} in obs[{self.key!r}] is unknown; "
                f"the known levels are: {shown(self.levels)}. with_new_levels(module, adata) fits "
                "the weights of new ones to their cells."
            )
        return np.eye(self.n_columns, dtype=np.float32)[codes]

    def row_of(self, level: object) -> list[float]:
        """Encode a level. (C,).

        Raises:
            ValueError: there is no such level.

        """
        if level not in self.levels:
            raise ValueError(
                f"{level!r} is none of the levels of {self.key!r}: {shown(self.levels)}."
            )
        return [float(level == known) for known in self.levels]

    @property
    def alike(self) -> object:
        """What treats all cells alike: each of its levels in turn."""
        return "all"

    def random(self, n_cells: int) -> Tensor:
        """Draw a level for each of ``n_cells`` cells. (n_cells, C), float32."""
        return torch.eye(self.n_columns)[torch.randint(self.n_columns, (n_cells,))]

    def with_levels_of(self, adata: AnnData) -> Category:
        """Append the levels of these cells that are new, in alphabetical order."""
        new = [level for level in levels_of(adata, self.key) if level not in self.levels]
        return self._replace(levels=(*self.levels, *new))

    def plain(self) -> Category:
        """Return it in plain strings, which a file can hold.

        Raises:
            ValueError: it has no levels, or one of them twice.

        """
        levels = tuple(map(str, self.levels))
        if not levels or len(set(levels)) < len(levels):
            raise ValueError(f"Covariates need levels, each once, not {shown(levels) or 'none'}.")
        return Category(str(self.key), levels)


class Number(NamedTuple):
    """A column of ``obs`` with an amount in it, such as a percentage, as (value − mean)/sd."""

    key: str  # the column of adata.obs
    mean: float  # of the cells that it was made from
    sd: float

    @property
    def n_columns(self) -> int:
        """How many columns of the design it takes."""
        return 1

    def design(self, adata: AnnData) -> np.ndarray:
        """Standardise the cells' values. (n_cells, 1)."""
        values = (numbers_of(adata, self.key) - self.mean) / self.sd
        return values.astype(np.float32)[:, None]

    def row_of(self, value: object) -> list[float]:
        """Standardise a value. (1,).

        Raises:
            TypeError, ValueError: it is not a finite number.

        """
        if isinstance(value, bool | str) or not np.isscalar(value):
            raise TypeError(f"{self.key!r} is continuous: give it a number, not {value!r}.")
        if not np.isfinite(number := float(value)):  # type: ignore[arg-type]  # a scalar
            raise ValueError(f"{self.key!r} must be a finite number, not {value!r}.")
        return [(number - self.mean) / self.sd]

    @property
    def alike(self) -> object:
        """What treats all cells alike: the mean."""
        return self.mean

    def random(self, n_cells: int) -> Tensor:
        """Put ``n_cells`` cells at the mean. (n_cells, 1), float32."""
        return torch.zeros(n_cells, 1)

    def with_levels_of(self, adata: AnnData) -> Number:
        """Stay as it is: a number has no levels."""
        return self

    def plain(self) -> Number:
        """Return it in a plain string and floats, which a file can hold.

        Raises:
            ValueError: the mean is not finite, or the standard deviation not above 0.

        """
        if not (math.isfinite(self.mean) and 0 < self.sd < math.inf):
            raise ValueError(f"{self.key!r} has mean {self.mean} and sd {self.sd}.")
        return Number(str(self.key), float(self.mean), float(self.sd))


def column_from(stored: dict[str, Any]) -> Category | Number:
    """Read what ``_asdict`` said of a column."""
    return Category(**stored) if "levels" in stored else Number(**stored)


def covariate_of(adata: AnnData, key: str, *, continuous: bool = False) -> Category | Number:
    """Take a column as what its type says: floats are continuous, all else are names.

    Args:
        adata: the cells.
        key: the column of ``obs``.
        continuous: take it as numbers, whatever its type.

    Raises:
        KeyError: there is no such column.
        TypeError: ``adata`` is not an AnnData.
        ValueError: a cell has no value; there are no cells; an amount is the same in all of them;
            or the column looks like the other kind.

    """
    column = _column(adata, key)
    if not len(column):
        raise ValueError(f"obs[{key!r}] is empty: there are no cells to take levels from.")
    if continuous or pd.api.types.is_float_dtype(column.dtype):
        return _number_of(adata, key, sure=continuous)
    levels = levels_of(adata, key)
    _refuse_amounts(column, levels, key)
    return Category(str(key), levels)


def levels_of(adata: AnnData, key: str) -> tuple[str, ...]:
    """List the different values of a column, as sorted strings."""
    return tuple(sorted(set(_names(adata, key))))


def _number_of(adata: AnnData, key: str, *, sure: bool) -> Number:
    values = numbers_of(adata, key)
    different = np.unique(values)
    if len(different) == 1:
        raise ValueError(f"obs[{key!r}] is {values[0]:g} in all cells: there is nothing to tell.")
    if not sure and len(different) <= FEW_NUMBERS and (different == different.round()).all():
        raise ValueError(
            f"obs[{key!r}] has only {shown(map(str, different), most=3)}: names or amounts? If "
            f"names: adata.obs[{key!r}] = adata.obs[{key!r}].astype(int). If amounts: "
            f"Covariates.of(adata, …, continuous=[{key!r}])."
        )
    return Number(str(key), float(values.mean()), float(values.std()))


def _refuse_amounts(column: pd.Series, levels: tuple[str, ...], key: str) -> None:
    """Refuse a category that looks like an amount, or like the names of the cells."""
    if len(levels) <= MOST_NUMBERS:
        return
    numbers = pd.to_numeric(pd.Series(levels), errors="coerce").to_numpy(dtype=float)
    whole_as_names = not pd.api.types.is_integer_dtype(column.dtype)
    if np.isfinite(numbers).all() and not (whole_as_names and (numbers == numbers.round()).all()):
        raise ValueError(
            f"obs[{key!r}] has {len(levels)} different numbers, which would be {len(levels)} "
            f"kinds of cells. If they are amounts: adata.obs[{key!r}] = "
            f"adata.obs[{key!r}].astype(float). If they are names: .astype(str)."
        )
    if 2 * len(levels) > len(column):
        raise ValueError(
            f"obs[{key!r}] has {len(levels)} different values for {len(column)} cells: what only "
            "one cell is told, no other can confirm. Name a column with groups of cells."
        )


def _column(adata: AnnData, key: str) -> pd.Series:
    """Fetch a column of ``obs``, complete; stop at a cell without a value."""
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
    return column


def _names(adata: AnnData, key: str) -> np.ndarray:
    """Read a column of ``obs`` as strings, (n_cells,)."""
    return np.array([str(value) for value in _column(adata, key).astype(str)], dtype=object)


def numbers_of(adata: AnnData, key: str) -> np.ndarray:
    """Read a column of ``obs`` as finite numbers, (n_cells,), float64."""
    given = _column(adata, key)
    values = pd.to_numeric(given.astype(object), errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise ValueError(
            f"obs[{key!r}] must hold numbers, but {cell_name(adata, row)} has "
            f"{str(given.iloc[row])!r}, which is not a finite number."
        )
    return values


def size_factors_of(adata: AnnData, key: str) -> np.ndarray:
    """Read the size factors.

    Returns:
        (n_cells,), float64, finite and above 0.

    Raises:
        KeyError: there is no such column.
        TypeError: ``adata`` is not an AnnData.
        ValueError: a cell has none, or one that is not a number above 0.

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
