"""Counts in every storage that occurs: number types, files on disk, odd and damaged matrices."""

import anndata
import numpy as np
import pytest
from four_cells import COUNTS, annotated, refusal
from scipy import sparse

from nbvae.data.counts import count_matrix
from nbvae.data.minibatches import CellTable

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SPARSE = [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array]


def by_rows(data, indices, indptr):
    """A CSR matrix of 4 cells × 3 genes, put together by hand, as odd as it may be."""
    matrix = sparse.csr_matrix((4, 3), dtype=np.asarray(data).dtype)
    matrix.data, matrix.indices, matrix.indptr = map(np.array, (data, indices, indptr))
    return matrix


# ---------------------------------------------------------------- number types


@pytest.mark.parametrize("container", [np.array, *SPARSE])
@pytest.mark.parametrize("dtype", [*INTEGERS, "float32", "float64"])
def test_every_number_type(container, dtype):
    """Else counts would have to come in one type, or come out changed."""
    matrix = count_matrix(annotated(container(COUNTS.astype(dtype))))
    assert isinstance(matrix, sparse.csr_matrix)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix.toarray(), COUNTS)


def test_half_precision():
    """Else counts in float16, which scipy's sparse matrices don't know, would be refused."""
    matrix = count_matrix(annotated(COUNTS.astype("float16")))
    np.testing.assert_array_equal(matrix.toarray(), COUNTS)


