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

from nbvae._arguments import an_anndata
from nbvae._messages import shown
from nbvae.data.counts import count_matrix, refuse_empty_cells
from nbvae.data.covariate import size_factors_of
from nbvae.data.covariates import covariates_of, size_factor_key_of
from nbvae.data.genes import columns_of, genes_of, layer_of
from nbvae.data.indices import positions_of
from nbvae.data.order import block_shuffle, window_size
from nbvae.data.store.cells import CellStore, StoredCounts, refuse_layer


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
        size_factors: (N, 1); None: the cells' own totals are the library.

    """

    def __init__(
        self,
        counts: sparse.csr_matrix,
        covariates: Tensor | None = None,
        device: torch.device | str = "cpu",
        size_factors: Tensor | None = None,
    ) -> None:
        self.counts = counts
        self.size_factors = None if size_factors is None else size_factors.to(device)
        self.covariates = None if covariates is None else covariates.to(device)
        self.device = device

    def __len__(self) -> int:
        """Return N."""
        return self.counts.shape[0]

    def part(self, some: slice) -> "Minibatch":
        """Take some of the cells."""
        covariates = None if self.covariates is None else self.covariates[some]
        sizes = None if self.size_factors is None else self.size_factors[some]
        return Minibatch(self.counts[some], covariates, self.device, sizes)

    @cached_property
    def x(self) -> Tensor:
        """The counts as a dense matrix. (N, n_genes), float32."""
        return torch.from_numpy(self.counts.toarray()).to(self.device)

    @cached_property
    def library(self) -> Tensor:
        """ℓ, the size factor of each cell, or its total counts. (N, 1)."""
        given = self.size_factors
        return self.x.sum(dim=-1, keepdim=True) if given is None else given

    @cached_property
    def sparse(self) -> SparseBatch:
        """The counts above zero."""
        return SparseBatch.of(self.counts, self.device)


class CellTable(NamedTuple):
    """All that a module is fed from an AnnData: counts, checked once, and the design matrix."""

    counts: sparse.csr_matrix | StoredCounts  # (n_cells, n_genes), columns in the module's order
    design: np.ndarray | None  # (n_cells, n_columns); None without covariates
    names: pd.Index | None = None  # (n_cells,), of the cells; None: they have none
    given: pd.Index | None = None  # of all genes of the AnnData, in its order; None: no names
    columns: np.ndarray | None = None  # (n_genes,), which of those each is; None: these, all
    size_factors: np.ndarray | None = None  # (n_cells, 1), float32; None: the cells' own totals

    @classmethod
    def of(cls, adata: AnnData, module: object = None, *, layer: str | None = None) -> "CellTable":
        """Take from an AnnData what a module needs: the one door by which cells come in.

        Args:
            adata: raw counts, cells × genes; or a store of them, from which nothing is read yet.
            module: its attributes ``genes``, ``layer``, ``covariates`` and ``size_factor_key``,
                where it has them, say what it needs. The genes are found by name; columns of
                others are left out.
            layer: the layer that holds the counts, "X" for ``adata.X``; the module's own when left
                out.

        Raises:
            TypeError: ``adata`` is not an AnnData.
            CountsError, KeyError: as in ``count_matrix``.
            ValueError: a gene of the module is missing, a cell has a level that the covariates
                don't know, or a size factor that is not a number above 0.

        """
        genes, covariates = genes_of(module), covariates_of(module)
        columns = None if genes is None else columns_of(genes, an_anndata(adata))
        if isinstance(adata, CellStore):
            refuse_layer(layer)
            counts = adata.counts.of_genes(columns)
        else:
            counts = count_matrix(adata, layer=layer_of(module) if layer is None else layer)
            if columns is not None:
                counts = counts[:, columns].sorted_indices()
                refuse_empty_cells(adata, counts, "In the genes of the module")
        design = None if covariates is None else covariates.design(adata)
        key = size_factor_key_of(module)
        sizes = None if key is None else size_factors_of(adata, key).astype(np.float32)[:, None]
        return cls(counts, design, adata.obs_names, adata.var_names, columns, sizes)

    @property
    def genes(self) -> pd.Index:
        """The names of the genes, in the order of the columns; numbers if they have none."""
        given = pd.RangeIndex(self.counts.shape[1]) if self.given is None else self.given
        return given if self.columns is None else given[self.columns]

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return self.counts.shape[0]

    def library(self, rows: np.ndarray) -> np.ndarray:
        """ℓ of some cells: their size factors, or their total counts. (n,), float64."""
        if self.size_factors is not None:
            return self.size_factors[rows, 0].astype(float)
        parts = (counts[places] for _, counts, places in self._windows(rows, 1))
        return np.concatenate([np.asarray(p.sum(axis=1, dtype=float)).ravel() for p in parts])

    def positions(self, indices: Any) -> np.ndarray:
        """Find the row numbers of cells: a mask, row numbers or names; all when None.

        Raises:
            KeyError, ValueError: as in ``positions_of``.

        """
        names = pd.RangeIndex(self.n_cells) if self.names is None else self.names
        return positions_of(indices, names, what="cells", argument="indices")

    def gene_columns(self, genes: Any) -> np.ndarray:
        """Find columns by how a reader of the AnnData counts: a mask, column numbers or names.

        All when None, in the order in which the AnnData has them, so that what is computed for
        each gene lines up with its counts.

        Raises:
            KeyError, ValueError: as in ``positions_of``; or the module does not model a gene.

        """
        all_columns = np.arange(self.counts.shape[1]) if self.columns is None else self.columns
        if genes is None:
            return np.argsort(all_columns)
        given = self.genes if self.given is None else self.given
        chosen = [genes] if isinstance(genes, str) else genes
        places = positions_of(chosen, given, what="genes", argument="genes")
        found = pd.Index(all_columns).get_indexer(places)  # −1: left out
        if (found < 0).any():
            raise KeyError(f"genes: the module does not model {shown(given[places[found < 0]])}.")
        return found

    @property
    def largest(self) -> int:
        """The largest count."""
        return int(self.counts.largest if self.on_disk else self.counts.data.max())

    @property
    def on_disk(self) -> bool:
        """Whether the counts are read when they are needed."""
        return isinstance(self.counts, StoredCounts)

    def shuffled(self, cells: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
        """Put some cells, ascending, in a random order that is quick to read."""
        if not self.on_disk:
            return rng.permutation(cells)
        return block_shuffle(cells, window_size(batch_size), rng)

    def minibatches(
        self, indices: np.ndarray, batch_size: int, device: torch.device | str = "cpu"
    ) -> Iterator[Minibatch]:
        """Walk through the cells ``indices`` in this order; the last minibatch may be smaller."""
        for window, counts, places in self._windows(indices, batch_size):
            for start in range(0, len(window), batch_size):
                some = slice(start, start + batch_size)
                yield Minibatch(
                    counts[places[some]],
                    _rows(self.design, window[some]),
                    device,
                    _rows(self.size_factors, window[some]),
                )

    def _windows(
        self, indices: np.ndarray, batch_size: int
    ) -> Iterator[tuple[np.ndarray, sparse.csr_matrix, np.ndarray]]:
        """Yield cells, counts that are in memory, and the place of each cell among these."""
        if not self.on_disk:
            yield indices, self.counts, indices
            return
        step = window_size(batch_size)
        for start in range(0, len(indices), step):
            window = indices[start : start + step]
            yield window, self.counts[window], np.arange(len(window))


def _rows(values: np.ndarray | None, rows: np.ndarray) -> Tensor | None:
    return None if values is None else torch.from_numpy(values[rows])
