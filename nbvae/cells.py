"""What a module is fed: minibatches of counts, and each cell's batch if the module asks for it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor, nn

from nbvae.counts import count_matrix
from nbvae.entries import Entries


class Cells(NamedTuple):
    """Counts, checked once, and the codes of the batches."""

    counts: sparse.csr_matrix  # (n_cells, n_genes)
    batch: np.ndarray | None  # (n_cells,)

    @classmethod
    def of(cls, adata: AnnData, module: nn.Module, *, layer: str | None = None) -> "Cells":
        """Take from an AnnData what a module needs.

        Raises:
            CountsError, KeyError: as in ``count_matrix``.
            ValueError: a cell is from a batch that the module does not know.

        """
        counts = count_matrix(adata, layer=layer)
        batches = getattr(module, "batches", None)
        return cls(counts, None if batches is None else batches.codes(adata))

    def minibatches(
        self, rows: np.ndarray, batch_size: int, device: torch.device | str
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Walk through ``rows`` in the given order: x, and what else a module is called with."""
        for x, _, covariates in self.minibatches_to_train(rows, batch_size, device):
            yield x, covariates

    def minibatches_to_train(
        self, rows: np.ndarray, batch_size: int, device: torch.device | str
    ) -> Iterator[tuple[Tensor, Entries, dict[str, Tensor]]]:
        """Walk through ``rows`` with the entries of x, from which a fast step is made."""
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            counts = self.counts[some]
            covariates = {}
            if self.batch is not None:
                covariates["batch"] = torch.from_numpy(self.batch[some]).to(device)
            x = torch.from_numpy(counts.toarray()).to(device)
            yield x, Entries.of(counts, device), covariates
