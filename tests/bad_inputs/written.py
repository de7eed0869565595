"""The same counts in every kind of file, and hands that change something in it."""

import gzip
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

COUNTS = np.array([[3, 0, 1, 0], [0, 2, 0, 9], [1, 1, 7, 0], [0, 0, 4, 1], [12, 0, 0, 5]])
CELLS = [f"AAAC-{i}" for i in range(5)]
IDS = ["ENSG0", "ENSG1", "ENSG2", "ENSG3"]
GENES = ["LYZ", "NKG7", "CD3D", "MS4A1"]


def table(matrix=COUNTS):
    return AnnData(
        X=matrix, obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=GENES[: matrix.shape[1]])
    )


# ---------------------------------------------------------------- AnnData's files


def h5ad(folder, edit=None, *, form=sparse.csr_matrix, dtype="float32", before=None):
    """An h5ad file; ``before`` changes the AnnData, ``edit`` the file."""
    adata = table(form(COUNTS.astype(dtype)))
    if before:
        before(adata)
    adata.write_h5ad(folder / "counts.h5ad")
    return _edited(folder / "counts.h5ad", edit)


def zarr(folder, **_):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a later default
        anndata.io.write_zarr(folder / "counts.zarr", table(sparse.csr_matrix(COUNTS)))
    return folder / "counts.zarr"


def _edited(path, edit):
    if edit:
        with h5py.File(path, "r+") as file:
            edit(file)
    return path


def put(place, change):
    """Replace an array of a file by what ``change`` makes of it."""

    def edit(file):
        values = change(file[place][...])
        attributes = dict(file[place].attrs)
        del file[place]
        file[place] = values
        file[place].attrs.update(attributes)

    return edit


def one(entry, value, dtype=None):
    """Replace one number of an array."""

    def change(values):
        values = values.astype(dtype) if dtype else values.copy()
        values[entry] = value
        return values

    return change


def attribute(place, name, value):
    def edit(file):
        file[place].attrs[name] = value

    return edit


def without(*places):
    def edit(file):
        for place in places:
            del file[place]

    return edit


# ---------------------------------------------------------------- 10x Genomics' files


def tenx(folder, edit=None, *, kinds=None, genomes=("hg19",) * 4, strings="S", name="tenx.h5"):
    """Cell Ranger's .h5 since version 3."""
    with h5py.File(folder / name, "w") as file:
        group = file.create_group("matrix")
        _write_parts(group, strings)
        group["features/id"], group["features/name"] = _as(IDS, strings), _as(GENES, strings)
        group["features/feature_type"] = _as(kinds or ["Gene Expression"] * 4, strings)
        group["features/genome"] = _as(list(genomes), strings)
    return _edited(folder / name, edit)


def old_tenx(folder, edit=None, *, genomes=("hg19",)):
    """Cell Ranger's .h5 before version 3: a group for each genome, each with more counts."""
    with h5py.File(folder / "old.h5", "w") as file:
        for more, genome in enumerate(genomes):
            group = file.create_group(genome)
            _write_parts(group, "S", more=more)
            group["genes"], group["gene_names"] = _as(IDS, "S"), _as(GENES, "S")
    return _edited(folder / "old.h5", edit)


def _write_parts(group, strings, more=0):
    matrix = sparse.csr_matrix(COUNTS)
    group["data"] = matrix.data.astype("int32") + more
    group["indices"], group["indptr"] = (
        matrix.indices.astype("int64"),
        matrix.indptr.astype("int64"),
    )
    group["shape"], group["barcodes"] = np.array([4, 5], dtype="int32"), _as(CELLS, strings)


def _as(names, strings):
    return np.array(names, dtype=h5py.string_dtype() if strings == "O" else strings)


HEADER = "%%MatrixMarket matrix coordinate integer general"
ENTRIES = [(g + 1, c + 1, COUNTS[c, g]) for c, g in zip(*np.nonzero(COUNTS), strict=True)]
LINES = [" ".join(map(str, entry)) for entry in ENTRIES]  # genes × cells, "1 1 3" first


def folder_10x(
    folder, *, matrix=None, features=None, barcodes=None, kinds=None, name="features.tsv.gz"
):
    """Cell Ranger's folder of three parts."""
    kinds = kinds or ["Gene Expression"] * 4
    rows = zip(IDS, GENES, kinds, strict=True)
    _write(folder / "matrix.mtx.gz", mtx() if matrix is None else matrix)
    _write(folder / name, features or "".join("\t".join(row) + "\n" for row in rows))
    _write(folder / "barcodes.tsv.gz", barcodes or "".join(f"{cell}\n" for cell in CELLS))
    return folder


def mtx(*, header=HEADER, sizes="4 5 11", lines=None, comment="%\n", end="\n"):
    return f"{header}\n{comment}{sizes}\n" + "\n".join(lines or LINES) + end


def changed(first):
    """The lines of the matrix with another first one; it is "1 1 3"."""
    return mtx(lines=[first, *LINES[1:]])


def _write(path, content):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
