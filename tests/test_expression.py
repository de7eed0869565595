"""Shares, replicated counts and differential expression, against models with known answers."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from anndata import AnnData

from nbvae import NBVAE, Covariates
from nbvae.evaluation import BATCH_SIZE
from nbvae.expression import (
    denoised,
    differential_expression,
    expected_fdr,
    posterior_predictive,
)

BIAS = np.array([0.0, 0.0, 2.0, 1.0, -1.0])  # of the logits, five genes
SLOPE = np.array([0.0, 0.0, 0.5, -0.3, 0.0])  # of the logits in z


def shares_at(z):
    """ρ of the module below, by numpy. z: (n,). Returns (n, 5)."""
    logits = BIAS + np.multiply.outer(z, SLOPE)
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@pytest.fixture
def two_groups():
    """60 cells: 30 with ten counts of gene A, 30 with ten of gene B; and some counts of C."""
    counts = np.zeros((60, 5), dtype=np.float32)
    counts[:30, 0] = counts[30:, 1] = 10
    counts[:, 2] = 7
    obs = pd.DataFrame(
        {"donor": ["p", "q"] * 30, "side": ["one"] * 30 + ["two"] * 30},
        index=[f"cell-{i}" for i in range(60)],
    )
    return AnnData(X=counts, obs=obs, var=pd.DataFrame(index=list("ABCDE")))


@torch.no_grad()
def by_hand(sd, **arguments):
    """A module with q = N(1, sd²) for the first group and N(−1, sd²) for the second."""
    module = NBVAE(5, 1, n_hidden=3, **arguments)
    for weights in module.parameters():
        weights.zero_()
    to_hidden, _, to_mean = module.mean_encoder.layers
    to_hidden.weight[0, 0] = to_hidden.weight[1, 1] = 1 / math.log(11)  # 1 for ten counts
    to_mean.weight[:] = torch.tensor([[1.0, -1.0, 0.0]])
    module.logvar_encoder.layers[2].bias.fill_(2 * math.log(sd))
    to_hidden, _, to_logits = module.decoder.layers
    to_hidden.weight[:, 0] = torch.tensor([1.0, -1.0, 0.0])  # relu(z) and relu(−z)
    to_logits.weight[:, 0] = torch.from_numpy(SLOPE)
    to_logits.weight[:, 1] = torch.from_numpy(-SLOPE)
    to_logits.bias[:] = torch.from_numpy(BIAS)
    return module


def masks(adata):
    first = (adata.obs["side"] == "one").to_numpy()
    return first, ~first


# ---------------------------------------------------------------- denoised


@pytest.mark.slow
def test_denoised_is_the_share_averaged_over_q(two_groups):
    """Else it is the share at the mean of q, which is another one, or of one draw."""
    sd = 1.5
    result = denoised(by_hand(sd), two_groups, n_samples=3000)
    z = np.linspace(-8, 8, 2001)
    for rows, centre in ((slice(0, 30), 1), (slice(30, 60), -1)):
        weights = scipy.stats.norm.pdf(z)
        expected = weights @ shares_at(centre + sd * z) / weights.sum()
        assert abs(expected - shares_at(np.array([centre]))).max() > 0.01
        np.testing.assert_allclose(result[rows].mean(axis=0), expected, atol=2e-3)
        np.testing.assert_allclose(result[rows], np.tile(expected, (30, 1)), atol=0.02)


def test_denoised_has_a_row_a_cell_in_order(sample):
    """Else cells beyond the first minibatch would get other cells' shares."""
    module = NBVAE(765, 2, n_hidden=8)
    with torch.no_grad():
        module.logvar_encoder.layers[2].bias.fill_(-40.0)  # no noise in z
        module.decoder.layers[2].weight.mul_(20)
    result = denoised(module, sample, n_samples=2)
    assert BATCH_SIZE < 700
    assert result.shape == (700, 765)
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(result[600:], denoised(module, sample[600:]), rtol=1e-3)
    assert abs(result[0] - result[-1]).max() > 1e-3


