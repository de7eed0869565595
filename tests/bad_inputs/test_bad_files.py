"""Files as they are found in the wild: each gives its counts, or is refused by name."""

import gzip
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from scipy import sparse
from written import (
    CELLS,
    COUNTS,
    GENES,
    IDS,
    LINES,
    attribute,
    changed,
    folder_10x,
    h5ad,
    mtx,
    old_tenx,
    one,
    put,
    tenx,
    without,
    zarr,
)

from nbvae import CountsError, datasets


class Error(NamedTuple):
    """The file is refused, in words that name the culprit."""

    word: str
    kind: type[Exception] = CountsError


class Right(NamedTuple):
    """The file is read; the genes that it gives, and the word of a warning."""

    genes: slice | list[int] = slice(None)
    warning: str = ""
    more: int = 0  # added to each count above 0


RIGHT = Right()
READ = "could not be read"


def text(name, content):
    def write(folder):
        content_ = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(content_)
        return folder / name

    return write


def groups(name, *keys):
    def write(folder):
        with h5py.File(folder / name, "w") as file:
            for key in keys:
                file.create_group(key)
        return folder / name

    return write


# ---------------------------------------------------------------- parts of a sparse matrix

PARTS = {  # change of one array → what comes of it
    "indptr wild": ("indptr", one(2, 10**9), Error("")),
    "indptr negative": ("indptr", one(2, -4), Error("")),
    "indptr decreasing": ("indptr", one(2, 1), Error("")),
    "indptr short": ("indptr", lambda v: v[:-1], Error("")),
    "indptr long": ("indptr", lambda v: np.append(v, v[-1]), Error("")),
    "indptr ends early": ("indptr", one(-1, 9), Error("rows end at 9")),
    "indptr ends late": ("indptr", one(-1, 40), Error("rows end at 40")),
    "indptr starts late": ("indptr", one(0, 1), Error("")),
    "indptr of fractions": ("indptr", lambda v: v + 0.5, Error("of type float64")),
    "indptr empty": ("indptr", lambda v: v[:0], Error("")),
    "indices out of range": ("indices", one(3, 77), Error("damaged")),
    "indices wild": ("indices", one(3, 2**40, "int64"), Error("damaged")),
    "indices negative": ("indices", one(3, -1), Error("damaged")),
    "indices of fractions": ("indices", lambda v: v + 0.5, Error("of type float64")),
    "indices short": ("indices", lambda v: v[:-1], Error("10 positions")),
    "indices in two dimensions": ("indices", lambda v: v[:, None], Error("2-dimensional")),
    "data short": ("data", lambda v: v[:-1], Error("10 values")),
    "data in two dimensions": ("data", lambda v: v[:, None], Error("")),
    "indices unsigned": ("indices", lambda v: v.astype("uint32"), RIGHT),
    "indices unsigned, 64 bits": ("indices", lambda v: v.astype("uint64"), RIGHT),
    "indices of 16 bits": ("indices", lambda v: v.astype("int16"), RIGHT),
    "indptr unsigned": ("indptr", lambda v: v.astype("uint64"), RIGHT),
    "data of 64 bits": ("data", lambda v: v.astype("int64"), RIGHT),
    "data of 8 bits": ("data", lambda v: v.astype("int8"), RIGHT),
    "data unsigned": ("data", lambda v: v.astype("uint16"), RIGHT),
    "data float": ("data", lambda v: v.astype("float64"), RIGHT),
    "data half float": ("data", lambda v: v.astype("float16"), RIGHT),
    "data with 1.5": ("data", one(2, 1.5, "float32"), Error("is 1.5, not a whole number")),
    "data with 1.5 in 64 bits": ("data", one(2, 1.5, "float64"), Error("is 1.5, not a whole")),
    "data with 3.0002": ("data", one(0, 3.0002, "float64"), Error("is 3.0002, not a whole")),
    "data with nan": ("data", one(2, np.nan, "float32"), Error("not a finite number")),
    "data negative": ("data", one(2, -2), Error("negative")),
    "data too large": ("data", one(2, 2**40, "int64"), Error("too many")),
    "data nearly whole": (
        "data",
        one(0, 3.0000000000000004, "float64"),
        Right(warning="3.0000000000000004"),
    ),
    "data of words": ("data", lambda v: v.astype("S"), Error("")),
    "data complex": ("data", lambda v: v.astype("complex64"), Error("")),
}


