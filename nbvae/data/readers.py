"""Files that hold counts: AnnData's h5ad, and what 10x Genomics' Cell Ranger writes."""

import csv
import tarfile
import warnings
from pathlib import Path
from typing import IO

import anndata
import h5py
import pandas as pd
import scanpy as sc
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse
from scipy.io import mmread

from nbvae._messages import shown
from nbvae.data.counts import CountsError

KINDS = "an .h5ad file, a 10x .h5 file, or a 10x folder with matrix.mtx"


def read_file(path: Path) -> AnnData:
    """Read a file or folder of counts, which are not checked here.

    Raises:
        FileNotFoundError: there is no such file or folder.
        CountsError: it is of another kind, or damaged.

    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
    if not path.is_dir() and path.suffix.lower() not in (".h5ad", ".h5"):
        hint = " Pass the folder that it lies in." if "matrix.mtx" in path.name else ""
        raise CountsError(f"{str(path)!r} is not {KINDS}.{hint}")
    try:
        return _read_10x_folder(path) if path.is_dir() else _read_hdf5(path)
    except (CountsError, PermissionError, MemoryError):
        raise
    except Exception as error:  # each library has its own kinds of error for a damaged file
        raise CountsError(
            f"{str(path)!r} could not be read ({error}): it is damaged, incomplete, or not "
            f"{KINDS}. Copy or download it again."
        ) from error


def read_10x_archive(archive: Path) -> AnnData:
    """Read a 10x tar.gz. Nothing is unpacked on disk: reading on the way takes as little time."""
    readers = {"matrix.mtx": mmread, "genes.tsv": _table, "barcodes.tsv": _table}
    parts = {}
    with tarfile.open(archive) as tar:
        for member in tar:  # in their order in the archive: going back would unpack it again
            name = Path(member.name).name
            if name in readers:
                parts[name] = readers[name](tar.extractfile(member))
    return _put_together(parts["matrix.mtx"], parts["genes.tsv"], parts["barcodes.tsv"])


def _read_hdf5(path: Path) -> AnnData:
    """Tell AnnData's files from 10x Genomics' by their content: the endings are often mixed up."""
    with h5py.File(path) as file:
        is_anndata = {"obs", "var"} <= set(file)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique")  # read_counts sees to that
        return anndata.read_h5ad(path) if is_anndata else sc.read_10x_h5(path)


def _read_10x_folder(folder: Path) -> AnnData:
    """Read the three parts as Cell Ranger writes them, compressed (since version 3) or not."""
    return _put_together(
        mmread(_part(folder, "matrix.mtx")),
        _table(_part(folder, "features.tsv", "genes.tsv")),
        _table(_part(folder, "barcodes.tsv")),
    )


def _part(folder: Path, *names: str) -> Path:
    """Find the first of these files in a folder, compressed or not."""
    for name in names:
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                return path
    content = shown(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise CountsError(
        f"The folder {str(folder)!r} has no {' or '.join(names)} (nor .gz); it holds: {content}. "
        "Name a folder with matrix.mtx, features.tsv or genes.tsv, and barcodes.tsv."
    )


def _table(file: Path | IO[bytes]) -> pd.DataFrame:
    """Read a table without a header, as strings: a gene or cell may be called 007, NA or 5"."""
    return pd.read_csv(
        file,
        sep="\t",
        header=None,
        dtype=str,
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
        compression="gzip" if str(file).endswith(".gz") else None,
    )


def _put_together(matrix: sparse.coo_matrix, genes: pd.DataFrame, cells: pd.DataFrame) -> AnnData:
    """Join counts (genes × cells, as 10x stores them) with the names; keep genes' expression only.

    ``genes`` has the columns ENSEMBL identifier, symbol and, since Cell Ranger 3, kind of feature.
    """
    if matrix.shape != (len(genes), len(cells)):
        raise CountsError(
            f"matrix.mtx has {matrix.shape[0]} genes × {matrix.shape[1]} cells, but {len(genes)} "
            f"genes and {len(cells)} cells are named: the files do not belong together."
        )
    symbols = genes[min(1, genes.shape[1] - 1)].to_numpy()
    adata = AnnData(
        X=sparse.csr_matrix(matrix.T),
        obs=pd.DataFrame(index=make_index_unique(pd.Index(cells[0].to_numpy()))),
        var=pd.DataFrame(
            {"gene_ids": genes[0].to_numpy()}, index=make_index_unique(pd.Index(symbols))
        ),
    )
    if genes.shape[1] < 3:
        return adata
    return adata[:, (genes[2] == "Gene Expression").to_numpy()].copy()
