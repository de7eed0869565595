"""What is accepted as raw counts, what is refused and in which words."""

import numpy as np
import pytest
from anndata import AnnData
from four_cells import COUNTS, annotated, refusal
from scipy import sparse

from nbvae.data import counts as counts_module
from nbvae.data.counts import CountsError, count_matrix
from nbvae.data.datasets import read_counts


def with_entry(value):
    """The counts, with one entry replaced: cell AAAC-2, gene LYZ."""
    matrix = COUNTS.astype(np.float64)
    matrix[2, 1] = value
    return annotated(matrix)


# ---------------------------------------------------------------- accepted


def test_a_layer_is_taken_when_named():
    """Else the normalised X would be modelled instead of the counts in the layer."""
    adata = annotated(np.log1p(COUNTS))
    adata.layers["counts"] = COUNTS
    np.testing.assert_array_equal(count_matrix(adata, layer="counts").toarray(), COUNTS)


def test_a_layer_is_enough():
    """Else an AnnData that keeps its counts in a layer and has no X could not be used."""
    adata = AnnData(X=None, shape=COUNTS.shape, layers={"counts": COUNTS})
    np.testing.assert_array_equal(count_matrix(adata, layer="counts").toarray(), COUNTS)


def test_counts_that_need_no_change_are_not_copied():
    """Else a table that fits into memory once would have to fit twice."""
    adata = annotated(sparse.csr_matrix(COUNTS.astype(np.float32)))
    assert np.shares_memory(count_matrix(adata).data, adata.X.data)


def test_what_is_read_from_an_anndata_is_independent_of_it():
    adata = annotated(sparse.csr_matrix(COUNTS.astype(np.float32)))
    read_counts(adata).X.data[:] = 5
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)


@pytest.mark.parametrize("value", [np.nan, -1, 2.5, 2**24])
def test_a_wrong_value_is_found_in_any_piece(value, monkeypatch):
    monkeypatch.setattr(counts_module, "AT_ONCE", 2)
    complaint = refusal(with_entry(value))
    assert "cell 'AAAC-2'" in complaint and "gene 'LYZ'" in complaint


def test_a_view_of_some_cells():
    """Else a subset would bring the counts of other cells."""
    adata = annotated(sparse.csr_matrix(COUNTS))[[3, 0], :2]
    with pytest.raises(CountsError, match="AAAC-3"):  # the cell has no counts in these genes
        count_matrix(adata)
    adata = annotated(sparse.csr_matrix(COUNTS))[[3, 0], [0, 2]]
    np.testing.assert_array_equal(count_matrix(adata).toarray(), [[0, 4], [3, 1]])


def with_stored_zeros():
    """The counts with two zeros among the stored values, one of them alone in its column."""
    matrix = sparse.csr_matrix(COUNTS.astype(np.float32))
    matrix.data[[0, 3]] = 0
    return matrix


def test_stored_zeros_are_no_counts():
    """Else a stored zero would make an empty cell pass for one with counts."""
    matrix = count_matrix(annotated(with_stored_zeros()))
    assert (matrix.data > 0).all()
    alone = sparse.csr_matrix(([0.0, 5.0], ([0, 1], [0, 0])), shape=(2, 1))
    assert "AAAC-0" in refusal(annotated(alone))


@pytest.mark.parametrize("stored", [with_stored_zeros(), sparse.csr_matrix(COUNTS), COUNTS])
def test_the_input_is_not_changed(stored):
    """Else looking at the counts would rewrite the user's data."""
    adata = annotated(stored.copy())
    before = adata.copy()
    matrix = count_matrix(adata)
    matrix.data[:] = 99
    assert type(adata.X) is type(before.X)
    if sparse.issparse(stored):
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(adata.X, part), getattr(before.X, part))
    else:
        np.testing.assert_array_equal(adata.X, before.X)
    assert list(adata.layers) == list(before.layers)


# ---------------------------------------------------------------- refused

BAD_ENTRIES = [
    (-1.0, "is -1, negative"),
    (0.5, "is 0.5, not a whole number"),
    (np.nan, "is nan, not a finite number"),
    (np.inf, "is inf, not a finite number"),
    (-np.inf, "is -inf, not a finite number"),
]


@pytest.mark.parametrize(("value", "complaint"), BAD_ENTRIES)
@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix, sparse.csc_matrix])
def test_a_bad_entry_is_named_by_cell_and_gene(value, complaint, container):
    """Else a user would have to search a matrix of millions for the entry at fault."""
    adata = with_entry(value)
    adata.X = container(adata.X)
    message = refusal(adata)
    assert "cell 'AAAC-2' (row 2), gene 'LYZ' (column 1)" in message
    assert complaint in message
    assert "Pass the raw counts" in message


