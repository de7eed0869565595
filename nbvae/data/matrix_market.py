"""Matrix Market files, the text format of 10x Genomics' folders.

scipy reads them fast, and believes them: "1.5" and "1,5" are read as 1 where integers are declared,
and what follows a number is skipped. So each file is watched on its way to scipy, and one that is
not plain numbers, three to a line, is read again by a stricter reader.
"""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.io import mmread

DIGITS_AND_BLANKS = b"0123456789 \t\r\n"
NUMBERS = b"+-.eE"  # what else a number may have
Opened: TypeAlias = "gzip.GzipFile | BinaryIO"
KINDS = ("integer", "unsigned-integer", "real", "double")


def read_matrix_market(path: Path) -> sparse.coo_matrix:
    """Read a matrix of numbers, compressed or not.

    Raises:
        ValueError: the file is of another kind, or something in it is not a number.

    """
    with _opened(path) as file:
        watched = _Watched(file)
        if (matrix := _read_fast(watched)) is not None:
            return matrix
    with _opened(path) as file:
        return _read_strictly(file, _Watched(file))


def _read_fast(watched: _Watched) -> sparse.coo_matrix | None:
    """Read with scipy; nothing is returned if that might not be what the file says."""
    if watched.layout != "coordinate":
        return None
    try:
        matrix = read_plain(watched)
    except ValueError:
        if watched.only_digits:
            raise
        return None
    return matrix if watched.is_plain() else None


def read_plain(file: Any) -> sparse.coo_matrix:
    """Read a file or a stream; scipy's next releases would rather return a sparse array."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*spmatrix", DeprecationWarning)
        return sparse.coo_matrix(mmread(file))


class _Watched:
    """A file on its way to scipy: hands out what is read, and inspects it."""

    def __init__(self, file: Opened) -> None:
        self.file = file
        first = file.readline()
        self.layout = _layout_of(first.decode(errors="replace"))
        self.waiting = first
        while (line := file.readline()).startswith(b"%") or (line and not line.strip()):
            self.waiting += line
        self.sizes = [int(size) for size in line.split()]
        self.waiting += line
        self.blanks, self.only_digits = 0, True

    def read(self, size: int = -1) -> bytes:
        """Hand out at most this many bytes."""
        if self.waiting:
            end = len(self.waiting) if size < 0 else size
            chunk, self.waiting = self.waiting[:end], self.waiting[end:]
            return chunk
        chunk = self.file.read(size)
        self._look_at(chunk)
        return chunk

    def _look_at(self, chunk: bytes) -> None:
        others = chunk.translate(None, DIGITS_AND_BLANKS)
        if foreign := others.translate(None, NUMBERS):
            raise ValueError(f"the matrix holds {foreign[:1]!r}, which is not part of a number")
        self.only_digits = self.only_digits and not others
        self.blanks += chunk.count(b" ") + chunk.count(b"\t")

    def is_plain(self) -> bool:
        """Tell whether there are only digits, in three columns with one blank between."""
        return self.only_digits and self.blanks == 2 * self.sizes[2]

    def readable(self) -> bool:
        """Tell scipy which way the file goes."""
        return True


def _layout_of(header: str) -> str:
    """Check the first line; return "coordinate" or "array"."""
    words = header.lower().split()
    if words[:2] != ["%%matrixmarket", "matrix"] or len(words) != 5:
        raise ValueError(f"its first line is not %%MatrixMarket matrix …, but {header[:60]!r}")
    layout, kind, symmetry = words[2:]
    if layout not in ("coordinate", "array") or kind not in KINDS or symmetry != "general":
        raise ValueError(f"it is a matrix of the kind {' '.join(words[2:])!r}, not of counts")
    return layout


def _read_strictly(file: Opened, head: _Watched) -> sparse.coo_matrix:
    """Read with pandas, which refuses what is not a number, or too many in a line; it is slower."""
    shape = head.sizes[0], head.sizes[1]
    n_columns = 3 if head.layout == "coordinate" else 1
    table = pd.read_csv(
        file,
        sep=r"\s+",
        header=None,
        dtype={n_columns - 1: np.float64} | ({0: np.int64, 1: np.int64} if n_columns == 3 else {}),
        quoting=csv.QUOTE_NONE,
    )
    expected = (head.sizes[2] if n_columns == 3 else shape[0] * shape[1], n_columns)
    if table.shape != expected:
        raise ValueError(f"the matrix has {table.shape} numbers, not {expected}")
    values = table[n_columns - 1].to_numpy()
    if n_columns == 1:
        return sparse.coo_matrix(values.reshape(shape, order="F"))
    return sparse.coo_matrix((values, (table[0].to_numpy() - 1, table[1].to_numpy() - 1)), shape)


def _opened(path: Path) -> Opened:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
