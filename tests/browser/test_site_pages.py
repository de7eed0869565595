"""The built pages that hold a figure: it wakes up beside everything else that a page loads."""

import functools
import http.server
import re
import threading

import pytest
from hands import DESK, PHONE, Opened, Work, share, violations
from notebooks import ROOT, chapters

from nbvae.teaching.exercises import FORMULAS

pytestmark = pytest.mark.slow
PAGES = {"intro": 1} | {
    path.stem: count
    for path in chapters()
    if (count := path.read_text(encoding="utf-8").count(" data-figure="))
}
LARGEST = 2_000_000  # bytes that a page loads, unpacked; MathJax is 0.8 million of them
LARGEST_SCRIPT = 80_000  # of the book's own
NOT_OURS = re.compile(r"mathjax|bootstrap|theme|toggle|clipboard|copybutton|design-tabs|doctools"
                      r"|sphinx_highlight|documentation_options")  # fmt: skip
ALL = sorted(path.stem for path in [*chapters(), ROOT / "book" / "intro.md"])
WIDTHS = (1440, 1280, 768, 390)
FIGURE, OURS = ".nbvae-living", ".lv-stage"  # with its picture; as it moves
THEME = "theme => { document.documentElement.dataset.theme = theme; }"
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
ALONE = """figure => {
  const holds = node => node.querySelector(figure);
  window.away = [...document.querySelectorAll('body *')]
    .filter(e => !e.closest(figure) && !holds(e) && holds(e.parentNode))
    .map(e => [e, new Comment()]);
  for (const [node, place] of window.away) node.replaceWith(place);
}"""
BACK = """() => {
  for (const [node, place] of window.away ?? []) place.replaceWith(node);
  window.away = [];
}"""
AT_ONCE = "html { scroll-behavior: auto !important }"  # a way of 30,000 pixels takes a second
REVEAL = "document.querySelectorAll('form.predict button').forEach(button => button.click())"


@pytest.fixture(scope="module")
def address(site):
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Silent, directory=site)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def usable(page, address, figures=1):
    """Go to a page; return the work, in seconds, until a figure's first control is there."""
    work = Work(page)
    page.goto(address, wait_until="commit")
    if figures:
        page.locator(f"{OURS} :is(input, button)").first.wait_for(state="attached")
    return work.seconds()


