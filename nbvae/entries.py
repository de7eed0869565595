"""The counts of a minibatch that are not zero, listed twice: cell by cell and gene by gene.

Nine in ten counts are zero. A product with the log-counts need not touch them: seen from the
cells, each row of it is a weighted sum of a few rows of weights; seen from the genes, so is its
gradient. PyTorch calls such a sum an embedding bag.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import embedding_bag


class Entries(NamedTuple):
    """n counts above zero of N cells × G genes."""

    counts: Tensor  # (n,), cell by cell
    cells: Tensor  # (n,), the cell of each
    genes: Tensor  # (n,), the gene of each
    cell_starts: Tensor  # (N,), where each cell begins in these lists
    log_counts: Tensor  # (n,), log1p of the counts
    log_counts_by_gene: Tensor  # (n,), the same gene by gene
    cells_by_gene: Tensor  # (n,), the cell of each of those
    gene_starts: Tensor  # (G,), where each gene begins in these lists

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device | str = "cpu") -> "Entries":
        """List the counts of a CSR matrix, (N, G)."""
        by_gene = matrix.tocsc()
        cells = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        arrays = (
            *(matrix.data, cells, matrix.indices, matrix.indptr[:-1], np.log1p(matrix.data)),
            *(np.log1p(by_gene.data), by_gene.indices, by_gene.indptr[:-1]),
        )
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


def log_counts_product(entries: Entries, weights: Tensor) -> Tensor:
    """Compute log1p(x) @ weightsᵀ from the entries of x.

    Args:
        entries: of x, (N, G).
        weights: (H, G); fastest where the H weights of a gene lie side by side in memory.

    Returns:
        (N, H), with a gradient for ``weights``.

    """
    return _LogCountsProduct.apply(weights, entries)


class _LogCountsProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, weights: Tensor, entries: Entries) -> Tensor:
        ctx.entries = entries
        return _weighted_sums(weights.T, entries.genes, entries.cell_starts, entries.log_counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None]:
        e = ctx.entries
        slopes = _weighted_sums(upstream, e.cells_by_gene, e.gene_starts, e.log_counts_by_gene)
        return slopes.T, None


def _weighted_sums(rows: Tensor, which: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """For each bag, Σ weight · rows[which]. (n_bags, H)."""
    return embedding_bag(which, rows.contiguous(), starts, mode="sum", per_sample_weights=weights)
