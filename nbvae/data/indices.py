"""Which cells or genes are meant: masks, positions and names, as numpy and pandas take them."""

from typing import Any

import numpy as np
import pandas as pd

from nbvae._messages import shown

WAYS = "a mask, one True or False for each of the {n} {what}, their row numbers, or their names"


def positions_of(which: Any, names: pd.Index, *, what: str, argument: str) -> np.ndarray:
    """Turn a choice of cells or genes into their positions.

    Args:
        which: a mask (n,), positions, names, or a slice; all when None. A mask that is a pandas
            Series is put in the order of ``names`` by its index, if that has the same names.
        names: (n,), of all cells or genes.
        what: "cells" or "genes", for messages.
        argument: the name of the argument that this was given as, for messages.

    Returns:
        (k,), int64, in the order asked for, k ≥ 1; a position may occur twice.

    Raises:
        KeyError: a name is not there.
        ValueError: it is none of these, or empty; a position is out of range; a name that was
            asked for occurs twice.

    """
    if which is None or isinstance(which, slice):
        found = np.arange(len(names))[slice(None) if which is None else which]
    else:
        found = _positions(which, names, what, argument)
    if len(found) == 0:
        raise ValueError(f"There are no {what}: {argument} is empty.")
    return found


def _positions(which: Any, names: pd.Index, what: str, argument: str) -> np.ndarray:
    values = np.asarray(_in_order(which, names))
    if values.ndim == 1 and len(values) == 0:
        return np.empty(0, dtype=np.int64)
    ways = f"{argument} must be {WAYS.format(n=len(names), what=what)}"
    if values.ndim != 1:
        raise ValueError(f"{ways}; it has shape {values.shape}.")
    if values.dtype == bool:
        if len(values) != len(names):
            raise ValueError(f"{ways}; this mask has {len(values)} entries.")
        return np.flatnonzero(values)
    if values.dtype.kind in "iu":
        return _in_range(values.astype(np.int64), len(names), what, argument)
    if all(isinstance(value, str) for value in values):
        return _by_name(values, names, what, argument)
    raise ValueError(f"{ways}; it holds {shown([values[0]])} of type {type(values[0]).__name__}.")


def _in_order(which: Any, names: pd.Index) -> Any:
    """Read a mask that has names by those names, whatever its order."""
    is_mask = isinstance(which, pd.Series) and which.dtype == bool
    if is_mask and which.index.is_unique and set(which.index) == set(names):
        return which.reindex(names)
    return which


def _in_range(values: np.ndarray, n: int, what: str, argument: str) -> np.ndarray:
    outside = (values < -n) | (values >= n)
    if outside.any():
        raise ValueError(
            f"{argument}: there are {n} {what}, so none has the number {values[outside][0]}."
        )
    return np.where(values < 0, values + n, values)  # from the end, as in numpy


def _by_name(values: np.ndarray, names: pd.Index, what: str, argument: str) -> np.ndarray:
    asked = dict.fromkeys(map(str, values))  # in order; numpy's strings say that they are numpy's
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise KeyError(f"{argument}: these {what} are not there: {shown(unknown)}.")
    twice = [name for name in asked if name in set(names[names.duplicated()])]
    if twice:
        raise ValueError(
            f"{argument}: these names of {what} occur twice: {shown(twice)}. Run "
            f"adata.{'obs' if what == 'cells' else 'var'}_names_make_unique() first."
        )
    first = names[~names.duplicated()]
    places = np.flatnonzero(~names.duplicated())
    return places[first.get_indexer(values)]
