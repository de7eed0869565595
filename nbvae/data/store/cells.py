"""A store of counts on a disk; what is known of its cells and genes is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from nbvae.data.counts import CountsError, refuse_empty_cells
from nbvae.data.indices import positions_of
from nbvae.data.order import BLOCK
from nbvae.data.sound import from_parts
from nbvae.data.store.engine import read_table, the_zarr
from nbvae.data.sums import GeneSums

FORMAT = "nbvae store 1"
ABOUT = "nbvae_store"  # the entry of uns that is written last
AGAIN = "Write it again: nbvae.write_store(…)."


@dataclass(frozen=True)
class StoredCounts:
    """Counts on a disk, (n_cells, n_genes), that are read by rows: ``counts[rows]``."""

    data: Any  # zarr arrays: values, and the column of each
    indices: Any
    indptr: np.ndarray  # (n_cells + 1,), where each row begins
    n_stored: int  # columns on the disk
    names: pd.Index  # of the cells
    largest: int  # count
    fingerprint: str  # of all counts, in their order
    columns: np.ndarray | None = None  # (n_genes,), those that are wanted; None: all

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        n_genes = self.n_stored if self.columns is None else len(self.columns)
        return len(self.indptr) - 1, n_genes

    @property
    def dtype(self) -> np.dtype:
        """The type of the counts that are read."""
        return np.dtype(np.float32)

    def of_genes(self, columns: np.ndarray | None) -> StoredCounts:
        """Choose genes; nothing is read."""
        return replace(self, columns=columns)

    def __getitem__(self, rows: Any) -> sparse.csr_matrix:
        """Read some cells, in any order, each as often as it is asked for. (n, n_genes), float32.

        Neighbours are read together, so rows of a few blocks take little more than one block each.

        Raises:
            CountsError: the store is damaged, or a cell has no counts in these genes.

        """
        rows = np.asarray(rows)
        wanted, place = np.unique(rows, return_inverse=True)
        starts = np.flatnonzero(np.diff(wanted // BLOCK, prepend=-1))
        parts = [self._read(block) for block in np.split(wanted, starts[1:])]
        counts = sparse.vstack(parts, format="csr") if len(parts) > 1 else parts[0]
        if not np.array_equal(place, np.arange(len(wanted))):
            counts = counts[place]
        if self.columns is None:
            return counts
        counts = counts[:, self.columns].sorted_indices()
        cells = AnnData(obs=pd.DataFrame(index=self.names[rows]))
        refuse_empty_cells(cells, counts, "In the genes of the module")
        return counts

    def _read(self, wanted: np.ndarray) -> sparse.csr_matrix:
        """Read rows of one block, ascending, with what lies between them."""
        first, last = int(wanted[0]), int(wanted[-1]) + 1
        indptr = self.indptr[first : last + 1]
        some = slice(int(indptr[0]), int(indptr[-1]))
        try:
            data, indices = self.data[some], self.indices[some]
            if not data.all():  # zarr reads a file that is missing as zeros, or here as −1
                raise ValueError("a file is missing")
            shape = last - first, self.n_stored
            starts = (indptr - indptr[0]).astype(indices.dtype)
            counts = from_parts(data.astype(np.float32), indices, starts, shape)
        except (ValueError, RuntimeError, OSError) as error:
            raise CountsError(
                f"The store is damaged: its cells from {first} to {last - 1} can't be read "
                f"({error}). {AGAIN}"
            ) from error
        return counts if len(wanted) == last - first else counts[wanted - first]


class CellStore(AnnData):
    """An AnnData whose counts stay on a disk. ``store[cells]`` reads some of them into memory.

    ``obs``, ``var`` and what is added (``obsm``, …) are in memory, and not written back; ``X`` is
    None. Whatever takes raw counts as an AnnData takes a store, and reads it in pieces. The cells
    are in the random order in which they were written.
    """

    on_disk = (
        "The counts of a store are on the disk. Read some cells into memory, store[cells], or all, "
        "store[:]."
    )

    def __init__(
        self, path: Path, obs: pd.DataFrame, var: pd.DataFrame, counts: StoredCounts, sums: GeneSums
    ) -> None:
        super().__init__(obs=obs, var=var)
        self.path, self.counts, self.sums = path, counts, sums

    def __repr__(self) -> str:
        """Say where it is and how large."""
        return f"CellStore {str(self.path)!r}: {self.n_obs:,} cells × {self.n_vars:,} genes"

    def __getitem__(self, index: Any) -> AnnData:
        """Read cells into memory: ``store[cells]`` or ``store[cells, genes]``, as in AnnData."""
        cells, genes = index if isinstance(index, tuple) else (index, slice(None))
        one = isinstance(cells, str | int | np.integer)
        rows = positions_of(
            [cells] if one else cells, self.obs_names, what="cells", argument="cells"
        )
        adata = super().__getitem__((rows, slice(None))).copy()
        adata.X = self.counts[rows]
        all_genes = isinstance(genes, slice) and genes == slice(None)
        return adata if all_genes else adata[:, genes].copy()

    def pieces(self, n_cells: int = 10_000) -> Iterator[AnnData]:
        """Read all cells, ``n_cells`` at a time."""
        for start in range(0, self.n_obs, n_cells):
            yield self[start : start + n_cells]


def open_store(path: str | Path) -> CellStore:
    """Open what ``write_store`` wrote; its counts stay on the disk.

    Returns:
        An AnnData without ``X``, which ``NBVAE.for_counts``, ``Trainer.fit``, ``evaluation.elbo``,
        ``encode`` and the rest take in place of one in memory.

    Raises:
        FileNotFoundError: there is nothing at this path.
        ImportError: the package zarr is not there; how to install it.
        CountsError: it is another kind of folder, or one that was not finished.

    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no store {str(path)!r}.")
    try:
        group = the_zarr().open_group(path, mode="r")
        about = read_table(group, f"uns/{ABOUT}")
        obs, var = read_table(group, "obs"), read_table(group, "var")
        indptr = group["X/indptr"][:]
        if (np.diff(indptr) < 1).any() or indptr[-1] != group["X/data"].shape[0]:
            raise ValueError("the rows do not end where the values do")
    except (KeyError, ValueError, OSError) as error:
        raise CountsError(
            f"{str(path)!r} is not a store of nbvae, or is damaged ({error}). {AGAIN}"
        ) from error
    if about["format"] != FORMAT:
        raise CountsError(f"{str(path)!r} has the format {about['format']!r}. {AGAIN}")
    sums = GeneSums(len(obs), *(about["sums"][name] for name in GeneSums._fields[1:]))
    counts = StoredCounts(
        *(group["X/data"], group["X/indices"], indptr, len(var), obs.index),
        largest=int(about["largest"]),
        fingerprint=str(about["fingerprint"]),
    )
    return CellStore(path, obs, var, counts, sums)


def refuse_layer(layer: str | None) -> None:
    """A store has one matrix of counts."""
    if layer not in (None, "X"):
        raise ValueError(f"A store has no layers: name layer={layer!r} in write_store.")
