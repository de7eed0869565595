"""What a module is fed: minibatches of counts, and each cell's batch if the module asks for it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor, nn

from nbvae.counts import count_matrix, minibatches


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
        """Walk through ``rows`` in the given order: x, and what else the module is called with."""
        for step, x in enumerate(minibatches(self.counts, rows, batch_size, device)):
            if self.batch is None:
                yield x, {}
            else:
                some = rows[step * batch_size : (step + 1) * batch_size]
                yield x, {"batch": torch.from_numpy(self.batch[some]).to(device)}