def test_a_matrix_of_nothing_but_infinities():
    """Else the search for the reason would itself fail on what it finds."""
    assert "not a finite number" in refusal(annotated(np.full((2, 3), np.inf)))


def test_a_bad_entry_in_the_first_cell_after_stored_zeros():
    """Else the row and column of the message would be counted before the zeros went."""
    matrix = with_stored_zeros()
    matrix.data[-1] = 0.5
    assert "cell 'AAAC-3' (row 3), gene 'NKG7' (column 2) is 0.5" in refusal(annotated(matrix))


def test_an_empty_cell_is_named_with_the_way_out():
    """Else a library of 0 would reach the model."""
    matrix = COUNTS.copy()
    matrix[[1, 3]] = 0
    message = refusal(annotated(matrix))
    assert "2 of 4 cells" in message
    assert "'AAAC-1' (row 1)" in message
    assert "sc.pp.filter_cells(adata, min_counts=1)" in message


@pytest.mark.parametrize(("shape", "words"), [((0, 3), "0 cells"), ((4, 0), "0 genes")])
def test_nothing_to_model(shape, words):
    """Else an overzealous filter would show up as an error deep inside training."""
    message = refusal(annotated(np.zeros(shape)))
    assert words in message
    assert "filtered out" in message


def test_no_matrix():
    """Else an AnnData without X would fail in scipy."""
    assert "layer=" in refusal(AnnData(shape=(4, 3)))


def test_a_missing_layer_lists_those_that_exist():
    """Else a slip in the layer's name would send the user to the documentation."""
    adata = annotated(COUNTS)
    with pytest.raises(KeyError, match=r"no layer 'count'; the layers are: none"):
        count_matrix(adata, layer="count")
    adata.layers["counts"] = COUNTS
    with pytest.raises(KeyError, match=r"no layer 'count'; the layers are: 'counts'"):
        count_matrix(adata, layer="count")


def test_many_layers_are_not_all_listed():
    """Else the message would be longer than the screen."""
    adata = annotated(COUNTS)
    for i in range(20):
        adata.layers[f"layer-{i}"] = COUNTS
    with pytest.raises(KeyError, match=r"'layer-7', …") as caught:
        count_matrix(adata, layer="count")
    assert "layer-8" not in str(caught.value)


# ---------------------------------------------------------------- the reason and the way out


@pytest.mark.slow
def test_log_normalised_values_are_recognised(sample, sc):
    """Else the commonest mistake, X after scanpy's usual steps, would get no name."""
    sc.pp.normalize_total(sample, target_sum=1e4)
    sc.pp.log1p(sample)
    assert "log-normalised" in refusal(sample)


@pytest.mark.slow
def test_normalised_values_are_recognised(sample, sc):
    """Else shares or counts per 10,000 would be called something else."""
    sc.pp.normalize_total(sample, target_sum=1e4)
    message = refusal(sample)
    assert "normalised values: each row has the same sum" in message
    assert "log-normalised" not in message


def test_other_fractions_are_not_called_normalised(sample):
    """Else the message would claim a reason that is not there."""
    sample.X = sample.X * 0.5
    message = refusal(sample)
    assert "normalised values or estimates" in message
    assert "same sum" not in message


def test_the_layer_with_counts_is_named():
    """Else the user would not learn that the counts are in the same object."""
    adata = annotated(COUNTS * 0.3)
    adata.layers["scaled"] = COUNTS - 0.5
    adata.layers["umi"] = COUNTS
    message = refusal(adata)
    assert "layer='umi'" in message
    assert "scaled" not in message
    np.testing.assert_array_equal(count_matrix(adata, layer="umi").toarray(), COUNTS)


def test_counts_in_raw_are_named():
    """Else the counts that scanpy puts aside in .raw would be overlooked."""
    adata = annotated(COUNTS.astype(float))
    adata.raw = adata.copy()
    adata.X = adata.X * 0.3
    assert "adata.raw.to_adata()" in refusal(adata)
    np.testing.assert_array_equal(count_matrix(adata.raw.to_adata()).toarray(), COUNTS)


def test_raw_without_counts_is_not_recommended():
    """Else the advice would lead to the same error again."""
    adata = annotated(COUNTS * 0.3)
    adata.raw = adata.copy()
    assert "raw.to_adata" not in refusal(adata)


def test_a_bad_layer_is_named():
    """Else the message would speak of X while the layer is at fault."""
    adata = annotated(COUNTS)
    adata.layers["scaled"] = COUNTS - 0.5
    message = refusal(adata, layer="scaled")
    assert message.startswith("layers['scaled'] does not hold raw counts")
    assert "X holds whole numbers" in message
