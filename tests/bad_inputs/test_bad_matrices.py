"""Tables in memory that are counts after all, or are not, and are called by their name."""

import warnings

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from written import COUNTS, table

from nbvae import CountsError, count_matrix, datasets

FORMS = [np.array, sparse.csr_matrix, sparse.csc_matrix]


@pytest.fixture(scope="module")
def cells():
    """Counts of 60 cells × 80 genes that differ in depth."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(80, 0.3))
    depth = rng.lognormal(6, 0.5, size=(60, 1))
    return rng.poisson(depth * shares) + (np.arange(80) == 0)


def shares_of(cells, total=1.0):
    return total * cells / cells.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------- nearly whole


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3.0000000000000004, 3),
        (2.9999999999999996, 3),
        (3.00005, 3),
        (2.99995, 3),
        (12_345.02, 12_345),
        (0.00005, 0),
        (-0.00005, 0),
    ],
)
def test_what_is_nearly_whole_is_a_count(value, count, form):
    """Else counts that went through a logarithm and back would be refused."""
    counts = COUNTS.astype("float64")
    counts[2, 1] = value
    adata = table(form(counts))
    with pytest.warns(UserWarning, match=r"1 values are not quite whole.*'AAAC-2'.*'NKG7'") as said:
        matrix = count_matrix(adata)
    assert f"is {value}"[:7] in str(said[0].message)
    expected = COUNTS.copy()
    expected[2, 1] = count
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.data.all()
    assert (form(counts) != adata.X).sum() == 0  # the input is as it was


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.0002, "3.0002"),
        (2.9998, "2.9998"),
        (1_000_000.5, "1000000.5"),
        (12_345.2, "12345.2"),
        (0.0002, "0.0002"),
        (40_000.2, "40000.2"),
    ],
)
def test_what_is_farther_from_whole_is_refused_with_the_digits_that_show_it(value, shown):
    """Else a message would say that 3 is not a whole number."""
    counts = COUNTS.astype("float64")
    counts[2, 1] = value
    with pytest.raises(CountsError) as caught:
        count_matrix(table(counts))
    assert f"is {shown}, not a whole number" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_logarithm_and_back_gives_the_counts(dtype):
    """Else the tolerance would be a guess: here are all counts up to 65,535, and large cells."""
    counts = np.arange(1, 2**16).reshape(5, -1)
    counts = np.concatenate([counts, counts[:, ::-1]])
    back = np.expm1(np.log1p(counts.astype(dtype)))
    adata = AnnData(back)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(count_matrix(adata).toarray(), counts)


def test_counts_after_normalisation_and_back(cells):
    """Else the commonest way back, from log-normalised values and totals, would be closed."""
    totals = cells.sum(axis=1, keepdims=True).astype("float32")
    logged = np.log1p(cells.astype("float32") / totals * np.float32(1e4))
    back = np.expm1(logged) * totals / np.float32(1e4)
    with pytest.warns(UserWarning, match="not quite whole"):
        np.testing.assert_array_equal(count_matrix(AnnData(back)).toarray(), cells)


def test_small_shares_do_not_become_nothing():
    """Else a table of tiny numbers would be rounded to one without counts."""
    with pytest.raises(CountsError, match="not a whole number"):
        count_matrix(AnnData(np.full((3, 20_000), 1 / 20_000)))


def test_counts_are_not_rounded_without_need(cells):
    """Else there would be a warning with every table of counts."""
    count_matrix(AnnData(cells.astype("float32")))


# ---------------------------------------------------------------- called by their name


def soup(cells):
    """Ambient counts taken away as SoupX does: in proportion to the soup, not below 0."""
    ambient = cells.sum(axis=0) / cells.sum()
    return (cells - 0.1 * cells.sum(axis=1, keepdims=True) * ambient).clip(0)


def decontaminated(cells):
    """Each count times the probability that it is the cell's own, as decontX gives it."""
    return cells * np.random.default_rng(1).beta(8, 2, size=cells.shape)


def expected_counts(cells):
    """Mostly whole numbers: reads that fit two genes are shared out."""
    rng = np.random.default_rng(1)
    return cells + np.where(rng.random(cells.shape) < 0.2, rng.random(cells.shape), 0)


