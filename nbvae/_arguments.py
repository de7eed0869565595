"""Arguments, checked in one place: what is valid is converted, what is not is named."""

import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from nbvae._messages import shown

LARGEST_SEED = 2**63 - 1  # that PyTorch takes


def whole_number(name: str, value: Any, *, least: int | None = 1) -> int:
    """Take a whole number, Python's or numpy's.

    Raises:
        TypeError: it is of another type, even 3.0, which PyTorch takes in some places and not in
            others.
        ValueError: it is below ``least``.

    """
    bound = "" if least is None else f" of at least {least}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be a whole number{bound}, not {value!r} ({kind_of(value)})."
        ) from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be a whole number{bound}, not {number}.")
    return number


def a_seed(name: str, value: Any) -> int:
    """Take a whole number that PyTorch takes as a seed.

    Raises:
        TypeError, ValueError: as in ``whole_number``; or it is above 2⁶³ − 1.

    """
    seed = whole_number(name, value, least=0)
    if seed > LARGEST_SEED:
        raise ValueError(f"{name} must be a whole number of at most {LARGEST_SEED}, not {seed}.")
    return seed


def true_or_false(name: str, value: Any) -> bool:
    """Take a truth value, Python's or numpy's.

    Raises:
        TypeError: it is neither; the words "no" and "False" would count as true.

    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r} ({kind_of(value)}).")
    return bool(value)


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Take one of a few words.

    Raises:
        TypeError: it is not a string.
        ValueError: it is another word.

    """
    known = list(known)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {shown(known)}, not {value!r} ({kind_of(value)}).")
    if value not in known:
        raise ValueError(f"Unknown {name} {value!r}. Use one of {shown(known)}.")
    return str(value)


def an_anndata(adata: Any) -> AnnData:
    """Take an AnnData.

    Raises:
        TypeError: it is something else; the message says how to make an AnnData of it.

    """
    if isinstance(adata, AnnData):
        return adata
    message = f"adata must be an AnnData (cells × genes), not {kind_of(adata)}."
    if isinstance(adata, str | Path):
        message += " Read the file first: adata = datasets.read_counts(path)."
    elif hasattr(adata, "to_adata"):  # AnnData's own raw
        message += " Pass what its to_adata() returns."
    elif hasattr(adata, "parameters"):
        message += " The module comes first, then the AnnData."
    elif hasattr(adata, "shape"):
        message += (
            " Make one: AnnData(counts), and name its genes: adata.var_names = […]. "
            "A DataFrame with a column for each gene brings their names along."
        )
    raise TypeError(message)


def kind_of(value: Any) -> str:
    """Name the type of a value as a reader imports it: ``str``, ``numpy.ndarray``."""
    kind = type(value)
    home = kind.__module__.split(".")[0]
    return kind.__name__ if home == "builtins" else f"{home}.{kind.__name__}"