def half_floats():
    """Whether this scipy has sparse matrices of them, as old ones have."""
    try:
        sparse.csr_matrix((1, 1), dtype=np.float16)
    except ValueError:
        return False
    return True


HOSTS = {
    "h5ad, csr": (lambda f, e: h5ad(f, e), "X"),
    "h5ad, csc": (lambda f, e: h5ad(f, e, form=sparse.csc_matrix), "X"),
    "10x": (tenx, "matrix"),
    "10x before 3": (old_tenx, "hg19"),
}
CASES = {}
for host, (write, group) in HOSTS.items():
    for change, (part, by, outcome) in PARTS.items():
        if host.startswith("h5ad") and change == "data half float" and not half_floats():
            outcome = Error("float16")  # scipy has no such sparse matrix, and AnnData writes none
        edit = put(f"{group}/{part}", by)
        CASES[f"{host}: {change}"] = (lambda f, w=write, e=edit: w(f, e), outcome)

# ---------------------------------------------------------------- 10x Genomics' .h5

KINDS = ["Gene Expression", "Antibody Capture", "Gene Expression", "Gene Expression"]
CASES |= {
    "10x: shape swapped": (lambda f: tenx(f, put("matrix/shape", lambda v: v[::-1])), Error(READ)),
    "10x: shape too large": (lambda f: tenx(f, put("matrix/shape", one(0, 9))), Error("named")),
    "10x: shape negative": (lambda f: tenx(f, put("matrix/shape", one(0, -4))), Error(READ)),
    "10x: shape of three": (
        lambda f: tenx(f, put("matrix/shape", lambda v: np.append(v, 1))),
        Error(READ),
    ),
    "10x: shape missing": (lambda f: tenx(f, without("matrix/shape")), Error(READ)),
    "10x: data missing": (lambda f: tenx(f, without("matrix/data")), Error(READ)),
    "10x: barcodes missing": (lambda f: tenx(f, without("matrix/barcodes")), Error(READ)),
    "10x: features missing": (lambda f: tenx(f, without("matrix/features")), Error(READ)),
    "10x: names missing": (lambda f: tenx(f, without("matrix/features/name")), Error(READ)),
    "10x: a barcode missing": (
        lambda f: tenx(f, put("matrix/barcodes", lambda v: v[:-1])),
        Error("4 cells are named"),
    ),
    "10x: a gene missing": (
        lambda f: tenx(f, put("matrix/features/name", lambda v: v[:-1])),
        Error("3 genes"),
    ),
    "10x: an identifier missing": (
        lambda f: tenx(f, put("matrix/features/id", lambda v: v[:-1])),
        Error(READ),
    ),
    "10x: names no text": (
        lambda f: tenx(f, put("matrix/features/name", lambda v: np.arange(4))),
        Error(READ),
    ),
    "10x: names not UTF-8": (
        lambda f: tenx(f, put("matrix/features/name", lambda v: np.array([b"\xff"] * 4))),
        Error(READ),
    ),
    "10x: kinds missing": (lambda f: tenx(f, without("matrix/features/feature_type")), RIGHT),
    "10x: genomes missing": (lambda f: tenx(f, without("matrix/features/genome")), RIGHT),
    "10x: text of any length": (lambda f: tenx(f, strings="O"), RIGHT),
    "10x: another ending": (lambda f: tenx(f, name="counts.hdf5"), RIGHT),
    "10x: no ending": (lambda f: tenx(f, name="counts"), RIGHT),
    "10x: more beside": (lambda f: tenx(f, lambda h: h.create_group("metadata")), RIGHT),
    "10x: one of two genomes": (
        lambda f: (tenx(f, genomes=["hg19", "hg19", "mm10", "mm10"]), {"genome": "hg19"}),
        Error("AAAC-3"),  # this cell is a mouse's
    ),
    "10x: both genomes": (lambda f: tenx(f, genomes=["hg19", "hg19", "mm10", "mm10"]), RIGHT),
    "10x: another genome": (lambda f: (tenx(f), {"genome": "mm9"}), Error("genome='hg19'")),
    "10x before 3: two genomes": (
        lambda f: old_tenx(f, genomes=("hg19", "mm10")),
        Error("genomes: 'hg19', 'mm10'. Choose one: genome='hg19'."),
    ),
    "10x before 3: one of two": (
        lambda f: (old_tenx(f, genomes=("hg19", "mm10")), {"genome": "mm10"}),
        Right(more=1),
    ),
    "10x before 3: another genome": (
        lambda f: (old_tenx(f, genomes=("hg19", "mm10")), {"genome": "GRCh38"}),
        Error("none of 'GRCh38'"),
    ),
}

