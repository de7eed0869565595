"""Which cells or genes are meant: whatever numpy and pandas users pass, or a refusal by name."""

import numpy as np
import pandas as pd
import pytest

from nbvae.data.indices import positions_of
from nbvae.evaluation import elbo
from nbvae.module.nbvae import NBVAE

NAMES = pd.Index(["a", "b", "c", "d", "e"])
MASK = np.array([False, True, False, True, False])


def positions(which, names=NAMES):
    return positions_of(which, names, what="cells", argument="indices")


@pytest.mark.parametrize(
    "which",
    [
        *(MASK, MASK.tolist(), pd.Series(MASK), pd.Series(MASK, index=NAMES), pd.array(MASK)),
        pd.Series(MASK[::-1], index=NAMES[::-1]),  # by name, not by place
        *([1, 3], (1, 3), np.array([1, 3]), np.array([1, 3], dtype=np.uint8), [-4, -2]),
        *(range(1, 4, 2), slice(1, None, 2), pd.Index([1, 3]), pd.Series([1, 3])),
        *(["b", "d"], np.array(["b", "d"]), pd.Index(["b", "d"]), pd.Series(["b", "d"])),
        pd.Categorical(["b", "d"]),
        *(pd.array(["b", "d"], dtype="string"), np.array(["b", "d"], dtype=object)),
    ],
    ids=lambda which: type(which).__name__,
)
def test_every_way_to_say_it_means_the_same_cells(which):
    """Else a mask would be read as the numbers 0 and 1: two cells, over and over."""
    found = positions(which)
    assert found.dtype == np.int64
    assert found.tolist() == [1, 3]


def test_order_and_repetition_are_kept():
    """Else results would not stand beside what was asked for."""
    assert positions(["d", "b", "d"]).tolist() == [3, 1, 3]
    assert positions([3, 1, 3]).tolist() == [3, 1, 3]
    assert positions(None).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("which", "error", "words"),
    [
        (MASK[:4], ValueError, "indices must be a mask.* 5 cells.*this mask has 4 entries"),
        (MASK[:, None], ValueError, r"has shape \(5, 1\)"),
        (3, ValueError, r"has shape \(\)"),
        ([1.0, 3.0], ValueError, "row numbers, or their names; it holds .* of type float64"),
        ([None, "a"], ValueError, "of type NoneType"),
        ([5], ValueError, "there are 5 cells, so none has the number 5"),
        ([0, -6], ValueError, "none has the number -6"),
        (["b", "x", "y", "x"], KeyError, "these cells are not there: 'x', 'y'"),
        ([], ValueError, "There are no cells: indices is empty"),
        (MASK & False, ValueError, "There are no cells"),
        (slice(5, 9), ValueError, "There are no cells"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(which, error, words):
    """Else it would be taken for something else, or fail in another library's words."""
    with pytest.raises(error, match=words):
        positions(which)


def test_a_name_that_occurs_twice_is_only_refused_when_it_is_asked_for():
    """Else one of two cells would be taken without a word, or one pair would spoil all others."""
    twice = pd.Index(["a", "b", "a", "c"])
    assert positions(["c", "b"], twice).tolist() == [3, 1]
    with pytest.raises(ValueError, match="occur twice: 'a'"):
        positions(["b", "a"], twice)


def test_a_mask_is_the_cells_that_it_marks(small):
    """Else, as once, 300 of 1,024 cells would give a third of the bound of their row numbers."""
    module = NBVAE(12, 2)
    mask = (small.obs["group"] == "b").to_numpy()
    expected = elbo(module, small, indices=np.flatnonzero(mask))
    assert elbo(module, small, indices=mask) == expected
    assert elbo(module, small, indices=small.obs_names[mask]) == expected
    assert elbo(module, small, indices=small.obs["group"] == "b") == expected