NAMES = {
    "log-normalised": (lambda c: np.log1p(shares_of(c, 1e4)), "log-normalised values: expm1"),
    "log-normalised, some genes": (
        lambda c: np.log1p(shares_of(c, 1e4))[:, :40],
        "log-normalised values of some of the genes",
    ),
    "log2-normalised": (lambda c: np.log2(1 + shares_of(c, 1e4)), "log2-normalised"),
    "log10-normalised": (lambda c: np.log10(1 + shares_of(c, 1e4)), "log10-normalised"),
    "log1p of counts": (np.log1p, "adata.X = np.expm1(adata.X)"),
    "log2 of counts": (lambda c: np.log2(1 + c), "log2(1 + x) of counts"),
    "shares": (shares_of, "each row has the same sum: shares"),
    "per cent": (lambda c: shares_of(c, 100), "each row has the same sum: per cent"),
    "per 10,000": (lambda c: shares_of(c, 1e4), "normalised values: each row has the same sum"),
    "CPM": (lambda c: shares_of(c, 1e6), "a million: CPM or TPM"),
    "CPM, some genes": (lambda c: shares_of(c, 1e6)[:, :40], "each cell's are whole multiples"),
    "halves": (lambda c: c * 0.5, "all are whole multiples of 0.5"),
    "scaled": (lambda c: (c - c.mean(0)) / (c.std(0) + 1), "Scaled or batch-corrected"),
    "SoupX": (soup, "take away ambient RNA (SoupX, decontX, CellBender)"),
    "decontX": (decontaminated, "take away ambient RNA"),
    "RSEM": (expected_counts, "share reads out among genes"),
    "imputed": (lambda c: np.sqrt(c + 0.5), "normalised values or estimates"),
}


REASONS = (
    "expm1 of",
    "exp2(x) - 1 of",
    "10**x - 1 of",
    "values: each row",
    "values: each cell",
    "estimates: all",
    "ambient RNA",
    "Scaled",
    "normalised values or estimates.",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_tables_that_are_no_counts_are_called_by_their_name(name, form, cells):
    """Else a user would have to guess what was done to the table."""
    make, words = NAMES[name]
    with pytest.raises(CountsError) as caught:
        count_matrix(AnnData(form(make(cells))))
    assert words in str(caught.value)
    assert sum(reason in str(caught.value) for reason in REASONS) == 1


@pytest.mark.parametrize("form", FORMS)
def test_what_is_advised_for_corrected_counts_works(cells, form):
    """Else the way out would end in the next error."""
    adata = AnnData(form(soup(cells)))
    with pytest.raises(CountsError, match=r"adata\.X = np\.rint\(adata\.X\)"):
        count_matrix(adata)
    adata.X = np.rint(adata.X)
    np.testing.assert_array_equal(count_matrix(adata).toarray(), np.rint(soup(cells)))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_advised_for_logarithms_of_counts_works(cells, form):
    """Else the way out would end in the next error."""
    adata = AnnData(form(np.log1p(cells)))
    adata.X = np.expm1(adata.X)
    with pytest.warns(UserWarning, match="not quite whole"):
        np.testing.assert_array_equal(count_matrix(adata).toarray(), cells)


def test_a_table_of_nothing_but_ones_is_noticed(cells):
    """Else a table that tells only whether a gene was seen would pass for counts."""
    with pytest.warns(UserWarning, match="All .* values above 0 are 1"):
        datasets.read_counts(AnnData((cells > 0).astype("float32")))


def test_few_counts_may_all_be_one():
    """Else a small or shallow table would be suspected without reason."""
    shallow = sparse.random(3000, 3000, density=0.001, random_state=0, format="lil")
    shallow[:, 0] = 1
    shallow.data = np.array([[1.0] * len(row) for row in shallow.data], dtype=object)
    datasets.read_counts(AnnData(shallow.tocsr()))


# ---------------------------------------------------------------- empty cells


@pytest.mark.slow
@pytest.mark.parametrize("place", ["X", "a layer", "X beside a column n_counts"])
def test_what_is_advised_for_empty_cells_works_and_changes_nothing_else(cells, place, sc):
    """Else scanpy would look at another matrix, or write over the file's own n_counts."""
    cells = cells.astype("float32")
    cells[[3, 7]] = 0
    adata = AnnData(cells)
    layer = "umi" if place == "a layer" else None
    if layer:
        adata.X, adata.layers["umi"] = cells + 1, cells
    if place != "X":
        adata.obs["n_counts"] = 77
    with pytest.raises(CountsError, match="2 of 60 cells") as caught:
        count_matrix(adata, layer=layer)
    code = str(caught.value).partition("Remove them: ")[2].rstrip(".")
    names = {"adata": adata, "np": np, "sc": sc}
    exec(code, names)
    assert count_matrix(names["adata"], layer=layer).shape == (58, 80)
    assert place == "X" or set(names["adata"].obs["n_counts"]) == {77}


def test_barcodes_without_cells_are_called_so():
    """Else a user of Cell Ranger's raw table would be told of one empty cell."""
    barcodes = sparse.vstack([sparse.csr_matrix(COUNTS), sparse.csr_matrix((3000, 4))]).tocsr()
    with pytest.raises(CountsError, match="take filtered_feature_bc_matrix"):
        count_matrix(AnnData(barcodes))
