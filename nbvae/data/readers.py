"""Files that hold counts: AnnData's h5ad and zarr, and what 10x Genomics' Cell Ranger writes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import anndata
import h5py
from anndata import AnnData
from scipy import sparse

from nbvae.data.counts import CountsError
from nbvae.data.foreign import not_hdf5, other_hdf5, other_kind_of_file
from nbvae.data.sound import check_no_spare_room, sound
from nbvae.data.tenx import is_10x, read_10x_folder, read_10x_h5

KINDS = "an .h5ad file, a 10x .h5 file, or a 10x folder with matrix.mtx"
HDF5_ENDINGS = (".h5ad", ".h5")
ZARR = (".zgroup", "zarr.json")  # in the folder of a store, before version 3 of zarr and since


class Read(NamedTuple):
    """A table as it was read, and the call that reads it for the user."""

    adata: AnnData
    call: str


def read_file(path: Path, genome: str | None = None) -> Read:
    """Read a file or folder of counts; the values are not checked here.

    Raises:
        FileNotFoundError, PermissionError, CountsError: as in ``reading``.

    """
    with reading(path):
        return _read(path, genome)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say what is wrong with a file or folder that the code inside can't read.

    Raises:
        FileNotFoundError: there is no such file or folder.
        PermissionError: it may not be read.
        CountsError: it is of another kind, or damaged.

    """
    try:
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {str(path)!r}.{_remote(path)}")
        yield
    except (CountsError, MemoryError):
        raise
    except PermissionError as error:
        raise PermissionError(f"There is no permission to read {str(path)!r}: {error}.") from error
    except BlockingIOError as error:
        raise CountsError(
            f"{str(path)!r} is open for writing in another program: {error}. Close it there."
        ) from error
    except Exception as error:  # each library has its own kinds of error for a damaged file
        if isinstance(error, FileNotFoundError) and not path.exists():
            raise
        raise CountsError(f"{str(path)!r} could not be read {_reason(path, error)}") from error


def _read(path: Path, genome: str | None) -> Read:
    name = repr(str(path))
    if path.is_dir():
        if is_zarr(path):
            return Read(_read_anndata(path), f"anndata.read_zarr({name})")
        return Read(read_10x_folder(path), f"sc.read_10x_mtx({name})")
    with path.open("rb") as file:  # a first look, also at the right to read
        file.read(1)
    if not h5py.is_hdf5(path) and path.suffix.lower() not in HDF5_ENDINGS:
        raise CountsError(f"{name} is not {KINDS}. {other_kind_of_file(path)}".rstrip())
    with h5py.File(path, "r") as file:
        if is_10x(file) and "obs" not in file:
            return Read(read_10x_h5(file, genome), f"sc.read_10x_h5({name})")
        if not {"obs", "var"} <= set(file) or "mod" in file:
            raise CountsError(f"{name} could not be read as {KINDS}. {other_hdf5(file)}")
    return Read(_read_anndata(path), f"anndata.read_h5ad({name})")


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr store, or should be one."""
    return path.suffix == ".zarr" or any((path / file).exists() for file in ZARR)


def _read_anndata(path: Path) -> AnnData:
    """Read AnnData's own formats, and check that the sparse matrices are whole."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique")  # read_counts sees to that
        adata = anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
    for values in (adata.X, *adata.layers.values()):
        check_no_spare_room(values)
    for pairs in (adata.obsp, adata.varp, adata.obsm, adata.varm):
        for values in pairs.values():
            if sparse.issparse(values):
                check_no_spare_room(values)
                sound(values)
    return adata


def _reason(path: Path, error: Exception) -> str:
    """Say why a file can't be read, and what to do."""
    if isinstance(error, ImportError):
        return f"without another package ({error}): pip install {error.name or 'zarr'}."
    if type(error).__name__ == "IORegistryError":  # anndata's; its name is not public
        return (
            f"by anndata {version('anndata')} ({error}). It was written by a newer one: "
            "pip install --upgrade anndata."
        )
    return (
        f"({error}): it is damaged, incomplete, or not {KINDS}. {_not_hdf5(path)}"
        "Copy or download it again."
    )


def _not_hdf5(path: Path) -> str:
    if path.is_dir() or h5py.is_hdf5(path):
        return ""
    with path.open("rb") as file:
        words = not_hdf5(file.read(64))
    return f"{words} " if words else ""


def _remote(path: Path) -> str:
    return " Download it first." if str(path).startswith(("http", "s3:", "gs:", "ftp:")) else ""
