"""What each figure that moves has to do, whatever it shows."""

import pytest
import samples
from hands import PHONE, Opened, violations

from nbvae.teaching.living.figure import script

pytestmark = pytest.mark.slow
ALL = pytest.mark.parametrize("name", sorted(samples.FIGURES))

SMALL_TEXT = """() => [...document.querySelectorAll('.lv-stage *')].filter(e =>
  [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
  && !e.closest('.lv-said') && parseFloat(getComputedStyle(e).fontSize) < 12)
  .map(e => e.outerHTML)"""
SMALL_TARGET = """() => [...document.querySelectorAll(
  '.lv-stage :is(button, select, input, [tabindex])')].filter(e => {
    const box = e.getBoundingClientRect(); return Math.min(box.width, box.height) < 24;
  }).map(e => e.outerHTML)"""
OUTSIDE = """() => [...document.querySelectorAll('.lv-stage text')].filter(e => {
    const [a, b] = [e, e.closest('.lv-stage')].map(n => n.getBoundingClientRect());
    return a.width && (a.left < b.left - 1 || a.right > b.right + 1);
  }).map(e => e.textContent)"""


@pytest.fixture(scope="module", params=sorted(samples.FIGURES))
def open_figure(request, browser, written):
    """Each figure's page, opened from its file once for all tests that can share it."""
    opened = Opened(browser)
    opened.page.goto(written(request.param).as_uri())
    opened.page.locator(".lv-stage svg, .lv-stage canvas").first.wait_for()
    yield opened
    opened.context.close()


@ALL
def test_works_from_a_server(name, opened, served, written):
    page = opened(f"{served}/{written(name).name}")
    page.page.locator(".lv-stage svg, .lv-stage canvas").first.wait_for()
    assert page.errors == []
    assert {url.split("/")[2] for url in page.requests if url.startswith("http")} == {
        served.removeprefix("http://")
    }


def test_works_from_a_file(open_figure):
    assert open_figure.errors == []
    others = [url for url in open_figure.requests if not url.startswith(("file:", "data:"))]
    assert others == []
    assert not open_figure.page.locator("img").is_visible()


DARK = """:root[data-theme=dark] {--pst-color-background: #14181e;
  --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af}
[data-theme=dark] body {background: #14181e; color: #ced6dd}"""


def test_axe_finds_nothing(open_figure):
    page, found = open_figure.page, {}
    page.add_style_tag(content=DARK)
    for theme in ("dark", "light"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        found[theme] = violations(page)
    assert found == {"dark": [], "light": []}


@ALL
def test_without_scripts_the_picture_stays(name, figure):
    page = figure(name, java_script_enabled=False).page
    assert page.locator("img").is_visible()
    assert page.locator(".lv-stage").count() == 0
    assert not page.locator(".lv-note").is_visible()


def test_in_print_the_picture_comes_back(open_figure):
    page = open_figure.page
    page.emulate_media(media="print")
    shown = page.locator("img").is_visible(), page.locator(".lv-stage").is_visible()
    page.emulate_media(media="screen")
    assert shown == (True, False)


@ALL
def test_a_phone_can_show_it(name, figure):
    page = figure(name, viewport=PHONE, has_touch=True).page
    page.locator(".lv-stage").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(SMALL_TEXT) == []
    assert page.evaluate(SMALL_TARGET) == []
    assert page.evaluate(OUTSIDE) == []


def test_values_are_announced(open_figure):
    page = open_figure.page
    page.wait_for_function("document.querySelector('.lv-said').textContent.length > 5")
    before = page.locator(".lv-said").inner_text()
    sliders = page.locator(".lv-stage input[type=range]")
    control = sliders.first if sliders.count() else page.locator(".lv-stage :checked").first
    control.focus()
    at_its_end = control.evaluate("e => e.type === 'range' && e.value === e.max")
    for key in ("ArrowLeft", "PageDown") if at_its_end else ("ArrowRight", "PageUp"):
        control.press(key)
    page.wait_for_function(
        "before => document.querySelector('.lv-said').textContent !== before", arg=before
    )


def test_every_control_has_a_name(open_figure):
    page = open_figure.page
    controls = page.locator(".lv-stage :is(button, select, input, [tabindex])")
    assert controls.count() >= 2
    names = controls.evaluate_all(
        "all => all.map(e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent)"
    )
    assert all(len(n.strip()) > 2 for n in names), names


@ALL
def test_the_script_that_a_notebook_carries_is_small(name):
    assert 10_000 < len(script(name).encode()) < 80_000
