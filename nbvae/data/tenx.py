"""What 10x Genomics' Cell Ranger writes: a .h5 file, a folder of three parts, a tar.gz of these."""

import csv
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from nbvae._messages import shown
from nbvae.data.counts import CountsError
from nbvae.data.features import genes_among
from nbvae.data.matrix_market import read_matrix_market, read_plain
from nbvae.data.sound import from_parts

MATRIX = {"data", "indices", "indptr", "shape", "barcodes"}
BEFORE_3 = MATRIX | {"genes", "gene_names"}  # before version 3: a group for each genome


# ---------------------------------------------------------------- one file


def is_10x(file: h5py.File) -> bool:
    """Tell whether an HDF5 file has Cell Ranger's layout, of any version."""
    return _has(file.get("matrix"), MATRIX | {"features"}) or bool(_genomes_before_3(file))


def read_10x_h5(file: h5py.File, genome: str | None) -> AnnData:
    """Read Cell Ranger's .h5: one matrix, or (before version 3) one for each genome.

    Raises:
        CountsError: the genome is not there, or has to be chosen.
        ValueError, KeyError: the file is damaged.

    """
    if _has(file.get("matrix"), MATRIX | {"features"}):
        return _of_genome(_read_matrix(file["matrix"]), genome)
    groups = _genomes_before_3(file)
    if genome is None and len(groups) == 1:
        genome = groups[0]
    if genome not in groups:
        raise _which_genome(genome, groups)
    group = file[genome]
    names = {"gene_ids": _strings(group["genes"]), "genome": genome}
    return _put_together(_counts(group), _strings(group["gene_names"]), names, _cells(group))


def _read_matrix(group: h5py.Group) -> AnnData:
    """Read the layout of version 3; each row has a kind of feature, and a genome."""
    features = group["features"]
    names = {"gene_ids": _strings(features["id"])}
    for column, field in {"feature_types": "feature_type", "genome": "genome"}.items():
        if field in features:
            names[column] = _strings(features[field])
    adata = _put_together(_counts(group), _strings(features["name"]), names, _cells(group))
    return genes_among(adata)


def _of_genome(adata: AnnData, genome: str | None) -> AnnData:
    """Keep the genes of one genome, if one is named."""
    if genome is None:
        return adata
    genomes = adata.var.get("genome", pd.Series(dtype=str))
    if genome not in set(genomes):
        raise _which_genome(genome, sorted(set(genomes)))
    return adata[:, (genomes == genome).to_numpy()].copy()


def _which_genome(genome: str | None, there: list[str]) -> CountsError:
    wish = "" if genome is None else f" There is none of {genome!r}."
    choice = f" Choose one: genome={there[0]!r}." if there else ""
    return CountsError(f"The file holds the counts of these genomes: {shown(there)}.{wish}{choice}")


def _counts(group: h5py.Group) -> sparse.csr_matrix:
    """Read the matrix, genes × cells by column; that is, cells × genes by row."""
    n_genes, n_cells = (int(size) for size in group["shape"][:])
    return from_parts(group["data"][:], group["indices"][:], group["indptr"][:], (n_cells, n_genes))


def _cells(group: h5py.Group) -> np.ndarray:
    return _strings(group["barcodes"])


def _strings(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:]


def _genomes_before_3(file: h5py.File) -> list[str]:
    return [name for name in file if _has(file.get(name), BEFORE_3)]


def _has(group: object, parts: set[str]) -> bool:
    return isinstance(group, h5py.Group) and parts <= set(group)


# ---------------------------------------------------------------- a folder, an archive


def read_10x_folder(folder: Path) -> AnnData:
    """Read the three parts as Cell Ranger writes them, compressed (since version 3) or not."""
    return _from_tables(
        read_matrix_market(_part(folder, "matrix.mtx")),
        _table(_part(folder, "features.tsv", "genes.tsv")),
        _table(_part(folder, "barcodes.tsv")),
    )


def read_10x_archive(archive: Path) -> AnnData:
    """Read a 10x tar.gz. Nothing is unpacked on disk: reading on the way takes as little time."""
    readers = {"matrix.mtx": read_plain, "genes.tsv": _table, "barcodes.tsv": _table}
    parts = {}
    with tarfile.open(archive) as tar:
        for member in tar:  # in their order in the archive: going back would unpack it again
            name = Path(member.name).name
            if name in readers:
                parts[name] = readers[name](tar.extractfile(member))
    return _from_tables(parts["matrix.mtx"], parts["genes.tsv"], parts["barcodes.tsv"])


def _part(folder: Path, *names: str) -> Path:
    """Find the first of these files in a folder, compressed or not."""
    for name in names:
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                return path
    content = sorted(path.name for path in folder.iterdir())
    raise CountsError(
        f"The folder {str(folder)!r} has no {' or '.join(names)} (nor .gz); it holds: "
        f"{shown(content) or 'nothing'}. Name a folder with matrix.mtx, features.tsv or genes.tsv, "
        f"and barcodes.tsv.{_hint(folder, content)}"
    )


def _hint(folder: Path, content: Iterable[str]) -> str:
    """Recognise three parts with a prefix, as in GEO, or Cell Ranger's own .h5 next to them."""
    for name in content:
        prefix, found, _ = name.partition("matrix.mtx")
        if found and prefix:
            return (
                f" With {prefix!r} before each of the three names: "
                f"adata = sc.read_10x_mtx({str(folder)!r}, prefix={prefix!r}), "
                "then datasets.read_counts(adata)."
            )
        if name.endswith((".h5", ".h5ad")):
            return f" Or name a file: {name!r}."
    return ""


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


def _from_tables(matrix: sparse.coo_matrix, genes: pd.DataFrame, cells: pd.DataFrame) -> AnnData:
    """Join counts (genes × cells, as 10x stores them) with the names.

    ``genes`` has the columns ENSEMBL identifier, symbol and, since Cell Ranger 3, kind of feature.
    """
    names = {"gene_ids": genes[0].to_numpy()}
    if genes.shape[1] >= 3:
        names["feature_types"] = genes[2].fillna("").to_numpy()
    symbols = genes[min(1, genes.shape[1] - 1)].to_numpy()
    adata = _put_together(sparse.csr_matrix(matrix.T), symbols, names, cells[0].to_numpy())
    return genes_among(adata)


def _put_together(
    counts: sparse.csr_matrix, symbols: np.ndarray, names: dict, cells: np.ndarray
) -> AnnData:
    """Join counts, cells × genes, with the names of both."""
    if counts.shape != (len(cells), len(symbols)):
        raise CountsError(
            f"The matrix has {counts.shape[1]} genes × {counts.shape[0]} cells, but {len(symbols)} "
            f"genes and {len(cells)} cells are named: the files do not belong together."
        )
    return AnnData(
        X=counts,
        obs=pd.DataFrame(index=make_index_unique(pd.Index(cells))),
        var=pd.DataFrame(names, index=make_index_unique(pd.Index(symbols))),
    )
