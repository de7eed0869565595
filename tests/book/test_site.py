"""The built pages: they ask no other host for anything, and say what their pictures show."""

import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest
import sample
from building import build
from fontTools.ttLib import TTFont
from notebooks import ROOT, repository, write

pytestmark = pytest.mark.slow

LOADING = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
    "audio": "src", "embed": "src", "object": "data", "link": "href",
}  # fmt: skip
REMOTE = re.compile(r"(?:https?:)?//")
CSS_LOAD = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
CDN = re.compile(
    r"unpkg\.com|jsdelivr|cdnjs|cloudflare|googleapis|gstatic|plausible|google-analytics"
)
COLAB = "colab.research.google.com"
ADDRESS, PAGES = "https://github.com/someone/nbvae", "https://someone.github.io/nbvae/"


class Page(HTMLParser):
    """Collects what a page loads, its scripts' text and its pictures' alternative text."""

    def __init__(self, path):
        super().__init__()
        self.path, self.loads, self.alts, self.inline = path, [], {}, ""
        self.inside = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.inside = tag
        if attrs.get(LOADING.get(tag)):
            self.loads.append(attrs[LOADING[tag]])
        if tag == "img":
            self.alts[attrs.get("src")] = attrs.get("alt") or ""

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside in ("script", "style"):
            self.inline += data

    def missing(self):
        """Return what it loads from files that don't exist."""
        local = [load for load in self.loads if not REMOTE.match(load) and ":" not in load]
        paths = [unquote(urldefrag(load).url.split("?")[0]) for load in local]
        return [path for path in paths if not (self.path.parent / path).exists()]


def sample_book(folder, address, pages):
    """Write a project with one chapter and this project's settings; with public addresses or ""."""
    shutil.copytree(ROOT / "tools", folder / "tools")
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    for asset in re.findall(r"book/assets/[\w.]+", config):
        (folder / asset).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / asset, folder / asset)
    for name, value in (("url", address), ("baseurl", pages)):
        config, n = re.subn(rf"(\n  {name}: ).*", rf'\1"{value}"', config)
        assert n == 1
    (folder / "_config.yml").write_text(config, encoding="utf-8")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/01_sample\n", encoding="utf-8")
    write(sample.chapter(), folder / "book" / "01_sample.ipynb")
    return folder


@pytest.fixture(scope="session")
def pages(site):
    return [Page(path) for path in site.rglob("*.html") if "_static" not in path.parts]


@pytest.fixture(scope="module")
def sample_sites(tmp_path_factory):
    """A small book, without and with public addresses."""
    folder = tmp_path_factory.mktemp("sample")
    return {
        address: build(sample_book(folder / name, address, pages), folder / f"{name}_site")
        for name, address, pages in (("private", "", ""), ("public", ADDRESS, PAGES))
    }


@pytest.fixture(params=["", ADDRESS], ids=["no address", "address"])
def sample_page(request, sample_sites):
    """Its page, without and with an address."""
    page = sample_sites[request.param] / "book" / "01_sample.html"
    return request.param, page.read_text(encoding="utf-8")


def test_every_chapter_is_a_page(site):
    assert (site / "index.html").exists()
    for page in [*ROOT.glob("book/*.ipynb"), *ROOT.glob("book/*.md")]:
        assert (site / "book" / page.name).with_suffix(".html").exists()


def test_pages_load_nothing_from_another_host(pages):
    assert len(pages) > 5
    for page in pages:
        assert [load for load in page.loads if REMOTE.match(load)] == []
        assert CDN.findall(page.inline) == []
        assert [load for load in CSS_LOAD.findall(page.inline) if REMOTE.match(load)] == []


def test_styles_load_nothing_from_another_host(site):
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        loads = CSS_LOAD.findall(style.read_text(encoding="utf-8"))
        assert [load for load in loads if REMOTE.match(load)] == []


def test_everything_that_pages_load_exists(pages):
    assert [(page.path.name, page.missing()) for page in pages if page.missing()] == []


