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
from nbvae.module import LossOutput


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
        self, rows: np.ndarray, batch_size: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Walk through ``rows`` in the given order; the last minibatch may be smaller.

        Yields:
            x, (N, n_genes), float32; and what else the module is called with.

        """
        for counts, others in self._walk(rows, batch_size, device):
            yield torch.from_numpy(counts.toarray()).to(device), others

    def minibatches_with_entries(
        self, rows: np.ndarray, batch_size: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, Entries, dict[str, Tensor]]]:
        """Walk through ``rows`` with the entries of x, as ``loss_of`` takes them."""
        for counts, others in self._walk(rows, batch_size, device):
            x = torch.from_numpy(counts.toarray()).to(device)
            yield x, Entries.of(counts, device), others

    def _walk(
        self, rows: np.ndarray, batch_size: int, device: torch.device | str
    ) -> Iterator[tuple[sparse.csr_matrix, dict[str, Tensor]]]:
        """Gather the rows of each minibatch; scipy does that in compiled code."""
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            others = {}
            if self.batch is not None:
                others["batch"] = torch.from_numpy(self.batch[some]).to(device)
            yield self.counts[some], others


def loss_of(module: nn.Module, x: Tensor, entries: Entries, **arguments: object) -> LossOutput:
    """Compute the loss of a minibatch, by the module's shortcut if it has one.

    Args:
        module: called as ``module.fast_forward(x, entries, …)``, else as ``module(x, …)``.
        x: (N, n_genes), raw counts.
        entries: of the same counts.
        arguments: what else the module is called with.

    Returns:
        What the module returns: ``loss``, and ``reconstruction`` and ``kl`` of each cell.

    """
    if hasattr(module, "fast_forward"):
        return module.fast_forward(x, entries, **arguments)
    return module(x, **arguments)
