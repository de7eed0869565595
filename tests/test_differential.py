"""Differential expression of groups: its LFC and width against redrawn cells, and known truth."""

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.stats
import torch
from anndata import AnnData
from by_hand import by_hand, masks, shares_at, with_donors

from nbvae.data.minibatches import CellTable
from nbvae.differential.estimate import (
    Moments,
    Side,
    as_normal,
    compared,
    moderated,
    moments,
    side_of,
    weight_and_noise,
)
from nbvae.differential.prior import expected_fdr, fitted_weights, posterior
from nbvae.evaluation import evaluating
from nbvae.expression import differential_expression

GENES = list("ABCDE")
C = 1e-4


def simulated(rng, share, model_share, n_cells=60, library=1000, spread=0.3, theta=4.0):
    """Moments of a group: counts of cells around ``share``, and a model that says another one."""
    rho = share * rng.gamma(1 / spread**2, spread**2, (n_cells, len(share)))
    counts = rng.poisson(library * rho * rng.gamma(theta, 1 / theta, rho.shape))
    mu = library * model_share
    square = (model_share * spread) ** 2
    noise = n_cells * (mu + (mu**2 + (library * model_share * spread) ** 2) / theta)
    total = float(n_cells * library)
    return Moments(n_cells, total, model_share, square, counts.sum(axis=0), n_cells * mu, noise)


def world(rng, n_genes=3000, n_cells=60, differ=0.3, bias=0.15):
    """Two groups, true LFC of their shares, and a model that is wrong by ``bias`` (in logs)."""
    base = np.exp(rng.normal(-8, 1.5, n_genes))
    lfc = np.where(rng.random(n_genes) < differ, rng.normal(0, 1.5, n_genes), 0)
    sides = []
    for sign in (0.5, -0.5):
        share = base * 2 ** (sign * lfc)
        said = share * np.exp(rng.normal(0, bias, n_genes))
        sides.append(side_of([simulated(rng, share, said, n_cells)]))
    return sides, lfc


def calls(found, delta=0.25):
    """Probabilities, signs and the expected FDR of each gene's rank."""
    known = posterior(found.lfc, found.sd, fitted_weights(found.lfc, found.sd), delta)
    p = np.maximum(known.up, known.down)
    fdr = np.empty(len(p))
    order = np.argsort(-p)
    fdr[order] = expected_fdr(p[order])
    return fdr, known.up > known.down


# ---------------------------------------------------------------- the pieces


