"""Pieces of error messages."""

from collections.abc import Iterable

from anndata import AnnData


def shown(names: Iterable[str], *, most: int = 8) -> str:
    """Join names for a message, in quotes; the rest of a long list becomes '…'."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most] + (["…"] if len(quoted) > most else []))


def cell_name(adata: AnnData, row: int) -> str:
    """Name a cell for a message; the row, too, since names may occur twice."""
    return f"cell {adata.obs_names[row]!r} (row {row})"
