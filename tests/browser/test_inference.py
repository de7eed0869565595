"""The figures of chapter 4 show the numbers that Python computes."""

import math

import numpy as np
import pytest
import samples
import torch
from hands import drag_by_finger, drag_by_mouse
from scipy import integrate, optimize, stats

pytestmark = pytest.mark.slow
CELLS = list(samples.CELLS)


def log_p(name, z):
    """log p(x | z) of a sample cell, by the package."""
    return samples.CELLS[name](torch.from_numpy(z)).numpy()


def mean_under_q(f, m, s):
    """By Simpson's rule on a fine grid, where the page uses trapezia on a coarse one."""
    z = np.linspace(m - 9 * s, m + 9 * s, 20_001)
    return integrate.simpson(stats.norm(m, s).pdf(z) * f(z), x=z)


def log_evidence(name):
    """(4.2)."""
    z = np.linspace(-7, 7, 20_001)
    return math.log(integrate.simpson(np.exp(log_p(name, z)) * stats.norm.pdf(z), x=z))


def terms(name, m, s):
    """(4.5) and (4.6): what the figure shows, from SciPy."""
    reconstruction = -mean_under_q(lambda z: log_p(name, z), m, s)
    kl = 0.5 * (m * m + s * s - 1) - math.log(s)
    evidence = -log_evidence(name)
    gap = reconstruction + kl - evidence
    return {"reconstruction": reconstruction, "kl": kl, "evidence": evidence, "gap": gap}


def choose(page, name):
    page.page.get_by_role("radio", name=name).check()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("m", "s"), [(0.66, 0.58), (-2.5, 0.1), (1.2, 0.12), (0.0, 1.5)])
