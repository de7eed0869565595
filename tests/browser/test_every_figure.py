"""What each figure that moves has to do, whatever it shows."""

import pytest
import samples
from axe_playwright_python.sync_playwright import Axe
from hands import PHONE

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


@ALL
def test_works_from_a_server(name, opened, served):
    page = opened(f"{served}/{name}.html")
    page.page.locator(".lv-stage svg, .lv-stage canvas").first.wait_for()
    assert page.errors == []
    assert {url.split("/")[2] for url in page.requests if url.startswith("http")} == {
        served.removeprefix("http://")
    }


@ALL
def test_works_from_a_file(name, figure):
    page = figure(name)
    page.page.locator(".lv-stage svg, .lv-stage canvas").first.wait_for()
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert not page.page.locator("img").is_visible()


@ALL
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(name, theme, figure):
    page = figure(name).page
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    if theme == "dark":
        page.add_style_tag(content=":root{--pst-color-background:#14181e;"
                           "--pst-color-text-base:#ced6dd;--pst-color-text-muted:#9ca4af}"
                           "body{background:#14181e;color:#ced6dd}")  # fmt: skip
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []


@ALL
def test_without_scripts_the_picture_stays(name, figure):
    page = figure(name, java_script_enabled=False).page
    assert page.locator("img").is_visible()
    assert page.locator(".lv-stage").count() == 0
    assert not page.locator(".lv-note").is_visible()


@ALL
def test_in_print_the_picture_comes_back(name, figure):
    page = figure(name).page
    page.emulate_media(media="print")
    assert page.locator("img").is_visible()
    assert not page.locator(".lv-stage").is_visible()


@ALL
def test_a_phone_can_show_it(name, figure):
    page = figure(name, viewport=PHONE, has_touch=True).page
    page.locator(".lv-stage").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(SMALL_TEXT) == []
    assert page.evaluate(SMALL_TARGET) == []
    assert page.evaluate(OUTSIDE) == []


@ALL
def test_values_are_announced(name, figure):
    page = figure(name).page
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


@ALL
def test_every_control_has_a_name(name, figure):
    page = figure(name).page
    controls = page.locator(".lv-stage :is(button, select, input, [tabindex])")
    assert controls.count() >= 2
    names = controls.evaluate_all(
        "all => all.map(e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent)"
    )
    assert all(len(n.strip()) > 2 for n in names), names


@ALL
def test_the_script_that_a_notebook_carries_is_small(name):
    assert 10_000 < len(script(name).encode()) < 80_000