@pytest.mark.parametrize("container", [np.array, *SPARSE])
def test_whether_a_gene_was_seen(container):
    """Else True and False, counts of at most one, would be refused."""
    seen = np.array([[True, False, True], [False, True, False]])
    matrix = count_matrix(annotated(container(seen)))
    np.testing.assert_array_equal(matrix.toarray(), [[1, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize("dtype", ["complex64", "object", "datetime64[s]"])
def test_what_is_no_number(dtype):
    """Else the imaginary part would be dropped with a warning, or scipy would speak of itself."""
    adata = annotated(COUNTS.astype(float))
    adata.layers["odd"] = COUNTS.astype(dtype)
    assert f"layers['odd'] holds values of type {dtype}" in refusal(adata, layer="odd")


# ---------------------------------------------------------------- large counts


@pytest.mark.parametrize("dtype", ["int32", "uint64", "float32", "float64"])
def test_the_largest_count(dtype):
    """Else a count that float32 can hold would be refused."""
    counts = COUNTS.astype(dtype)
    counts[2, 1] = 16_777_215
    assert int(count_matrix(annotated(counts))[2, 1]) == 16_777_215


@pytest.mark.parametrize("container", [np.array, *SPARSE])
@pytest.mark.parametrize(
    ("dtype", "count"),
    [
        ("int32", 2**24),
        ("int32", 2**24 + 1),  # the first integer that float32 lacks
        ("float32", 2**24),  # may have been 2**24 + 1
        ("int64", 1_000_000_000),
        ("float64", 1e9),
        ("int64", 2**62),
        ("uint64", 2**64 - 1),
        ("float64", 1e300),
    ],
)
def test_a_count_that_float32_can_not_hold(dtype, count, container):
    """Else it would be rounded, or become infinite, without a word."""
    counts = COUNTS.astype(dtype)
    counts[2, 1] = count
    message = refusal(annotated(container(counts)))
    assert "cell 'AAAC-2' (row 2), gene 'LYZ' (column 1)" in message
    assert "too many: from 16,777,216 on" in message


def test_a_large_count_is_shown_in_full():
    """Else the message would show 1.67772e+07 for a number that differs in the last digit."""
    counts = COUNTS.astype("int64")
    counts[2, 1] = 16_777_217
    assert "is 16777217, too many" in refusal(annotated(counts))


def test_a_layer_of_too_large_counts_is_not_recommended():
    """Else the advice would lead to the next error."""
    adata = annotated(COUNTS * 0.3)
    adata.layers["many"] = COUNTS * 10**8
    adata.layers["none"] = COUNTS * 0
    adata.layers["words"] = COUNTS.astype(object)
    message = refusal(adata)
    for name in ("many", "none", "words"):
        assert name not in message


# ---------------------------------------------------------------- small and empty


@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("counts", [[[5]], [[0, 5, 0]], [[5], [1], [2]]])
def test_one_cell_or_one_gene(counts, container):
    """Else a matrix of one row or column would lose an axis."""
    matrix = count_matrix(annotated(container(np.array(counts))))
    np.testing.assert_array_equal(matrix.toarray(), counts)
    (minibatch,) = CellTable(matrix, None).minibatches(np.array([0]), 1)
    np.testing.assert_array_equal(minibatch.x.numpy(), counts[:1])


def test_one_cell_of_fractions():
    """Else the search for the reason would compare the only row with nothing."""
    assert "cell 'AAAC-0' (row 0), gene 'LYZ'" in refusal(annotated(np.array([[1.0, 0.5, 2.0]])))


def test_a_gene_without_counts_is_allowed():
    """Else a gene list of the user's own could not be kept when no cell expresses a gene."""
    counts = COUNTS.copy()
    counts[:, 0] = 0
    counts[1, 1] = 1
    np.testing.assert_array_equal(count_matrix(annotated(counts)).toarray(), counts)


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_names_that_occur_twice():
    """Else a message with a name alone would leave open which of the twins is meant."""
    adata = annotated(COUNTS.astype(float))
    adata.obs_names, adata.var_names = ["a", "b", "a", "c"], ["LYZ", "LYZ", "NKG7"]
    np.testing.assert_array_equal(count_matrix(adata).toarray(), COUNTS)
    adata.X[2, 1] = 0.5
    assert "cell 'a' (row 2), gene 'LYZ' (column 1) is 0.5" in refusal(adata)


# ---------------------------------------------------------------- odd and damaged sparse matrices


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_entries_stored_twice_are_added_up(dtype):
    """Else one of two parts of a count would be lost, or 200 + 100 would be 44 in 8 bits."""
    data = np.array([200, 1, 100, 3, 4, 5], dtype=dtype)
    stored = by_rows(data, [1, 2, 1, 0, 0, 2], [0, 3, 4, 5, 6])
    expected = [[0, 300, 1], [3, 0, 0], [4, 0, 0], [0, 0, 5]]
    adata = annotated(stored)
    matrix = count_matrix(adata)
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.has_canonical_format
    np.testing.assert_array_equal(adata.X.data, data)  # the input is as it was
    np.testing.assert_array_equal(adata.X.indices, [1, 2, 1, 0, 0, 2])


def test_entries_in_any_order_within_a_row():
    """Else the first offending gene would depend on how the file was written."""
    stored = by_rows([0.5, 0.25, 1.0, 1.0, 1.0], [2, 0, 1, 1, 1], [0, 2, 3, 4, 5])
    assert "cell 'AAAC-0' (row 0), gene 'CD3D' (column 0) is 0.25" in refusal(annotated(stored))


def test_parts_that_cancel_are_no_counts():
    """Else +1 and -1 at one position would make an empty cell pass for one with counts."""
    stored = by_rows([1, 1, 1, 1, -1], [0, 0, 0, 1, 1], [0, 1, 2, 3, 5])
    assert "'AAAC-3' (row 3)" in refusal(annotated(stored))


@pytest.mark.parametrize("duplicate", [False, True])
def test_nan_among_stored_zeros_and_twins(duplicate):
    """Else NaN would hide where zeros are dropped or twins are added up."""
    indices = [0, 1, 2, 2 if duplicate else 1, 0]
    stored = by_rows([2.0, 0.0, np.nan, 1.0, 1.0], indices, [0, 1, 2, 4, 5])
    stored.data[1] = 1.0
    stored.indices[1] = 1
    message = refusal(annotated(stored))
    assert "cell 'AAAC-2' (row 2), gene 'NKG7' (column 2) is nan" in message


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("position", [-1, 4, 10**6])
def test_positions_outside_the_matrix(container, position):
    """Else scipy would write over other memory, and the process would die or go astray."""
    stored = container(COUNTS)
    stored.indices[-1] = position
    message = refusal(annotated(stored))
    assert message.startswith("X is damaged")


# ---------------------------------------------------------------- files left on disk


@pytest.fixture
def backed(tmp_path):
    """Write an AnnData, and open it without reading the matrix."""
    opened = []

    def write_and_open(adata):
        adata.write_h5ad(tmp_path / f"{len(opened)}.h5ad")
        opened.append(anndata.read_h5ad(tmp_path / f"{len(opened)}.h5ad", backed="r"))
        return opened[-1]

    yield write_and_open
    for adata in opened:
        adata.file.close()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int64", "float32"])
@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix, sparse.csc_matrix])
def test_a_matrix_on_disk(backed, container, dtype):
    """Else a data set that is left on disk could not be read."""
    counts = COUNTS.astype(dtype)
    adata = annotated(container(counts))
    adata.layers["twice"] = container(counts.astype("int64") * 2)
    adata = backed(adata)
    assert adata.isbacked
    np.testing.assert_array_equal(count_matrix(adata).toarray(), counts)
    twice = count_matrix(adata, layer="twice")
    np.testing.assert_array_equal(twice.toarray(), 2 * counts.astype("int64"))


@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix, sparse.csc_matrix])
def test_some_cells_of_a_matrix_on_disk(backed, container):
    """Else a subset of a file would bring the counts of other cells."""
    adata = backed(annotated(container(COUNTS)))[[0, 2]]
    np.testing.assert_array_equal(count_matrix(adata).toarray(), COUNTS[[0, 2]])


@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix, sparse.csc_matrix])
def test_a_bad_entry_on_disk_is_named_with_the_place_of_the_counts(backed, container):
    """Else the advice would stop where a file begins."""
    adata = annotated(container(COUNTS.astype("float32")))
    adata.raw = adata.copy()
    adata.layers["log"] = np.log1p(COUNTS)
    adata.X = adata.X * np.float32(0.5)
    with_raw = backed(adata)
    message = refusal(with_raw)
    assert "cell 'AAAC-0' (row 0), gene 'CD3D' (column 0) is 1.5" in message
    assert "adata.raw.to_adata()" in message
    adata.X = container(COUNTS.astype("float32"))
    assert "X holds whole numbers" in refusal(backed(adata), layer="log")
