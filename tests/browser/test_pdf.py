"""The book on paper: one file whose links stay within it, with everything unfolded."""

import re
import shutil
import subprocess
import sys

import pdf
import pytest
from bs4 import BeautifulSoup

pytestmark = pytest.mark.slow
NAV = '<nav class="bd-links"><a href="intro.html">I</a><a href="02_b.html">B</a></nav>'
MATHJAX = (
    "<script>window.MathJax = {startup: {promise: Promise.resolve()}}</script>"
    "<script src='../_static/mathjax/none.js'></script>"
)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "book"
    folder.mkdir()
    first = (
        '<h1>Start</h1><p id="a"><a href="02_b.html#b">there</a> <a href="02_b.html">all</a></p>'
    )
    second = (
        '<h1>Second</h1><p id="b"><a href="#b">here</a> <a href="https://example.org">out</a></p>'
        "<details><summary>Hint</summary><p>Think.</p></details><form>no</form>"
        '<section id="exercise-2-1-twice"><h3 id="exercise-2-1">Exercise 2.1 · Twice</h3>'
        "<p>Write it.</p><div class='cell tag_hide-cell'>"
        "<details class='hide'><summary>Show solution</summary>"
        "<p>The answer.</p></details></div>"
        "<div class='cell tag_exercise-check'>✓ Praise.</div></section>"
    )
    for name, body in (("intro", first), ("02_b", second)):
        head = MATHJAX if name == "02_b" else ""
        page = f"<html><head>{head}</head><body>{NAV}<article>{body}</article></body></html>"
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return tmp_path


def test_links_stay_within_the_file_and_arrive(site):
    soup = BeautifulSoup(pdf.joined(site), "html.parser")
    ids = [node["id"] for node in soup.select("[id]")]
    assert len(ids) == len(set(ids))
    inside = [a["href"] for a in soup.select("main section a")]
    solution, task = "#02_b--solution-2-1", "#02_b--exercise-2-1"
    assert inside == ["#02_b--b", "#02_b", "#02_b--b", "https://example.org", solution, task]
    assert {a["href"][1:] for a in soup.select("a[href^='#']")} <= set(ids)


def test_what_is_folded_is_open_and_forms_are_gone(site):
    soup = BeautifulSoup(pdf.joined(site), "html.parser")
    (hint,) = soup.select("details")
    assert hint.has_attr("open")
    assert "Show solution" not in soup.get_text()
    assert soup.find("form") is None


def test_solutions_stand_at_the_end_and_exercises_lead_there(site):
    soup = BeautifulSoup(pdf.joined(site), "html.parser")
    chapter, solutions = (soup.find(id=name).get_text() for name in ("02_b", "solutions"))
    assert "Write it." in chapter and "Think." in chapter
    assert "The answer." not in chapter and "Praise" not in chapter
    assert "The answer." in solutions and "Praise" in solutions
    assert soup.select("main > section")[-1]["id"] == "solutions"
    assert [h.get_text() for h in soup.select("#solutions h2, #solutions h3")] == [
        "Second",
        "Exercise 2.1 · Twice",
    ]


@pytest.mark.usefixtures("browser")
def test_it_prints_with_an_outline_and_links(site):
    (site / "_static" / "mathjax").mkdir(parents=True)
    (site / "_static" / "mathjax" / "none.js").write_text("")
    done = subprocess.run([sys.executable, pdf.__file__, site], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = (site / pdf.NAME).read_bytes()
    assert "pages" in done.stdout
    assert data.startswith(b"%PDF") and b"/Outlines" in data
    assert len(re.findall(rb"/S\s*/GoTo|/Dest\s", data)) >= 3
    assert not (site / "book" / "whole.html").exists()


def test_what_was_checked_is_said_once(site):
    fold = (
        "<details class='hide'><summary><p class='collapsed'>{}</p><p class='expanded'>Hide</p>"
        "</summary><div class='cell_input'>{}</div></details>"
    )
    folds = fold.format("Checked: sums", "assert a") + fold.format("Show the code", "draw()")
    folds += fold.format("Checked: zeros", "# Checked: zeros") + "</article>"
    page = site / "book" / "intro.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</article>", folds), encoding="utf-8")
    text = BeautifulSoup(pdf.joined(site), "html.parser").find(id="intro").get_text("|")
    assert text.endswith("|Checked: sums|assert a|draw()|# Checked: zeros")


def test_a_caption_and_its_figure_are_one_block(site):
    page = site / "book" / "02_b.html"
    figure = "<div class='cell'><p>code</p><div class='cell_output'>text</div>"
    figure += "<div class='cell_output'><img src='a.png'></div></div><p>Figure 2.1.</p><p>On.</p>"
    text = page.read_text(encoding="utf-8").replace("<h1>Second</h1>", f"<h1>Second</h1>{figure}")
    page.write_text(text, encoding="utf-8")
    [shown] = BeautifulSoup(pdf.joined(site), "html.parser").select(".shown")
    assert [part.name for part in shown.children] == ["div", "p"]
    assert shown.find("img") and shown.get_text() == "Figure 2.1."
    assert shown.find_next_sibling().get_text() == "On."


def test_a_table_of_long_names_fits_the_paper(site, opened):
    (site / "_static").mkdir()
    shutil.copy(pdf.ROOT / "book" / "assets" / "custom.css", site / "_static")
    style = "<link rel='stylesheet' href='../_static/custom.css'>"
    name = "<code class='literal'><span class='pre'>get_normalized_expression_of_all</span></code>"
    table = f"<table><tr>{f'<td>{name}</td>' * 4}</tr></table></article>"
    page = site / "book" / "02_b.html"
    text = page.read_text(encoding="utf-8").replace("</head>", f"{style}</head>")
    page.write_text(text.replace("</article>", table), encoding="utf-8")
    (site / "book" / "whole.html").write_text(pdf.joined(site), encoding="utf-8")
    whole = opened((site / "book" / "whole.html").as_uri(), viewport={"width": 700, "height": 900})
    whole.page.emulate_media(media="print")
    width = "document.querySelector('table').offsetWidth"
    assert whole.page.evaluate(width) <= whole.page.evaluate("document.body.clientWidth")


def test_without_a_site_it_says_so(tmp_path, capsys):
    assert pdf.main(tmp_path) == 1
    assert "make book" in capsys.readouterr().err
