"""Where results with a row for each cell go: into memory, or into a file while they are made.

The file appears when it is complete. One that was cut short would look finished, with zeros for the
cells that are missing.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from anndata import AnnData

from nbvae.data.store.cells import CellStore
from nbvae.files import room_on_disk


class Results:
    """Numbers of cells, which come some cells at a time: ``with Results(n) as results: …``.

    Args:
        n_cells: how many there are.
        out: a file, numpy's ``.npy``, that is written anew; None: memory.

    Attributes:
        numbers: (…, n_cells, n), after the ``with``. Those of a file are read when they are needed;
            changes of them stay in memory.

    Raises:
        TypeError: ``out`` is no path.
        FileNotFoundError, IsADirectoryError: its folder is missing, or it is a folder.
        OSError: it can't be written, or the disk is full.

    """

    numbers: np.ndarray

    def __init__(self, n_cells: int, out: str | Path | None = None) -> None:
        self.n_cells, self.done = n_cells, 0
        self._path = None if out is None else _new_file(out)
        self._file: IO[bytes] | None = None
        self._begin = 0  # of the numbers, in the file

    def __enter__(self) -> Self:
        if self._path is not None:
            self._part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
            self._file = self._part.open("wb")
        return self

    def add(self, values: np.ndarray) -> None:
        """Add the numbers of the next cells, (…, N, n)."""
        if not self.done:
            self._start((*values.shape[:-2], self.n_cells, values.shape[-1]), values.dtype)
        if self._file is None:
            self.numbers[..., self.done : self.done + values.shape[-2], :] = values
        else:
            with room_on_disk(self._path or ""):
                self._write(self._file, values)
        self.done += values.shape[-2]

    def _start(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if self._file is None:
            self.numbers = np.empty(shape, dtype)
            return
        about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, about | {"shape": shape})
        self._begin = self._file.tell()

    def _write(self, file: IO[bytes], values: np.ndarray) -> None:
        """Write each table's rows to their place; not into memory that is mapped to the file.

        There, a full disk would end Python without a word.
        """
        n, width = values.shape[-2:]
        for table, rows in enumerate(values.reshape(-1, n, width)):
            before = (table * self.n_cells + self.done) * width
            file.seek(self._begin + before * values.itemsize)
            file.write(np.ascontiguousarray(rows).data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._path is None or self._file is None:
            return
        try:
            with room_on_disk(self._path):
                self._file.close()
            if kind is None:
                os.replace(self._part, self._path)
                self.numbers = np.load(self._path, mmap_mode="c")
        finally:
            self._part.unlink(missing_ok=True)


def _new_file(out: str | Path) -> Path:
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out is the path of a file, such as 'latent.npy', not {out!r}.")
    path = Path(out).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{str(out)!r} is a folder: name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder for {str(out)!r}: make it first.")
    return path


def refuse_in_memory(cells: AnnData, *shape: int) -> None:
    """Refuse to make a number for each gene of each cell of a store in memory.

    Args:
        cells: what the result would be of.
        shape: of the result.

    Raises:
        ValueError: their counts are on a disk.

    """
    if isinstance(cells, CellStore):
        raise ValueError(
            f"The result has {' × '.join(f'{n:,}' for n in shape)} numbers, and the counts are on "
            "disk since they are many. Ask for some cells, store[:1000], or piece by piece: "
            "for cells in store.pieces(): …; denoised also for some genes, or into a file, out=."
        )
