"""What a rival is asked to do, and what it gives back."""

from dataclasses import dataclass
from typing import NamedTuple

from anndata import AnnData
from torch import nn

from benchmarks.watch import Watch


class Fitted(NamedTuple):
    """What came out of a fit."""

    module: nn.Module  # an NBVAE, or what looks like one
    epochs: int


@dataclass(frozen=True)
class Task:
    """Counts to fit a model to, and a watch to be told of it. ``max_epochs=None``: the default."""

    adata: AnnData
    watch: Watch
    seed: int = 0
    max_epochs: int | None = None
    device: str = "cpu"
