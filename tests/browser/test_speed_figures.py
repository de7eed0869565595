"""The figures of chapter 11 show the numbers that NumPy and SciPy compute."""

import numpy as np
import pytest
import samples
from scipy.special import gammaln

pytestmark = pytest.mark.slow


def text(page, fact):
    return page.page.locator(f"[data-fact={fact}]").inner_text()


@pytest.mark.parametrize("x", [0, 1, 3, 16, 40])
@pytest.mark.parametrize("asked", [0.1, 2, 1e4, 1e8])
def test_both_ways_in_float32_are_numpys(figure, x, asked):
    page = figure("likelihood_terms")
    page.slide("count", x)
    page.slide("inverse", np.log10(asked))
    theta = np.float32(asked)
    exact = np.log(np.arange(x) + float(theta)).sum()
    assert page.fact("exact") == pytest.approx(exact, rel=1e-5, abs=1e-6)
    sum_ = np.float32(0)
    for k in range(x):
        sum_ += np.log(theta + np.float32(k))
    assert page.fact("sum") == pytest.approx(float(sum_), rel=1e-5, abs=1e-6)
    gammas = [np.float32(gammaln(float(a))) for a in (np.float32(x) + theta, theta)]
    ulp = float(
        np.spacing(np.abs(gammas).max())
    )  # each is rounded once, to the nearest or its neighbour
    assert page.fact("gammas") == pytest.approx(float(gammas[0] - gammas[1]), rel=1e-5, abs=ulp)


@pytest.mark.parametrize(
    ("x", "words"),
    [(0, "nothing"), (1, "log 1"), (2, "look-up"), (16, "look-up"), (17, "Stirling")],
)
def test_a_count_asks_for_what_it_needs(figure, x, words):
    page = figure("likelihood_terms")
    page.slide("count", x)
    said = page.page.locator(".lv-about").inner_text()
    assert words in said
    assert ("log x!" in said) == (x > 1)


def test_shares_of_the_minibatch_are_counted(figure):
    shown = figure("likelihood_terms").page.locator(".lv-half svg text").all_text_contents()
    counts = samples.MINIBATCH
    for kind in (counts == 0, counts == 1, (counts > 1) & (counts <= 16), counts > 16):
        assert any(label.startswith(f"{100 * kind.mean():.1f} %") for label in shown)


@pytest.mark.parametrize("likelihood", ["textbook", "by hand"])
@pytest.mark.parametrize("layer", ["dense", "sparse"])
def test_numbers_are_those_that_were_counted(figure, likelihood, layer):
    page = figure("step_costs")
    for name in (likelihood, layer):
        page.page.get_by_role("radio", name=name).check()
    work = samples.steps_of_training()[likelihood, layer]
    assert page.fact("calls") == work.calls
    for i, kind in enumerate(samples.KINDS):
        assert page.fact(f"kind{i}") == pytest.approx(work.numbers[kind] / 1000, rel=0.05)


def test_measured_bars_are_as_long_as_the_time(figure):
    """All from one zero and on one axis, which the longest fills."""
    stage = figure("step_costs").page
    shown = stage.locator("svg text").all_text_contents()
    longest = max(map(sum, samples.MEASURED.values()))
    for parts in samples.MEASURED.values():
        assert {str(part) for part in parts if part > longest / 25} <= set(shown)
    chart = stage.get_by_label("Measured parts of the time").first
    widths = chart.locator("rect").evaluate_all(
        "all => all.map(bar => bar.getBoundingClientRect().width)"
    )
    wanted = np.concatenate([*samples.MEASURED.values()])
    drawn = np.array(widths)[-len(wanted) :]
    np.testing.assert_allclose(drawn / drawn.sum(), wanted / wanted.sum(), atol=0.004)
