"""Files of other kinds: what they are, and how their counts can be read nevertheless."""

from pathlib import Path

import h5py

from nbvae._messages import shown

R = (
    "It is R's; there, zellkonverter::writeH5AD(as.SingleCellExperiment(object), 'counts.h5ad') "
    "writes a file for Python."
)
FILTERED = "The counts of the same run are in filtered_feature_bc_matrix.h5."
THEN = "then datasets.read_counts(adata), or adata.T if its rows are genes"
LOOM = f"adata = anndata.io.read_loom({{path!r}}) reads it with the package loompy; {THEN}."
PACKED = "Unpack it, and name the folder with matrix.mtx, or the .h5 file, that comes out."
BY_ENDING = {
    ".csv": f"Read the table: adata = anndata.io.read_csv({{path!r}}); {THEN}.",
    ".tsv": f"Read the table: adata = anndata.io.read_csv({{path!r}}, delimiter='\\t'); {THEN}.",
    ".txt": f"Read the table: adata = anndata.io.read_text({{path!r}}); {THEN}.",
    ".loom": LOOM,
    ".mtx": "Without names for its rows and columns: "
    f"adata = anndata.AnnData(scipy.io.mmread({{path!r}}).tocsr()); {THEN}.",
    ".rds": R,
    ".rdata": R,
    ".rda": R,
    ".h5seurat": R,
    ".xlsx": f"adata = anndata.io.read_excel({{path!r}}, sheet=0); {THEN}.",
    ".tar": PACKED,
    ".tgz": PACKED,
    ".zip": PACKED,
}
MOLECULES = f"It is Cell Ranger's molecule_info.h5, a list of molecules. {FILTERED}"
ANALYSIS = f"It is Cell Ranger's analysis. {FILTERED}"
BY_GROUPS = (  # an HDF5 file with all of these
    ({"mod", "obs", "var"}, "It is a MuData: name one table, mudata.read_h5mu(…)['rna']."),
    ({"row_attrs", "col_attrs"}, LOOM),
    ({"barcode_idx", "umi"}, MOLECULES),
    ({"barcode", "umi"}, MOLECULES),
    ({"clustering"}, ANALYSIS),
    ({"all_clustering"}, ANALYSIS),
    ({"assays"}, R),
)
BY_START = {
    b"<": "It is a page of the web or another text, perhaps that of a failed download.",
    b"version https://git-lfs": "It is a pointer of Git LFS: git lfs pull fetches the file.",
    b"\x1f\x8b": "It is compressed: unpack it with gunzip.",
    b"PK": "It is a zip archive: unpack it.",
}


def other_kind_of_file(path: Path) -> str:
    """Say how to read a file that is not HDF5; an empty string if that is not known."""
    if "matrix.mtx" in path.name:
        return _matrix_market(path)
    ending = next((s for s in reversed(path.suffixes) if s.lower() not in (".gz", ".bz2")), "")
    return BY_ENDING.get(ending.lower(), "").format(path=str(path))


def _matrix_market(path: Path) -> str:
    """Name the folder if it has all three parts, the prefix if they have one."""
    prefix = path.name.partition("matrix.mtx")[0]
    if not prefix:
        return "Pass the folder that it lies in."
    return (
        f"It may be one of three in the folder that it lies in: "
        f"adata = sc.read_10x_mtx({str(path.parent)!r}, prefix={prefix!r}); {THEN}."
    )


def other_hdf5(file: h5py.File) -> str:
    """Say what an HDF5 file is that is neither AnnData's nor holds 10x counts."""
    groups = set(file)
    known = next((words for needs, words in BY_GROUPS if needs <= groups), "")
    words = known.format(path=file.filename) or "It was read, and is of another kind."
    return f"{words} It holds: {shown(sorted(groups)) or 'nothing'}."


def not_hdf5(start: bytes) -> str:
    """Say what a file is that has the wrong beginning."""
    known = (words for signature, words in BY_START.items() if start.startswith(signature))
    return next(known, "")
