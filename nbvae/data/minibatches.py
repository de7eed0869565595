"""From a table of cells to minibatches, dense and sparse.

Nine in ten counts are zero. A product with the log-counts need not touch them: seen from the
cells, each row of it is a weighted sum of a few rows of weights; seen from the genes, so is its
gradient. Hence the sparse form of a minibatch lists its counts twice.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor

from nbvae.data.counts import count_matrix
from nbvae.data.covariates import Covariates
from nbvae.data.indices import positions_of


class SparseBatch(NamedTuple):
    """The n counts above zero of N cells × G genes, listed cell by cell and gene by gene."""

    counts: Tensor  # (n,), cell by cell
    cells: Tensor  # (n,), the cell of each
    genes: Tensor  # (n,), the gene of each
    cell_starts: Tensor  # (N,), where each cell begins in these lists
    log_counts: Tensor  # (n,), log1p of the counts
    log_counts_by_gene: Tensor  # (n,), the same gene by gene
    cells_by_gene: Tensor  # (n,), the cell of each of those
    gene_starts: Tensor  # (G,), where each gene begins in these lists

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device | str = "cpu") -> "SparseBatch":
        """List the counts of a CSR matrix, (N, G)."""
        by_gene = matrix.tocsc()
        cells = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        arrays = (
            *(matrix.data, cells, matrix.indices, matrix.indptr[:-1], np.log1p(matrix.data)),
            *(np.log1p(by_gene.data), by_gene.indices, by_gene.indptr[:-1]),
        )
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


class Minibatch:
    """Some cells, N, of a table; each form of their counts is made when it is asked for.

    Args:
        counts: (N, n_genes), raw counts.
        covariates: (N, n_columns), the rows of the design matrix; None without covariates.
        device: where the tensors go.

    """

    def __init__(
        self,
        counts: sparse.csr_matrix,
        covariates: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.counts = counts
        self.covariates = None if covariates is None else covariates.to(device)
        self.device = device

    def __len__(self) -> int:
        """Return N."""
        return self.counts.shape[0]

    @cached_property
    def x(self) -> Tensor:
        """The counts as a dense matrix. (N, n_genes), float32."""
        return torch.from_numpy(self.counts.toarray()).to(self.device)

    @cached_property
    def library(self) -> Tensor:
        """ℓ, the total counts of each cell. (N, 1)."""
        return self.x.sum(dim=-1, keepdim=True)

    @cached_property
    def sparse(self) -> SparseBatch:
        """The counts above zero."""
        return SparseBatch.of(self.counts, self.device)


class CellTable(NamedTuple):
    """All that a module is fed of an AnnData: counts, checked once, and the design matrix."""

    counts: sparse.csr_matrix  # (n_cells, n_genes)
    design: np.ndarray | None  # (n_cells, n_columns); None without covariates
    names: pd.Index | None = None  # (n_cells,), of the cells; None: they have none

    @classmethod
    def of(
        cls, adata: AnnData, covariates: Covariates | None, *, layer: str | None = None
    ) -> "CellTable":
        """Take from an AnnData what a module with these covariates needs.

        Raises:
            CountsError, KeyError: as in ``count_matrix``.
            ValueError: a cell has a level that the covariates don't know.

        """
        counts = count_matrix(adata, layer=layer)
        design = None if covariates is None else covariates.design(adata)
        return cls(counts, design, adata.obs_names)

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return self.counts.shape[0]

    def positions(self, indices: Any) -> np.ndarray:
        """Find the row numbers of cells: a mask, row numbers or names; all when None.

        Raises:
            KeyError, ValueError: as in ``positions_of``.

        """
        names = pd.RangeIndex(self.n_cells) if self.names is None else self.names
        return positions_of(indices, names, what="cells", argument="indices")

    def minibatches(
        self, indices: np.ndarray, batch_size: int, device: torch.device | str = "cpu"
    ) -> Iterator[Minibatch]:
        """Walk through the cells ``indices`` in that order; the last minibatch may be smaller."""
        for start in range(0, len(indices), batch_size):
            some = indices[start : start + batch_size]
            covariates = None if self.design is None else torch.from_numpy(self.design[some])
            yield Minibatch(self.counts[some], covariates, device)