def test_moments_are_integrals_over_cells_and_states(two_groups):
    """Else q's width, or the spread over cells, is left out. Oracle: a grid for each kind."""
    sd, module = 0.8, by_hand(0.8)
    table = CellTable.of(two_groups, module)
    with evaluating(module):
        found = moments(module, table, np.arange(60), "own", 60_000)
    nodes = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    shares = np.concatenate([shares_at(centre + sd * nodes) for centre in (1, -1)])
    np.testing.assert_allclose(found.share, shares.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(found.variance, shares.var(axis=0), rtol=0.03)
    np.testing.assert_allclose(found.counts, [300, 300, 420, 0, 0])
    np.testing.assert_allclose(found.expected, 60 * 17 * shares.mean(axis=0), rtol=0.01)
    theta = module.log_theta.exp().detach().numpy()
    square = 17**2 * (shares**2).mean(axis=0) / theta
    np.testing.assert_allclose(found.noise, 60 * (17 * shares.mean(axis=0) + square), rtol=0.02)


def test_width_is_that_of_redrawn_cells_and_counts(seed):
    """Oracle: redraw n − 1 of the cells, and counts for them, a thousand times, and look."""
    rng = np.random.default_rng(seed)
    n, library, theta = 9, 2000.0, 3.0
    rho = rng.gamma(8, 1 / 8, (n, 5)) * np.array([0.3, 0.05, 0.02, 0.01, 0.003])
    mu = library * rho
    part = Moments(
        n, n * library, rho.mean(0), rho.var(0), mu.sum(0), mu.sum(0), (mu + mu**2 / theta).sum(0)
    )
    side = side_of([part])
    chosen = rng.integers(n, size=(20_000, n - 1))
    means = rho[chosen].mean(axis=1)
    np.testing.assert_allclose(side.cells, means.var(axis=0), rtol=0.05)
    counts = rng.poisson(mu * rng.gamma(theta, 1 / theta, (20_000, n, 5))).sum(axis=1)
    np.testing.assert_allclose(side.noise, (counts / (n * library)).var(axis=0), rtol=0.05)


def test_student_is_as_surprising_as_the_normal_that_replaces_it():
    """Else a spread estimated from three cells would be believed like one from a thousand."""
    estimate, sd, freedom = np.array([0.5, 2.0, -3.0, 0.0]), np.full(4, 0.7), np.full(4, 2.0)
    wider = as_normal(estimate, sd, freedom)
    some = estimate != 0
    np.testing.assert_allclose(
        scipy.stats.norm.sf(abs(estimate / wider))[some],
        scipy.stats.t.sf(abs(estimate / sd), 2)[some],
    )
    assert (wider > sd).all()
    np.testing.assert_allclose(as_normal(estimate, sd, np.full(4, 1e12)), sd, rtol=1e-5)


def test_replicates_count_alike():
    """Else the largest donor would speak for all, or three would be no better than one."""
    rng = np.random.default_rng(0)
    parts = [
        simulated(rng, np.array([0.2, 0.03]), np.array([0.25, 0.02]), n_cells, library)
        for n_cells, library in ((5, 800), (60, 1000), (200, 3000))
    ]
    side, alone = side_of(parts), [side_of([part]) for part in parts]
    raws = pd.DataFrame([part.counts / part.library for part in parts])
    np.testing.assert_allclose(side.raw, raws.mean())
    np.testing.assert_allclose((side.moved**2).sum(axis=0), raws.sem() ** 2)
    assert (np.sign(side.moved) == np.sign(raws - raws.mean())).all(axis=None)
    for name in ("scale", "expected", "raw"):
        by_one = [getattr(one, name) for one in alone]
        np.testing.assert_allclose(getattr(side, name), pd.DataFrame(by_one).mean())
    for name in ("cells", "noise"):  # of a mean of three that are independent
        by_one = [getattr(one, name) for one in alone]
        np.testing.assert_allclose(getattr(side, name), pd.DataFrame(by_one).sum() / 9)
    assert side.n_cells == 265 and (alone[0].moved == 0).all()


def side(scale, *, raw=None, expected=None, cells=0.0, noise=0.0, n_cells=10**9):
    """One gene of a group; where nothing else is said, model and counts agree."""
    raw, expected = (scale if value is None else value for value in (raw, expected))
    arrays = (np.array([float(value)]) for value in (scale, raw, expected, cells, noise))
    return Side(*arrays, moved=np.zeros((1, 1)), n_cells=n_cells)


def test_without_noise_of_counts_it_is_welchs_test():
    """Else few cells would be believed like many. Oracle: scipy's, of the logs of the shares."""
    c, n = 1e-3, (4, 9)
    sides = side(0.02, cells=2e-6, n_cells=n[0]), side(0.01, cells=4e-7, n_cells=n[1])
    found = compared(*sides, c)
    logs, sds = [], []
    for one, n_cells in zip(sides, n, strict=True):
        share, step = one.scale[0] + c, 1e-6
        logs.append(np.log2(share))
        per_share = (np.log2(share + step) - np.log2(share - step)) / (2 * step)
        sds.append(np.sqrt(n_cells * one.cells[0]) * per_share)
    welch = scipy.stats.ttest_ind_from_stats(logs[0], sds[0], n[0], logs[1], sds[1], n[1], False)
    assert found.lfc[0] == pytest.approx(logs[0] - logs[1])
    assert 2 * scipy.stats.norm.sf(found.lfc / found.sd)[0] == pytest.approx(welch.pvalue)


def test_the_noise_of_counts_adds_its_variance():
    """Else what counts left to chance would not widen the LFC. Oracle: draws."""
    c, noise = 1e-3, np.array([4e-8, 1e-8])
    sides = [side(share, noise=tau) for share, tau in zip((0.0105, 0.01), noise, strict=True)]
    draws = np.random.default_rng(0).normal([0.0105, 0.01], np.sqrt(noise), (200_000, 2))
    logs = np.log2(draws + c)
    assert compared(*sides, c).sd[0] == pytest.approx((logs[:, 0] - logs[:, 1]).std(), rel=0.01)


def test_model_and_counts_meet_at_most_the_noise_away_from_the_counts():
    """Else a model that is sure and wrong would overrule a thousand counts. By hand."""
    raw, met = np.full((2, 1000), 0.04)  # the model is right about most genes
    raw[:3], met[:3] = (0.0398, 0.03, 0.06), (0.0399, 0.031, 0.059)
    nothing, flat = np.zeros(1000), np.ones(1000)
    one = Side(0.05 * flat, raw, 0.04 * flat, nothing, 1e-6 * flat, nothing[None], 60)
    other = Side(0.01 * flat, 0.01 * flat, 0.01 * flat, nothing, nothing, nothing[None], 60)
    expected = np.log2(0.051 / 0.011) + np.log2((met + 1e-3) / 0.041)
    np.testing.assert_allclose(compared(one, other, 1e-3).lfc, expected, atol=1e-5)


def test_weight_and_noise_by_hand():
    """Else one gene that the model has missed would decide for all, or for none."""
    weight, kept = weight_and_noise(np.array([0.2, -0.2, 0.2]), np.ones(3))
    assert (weight, kept) == pytest.approx((0.5, 0.99))
    weight, kept = weight_and_noise(np.array([2.0, -2.0, 2.0, 8.0]), np.full(4, 4.0))
    assert (weight, kept) == pytest.approx((1 / 4.75, 1 - 1 / 4.75))
    weight, kept = weight_and_noise(np.array([1.0, 1.0, 1.0, 2.5]), np.ones(4))
    assert (weight, kept) == pytest.approx((1 / 2.3125, 0.5675675), abs=1e-6)


@pytest.mark.parametrize("freedom", [1, 3, 10])
def test_variances_that_scatter_by_chance_alone_are_all_the_typical_one(freedom):
    """Else their mean logarithm, which chance lowers, would be taken for that of their truth."""
    by_cells = np.array([0.5, 1.0, 2.0])
    chi2 = scipy.stats.chi2(freedom)
    mean_log = scipy.integrate.quad(lambda u: np.log(chi2.ppf(u) / freedom), 0, 1)[0]
    variance, total = moderated(3 * by_cells, by_cells, freedom)
    np.testing.assert_allclose(variance, 3 * by_cells / np.exp(mean_log), rtol=1e-4)
    assert total == pytest.approx(1e6, rel=1e-4)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.9])