# ---------------------------------------------------------------- kinds of features

GENE = "Gene Expression"
FEATURES = {
    "as it should be": ([GENE] * 4, RIGHT),
    "small letters": (["gene expression"] * 4, RIGHT),
    "capitals": (["GENE EXPRESSION"] * 4, RIGHT),
    "spaces": ([" Gene Expression "] * 4, RIGHT),
    "underscores": (["Gene_Expression"] * 4, RIGHT),
    "gene": (["gene"] * 4, RIGHT),
    "empty": ([""] * 4, RIGHT),
    "one empty": ([GENE, "", GENE, GENE], RIGHT),
    "mixed cases": ([GENE, "gene expression", "GENE EXPRESSION", "Gene expression"], RIGHT),
    "unknown": (["Transcripts"] * 4, Right(warning="'Transcripts'")),
    "chromosomes": (["chr1", "chr2", "chrX", "MT"], Right(warning="taken for genes: 'MT', 'chr1'")),
    "biotypes": (["protein_coding", "lncRNA"] * 2, Right(warning="'lncRNA', 'protein_coding'")),
    "peaks only": (["Peaks"] * 4, Right(warning="'Peaks'")),
    "antibodies only": (["Antibody Capture"] * 4, Right(warning="'Antibody Capture'")),
    "antibodies, too": (KINDS, Right(genes=[0, 2, 3])),
    "antibodies in small letters": ([k.lower() for k in KINDS], Right(genes=[0, 2, 3])),
    "hashtags, too": ([GENE, "Multiplexing Capture", GENE, GENE], Right(genes=[0, 2, 3])),
    "unknown, and antibodies": (
        ["RNA-seq", "Antibody Capture", "RNA-seq", "RNA-seq"],
        Right(genes=[0, 2, 3], warning="'RNA-seq'"),
    ),
    "two kinds, no genes": (["Peaks", "Custom"] * 2, Error("the kinds are: 'Custom', 'Peaks'")),
}
for name, (kinds, outcome) in FEATURES.items():
    CASES[f"10x features: {name}"] = (lambda f, k=kinds: tenx(f, kinds=k), outcome)
    CASES[f"10x folder, features: {name}"] = (lambda f, k=kinds: folder_10x(f, kinds=k), outcome)

# ---------------------------------------------------------------- Matrix Market

