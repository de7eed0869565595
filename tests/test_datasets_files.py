"""Counts of the reader's own: AnnData, h5ad, 10x Genomics' files; and files that are none of it."""

import gzip

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import io as scipy_io
from scipy import sparse

from nbvae.data.counts import CountsError
from nbvae.data.datasets import read_counts

COUNTS = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 7], [0, 0, 4]])  # cells × genes
CELLS = [f"AAAC-{i}" for i in range(4)]
TWINS = ["LYZ", "NKG7", "LYZ"]  # two genes of one symbol, as in every human reference


def refusal(path):
    with pytest.raises(CountsError) as caught:
        read_counts(path)
    return str(caught.value)


# ---------------------------------------------------------------- AnnData


def test_h5ad(small, tmp_path):
    """Else counts or annotation would change on the way through a file."""
    small.write_h5ad(tmp_path / "small.h5ad")
    for path in (tmp_path / "small.h5ad", str(tmp_path / "small.h5ad")):
        adata = read_counts(path)
        np.testing.assert_array_equal(adata.X.toarray(), small.X.toarray())
        assert list(adata.obs["group"]) == list(small.obs["group"])
        assert list(adata.var_names) == list(small.var_names)


def test_the_input_is_left_alone(small):
    """Else changing the result would change the user's own object."""
    small.obsm["X_pca"], small.uns["made"] = np.zeros((53, 2)), {"by": ["me"]}
    before = small.copy()
    adata = read_counts(small)
    adata.X.data[:] = 0
    adata.obs["new"], adata.uns["new"], adata.obsm["new"] = 1, 1, np.zeros((53, 1))
    adata.obsm["X_pca"][:] = 1
    adata.uns["made"]["by"].append("you")
    adata.obs_names = adata.obs_names + "!"
    np.testing.assert_array_equal(small.X.toarray(), before.X.toarray())
    pd.testing.assert_frame_equal(small.obs, before.obs)
    assert small.uns == {"made": {"by": ["me"]}}
    assert list(small.obsm) == ["X_pca"]
    assert not small.obsm["X_pca"].any()


def test_some_cells_and_genes(small):
    """Else a subset would bring the annotation of other cells, or stay tied to the whole."""
    small.obsm["X_pca"] = np.arange(106.0).reshape(53, 2)
    adata = read_counts(small[[7, 3], 2:9])
    assert not adata.is_view
    assert list(adata.obs_names) == ["cell-7", "cell-3"]
    np.testing.assert_array_equal(adata.X.toarray(), small.X.toarray()[[7, 3], 2:9])
    np.testing.assert_array_equal(adata.obsm["X_pca"], [[14, 15], [6, 7]])


def test_a_layer(small, tmp_path):
    """Else X would be read although the counts are in a layer."""
    small.layers["counts"] = small.X.copy()
    small.X = small.X * 0.5
    small.write_h5ad(tmp_path / "small.h5ad")
    for source in (small, tmp_path / "small.h5ad"):
        adata = read_counts(source, layer="counts")
        np.testing.assert_array_equal(adata.X.toarray(), small.layers["counts"].toarray())
        assert not adata.layers


def test_a_file_of_fractions(small, tmp_path):
    """Else a file of normalised values would be taken for counts."""
    small.X = small.X * 0.5
    small.write_h5ad(tmp_path / "half.h5ad")
    assert "cell 'cell-0' (row 0)" in refusal(tmp_path / "half.h5ad")


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_names_that_occur_twice(small, tmp_path):
    """Else adata[:, gene] would give two columns later on; no cell or gene may be lost for it."""
    small.obs_names = ["a", "b", "a", *small.obs_names[3:]]
    small.var_names = ["LYZ", "LYZ", "LYZ", *small.var_names[3:]]
    small.write_h5ad(tmp_path / "twins.h5ad")
    for source in (small, tmp_path / "twins.h5ad"):
        adata = read_counts(source)
        assert list(adata.obs_names[:4]) == ["a", "b", "a-1", "cell-3"]
        assert list(adata.var_names[:4]) == ["LYZ", "LYZ-1", "LYZ-2", "GENE3"]
        np.testing.assert_array_equal(adata.X.toarray(), small.X.toarray())
        assert list(adata.obs["group"]) == list(small.obs["group"])
    assert list(small.obs_names[:3]) == ["a", "b", "a"]


def test_a_file_opened_in_backed_mode(small, tmp_path):
    """Else the copy would need the file to stay open."""
    small.write_h5ad(tmp_path / "small.h5ad")
    opened = anndata.read_h5ad(tmp_path / "small.h5ad", backed="r")
    adata = read_counts(opened)
    opened.file.close()
    assert not adata.isbacked
    np.testing.assert_array_equal(adata.X.toarray(), small.X.toarray())


# ---------------------------------------------------------------- 10x Genomics' .h5


