"""What a model is told of each cell: by name, whatever the column looks like."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from nbvae import Covariates
from nbvae.data.covariate import Category, Number

DONORS = ["b", "a", "c", "a", "b"]


def donors(*levels):
    return Covariates((Category("donor", levels),))


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
    assert covariates == donors("a", "b", "c") and covariates.levels == ("a", "b", "c")
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
    assert Covariates.of(adata, "donor") == donors("a", "b", "c")
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
        Covariates((Category("batch", ("a", "b")),)).design(cells_of(DONORS))


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
        lambda: donors("a").design(adata),
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
    covariates = donors(*(f"d{i:02}" for i in range(50)))
    with pytest.raises(ValueError, match="'d07', …") as caught:
        covariates.design(cells_of(["z"]))
    assert "d08" not in str(caught.value)


def test_no_cells_have_no_levels():
    """Else a module would be built for no level at all."""
    with pytest.raises(ValueError, match="no cells"):
        Covariates.of(cells_of(DONORS)[:0], "donor")


def test_cells_as_if_of_another_level():
    """Else a counterfactual would be decoded as some other level."""
    covariates = donors("a", "b", "c")
    assert covariates.as_if("b", 2).tolist() == [[0, 1, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="'d' is none of the levels of 'donor': 'a', 'b', 'c'"):
        covariates.as_if("d", 2)


def test_random_levels_all_occur_about_equally_often():
    """Else comparisons over batches would be made in one of them."""
    drawn = donors("a", "b", "c").random(3000)
    assert drawn.shape == (3000, 3) and (drawn.sum(dim=1) == 1).all()
    standard_error = (3000 * 1 / 3 * 2 / 3) ** 0.5
    assert (drawn.sum(dim=0) - 1000).abs().max() < 5 * standard_error


# ---------------------------------------------------------------- several, and numbers


def three(n_cells=6):
    """Two categories and a number between them."""
    values = np.linspace(2, 8, n_cells)
    adata = cells_of((DONORS * n_cells)[:n_cells])
    adata.obs["run"] = (["old", "new"] * n_cells)[:n_cells]
    adata.obs["percent_mito"] = values
    return adata, values


def test_columns_stand_side_by_side_in_the_order_asked_for():
    """Else a weight would meet another column's numbers."""
    adata, values = three()
    covariates = Covariates.of(adata, "run", "percent_mito", "donor")
    design = covariates.design(adata)
    assert covariates.keys == ("run", "percent_mito", "donor")
    assert design.shape == (6, covariates.n_columns) == (6, 2 + 1 + 3)
    np.testing.assert_array_equal(design[:, 0], adata.obs["run"] == "new")
    np.testing.assert_allclose(design[:, 2], (values - 5) / np.std(values), rtol=1e-6)
    np.testing.assert_array_equal(design[:, 3], adata.obs["donor"] == "a")
    assert design.dtype == np.float32 and covariates.levels == ()


def test_numbers_are_standardised_by_the_cells_of_the_beginning():
    """Else the same cell would be another one in another table."""
    adata, values = three()
    covariates = Covariates.of(adata, "percent_mito")
    assert covariates == Covariates((Number("percent_mito", 5.0, float(values.std())),))
    np.testing.assert_array_equal(covariates.design(adata[3:]), covariates.design(adata)[3:])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"] * 30, Category),
        ([True, False] * 30, Category),
        ([3, 1] * 30, Category),
        (pd.Categorical([0.5, 1.5] * 30), Category),
        (pd.array([3, 1] * 30, dtype="Int64"), Category),
        ([f"d{i // 2}" for i in range(60)], Category),
        ([0.5, 1.5] * 30, Number),
        (np.arange(60.0), Number),
        (np.float32([0.5, 1.5] * 30), Number),
        (pd.array([0.5, 1.5] * 30, dtype="Float64"), Number),
    ],
    ids=str,
)
def test_the_type_says_what_a_column_is(values, kind):
    """Else donors 1, 2, 3 would lie on a line, or a percentage be a name."""
    [column] = Covariates.of(cells_of(values), "donor").columns
    assert type(column) is kind