TWO = "".join(f"{i}\t{g}\n" for i, g in zip(IDS, GENES, strict=True))
MATRICES = {
    "plain": (mtx(), RIGHT),
    "no comment": (mtx(comment=""), RIGHT),
    "comments": (mtx(comment="%metadata_json: {}\n%\n"), RIGHT),
    "Windows' ends of lines": (mtx().replace("\n", "\r\n"), RIGHT),
    "no last end": (mtx(end=""), RIGHT),
    "tabs": (changed("1\t1\t3"), RIGHT),
    "more blanks": (changed(" 1  1   3 "), RIGHT),
    "an empty line": (changed("1 1 3\n"), RIGHT),
    "a real header": (mtx(header="%%MatrixMarket matrix coordinate real general"), RIGHT),
    "capitals in the header": (
        mtx(header="%%MatrixMarket MATRIX Coordinate Integer General"),
        RIGHT,
    ),
    "3.0": (changed("1 1 3.0"), RIGHT),
    "3e0": (changed("1 1 3e0"), RIGHT),
    "+3": (changed("1 1 +3"), RIGHT),
    "0.3e1": (changed("1 1 0.3e1"), RIGHT),
    "two parts of a count": (mtx(sizes="4 5 12", lines=["1 1 2", "1 1 1", *LINES[1:]]), RIGHT),
    "1.5 among integers": (changed("1 1 1.5"), Error("is 1.5, not a whole number")),
    "3,5": (changed("1 1 3,5"), Error("b','")),
    "3x": (changed("1 1 3x"), Error("b'x'")),
    "a fourth number": (changed("1 1 3 7"), Error(READ)),
    "no value": (changed("1 1"), Error(READ)),
    "a word": (changed("1 1 many"), Error(READ)),
    "nan": (changed("1 1 nan"), Error(READ)),
    "two signs": (changed("1 1 3-1"), Error(READ)),
    "two points": (changed("1 1 3.0.1"), Error(READ)),
    "half an exponent": (changed("1 1 3e"), Error(READ)),
    "negative": (changed("1 1 -3"), Error("negative")),
    "too large": (changed("1 1 99999999999"), Error("too many")),
    "far too large": (changed("1 1 99999999999999999999999"), Error(READ)),
    "row 0": (changed("0 1 3"), Error(READ)),
    "row 5 of 4": (changed("5 1 3"), Error(READ)),
    "column 6 of 5": (changed("1 6 3"), Error(READ)),
    "row -1": (changed("-1 1 3"), Error(READ)),
    "row 1.7": (changed("1.7 1 3"), Error(READ)),
    "a zero byte": (changed("1 1 3\0"), Error(READ)),
    "a line missing": (mtx(lines=LINES[1:]), Error(READ)),
    "a line too many": (mtx(lines=[*LINES, "2 1 4"]), Error(READ)),
    "cut": (mtx()[:-9], Error(READ)),
    "cut in a number": (mtx(lines=[*LINES[:-1], LINES[-1][:-1]], end=""), Error(READ)),
    "no header": (mtx().partition("\n")[2], Error(READ)),
    "half a header": (mtx(header="%%MatrixMarket matrix"), Error("first line")),
    "another header": (mtx(header="gene,cell,count"), Error("first line")),
    "no sizes": (mtx(sizes=""), Error(READ)),
    "two sizes": (mtx(sizes="4 5"), Error(READ)),
    "sizes of other names": (mtx(sizes="9 5 11"), Error("9 genes × 5 cells")),
    "turned": (mtx(sizes="5 5 11"), Error("5 genes × 5 cells")),
    "a pattern": (mtx(header="%%MatrixMarket matrix coordinate pattern general"), Error("pattern")),
    "complex": (mtx(header="%%MatrixMarket matrix coordinate complex general"), Error("complex")),
    "symmetric": (
        mtx(header="%%MatrixMarket matrix coordinate integer symmetric"),
        Error("symmetric"),
    ),
    "dense": (
        mtx(
            header="%%MatrixMarket matrix array integer general",
            sizes="4 5",
            lines=[str(n) for n in COUNTS.ravel()],
        ),
        RIGHT,
    ),
    "dense with 1.5": (
        mtx(
            header="%%MatrixMarket matrix array integer general",
            sizes="4 5",
            lines=["1.5", *map(str, COUNTS.ravel()[1:])],
        ),
        Error("is 1.5"),
    ),
    "nothing": ("", Error(READ)),
}
for name, (content, outcome) in MATRICES.items():
    CASES[f"mtx: {name}"] = (lambda f, c=content: folder_10x(f, matrix=c), outcome)


def in_a_folder(**parts):
    return lambda folder: folder_10x(folder, **parts)


def then(write, change):
    """Write a folder, and change it."""

    def written(folder):
        path = write(folder)
        return change(folder) or path

    return written


def without_its_description(folder):
    """Of format 2 or 3: which of them is written depends on anndata."""
    store = folder / "counts.zarr"
    for path in [*store.glob(".z*"), *store.glob("zarr.json")]:
        path.unlink()


def renamed(prefix):
    def change(folder):
        for path in list(folder.iterdir()):
            path.rename(folder / f"{prefix}{path.name}")

    return change


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-12]) and None


