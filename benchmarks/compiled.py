"""A loader of minibatches in loops that numba compiles: for the ladder, not in the package."""

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import torch

from nbvae import CellTable, Minibatch, SparseBatch


@numba.njit
def _lists(data: Any, genes: Any, starts: Any, rows: Any, x: Any, gene_starts: Any) -> Any:
    """Write the dense matrix; list the counts cell by cell and gene by gene."""
    n_genes = x.shape[1]
    n = 0
    for row in rows:
        n += starts[row + 1] - starts[row]
    counts, logs = np.empty(n, np.float32), np.empty(n, np.float32)
    cells, which = np.empty(n, np.int32), np.empty(n, np.int32)
    cell_starts = np.empty(len(rows), np.int32)
    at = 0
    for cell in range(len(rows)):
        cell_starts[cell] = at
        for k in range(starts[rows[cell]], starts[rows[cell] + 1]):
            x[cell, genes[k]] = data[k]
            counts[at], which[at], cells[at] = data[k], genes[k], cell
            logs[at] = np.log1p(data[k])
            gene_starts[genes[k] + 1] += 1
            at += 1
    for gene in range(n_genes):
        gene_starts[gene + 1] += gene_starts[gene]
    free = gene_starts[:-1].copy()
    by_gene, cells_by_gene = np.empty(n, np.float32), np.empty(n, np.int32)
    for k in range(n):
        place = free[which[k]]
        by_gene[place], cells_by_gene[place] = logs[k], cells[k]
        free[which[k]] = place + 1
    return counts, cells, which, cell_starts, logs, by_gene, cells_by_gene


def minibatches(table: CellTable, indices: np.ndarray, batch_size: int) -> Iterator[Minibatch]:
    """Do what ``CellTable.minibatches`` does."""
    counts = table.counts
    for start in range(0, len(indices), batch_size):
        rows = indices[start : start + batch_size]
        x = np.zeros((len(rows), counts.shape[1]), np.float32)
        gene_starts = np.zeros(counts.shape[1] + 1, np.int32)
        lists = _lists(counts.data, counts.indices, counts.indptr, rows, x, gene_starts)
        minibatch = Minibatch(counts[:0])
        minibatch.x = torch.from_numpy(x)
        minibatch.sparse = SparseBatch(*map(torch.from_numpy, (*lists, gene_starts[:-1])))
        yield minibatch
