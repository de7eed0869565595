"""What a model is told of a cell besides its counts: batch, donor, the share of mitochondrial RNA.

This file and ``covariate.py`` are the only ones that know how columns of ``obs`` become numbers.
All others pass on the design matrix, (n_cells, n_columns), which the networks get.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor

from nbvae._arguments import kind_of
from nbvae._messages import shown
from nbvae.data.covariate import Category, Number, column_from, covariate_of

Way = str | Mapping[str, Any]  # a level, or {key: level or number}


class Covariates(NamedTuple):
    """Columns of ``obs``, side by side in the design matrix in this order."""

    columns: tuple[Category | Number, ...]

    @classmethod
    def of(cls, adata: AnnData, *keys: str, continuous: Iterable[str] = ()) -> Covariates:
        """Take columns of ``obs`` as what their types say: floats are continuous, others names.

        The levels of a category are those that occur; the mean and the standard deviation of a
        continuous one, by which it is standardised, are those of these cells.

        Args:
            adata: the cells that a module will be trained on.
            keys: the columns.
            continuous: more of them, which are numbers whatever their type.

        Raises:
            KeyError: there is no such column.
            TypeError: ``adata`` is not an AnnData.
            ValueError: no column, or one twice; a cell has no value; there are no cells; a number
                is the same in all of them; or a column looks like the other kind.

        """
        numbers = [continuous] if isinstance(continuous, str) else list(continuous)
        columns = [covariate_of(adata, key) for key in keys]
        return as_covariates(
            cls((*columns, *(covariate_of(adata, key, continuous=True) for key in numbers)))
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.key for column in self.columns)

    @property
    def categories(self) -> tuple[Category, ...]:
        """Those columns that hold names."""
        return tuple(column for column in self.columns if isinstance(column, Category))

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels, where one category is all there is; else none."""
        [*levels] = (category.levels for category in self.categories)
        return levels[0] if len(self.columns) == len(levels) == 1 else ()

    @property
    def n_columns(self) -> int:
        """Width of the design matrix."""
        return sum(column.n_columns for column in self.columns)

    @property
    def batch_columns(self) -> slice:
        """Which columns of the design are those of the batch, the first category; an empty slice
        without one.
        """
        start = 0
        for column in self.columns:
            if isinstance(column, Category):
                return slice(start, start + column.n_columns)
            start += column.n_columns
        return slice(0, 0)

    def design(self, adata: AnnData) -> np.ndarray:
        """Encode the cells: a one for each level that a cell has, and its standardised numbers.

        Returns:
            (n_cells, n_columns), float32.

        Raises:
            KeyError: a column is not there.
            ValueError: a cell has no value, or one that is none of the levels.

        """
        return np.concatenate([column.design(adata) for column in self.columns], axis=1)

    def as_if(self, way: Way, cells: int | Tensor) -> Tensor:
        """Encode cells as if all had a level, or a number.

        Args:
            way: the level, where one category is all there is; else {key: level or number}.
            cells: their own design, (n_cells, n_columns), whose other columns are kept; or how
                many, where ``way`` says everything.

        Returns:
            (n_cells, n_columns), the type of the own design, or float32.

        Raises:
            TypeError: ``way`` is neither, or a continuous covariate is given no number.
            ValueError: there is no such covariate or level, or one was left out.

        """
        changes = self.changes(way)
        if isinstance(cells, int):
            if missing := [key for key in self.keys if key not in changes]:
                raise ValueError(f"What of {shown(missing)}? Pass the cells' own design as well.")
            cells = torch.zeros(cells, self.n_columns)
        parts = cells.split([column.n_columns for column in self.columns], dim=1)
        return torch.cat(
            [
                part.new_tensor(column.row_of(changes[column.key])).expand_as(part)
                if column.key in changes
                else part
                for column, part in zip(self.columns, parts, strict=True)
            ],
            dim=1,
        )

    def random(self, n_cells: int) -> Tensor:
        """Draw a level of each category for each of ``n_cells`` cells; numbers are at their means.

        Returns:
            (n_cells, n_columns), float32.

        """
        return torch.cat([column.random(n_cells) for column in self.columns], dim=1)

    def stored(self) -> list[dict[str, Any]]:
        """Say all of it in plain words and numbers, which a file can hold."""
        return [
            {name: list(v) if name == "levels" else v for name, v in column._asdict().items()}
            for column in self.columns
        ]

    @classmethod
    def from_stored(cls, stored: list[dict[str, Any]]) -> Covariates:
        """Read what ``stored`` wrote."""
        return as_covariates(cls(tuple(map(column_from, stored))))

    def changes(self, way: Way) -> Mapping[str, Any]:
        """Read {key: level or number}, or a level where one category is all there is."""
        if isinstance(way, Mapping):
            if unknown := [key for key in way if key not in self.keys]:
                raise ValueError(
                    f"The module knows no covariate {shown(unknown)}, only {shown(self.keys)}."
                )
            return way
        if not isinstance(way, str):
            raise TypeError(f"A level or {{key: level or number}}, not {way!r} ({kind_of(way)}).")
        if not self.levels:
            raise ValueError(
                f"{way!r} of which covariate? There are {shown(self.keys)}: {{key: {way!r}}}."
            )
        return {self.keys[0]: way}


def as_covariates(value: Any) -> Covariates:
    """Take covariates, with keys and levels as plain strings, which a file can hold.

    Raises:
        TypeError: it is something else, such as the name of a column.
        ValueError: there are none, or one occurs twice; no levels, or one of them twice; or a
            standard deviation is not above 0.

    """
    if not isinstance(value, Covariates):
        key = value if isinstance(value, str) else "donor"
        raise TypeError(
            f"covariates must be Covariates, not {value!r} ({kind_of(value)}): pass "
            f"covariates=Covariates.of(adata, {key!r}), which reads the levels of a column of obs."
        )
    columns = tuple(column.plain() for column in value.columns)
    keys = [column.key for column in columns]
    if not keys or len(set(keys)) < len(keys):
        raise ValueError(f"Covariates need columns, each once, not {shown(keys) or 'none'}.")
    return Covariates(columns)


def covariates_from(adata: AnnData, value: Any) -> Covariates | None:
    """Take what a user says of covariates: columns of ``obs`` by name, or ``Covariates``."""
    if value is None or isinstance(value, Covariates):
        return value
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise TypeError(
            f"covariates must name columns of obs, as in ['batch', 'donor'], or be what "
            f"Covariates.of(adata, …) returns, not {value!r} ({kind_of(value)})."
        )
    return Covariates.of(adata, *keys)


def covariates_of(module: object) -> Covariates | None:
    """Return the covariates that a module wants, if it wants any."""
    return getattr(module, "covariates", None)


def size_factor_key_of(module: object) -> str | None:
    """Return the column of ``obs`` that holds a module's size factors; None: cells' own totals."""
    key = getattr(module, "size_factor_key", None)
    return key if isinstance(key, str) else None
