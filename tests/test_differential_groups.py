"""Who is compared: groups by mask, row, name or column; replicates; what is refused, and how."""

import math

import numpy as np
import pandas as pd
import pytest
from by_hand import by_hand, masks

from nbvae.differential.groups import chosen_groups
from nbvae.expression import differential_expression


def test_groups_may_be_masks_rows_names_or_labels(two_groups):
    """Else `adata.obs["side"] == "one"` would have to be converted first."""
    side, names = two_groups.obs["side"], two_groups.obs_names
    ways = [
        (*masks(two_groups), None),
        (side == "one", side == "two", None),
        (range(30), np.arange(30, 60), None),
        (list(names[:30]), names[30:], None),
        ("one", "two", "side"),
        (["one"], ["two"], "side"),
        ("one", None, "side"),
        (side == "one", None, None),
    ]
    for group1, group2, groupby in ways:
        rows1, rows2 = chosen_groups(two_groups, group1, group2, groupby)
        assert rows1.tolist() == list(range(30))
        assert rows2.tolist() == list(range(30, 60))


def test_labels_may_be_numbers_and_several(two_groups):
    """Else Leiden's clusters, or two of three kinds, could not be compared."""
    two_groups.obs["cluster"] = pd.Categorical(np.arange(60) % 4)
    rows1, rows2 = chosen_groups(two_groups, [0, "2"], 3, "cluster")
    assert set(rows1 % 4) == {0, 2} and set(rows2 % 4) == {3}


def test_cells_without_a_label_are_in_no_group(two_groups):
    """Else "the rest" would hold cells of which nobody said what they are."""
    two_groups.obs.loc["cell-59", "side"] = None
    assert 59 not in chosen_groups(two_groups, "one", None, "side").second


def test_the_same_table_by_mask_and_by_label(two_groups):
    """Else the way in which a group is named would change the result."""
    module = by_hand(0.5)
    pd.testing.assert_frame_equal(
        differential_expression(module, two_groups, "one", groupby="side", n_samples=60),
        differential_expression(module, two_groups, *masks(two_groups), n_samples=60),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one, two: (one & False, two), "group1 is empty"),
        (lambda one, two: (one, two & False), "group2 is empty"),
        (lambda one, two: (one, one | two), "overlap: 30 cells are in both"),
        (lambda one, two: (one[:-1], two), r"group1 must be a mask.* 60 cells.* has 59 entries"),
        (lambda one, two: (one, two[:, None]), r"group2 must be a mask.*shape \(60, 1\)"),
        (lambda one, two: (one.astype(float), two), r"group1 must be a mask.*float64"),
        (lambda one, two: ("one", two), r"'one' names no cells.*groupby='side'"),
        (lambda one, two: (None, two), "group1=None names no cells"),
        (lambda one, two: (one | two, None), "group1 has all cells"),
        (lambda one, two: ([7], two), r"group1 has one cell, cell 'cell-7' .row 7..*rule='pairs'"),
        (lambda one, two: (one, "cell-40"), r"group2 has one cell, cell 'cell-40'"),
    ],
)
def test_wrong_groups_are_refused_in_words(two_groups, change, message):
    """Else row numbers would be read as a mask, or a cell be compared with itself."""
    with pytest.raises(ValueError, match=message):
        differential_expression(by_hand(1.0), two_groups, *change(*masks(two_groups)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group1": "three", "groupby": "side"}, r"'three' is not in obs\['side'\].*'one', 'two'"),
        ({"group1": "one", "groupby": "sides"}, r"no column 'sides' in obs.*'donor', 'side'"),
        ({"group1": ["cell-1", "cell-99"]}, "these cells are not there: 'cell-99'"),
        ({"group1": range(30), "replicates": "patient"}, "no column 'patient'"),
    ],
)
def test_names_that_are_not_there(two_groups, arguments, message):
    """Else a slip of the pen would compare other cells."""
    with pytest.raises(KeyError, match=message):
        differential_expression(by_hand(1.0), two_groups, **arguments)


def test_one_cell_may_be_compared_in_pairs(two_groups):
    """Else a single cell could be asked nothing."""
    table = differential_expression(by_hand(0.5), two_groups, [7], rule="pairs", n_samples=50)
    assert len(table) == 5


def test_replicates_need_two_in_each_group(two_groups):
    """Else the spread between donors would be read off one donor."""
    one, two = masks(two_groups)
    two_groups.obs["donor"] = ["p", "q"] * 15 + ["r"] * 30
    with pytest.raises(ValueError, match=r"all cells of group2 are of 'r'.*p speaks of cells"):
        differential_expression(by_hand(1.0), two_groups, one, two, replicates="donor")
    two_groups.obs["donor"] = ["p", "q"] * 15 + ["r", None] * 15
    with pytest.raises(ValueError, match=r"no value for cell 'cell-31'"):
        differential_expression(by_hand(1.0), two_groups, one, two, replicates="donor")
    with pytest.raises(ValueError, match="rule='pairs'"):
        differential_expression(
            by_hand(1.0), two_groups, one, two, replicates="donor", rule="pairs"
        )


def test_each_donor_counts_alike(two_groups):
    """Else the donor with most cells would be the group."""
    one, two = masks(two_groups)
    two_groups.obs["donor"] = ["p"] * 28 + ["q"] * 2 + ["r", "s"] * 15
    two_groups.X[28:30, :2] = two_groups.X[28:30, 1::-1]  # donor q lies at −1
    module = by_hand(1e-9)
    by_donor = differential_expression(module, two_groups, one, two, replicates="donor")
    p, q = (
        differential_expression(module, two_groups, rows, two).loc["C", "scale1"]
        for rows in (range(28), [28, 29])
    )
    assert by_donor.loc["C", "scale1"] == pytest.approx((p + q) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ({"delta": -0.1}, "delta must be at least 0"),
        ({"delta": math.nan}, "delta must be at least 0"),
        ({"fdr": 1.5}, "fdr must be between 0 and 1"),
        ({"fdr": -0.1}, "fdr must be between 0 and 1"),
        ({"pseudocount": 0.0}, "pseudocount must be above 0"),
        ({"n_samples": 0}, "n_samples must be a whole number of at least 1"),
        ({"rule": "cells"}, "Unknown rule 'cells'. Use one of 'groups', 'pairs'"),
        ({"covariates": "p"}, "Unknown covariates 'p'. Use one of 'own', 'all'"),
    ],
)
def test_what_is_out_of_range_is_refused(two_groups, number, message):
    """Else every gene, or none, would be called without a word."""
    with pytest.raises(ValueError, match=message):
        differential_expression(by_hand(1.0), two_groups, *masks(two_groups), **number)
