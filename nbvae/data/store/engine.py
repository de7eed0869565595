"""What is used of zarr: groups and arrays whose chunks carry a checksum, several to a file.

A store is AnnData's own format, and annbatch, scverse's loader, reads it in the same order to the
same minibatches (tests/test_store_annbatch.py). It would save less than a thirtieth of the time of
training from a store, on Python 3.12 and newer (benchmarks/results/annbatch.csv): too little for a
second engine.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 2**17  # values that are compressed together: half a thousand cells' or so
SHARD = 2**22  # values in a file
WAY_OUT = "pip install 'nbvae[scale]' brings what stores need: zarr 3.1 and anndata 0.12."


def the_zarr() -> Any:
    """Return the package zarr.

    Raises:
        ImportError: it is not there, or too old to write several chunks to a file.

    """
    try:
        zarr = import_module("zarr")
    except ImportError as error:
        raise ImportError(f"Stores are written with the package zarr. {WAY_OUT}") from error
    if tuple(map(int, zarr.__version__.split(".")[:2])) < (3, 1):
        raise ImportError(f"zarr {zarr.__version__} is too old. {WAY_OUT}")
    return zarr


def new_group(path: Path) -> Any:
    """Make a folder that AnnData can also read."""
    group = the_zarr().open_group(path, mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    return group


def new_array(group: Any, name: str, length: int, dtype: type, missing: int) -> Any:
    """Make a compressed array; a damaged chunk is noticed when it is read.

    Args:
        group: where it goes.
        name: of the array.
        length: of the array.
        dtype: of its values.
        missing: what zarr reads in place of a file that is lost: a value that can't occur.

    """
    codecs = import_module("zarr.codecs")
    return group.create_array(
        name,
        shape=(length,),
        dtype=np.dtype(dtype),
        fill_value=missing,
        chunks=(CHUNK,),
        shards=(SHARD,),
        compressors=[codecs.BloscCodec(cname="lz4", shuffle="shuffle"), codecs.Crc32cCodec()],
    )


class Appender:
    """Fills an array from the front, a whole file at a time: no file is written twice."""

    def __init__(self, array: Any) -> None:
        self.array, self.done = array, 0
        self.waiting = np.empty(0, dtype=array.dtype)

    def append(self, values: np.ndarray) -> None:
        """Add values behind those before."""
        self.waiting = np.concatenate([self.waiting, values.astype(self.array.dtype)])
        self._write(len(self.waiting) // SHARD * SHARD)

    def close(self) -> None:
        """Write what is left."""
        self._write(len(self.waiting))

    def _write(self, n: int) -> None:
        if n:
            self.array[self.done : self.done + n] = self.waiting[:n]
            self.done, self.waiting = self.done + n, self.waiting[n:].copy()


def write_table(group: Any, name: str, value: Any) -> None:
    """Write a DataFrame or a dict as AnnData does."""
    from anndata.io import write_elem

    with _quiet():
        write_elem(group, name, value)


def read_table(group: Any, name: str) -> Any:
    """Read what ``write_table`` wrote."""
    from anndata.io import read_elem

    with _quiet():
        return read_elem(group[name])


def digest_of_tables(path: Path) -> str:
    """Digest all files of a store but the root's own and the counts, whose chunks have checksums.

    AnnData writes tables without any: a changed byte would be another number, a file that is
    missing would be read as zeros, and no cell would be of another group than the first.
    """
    digest = hashlib.sha256()
    for name in sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()):
        *folders, file = name.split("/")
        is_zarr = file == "zarr.json" or ("c" in folders or file == "c")
        if is_zarr and folders and not (folders[0] == "X" and file != "zarr.json"):
            digest.update(
                f"{name} {hashlib.sha256((path / name).read_bytes()).hexdigest()}".encode()
            )
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Tables are small; how AnnData will split them into files some day is no news to a reader."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*autosharding")
        yield
