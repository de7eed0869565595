"""What the text names is a link, and each link arrives."""

import re
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from notebooks import ROOT
from site_ext import links, marks, search

import nbvae
from nbvae import datasets, evaluation, expression

pytestmark = pytest.mark.slow
GLOSSARY = "**Batch effect.** A difference. [Chapter 1](01_a.ipynb)\n\n**Batch.** Some cells."
PAGE = """<section id="a"><h1>1. A</h1><p>A batch effect (2.1), Figure 2.3 and (9.9).</p>
<p>Each batch, <code>batch</code>; equation 2.1.</p><p><strong>Figure 2.3.</strong> (2.1)</p>
<div class="cell_output"><pre>(2.1)</pre></div>
<p><strong>Doublet.</strong> doublets</p></section>"""


@pytest.fixture(scope="session")
def bodies(site):
    """The article of each page, by its name."""
    return {
        path.stem: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").article
        for path in site.glob("book/*.html")
    }


@pytest.fixture
def known():
    numbered = {
        ("equation", "2.1"): marks.Mark("equation-2-1", "book/02_b", "<p>e</p>"),
        ("figure", "2.3"): marks.Mark("figure-2-3", "book/01_a", "<p>f</p>"),
    }
    terms = dict(marks.in_glossary(f"{GLOSSARY}\n\n**Doublet.** Two cells."))
    return marks.Marks(numbered, terms, {})


def test_links_of_all_pages_arrive(bodies):
    ids = {name: {node["id"] for node in body.select("[id]")} for name, body in bodies.items()}
    lost = []
    for name, body in bodies.items():
        for link in body.select("a[href]"):
            page, _, anchor = unquote(link["href"]).partition("#")
            stem = page.removesuffix(".html") or name
            if "/" not in page and page.endswith((".html", "")) and anchor:
                lost += [] if anchor in ids.get(stem, ()) else [(name, link["href"])]
    assert lost == []


def test_every_equation_and_figure_that_is_named_is_a_link(bodies):
    found = marks.collect(ROOT / "book")
    assert len(found.numbered) > 150
    left = []
    for body in bodies.values():
        for text in links.prose(body):
            caption = text.find_parent("strong") is not None
            left += [] if caption else [m for *_, m in links.numbers(str(text), found)]
    assert left == []
    assert sum(len(body.select("a.see:not(.term)")) for body in bodies.values()) > 90


def test_each_preview_is_on_its_page_once(bodies):
    for body in bodies.values():
        wanted = {f"see-{link['data-see']}" for link in body.select("a.see")}
        assert sorted(wanted) == sorted(node["id"] for node in body.select("template"))


def test_a_chapter_links_each_word_of_the_glossary_once(bodies):
    for name, body in bodies.items():
        terms = [link["data-see"] for link in body.select("a.term")]
        assert len(terms) == len(set(terms)), name
        assert bool(terms) == name[:2].isdigit(), name


def test_every_public_name_has_its_reference(bodies):
    ids = {node["id"] for node in bodies["api"].select("[id]")}
    modules = {"data.datasets": datasets, "evaluation": evaluation, "expression": expression}
    names = {f"nbvae.{name}" for name in nbvae.__all__ if name != "__version__"}
    names -= {"nbvae.datasets", "nbvae.evaluation", "nbvae.expression"}
    for path, module in modules.items():
        names |= {
            f"nbvae.{path}.{name}"
            for name, thing in vars(module).items()
            if callable(thing) and not name.startswith("_") and thing.__module__ == module.__name__
        }
    assert names - ids == set()


def test_numbers_and_words_are_found_where_a_reader_reads(known):
    soup = BeautifulSoup(PAGE, "html.parser")
    links.put_anchors(soup, "book/01_a")
    links.link(soup, "book/01_a", known, "../_images")
    assert [(a.string, a["href"]) for a in soup.select("a.see")] == [
        ("batch effect", "glossary.html#term-batch-effect"),
        ("(2.1)", "02_b.html#equation-2-1"),
        ("Figure 2.3", "#figure-2-3"),
        ("batch", "glossary.html#term-batch"),
        ("equation 2.1", "02_b.html#equation-2-1"),
        ("(2.1)", "02_b.html#equation-2-1"),
    ]
    assert len(soup.select("template")) == 4


def test_a_word_links_to_the_section_that_explains_it():
    cells = [
        {"cell_type": "markdown", "source": "## First\n\nA batch.\n\n## Second\n\n**A batch**"}
    ]
    assert marks.section_of("Batch", marks.in_sections(cells)) == "second"
    assert marks.section_of("gene", marks.in_sections(cells)) == ""


def test_search_knows_sections_and_no_code():
    page = """<section id="top"><h1>1. A</h1><p>Begins.</p><section id="in"><h2>Inside</h2>
    <p>Of <span class="math">\\(\\mu\\)</span></p><div class="cell_input"><pre>import x</pre></div>
    </section></section>"""
    assert search.sections(BeautifulSoup(page, "html.parser"), "book/01") == [
        ["book/01", "", "1. A", "Begins."],
        ["book/01", "in", "1. A › Inside", "Of μ"],
    ]


def test_pages_say_what_they_are(site):
    for path in site.glob("book/*.html"):
        text = path.read_text(encoding="utf-8")
        assert re.search(r'<meta name="description" content="[^"]{20,}', text), path.name
    assert (site / "404.html").exists()
