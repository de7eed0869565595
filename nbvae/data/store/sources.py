"""Where a store's counts come from: files of any size, a table in memory; read by rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from nbvae._messages import note, shown
from nbvae.data.counts import CountsError, count_matrix
from nbvae.data.features import genes_among
from nbvae.data.readers import is_zarr, read_file, reading
from nbvae.data.sound import from_parts
from nbvae.data.store.cells import CellStore
from nbvae.data.store.engine import read_table, the_zarr
from nbvae.data.tenx import is_10x

ENTRIES_AT_A_TIME = 2**22  # 30 to 100 MB, including what the checks take


class Source(NamedTuple):
    """A table of counts that is read some rows at a time."""

    name: str
    obs: pd.DataFrame
    var: pd.DataFrame  # of the genes, each with a name of its own
    rows: Any  # rows[start:stop] are counts of all columns that are stored
    columns: np.ndarray | None  # those of the genes; None: all
    n_entries: int  # that are stored, at most
    layers: tuple[str, ...] = ()  # that could have been named
    path: Path | None = None

    def pieces(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Read and check all counts, piece by piece: the first row, and the counts from there.

        Raises:
            CountsError: as in ``read_counts``; which file, and which of its rows.

        """
        n_cells, said = len(self.obs), False
        step = max(1, ENTRIES_AT_A_TIME * n_cells // max(self.n_entries, 1))
        for start in range(0, n_cells, step):
            with warnings.catch_warnings(record=True) as of_piece:
                warnings.simplefilter("always")
                warnings.filterwarnings("ignore", ".*names are not unique")  # they get numbers
                counts = self._checked(start, min(start + step, n_cells))
            for warning in of_piece if not said else ():  # a file of thousands of pieces warns once
                warnings.warn(
                    f"In {self.name}, rows from {start:,} on: {warning.message}"
                    " Those of other rows are not shown.",
                    stacklevel=2,
                )
            said = said or bool(of_piece)
            yield start, counts

    def _checked(self, start: int, stop: int) -> sparse.csr_matrix:
        with self._readable():
            stored = self.rows[start:stop]
        stored = stored if self.columns is None else stored[:, self.columns]
        try:
            return count_matrix(AnnData(stored, obs=self.obs.iloc[start:stop], var=self.var))
        except CountsError as error:
            where = f"In {self.name}, rows from {start:,} on (here row 0): {error}"
            others = f" The layers are: {shown(self.layers)}; layer= names one."
            raise CountsError(where + (others if self.layers else "")) from error

    def _readable(self) -> AbstractContextManager:
        return nullcontext() if self.path is None else reading(self.path)


@dataclass(frozen=True)
class _Rows:
    """A sparse matrix in a file, row by row. The file is open only while some are read."""

    path: Path
    place: str  # in the file
    indptr: np.ndarray
    n_columns: int

    @classmethod
    def of(cls, path: Path, group: Any, place: str, shape: tuple[int, int]) -> _Rows:
        stored = group[place]
        indptr = stored["indptr"][:]
        if len(indptr) != shape[0] + 1:
            raise ValueError(f"{len(indptr) - 1} rows of counts, but {shape[0]} cells are named")
        if indptr[0] or not stored["data"].shape[0] == stored["indices"].shape[0] == indptr[-1]:
            raise ValueError("the rows do not end where the values do")
        return cls(path, place, indptr, shape[1])

    @property
    def n_entries(self) -> int:
        """How many values are stored."""
        return int(self.indptr[-1])

    def __getitem__(self, some: slice) -> sparse.csr_matrix:
        ends = self.indptr[some.start : some.stop + 1].astype(np.int64)
        values = slice(int(ends[0]), int(ends[-1]))
        with _opened(self.path) as group:
            data, indices = (group[self.place][part][values] for part in ("data", "indices"))
        shape = some.stop - some.start, self.n_columns
        return from_parts(data, indices, ends - ends[0], shape)


@dataclass(frozen=True)
class _Dense:
    """A dense matrix in a file, row by row. The file is open only while some are read."""

    path: Path
    place: str
    shape: tuple[int, int]

    @classmethod
    def of(cls, path: Path, group: Any, place: str, shape: tuple[int, int]) -> _Dense:
        stored = tuple(group[place].shape)
        if stored != shape:
            raise ValueError(f"counts of {stored} cells × genes, but {shape} are named")
        return cls(path, place, shape)

    @property
    def n_entries(self) -> int:
        """How many values are stored."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, some: slice) -> np.ndarray:
        with _opened(self.path) as group:
            return group[self.place][some]


def names_of(sources: Sequence[object]) -> list[str]:
    """Name each source: the end of its path that no other has, or its number.

    Raises:
        CountsError: a file is named twice.

    """
    paths = [os.path.abspath(Path(s).expanduser()) for s in sources if isinstance(s, str | Path)]
    real = pd.Index([os.path.realpath(path) for path in paths])
    if real.has_duplicates:
        twice = paths[int(real.duplicated().argmax())]
        raise CountsError(f"sources names {twice!r} twice: each of its cells would be two.")
    parts, n = [Path(path).parts for path in paths], 1
    while len({part[-n:] for part in parts}) < len(parts):
        n += 1
    ends = iter("/".join(part[-n:]) for part in parts)
    return [
        next(ends) if isinstance(source, str | Path) else f"sources[{number}]"
        for number, source in enumerate(sources)
    ]


def open_source(
    source: str | Path | AnnData, name: str, *, layer: str | None, genome: str | None
) -> Source:
    """Look at a source; its counts are not read yet, save those of 10x folders and of AnnData.

    Raises:
        FileNotFoundError, PermissionError, CountsError: as in ``read_counts``.
        KeyError: there is no such layer.
        TypeError: it is neither a path nor an AnnData.

    """
    layer = None if layer == "X" else layer
    if isinstance(source, AnnData):
        return _in_memory(source, name, layer)
    if not isinstance(source, str | Path):
        raise TypeError(
            "write_store takes paths of .h5ad, .zarr and 10x files, or AnnData, not "
            f"{type(source).__name__}."
        )
    path = Path(source).expanduser()
    with reading(path), _opened(path) as group:
        if group is not None and "obs" not in group:
            return _cell_ranger(group["matrix"], path, genome)._replace(name=name)
        if group is not None and _has(layer, group):
            return _anndata(group, path, layer)._replace(name=name)
        layers = None if group is None else shown(group.get("layers", ())) or "none"
    if layers is None:
        return _in_memory(read_file(path, genome).adata, name, layer)
    if layer is None:
        raise CountsError(f"{path.name} has no X. Its layers are: {layers}.")
    raise KeyError(f"{path.name} has no layer {layer!r}; its layers are: {layers}.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open what can be read by rows: AnnData's own formats, and Cell Ranger's .h5 since 3."""
    if path.is_dir():
        yield the_zarr().open_group(path, mode="r") if is_zarr(path) else None
    elif not h5py.is_hdf5(path):
        yield None
    else:
        with h5py.File(path, "r") as file:
            is_anndata = {"obs", "var"} <= set(file) and "mod" not in file
            yield file if is_anndata or (is_10x(file) and "matrix" in file) else None


def _has(layer: str | None, group: Any) -> bool:
    return "X" in group if layer is None else layer in group.get("layers", ())


def _in_memory(adata: AnnData, name: str, layer: str | None) -> Source:
    """Take a table that is in memory; a store is refused."""
    if isinstance(adata, CellStore):
        raise CountsError(f"{name} is a store already: name the files that it was made from.")
    try:
        counts = count_matrix(adata, layer=layer)
    except (CountsError, KeyError) as error:
        raise type(error)(f"In {name}: {error.args[0]}") from error
    return Source(name, adata.obs, _unique(adata.var), counts, None, counts.nnz)


def _anndata(group: Any, path: Path, layer: str | None) -> Source:
    """Look at AnnData's own formats."""
    layers = tuple(group["layers"]) if "layers" in group else ()
    place = "X" if layer is None else f"layers/{layer}"
    obs, var = read_table(group, "obs"), _unique(read_table(group, "var"))
    kind = group[place].attrs.get("encoding-type", "array")
    if kind == "csc_matrix":
        raise CountsError(
            f"{path.name} stores its counts gene by gene (CSC), so that no cell can be read by "
            "itself. Write it cell by cell: adata.X = adata.X.tocsr(), then adata.write_h5ad(…)."
        )
    form = _Rows if kind == "csr_matrix" else _Dense
    rows = form.of(path, group, place, (len(obs), len(var)))
    others = tuple(name for name in layers if name != layer)
    return Source(path.name, obs, var, rows, None, rows.n_entries, others, path)


def _cell_ranger(group: h5py.Group, path: Path, genome: str | None) -> Source:
    """Look at Cell Ranger's .h5: genes × cells by column, which is cells × genes by row."""
    features = group["features"]
    var = pd.DataFrame(
        {"gene_ids": features["id"].asstr()[:], "column": np.arange(len(features["id"]))},
        index=make_index_unique(pd.Index(features["name"].asstr()[:])),
    )
    for column, field in {"feature_types": "feature_type", "genome": "genome"}.items():
        if field in features:
            var[column] = features[field].asstr()[:]
    if genome is not None:
        var = _of_genome(var, genome)
    kept = genes_among(AnnData(var=var)).var
    obs = pd.DataFrame(index=pd.Index(group["barcodes"].asstr()[:]))
    rows = _Rows.of(path, group.parent, "matrix", (len(obs), len(features["id"])))
    columns = None if len(kept) == rows.n_columns else kept["column"].to_numpy()
    var = kept.drop(columns="column")
    return Source(path.name, obs, var, rows, columns, rows.n_entries, (), path)


def _of_genome(var: pd.DataFrame, genome: str) -> pd.DataFrame:
    known = sorted(set(var["genome"])) if "genome" in var else []
    if genome not in known:
        raise CountsError(f"There is no genome {genome!r}; there are: {shown(known) or 'none'}.")
    return var[var["genome"] == genome]


def _unique(var: pd.DataFrame) -> pd.DataFrame:
    """Give each gene a name of its own: "-1", "-2", … is appended to one that was there."""
    if var.index.is_unique:
        return var
    note("Names of genes occur twice; '-1', '-2', … was appended.")
    return var.set_axis(make_index_unique(var.index), axis="index")
