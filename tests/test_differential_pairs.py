"""The pairwise rule of differential expression, against modules with known answers."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from by_hand import by_hand, masks, shares_at, with_donors

from nbvae.expression import differential_expression

compared_in_pairs = partial(differential_expression, rule="pairs")


def test_a_known_difference_is_found_with_its_size(two_groups):
    """Else the LFC has another sign, base or pseudocount than is said."""
    table = compared_in_pairs(
        by_hand(1e-9), two_groups, *masks(two_groups), pseudocount=1e-4, n_samples=700
    )
    one, two = shares_at(np.array([1.0, -1.0]))
    expected = np.log2(one + 1e-4) - np.log2(two + 1e-4)
    by_name = table.loc[list("ABCDE")]
    np.testing.assert_allclose(by_name["lfc_mean"], expected, rtol=1e-4)
    np.testing.assert_allclose(by_name["scale1"], one, rtol=1e-5)
    np.testing.assert_allclose(by_name["scale2"], two, rtol=1e-5)
    np.testing.assert_allclose(by_name["lfc_std"], 0, atol=1e-5)
    np.testing.assert_array_equal(by_name["proba_de"], abs(expected) > 0.25)


def test_groups_that_change_places_change_the_sign(two_groups):
    """Else up and down would depend on more than the order of the groups."""
    module, (one, two) = by_hand(1e-9), masks(two_groups)
    there = compared_in_pairs(module, two_groups, one, two, n_samples=50)
    back = compared_in_pairs(module, two_groups, two, one, n_samples=50)
    np.testing.assert_allclose(there["lfc_mean"], -back.loc[there.index, "lfc_mean"], rtol=1e-5)
    np.testing.assert_allclose(there["scale1"], back.loc[there.index, "scale2"], rtol=1e-5)


def test_probability_is_the_integral_over_both_posteriors(two_groups):
    """Else z is not drawn, or both cells of a pair share a draw. Two integrals by the grid."""
    sd, delta, c = 0.7, 0.4, 1e-3
    table = compared_in_pairs(
        by_hand(sd),
        two_groups,
        *masks(two_groups),
        delta=delta,
        pseudocount=c,
        n_samples=20_000,
    ).loc[list("ABCDE")]
    nodes = scipy.stats.norm.ppf((np.arange(800) + 0.5) / 800)  # equally probable
    log_one, log_two = (np.log2(shares_at(centre + sd * nodes) + c) for centre in (1, -1))
    lfc = log_one[:, None] - log_two[None]  # (800, 800, 5)
    expected = (abs(lfc) > delta).mean(axis=(0, 1))
    assert ((expected > 0.05) & (expected < 0.95)).any()
    error = abs(table["proba_de"] - expected) / np.sqrt(expected * (1 - expected) / 20_000 + 1e-9)
    assert error.max() < 5
    np.testing.assert_allclose(table["lfc_mean"], lfc.mean(axis=(0, 1)), atol=0.04)
    np.testing.assert_allclose(table["lfc_std"], lfc.std(axis=(0, 1)), rtol=0.03)


def test_a_decoder_that_ignores_z_finds_nothing(two_groups):
    """Else noise would be called a difference."""
    module = by_hand(1.0)
    torch.nn.init.zeros_(module.decoder.layers[0].weight)
    table = compared_in_pairs(module, two_groups, *masks(two_groups), delta=0, n_samples=100)
    assert (table["lfc_mean"] == 0).all()
    assert (table["lfc_std"] == 0).all()
    assert (table["proba_de"] == 0).all()
    assert not table["is_de"].any()


def test_a_difference_between_batches_is_none_between_groups(two_groups):
    """Else a donor's effect would be called a difference between his cells and another's."""
    donor_p = (two_groups.obs["donor"] == "p").to_numpy()
    with pytest.warns(UserWarning, match="different levels"):
        table = compared_in_pairs(with_donors(two_groups, 1e-9), two_groups, donor_p, ~donor_p)
    assert abs(table.loc["E", "lfc_mean"]) < 0.05
    ratio = table.loc["E", "scale1"] / table.loc["E", "scale2"]
    assert ratio == pytest.approx(1, abs=0.05)


def test_every_cell_of_a_group_is_drawn_and_no_other(two_groups):
    """Else a group would be represented by some of its cells, or by the wrong ones."""
    two_groups.X[:10, 0], two_groups.X[:10, 1] = 0, 10  # ten of the first group lie at −1
    first, second = masks(two_groups)
    table = compared_in_pairs(by_hand(1e-9), two_groups, first, second, n_samples=20_000)
    one, two = shares_at(np.array([1.0, -1.0]))
    expected = (20 * one + 10 * two) / 30
    np.testing.assert_allclose(table.loc[list("ABCDE"), "scale1"], expected, atol=0.005)
    np.testing.assert_allclose(table.loc[list("ABCDE"), "scale2"], two, rtol=1e-5)


def test_the_default_pseudocount_is_a_hundredth_of_a_count(two_groups):
    """Else rare genes would have another LFC than the docstring says."""
    arguments = (by_hand(1e-9), two_groups, *masks(two_groups))
    by_default = compared_in_pairs(*arguments, n_samples=20)
    pd.testing.assert_frame_equal(
        by_default, compared_in_pairs(*arguments, n_samples=20, pseudocount=0.01 / 17)
    )
