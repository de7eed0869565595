"""The table of a run: one row per epoch."""

import pandas as pd

from nbvae.evaluation import Elbo

_COLUMNS = ["epoch", "kl_weight"] + [
    f"{cells}_{term}" for cells in ("train", "held_out") for term in Elbo._fields
]


def as_history(rows: list[tuple[float, ...]] | dict[str, list[float]]) -> pd.DataFrame:
    """Give the history its columns and types, also when no epoch was completed."""
    if isinstance(rows, dict):
        rows = {name: rows[name] for name in _COLUMNS}  # a column that is missing is an error
    table = pd.DataFrame(rows, columns=_COLUMNS, dtype=float)
    return table.astype({"epoch": int}).set_index("epoch")