def test_genes_are_chosen_by_name(two_groups):
    """Else a column would hold another gene than its caller thinks."""
    module = by_hand(0.5)
    whole = denoised(module, two_groups)
    np.testing.assert_array_equal(denoised(module, two_groups, genes=["D", "A"]), whole[:, [3, 0]])
    np.testing.assert_array_equal(denoised(module, two_groups, genes="D"), whole[:, [3]])
    with pytest.raises(KeyError, match=r"genes: these genes are not there: 'X', 'd'"):
        denoised(module, two_groups, genes=["A", "X", "d"])


def test_gene_names_that_occur_twice_are_refused(two_groups):
    """Else one of the two would be taken, whichever comes first."""
    two_groups.var_names = list("ABCCE")
    assert denoised(by_hand(0.5), two_groups, genes=["E"]).shape == (60, 1)
    with pytest.raises(ValueError, match=r"'C'.*var_names_make_unique"):
        denoised(by_hand(0.5), two_groups, genes=["A", "C"])


@torch.no_grad()
def with_donors(adata, sd=0.1):
    """The module by hand, with gene E twenty times as frequent in donor q."""
    module = by_hand(sd, covariates=Covariates.of(adata, "donor"))
    module.decoder.layers[0].weight[2, 2] = 1  # the third hidden unit says: donor q
    module.decoder.layers[2].weight[4, 2] = math.log(20)
    return module


def test_denoised_in_the_cells_own_batch_or_in_all(two_groups):
    """Else cells of two donors could not be compared, or a donor's effect be shown."""
    module = with_donors(two_groups)
    own = denoised(module, two_groups, n_samples=200)
    everywhere = denoised(module, two_groups, covariates="all", n_samples=200)
    p, q = own[0:30:2].mean(axis=0), own[1:30:2].mean(axis=0)
    odds = (q[4] / (1 - q[4])) / (p[4] / (1 - p[4]))
    assert odds == pytest.approx(20, rel=0.02)
    np.testing.assert_allclose(everywhere[:30], np.tile((p + q) / 2, (30, 1)), atol=0.01)
    np.testing.assert_allclose(everywhere.sum(axis=1), 1, rtol=1e-5)


def test_denoised_without_batches_may_be_asked_for_all(two_groups):
    """Else code for data with batches would fail on data without."""
    module = by_hand(0.5)
    np.testing.assert_array_equal(
        denoised(module, two_groups, covariates="all"), denoised(module, two_groups)
    )
    with pytest.raises(ValueError, match="Unknown covariates 'p'"):
        denoised(module, two_groups, covariates="p")


# ---------------------------------------------------------------- posterior predictive


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["nb", "poisson", "zinb"])
def test_replicates_have_the_moments_of_the_likelihood(two_groups, likelihood):
    """Else they are means for draws, another library's, or of the wrong distribution."""
    module, theta, n_samples = by_hand(1e-9, likelihood=likelihood), 0.8, 1000
    kept = 1.0
    with torch.no_grad():
        if module.log_theta is not None:
            module.log_theta.fill_(math.log(theta))
        if module.dropout_decoder is not None:
            module.dropout_decoder.layers[2].bias.fill_(math.log(0.3 / 0.7))
            kept = 0.7
    two_groups.X[:30, 2] = 21  # libraries of 31 and 17, at the same place in latent space
    draws = posterior_predictive(module, two_groups, n_samples=n_samples)
    assert draws.shape == (n_samples, 60, 5)
    assert (draws == draws.round()).all()
    for rows, centre, library in ((slice(0, 30), 1, 31), (slice(30, 60), -1, 17)):
        mean = library * shares_at(np.array(centre))
        # scipy's n = θ, p = θ/(θ + μ); the Poisson distribution is the limit
        size = 1e9 if likelihood == "poisson" else theta
        first, second = scipy.stats.nbinom.stats(size, size / (size + mean), moments="mv")
        expected = kept * first
        variance = kept * (second + first**2) - expected**2
        n = 30 * n_samples
        drawn = draws[:, rows].astype(float)
        error = abs(drawn.mean(axis=(0, 1)) - expected) / np.sqrt(variance / n)
        assert error.max() < 5
        np.testing.assert_allclose(drawn.var(axis=(0, 1)), variance, rtol=0.08)


