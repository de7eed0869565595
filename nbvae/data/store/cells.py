"""A store of counts on a disk; what is known of its cells and genes is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
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
from nbvae.data.store.engine import digest_of_tables, read_table, the_zarr
from nbvae.data.sums import GeneSums

FORMAT = "nbvae store 2"
ABOUT = "nbvae_store"  # the entry of uns with what is known of the counts; and of the attributes
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
            if not counts.has_canonical_format:  # genes ascend within each cell
                raise ValueError("cells begin in other places")
        except PermissionError:
            raise
        except (ValueError, RuntimeError, OSError) as error:
            raise CountsError(
                f"The store is damaged, or no longer where it was opened: its cells from {first} "
                f"to {last - 1} can't be read ({error}). {AGAIN}"
            ) from error
        return counts if len(wanted) == last - first else counts[wanted - first]


class CellStore(AnnData):
    """An AnnData whose counts stay on a disk. ``store[cells]`` reads some of them into memory.

    ``obs``, ``var`` and what is added (``obsm``, …) are in memory, and not written back; ``X`` is
    None. Whatever takes raw counts as an AnnData takes a store, and reads it in pieces. The cells
    are in the random order in which they were written.
    """

    on_disk = (
        "The counts of a store are on the disk, and stay there as they are. Read some cells into "
        "memory, store[cells], or all, store[:]; for other cells or genes, write another store."
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

    def copy(self, filename: object = None) -> CellStore:
        """Copy what is in memory; the counts on the disk are those of both."""
        return deepcopy(self) if filename is None else self._refuse()

    def to_memory(self, *_: object, **__: object) -> AnnData:
        """Read all cells into memory."""
        return self[:]

    def _refuse(self, *_: object, **__: object) -> Any:
        """Refuse what AnnData would do without counts, or would do to all but them."""
        raise CountsError(self.on_disk)

    _inplace_subset_obs = _inplace_subset_var = transpose = chunked_X = chunk_X = _refuse
    write = write_h5ad = write_zarr = _refuse
    T = property(_refuse)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse other counts beside those on the disk, which all functions would take."""
        if name == "X" and value is not None:
            self._refuse()
        super().__setattr__(name, value)

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
        PermissionError: it may not be read.
        CountsError: it is another kind of folder, of another version, or one that was damaged,
            changed or not finished.

    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no store {str(path)!r}.")
    zarr = the_zarr()
    try:
        group = zarr.open_group(path.absolute(), mode="r")  # wherever Python goes from here
        _check(group, path)
        return _opened(group, path)
    except (CountsError, MemoryError, PermissionError):
        raise
    except Exception as error:  # zarr, its codecs and anndata have each their own
        raise CountsError(
            f"{str(path)!r} is not a store of nbvae, or is damaged ({error}). {AGAIN}"
        ) from error


def _check(group: Any, path: Path) -> None:
    """Refuse another version, and tables that are not as they were written."""
    written = group.attrs[ABOUT]
    if written["format"] != FORMAT:
        raise CountsError(
            f"{str(path)!r} has the format {written['format']!r}, this version of nbvae reads "
            f"{FORMAT!r}. Open it with the version that wrote it. Or: {AGAIN}"
        )
    if written["digest"] != digest_of_tables(path):
        raise ValueError("its tables are not those that were written")


def _opened(group: Any, path: Path) -> CellStore:
    about = read_table(group, f"uns/{ABOUT}")
    obs, var = read_table(group, "obs"), read_table(group, "var")
    indptr = group["X/indptr"][:]
    if (np.diff(indptr) < 1).any() or indptr[-1] != group["X/data"].shape[0]:
        raise ValueError("the rows do not end where the values do")
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
