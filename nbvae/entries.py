"""The counts of a minibatch that are not zero, listed twice: cell by cell and gene by gene.

Nine in ten counts are zero. A product with the log-counts need not touch them: seen from the
cells, each row of it is a weighted sum of a few rows of weights; seen from the genes, so is its
gradient. PyTorch calls such a sum an embedding bag.
"""

from typing import NamedTuple

import torch
from scipy import sparse
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import embedding_bag


class Entries(NamedTuple):
    """n counts above zero of N cells × G genes."""

    genes: Tensor  # (n,), the gene of each count, cell by cell
    cell_starts: Tensor  # (N,), where each cell begins in that list
    counts: Tensor  # (n,)
    cells: Tensor  # (n,), the cell of each count, gene by gene
    gene_starts: Tensor  # (G,), where each gene begins in that list
    counts_by_gene: Tensor  # (n,), the same counts in that order

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device | str = "cpu") -> "Entries":
        """List the counts of a CSR matrix, (N, G)."""
        by_gene = matrix.tocsc()
        arrays = (
            *(matrix.indices, matrix.indptr[:-1], matrix.data),
            *(by_gene.indices, by_gene.indptr[:-1], by_gene.data),
        )
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def genes_by_gene(self) -> Tensor:
        """Return the gene of each count, gene by gene. (n,), int64."""
        ends = torch.cat([self.gene_starts[1:], self.gene_starts.new_tensor([len(self.cells)])])
        numbers = torch.arange(len(ends), device=ends.device)
        return numbers.repeat_interleave(ends - self.gene_starts, output_size=len(self.cells))

    def dense(self) -> Tensor:
        """Write the counts into a matrix. (N, G)."""
        x = self.counts.new_zeros(len(self.cell_starts), len(self.gene_starts))
        x.view(-1)[self.cells * x.shape[1] + self.genes_by_gene()] = self.counts_by_gene
        return x


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
        return _weighted_sums(weights.T, entries.genes, entries.cell_starts, entries.counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None]:
        e = ctx.entries
        return _weighted_sums(upstream, e.cells, e.gene_starts, e.counts_by_gene).T, None


def _weighted_sums(rows: Tensor, which: Tensor, starts: Tensor, counts: Tensor) -> Tensor:
    """For each bag, Σ log1p(count) · rows[which]. (n_bags, H)."""
    return embedding_bag(
        which, rows.contiguous(), starts, mode="sum", per_sample_weights=counts.log1p()
    )
