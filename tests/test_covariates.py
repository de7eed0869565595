"""What a model is told of each cell: by name, whatever the column looks like."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from nbvae import Covariates

DONORS = ["b", "a", "c", "a", "b"]


def codes(covariates, adata):
    """The column of each cell's one."""
    design = covariates.design(adata)
    assert ((design == 0) | (design == 1)).all() and (design.sum(axis=1) == 1).all()
    return design.argmax(axis=1).tolist()


def cells_of(values, names=None):
    """One gene, and a cell for each value of obs["donor"]."""
    names = names or [f"AAAC-{i}" for i in range(len(values))]
    obs = pd.DataFrame({"donor": values, "site": "x"}, index=names)
    return AnnData(X=np.ones((len(values), 1), dtype=np.float32), obs=obs)


def test_levels_are_sorted_and_columns_are_their_places():
    """Else the column of a level would depend on which cell happens to come first."""
    adata = cells_of(DONORS)
    covariates = Covariates.of(adata, "donor")
    assert covariates == ("donor", ("a", "b", "c"))
    design = covariates.design(adata)
    assert design.dtype == np.float32
    assert design.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert covariates.n_columns == 3


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(DONORS),
        pd.Categorical(DONORS, categories=["c", "b", "a"]),
        pd.Categorical(DONORS, categories=["z", "c", "a", "b", "unused"]),
        pd.array(DONORS, dtype="string"),
    ],
)
def test_every_kind_of_column_gives_the_same_design(values):
    """Else pandas' own codes, which follow the categories' order, would reach the decoder."""
    adata = cells_of(values)
    assert Covariates.of(adata, "donor") == ("donor", ("a", "b", "c"))
    assert codes(Covariates.of(adata, "donor"), adata) == [1, 0, 2, 0, 1]


def test_a_subset_keeps_the_columns():
    """Else cells of one donor alone would all be donor 0 to a module that was trained on three."""
    adata = cells_of(pd.Categorical(DONORS))
    covariates = Covariates.of(adata, "donor")
    subset = adata[[2, 0]].copy()  # AnnData drops the category "a" here
    assert list(subset.obs["donor"].cat.categories) == ["b", "c"]
    assert codes(covariates, subset) == [2, 1]
    assert codes(covariates, adata[:0]) == []


@pytest.mark.parametrize(
    ("values", "levels", "places"),
    [
        ([10, 2, 10], ("10", "2"), [0, 1, 0]),
        (pd.Categorical([10, 2, 10]), ("10", "2"), [0, 1, 0]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (["", "x", ""], ("", "x"), [0, 1, 0]),
        (["only"] * 3, ("only",), [0, 0, 0]),
    ],
)
def test_values_become_strings(values, levels, places):
    """Else numbers would be codes already, or levels could not be compared with each other."""
    adata = cells_of(values)
    covariates = Covariates.of(adata, "donor")
    assert covariates.levels == levels
    assert all(type(level) is str for level in covariates.levels)
    assert codes(covariates, adata) == places


def test_nothing_is_changed():
    """Else asking for covariates would rewrite the user's annotation."""
    adata = cells_of(pd.Categorical([10, 2, 10], categories=[10, 2, 7]))
    before = adata.obs.copy()
    Covariates.of(adata, "donor").design(adata)
    pd.testing.assert_frame_equal(adata.obs, before)


def test_a_missing_column_lists_those_that_exist():
    """Else a slip in the column's name would send the user to the documentation."""
    with pytest.raises(KeyError, match=r"no column 'batch' in obs.* 'donor', 'site'"):
        Covariates.of(cells_of(DONORS), "batch")
    with pytest.raises(KeyError, match=r"no column 'batch' in obs; the columns are: none"):
        Covariates.of(AnnData(X=np.ones((2, 1))), "batch")
    with pytest.raises(KeyError, match="no column 'batch'"):
        Covariates("batch", ("a", "b")).design(cells_of(DONORS))


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", None, np.nan],
        pd.Categorical(["a", "b", None, None]),
        [1.0, 2.0, np.nan, 1.0],
        pd.array(["a", "b", pd.NA, "a"], dtype="string"),
    ],
)
def test_a_cell_without_a_value_is_named(values):
    """Else "nan" would become a level of its own."""
    adata = cells_of(values)
    for ask in (
        lambda: Covariates.of(adata, "donor"),
        lambda: Covariates("donor", ("a",)).design(adata),
    ):
        with pytest.raises(ValueError, match=r"obs\['donor'\] has no value .*'AAAC-2' \(row 2\)"):
            ask()


def test_an_unknown_level_is_named_with_the_known_ones():
    """Else cells of a new donor would silently be decoded as some other donor's."""
    covariates = Covariates.of(cells_of(DONORS), "donor")
    with pytest.raises(ValueError, match="unknown") as caught:
        covariates.design(cells_of(["a", "d", "e", "d"], names=["s", "t", "u", "v"]))
    assert "'d' of cell 't' (row 1) in obs['donor']" in str(caught.value)
    assert "'a', 'b', 'c'" in str(caught.value)


def test_many_known_levels_are_not_all_listed():
    """Else the message would be longer than the screen."""
    covariates = Covariates("donor", tuple(f"d{i:02}" for i in range(50)))
    with pytest.raises(ValueError, match="'d07', …") as caught:
        covariates.design(cells_of(["z"]))
    assert "d08" not in str(caught.value)


def test_no_cells_have_no_levels():
    """Else a module would be built for no level at all."""
    with pytest.raises(ValueError, match="no cells"):
        Covariates.of(cells_of(DONORS)[:0], "donor")


def test_cells_as_if_of_another_level():
    """Else a counterfactual would be decoded as some other level."""
    covariates = Covariates("donor", ("a", "b", "c"))
    assert covariates.as_if("b", 2).tolist() == [[0, 1, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="'d' is none of the levels: 'a', 'b', 'c'"):
        covariates.as_if("d", 2)


def test_random_levels_all_occur_about_equally_often():
    """Else comparisons over batches would be made in one of them."""
    drawn = Covariates("donor", ("a", "b", "c")).random(3000)
    assert drawn.shape == (3000, 3) and (drawn.sum(dim=1) == 1).all()
    standard_error = (3000 * 1 / 3 * 2 / 3) ** 0.5
    assert (drawn.sum(dim=0) - 1000).abs().max() < 5 * standard_error
