"""What holds for every count matrix, tried on many small ones that hypothesis makes up."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.extra.numpy import arrays
from scipy import sparse

from nbvae import CellTable, CountsError, Covariates, count_matrix

# Even without a database, hypothesis keeps notes: not in a folder .hypothesis/ of this project.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")
tried = settings(max_examples=60, derandomize=True, deadline=None, database=None)

FORMATS = [np.array, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array]
TYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
TYPES += ["float32", "float64"]


@st.composite
def count_tables(draw, *, largest=127):
    """Up to 7 cells × 5 genes, many zeros, no cell empty."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 5)))
    some = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, largest))
    table = draw(arrays(np.int64, shape, elements=some))
    seen = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    table[np.arange(shape[0]), seen] += table.sum(axis=1) == 0
    return table


def annotated(matrix):
    return AnnData(
        X=matrix,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(matrix.shape[0])]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(matrix.shape[1])]),
    )


def scattered(table, rng):
    """The same table as CSR with each count in two parts, stored zeros, and rows in disorder."""
    rows, columns = np.indices(table.shape).reshape(2, -1)
    first = rng.integers(0, table + 1)
    order = rng.permutation(2 * table.size)
    order = order[np.argsort(np.tile(rows, 2)[order], kind="stable")]
    parts = np.concatenate([first.ravel(), (table - first).ravel()])[order]
    indptr = np.arange(table.shape[0] + 1) * 2 * table.shape[1]
    return sparse.csr_matrix((parts, np.tile(columns, 2)[order], indptr), shape=table.shape)


# ---------------------------------------------------------------- what is read


@tried
@given(count_tables(), st.sampled_from(FORMATS), st.sampled_from(TYPES))
def test_the_storage_does_not_matter(table, form, dtype):
    """Else the same counts would be other counts in another file."""
    matrix = count_matrix(annotated(form(table.astype(dtype))))
    assert (type(matrix), matrix.dtype) == (sparse.csr_matrix, np.float32)
    assert matrix.nnz == np.count_nonzero(table)
    np.testing.assert_array_equal(matrix.toarray(), table)


@tried
@given(count_tables(largest=2**24 - 1), st.integers(0, 2**32 - 1), st.sampled_from(FORMATS[1:]))
def test_disorder_within_rows_does_not_matter(table, seed, form):
    """Else a file written by another program would give other counts, or change in memory."""
    stored = scattered(table, np.random.default_rng(seed))
    adata = annotated(form(stored))
    before = adata.X.copy()
    np.testing.assert_array_equal(count_matrix(adata).toarray(), table)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(adata.X, part), getattr(before, part))


BAD = [np.nan, np.inf, -np.inf, -1.0, -3.0, 0.5, 1e-3, 2.0**24, 1e9, 1e30]


@tried
@given(count_tables(), st.data(), st.sampled_from(FORMATS), st.sampled_from(BAD))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_bad_entry_is_found_wherever_it_is(dtype, table, data, form, bad):
    """Else a user would search a matrix of millions for it, in the wrong cell."""
    row = data.draw(st.integers(0, table.shape[0] - 1))
    column = data.draw(st.integers(0, table.shape[1] - 1))
    values = table.astype(dtype)
    values[row, column] = bad
    with pytest.raises(CountsError) as caught:
        count_matrix(annotated(form(values)))
    place = f"X does not hold raw counts: cell 'c{row}' (row {row}), gene 'g{column}' "
    assert str(caught.value).startswith(f"{place}(column {column}) is ")


# ---------------------------------------------------------------- what is walked through


@tried
@given(count_tables(), st.data(), st.integers(1, 9))
def test_minibatches_are_the_rows_in_the_order_asked_for(table, data, batch_size):
    """Else an epoch would not be one pass through the cells."""
    order = np.array(data.draw(st.permutations(range(len(table)))))
    cells = CellTable(count_matrix(annotated(table)), None)
    walked = [minibatch.x for minibatch in cells.minibatches(order, batch_size)]
    assert {len(x) for x in walked[:-1]} <= {batch_size}
    assert {x.dtype for x in walked} == {torch.float32}
    np.testing.assert_array_equal(torch.cat(walked).numpy(), table[order])


# ---------------------------------------------------------------- which batch


@tried
@given(st.lists(st.sampled_from(["a", "B", "10", "2", ""]), min_size=1, max_size=8), st.data())
def test_a_cell_keeps_its_column(names, data):
    """Else a subset, or categories in another order, would send cells to another donor's column."""
    categories = data.draw(st.permutations(["a", "B", "10", "2", "", "unused"]))
    obs = pd.DataFrame({"donor": pd.Categorical(names, categories=categories)})
    adata = AnnData(X=np.ones((len(names), 1)), obs=obs.set_axis(map(str, obs.index)))
    covariates = Covariates.of(adata, "donor")
    assert list(covariates.levels) == sorted(set(names))
    design = covariates.design(adata)
    assert [covariates.levels[column] for column in design.argmax(axis=1)] == names
    some = data.draw(st.lists(st.sampled_from(range(len(names))), unique=True))
    np.testing.assert_array_equal(covariates.design(adata[some].copy()), design[some])
