"""What pages weigh, as far as it shows without building them."""

import re

import pytest
from notebooks import ROOT, chapters
from PIL import Image
from site_ext import living, weight

OURS = ("links.js", "pages.js", "pencil.js")  # the last where there are exercises: in any chapter
LARGEST_SCRIPT = 80_000  # bytes of the book's own on a page, as they are written
CSS = """/* a {comment} */ @charset "utf-8"; .used, .no, p.used > .no { color: "}" }
@media print { .no { a: b } .used:not(.no) { a: b } } @media screen { .no { a: b } }
@font-face { src: url(x) } .a\\/b { c: d } ul li { e: f }"""


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_page_loads_less_than_80_kilobytes_of_our_script(path):
    folder = living.folder()
    figures = set(re.findall(r'data-figure=\\"(\w+)\\"', path.read_text(encoding="utf-8")))
    scripts = [folder / name for name in (*living.SHARED, *(f"{name}.js" for name in figures))]
    scripts += [ROOT / "book" / "assets" / name for name in OURS]
    assert 20_000 < sum(script.stat().st_size for script in scripts) < LARGEST_SCRIPT


def test_figures_in_a_page_and_in_a_notebook_share_the_same_scripts():
    from nbvae.teaching.living import figure

    assert living.SHARED == figure.SHARED
    html = figure.LivingFigure("catch_rate", 'a "label"', {"a": 1}).light_html()
    assert living.FIGURE.findall(html) == ["catch_rate"]


def test_styles_keep_the_rules_of_classes_that_occur():
    kept = weight.used_rules(CSS, {"used"})
    assert re.sub(r"\s+", "", kept) == re.sub(r"\s+", "", (
        '@charset "utf-8";.used{ color: "}" }@media print{.used:not(.no){ a: b }}'
        "@font-face{ src: url(x) }.a\\/b{ c: d }ul li{ e: f }"
    ))  # fmt: skip


def test_icons_are_found_by_number_and_by_character():
    css = '.a::after {content: "\\f0c1"} .b {--icon: "\uf071"; content: "\\201c é"}'
    assert weight.icons_in(css) == {0xF0C1, 0xF071}


def test_pictures_are_smaller_and_the_same(tmp_path):
    picture = Image.linear_gradient("L").convert("RGB").resize((300, 150))
    picture.save(tmp_path / "a.png")
    assert weight.shown_size(tmp_path / "a.png") == (200, 100)
    size = (tmp_path / "a.png").stat().st_size
    weight.shrink_pictures(tmp_path)
    [path] = tmp_path.iterdir()
    with Image.open(path) as small:
        assert small.convert("RGB").tobytes() == picture.tobytes()
    assert path.name == "a.webp" and path.stat().st_size < size
