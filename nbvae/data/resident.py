"""Cells on a device, as the counts above zero, from which minibatches are made there.

A million cells × 2,000 genes take 8 GB as a dense matrix and about 1.3 GB in this form. To make a
minibatch, a device is told which rows it consists of, and nothing comes back: each shape is known
beforehand. So the host need not wait, and the work can be recorded once and replayed.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nbvae.data.minibatches import CellTable
from nbvae.data.order import window_size

SHARE_OF_MEMORY = 0.5  # of what is free on a device; the rest is for the network and its gradients
SENT_AT_A_TIME = 2**24  # values: memory that can't be moved is scarce
MINIBATCHES_AT_A_TIME = 64  # where the cells don't fit: enough to hide the copying behind the work


class ResidentCells:
    """Room for any ``n_cells`` of a table's cells on a device.

    Args:
        table: where the cells come from.
        n_cells: how many are there at a time.
        device: where they go.

    """

    def __init__(self, table: CellTable, n_cells: int, device: torch.device) -> None:
        lengths = np.diff(table.counts.indptr)
        longest, n_counts = int(lengths.max()), _most_counts(lengths, n_cells)
        self.n_genes = table.counts.shape[1]
        self.dtype = torch.from_numpy(np.empty(0, table.counts.dtype)).dtype
        self.starts = torch.zeros(n_cells, dtype=torch.int64, device=device)
        self.lengths = torch.zeros(n_cells, dtype=torch.int32, device=device)
        # each row is read as if it were the longest, even the last one
        self.genes = torch.zeros(n_counts + longest, dtype=torch.int32, device=device)
        self.counts = torch.zeros(n_counts + longest, dtype=count_type(table), device=device)
        self.within = torch.arange(longest, dtype=torch.int64, device=device)  # places in a row
        self.design: Tensor | None = None
        if table.design is not None:
            like = torch.from_numpy(table.design[:0])
            self.design = like.new_zeros((n_cells, like.shape[1]), device=device)
        self.size_factors: Tensor | None = None
        if table.size_factors is not None:
            sizes = torch.from_numpy(table.size_factors[:0])
            self.size_factors = sizes.new_zeros((n_cells, 1), device=device)

    def load(self, table: CellTable, some: np.ndarray | slice = slice(None)) -> None:
        """Put these cells of a table there, in this order, replacing those before."""
        counts = table.counts if isinstance(some, slice) else table.counts[some]
        send(counts.indptr[:-1], self.starts)
        send(np.diff(counts.indptr), self.lengths)
        send(counts.indices, self.genes)
        send(counts.data, self.counts)
        for values, room in ((table.design, self.design), (table.size_factors, self.size_factors)):
            if room is not None and values is not None:
                send(values[some], room)

    def minibatch(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Make some of the cells dense: (N, n_genes), (N, n_columns), (N, 1).

        Args:
            rows: (N,), int64, on the device.

        Returns:
            Their counts, their covariates and their size factors; None where there are none.

        """
        covariates, sizes = (
            None if of_cells is None else of_cells.index_select(0, rows)
            for of_cells in (self.design, self.size_factors)
        )
        return self._dense(rows), covariates, sizes

    def _dense(self, rows: Tensor) -> Tensor:
        """Write each cell's counts to their places, and what is read in excess to an extra one."""
        n_entries = len(rows) * self.n_genes
        place = (self.starts.index_select(0, rows)[:, None] + self.within).flatten()
        genes, counts = self.genes.index_select(0, place), self.counts.index_select(0, place)
        row_starts = torch.arange(0, n_entries, self.n_genes, device=rows.device)[:, None]
        target = genes.view(len(rows), -1) + row_starts  # (N, longest)
        of_row = self.within < self.lengths.index_select(0, rows)[:, None]
        target = torch.where(of_row, target, n_entries).flatten()
        x = torch.zeros(n_entries + 1, dtype=self.dtype, device=rows.device)
        x.scatter_(0, target, counts.to(self.dtype))
        return x[:-1].view(len(rows), self.n_genes)


class CellSupply:
    """Brings cells to a device: all of them once where they fit, else some minibatches at a time.

    Args:
        table: the cells.
        batch_size: cells in a minibatch.
        device: where they go.

    """

    def __init__(self, table: CellTable, batch_size: int, device: torch.device) -> None:
        self.table = table
        fits = n_bytes(table) <= SHARE_OF_MEMORY * free_memory(device)
        self.all_there = fits and not table.on_disk
        piece = window_size(batch_size) if table.on_disk else MINIBATCHES_AT_A_TIME * batch_size
        at_a_time = min(table.n_cells, piece)
        self.n_cells = table.n_cells if self.all_there else at_a_time
        self.cells = ResidentCells(table, self.n_cells, device)
        if self.all_there:
            self.cells.load(table)

    def rows(self, order: np.ndarray) -> np.ndarray:
        """Say where on the device each cell of an order will be when its turn comes."""
        return order if self.all_there else np.arange(len(order)) % self.n_cells

    def pieces(self, order: np.ndarray) -> Iterator[range]:
        """Walk through an order in pieces; the cells of each are there when it is handed out.

        Nothing waits for the device: the next piece is put together while it still works.
        """
        step = len(order) if self.all_there else self.n_cells
        for start in range(0, len(order), step):
            piece = range(start, min(start + step, len(order)))
            if not self.all_there:
                self.cells.load(self.table, order[piece.start : piece.stop])
            yield piece


def send(values: np.ndarray, room: Tensor) -> None:
    """Copy values to the beginning of a room; the host does not wait until they are there."""
    for start in range(0, len(values), SENT_AT_A_TIME):
        some = torch.from_numpy(values[start : start + SENT_AT_A_TIME]).to(room.dtype)
        if room.is_cuda:  # from memory that stays in place until the copy is over
            some = some.pin_memory()
        room[start : start + len(some)].copy_(some, non_blocking=True)


def count_type(table: CellTable) -> torch.dtype:
    """Return the smallest type that holds each count of a table."""
    largest = table.largest
    small = (torch.uint8, torch.int16, torch.int32)
    return next(dtype for dtype in small if largest <= torch.iinfo(dtype).max)


def n_bytes(table: CellTable) -> int:
    """Say how much memory all cells of a table would take on a device."""
    n_counts, n_cells = int(table.counts.indptr[-1]), table.n_cells
    n_columns = 0 if table.design is None else table.design.shape[1]
    n_columns += table.size_factors is not None
    return n_counts * (4 + count_type(table).itemsize) + n_cells * (8 + 4 + 4 * n_columns)


def free_memory(device: torch.device) -> float:
    """Return how many bytes are free on a device; the counts are in the host's memory already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def _most_counts(lengths: np.ndarray, n_cells: int) -> int:
    """How many counts above zero this many cells have together at most."""
    return int(np.sort(lengths)[len(lengths) - n_cells :].sum(dtype=np.int64))