def test_what_the_type_does_not_say_can_be_said():
    """Else an age of 20, 30 or 40 could not be a number."""
    adata = cells_of([20, 30, 40, 30])
    [age] = Covariates.of(adata, continuous=["donor"]).columns
    assert age == Number("donor", 30.0, float(np.std([20, 30, 40, 30])))
    assert Covariates.of(adata, continuous="donor").columns == (age,)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (range(300), "300 different numbers.*astype"),
        ([str(i / 7) for i in range(300)], "300 different numbers.*astype"),
        ([f"AAAC-{i}" for i in range(300)], "300 different values for 300 cells"),
        ([0.0, 1.0, 2.0] * 20, r"names or amounts.*astype\(int\).*continuous=\['donor'\]"),
        ([0.25] * 20, "is 0.25 in all cells"),
        ([0.5, np.inf, 1.5], r"must hold numbers, but cell 'AAAC-1' \(row 1\) has 'inf'"),
    ],
    ids=["counts", "text", "names of cells", "codes", "constant", "infinite"],
)
def test_a_column_that_looks_like_the_other_kind_is_refused(values, words):
    """Else 300 amounts would be 300 batches, or three batches would lie on a line."""
    with pytest.raises(ValueError, match=words):
        Covariates.of(cells_of(list(values)), "donor")


def test_text_is_no_number():
    with pytest.raises(
        ValueError, match=r"must hold numbers, but cell 'AAAC-1' \(row 1\) has 'many'"
    ):
        Covariates.of(cells_of(["1", "many", "3"]), continuous=["donor"])
    covariates = Covariates.of(cells_of([0.5, 1.5]), "donor")
    with pytest.raises(ValueError, match=r"'AAAC-0' \(row 0\) has 'much'"):
        covariates.design(cells_of(["much", "2"]))


@pytest.mark.parametrize("keys", [(), ("donor", "donor"), ("donor", "run", "donor")])
def test_each_column_once(keys):
    """Else two columns would say the same, and neither weight would mean anything."""
    with pytest.raises(ValueError, match="each once"):
        Covariates.of(three()[0], *keys)


def test_as_if_changes_what_it_names_and_keeps_the_rest():
    """Else a counterfactual donor would come with another run or another percentage."""
    adata, _ = three()
    covariates = Covariates.of(adata, "run", "percent_mito", "donor")
    own = torch.from_numpy(covariates.design(adata)).double()
    changed = covariates.as_if({"donor": "b"}, own)
    assert torch.equal(changed[:, :3], own[:, :3]) and changed.dtype == torch.float64
    assert changed[:, 3:].tolist() == [[0, 1, 0]] * 6
    changed = covariates.as_if({"percent_mito": 8.0, "run": "old"}, own)
    assert torch.equal(changed[:, 3:], own[:, 3:])
    assert changed[:, :2].tolist() == [[0, 1]] * 6
    torch.testing.assert_close(changed[:, 2], own[-1, 2].expand(6), rtol=1e-6, atol=0)
    everything = {"percent_mito": 8.0, "run": "old", "donor": "b"}
    assert torch.equal(covariates.as_if(everything, 6), covariates.as_if(everything, own).float())


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("b", "'b' of which covariate.*'run', 'percent_mito', 'donor'"),
        ({"donor": "z"}, "'z' is none of the levels of 'donor': 'a', 'b', 'c'"),
        ({"doner": "a"}, "no covariate 'doner', only 'run', 'percent_mito', 'donor'"),
        ({"percent_mito": np.nan}, "'percent_mito' must be a finite number, not nan"),
        ({"percent_mito": "high"}, "'percent_mito' is continuous: give it a number, not 'high'"),
        ({"percent_mito": [1, 2]}, "'percent_mito' is continuous"),
        (3, "not 3"),
    ],
    ids=str,
)
def test_as_if_what_is_not_there(way, words):
    adata, _ = three()
    covariates = Covariates.of(adata, "run", "percent_mito", "donor")
    with pytest.raises((TypeError, ValueError), match=words):
        covariates.as_if(way, torch.from_numpy(covariates.design(adata)))


def test_so_many_cells_need_all_that_they_are_told():
    """Else the run would be no level at all."""
    covariates = Covariates.of(three()[0], "run", "donor")
    with pytest.raises(ValueError, match="What of 'run'"):
        covariates.as_if({"donor": "a"}, 3)


def test_random_draws_each_category_by_itself_and_leaves_numbers_at_their_means():
    covariates = Covariates.of(three()[0], "run", "percent_mito", "donor")
    drawn = covariates.random(3000)
    assert (drawn[:, 2] == 0).all()
    for part, n in ((drawn[:, :2], 2), (drawn[:, 3:], 3)):
        assert (part.sum(dim=1) == 1).all()
        standard_error = (3000 * 1 / n * (1 - 1 / n)) ** 0.5
        assert (part.sum(dim=0) - 3000 / n).abs().max() < 5 * standard_error
    both = drawn[:, :1] * drawn[:, 3:4]
    assert abs(both.sum() - 3000 / 6) < 5 * (3000 * 5 / 36) ** 0.5


def test_what_is_stored_comes_back():
    """Else a file would hold other covariates than the module."""
    covariates = Covariates.of(three()[0], "run", "percent_mito", "donor")
    assert Covariates.from_stored(covariates.stored()) == covariates