def test_terms_are_those_of_scipy(figure, name, m, s):
    page = figure("q_by_hand")
    choose(page, name)
    page.slide("m,", m)
    page.slide("s,", s)
    shown = {key: page.fact(key) for key in terms(name, m, s)}
    assert shown == pytest.approx(terms(name, m, s), abs=6e-4, rel=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_both_bars_have_one_length(figure, name):
    page = figure("q_by_hand")
    choose(page, name)
    page.slide("m,", -0.7)
    first, second, third, fourth = page.page.locator(".lv-narrow rect").evaluate_all(
        "all => all.map(e => Number(e.getAttribute('width')))"
    )
    assert first + second == pytest.approx(third + fourth, abs=0.2)  # pixels, rounded each
    left = page.fact("reconstruction") + page.fact("kl")
    assert left == pytest.approx(page.fact("evidence") + page.fact("gap"), abs=2e-3)


@pytest.mark.parametrize("name", CELLS)
def test_the_best_q_is_the_optimisers(figure, name):
    page = figure("q_by_hand")
    choose(page, name)
    page.slide("m,", 1.0)
    page.page.get_by_role("button", name="Show the best q").click()
    verdict = page.page.locator(".lv-verdict").inner_text()
    best = optimize.minimize(
        lambda p: terms(name, p[0], math.exp(p[1]))["gap"], [1.0, -1.0], method="Nelder-Mead"
    )
    m, s = best.x[0], math.exp(best.x[1])
    assert f"m = {m:.2f}, s = {s:.2f}, gap {best.fun:.3f}" in verdict


@pytest.mark.parametrize("side", [1, -1])
def test_a_twin_of_the_best_q_is_told(side, figure):
    page = figure("q_by_hand")
    for name, words in (("3 counts", "The best q: "), ("two humps", "One of two equally good q: ")):
        choose(page, name)
        page.slide("m,", side)
        page.page.get_by_role("button", name="Show the best q").click()
        assert words in page.page.locator(".lv-verdict").inner_text()
    assert f"m = {'−' if side < 0 else ''}1" in page.page.locator(".lv-verdict").inner_text()


def test_the_best_q_waits_for_the_readers(figure):
    page = figure("q_by_hand").page
    button = page.get_by_role("button", name="Show the best q")
    assert button.is_disabled()
    handle = page.get_by_role("slider", name="mean m of q")
    handle.focus()
    handle.press("ArrowRight")
    assert button.is_enabled()
    assert handle.get_attribute("aria-valuetext") == "m -0.75"
    handle.press("Shift+ArrowLeft")
    assert handle.get_attribute("aria-valuetext") == "m -1.00"


@pytest.mark.parametrize("drag", [drag_by_mouse, drag_by_finger])
def test_q_is_dragged(figure, drag):
    page = figure("q_by_hand", has_touch=True)
    chart = page.page.locator(".lv-wide svg")
    unit = (chart.bounding_box()["width"] - 20) / 6  # from −3 to 3, between the margins
    drag(page.page, page.page.get_by_role("slider", name="mean m of q"), 1.5 * unit)
    assert mean_of(page) == pytest.approx(0.7, abs=0.02)
    drag(page.page, page.page.get_by_role("slider", name="width s of q"), -0.5 * unit)
    assert width_of(page) == pytest.approx(0.5, abs=0.03)
    assert mean_of(page) == pytest.approx(0.7, abs=0.02)


def mean_of(page):
    return float(page.page.get_by_role("slider", name="m,").and_(
        page.page.locator("input")).input_value())  # fmt: skip


def width_of(page):
    return float(page.page.get_by_role("slider", name="s,").and_(
        page.page.locator("input")).input_value())  # fmt: skip


def spreads(added, draws, m=-1.5, s=0.6):
    """Standard deviations of the three estimates of the slope, and the slope, from PyTorch."""
    name = CELLS[0]
    z = torch.linspace(m - 10 * s, m + 10 * s, 200_001, dtype=torch.float64, requires_grad=True)
    h = samples.CELLS[name](z)
    (slope,) = torch.autograd.grad(h.sum(), z)
    q = stats.norm(m, s).pdf(z.detach().numpy())
    mean = lambda f: np.trapezoid(q * f, z.detach().numpy())  # noqa: E731
    h, slope = h.detach().numpy() + added, slope.numpy()
    pull = (z.detach().numpy() - m) / s**2
    ways = {"score": h * pull, "baseline": (h - mean(h)) * pull, "reparametrised": slope}
    sds = {key: math.sqrt(mean(f**2) - mean(f) ** 2) / math.sqrt(draws) for key, f in ways.items()}
    return {"slope": mean(slope), **sds}


@pytest.mark.parametrize(("added", "draws"), [(0, 1), (-570, 1), (-100, 100)])
def test_spreads_are_those_of_pytorch(figure, added, draws):
    page = figure("gradient_race")
    page.slide("draws per step", math.log10(draws))
    page.slide("added", added)
    expected = spreads(added, draws)
    shown = {key: page.fact(key) for key in expected}
    assert shown == pytest.approx(expected, rel=6e-3)  # three digits are shown


def test_only_the_plain_score_function_minds_a_constant(figure):
    page = figure("gradient_race")
    before = [page.fact(key) for key in ("score", "baseline", "reparametrised")]
    page.slide("added", -570)
    after = [page.fact(key) for key in ("score", "baseline", "reparametrised")]
    assert after[0] > 30 * before[0]
    assert after[1:] == before[1:]


def test_only_its_axis_widens(figure):
    page = figure("gradient_race")
    columns = page.page.locator(".lv-third")

    def ends(way):
        """The first and last tick of a way's estimates."""
        texts = columns.nth(way).locator("svg").first.locator(".lv-tick").all_text_contents()
        return [float(text.replace("−", "-")) for text in (texts[0], texts[-1])]

    before = [ends(way) for way in range(3)]
    assert before[0] == before[1] == before[2]
    page.slide("added", -570)
    assert [ends(1), ends(2)] == before[1:]
    wider = ends(0)[1] / before[0][1]
    told = columns.first.get_by_text("times as wide").text_content()
    assert float(told.split()[1]) == pytest.approx(spreads(-570, 1)["score"] /
                                                   spreads(0, 1)["score"], rel=0.05)  # fmt: skip
    assert 20 < wider < 100


def test_draw_again_draws_again(figure):
    page = figure("gradient_race").page
    dots = lambda: page.locator(".lv-third").first.locator("circle").evaluate_all(  # noqa: E731
        "all => all.map(e => e.getAttribute('cx'))")  # fmt: skip
    before = dots()
    page.get_by_role("button", name="Draw again").press("Enter")
    assert dots() != before