CASES |= {
    "10x folder: genes.tsv of two columns": (in_a_folder(features=TWO, name="genes.tsv"), RIGHT),
    "10x folder: features of two columns": (in_a_folder(features=TWO), RIGHT),
    "10x folder: a header in features": (
        in_a_folder(features="id\tname\n" + TWO),
        Error("5 genes and 5 cells are named"),
    ),
    "10x folder: features cut": (in_a_folder(features=TWO[:-15]), Error("3 genes")),
    "10x folder: a longer line": (in_a_folder(features=TWO + "a\tb\tc\td\n"), Error(READ)),
    "10x folder: an empty barcode file": (in_a_folder(barcodes="\n"), Error(READ)),
    "10x folder: matrix cut": (then(folder_10x, cut("matrix.mtx.gz")), Error(READ)),
    "10x folder: features cut in gzip": (then(folder_10x, cut("features.tsv.gz")), Error(READ)),
    "10x folder: not compressed": (
        then(folder_10x, lambda f: text("matrix.mtx.gz", mtx())(f) and None),
        Error(READ),
    ),
    "10x folder: prefixes": (then(folder_10x, renamed("GSM1_")), Error("prefix='GSM1_'")),
    "10x folder: the matrix alone": (
        then(folder_10x, lambda f: f / "matrix.mtx.gz"),
        Error("the folder that it lies in"),
    ),
    "10x folder: its parent": (
        lambda f: (folder_10x((f / "hg19").mkdir() or f / "hg19"), f)[1],
        Error("'hg19'"),
    ),
}

# ---------------------------------------------------------------- AnnData's files


def layer(name, matrix):
    return lambda adata: adata.layers.__setitem__(name, matrix)


def pairs(file):
    group = file["obsp"].create_group("connectivities")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
    group.attrs["shape"] = (5, 5)
    group["data"], group["indices"] = np.ones(2), np.array([1, 99])
    group["indptr"] = np.array([0, 1, 2, 2, 2, 2])


NEWER = Error("pip install --upgrade anndata")
CASES |= {
    "h5ad: dense": (lambda f: h5ad(f, form=np.array), RIGHT),
    "h5ad: dense with 1.5": (
        lambda f: h5ad(f, put("X", one((0, 0), 1.5)), form=np.array),
        Error("is 1.5"),
    ),
    "h5ad: dense, turned": (lambda f: h5ad(f, put("X", np.transpose), form=np.array), Error(READ)),
    "h5ad: shape too large": (lambda f: h5ad(f, attribute("X", "shape", (5, 9))), Error("")),
    "h5ad: shape swapped": (lambda f: h5ad(f, attribute("X", "shape", (4, 5))), Error("")),
    "h5ad: data missing": (lambda f: h5ad(f, without("X/data")), Error(READ)),
    "h5ad: X missing": (lambda f: h5ad(f, without("X")), Error("X is empty. Name the layer")),
    "h5ad: X missing, a layer there": (
        lambda f: h5ad(f, without("X"), before=layer("umi", COUNTS)),
        Error("layer='umi'"),
    ),
    "h5ad: obs missing": (lambda f: h5ad(f, without("obs")), Error("is of another kind")),
    "h5ad: the index missing": (lambda f: h5ad(f, without("obs/_index")), Error(READ)),
    "h5ad: newer matrix": (lambda f: h5ad(f, attribute("X", "encoding-version", "9.0")), NEWER),
    "h5ad: newer table": (lambda f: h5ad(f, attribute("obs", "encoding-type", "frame")), NEWER),
    "h5ad: newer file": (lambda f: h5ad(f, attribute("/", "encoding-version", "9.0")), NEWER),
    "h5ad: a damaged layer": (
        lambda f: (
            h5ad(
                f,
                put("layers/umi/indptr", one(-1, 9)),
                before=layer("umi", sparse.csr_matrix(COUNTS)),
            ),
            {"layer": "umi"},
        ),
        Error("rows end at 9"),
    ),
    "h5ad: a layer out of range": (
        lambda f: (
            h5ad(
                f,
                put("layers/umi/indices", one(0, 50)),
                before=layer("umi", sparse.csr_matrix(COUNTS)),
            ),
            {"layer": "umi"},
        ),
        Error("layers['umi'] is damaged"),
    ),
    "h5ad: damaged pairs": (lambda f: h5ad(f, pairs), Error(READ)),
    "h5ad: a layer that is not there": (
        lambda f: (h5ad(f), {"layer": "umi"}),
        Error("no layer 'umi'", KeyError),
    ),
    "zarr": (zarr, RIGHT),
    "zarr: of another kind": (
        then(zarr, without_its_description),
        Error(READ),
    ),
    "zarr: empty": (lambda f: ((f / "x.zarr").mkdir(), f / "x.zarr")[1], Error(READ)),
    "zarr: a chunk missing": (
        then(zarr, lambda f: [p.unlink() for p in (f / "counts.zarr/X/data").rglob("0")] and None),
        Error(""),
    ),
}

