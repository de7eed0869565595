"""The table of a run: one row per epoch."""

import pandas as pd
import torch
from torch import Tensor

from nbvae.evaluation import Elbo
from nbvae.module.outputs import LossOutput

_COLUMNS = ["epoch", "kl_weight"] + [
    f"{cells}_{term}" for cells in ("train", "held_out") for term in Elbo._fields
]


def as_history(rows: list[tuple[float, ...]] | dict[str, list[float]]) -> pd.DataFrame:
    """Give the history its columns and types, also when no epoch was completed."""
    if isinstance(rows, dict):
        rows = {name: rows[name] for name in _COLUMNS}  # a column that is missing is an error
    table = pd.DataFrame(rows, columns=_COLUMNS, dtype=float)
    return table.astype({"epoch": int}).set_index("epoch")


def sums_of_terms(output: LossOutput) -> Tensor:
    """Sum the reconstruction term and the KL over a minibatch. (2,), float64, on the CPU."""
    terms = torch.stack([output.reconstruction.sum(), output.kl.sum()])
    return terms.detach().cpu().double()  # off the device first: MPS has no doubles
