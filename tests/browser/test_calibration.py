"""Chapter 8's figure: φ is SciPy's, and the checks of a gene are NumPy's."""

import base64

import numpy as np
import pytest
import samples
from scipy import stats

pytestmark = pytest.mark.slow
MATHS = "window.nbvaeLiving.maths"


def embedded():
    """What the page computes with: counts, means of each draw, θ."""
    trained = samples.FIGURES["calibration"]().trained
    bytes_of = lambda text, kind: np.frombuffer(base64.b64decode(text), kind)  # noqa: E731
    x = bytes_of(trained["x"], "<u2").astype(int)
    mean = bytes_of(trained["mu"], "<f2").astype(float).reshape(2, len(x))
    return x, mean, bytes_of(trained["theta"], "<f2").astype(float)


def phi(gamma, v):
    x, mean, theta = embedded()
    theta = gamma * theta
    law = stats.nbinom(theta, theta / (theta + mean))
    low, high = law.cdf(x - 1).mean(axis=0), law.cdf(x).mean(axis=0)
    return low + v * (high - low)


def uniform(page, n):
    """The page's own v."""
    code = f"n => {{ const c = {MATHS}.random(1); return Array.from({{length: n}}, c.uniform) }}"
    return np.array(page.page.evaluate(code, n))


@pytest.mark.parametrize("gamma", [0.25, 1.0, 4.0, 200.0])
def test_phi_is_scipys(figure, gamma):
    page = figure("calibration")
    x, mean, theta = embedded()
    v = uniform(page, len(x))
    shown = page.page.evaluate(
        f"a => {MATHS}.transform(...a)", [x.tolist(), mean.ravel().tolist(),
                                          (gamma * theta).tolist(), v.tolist()],
    )  # fmt: skip
    assert shown == pytest.approx(phi(gamma, v), abs=1e-8)


@pytest.mark.parametrize("log_gamma", [-0.6, 0.0, 0.6, 2.4])
def test_the_middle_of_phi_is_counted(figure, log_gamma):
    page = figure("calibration")
    page.slide("factor", log_gamma)
    shown = page.page.locator("input[type=range]").get_attribute("aria-valuetext")
    of_phi = phi(float(shown), uniform(page, len(embedded()[0])))
    middle = 100 * ((of_phi > 0.3) & (of_phi < 0.7)).mean()
    assert page.fact("middle") == pytest.approx(middle, abs=0.051)


def test_a_hump_becomes_a_bowl(figure):
    """The sample's θ are too small by a factor of four."""
    page = figure("calibration")
    says = lambda: page.page.locator(".lv-title").last.inner_text()  # noqa: E731
    assert "hump" in says()
    page.slide("factor", np.log10(4))
    assert says() == "Nearly flat."
    page.slide("factor", 2.4)
    assert "bowl" in says()


def test_the_checks_of_a_gene_are_numpys(figure):
    page = figure("calibration")
    page.page.get_by_label("Gene:").select_option("GENE4")
    own = samples.expected()[0][:, 4]
    assert page.fact("check0") == round(100 * (own == 0).mean())
    assert page.fact("check1") == pytest.approx(own.var() / own.mean(), rel=0.005)
    assert page.fact("check2") == own.max()


def test_replicates_scatter_less_with_a_larger_theta(figure):
    """Their zeros, by eye of the facts: the range of 39 comes down."""
    page = figure("calibration")

    def highest():
        text = page.page.locator("[data-fact=check1]").inner_text()
        return float(text.split(" to ")[1].rstrip(")"))

    before = highest()
    page.slide("factor", 2.4)
    assert highest() < 0.6 * before


def test_replicates_are_drawn_again_by_key(figure):
    page = figure("calibration").page
    before = page.locator("[data-fact=check1]").inner_text()
    button = page.get_by_role("button", name="Replicate again")
    button.focus()
    button.press("Enter")
    assert page.locator("[data-fact=check1]").inner_text() != before
