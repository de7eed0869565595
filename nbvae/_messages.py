"""Pieces of error messages."""

from collections.abc import Iterable


def shown(names: Iterable[str], *, most: int = 8) -> str:
    """Join names for a message, in quotes; the rest of a long list becomes '…'."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:most] + (["…"] if len(quoted) > most else []))