def write_10x_h5(path, *, legacy=False, dtype="int32", kinds=None):
    """What Cell Ranger writes: genes × cells, by column; before version 3 in one group a genome."""
    by_cell = sparse.csr_matrix(COUNTS)
    names = {"id": [f"ENSG{i}" for i in range(3)], "name": TWINS}
    with h5py.File(path, "w") as file:
        group = file.create_group("hg19" if legacy else "matrix")
        group["data"] = by_cell.data.astype(dtype)
        group["indices"], group["indptr"] = by_cell.indices, by_cell.indptr
        group["shape"], group["barcodes"] = COUNTS.T.shape, np.array(CELLS, dtype="S")
        if legacy:
            group["genes"], group["gene_names"] = (np.array(n, dtype="S") for n in names.values())
        else:
            names["feature_type"] = kinds or ["Gene Expression"] * 3
            names["genome"] = ["hg19"] * 3
            for name, values in names.items():
                group[f"features/{name}"] = np.array(values, dtype="S")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", ["filtered.h5", "filtered.H5", "misnamed.h5ad"])
def test_10x_h5(tmp_path, legacy, dtype, name):
    """Else the commonest file of all could not be read, or its genes of one symbol would merge."""
    write_10x_h5(tmp_path / name, legacy=legacy, dtype=dtype)
    adata = read_counts(tmp_path / name)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == ["LYZ", "NKG7", "LYZ-1"]
    assert list(adata.var["gene_ids"]) == ["ENSG0", "ENSG1", "ENSG2"]


def test_10x_h5_with_antibodies(tmp_path):
    """Else the counts of antibodies, a thousand times higher, would be modelled as genes."""
    kinds = ["Gene Expression", "Antibody Capture", "Gene Expression"]
    write_10x_h5(tmp_path / "cite.h5", kinds=kinds)
    with pytest.raises(CountsError, match=r"'AAAC-1' \(row 1\)"):  # it has antibodies only
        read_counts(tmp_path / "cite.h5")


def test_an_anndata_file_with_the_other_ending(small, tmp_path):
    """Else a file that is fine would be refused for its name."""
    small.write_h5ad(tmp_path / "small.h5")
    np.testing.assert_array_equal(read_counts(tmp_path / "small.h5").X.toarray(), small.X.toarray())


# ---------------------------------------------------------------- 10x Genomics' folders


def write_part(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_10x_folder(folder, *, genes="features.tsv.gz", gz=".gz", kinds=None, counts=COUNTS):
    """What Cell Ranger writes: a matrix of genes × cells, and their names."""
    folder.mkdir()
    scipy_io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(counts.T), field="integer")
    if gz:
        write_part(folder / "matrix.mtx.gz", (folder / "matrix.mtx").read_bytes())
        (folder / "matrix.mtx").unlink()
    rows = [[f"ENSG{i}", name] for i, name in enumerate(TWINS)]
    if genes.startswith("features"):
        kinds = kinds or ["Gene Expression"] * 3
        rows = [[*row, kind] for row, kind in zip(rows, kinds, strict=True)]
    write_part(folder / genes, "".join("\t".join(row) + "\n" for row in rows).encode())
    write_part(folder / f"barcodes.tsv{gz}", "".join(f"{cell}\n" for cell in CELLS).encode())
    return folder


@pytest.mark.parametrize("genes", ["features.tsv.gz", "features.tsv", "genes.tsv", "genes.tsv.gz"])
@pytest.mark.parametrize("gz", ["", ".gz"])
def test_10x_folder(tmp_path, genes, gz):
    """Else one version of Cell Ranger, or a folder that someone unpacked, could not be read."""
    adata = read_counts(write_10x_folder(tmp_path / "hg19", genes=genes, gz=gz))
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == ["LYZ", "NKG7", "LYZ-1"]
    assert list(adata.var["gene_ids"]) == ["ENSG0", "ENSG1", "ENSG2"]
    adata.write_h5ad(tmp_path / "again.h5ad")


def test_10x_folder_with_antibodies(tmp_path):
    """Else the counts of antibodies would be modelled as genes."""
    kinds = ["Gene Expression", "Antibody Capture", "Gene Expression"]
    counts = COUNTS + 1
    adata = read_counts(write_10x_folder(tmp_path / "cite", kinds=kinds, counts=counts))
    np.testing.assert_array_equal(adata.X.toarray(), counts[:, [0, 2]])


def test_genes_and_cells_with_odd_names(tmp_path):
    """Else pandas would read numbers, missing values and quotations."""
    folder = write_10x_folder(tmp_path / "odd")
    write_part(folder / "features.tsv.gz", b'NA\nnan\n"5\n')  # one column is enough
    write_part(folder / "barcodes.tsv.gz", b"007\n008\n010\n1e3\n")
    adata = read_counts(folder)
    assert list(adata.var_names) == ["NA", "nan", '"5']
    assert list(adata.obs_names) == ["007", "008", "010", "1e3"]


