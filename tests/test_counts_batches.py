"""Which batch each cell is from: by name, whatever the column looks like."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from nbvae.counts import Batches

DONORS = ["b", "a", "c", "a", "b"]


def cells_of(values, names=None):
    """One gene, and a cell for each value of obs["donor"]."""
    names = names or [f"AAAC-{i}" for i in range(len(values))]
    obs = pd.DataFrame({"donor": values, "site": "x"}, index=names)
    return AnnData(X=np.ones((len(values), 1), dtype=np.float32), obs=obs)


def test_levels_are_sorted_and_codes_are_their_places():
    """Else the code of a batch would depend on which cell happens to come first."""
    adata = cells_of(DONORS)
    batches = Batches.of(adata, "donor")
    assert batches == ("donor", ("a", "b", "c"))
    codes = batches.codes(adata)
    assert codes.dtype == np.int64
    assert codes.tolist() == [1, 0, 2, 0, 1]


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(DONORS),
        pd.Categorical(DONORS, categories=["c", "b", "a"]),
        pd.Categorical(DONORS, categories=["z", "c", "a", "b", "unused"]),
        pd.array(DONORS, dtype="string"),
    ],
)
def test_every_kind_of_column_gives_the_same_codes(values):
    """Else pandas' own codes, which follow the categories' order, would reach the decoder."""
    adata = cells_of(values)
    assert Batches.of(adata, "donor") == ("donor", ("a", "b", "c"))
    assert Batches.of(adata, "donor").codes(adata).tolist() == [1, 0, 2, 0, 1]


def test_a_subset_keeps_the_codes():
    """Else cells of one donor alone would all be donor 0 to a module that was trained on three."""
    adata = cells_of(pd.Categorical(DONORS))
    batches = Batches.of(adata, "donor")
    subset = adata[[2, 0]].copy()  # AnnData drops the category "a" here
    assert list(subset.obs["donor"].cat.categories) == ["b", "c"]
    assert batches.codes(subset).tolist() == [2, 1]
    assert batches.codes(adata[:0]).tolist() == []


@pytest.mark.parametrize(
    ("values", "levels", "codes"),
    [
        ([10, 2, 10], ("10", "2"), [0, 1, 0]),
        (pd.Categorical([10, 2, 10]), ("10", "2"), [0, 1, 0]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (["", "x", ""], ("", "x"), [0, 1, 0]),
        (["only"] * 3, ("only",), [0, 0, 0]),
    ],
)
def test_values_become_strings(values, levels, codes):
    """Else numbers would be codes already, or levels could not be compared with each other."""
    adata = cells_of(values)
    batches = Batches.of(adata, "donor")
    assert batches.levels == levels
    assert all(type(level) is str for level in batches.levels)
    assert batches.codes(adata).tolist() == codes


def test_nothing_is_changed():
    """Else asking for batches would rewrite the user's annotation."""
    adata = cells_of(pd.Categorical([10, 2, 10], categories=[10, 2, 7]))
    before = adata.obs.copy()
    Batches.of(adata, "donor").codes(adata)
    pd.testing.assert_frame_equal(adata.obs, before)


def test_a_missing_column_lists_those_that_exist():
    """Else a slip in the column's name would send the user to the documentation."""
    with pytest.raises(KeyError, match=r"no column 'batch' in obs.* 'donor', 'site'"):
        Batches.of(cells_of(DONORS), "batch")
    with pytest.raises(KeyError, match=r"no column 'batch' in obs; the columns are: none"):
        Batches.of(AnnData(X=np.ones((2, 1))), "batch")
    with pytest.raises(KeyError, match="no column 'batch'"):
        Batches("batch", ("a", "b")).codes(cells_of(DONORS))


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", None, np.nan],
        pd.Categorical(["a", "b", None, None]),
        [1.0, 2.0, np.nan, 1.0],
        pd.array(["a", "b", pd.NA, "a"], dtype="string"),
    ],
)
def test_a_cell_without_a_batch_is_named(values):
    """Else "nan" would become a batch of its own."""
    adata = cells_of(values)
    for ask in (lambda: Batches.of(adata, "donor"), lambda: Batches("donor", ("a",)).codes(adata)):
        with pytest.raises(ValueError, match=r"obs\['donor'\] has no value .*'AAAC-2' \(row 2\)"):
            ask()


def test_an_unknown_batch_is_named_with_the_known_ones():
    """Else cells of a new donor would silently be decoded as some other donor's."""
    batches = Batches.of(cells_of(DONORS), "donor")
    with pytest.raises(ValueError, match="unknown") as caught:
        batches.codes(cells_of(["a", "d", "e", "d"], names=["s", "t", "u", "v"]))
    assert "'d' of cell 't' (row 1) in obs['donor']" in str(caught.value)
    assert "'a', 'b', 'c'" in str(caught.value)


def test_many_known_batches_are_not_all_listed():
    """Else the message would be longer than the screen."""
    batches = Batches("donor", tuple(f"d{i:02}" for i in range(50)))
    with pytest.raises(ValueError, match="'d07', …") as caught:
        batches.codes(cells_of(["z"]))
    assert "d08" not in str(caught.value)


def test_no_cells_have_no_batches():
    """Else a module would be built for no batch at all."""
    with pytest.raises(ValueError, match="no cells"):
        Batches.of(cells_of(DONORS)[:0], "donor")