def test_the_noise_that_the_mean_keeps_is_no_less_than_it_is(correlation, seed):
    """Else the mean of model and counts would be trusted too much. Oracle: known errors."""
    rng = np.random.default_rng(seed)
    for model_sd in (0.5, 0.8, 1.0):
        cov = correlation * model_sd
        a, b = rng.multivariate_normal([0, 0], [[1, cov], [cov, model_sd**2]], 50_000).T
        weight, kept = weight_and_noise(a - b, np.ones(50_000))
        assert weight == pytest.approx(0.5, abs=0.01)
        assert 0.97 * (weight * b + (1 - weight) * a).var() <= kept <= 1


def test_a_model_that_is_worse_than_the_counts_loses_its_weight(seed):
    """Else its bias would stay in every LFC, however many cells there are."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=50_000), rng.normal(0, 3, 50_000)
    weight, kept = weight_and_noise(a - b, np.ones(50_000))
    assert weight == pytest.approx(1 / 10, rel=0.05)  # the best one: 1 / (1 + 3²)
    assert kept == pytest.approx((weight * b + (1 - weight) * a).var(), rel=0.05)


@pytest.mark.parametrize("prior", [4, 20])
def test_few_replicates_are_steadied_by_all_genes(prior, seed):
    """Else three donors that agree by chance would make a gene certain. Oracle: its own model."""
    rng, freedom, n = np.random.default_rng(seed), 3, 20_000
    by_cells = rng.uniform(0.5, 2, n)
    true = 5 * by_cells * prior / rng.chisquare(prior, n)  # Smyth's: scaled inverse χ²
    variance, total = moderated(true * rng.chisquare(freedom, n) / freedom, by_cells, freedom)
    assert total == pytest.approx(prior + freedom, rel=0.15)
    t = rng.normal(0, np.sqrt(true)) / np.sqrt(variance)
    assert (abs(t) > scipy.stats.t.isf(0.005, total)).mean() == pytest.approx(0.01, abs=0.003)


# ---------------------------------------------------------------- against known truth


@pytest.mark.parametrize("n_cells", [4, 20, 200])
@pytest.mark.parametrize("bias", [0.05, 0.3])
def test_the_share_of_false_calls_is_what_was_promised(bias, n_cells, seed):
    """Else `is_de` promises what it does not keep; nominal plus the error of 3,000 genes."""
    (first, second), lfc = world(np.random.default_rng(seed), n_cells=n_cells, bias=bias)
    fdr, up = calls(compared(first, second, C / 10))
    false = np.where(up, lfc < 0.25, lfc > -0.25)
    for nominal in (0.05, 0.1, 0.2):
        called = fdr <= nominal
        error = 3 * np.sqrt(nominal / max(called.sum(), 1))
        assert false[called].sum() <= (nominal + error) * called.sum()
    assert n_cells < 20 or (~false[fdr <= 0.05]).sum() > 100


@pytest.mark.parametrize("n_cells", [2, 3, 10, 100])
def test_between_two_halves_of_nothing_nothing_is_called(n_cells, seed):
    """Else chance is called a difference; a share in a hundred at most, at each fdr."""
    rng = np.random.default_rng(seed)
    base = np.exp(rng.normal(-8, 1.5, 2000))
    sides = [side_of([simulated(rng, base, base, n_cells, spread=0.7)]) for _ in "12"]
    fdr, _ = calls(compared(*sides, C / 10))
    assert max((fdr <= nominal).mean() for nominal in (0.05, 0.1, 0.2)) <= 0.01


def donors(rng, lfc, n_donors, n_cells=50, effect=0.5, paired=None):
    """Moments of each donor of a group; ``effect``: how donors differ, in logs."""
    base = np.exp(np.random.default_rng(1).normal(-7, 1, len(lfc)))
    own = rng.normal(0, effect, (n_donors, len(lfc))) if paired is None else paired
    shares = base * 2**lfc * np.exp(own)
    return [simulated(rng, share, share, n_cells) for share in shares]


def test_donors_that_differ_are_no_difference_between_groups(seed):
    """Else cells of three donors would count as so many witnesses (Squair et al. 2021)."""
    rng, none = np.random.default_rng(seed), np.zeros(2000)
    first, second = (side_of(donors(rng, none, 3)) for _ in "12")
    by_cells, _ = calls(compared(first, second, C / 10))
    by_donors, _ = calls(compared(first, second, C / 10, ("abc", "def")))
    assert (by_cells <= 0.1).mean() > 0.3
    assert (by_donors <= 0.1).mean() <= 0.01


def test_what_donors_share_cancels_within_them(seed):
    """Else a donor that is in both groups would hide what differs in each of them."""
    rng = np.random.default_rng(seed)
    lfc = np.where(np.arange(2000) < 600, 1.0, 0.0)
    own = rng.normal(0, 0.5, (4, 2000))
    first = side_of(donors(rng, lfc / 2, 4, paired=own))
    second = side_of(donors(rng, -lfc / 2, 4, paired=own))
    paired, up = calls(compared(first, second, C / 10, ("abcd", "abcd")))
    apart, _ = calls(compared(first, second, C / 10, ("abcd", "efgh")))
    called = paired <= 0.1
    assert called.sum() > (apart <= 0.1).sum() + 200
    assert (~up | (lfc == 0))[called].mean() < 0.13


# ---------------------------------------------------------------- the table


@pytest.fixture
def drawn(two_groups):
    """The sixty cells, with counts of C, D and E as the module by hand expects them."""
    rng = np.random.default_rng(0)
    z = np.where(masks(two_groups)[0], 1.0, -1.0)
    two_groups.X[:, 2:] = rng.poisson(200 * shares_at(z)[:, 2:])
    return two_groups


def test_lfc_of_groups_is_that_of_their_mean_shares(two_groups):
    """Else it is a mean of LFCs, which another group of the same means would not have."""
    two_groups.X[:10, :2] = two_groups.X[:10, 1::-1]  # ten of the first lie at −1
    table = differential_expression(by_hand(1e-9), two_groups, *masks(two_groups), pseudocount=C)
    one, two = shares_at(np.array([1.0, -1.0]))
    mixed = (20 * one + 10 * two) / 30
    by_name = table.loc[GENES]
    np.testing.assert_allclose(by_name["scale1"], mixed, rtol=1e-5)
    expected = np.log2(mixed + C) - np.log2(two + C)
    np.testing.assert_allclose(by_name["lfc_model"], expected, rtol=1e-4)


def test_the_table_holds_what_the_prior_was_told(drawn):
    """Else nobody could see how far a gene was pulled, or draw its posterior."""
    table = differential_expression(by_hand(0.5), drawn, *masks(drawn), pseudocount=C)
    alone, error = table["lfc_alone"].to_numpy(), table["lfc_error"].to_numpy()
    known = posterior(alone, error, fitted_weights(alone, error), 0.25)
    np.testing.assert_allclose(table["lfc_mean"], known.mean, rtol=1e-9)
    np.testing.assert_allclose(table["lfc_std"], known.sd, rtol=1e-9)
    np.testing.assert_allclose(table["proba_de"], np.maximum(known.up, known.down), rtol=1e-9)
    pairs = differential_expression(by_hand(0.5), drawn, *masks(drawn), rule="pairs")
    assert "lfc_alone" not in pairs


def test_the_table_shows_what_the_counts_show(two_groups):
    """Else a reader could not see of which counts a call is made."""
    two_groups.X[5:10, 2] = 0
    table = differential_expression(by_hand(0.5), two_groups, *masks(two_groups), pseudocount=C)
    assert table.loc["A", ["raw_mean1", "raw_mean2"]].tolist() == [10, 0]
    assert table.loc["C", "raw_mean1"] == pytest.approx(7 * 25 / 30)
    assert table.loc["C", "non_zeros_proportion1"] == pytest.approx(25 / 30)
    assert table.loc["C", "non_zeros_proportion2"] == 1
    shares = [7 * 25 / (300 + 7 * 25), 7 / 17]
    expected = np.log2(shares[0] + C) - np.log2(shares[1] + C)
    assert table.loc["C", "lfc_raw"] == pytest.approx(expected)


def test_groups_that_change_places_change_the_sign(drawn):
    """Else up and down would depend on more than the order of the groups."""
    module, (one, two) = by_hand(1e-9), masks(drawn)
    there = differential_expression(module, drawn, one, two)
    back = differential_expression(module, drawn, two, one).loc[there.index]
    np.testing.assert_allclose(there["lfc_mean"], -back["lfc_mean"], rtol=1e-5)
    np.testing.assert_allclose(there["proba_de"], back["proba_de"], rtol=1e-5)
    np.testing.assert_allclose(there["raw_mean1"], back["raw_mean2"])


@pytest.mark.parametrize("rule", ["groups", "pairs"])
@pytest.mark.parametrize("fdr", [0.0, 0.05, 0.2, 1.0])
def test_genes_are_called_up_to_the_fdr(drawn, fdr, rule):
    """Else the table calls other genes than its own column says."""
    table = differential_expression(
        by_hand(0.7), drawn, *masks(drawn), fdr=fdr, delta=0.3, n_samples=400, rule=rule
    )
    p = table["proba_de"].to_numpy()
    assert (np.diff(p) <= 0).all()
    most = max([0] + [n for n in range(1, 6) if np.mean(1 - p[:n]) <= fdr])
    assert table["is_de"].tolist() == [True] * most + [False] * (5 - most)


def test_a_difference_of_cells_is_not_one_of_groups(seed):
    """Else mixed kinds in both groups would be called: the reason for the default."""
    rng = np.random.default_rng(seed)
    kind, counts = rng.integers(2, size=200), np.zeros((200, 5), dtype=np.float32)
    counts[np.arange(200), kind] = 10
    counts[:, 2:] = rng.poisson(200 * shares_at(np.where(kind == 0, 1.0, -1.0))[:, 2:])
    adata = AnnData(counts, var=pd.DataFrame(index=GENES))
    half = np.arange(200) < 100
    for rule, most in (("groups", 0), ("pairs", 5)):
        table = differential_expression(by_hand(0.5), adata, half, ~half, rule=rule)
        assert (table["proba_de"] > 0.5).any() == (most > 0)


def test_own_chosen_or_all_batches(two_groups):
    """Else a donor's effect would be called a difference between his cells and another's."""
    donor_p = (two_groups.obs["donor"] == "p").to_numpy()
    module = with_donors(two_groups, 1e-9)
    with pytest.warns(UserWarning, match=r"different levels of obs\['donor'\].*covariates='own'"):
        table = differential_expression(module, two_groups, donor_p, ~donor_p)
    assert abs(table.loc["E", "lfc_model"]) < 0.01
    with pytest.warns(UserWarning, match="different levels"):
        as_q = differential_expression(module, two_groups, donor_p, ~donor_p, covariates="q")
    assert abs(as_q.loc["E", "lfc_model"]) < 0.01
    with pytest.warns(UserWarning, match="different levels"):
        by_key = differential_expression(
            module, two_groups, donor_p, ~donor_p, covariates={"donor": "q"}
        )
    pd.testing.assert_frame_equal(by_key, as_q)
    own = differential_expression(module, two_groups, donor_p, ~donor_p, covariates="own")
    assert own.loc["E", "lfc_model"] < -3
    assert as_q.loc["E", "scale1"] == pytest.approx(own.loc["E", "scale2"], rel=1e-3)


def test_results_follow_from_the_seed(drawn):
    """Else a stored table would change from run to run."""
    module, state = by_hand(0.7), torch.random.get_rng_state()
    first, again, other = (
        differential_expression(module, drawn, *masks(drawn), n_samples=30, seed=seed)
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert (first["lfc_model"] != other.loc[first.index, "lfc_model"]).any()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.training
