"""Pieces of error messages."""

import logging
from collections.abc import Iterable

from anndata import AnnData

LOG = logging.getLogger("nbvae")  # at the level of warnings, so that it is seen by default


def shown(names: Iterable[str], *, most: int = 8) -> str:
    """Join names for a message, in quotes; the rest of a long list becomes '…'."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most] + (["…"] if len(quoted) > most else []))


def cell_name(adata: AnnData, row: int) -> str:
    """Name a cell for a message, by its row as well, since names may occur twice."""
    return f"cell {adata.obs_names[row]!r} (row {row})"


def note(message: str) -> None:
    """Tell the user something that is no cause for concern: one line, which logging can silence."""
    LOG.warning(message)