class Read(Opened):
    """A page of the site with all that it has to show, and what it loaded for that."""

    def __init__(self, name, address, browser):
        super().__init__(browser)
        self.name, self.figures, self.loaded = name, PAGES.get(name, 0), {}
        self.page.on("requestfinished", self.weigh)
        self.cold = usable(self.page, f"{address}/book/{name}.html", self.figures)
        self.page.wait_for_load_state("load")
        self.page.evaluate(REVEAL)
        self.page.evaluate("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
        self.page.add_style_tag(content=AT_ONCE)
        self.settle()

    def weigh(self, request):
        self.loaded[request.url] = request.sizes()["responseBodySize"]


@pytest.fixture(scope="module", params=ALL)
def loaded(request, address, browser):
    """Each page, loaded once for the tests of it."""
    page = Read(request.param, address, browser)
    yield page
    page.context.close()


@pytest.fixture
def read(loaded):
    """The page as it was loaded, whatever the test before made of it: that costs a layout."""
    loaded.page.evaluate(BACK)
    if loaded.page.viewport_size != DESK:
        loaded.page.set_viewport_size(DESK)
    return loaded


def test_figures_wake_up_from_a_server(read, address):
    assert read.page.locator(OURS).count() == read.figures
    shown = read.page.locator(f"{OURS} :is(svg, canvas, button, input)")
    assert shown.count() >= 2 * read.figures
    assert read.errors == []
    assert [url for url in read.requests if not url.startswith((address, "data:"))] == []


@pytest.mark.parametrize("name", PAGES)
def test_figures_wake_up_from_a_file(name, site, opened):
    page = opened((site / "book" / f"{name}.html").as_uri())
    page.settle()
    assert page.page.locator(OURS).count() == PAGES[name]
    assert page.errors == []


def test_pictures_come_back_in_print(read):
    hidden = read.page.locator("img.lv-still")
    assert hidden.count() == read.figures
    assert not any(image.is_visible() for image in hidden.all())
    read.page.emulate_media(media="print")
    printed = [image.is_visible() for image in hidden.all()]
    stages = [stage.is_visible() for stage in read.page.locator(OURS).all()]
    read.page.emulate_media(media="screen")
    assert all(printed) and not any(stages)


def test_a_page_is_light_and_has_its_icons(read):
    """With every picture, also those that load only when a reader comes to them."""
    assert 100_000 < sum(read.loaded.values()) < LARGEST
    scripts = {u: size for u, size in read.loaded.items() if u.split("?")[0].endswith(".js")}
    assert not any("fontawesome" in url for url in scripts)
    assert sum(size for url, size in scripts.items() if not NOT_OURS.search(url)) < LARGEST_SCRIPT
    assert read.page.evaluate("document.fonts.check('900 16px \"Font Awesome 6 Free\"')")


def test_a_figure_can_be_used_within_a_second(loaded, address, opened):
    """Of the page's own processor time from a cold start: see test_limits.py."""
    starts = [loaded.cold]

    def start():
        page = f"{address}/book/{loaded.name}.html"
        return starts.pop() if starts else usable(opened("about:blank").page, page)

    if loaded.figures:
        assert share(1.0, start, opened) < 1


@pytest.mark.parametrize("name", ALL)
def test_pictures_have_their_size_and_wait(name, site):
    text = (site / "book" / f"{name}.html").read_text(encoding="utf-8")
    text = re.sub(r"<template.*?</template>", "", text, flags=re.DOTALL)  # loaded when shown
    for picture in re.findall(r"<img [^>]*>", text):
        assert re.search(r'loading="lazy".* width="\d+"|width="\d+".* loading="lazy"', picture)
        assert ".webp" in picture or ".svg" in picture


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_scripts_of_its_own_figures_alone(name, site):
    text = (site / "book" / f"{name}.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'data-figure="(\w+)"', text))
    assert set(re.findall(r"_static/living/(\w+)\.js", text)) == shown


def test_each_pencil_exercise_has_its_form(read):
    number = read.name[:2].lstrip("0")
    expected = sorted(n for n in FORMULAS if n.split(".")[0] == number)
    forms = read.page.locator("form.pencil")
    found = [form.get_attribute("aria-label") for form in forms.all()]
    assert found == [f"Exercise {n}" for n in expected]
    for form in forms.all():
        section = form.locator("xpath=ancestor::section[1]/h3").inner_text()
        assert section.startswith(form.get_attribute("aria-label"))
    if expected:
        forms.first.get_by_role("textbox").first.fill("1 +")
        forms.first.get_by_role("button", name="Check").click()
        told = forms.first.get_by_role("status").inner_text()
        assert told.startswith(f"✗ Exercise {expected[0]}: ")
        assert "this formula can't be read: a number or a name is missing" in told


def test_without_scripts_there_is_no_form(address, opened):
    page = opened(f"{address}/book/02_negative_binomial.html", java_script_enabled=False).page
    assert page.locator(".nbvae-pencil").count() == 2
    assert page.locator("form.pencil").count() == 0
    assert page.locator(".nbvae-pencil").first.inner_text() == ""


def test_without_scripts_a_reader_is_told_why_formulas_look_odd(address, opened):
    note = "Without scripts formulas stand here as LaTeX writes them"
    name = f"{address}/book/02_negative_binomial.html"
    page = opened(name, java_script_enabled=False).page
    assert note in page.locator("article").inner_text()
    assert r"\frac" in page.locator("div.math").nth(1).inner_text()
    assert note not in opened(name).page.locator("article").inner_text()


def test_a_result_waits_for_the_readers_guess(address, opened):
    page = opened(f"{address}/book/02_negative_binomial.html", viewport=PHONE).page
    forms, waiting = page.locator("form.predict"), page.locator(".predict-result.waits")
    asked = forms.count()
    assert asked == waiting.count() == 3
    assert not waiting.first.is_visible()
    forms.first.get_by_role("textbox", name="Your guess").fill("half of them")
    page.keyboard.press("Enter")
    assert forms.count() == waiting.count() == asked - 1
    told = page.locator("p.predict")
    assert told.inner_text() == "You said: half of them"
    page.reload()
    assert page.locator("p.predict").inner_text() == "You said: half of them"
    assert page.locator("form.predict").count() == asked - 1


def test_all_results_are_shown_when_asked_for(address, opened):
    page = opened(f"{address}/book/02_negative_binomial.html").page
    page.get_by_role("button", name="Reveal all results on this page").click()
    page.wait_for_function("!document.querySelector('form.predict, .waits, button.reveal-all')")
    page.reload()
    assert page.locator("form.predict, .waits, button.reveal-all").count() == 0


def test_when_the_last_result_is_shown_there_is_no_more_to_show(address, opened):
    page = opened(f"{address}/book/02_negative_binomial.html").page
    for left in (2, 1, 0):
        assert page.locator("button.reveal-all").count() == 1
        page.locator("form.predict button").first.click()
        assert page.locator("form.predict").count() == left
    assert page.locator("button.reveal-all").count() == 0


def test_a_second_prediction_waits_for_the_first(opened):
    asked = "<p><strong>Predict first:</strong> how many?</p>"
    section = f"{asked}<p>Think.</p><div class='cell'>7</div>{asked}<div class='cell'>9</div>"
    script = (ROOT / "book" / "assets" / "pages.js").read_text(encoding="utf-8")
    page = opened("about:blank").page
    page.set_content(
        f"<article class='bd-article'><section>{section}</section></article>"
        f"<style>.waits {{display: none}}</style><script>{script}</script>"
    )
    forms = page.locator("form.predict")
    assert [form.is_visible() for form in forms.all()] == [True, False]
    forms.first.get_by_role("button", name="Reveal").click()
    assert page.get_by_text("7").is_visible() and not page.get_by_text("9").is_visible()
    forms.first.get_by_role("button", name="Reveal").click()
    assert page.get_by_text("9").is_visible()


def test_results_are_there_in_print_and_without_scripts(address, opened):
    name = f"{address}/book/02_negative_binomial.html"
    page = opened(name).page
    page.emulate_media(media="print")
    assert all(box.is_visible() for box in page.locator(".predict-result").all())
    page = opened(name, java_script_enabled=False).page
    assert page.locator("form.predict, .predict-result").count() == 0


def test_a_link_into_a_result_opens_it(address, opened):
    page = opened(f"{address}/book/02_negative_binomial.html").page
    inside = page.locator(".predict-result.waits [id]").first.get_attribute("id")
    page.goto(f"{address}/book/02_negative_binomial.html#{inside}")
    page.reload()
    assert page.locator(f"[id='{inside}']").is_visible()


def test_solutions_are_named_and_open_in_print(address, opened):
    page = opened(f"{address}/book/02_negative_binomial.html").page
    assert page.get_by_text("Show solution", exact=True).count() == 5
    assert page.get_by_text("Show the code of the figure", exact=True).count() >= 5
    assert "SOLUTION" not in page.content()
    closed = page.locator(".bd-article details:not([open])")
    before = closed.count()
    assert before >= 10
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert closed.count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert closed.count() == before


def test_a_name_shows_what_it_means_under_pointer_and_focus(address, opened):
    page = opened(f"{address}/book/04_inference.html").page
    page.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
    preview = page.locator("#preview")
    link = page.locator("a.see[data-see='equation-4-5']").first
    link.hover()
    preview.wait_for()
    preview.locator("mjx-container").first.wait_for()
    assert link.get_attribute("aria-describedby") == "preview"
    page.keyboard.press("Escape")
    assert not preview.is_visible()
    page.mouse.move(0, 0)
    term = page.locator("a.term").first
    page.evaluate("document.querySelector('a.term').focus({focusVisible: true})")
    preview.wait_for()
    assert term.inner_text().lower()[:3] in preview.inner_text().lower()
    page.keyboard.press("Tab")
    assert term.get_attribute("aria-describedby") is None


def test_what_is_wider_than_its_page_says_so_and_a_keyboard_scrolls_it(loaded):
    cut = """() => [...document.querySelectorAll('div.math, .bd-article pre')].filter(
      e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
           && !(e.matches('.too-wide') && e.tabIndex === 0 && e.ariaLabel))
      .map(e => e.textContent.slice(0, 80))"""
    seen = {}
    for width in WIDTHS:
        loaded.page.set_viewport_size({"width": width, "height": 900})
        loaded.page.wait_for_function(f"innerWidth === {width}")
        loaded.page.evaluate(FRAMES)  # the page measures itself once a frame
        wide = loaded.page.locator("div.math.too-wide").evaluate_all("all => all.map(e => e.id)")
        whole = loaded.page.evaluate("document.documentElement.scrollWidth")
        seen[width] = loaded.page.evaluate(cut), whole <= width, wide
    for width, (lost, fits, wide) in seen.items():
        assert lost == [], width
        assert fits, width
        if width >= 1280:  # a desk shows every formula whole
            assert wide == [], width


def test_axe_finds_nothing_in_the_figures(loaded):
    """Alone on their page: axe looks at every node, and a chapter has thousands."""
    loaded.page.evaluate(ALONE, FIGURE)
    loaded.page.set_viewport_size(DESK)
    found = {}
    for theme in ("dark", "light") if loaded.figures else ():
        loaded.page.evaluate(THEME, theme)
        # preload: style sheets, which it would look for in the wrong folder
        found[theme] = violations(loaded.page, OURS, preload=False)
    assert found == ({"dark": [], "light": []} if loaded.figures else {})


def test_nothing_went_wrong_and_no_other_host_was_asked(loaded, address):
    """Until now: after all that the tests before did with the page."""
    assert loaded.errors == []
    assert [url for url in loaded.requests if not url.startswith((address, "data:"))] == []


@pytest.mark.parametrize("start", ["file", "http"])
def test_the_search_finds_sections_and_shows_prose(start, address, site, opened):
    root = address if start == "http" else site.as_uri()
    page = opened(f"{root}/search.html?q=score+function")
    first = page.page.locator("ol.found li").first
    first.wait_for()
    assert "#" in first.locator("a").get_attribute("href")
    assert "score" in first.inner_text().lower()
    assert "import " not in page.page.locator("ol.found").inner_text()
    assert page.errors == []


@pytest.mark.parametrize("name", ["notation", "01_counts"])
def test_tables_have_contrast(name, address, opened):
    rules = ["color-contrast", "scrollable-region-focusable", "empty-table-header"]
    page, found = opened(f"{address}/book/{name}.html", reduced_motion="reduce").page, {}
    page.evaluate(REVEAL)
    for theme in ("dark", "light"):
        page.evaluate(THEME, theme)
        found[theme] = violations(page, "article", runOnly=rules)
    assert found == {"dark": [], "light": []}