def test_every_icon_of_the_styles_is_in_a_font(site):
    """Else a crossed box stands in its place, as beside the titles of boxes."""
    static = site / "_static"
    text = "".join(path.read_text(encoding="utf-8") for path in static.rglob("*.css"))
    named = {chr(int(code, 16)) for code in re.findall(r'"\\([ef][0-9a-f]{3})"', text)}
    named |= set(re.findall("[\ue000-\uf8ff]", text))
    drawn = {chr(c) for font in static.rglob("*.woff") for c in TTFont(font).getBestCmap()}
    assert "\uf071" in named and len(named) > 10
    assert named <= drawn


def test_no_scripts_for_what_the_book_does_not_have(pages):
    scripts = [load for page in pages for load in page.loads]
    assert [load for load in scripts if re.search(r"thebe|require|widget", load)] == []
    assert not any("thebe" in page.inline.lower() for page in pages)


def test_mathjax_comes_with_the_pages(pages, site):
    with_formulas = [p for p in pages if 'class="math' in p.path.read_text(encoding="utf-8")]
    assert with_formulas
    for page in with_formulas:
        assert any("mathjax/startup.js" in load for load in page.loads)
    assert list(site.glob("_static/mathjax/output/chtml/fonts/woff-v2/*.woff"))


def test_numbered_formulas_are_on_one_line(pages):
    """Sphinx puts formulas with a line break into `split`, in which MathJax refuses a tag."""
    formulas = [
        formula
        for page in pages
        for formula in re.findall(r"\\\[.*?\\\]", page.path.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert any(r"\tag" in formula for formula in formulas)
    assert [f for f in formulas if r"\tag" in f and r"\begin{split}" in f] == []


def test_pictures_are_described(pages):
    pictures = [(src, alt) for page in pages for src, alt in page.alts.items()]
    assert pictures
    for src, alt in pictures:
        assert len(alt.split()) >= 3, f"{src} is only described as {alt!r}"


def test_the_book_has_buttons_only_with_an_address(pages):
    source = "".join(page.path.read_text(encoding="utf-8") for page in pages)
    assert (COLAB in source) == bool(repository())


def test_buttons_follow_the_address(sample_page):
    address, html = sample_page
    link = f"https://{COLAB}/github/someone/nbvae/blob/main/book/01_sample.ipynb"
    assert (link in html) == bool(address)
    assert ("/issues/new" in html) == bool(address)
    assert "github.com/executablebooks/jupyter-book" not in html


def test_a_mistake_is_reported_with_its_page_if_there_is_an_address(sample_page):
    address, html = sample_page
    assert ("Report a mistake" in html) == bool(address)
    if address:
        assert f"{address}/issues/new?title=Mistake%20in%20book/01_sample" in html


def test_an_address_is_told_to_others(sample_sites):
    site = sample_sites[ADDRESS]
    html = (site / "book" / "01_sample.html").read_text(encoding="utf-8")
    assert f'<link rel="canonical" href="{PAGES}book/01_sample.html"' in html
    assert f'<meta property="og:image" content="{PAGES}_static/latent_umap.png">' in html
    assert (site / "_static" / "latent_umap.png").exists()
    assert f"<loc>{PAGES}book/01_sample.html</loc>" in (site / "sitemap.xml").read_text()
    assert f'<base href="{PAGES}">' in (site / "404.html").read_text(encoding="utf-8")


def test_sample_page_is_complete(sample_sites):
    page = Page(sample_sites[""] / "book" / "01_sample.html")
    assert page.missing() == []
    assert "A dark square without anything else in it." in page.alts.values()


def test_a_page_that_loads_from_elsewhere_is_noticed(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        '<script src="https://unpkg.com/x.js"></script><img src="none.png" alt="none.png">'
        "<style>@import '//fonts.example/a.css'; a {background: url(https://b.c/d.png)}</style>",
        encoding="utf-8",
    )
    page = Page(path)
    assert [load for load in page.loads if REMOTE.match(load)] == ["https://unpkg.com/x.js"]
    assert page.missing() == ["none.png"]
    assert CSS_LOAD.findall(page.inline) == ["//fonts.example/a.css", "https://b.c/d.png"]
