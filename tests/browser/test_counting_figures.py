"""The figures of chapters 1 and 2 show the numbers that SciPy computes."""

import numpy as np
import pytest
import samples
from scipy import special, stats

from nbvae.teaching.living.stills import wilson

pytestmark = pytest.mark.slow
MATHS = "window.nbvaeLiving.maths"


def in_page(page, expression, argument=None):
    return page.page.evaluate(f"a => {{ const m = {MATHS}; return {expression} }}", argument)


def test_log_gamma_is_scipys(figure):
    x = [1e-3, 0.1, 0.5, 1.0, 2.5, 10.0, 171.5, 1e4, 1e6]
    shown = in_page(figure("negative_binomial"), "a.map(m.lgamma)", x)
    assert shown == pytest.approx(special.gammaln(x), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("mean", [1e-3, 0.3, 4.0, 80.0])
@pytest.mark.parametrize("theta", [0.05, 1.0, 2.5, 300.0, 1e4])
def test_log_probabilities_are_scipys(figure, mean, theta):
    counts = np.arange(0, 60, 7)
    shown = in_page(
        figure("negative_binomial"),
        "a[0].map(x => m.nbLogProb(x, Math.log(a[1]), Math.log(a[2])))",
        [counts.tolist(), mean, theta],
    )
    expected = stats.nbinom.logpmf(counts, theta, theta / (theta + mean))
    assert shown == pytest.approx(expected, rel=1e-5)
    poisson = in_page(
        figure("negative_binomial"),
        "a[0].map(x => m.poissonLogProb(x, Math.log(a[1])))",
        [counts.tolist(), mean],
    )
    assert poisson == pytest.approx(stats.poisson.logpmf(counts, mean), rel=1e-9)


@pytest.mark.parametrize("theta", [0.3, 2.0, 50.0])
def test_the_density_of_u_is_scipys(figure, theta):
    u = [0.01, 0.4, 1.0, 3.1]
    shown = in_page(figure("negative_binomial"), "a[0].map(u => m.gammaDensity(u, a[1]))",
                    [u, theta])  # fmt: skip
    assert shown == pytest.approx(stats.gamma.pdf(u, theta, scale=1 / theta), rel=1e-8)


@pytest.mark.parametrize(("mean", "theta"), [(0.2, 0.5), (4.0, 2.0), (40.0, 3.0), (25.0, 1e9)])
def test_drawn_counts_are_negative_binomial(figure, mean, theta):
    drawn = in_page(
        figure("negative_binomial"),
        "(r => Array.from({length: 20000}, () => r.nb(a[0], a[1])))(m.random(3))",
        [mean, theta],
    )
    law = stats.nbinom(theta, theta / (theta + mean))
    edges = np.unique(law.ppf(np.linspace(0.1, 0.9, 9)))
    below = np.array([np.mean(np.array(drawn) <= edge) for edge in edges])
    assert np.abs(below - law.cdf(edges)).max() < 0.015  # four standard deviations


def test_quantiles_are_scipys(figure):
    cases = [[m, t, p] for m in (0.1, 3, 40) for t in (0.5, 8) for p in (0.05, 0.95)]
    shown = in_page(figure("state_by_hand"), "a.map(c => m.nbQuantile(...c))", cases)
    assert shown == [stats.nbinom.ppf(p, t, t / (t + m)) for m, t, p in cases]


@pytest.mark.parametrize(("mean", "theta"), [(4.0, 2.0), (0.1, 0.5), (30.0, 100.0)])
def test_the_facts_are_those_of_the_distribution(figure, mean, theta):
    page = figure("negative_binomial")
    page.slide("mean", np.log10(mean))
    page.slide("inverse", np.log10(theta))
    assert page.fact("variance") == pytest.approx(mean + mean**2 / theta, rel=0.01)
    zero = 100 * stats.nbinom.pmf(0, theta, theta / (theta + mean))
    assert page.fact("zero") == pytest.approx(zero, rel=0.01, abs=0.06)
    assert page.fact("poisson") == pytest.approx(100 * np.exp(-mean), rel=0.01, abs=0.06)


def test_the_profile_of_a_real_gene_is_scipys(figure):
    """(2.7), its top and where it is within 1.92 nats of that."""
    page = figure("negative_binomial")
    page.page.get_by_role("combobox").select_option("LYZ")
    counts, library = samples.COUNTS, samples.LIBRARY
    thetas = np.logspace(-2, 4, 121)
    means = library * counts.sum() / library.sum()
    curve = np.array([stats.nbinom.logpmf(counts, t, t / (t + means)).sum() for t in thetas])
    inside = thetas[curve > curve.max() - 1.92]
    assert page.fact("top") == pytest.approx(thetas[curve.argmax()], rel=0.01)
    low, high = page.page.locator("[data-fact=range]").inner_text().split(" to ")
    assert float(low) == pytest.approx(inside[0], rel=0.01)
    assert float(high) == pytest.approx(inside[-1], rel=0.01)
    assert page.fact("seen") == pytest.approx(100 * (counts == 0).mean(), abs=0.06)
    assert page.page.get_by_role("button", name="Draw again").is_disabled()


def test_few_rare_counts_say_nothing_of_a_large_theta(figure):
    page = figure("negative_binomial")
    page.slide("mean", np.log10(0.05))
    page.slide("inverse", np.log10(50))
    page.slide("number", np.log10(40))
    assert page.page.locator("[data-fact=range]").inner_text().endswith("∞")


def test_draws_that_keep_the_true_theta_are_counted(figure):
    """As the ends of the interval say; other settings begin anew, a real gene has no true θ."""
    page = figure("negative_binomial")
    page.slide("inverse", 0)  # θ = 1, a point of the grid
    page.slide("number", np.log10(30))
    again, kept = page.page.get_by_role("button", name="Draw again"), 0
    for drawn in range(1, 41):
        text = page.page.locator("[data-fact=range]").inner_text().replace("∞", "inf")
        low, high = map(float, text.split(" to "))
        kept += low <= 1 <= high
        assert page.page.locator("[data-fact=inside]").inner_text() == f"{kept} of {drawn}"
        again.click()
    assert 20 < kept < 40
    page.slide("mean", 0)
    assert page.page.locator("[data-fact=inside]").inner_text() in ("0 of 1", "1 of 1")
    page.page.get_by_role("combobox").select_option("LYZ")
    assert page.page.locator("[data-fact=inside]").inner_text() == "–"


def test_fewer_molecules_are_a_part_of_the_same(figure):
    page = figure("catch_rate")
    counts = samples.table()[0].X.toarray().ravel()
    page.slide("share", 1)
    assert page.fact("molecules") == counts.sum()
    assert page.fact("zeros") == pytest.approx(100 * (counts == 0).mean(), abs=0.06)
    assert page.fact("common") == pytest.approx(np.log1p(1e4 * counts[0] / counts.sum()), abs=0.006)
    caught = []
    for share in (0.8, 0.5, 0.2):
        page.slide("share", share)
        caught.append(page.fact("molecules"))
        sd = np.sqrt(counts.sum() * share * (1 - share))
        assert abs(caught[-1] - share * counts.sum()) < 4 * sd
        assert page.fact("rare") == pytest.approx(np.log1p(1e4 / caught[-1]), abs=0.006)
    assert caught == sorted(caught, reverse=True)


def test_the_catch_is_moved_by_keys(figure):
    page = figure("catch_rate")
    slider = page.page.get_by_role("slider")
    before = page.fact("molecules")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowLeft")
    assert page.fact("molecules") < before


def test_the_pictures_intervals_are_scipys():
    """Wilson's intervals, which the page computes by the same formula."""
    low, high = wilson(np.array([0, 3, 70]), 200)
    for k, a, b in zip((0, 3, 70), low, high, strict=True):
        expected = stats.binomtest(k, 200).proportion_ci(0.9, method="wilson")
        assert (a, b) == pytest.approx(tuple(expected), abs=2e-4)