# ---------------------------------------------------------------- other kinds of files

CASES |= {
    "csv": (text("c.csv", "x,LYZ\na,1\n"), Error("anndata.io.read_csv")),
    "csv.gz": (text("c.csv.gz", gzip.compress(b"x,LYZ\na,1\n")), Error("anndata.io.read_csv")),
    "tsv": (text("c.tsv", "x\tLYZ\na\t1\n"), Error("delimiter='\\t'")),
    "txt.gz": (text("c.txt.gz", b""), Error("anndata.io.read_text")),
    "mtx": (text("GSM1_matrix.mtx.gz", b""), Error("prefix='GSM1_'")),
    "mtx by another name": (text("counts.mtx", mtx()), Error("scipy.io.mmread")),
    "loom": (groups("c.loom", "row_attrs", "col_attrs", "matrix"), Error("read_loom")),
    "loom, not HDF5": (text("c.loom", "?"), Error("read_loom")),
    "molecule_info.h5": (
        groups("molecule_info.h5", "barcode_idx", "umi", "barcodes", "features"),
        Error("molecule_info.h5, a list of molecules"),
    ),
    "molecule_info.h5, old": (groups("m.h5", "barcode", "umi", "reads"), Error("molecules")),
    "analysis.h5": (groups("analysis.h5", "clustering", "pca", "matrix"), Error("analysis")),
    "MuData": (groups("c.h5mu", "mod", "obs", "var"), Error("mudata.read_h5mu")),
    "Seurat": (groups("c.h5seurat", "assays", "cell.names"), Error("zellkonverter")),
    "rds": (text("c.rds", b"\x1f\x8b"), Error("zellkonverter")),
    "another HDF5": (groups("weights.h5", "layers"), Error("It holds: 'layers'")),
    "an empty HDF5": (groups("weights.h5"), Error("It holds: nothing")),
    "a page": (text("c.h5ad", "<!DOCTYPE html><html>"), Error("a page of the web")),
    "Git LFS": (text("c.h5ad", "version https://git-lfs.github.com/spec/v1"), Error("git lfs")),
    "gzip around it": (text("c.h5", gzip.compress(b"x")), Error("gunzip")),
    "zip": (text("c.zip", b"PK\3\4"), Error("Unpack it")),
    "tar.gz": (text("c.tar.gz", b"\x1f\x8b"), Error("Unpack it")),
    "nothing": (text("c.h5ad", b""), Error(READ)),
    "not there": (lambda f: f / "nowhere.h5ad", Error("no file", FileNotFoundError)),
    "a page's address": (lambda f: "https://x.org/a.h5ad", Error("Download", FileNotFoundError)),
    "a list": (lambda f: [1, 2], Error("not list", TypeError)),
    "nothing at all": (lambda f: None, Error("not NoneType", TypeError)),
    "an array": (lambda f: COUNTS, Error("anndata.AnnData", TypeError)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_gives_its_counts_or_is_refused_by_name(name, tmp_path):
    """Else a damaged or strange file would give other counts, or words of another library."""
    write, outcome = CASES[name]
    source = write(tmp_path)
    source, options = source if isinstance(source, tuple) else (source, {})
    if isinstance(outcome, Error):
        with pytest.raises(outcome.kind) as caught:
            datasets.read_counts(source, **options)
        assert outcome.word in str(caught.value)
        return
    if outcome.warning:
        with pytest.warns(UserWarning) as said:
            adata = datasets.read_counts(source, **options)
        (ours,) = [one for one in said if one.category is UserWarning]  # not other packages' advice
        assert outcome.warning in str(ours.message)
    else:
        adata = datasets.read_counts(source, **options)
    expected = COUNTS + outcome.more * (COUNTS > 0)
    np.testing.assert_array_equal(adata.X.toarray(), expected[:, outcome.genes])
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == list(np.array(GENES)[outcome.genes])


def test_the_table_is_long():
    """Else cases might get lost in the loops that make them."""
    assert len(CASES) > 250