def test_replicates_include_the_spread_of_z(two_groups):
    """Else they would be too alike: the posterior, not only the counts, is uncertain."""
    narrow, wide = (
        posterior_predictive(by_hand(sd), two_groups, n_samples=300)[:, :30, 3].var()
        for sd in (1e-9, 2.0)
    )
    assert wide > 1.3 * narrow


def test_replicates_of_a_batch_are_drawn_in_that_batch(two_groups):
    """Else each cell would be drawn as one of the first donor."""
    draws = posterior_predictive(with_donors(two_groups), two_groups, n_samples=50)
    assert draws[:, 1::2, 4].mean() > 5 * draws[:, 0::2, 4].mean()


def test_replicates_keep_the_order_across_minibatches(sample):
    """Else the replicate of a cell would be that of another."""
    module = NBVAE(765, 2, n_hidden=8, likelihood="poisson")
    draws = posterior_predictive(module, sample)
    totals = sample.X.sum(axis=1).A1
    assert np.corrcoef(draws[0].sum(axis=1), totals)[0, 1] > 0.95


# ---------------------------------------------------------------- differential expression


def test_a_known_difference_is_found_with_its_size(two_groups):
    """Else the LFC has another sign, base or pseudocount than is said."""
    table = differential_expression(
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
    there = differential_expression(module, two_groups, one, two, n_samples=50)
    back = differential_expression(module, two_groups, two, one, n_samples=50)
    np.testing.assert_allclose(there["lfc_mean"], -back.loc[there.index, "lfc_mean"], rtol=1e-5)
    np.testing.assert_allclose(there["scale1"], back.loc[there.index, "scale2"], rtol=1e-5)


@pytest.mark.slow
def test_probability_is_the_integral_over_both_posteriors(two_groups):
    """Else z is not drawn, or both cells of a pair share a draw. Two integrals by the grid."""
    sd, delta, c = 0.7, 0.4, 1e-3
    table = differential_expression(
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
    table = differential_expression(module, two_groups, *masks(two_groups), delta=0, n_samples=100)
    assert (table["lfc_mean"] == 0).all()
    assert (table["lfc_std"] == 0).all()
    assert (table["proba_de"] == 0).all()
    assert not table["is_de"].any()


def test_a_difference_between_batches_is_none_between_groups(two_groups):
    """Else a donor's effect would be called a difference between his cells and another's."""
    donor_p = (two_groups.obs["donor"] == "p").to_numpy()
    table = differential_expression(with_donors(two_groups, 1e-9), two_groups, donor_p, ~donor_p)
    assert abs(table.loc["E", "lfc_mean"]) < 0.05
    ratio = table.loc["E", "scale1"] / table.loc["E", "scale2"]
    assert ratio == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_every_cell_of_a_group_is_drawn_and_no_other(two_groups):
    """Else a group would be represented by some of its cells, or by the wrong ones."""
    two_groups.X[:10, 0], two_groups.X[:10, 1] = 0, 10  # ten of the first group lie at −1
    first, second = masks(two_groups)
    table = differential_expression(by_hand(1e-9), two_groups, first, second, n_samples=20_000)
    one, two = shares_at(np.array([1.0, -1.0]))
    expected = (20 * one + 10 * two) / 30
    np.testing.assert_allclose(table.loc[list("ABCDE"), "scale1"], expected, atol=0.005)
    np.testing.assert_allclose(table.loc[list("ABCDE"), "scale2"], two, rtol=1e-5)


def test_the_default_pseudocount_is_a_hundredth_of_a_count(two_groups):
    """Else rare genes would have another LFC than the docstring says."""
    arguments = (by_hand(1e-9), two_groups, *masks(two_groups))
    by_default = differential_expression(*arguments, n_samples=20)
    pd.testing.assert_frame_equal(
        by_default, differential_expression(*arguments, n_samples=20, pseudocount=0.01 / 17)
    )


def test_expected_fdr_of_probabilities_by_hand():
    """Else too many genes are called, or too few."""
    np.testing.assert_allclose(
        expected_fdr(np.array([1.0, 0.96, 0.9, 0.5, 0.0])),
        [0, 0.02, 0.14 / 3, 0.64 / 4, 1.64 / 5],
    )
    assert expected_fdr(np.array([])).shape == (0,)


@pytest.mark.parametrize("fdr", [0.0, 0.01, 0.05, 0.2, 1.0])
def test_genes_are_called_up_to_the_fdr(two_groups, fdr):
    """Else the table calls other genes than its own column says."""
    table = differential_expression(
        by_hand(0.7), two_groups, *masks(two_groups), fdr=fdr, delta=0.3, n_samples=400
    )
    p = table["proba_de"].to_numpy()
    assert (np.diff(p) <= 0).all()
    most = max([0] + [n for n in range(1, 6) if np.mean(1 - p[:n]) <= fdr])
    assert table["is_de"].tolist() == [True] * most + [False] * (5 - most)


def test_results_follow_from_the_seed(two_groups):
    """Else a stored table would change from run to run."""
    module, state = by_hand(0.7), torch.random.get_rng_state()

    def everything(seed):
        table = differential_expression(
            module, two_groups, *masks(two_groups), n_samples=30, seed=seed
        )
        replicates = posterior_predictive(module, two_groups, seed=seed)
        shares = denoised(module, two_groups, n_samples=1, seed=seed)
        return [table.loc[list("ABCDE"), "lfc_mean"].to_numpy(), replicates, shares]

    for first, again, other in zip(everything(1), everything(1), everything(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.training


def test_no_draws_are_refused(two_groups):
    """Else a mean over nothing would be NaN."""
    module = by_hand(1.0)
    for ask in (
        lambda: denoised(module, two_groups, n_samples=0),
        lambda: posterior_predictive(module, two_groups, n_samples=0),
        lambda: differential_expression(module, two_groups, *masks(two_groups), n_samples=0),
    ):
        with pytest.raises(
            ValueError, match="n_samples must be a whole number of at least 1, not 0"
        ):
            ask()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one, two: (one & False, two), "group1 is empty"),
        (lambda one, two: (one, two & False), "group2 is empty"),
        (lambda one, two: (one, one | two), "overlap: 30 cells are in both"),
        (lambda one, two: (one[:-1], two), r"group1 must be a mask.* 60 cells.* has 59 entries"),
        (lambda one, two: (one, two[:, None]), r"group2 must be a mask.*shape \(60, 1\)"),
        (lambda one, two: (one.astype(float), two), r"group1 must be a mask.*float64"),
    ],
)
def test_wrong_groups_are_refused_in_words(two_groups, change, message):
    """Else row numbers would be read as a mask, or a cell be compared with itself."""
    with pytest.raises(ValueError, match=message):
        differential_expression(by_hand(1.0), two_groups, *change(*masks(two_groups)))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ({"delta": -0.1}, "delta must be at least 0"),
        ({"delta": math.nan}, "delta must be at least 0"),
        ({"fdr": 1.5}, "fdr must be between 0 and 1"),
        ({"fdr": -0.1}, "fdr must be between 0 and 1"),
        ({"pseudocount": 0.0}, "pseudocount must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(two_groups, number, message):
    """Else every gene, or none, would be called without a word."""
    with pytest.raises(ValueError, match=message):
        differential_expression(by_hand(1.0), two_groups, *masks(two_groups), **number)


def test_masks_may_be_columns_of_obs(two_groups):
    """Else `adata.obs["side"] == "one"` would have to be converted first."""
    module, side = by_hand(1e-9), two_groups.obs["side"]
    pd.testing.assert_frame_equal(
        differential_expression(module, two_groups, side == "one", side == "two", n_samples=20),
        differential_expression(module, two_groups, *masks(two_groups), n_samples=20),
    )