def test_too_large_a_count_in_a_10x_folder(tmp_path):
    """Else reading would round it to one that passes."""
    counts = COUNTS.copy()
    counts[2, 1] = 2**24 + 1
    message = refusal(write_10x_folder(tmp_path / "large", counts=counts))
    assert "cell 'AAAC-2' (row 2), gene 'NKG7' (column 1) is 16777217, too many" in message


@pytest.mark.parametrize("missing", ["matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"])
def test_a_folder_that_lacks_a_part(tmp_path, missing):
    """Else the message would leave open which of three files is not there."""
    folder = write_10x_folder(tmp_path / "hg19")
    (folder / missing).unlink()
    message = refusal(folder)
    assert str(folder) in message
    assert f"has no {missing.removesuffix('.gz')}" in message
    assert "it holds: 'barcodes" in message or missing.startswith("barcodes")


def test_an_empty_folder(tmp_path):
    """Else the message would be one about a file that nobody named."""
    message = refusal(tmp_path)
    assert message.startswith(f"The folder {str(tmp_path)!r} has no matrix.mtx")
    assert "it holds: nothing" in message
    assert "matrix.mtx, features.tsv or genes.tsv, and barcodes.tsv" in message


def test_parts_that_do_not_belong_together(tmp_path):
    """Else genes and counts would be shifted against each other."""
    folder = write_10x_folder(tmp_path / "hg19")
    write_part(folder / "barcodes.tsv.gz", b"one\ntwo\n")
    assert "3 genes × 4 cells, but 3 genes and 2 cells are named" in refusal(folder)


# ---------------------------------------------------------------- what can't be read


def test_a_missing_file_is_named(tmp_path):
    """Else the message would be one of the HDF5 library's."""
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere\.h5ad"):
        read_counts(tmp_path / "nowhere.h5ad")


@pytest.mark.parametrize("name", ["counts.csv", "counts.loom", "counts", "matrix.mtx.gz"])
def test_another_kind_of_file(tmp_path, name):
    """Else a table would be opened as HDF5, whose message is no help."""
    (tmp_path / name).write_text("gene,cell\n")
    message = refusal(tmp_path / name)
    assert name in message
    assert "not an .h5ad file, a 10x .h5 file, or a 10x folder" in message
    assert ("the folder that it lies in" in message) == (name == "matrix.mtx.gz")


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """Every byte after the first eighth is another one: the signature stays, the rest is lost."""
    eighth = len(content) // 8
    return content[:eighth] + bytes(255 - byte for byte in content[eighth:])


def emptied(_):
    return b""


def replaced(_):
    return b"<html>404</html>"


@pytest.mark.parametrize("damage", [cut, flipped, emptied, replaced])
@pytest.mark.parametrize("name", ["small.h5ad", "tenx.h5"])
def test_a_damaged_file(small, tmp_path, name, damage):
    """Else a download that broke off would end in fifty lines of h5py."""
    path = tmp_path / name
    small.write_h5ad(path) if name == "small.h5ad" else write_10x_h5(path)
    path.write_bytes(damage(path.read_bytes()))
    message = refusal(path)
    assert str(path) in message
    assert "could not be read" in message
    assert "Copy or download it again" in message


@pytest.mark.parametrize("damage", [cut, flipped, emptied, replaced])
@pytest.mark.parametrize("part", ["matrix.mtx.gz", "matrix.mtx", "features.tsv.gz"])
def test_a_damaged_10x_folder(tmp_path, part, damage):
    """Else half a matrix would be read, or zlib would speak."""
    folder = write_10x_folder(tmp_path / "hg19", gz="" if part == "matrix.mtx" else ".gz")
    (folder / part).write_bytes(damage((folder / part).read_bytes()))
    assert str(folder) in refusal(folder)


def test_another_hdf5_file(tmp_path):
    """Else any file of the format would be taken for an AnnData without X."""
    for name in ("other.h5", "other.h5ad"):
        with h5py.File(tmp_path / name, "w") as file:
            file["weights"] = [1.0, 2.0]
        assert f"{name}' could not be read" in refusal(tmp_path / name)


def test_positions_outside_the_matrix_in_a_file(small, tmp_path):
    """Else a damaged file would make scipy write over other memory."""
    small.write_h5ad(tmp_path / "small.h5ad")
    with h5py.File(tmp_path / "small.h5ad", "r+") as file:
        file["X/indices"][5] = 10**6
    assert refusal(tmp_path / "small.h5ad").startswith("X is damaged")


def test_no_right_to_read(small, tmp_path, monkeypatch):
    """Else the user would be sent to download a file again that is fine."""

    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    small.write_h5ad(tmp_path / "small.h5ad")
    monkeypatch.setattr(anndata, "read_h5ad", forbidden)
    with pytest.raises(PermissionError, match="Permission denied"):
        read_counts(tmp_path / "small.h5ad")


def test_a_source_without_x(tmp_path):
    """Else a file with nothing but annotation would fail in scipy."""
    AnnData(obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=["a"])).write_h5ad(
        tmp_path / "bare.h5ad"
    )
    assert "Name the layer" in refusal(tmp_path / "bare.h5ad")
