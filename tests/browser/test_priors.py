"""The figure of chapter 14 counts the chimeras that NumPy counts."""

import numpy as np
import pytest
import samples
from scipy.stats import binomtest

pytestmark = pytest.mark.slow


def chimeras(drawn, other):
    """Per cent of the draws with two counts or more of both genes."""
    both = (drawn.counts[:, 0] >= 2) & (drawn.counts[:, other] >= 2)
    return 100 * both.mean()


def wilson(drawn, other):
    """Where the share among many draws may lie, per cent."""
    n = len(drawn.counts)
    found = binomtest(round(chimeras(drawn, other) * n / 100), n).proportion_ci(0.95, "wilson")
    return [100 * found.low, 100 * found.high]


def shown_range(page):
    low, high = page.page.locator("[data-fact=range]").inner_text().split(" %")[0].split(" to ")
    return [float(low), float(high)]


def test_chimeras_are_counted_for_each_prior_and_gene(figure):
    page = figure("prior_draws")
    for place, (_, drawn) in enumerate(samples.PRIORS.items()):
        page.slide("prior", place)
        for other in (1, 2):
            page.page.get_by_role("combobox").select_option(str(other))
            assert page.fact("chimeras") == pytest.approx(chimeras(drawn, other), abs=0.051)
            assert shown_range(page) == pytest.approx(wilson(drawn, other), abs=0.051)
            assert page.fact("cells") == pytest.approx(chimeras(samples.drawn(0), other), abs=0.051)
        assert page.fact("test") == pytest.approx(drawn.test, abs=0.051)
        assert page.fact("train") == pytest.approx(drawn.train, abs=0.051)


def test_the_means_arrive_as_they_were(figure):
    """To five digits on the logarithmic scale, which a thousandth of a decade is."""
    page = figure("prior_draws").page
    read = """() => { const d = JSON.parse(document.querySelector('.nbvae-living').dataset.trained);
      const v = Array.from(window.nbvaeLiving.maths.integers(d.cells.means));
      return v.map(x => x / 1000 - 3) }"""
    wanted = np.log10(np.maximum(samples.drawn(0).means, 1e-3)).ravel()
    assert page.evaluate(read) == pytest.approx(wanted, abs=5.1e-4)


def test_the_prior_is_moved_by_keys(figure):
    page = figure("prior_draws")
    slider = page.page.get_by_role("slider", name="prior")
    before = page.fact("test")
    slider.focus()
    slider.press("ArrowRight")
    assert page.fact("test") != before
